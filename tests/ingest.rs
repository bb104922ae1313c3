//! Publish sessions, message by message: what is recorded, what is left out, where segments end and why.

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

use recorder::Recorder;
use sluicegate::channel::ingest::{Carry, Counts, Ingest, Unsupported, VideoFragment};
use ts_walker::Walker;

const B_FRAMES: &[u8] = include_bytes!("data/flv/b_frames.flv");
const SLICES: &[u8] = include_bytes!("data/flv/slices.flv");

/// AVCDecoderConfigurationRecords with an SPS that differs in its last byte. The SPS is not a real one.
fn avc_config(variant: u8) -> Vec<u8> {
    vec![1, 66, 0, 30, 0xff, 0xe1, 0, 5, 0x67, 66, 0, 30, variant, 1, 0, 2, 0x68, 0xce]
}

const STEREO_44100: &[u8] = &[0x12, 0x10];
const MONO_8000: &[u8] = &[0x15, 0x88];

/// A publisher under the test's control.
struct Camera {
    ingest: Ingest,
    sink: Recorder,
}

impl Camera {
    fn new() -> Self {
        Self { ingest: Ingest::new(2, Carry::default()), sink: Recorder::default() }
    }

    /// With both sequence headers sent.
    fn started() -> Self {
        let mut camera = Self::new();
        camera.avc_header(1);
        camera.aac_header(STEREO_44100);
        camera
    }

    fn video(&mut self, timestamp_ms: u32, body: &[u8]) -> Result<(), Unsupported> {
        self.part(timestamp_ms, body, 0..body.len())
    }

    fn part(
        &mut self,
        timestamp_ms: u32,
        body: &[u8],
        range: std::ops::Range<usize>,
    ) -> Result<(), Unsupported> {
        let (message_bytes, offset) = (body.len() as u32, range.start as u32);
        let fragment = VideoFragment { timestamp_ms, message_bytes, offset, bytes: &body[range] };
        self.ingest.video(fragment, &mut self.sink)
    }

    fn avc_header(&mut self, variant: u8) {
        let body = [&[0x17, 0, 0, 0, 0], &avc_config(variant)[..]].concat();
        self.video(0, &body).unwrap();
    }

    fn aac_header(&mut self, config: &[u8]) {
        self.ingest.audio(0, &[&[0xaf, 0], config].concat(), &mut self.sink);
    }

    fn key(&mut self, ms: u32) {
        self.video(ms, &unit(0x65, 300)).unwrap();
    }

    fn inter(&mut self, ms: u32) {
        self.video(ms, &unit(0x41, 100)).unwrap();
    }

    fn audio(&mut self, ms: u32) {
        self.ingest.audio(ms, &[&[0xaf, 1], &[0x21; 40][..]].concat(), &mut self.sink);
    }

    /// From `from` to `to` seconds: 25 fps, a key frame each second, and AAC where `has_audio`.
    fn play(&mut self, from: u32, to: u32, has_audio: bool) {
        let mut audio_frame = (from * 1000 * 441).div_ceil(10_240);
        for ms in (from * 1000..to * 1000).step_by(40) {
            if ms.is_multiple_of(1000) {
                self.key(ms)
            } else {
                self.inter(ms)
            }
            while has_audio && audio_frame * 10_240 / 441 < ms + 40 {
                self.audio(audio_frame * 10_240 / 441);
                audio_frame += 1;
            }
        }
    }

    fn counts(&self) -> Counts {
        self.ingest.stat().counts
    }

    /// Ends the session. Of each segment: discontinuity, length in ms, access units, whether it lists audio.
    fn finish(mut self, has_holes: bool) -> Vec<(bool, i64, usize, bool)> {
        self.ingest.end(&mut self.sink);
        let mut walker = if has_holes { Walker::with_holes() } else { Walker::default() };
        let walk = |segment: &recorder::Segment| {
            let walked = walker
                .segment(&segment.bytes, segment.start.is_discontinuity)
                .expect("all rules hold");
            let ms = segment.end.duration.as_millis();
            (segment.start.is_discontinuity, ms, walked.video.len(), walked.lists_audio)
        };
        self.sink.segments.iter().map(walk).collect()
    }
}

/// An access unit of one slice.
fn unit(nal_header: u8, nal_bytes: u32) -> Vec<u8> {
    let mut body = vec![if nal_header & 0x1f == 5 { 0x17 } else { 0x27 }, 1, 0, 0, 0];
    body.extend(nal_bytes.to_be_bytes());
    body.push(nal_header);
    body.resize(9 + nal_bytes as usize, 0x9a);
    body
}

#[test]
fn nothing_is_recorded_before_the_first_key_frame() {
    let mut camera = Camera::started();
    for ms in [0, 40, 80] {
        camera.audio(ms);
        camera.inter(ms);
    }
    assert!(!camera.sink.is_open());
    camera.play(1, 3, true);
    let counts = camera.counts();
    // Sound of that time is not missed.
    assert_eq!((counts.video_dropped, counts.audio_dropped, counts.video_broken), (3, 0, 0));
    assert_eq!(camera.finish(false), [(false, 2_000, 50, true)]);
}

#[test]
fn frames_without_a_sequence_header_are_left_out() {
    let mut camera = Camera::new();
    camera.play(0, 1, true);
    assert_eq!(camera.counts().video_dropped, 25);
    assert_eq!(camera.ingest.stat().video, None);
    assert_eq!(camera.finish(false), []);
}

#[test]
fn a_camera_without_audio_lists_none() {
    let mut camera = Camera::new();
    camera.avc_header(1);
    camera.play(0, 4, false);
    assert_eq!(camera.finish(false), [(false, 2_000, 50, false), (false, 2_000, 50, false)]);
}

/// Of each segment: discontinuity, length in ms, whether the PMT lists audio.
fn listed(camera: &Camera) -> Vec<(bool, i64, bool)> {
    // A PMT's section is 18 bytes long with one stream, 23 with two.
    let of = |segment: &recorder::Segment| {
        (
            segment.start.is_discontinuity,
            segment.end.duration.as_millis(),
            segment.bytes[188 + 7] == 23,
        )
    };
    camera.sink.segments.iter().map(of).collect()
}

#[test]
fn a_track_that_falls_silent_is_listed_for_one_more_segment_until_it_comes_back() {
    let mut camera = Camera::started();
    camera.play(0, 2, true);
    camera.play(2, 6, false);
    camera.play(6, 10, true);
    camera.key(10_000);
    let expected = [
        (false, 2_000, true),
        (false, 2_000, true),
        (true, 2_000, false),
        // It came back after the key frame that began this one.
        (false, 1_000, false),
        (true, 2_000, true),
    ];
    assert_eq!(listed(&camera), expected);
}

#[test]
fn a_header_without_frames_is_listed_for_one_segment() {
    let mut camera = Camera::started();
    camera.play(0, 6, false);
    camera.key(6_000);
    assert_eq!(
        listed(&camera),
        [(false, 2_000, true), (true, 2_000, false), (false, 2_000, false)]
    );
}

#[test]
fn audio_that_turns_up_late_is_listed_from_the_next_key_frame_on() {
    let mut camera = Camera::new();
    camera.avc_header(1);
    camera.play(0, 3, false);
    camera.aac_header(STEREO_44100);
    camera.play(3, 6, true);
    let expected = [
        (false, 2_000, 50, false),
        (false, 1_000, 25, false),
        (true, 2_000, 50, true),
        (false, 1_000, 25, true),
    ];
    assert_eq!(camera.finish(false), expected);
}

#[test]
fn announced_audio_is_waited_for_but_not_for_ever() {
    let mut camera = Camera::new();
    camera.ingest.announce_audio();
    camera.avc_header(1);
    camera.key(0);
    assert!(!camera.sink.is_open());
    camera.aac_header(STEREO_44100);
    camera.inter(40);
    camera.play(1, 3, true);
    assert_eq!(camera.finish(false), [(false, 2_000, 50, true)]);

    let mut camera = Camera::new();
    camera.ingest.announce_audio();
    camera.avc_header(1);
    camera.play(0, 3, false);
    assert_eq!(camera.finish(false), [(false, 2_000, 50, false)], "it opened after one second");
}

#[test]
fn repeated_headers_change_nothing() {
    let mut camera = Camera::started();
    for second in 0..6 {
        camera.avc_header(1);
        camera.aac_header(STEREO_44100);
        camera.play(second, second + 1, true);
    }
    let segment = (false, 2_000, 50, true);
    assert_eq!(camera.finish(false), [segment, segment, segment]);
}

#[test]
fn another_picture_size_begins_a_segment_with_a_discontinuity() {
    let mut camera = Camera::started();
    camera.play(0, 3, true);
    camera.avc_header(2);
    camera.inter(3_000);
    camera.key(3_040);
    camera.play(4, 5, true);
    assert_eq!(
        camera.counts().video_dropped,
        1,
        "a picture of the new size that no decoder could begin with"
    );
    let sps = |segment: &recorder::Segment, variant| {
        let (sps, other) =
            ([0, 0, 0, 1, 0x67, 66, 0, 30, variant], [0, 0, 0, 1, 0x67, 66, 0, 30, 3 - variant]);
        let has = |what: &[u8]| segment.bytes.windows(what.len()).any(|window| window == what);
        has(&sps) && !has(&other)
    };
    camera.ingest.end(&mut camera.sink);
    let segments = &camera.sink.segments;
    let marks: Vec<bool> = segments.iter().map(|segment| segment.start.is_discontinuity).collect();
    assert_eq!(marks, [false, false, true]);
    assert!(sps(&segments[0], 1) && sps(&segments[1], 1) && sps(&segments[2], 2));
}

/// What a clip's sequence header holds: SPS and PPS.
fn sets(clip: &[u8]) -> [Vec<u8>; 2] {
    let header = flv::tags(clip).into_iter().find(|tag| tag.is_video && tag.body[1] == 0).unwrap();
    let record = &header.body[5..];
    let (sps, rest) = record[8..].split_at(usize::from(u16::from_be_bytes([record[6], record[7]])));
    [sps.to_vec(), rest[3..3 + usize::from(u16::from_be_bytes([rest[1], rest[2]]))].to_vec()]
}

/// An access unit, or what stands for one, of these NAL units.
fn tag_of(nals: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0x17, 1, 0, 0, 0];
    for nal in nals {
        body.extend((nal.len() as u32).to_be_bytes());
        body.extend(*nal);
    }
    body
}

/// Plays a second; `with_key` sends its key frame.
fn second(camera: &mut Camera, second: u32, with_key: impl Fn(&mut Camera, u32)) {
    with_key(camera, second * 1000);
    (1..25).for_each(|n| camera.inter(second * 1000 + 40 * n));
}

#[test]
fn tags_without_a_picture_are_no_pictures() {
    let [sps, pps] = sets(B_FRAMES);
    let aud = [9, 0xf0];
    let sei = [6; 30];
    let tags: [&[&[u8]]; 4] = [&[], &[&aud], &[&sei], &[&sps, &pps, &sei]];
    for nals in tags {
        let mut camera = Camera::new();
        camera.avc_header(1);
        for n in 0..6 {
            second(&mut camera, n, |camera, ms| {
                camera.video(ms, &tag_of(nals)).unwrap();
                camera.key(ms);
            });
        }
        let counts = camera.counts();
        assert_eq!((counts.video_broken, counts.unusable, counts.timestamps.nudged), (0, 0, 0));
        let changes = camera.finish(false);
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert!(changes.iter().all(|(_, ms, frames, _)| (*ms, *frames) == (2_000, 50)));
    }
}

#[test]
fn parameter_sets_among_the_pictures_count_wherever_they_stand() {
    let key = unit(0x65, 300);
    let [old, new] = [sets(B_FRAMES), sets(SLICES)];
    for has_header in [true, false] {
        for in_own_tag in [true, false] {
            let mut camera = Camera::new();
            let with = |sets: &[Vec<u8>; 2]| {
                let [sps, pps] = sets.clone();
                let key = key.clone();
                move |camera: &mut Camera, ms: u32| {
                    if in_own_tag {
                        camera.video(ms, &tag_of(&[&sps, &pps])).unwrap();
                        camera.key(ms);
                    } else {
                        camera.video(ms, &tag_of(&[&sps, &pps, &key[9..]])).unwrap();
                    }
                }
            };
            if has_header {
                camera.avc_header(1);
            }
            (0..4).for_each(|n| second(&mut camera, n, with(&old)));
            (4..8).for_each(|n| second(&mut camera, n, with(&new)));
            let what = format!("header {has_header}, own tag {in_own_tag}");
            assert_eq!(camera.ingest.stat().video.unwrap().frames_per_1000_s, 10_000, "{what}");
            camera.ingest.end(&mut camera.sink);
            let marks: Vec<_> =
                camera.sink.segments.iter().map(|s| s.start.is_discontinuity).collect();
            assert_eq!(marks, [false, false, true, false], "{what}");
            for (n, segment) in camera.sink.segments.iter().enumerate() {
                let [sps, _] = if n < 2 { &old } else { &new };
                let found = segment.bytes.windows(sps.len()).filter(|window| window == sps).count();
                assert_eq!(found, 2, "{what}: before each key frame of segment {n}");
            }
        }
    }
}

#[test]
fn frames_that_still_have_an_adts_header_are_recorded_without() {
    let record = |has_header: bool| {
        let mut camera = Camera::started();
        for n in 0..40 {
            camera.key(n * 100);
            let frame = [&[0x21][..], &[0x55; 39]].concat();
            let length = frame.len() + 7;
            let header =
                [0xff, 0xf1, 0x50, 0x80, (length >> 3) as u8, (length << 5) as u8 | 0x1f, 0xfc];
            let header = if has_header { &header[..] } else { &[] };
            let body = [&[0xaf, 1], header, &frame[..]].concat();
            camera.ingest.audio(n * 100, &body, &mut camera.sink);
        }
        camera.ingest.end(&mut camera.sink);
        camera.sink.segments.into_iter().map(|segment| segment.bytes).collect::<Vec<_>>()
    };
    assert!(record(true) == record(false));
}

#[test]
fn streams_of_which_nothing_can_be_read_are_named() {
    let cases: [(bool, &[u8], &str); 3] = [
        (false, &unit(0x65, 300), "neither a sequence header nor parameter sets"),
        (true, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65, 0, 0, 0, 0], "with their lengths before them"),
        (false, &[0x1d, 1, 0, 0, 0, 1, 2, 3], "no known codec"),
    ];
    for (has_header, body, words) in cases {
        let mut camera = Camera::new();
        if has_header {
            camera.avc_header(1);
        }
        (0..100).for_each(|n| camera.video(n * 40, body).unwrap());
        let told = notices(&mut camera);
        assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
    }
}

#[test]
fn another_audio_rate_begins_a_segment_with_a_discontinuity() {
    let mut camera = Camera::started();
    camera.play(0, 3, true);
    camera.aac_header(MONO_8000);
    camera.inter(3_000);
    camera.audio(3_000);
    camera.key(3_040);
    for n in 0..8 {
        camera.inter(3_080 + n * 128);
        camera.audio(3_080 + n * 128);
    }
    assert_eq!(camera.counts().audio_dropped, 1, "one frame came before the cut");
    let marks: Vec<bool> = camera.finish(true).iter().map(|segment| segment.0).collect();
    assert_eq!(marks, [false, false, true]);
}

#[test]
fn other_codecs_are_refused_by_name() {
    let mut camera = Camera::new();
    assert_eq!(camera.video(0, b"\x90hvc1\0\0\0"), Err(Unsupported { what: "H.265" }));
    let refusal = camera.video(0, &[0x12, 0, 0]).unwrap_err().to_string();
    assert_eq!(
        refusal,
        "Sorenson H.263 video cannot be recorded here: set the encoder to H.264 (AVC)"
    );

    // Garbage, and odd tags among good ones, are not.
    let mut camera = Camera::started();
    for body in [
        &[0x12, 0, 0][..],
        b"\x90hvc1\0",
        &[0x1f, 1, 2, 3, 4],
        &[],
        &[0x17],
        &[0x17, 9, 0, 0, 0, 1],
    ] {
        camera.video(0, body).unwrap();
    }
    assert_eq!(camera.counts().unusable, 6);
    for body in [&[0x2f, 1, 2][..], &[0x2f, 1, 2], &[0xff], &[], &[0xaf], &[0xaf, 7, 1]] {
        camera.ingest.audio(0, body, &mut camera.sink);
    }
    assert_eq!(camera.counts().unusable, 12);
    let notices: Vec<String> =
        std::iter::from_fn(|| camera.ingest.notice()).map(|notice| notice.to_string()).collect();
    assert_eq!(notices, ["audio is not recorded: MP3 is not AAC; set the encoder's audio to AAC"]);
    camera.play(0, 2, true);
    assert_eq!(camera.finish(false), [(false, 2_000, 50, true)]);
}

#[test]
fn malformed_headers_lose_their_track_and_are_told_once() {
    let mut camera = Camera::new();
    for header in [
        &[0x17, 0, 0, 0, 0, 1, 66][..],
        &[0x17, 0, 0, 0, 0],
        &[&[0x17, 0, 0, 0, 0], &[1; 3000][..]].concat(),
    ] {
        camera.video(0, header).unwrap();
    }
    camera.aac_header(&[0x12]);
    camera.aac_header(&[0x10, 0x00]);
    camera.play(0, 1, true);
    let notices: Vec<String> =
        std::iter::from_fn(|| camera.ingest.notice()).map(|notice| notice.to_string()).collect();
    assert_eq!(
        notices,
        [
            "video is not recorded: the AVC sequence header of 2 bytes is cut short",
            "audio is not recorded: the AudioSpecificConfig of 1 bytes is cut short",
        ]
    );
    assert_eq!((camera.counts().unusable, camera.counts().video_frames), (5, 0));
    // A good header heals it.
    camera.avc_header(1);
    camera.play(1, 3, false);
    assert_eq!(camera.finish(false), [(false, 2_000, 50, false)]);
}

/// Access units that are broken in each way there is, the longer ones after some packets were written.
fn broken_units() -> Vec<Vec<u8>> {
    let overrun = |nal_header, bytes: usize| {
        let mut body = unit(nal_header, 2_000);
        body.truncate(bytes);
        body
    };
    let with_tail = |tail: &[u8]| [&unit(0x41, 2_000)[..], tail].concat();
    vec![
        overrun(0x41, 12),
        overrun(0x41, 1_500),
        overrun(0x65, 1_500),
        with_tail(&[0, 0, 0, 0]),
        with_tail(&[0, 0, 0, 9, 1]),
        with_tail(&[0, 0]),
        [&[0x27, 1, 0, 0, 0][..], &4_000_u32.to_be_bytes(), &[6; 4_000]].concat(),
    ]
}

#[test]
fn a_broken_access_unit_leaves_no_trace() {
    for (n, body) in broken_units().iter().enumerate() {
        for step in [1, 188, 4096] {
            let mut camera = Camera::started();
            camera.play(0, 1, true);
            for (k, bytes) in body.chunks(step).enumerate() {
                camera.part(1_000, body, k * step..k * step + bytes.len()).unwrap();
            }
            assert_eq!(camera.counts().video_broken, 1, "unit {n} in steps of {step}");
            camera.play(1, 2, true);
            assert_eq!(
                camera.finish(false),
                [(false, 2_000, 50, true)],
                "unit {n} in steps of {step}"
            );
        }
    }
}

/// Each slice of a picture but its first in a tag of its own.
fn in_slices(tag: &flv::Tag) -> Vec<flv::Tag> {
    if !tag.is_video || tag.body[1] != 1 {
        return vec![tag.clone()];
    }
    let mut bodies: Vec<Vec<u8>> = vec![tag.body[..5].to_vec()];
    let mut has_slice = false;
    for nal in flv::nals(&tag.body[5..]) {
        let is_slice = matches!(nal[0] & 0x1f, 1..=5);
        if is_slice && has_slice {
            bodies.push(tag.body[..5].to_vec());
        }
        has_slice |= is_slice;
        let body = bodies.last_mut().unwrap();
        body.extend((nal.len() as u32).to_be_bytes());
        body.extend(nal);
    }
    bodies.into_iter().map(|body| flv::Tag { body, ..*tag }).collect()
}

#[test]
fn slices_that_come_in_tags_of_their_own_are_the_pictures_that_they_were() {
    let whole = flv::tags(SLICES);
    let slices: Vec<_> = whole.iter().flat_map(in_slices).collect();
    assert!(slices.len() > whole.len() + 100, "{} tags of {}", slices.len(), whole.len());
    let record = |tags: &[flv::Tag], step: usize| {
        let mut camera = Camera::new();
        for tag in tags {
            if tag.is_video {
                for start in (0..tag.body.len()).step_by(step) {
                    let end = tag.body.len().min(start + step);
                    camera.part(tag.timestamp_ms, &tag.body, start..end).unwrap();
                }
            } else {
                camera.ingest.audio(tag.timestamp_ms, &tag.body, &mut camera.sink);
            }
        }
        assert_eq!(camera.counts().video_broken, 0);
        camera.ingest.end(&mut camera.sink);
        // Audio may stand within a picture, so that the order of two tracks' packets tells nothing.
        for segment in &mut camera.sink.segments {
            let mut packets: Vec<_> = segment.bytes.chunks(188).collect();
            packets.sort_by_key(|packet| (packet[1] & 0x1f, packet[2]));
            segment.bytes = packets.concat();
        }
        camera.sink.segments
    };
    let expected = record(&whole, usize::MAX);
    for step in [1, 7, 300, usize::MAX] {
        assert!(record(&slices, step) == expected, "in steps of {step}");
    }
}

/// A slice that begins in the middle of a picture.
fn later_slice(nal_header: u8, nal_bytes: u32) -> Vec<u8> {
    let mut body = unit(nal_header, nal_bytes);
    body[10] = 0x4a;
    body
}

#[test]
fn a_slice_that_belongs_to_no_picture_is_left_out_and_a_broken_one_costs_its_picture() {
    let mut camera = Camera::started();
    // Not the beginning of a key frame.
    camera.video(0, &later_slice(0x65, 300)).unwrap();
    assert!(!camera.sink.is_open());
    let mut camera = Camera::started();
    camera.play(0, 1, true);
    // The encoder has sent whole pictures so far: the one before has ended.
    camera.video(960, &later_slice(0x41, 100)).unwrap();
    camera.video(970, &later_slice(0x41, 100)).unwrap();
    assert_eq!((camera.counts().video_frames, camera.counts().video_broken), (25, 2));
    camera.key(1_000);
    for ms in (1_040..2_000).step_by(40) {
        camera.inter(ms);
        camera.video(ms, &later_slice(0x41, 100)).unwrap();
        let broken = later_slice(0x41, 2_000);
        if ms == 1_400 {
            camera.video(ms, &broken[..1_500]).unwrap();
            camera.video(ms, &later_slice(0x41, 100)).unwrap();
        }
    }
    assert_eq!(camera.counts().video_broken, 4);
    assert_eq!(camera.finish(false), [(false, 2_000, 49, true)]);
}

#[test]
fn a_picture_whose_slices_may_go_on_ends_also_when_no_other_follows() {
    let mut camera = Camera::started();
    camera.key(0);
    camera.video(0, &later_slice(0x65, 100)).unwrap();
    camera.video(0, &later_slice(0x65, 100)).unwrap();
    for frame in 0..70 * 44_100 / 1024 {
        camera.audio(frame * 10_240 / 441);
    }
    assert!(!camera.sink.is_open());
    assert_eq!((camera.counts().video_frames, camera.counts().video_broken), (1, 0));
    assert_eq!(camera.sink.segments.len(), 1);
}

#[test]
fn an_access_unit_that_is_never_finished_leaves_no_trace() {
    let mut camera = Camera::started();
    camera.play(0, 1, true);
    let body = unit(0x65, 9_000);
    camera.part(1_000, &body, 0..5_000).unwrap();
    camera.play(1, 2, true);
    camera.part(2_000, &body, 0..5_000).unwrap();
    assert_eq!(camera.counts().video_broken, 1);
    assert_eq!(camera.finish(false), [(false, 2_000, 50, true)]);
}

#[test]
fn what_is_beyond_recall_ends_the_segment_and_a_key_frame_begins_the_next() {
    let mut camera = Camera::started();
    camera.sink.recall = 600;
    camera.play(0, 1, true);
    let mut body = unit(0x41, 9_000);
    body.extend([0, 0]);
    camera.video(1_000, &body).unwrap();
    camera.inter(1_040);
    camera.play(2, 4, true);
    assert_eq!(camera.finish(true), [(false, 1_000, 25, true), (true, 2_000, 50, true)]);
}

#[test]
fn a_segment_whose_first_frame_is_broken_begins_with_the_next_key_frame() {
    for recall in [0, usize::MAX] {
        let mut camera = Camera::started();
        camera.sink.recall = recall;
        camera.play(0, 2, true);
        let mut body = unit(0x65, 9_000);
        body.extend([0, 0]);
        camera.video(2_000, &body).unwrap();
        camera.inter(2_040);
        camera.audio(2_040);
        camera.play(3, 5, true);
        let expected = match recall {
            // The segment that was opened holds nothing, and is forgotten.
            0 => vec![(false, 2_000, 50, true), (true, 2_000, 50, true)],
            _ => vec![(false, 2_000, 50, true), (false, 2_000, 25, true), (false, 1_000, 25, true)],
        };
        assert_eq!(camera.finish(true), expected, "{recall}");
    }
}

#[test]
fn a_full_segment_is_cut_in_the_middle_of_a_group_of_pictures() {
    let mut camera = Camera::started();
    camera.sink.capacity = 256 << 10;
    camera.key(0);
    for n in 1..100 {
        camera.video(n * 40, &unit(0x41, 9_000)).unwrap();
    }
    assert_eq!((camera.counts().video_frames, camera.counts().video_dropped), (100, 0));
    camera.ingest.end(&mut camera.sink);
    let segments = &camera.sink.segments;
    assert!(segments.len() > 3 && segments.iter().all(|segment| !segment.start.is_discontinuity));
    let independent: Vec<bool> =
        segments.iter().map(|segment| segment.end.is_independent).collect();
    assert!(independent[0] && independent[1..].iter().all(|is_independent| !is_independent));
    let total: i64 = segments.iter().map(|segment| segment.end.duration.as_millis()).sum();
    assert_eq!(total, 4_000);
}

#[test]
fn an_access_unit_larger_than_any_segment_is_left_out() {
    let mut camera = Camera::started();
    camera.sink.capacity = 256 << 10;
    camera.play(0, 1, true);
    camera.video(1_000, &unit(0x65, 400_000)).unwrap();
    camera.inter(1_040);
    camera.play(2, 4, true);
    assert_eq!(camera.counts().video_dropped, 2);
    let segments = camera.finish(true);
    assert_eq!(segments[0], (false, 1_000, 25, true));
    assert_eq!(segments[1..].iter().map(|segment| segment.2).sum::<usize>(), 50);
}

/// What a session has to say for the log.
fn notices(camera: &mut Camera) -> Vec<String> {
    std::iter::from_fn(|| camera.ingest.notice()).map(|notice| notice.to_string()).collect()
}

#[test]
fn without_any_key_frame_nothing_is_recorded_and_the_log_says_so_once() {
    let mut camera = Camera::started();
    for ms in (0..30_000).step_by(40) {
        camera.inter(ms);
        camera.audio(ms);
    }
    let told = notices(&mut camera);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("no key frame (IDR picture) came for 10 s"), "{}", told[0]);
    assert!(!camera.sink.is_open());
    camera.play(30, 32, true);
    assert_eq!(camera.finish(false), [(false, 2_000, 50, true)]);
}

#[test]
fn key_frames_ten_seconds_apart_make_long_segments_and_one_line_in_the_log() {
    let mut camera = Camera::started();
    for ms in (0..60_000).step_by(40) {
        if ms % 10_000 == 0 { camera.key(ms) } else { camera.inter(ms) }
    }
    let told = notices(&mut camera);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("up to 10 s apart") && told[0].contains("2 s or less"), "{}", told[0]);
    let segments = camera.sink.segments.iter();
    assert!(
        segments.clone().count() == 5
            && segments.clone().all(|s| s.end.duration.as_millis() == 10_000)
    );
    assert!(segments.skip(2).all(|segment| !segment.start.is_discontinuity));
}

#[test]
fn one_key_frame_and_no_other_is_cut_after_a_minute_without_a_discontinuity() {
    let mut camera = Camera::new();
    camera.avc_header(1);
    camera.key(0);
    for ms in (100..200_000).step_by(100) {
        camera.inter(ms);
    }
    let segments: Vec<_> = camera.sink.segments.iter().collect();
    assert_eq!(segments.len(), 3);
    assert!(
        segments.iter().all(|s| s.end.duration.as_millis() == 60_000 && !s.start.is_discontinuity)
    );
    assert!(segments[0].end.is_independent && !segments[1].end.is_independent);
}

#[test]
fn sound_that_is_past_the_minute_first_does_not_end_the_recording() {
    let mut camera = Camera::started();
    let mut audio_frame = 0;
    for n in 0..300 * 30_000 / 1_001 {
        let ms = n * 1_001 / 30;
        while audio_frame * 10_240 / 441 < ms + 60 {
            camera.audio(audio_frame * 10_240 / 441);
            audio_frame += 1;
        }
        if n == 0 { camera.key(ms) } else { camera.inter(ms) }
    }
    assert_eq!(camera.counts().video_dropped, 0);
    camera.ingest.end(&mut camera.sink);
    let lengths = camera.sink.segments.iter().map(|s| s.end.duration.as_millis());
    assert!(lengths.clone().take(4).all(|ms| (60_000..60_100).contains(&ms)), "{lengths:?}");
    assert!(camera.sink.segments.iter().all(|segment| !segment.start.is_discontinuity));
}

#[test]
fn a_picture_behind_more_supplemental_information_than_is_looked_at_is_recorded() {
    let mut camera = Camera::started();
    for second in 0..4_u32 {
        let sei = [&200_u32.to_be_bytes()[..], &[6; 200]].concat().repeat(20);
        let body = [&[0x17, 1, 0, 0, 0], &sei[..], &unit(0x65, 300)[5..]].concat();
        camera.video(second * 1000, &body).unwrap();
        for ms in (40..1000).step_by(40) {
            camera.inter(second * 1000 + ms);
        }
    }
    assert_eq!((camera.counts().video_broken, camera.counts().video_frames), (0, 100));
    camera.ingest.end(&mut camera.sink);
    assert_eq!(camera.sink.segments.len(), 2);
}

#[test]
fn what_happened_to_timestamps_is_counted() {
    let mut camera = Camera::started();
    camera.key(0);
    for ms in [40, 40, 900_000, 120, 900_040, 900_080, 900_120, 900_160] {
        camera.inter(ms);
    }
    let timestamps = camera.counts().timestamps;
    assert_eq!((timestamps.nudged, timestamps.restamped, timestamps.jumps), (1, 3, 1));
}

#[test]
fn a_key_frame_of_megabytes_is_recorded_in_parts_without_being_held() {
    let mut camera = Camera::new();
    camera.avc_header(1);
    let key = unit(0x65, 3 << 20);
    for second in 0..4_u32 {
        for (n, part) in key.chunks(4096).enumerate() {
            camera.part(second * 1000, &key, n * 4096..n * 4096 + part.len()).unwrap();
        }
        camera.inter(second * 1000 + 500);
    }
    assert_eq!(camera.counts().video_frames, 8);
    let segments = camera.finish(true);
    assert_eq!(segments.iter().map(|segment| segment.2).sum::<usize>(), 8);
}

#[test]
fn a_stream_goes_over_the_33_bits_of_a_presentation_time() {
    // 2^33 ticks are 95,443.7 s.
    let mut camera = Camera::started();
    camera.ingest = Ingest::new(2, Carry::default().after_pause(95_437_000));
    camera.avc_header(1);
    camera.aac_header(STEREO_44100);
    camera.play(0, 12, true);
    let segment = (false, 2_000, 50, true);
    assert_eq!(camera.finish(false), [segment; 6]);
}

#[test]
fn a_declared_length_costs_no_memory() {
    let mut camera = Camera::started();
    camera.play(0, 1, true);
    let head = [&[0x27, 1, 0, 0, 0][..], &0xFF_FFF0_u32.to_be_bytes(), &[0x41; 500]].concat();
    let cost = allocation_counter::measure(|| {
        for n in 0..100 {
            let fragment = VideoFragment {
                timestamp_ms: 1_000 + n,
                message_bytes: 0xFF_FFFF,
                offset: 0,
                bytes: &head,
            };
            camera.ingest.video(fragment, &mut camera.sink).unwrap();
            camera.ingest.audio(1_000 + n, &[0xaf, 1, 0xff], &mut camera.sink);
        }
    });
    // The test's own segments grow by whole doublings; a message of 16 MiB a hundred times would be seen.
    assert!(cost.bytes_max < 1 << 20, "{} bytes", cost.bytes_max);
}

#[test]
fn audio_alone_keeps_no_segment_open() {
    let mut camera = Camera::started();
    camera.play(0, 1, true);
    for n in 0..3_000 {
        camera.audio(1_000 + n * 10_240 / 441);
    }
    assert!(!camera.sink.is_open(), "it was sealed after 60 s");
    camera.play(80, 82, true);
    let segments = camera.finish(true);
    assert_eq!(segments.len(), 2);
    assert!((59_900..60_100).contains(&segments[0].1) && segments[1].0, "{segments:?}");
}

#[test]
fn audio_may_come_between_the_fragments_of_a_picture() {
    for is_broken in [false, true] {
        let mut camera = Camera::started();
        camera.play(0, 1, true);
        let mut body = unit(0x65, 60_000);
        if is_broken {
            body.extend([0, 0]);
        }
        // 1.2 s of audio: more than one PES packet holds.
        for (n, start) in (0..body.len()).step_by(1_200).enumerate() {
            camera.part(1_000, &body, start..body.len().min(start + 1_200)).unwrap();
            camera.audio(1_000 + n as u32 * 10_240 / 441);
        }
        assert_eq!(camera.counts().video_broken, u64::from(is_broken));
        camera.inter(2_240);
        let segments = camera.finish(true);
        assert_eq!(
            segments.iter().map(|segment| segment.2).sum::<usize>(),
            if is_broken { 26 } else { 27 }
        );
    }
}

#[test]
fn a_day_of_segments_does_not_drift() {
    let mut camera = Camera::started();
    let mut frames = 0;
    for second in (0..86_400).step_by(2) {
        for ms in [0, 1_000] {
            camera.key(second * 1000 + ms);
        }
        frames += 2;
        let sealed = camera.sink.segments.len();
        assert!(sealed <= 1);
        if let Some(segment) = camera.sink.segments.pop() {
            assert_eq!(segment.end.duration.as_millis(), 2_000);
        }
    }
    assert_eq!(camera.counts().video_frames, frames);
}

#[test]
fn whatever_a_camera_sends_the_output_obeys_the_rules_and_the_sink_its_contract() {
    let seed =
        std::env::var("SLUICEGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x51u64);
    println!("SLUICEGATE_SEED={seed}");
    let mut state = seed;
    let mut random = move |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let tags = flv::tags(B_FRAMES);
    for round in 0..60 {
        let mut camera = Camera::new();
        camera.sink.capacity = [200 << 10, 8 << 20][random(2)];
        camera.sink.recall = [0, 2_000, usize::MAX][random(3)];
        for tag in &tags {
            let mut tag = tag.clone();
            let is_unit = tag.body[1] == 1;
            match random(40) {
                0 => tag.timestamp_ms = random(1 << 32) as u32,
                1 => tag.timestamp_ms = tag.timestamp_ms.wrapping_sub(random(3_000) as u32),
                2 => continue,
                3 if is_unit => tag.body.truncate(random(tag.body.len())),
                4 if is_unit && tag.is_video => tag.body[5 + random(4)] ^= 1 << random(8),
                5 if is_unit && tag.is_video => tag.body[2 + random(3)] ^= 1 << random(8),
                6 => tag.body[1] = random(4) as u8,
                7 => tag.body[0] = random(256) as u8,
                _ => {}
            }
            if !tag.is_video {
                camera.ingest.audio(tag.timestamp_ms, &tag.body, &mut camera.sink);
                continue;
            }
            let (mut at, give_up) =
                (0, if random(50) == 0 { random(tag.body.len() + 1) } else { usize::MAX });
            while at < tag.body.len().min(give_up) {
                let end = (at + 1 + random(500)).min(tag.body.len());
                // An odd codec before the header is refused; the encoder that goes on all the same is not our concern.
                _ = camera.part(tag.timestamp_ms, &tag.body, at..end);
                at = end;
            }
        }
        camera.ingest.end(&mut camera.sink);
        let mut walker = Walker::with_holes();
        for (n, segment) in camera.sink.segments.iter().enumerate() {
            let walked = walker.segment(&segment.bytes, segment.start.is_discontinuity);
            if let Err(fault) = walked {
                // A segment may list a track that sends nothing, once.
                assert!(
                    fault.starts_with("T5: audio is listed and missing"),
                    "round {round}, segment {n}: {fault}"
                );
            }
            assert!(segment.end.duration.0 > 0);
        }
    }
}
