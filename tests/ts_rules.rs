//! What encoders send → segments that obey every rule of [`ts_walker`], hold the same pictures and sound, and cost little.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where its stream is not as it must be"
)]

#[path = "common/flv.rs"]
mod flv;
#[path = "common/recorder.rs"]
mod recorder;
#[path = "common/ts_walker.rs"]
mod ts_walker;

use flv::Tag;
use recorder::{Recorder, Segment};
use sluicegate::channel::ingest::{Carry, Ingest, VideoFragment};
use ts_walker::Walker;

const B_FRAMES: &[u8] = include_bytes!("data/flv/b_frames.flv");
const SLICES: &[u8] = include_bytes!("data/flv/slices.flv");
const ONE_FPS: &[u8] = include_bytes!("data/flv/one_fps.flv");
const HE_AAC_V1: &[u8] = include_bytes!("data/flv/he_aac_v1.flv");
const HE_AAC_V2: &[u8] = include_bytes!("data/flv/he_aac_v2.flv");

/// Feeds messages, video in fragments of `fragment_bytes`.
fn feed(ingest: &mut Ingest, tags: &[Tag], fragment_bytes: usize, sink: &mut Recorder) {
    for tag in tags {
        if !tag.is_video {
            ingest.audio(tag.timestamp_ms, &tag.body, sink);
            continue;
        }
        for (n, bytes) in tag.body.chunks(fragment_bytes).enumerate() {
            let (message_bytes, offset) = (tag.body.len() as u32, (n * fragment_bytes) as u32);
            let fragment =
                VideoFragment { timestamp_ms: tag.timestamp_ms, message_bytes, offset, bytes };
            ingest.video(fragment, sink).expect("H.264");
        }
    }
}

fn session(tags: &[Tag], fragment_bytes: usize, carry: Carry, sink: &mut Recorder) -> Carry {
    let mut ingest = Ingest::new(3, carry);
    feed(&mut ingest, tags, fragment_bytes, sink);
    ingest.end(sink)
}

fn segments(tags: &[Tag], fragment_bytes: usize) -> Vec<Segment> {
    let mut sink = Recorder::default();
    session(tags, fragment_bytes, Carry::default(), &mut sink);
    sink.segments
}

fn walk(segments: &[Segment]) -> Vec<ts_walker::Segment> {
    let mut walker = Walker::default();
    let walk = |(n, segment): (usize, &Segment)| {
        walker
            .segment(&segment.bytes, segment.start.is_discontinuity)
            .unwrap_or_else(|fault| panic!("segment {n}: {fault}"))
    };
    segments.iter().enumerate().map(walk).collect()
}

#[test]
fn every_rule_holds_and_not_a_bit_of_picture_or_sound_is_lost() {
    for (name, file, count) in [
        ("b_frames", B_FRAMES, 2),
        ("slices", SLICES, 2),
        ("one_fps", ONE_FPS, 3),
        ("he_aac_v1", HE_AAC_V1, 2),
        ("he_aac_v2", HE_AAC_V2, 2),
    ] {
        let tags = flv::tags(file);
        let segments = segments(&tags, 4096);
        assert_eq!(segments.len(), count, "{name}");
        let walked = walk(&segments);
        let (video, audio): (Vec<_>, Vec<_>) =
            tags.iter().filter(|tag| tag.body[1] == 1).partition(|tag| tag.is_video);

        let units: Vec<_> = walked.iter().flat_map(|segment| &segment.video).collect();
        assert_eq!(units.len(), video.len(), "{name}");
        let first = units[0].dts - i64::from(video[0].timestamp_ms) * 90;
        for (unit, tag) in units.iter().zip(&video) {
            let composition_ms =
                i64::from(u32::from_be_bytes([0, tag.body[2], tag.body[3], tag.body[4]]));
            assert_eq!(unit.dts, first + i64::from(tag.timestamp_ms) * 90, "{name}");
            assert_eq!(unit.pts, unit.dts + composition_ms * 90, "{name}");
            // Delimiters and parameter sets are the muxer's business.
            let is_kept = |nal: &&[u8]| !matches!(nal[0] & 0x1f, 7..=9);
            let sent: Vec<&[u8]> = flv::nals(&tag.body[5..]).filter(is_kept).collect();
            let written: Vec<&[u8]> = unit.nals.iter().map(Vec::as_slice).filter(is_kept).collect();
            assert_eq!(written, sent, "{name}");
        }

        let frames: Vec<_> = walked.iter().flat_map(|segment| &segment.audio).collect();
        let before_video =
            audio.iter().take_while(|tag| tag.timestamp_ms < video[0].timestamp_ms).count();
        let heard = &audio[before_video..];
        assert_eq!(frames.len(), heard.len(), "{name}");
        for (frame, tag) in frames.iter().zip(heard) {
            assert_eq!(frame.bytes[7..], tag.body[2..], "{name}");
            let off = frame.pts - first - i64::from(tag.timestamp_ms) * 90;
            assert!(off.abs() <= 90, "{name}: {off} ticks, more than RTMP's own rounding");
        }
    }
}

#[test]
fn durations_are_the_distances_between_first_decoding_times() {
    for file in [B_FRAMES, SLICES, ONE_FPS, HE_AAC_V1, HE_AAC_V2] {
        let segments = segments(&flv::tags(file), 4096);
        let walked = walk(&segments);
        for (segment, walked) in segments.iter().zip(&walked) {
            assert_eq!(segment.start.dts.0, walked.video[0].dts);
            assert!(segment.end.is_independent && !segment.start.is_discontinuity);
        }
        for pair in segments.windows(2) {
            assert_eq!(pair[0].start.dts + pair[0].end.duration, pair[1].start.dts);
        }
    }
}

#[test]
fn output_does_not_depend_on_the_size_of_fragments() {
    for file in [B_FRAMES, SLICES, ONE_FPS, HE_AAC_V1, HE_AAC_V2] {
        let tags = flv::tags(file);
        let whole = segments(&tags, 65_536);
        for fragment_bytes in [1, 7, 128, 4096] {
            assert!(segments(&tags, fragment_bytes) == whole, "fragments of {fragment_bytes}");
        }
    }
}

#[test]
fn output_does_not_depend_on_the_length_of_length_prefixes() {
    let tags = flv::tags(SLICES);
    let four = segments(&flv::with_length_bytes(&tags, 4), 4096);
    for length_bytes in [1, 2] {
        let repacked = flv::with_length_bytes(&tags, length_bytes);
        for fragment_bytes in [1, 7, 4096] {
            let other = segments(&repacked, fragment_bytes);
            assert!(other == four, "{length_bytes} bytes, fragments of {fragment_bytes}");
        }
    }
}

#[test]
fn sessions_follow_on_one_another_with_one_discontinuity_each() {
    let mut sink = Recorder::default();
    let mut carry = Carry::default();
    for (file, pause_ms) in [(B_FRAMES, 0), (B_FRAMES, 1), (ONE_FPS, 3_000), (SLICES, 86_400_000)] {
        carry = session(&flv::tags(file), 4096, carry.after_pause(pause_ms), &mut sink);
    }
    walk(&sink.segments);
    let marks: Vec<bool> =
        sink.segments.iter().map(|segment| segment.start.is_discontinuity).collect();
    assert_eq!(marks, [false, false, true, false, true, false, false, true, false]);
    assert!(
        sink.segments
            .windows(2)
            .all(|pair| pair[0].start.dts + pair[0].end.duration <= pair[1].start.dts)
    );
}

#[test]
fn the_33_bits_of_a_timestamp_may_fold_in_a_segment() {
    let until_fold_ms = (1 << 33) / 90;
    for before_ms in [2_000, 4_000, 5_500, 8_000] {
        let mut sink = Recorder::default();
        session(
            &flv::tags(B_FRAMES),
            4096,
            Carry::default().after_pause(until_fold_ms - before_ms),
            &mut sink,
        );
        let walked = walk(&sink.segments);
        let dts: Vec<i64> =
            walked.iter().flat_map(|segment| &segment.video).map(|unit| unit.dts).collect();
        assert!(
            before_ms == 2_000 || dts.windows(2).any(|pair| pair[1] >> 33 > pair[0] >> 33),
            "{before_ms} ms before"
        );
    }
}

#[test]
fn timestamps_may_fold_at_32_bits() {
    let mut tags = flv::tags(B_FRAMES);
    let straight = segments(&tags, 4096);
    for tag in &mut tags {
        tag.timestamp_ms = tag.timestamp_ms.wrapping_sub(3_333);
    }
    assert!(segments(&tags, 4096) == straight);
}

#[test]
fn another_reader_finds_the_same() {
    use mpeg2ts::{
        pes::{PesPacketReader, ReadPesPacket},
        ts::TsPacketReader,
    };
    let segments = segments(&flv::tags(B_FRAMES), 4096);
    let walked = walk(&segments);
    for (segment, walked) in segments.iter().zip(&walked) {
        let mut reader = PesPacketReader::new(TsPacketReader::new(&segment.bytes[..]));
        let mut video = Vec::new();
        while let Some(packet) = reader.read_pes_packet().expect("mpeg2ts reads it") {
            if packet.header.stream_id.is_video() {
                let pts = packet.header.pts.expect("a PTS").as_u64();
                video.push((packet.header.dts.map_or(pts, |dts| dts.as_u64()), pts));
            }
        }
        video.sort_unstable();
        let ours: Vec<_> = walked
            .video
            .iter()
            .map(|unit| (unit.dts.cast_unsigned(), unit.pts.cast_unsigned()))
            .collect();
        assert_eq!(video, ours);
    }
}

/// 4 Mbit/s at 25 fps with 128 kbit/s of AAC, with key frames of eight times a usual frame's size.
fn four_megabit(seconds: u32) -> Vec<Tag> {
    let config = |is_video, body: &[u8]| Tag { is_video, timestamp_ms: 0, body: body.to_vec() };
    let avc = flv::tags(B_FRAMES).into_iter().find(|tag| tag.is_video).expect("a sequence header");
    let mut tags = vec![avc, config(false, &[0xaf, 0, 0x11, 0x90])];
    let mut audio_frames = 0;
    for frame in 0..25 * seconds {
        let is_key = frame % 50 == 0;
        let nal_bytes = if is_key { 140_000 } else { 17_550 };
        let mut body = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 80];
        body.extend((nal_bytes as u32).to_be_bytes());
        body.push(if is_key { 0x65 } else { 0x41 });
        body.resize(9 + nal_bytes, 0x9a);
        tags.push(Tag { is_video: true, timestamp_ms: frame * 40, body });
        while audio_frames * 64 / 3 < (frame + 1) * 40 {
            let mut body = vec![0xaf, 1];
            body.resize(2 + 341, 0x21);
            tags.push(Tag { is_video: false, timestamp_ms: audio_frames * 64 / 3, body });
            audio_frames += 1;
        }
    }
    tags
}

#[test]
fn transport_adds_three_percent_at_most() {
    let tags = four_megabit(20);
    let segments = segments(&tags, 4096);
    walk(&segments);
    let ts: usize = segments.iter().map(|segment| segment.bytes.len()).sum();
    let es: usize = tags.iter().map(|tag| tag.body.len() - if tag.is_video { 5 } else { 2 }).sum();
    let ratio = ts as f64 / es as f64;
    println!("{ratio:.4} bytes of TS for each of the elementary streams");
    assert!((1.02..=1.03).contains(&ratio), "{ratio}");
}

/// Where audio PES packets start.
fn audio_pes(ts: &[u8]) -> Vec<usize> {
    let starts = ts.chunks(188).enumerate().filter(|(_, packet)| packet[1..3] == [0x41, 1]);
    starts
        .map(|(n, packet)| {
            n * 188 + if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) }
        })
        .collect()
}

/// Adds `ticks` to the PTS of the PES packet at `at`.
fn delay(ts: &mut [u8], at: usize, ticks: u64) {
    let field = &mut ts[at + 9..at + 14];
    let word = |high: u8, low: u8| u64::from(u16::from_be_bytes([high, low]) >> 1);
    let pts = ticks
        + (u64::from(field[0] >> 1 & 7) << 30
            | word(field[1], field[2]) << 15
            | word(field[3], field[4]));
    field[0] = 0x21 | (pts >> 29) as u8 & 0xe;
    field[1..3].copy_from_slice(&((pts >> 14) as u16 | 1).to_be_bytes());
    field[3..5].copy_from_slice(&((pts << 1) as u16 | 1).to_be_bytes());
}

/// Breaks a segment.
type Fault<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn the_walker_sees_planted_faults() {
    let good = segments(&flv::tags(B_FRAMES), 4096);
    let first_fault = |at: usize, fault: Fault<'_>| {
        let mut walker = Walker::default();
        let faults = good.iter().enumerate().map(|(n, segment)| {
            let mut bytes = segment.bytes.clone();
            if n == at {
                fault(&mut bytes);
            }
            walker.segment(&bytes, false)
        });
        faults
            .filter_map(Result::err)
            .next()
            .map(|fault| fault[..3].trim_end_matches(':').to_owned())
    };
    assert_eq!(first_fault(9, &|_| ()), None);
    let find = |bytes: &[u8], what: &[u8]| {
        bytes.windows(what.len()).position(|window| window == what).expect("it is there")
    };
    let table: &[(&str, usize, Fault<'_>)] = &[
        ("T1", 0, &|ts| ts.truncate(ts.len() - 1)),
        ("T1", 0, &|ts| ts.rotate_left(188)),
        ("T1", 0, &|ts| ts[14] ^= 1),
        ("T1", 1, &|ts| ts[188 + 20] ^= 1),
        ("T3", 1, &|ts| ts.truncate(376)),
        ("T5", 0, &|ts| {
            let video =
                ts.chunks(188).filter(|packet| packet[1..3] != [1, 1] && packet[1..3] != [0x41, 1]);
            *ts = video.flatten().copied().collect();
        }),
        ("T4", 1, &|ts| ts[3] ^= 1),
        ("T4", 1, &|ts| drop(ts.drain(376 * 2..376 * 2 + 188))),
        ("T6", 0, &|ts| {
            let sps = find(ts, &[0, 0, 0, 1, 0x67]);
            ts[sps + 4] = 0x66;
        }),
        ("T7", 0, &|ts| {
            let delimiter = find(ts, &[0, 0, 0, 1, 9]);
            ts[delimiter + 4] = 6;
        }),
        ("T8", 0, &|ts| {
            let delimiter = find(ts, &[0, 0, 0, 1, 9]);
            ts[delimiter + 3] = 7;
        }),
        ("T9", 0, &|ts| {
            let pes = find(ts, &[0, 0, 1, 0xc0]);
            ts[pes + 5] ^= 1;
        }),
        ("T10", 0, &|ts| {
            let pes = find(ts, &[0, 0, 1, 0xe0]);
            ts[pes + 13] ^= 1;
        }),
        ("T11", 1, &|ts| ts[376 + 8] ^= 0x80),
        ("T12", 0, &|ts| ts[376 + 5] ^= 0x40),
        ("T13", 0, &|ts| {
            let adts = find(ts, &[0xff, 0xf1]);
            ts[adts + 1] = 0;
        }),
        ("T14", 0, &|ts| audio_pes(ts).iter().for_each(|at| delay(ts, *at, 9_000))),
        ("T15", 0, &|ts| {
            let second = audio_pes(ts)[1];
            delay(ts, second, 9_000);
        }),
        ("T16", 1, &|ts| {
            let stuffing = 376 + find(&ts[376..], &[0xff; 20]);
            ts[stuffing + 5] = 0;
        }),
    ];
    for (n, (rule, segment, fault)) in table.iter().enumerate() {
        assert_eq!(first_fault(*segment, *fault).as_deref(), Some(*rule), "fault {n}");
    }
}
