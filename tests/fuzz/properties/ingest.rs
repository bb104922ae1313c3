//! FLV tag bodies → segments: whatever a camera sends, packets are whole, counters go on, segments follow each other.

use std::collections::HashMap;

use sluicegate::{
    channel::ingest::{Carry, Ingest, VideoFragment},
    hls::SegmentSink,
};

use super::Input;

#[path = "../../common/recorder.rs"]
mod recorder;
use recorder::Recorder;

/// Tags, each: kind, step of the clock, length, body. Kinds also end a session, cut a message short, and shrink the room.
pub(crate) fn hold(bytes: &[u8]) {
    let mut input = Input(bytes);
    let setup = input.byte();
    let mut sink = Recorder::default();
    sink.capacity = [64 << 10, 1 << 20][usize::from(setup & 1)];
    sink.recall = [0, 16 << 10, usize::MAX, usize::MAX][usize::from(setup >> 1 & 3)];
    let frag_duration_s = 1 + u32::from(setup >> 3 & 7);
    let mut ingest = Ingest::new(frag_duration_s, Carry::default());
    let mut ms = u32::from(input.byte()) << 24;
    while !input.is_empty() {
        let kind = input.byte();
        let step = match kind & 0x30 {
            0x00 => u32::from(input.byte()),
            0x10 => u32::from(input.u16()),
            0x20 => u32::from(input.byte()).wrapping_neg(),
            _ => input.u32(),
        };
        ms = ms.wrapping_add(step);
        match kind & 0xF {
            0xF => {
                let carry = ingest.end(&mut sink);
                assert!(!sink.is_open());
                ingest = Ingest::new(frag_duration_s, carry.after_pause(u64::from(step)));
                continue;
            }
            0xE => {
                ingest.announce_audio();
                continue;
            }
            _ => {}
        }
        let length = usize::from(input.u16()) % 5000;
        let body = input.bytes(length);
        if kind & 1 == 0 {
            if !body.is_empty() {
                ingest.audio(ms, body, &mut sink);
            }
            continue;
        }
        // Filler makes pictures large without making inputs large.
        let filler = if kind & 2 == 0 { 0 } else { usize::from(input.byte()) << 8 };
        let whole = [body, &vec![0x5A; filler]].concat();
        let cut = if kind & 4 == 0 { whole.len() } else { whole.len() / 2 };
        let piece = if kind & 8 == 0 { usize::MAX } else { 1 + usize::from(input.byte()) };
        let mut offset = 0;
        for part in whole[..cut].chunks(piece) {
            let fragment = VideoFragment {
                timestamp_ms: ms,
                message_bytes: whole.len() as u32,
                offset,
                bytes: part,
            };
            if ingest.video(fragment, &mut sink).is_err() {
                return;
            }
            offset += part.len() as u32;
        }
        while ingest.notice().is_some() {}
        let _ = ingest.stat();
    }
    ingest.end(&mut sink);
    assert!(!sink.is_open() && sink.room() == 0);
    check(&sink);
}

/// What holds for every stream, whatever is in its NAL units.
fn check(sink: &Recorder) {
    let mut counters: HashMap<u16, u8> = HashMap::new();
    let mut end = None;
    for segment in &sink.segments {
        assert!(segment.end.duration.0 > 0, "a segment of {:?}", segment.end.duration);
        assert!(end.is_none_or(|end| segment.start.dts >= end), "segments overlap");
        end = Some(segment.start.dts + segment.end.duration);
        let pids = segment.bytes.chunks(188).enumerate().map(|(n, packet)| {
            let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
            assert!(n != 0 || pid == 0, "a segment does not begin with its PAT");
            if packet[3] & 0x10 != 0 {
                let counter = packet[3] & 0xF;
                let before = counters.insert(pid, counter);
                assert!(before.is_none_or(|before| (before + 1) & 0xF == counter), "{pid:#x}");
            }
            pid
        });
        assert!(pids.count() >= 3, "a segment of tables");
    }
}
