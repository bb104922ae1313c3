//! The parsers of what FLV tags hold: none believes a length, and no result depends on where the bytes were cut.

use sluicegate::media::{
    aac::{AacConfig, adts_frame_bytes},
    avc_config::AvcConfig,
    flv::{Audio, VIDEO_HEADER_BYTES_MAX, Video},
    h264::{NalWalk, annex_b_bytes_max},
    sps::Sps,
    timeline::Timeline,
};
use sluicegate::units::Ticks90k;

use super::Input;

/// The first byte says which parser.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 6 {
        0 => tags(bytes),
        1 => avc_config(bytes),
        2 => aac_config(bytes),
        3 => {
            let _ = Sps::parse(bytes);
        }
        4 => nal_units(bytes),
        _ => timestamps(bytes),
    }
}

fn tags(bytes: &[u8]) {
    let head = &bytes[..bytes.len().min(VIDEO_HEADER_BYTES_MAX)];
    let whole = Video::parse(head);
    // More bytes change nothing that was known already.
    for end in 0..head.len() {
        if let Some(tag) = Video::parse(&head[..end]) {
            assert_eq!(Some(tag), whole);
        }
    }
    if head.len() == VIDEO_HEADER_BYTES_MAX {
        assert!(whole.is_some(), "more bytes would not help");
    }
    let _ = Audio::parse(bytes);
}

fn avc_config(bytes: &[u8]) {
    let Ok(config) = AvcConfig::parse(bytes) else { return };
    assert!(matches!(config.length_bytes, 1 | 2 | 4));
    assert!(config.parameter_sets.starts_with(&[0, 0, 0, 1]));
}

fn aac_config(bytes: &[u8]) {
    let Ok(config) = AacConfig::parse(bytes) else { return };
    assert!(config.duration(1).0 > 0);
    for payload in [0, 1, 100, 8184, 8185] {
        let Some(header) = config.adts_header(payload) else {
            assert!(payload > 8000 || payload == 0);
            continue;
        };
        let frame = [&header[..], &vec![0; payload]].concat();
        assert_eq!(adts_frame_bytes(&frame), Some(frame.len()));
    }
}

fn nal_units(bytes: &[u8]) {
    let mut input = Input(bytes);
    let length_bytes = [1, 2, 4][usize::from(input.byte() % 3)];
    let declared = match input.byte() {
        0..0x80 => input.0.len().saturating_sub(1) as u32,
        more => (input.0.len() as u32).wrapping_add_signed(i32::from(more) - 0xC0),
    };
    let piece = usize::from(input.byte()) + 1;
    let walk = |piece: usize| {
        let mut walk = NalWalk::new(length_bytes, declared);
        let mut out = Vec::new();
        for part in input.0.chunks(piece) {
            if let Err(broken) = walk.feed(part, |bytes| out.extend_from_slice(bytes)) {
                return (out, Err(broken), walk.seen());
            }
        }
        (out, walk.finish(), walk.seen())
    };
    let whole = walk(usize::MAX);
    assert!(whole.0.len() as u64 <= annex_b_bytes_max(length_bytes, declared));
    assert_eq!(walk(piece), whole);
}

fn timestamps(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut timeline = Timeline::new(Ticks90k(i64::from(input.u32())));
    let (mut ms, mut dts, mut pts) = (0_u32, None, None);
    while !input.is_empty() {
        let what = input.byte();
        let step = match what & 0x30 {
            0x00 => u32::from(input.byte()),
            0x10 => u32::from(input.byte()).wrapping_neg(),
            0x20 => u32::from(input.u16()),
            _ => input.u32(),
        };
        ms = ms.wrapping_add(step);
        if what & 1 == 0 {
            let composition = match what & 0xC0 {
                0x00 => 0,
                0x40 => i32::from(input.byte()),
                0x80 => -i32::from(input.byte()),
                _ => input.u32().cast_signed() >> 8,
            };
            let times = timeline.video(ms, composition);
            assert!(dts.is_none_or(|before| times.dts > before), "DTS does not rise");
            assert!(times.pts >= times.dts);
            dts = Some(times.dts);
        } else {
            let times = timeline.audio(ms);
            assert!(pts.is_none_or(|before| times.pts > before), "audio does not rise");
            pts = Some(times.pts);
        }
        let end = timeline.end();
        assert!(dts.is_none_or(|dts| end > dts) && pts.is_none_or(|pts| end >= pts));
        assert!(timeline.next_dts() > dts.unwrap_or(Ticks90k(i64::MIN)));
    }
}
