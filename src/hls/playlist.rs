//! Segment records → m3u8 text.
//!
//! A playlist is never a file: it is made from the ring's records when it is asked for, so it cannot be torn, and
//! it cannot disagree with what the ring holds. Sources: RFC 8216 §4.3, §6.2; for EXT-X-GAP the successor draft
//! (draft-pantos-hls-rfc8216bis §4.4.4.7), and for low latency §4.4.3.7, §4.4.3.8, §4.4.4.9 and §4.4.5.3.

use std::fmt::Write;

use md5::{Digest as _, Md5};

use crate::{
    hls::parts::Part,
    store::Record,
    units::{IsoMillis, Ticks90k, UnixMillis},
};

/// How a playlist ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A sliding window that goes on.
    Live,
    /// A sliding window whose stream has ended (EXT-X-ENDLIST).
    Ended,
    /// A recording: all of it, for good (EXT-X-PLAYLIST-TYPE:VOD).
    Vod,
}

/// What a low-latency playlist lists beside its segments. `()` is the plain one.
pub trait Parts {
    /// Longest part; `None`: the playlist is a plain one.
    fn target(&self) -> Option<Ticks90k> {
        None
    }
    /// The parts of a listed segment, as long as they are listed.
    fn of(&self, _: &Record) -> &[Part] {
        &[]
    }
    /// The segment behind the last one that is listed.
    fn open(&self) -> Option<OpenSegment<'_>> {
        None
    }
}

impl Parts for () {}

/// A segment of which only parts are listed.
#[derive(Clone, Copy, Debug)]
pub struct OpenSegment<'a> {
    /// Its name.
    pub start: UnixMillis,
    /// A discontinuity stands before it.
    pub is_discontinuity: bool,
    /// No part comes behind the last one.
    pub is_complete: bool,
    /// Its parts so far.
    pub parts: &'a [Part],
}

/// How far from the end a low-latency player stays, in parts (§4.4.3.8: at least two, three are better).
const HOLD_BACK_PARTS: i64 = 3;

/// How many of the newest `records` the live window of a playlist lists.
///
/// The newest `frag_count` (OSS's rule), and as many more as it takes to stay at three target durations
/// (RFC 8216 §6.2.2: a server must not remove a segment if that makes the playlist shorter). None that is longer than the target
/// (§4.3.3.1) and none before it: they are from before the target was made shorter.
pub fn window_len<'a>(
    records: impl DoubleEndedIterator<Item = &'a Record>,
    frag_count: usize,
    target_duration_s: u16,
) -> usize {
    let enough = Ticks90k::from_millis(3000 * i64::from(target_duration_s));
    let mut listed = Ticks90k(0);
    let mut len = 0;
    for record in records.rev() {
        let is_too_long = record.duration.as_secs_rounded() > target_duration_s.into();
        if len >= frag_count && listed >= enough || is_too_long {
            break;
        }
        listed = listed + record.duration;
        len += 1;
    }
    len
}

/// Writes the playlist of `records` to `out`.
///
/// `address` writes the address of the segment that starts so: its relative name, and behind it the signature if there is one.
pub fn render<'a>(
    records: impl Iterator<Item = &'a Record> + Clone,
    kind: Kind,
    target_duration_s: u16,
    parts: &impl Parts,
    out: &mut String,
    mut address: impl FnMut(UnixMillis, &mut String),
) {
    let Some(first) = records.clone().next() else { return };
    let has_gap = records.clone().any(|record| record.is_gap);
    // The draft asks for version 8 where a gap is marked; decimal EXTINF needs 3 (RFC 8216 §7).
    let version = if has_gap { 8 } else { 3 };
    let _ = write!(out, "#EXTM3U\n#EXT-X-VERSION:{version}\n");
    if kind == Kind::Vod {
        out.push_str("#EXT-X-PLAYLIST-TYPE:VOD\n");
    }
    let sequence = if kind == Kind::Vod { 0 } else { first.sequence };
    let _ = write!(
        out,
        "#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXT-X-TARGETDURATION:{target_duration_s}\n"
    );
    if let Some(target) = parts.target() {
        let hold_back = Ticks90k(target.0 * HOLD_BACK_PARTS);
        let _ = write!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={}\n#EXT-X-PART-INF:PART-TARGET={}\n",
            Seconds(hold_back),
            Seconds(target)
        );
    }
    if kind != Kind::Vod {
        // Discontinuities that have left the window; the first segment's own is still in it.
        let gone = first.discontinuities - u64::from(first.is_discontinuity);
        let _ = writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{gone}");
    }
    if records.clone().all(|record| record.is_independent || record.is_gap) {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let mut previous: Option<&Record> = None;
    for record in records {
        let follows = previous.is_none_or(|previous| previous.sequence + 1 == record.sequence);
        let vod_start = kind == Kind::Vod && previous.is_none();
        let is_break = (record.is_discontinuity && !vod_start) || !follows;
        // In a recording, which may list a day, a player counts on from the last one (RFC 8216 §6.3.3).
        let is_dated = kind != Kind::Vod || previous.is_none() || is_break;
        begin(is_break, is_dated.then_some(record.start), out);
        list_parts(record.start, parts.of(record), out, &mut address);
        let _ = writeln!(out, "#EXTINF:{},", Seconds(record.duration));
        if record.is_gap {
            out.push_str("#EXT-X-GAP\n");
        }
        address(record.start, out);
        out.push('\n');
        previous = Some(record);
    }
    // One that has no part yet and gets none is listed when it is whole.
    if let Some(open) = parts.open().filter(|open| !(open.is_complete && open.parts.is_empty())) {
        begin(open.is_discontinuity, Some(open.start), out);
        list_parts(open.start, open.parts, out, &mut address);
        if !open.is_complete {
            out.push_str("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
            address(open.start, out);
            let end = open.parts.last().map_or(0, |part| part.offset + part.bytes);
            let _ = writeln!(out, "\",BYTERANGE-START={end}");
        }
    }
    if kind != Kind::Live {
        out.push_str("#EXT-X-ENDLIST\n");
    }
}

/// A playlist's entity tag: its MD5, as OSS has it for what was put as a whole.
pub fn etag(text: &str) -> String {
    let mut etag = String::with_capacity(34);
    etag.push('"');
    for byte in Md5::digest(text) {
        let _ = write!(etag, "{byte:02X}");
    }
    etag.push('"');
    etag
}

/// Writes what stands before a segment.
fn begin(is_break: bool, date: Option<UnixMillis>, out: &mut String) {
    if is_break {
        out.push_str("#EXT-X-DISCONTINUITY\n");
    }
    if let Some(start) = date {
        let _ = writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", IsoMillis(start));
    }
}

/// Writes the parts of a segment, as ranges of it.
fn list_parts(
    start: UnixMillis,
    parts: &[Part],
    out: &mut String,
    address: &mut impl FnMut(UnixMillis, &mut String),
) {
    for Part { offset, bytes, duration, is_independent } in parts {
        let _ = write!(out, "#EXT-X-PART:DURATION={},URI=\"", Seconds(*duration));
        address(start, out);
        let _ = write!(out, "\",BYTERANGE=\"{bytes}@{offset}\"");
        out.push_str(if *is_independent { ",INDEPENDENT=YES\n" } else { "\n" });
    }
}

/// Prints whole milliseconds of media time as seconds.
struct Seconds(Ticks90k);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0.as_millis();
        write!(f, "{}.{:03}", ms / 1000, ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnixMillis;

    fn record(sequence: u64, ms: i64) -> Record {
        Record {
            sequence,
            discontinuities: 0,
            start: UnixMillis(1_800_000_000_000 + sequence * 5000),
            duration: Ticks90k::from_millis(ms),
            position: 0,
            bytes: 188,
            crc: 0,
            target_duration_s: 5,
            is_discontinuity: false,
            is_independent: true,
            is_gap: false,
        }
    }

    fn text(records: &[Record], kind: Kind) -> String {
        let mut out = String::new();
        render(records.iter(), kind, 5, &(), &mut out, |start, out| {
            let _ = write!(out, "{}.ts", start.0);
        });
        out
    }

    #[test]
    fn a_live_playlist_has_every_tag_in_its_place() {
        let mut records = vec![record(7, 5000), record(8, 5040)];
        records[0].discontinuities = 3;
        records[1].discontinuities = 4;
        records[1].is_discontinuity = true;
        assert_eq!(
            text(&records, Kind::Live),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-TARGETDURATION:5\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:35.000Z\n#EXTINF:5.000,\n1800000035000.ts\n\
             #EXT-X-DISCONTINUITY\n\
             #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:40.000Z\n#EXTINF:5.040,\n1800000040000.ts\n"
        );
    }

    /// Two parts of the last listed segment, and one of the open one.
    struct Low;

    const PARTS: [Part; 2] = [
        Part { offset: 0, bytes: 1880, duration: Ticks90k(25_200), is_independent: true },
        Part { offset: 1880, bytes: 376, duration: Ticks90k(21_600), is_independent: false },
    ];

    impl Parts for Low {
        fn target(&self) -> Option<Ticks90k> {
            Some(Ticks90k::from_millis(330))
        }
        fn of(&self, record: &Record) -> &[Part] {
            if record.sequence == 8 { &PARTS } else { &[] }
        }
        fn open(&self) -> Option<OpenSegment<'_>> {
            let parts = &PARTS[..1];
            let start = UnixMillis(1_800_000_045_000);
            Some(OpenSegment { start, is_discontinuity: false, is_complete: false, parts })
        }
    }

    #[test]
    fn a_low_latency_playlist_lists_parts_as_ranges_and_hints_at_the_next() {
        let mut list = String::new();
        let records = [record(7, 5000), record(8, 5000)];
        render(records.iter(), Kind::Live, 5, &Low, &mut list, |start, out| {
            let _ = write!(out, "{}.ts", start.0);
        });
        let head = "#EXT-X-TARGETDURATION:5\n\
                    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.990\n\
                    #EXT-X-PART-INF:PART-TARGET=0.330\n";
        assert!(list.contains(head), "{list}");
        let tail = "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:40.000Z\n\
                    #EXT-X-PART:DURATION=0.280,URI=\"1800000040000.ts\",BYTERANGE=\"1880@0\",INDEPENDENT=YES\n\
                    #EXT-X-PART:DURATION=0.240,URI=\"1800000040000.ts\",BYTERANGE=\"376@1880\"\n\
                    #EXTINF:5.000,\n1800000040000.ts\n\
                    #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:45.000Z\n\
                    #EXT-X-PART:DURATION=0.280,URI=\"1800000045000.ts\",BYTERANGE=\"1880@0\",INDEPENDENT=YES\n\
                    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1800000045000.ts\",BYTERANGE-START=1880\n";
        assert!(list.ends_with(tail), "{list}");
    }

    #[test]
    fn a_segment_that_gets_no_part_is_not_announced() {
        struct Late;
        impl Parts for Late {
            fn target(&self) -> Option<Ticks90k> {
                Low.target()
            }
            fn open(&self) -> Option<OpenSegment<'_>> {
                Low.open().map(|open| OpenSegment { is_complete: true, parts: &[], ..open })
            }
        }
        let mut list = String::new();
        render([record(7, 5000)].iter(), Kind::Live, 5, &Late, &mut list, |start, out| {
            let _ = write!(out, "{}.ts", start.0);
        });
        assert!(list.ends_with("#EXTINF:5.000,\n1800000035000.ts\n"), "{list}");
    }

    #[test]
    fn a_discontinuity_counts_as_gone_only_when_its_segment_has_left_the_window() {
        let mut records = vec![record(7, 5000), record(8, 5000)];
        for record in &mut records {
            record.discontinuities = 1;
        }
        records[0].is_discontinuity = true;
        assert!(text(&records, Kind::Live).contains("#EXT-X-DISCONTINUITY-SEQUENCE:0\n"));
        assert!(text(&records[1..], Kind::Live).contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"));
    }

    #[test]
    fn a_recording_says_so_and_marks_every_gap() {
        let list = text(&[record(7, 5000), record(8, 5000), record(12, 1000)], Kind::Vod);
        assert!(list.contains("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:0\n"));
        assert_eq!(list.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
        assert_eq!(list.matches("#EXT-X-PROGRAM-DATE-TIME").count(), 2, "at each end of the gap");
        assert!(list.ends_with("#EXT-X-ENDLIST\n"));
    }

    #[test]
    fn a_lost_segment_is_a_gap_and_needs_version_8() {
        let mut records = [record(7, 5000), record(8, 5000)];
        records[1].is_gap = true;
        records[1].is_independent = false;
        let list = text(&records, Kind::Live);
        assert!(list.contains("#EXT-X-VERSION:8\n"));
        assert!(list.contains("#EXTINF:5.000,\n#EXT-X-GAP\n1800000040000.ts\n"));
        assert!(list.contains("#EXT-X-INDEPENDENT-SEGMENTS\n"));
    }

    #[test]
    fn a_segment_without_a_key_frame_takes_the_independence_tag_away() {
        let mut records = [record(7, 5000), record(8, 5000)];
        records[1].is_independent = false;
        assert!(!text(&records, Kind::Live).contains("INDEPENDENT"));
    }

    #[test]
    fn the_window_is_frag_count_segments_or_three_targets_whichever_is_longer() {
        let even: Vec<_> = (0..10).map(|n| record(n, 5000)).collect();
        assert_eq!(window_len(even.iter(), 3, 5), 3);
        assert_eq!(window_len(even.iter(), 6, 5), 6);
        let mut with_a_short_end = even;
        with_a_short_end.push(record(10, 400));
        assert_eq!(
            window_len(with_a_short_end.iter(), 3, 5),
            4,
            "5 + 5 + 5 + 0.4 s, not 5 + 5 + 0.4 s"
        );
        assert_eq!(
            window_len(with_a_short_end[..2].iter(), 3, 5),
            2,
            "a young ring lists all it has"
        );
    }

    #[test]
    fn segments_from_before_frag_duration_was_made_shorter_leave_the_window() {
        let mut records: Vec<_> = (0..10).map(|n| record(n, 10_000)).collect();
        records.extend([record(10, 2_400), record(11, 2_000)]);
        assert_eq!(window_len(records.iter(), 6, 10), 6);
        assert_eq!(window_len(records.iter(), 6, 2), 2);
    }

    #[test]
    fn the_window_never_moves_back_while_the_target_stays() {
        let mut records = Vec::new();
        let mut last = 0;
        let mut seed = 88_172_645_463_325_252_u64;
        for n in 0..2000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            records.push(record(n, i64::try_from(seed % 5400).unwrap()));
            let start = records.len() - window_len(records.iter(), 3, 5);
            assert!(start >= last);
            last = start;
        }
    }
}
