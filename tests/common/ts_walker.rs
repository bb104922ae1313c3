//! Reads MPEG-TS segments as a strict player would and names the first rule that one breaks.
//!
//! It shares no code with the muxer. The rules, by number:
//!
//! | rule | says |
//! |---|---|
//! | T1 | whole packets; PAT first, PMT second, both with right CRCs |
//! | T2 | one program |
//! | T3 | at least three packets |
//! | T4 | continuity counters go on, over segments too |
//! | T5 | the PMT lists what is there: H.264, and AAC if any; PCR on the video PID |
//! | T6 | the first access unit is an IDR picture; SPS and PPS stand before each |
//! | T7 | each access unit begins with its only access unit delimiter |
//! | T8 | NAL units stand behind 4-byte start codes |
//! | T9 | one access unit a PES packet, aligned; lengths are exact, but for video 0 |
//! | T10 | PTS always, DTS where it differs; PTS ≥ DTS; DTS rises |
//! | T11 | a PCR each 100 ms and with each key frame; 0 to 1 s ahead of DTS |
//! | T12 | random_access_indicator on IDR pictures, nowhere else |
//! | T13 | whole ADTS frames, at most 0.3 s of them in a PES packet |
//! | T14 | audio in a segment is of the same time as its video |
//! | T15 | no gap between segments in either track |
//! | T16 | stuffing in adaptation fields only |

#![allow(dead_code, reason = "each test uses what it needs")]

use std::collections::BTreeMap;

/// Sources: ISO/IEC 13818-1 §2.4.3, §2.4.4; H.264 §7.4.1.2.3; ISO/IEC 13818-7 §6.2.
const VIDEO: u8 = 0x1b;
const AUDIO: u8 = 0x0f;

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    pub(crate) video: Vec<AccessUnit>,
    pub(crate) audio: Vec<AudioFrame>,
    pub(crate) lists_audio: bool,
    pub(crate) pmt_version: u8,
}

/// A video access unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessUnit {
    /// 90 kHz, unfolded from 33 bits.
    pub(crate) dts: i64,
    pub(crate) pts: i64,
    /// NAL units without start codes, the delimiter not among them.
    pub(crate) nals: Vec<Vec<u8>>,
}

/// An ADTS frame, header included.
#[derive(Clone, Debug)]
pub(crate) struct AudioFrame {
    pub(crate) pts: i64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) rate: u32,
}

/// Walks the segments of one channel in order.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    counters: BTreeMap<u16, u8>,
    /// A time near which the others are.
    near: i64,
    pcr: Option<i64>,
    dts: Option<i64>,
    step: i64,
    audio_end: Option<(i64, i64)>,
    /// The stream has holes: T14 and T15 do not apply, and a full segment may end where T6 forbids it.
    has_holes: bool,
}

macro_rules! rule {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

#[derive(Default)]
struct Pes {
    bytes: Vec<u8>,
    is_random_access: bool,
    has_pcr: bool,
    pcr: i64,
}

impl Walker {
    /// A walker for streams that have holes because their camera, or the test, made some.
    pub(crate) fn with_holes() -> Self {
        Self { has_holes: true, ..Self::default() }
    }

    /// Reads a segment. `is_discontinuity`: times need not go on from the one before.
    pub(crate) fn segment(
        &mut self,
        bytes: &[u8],
        is_discontinuity: bool,
    ) -> Result<Segment, String> {
        rule!(bytes.len().is_multiple_of(188), "T1: {} bytes are not whole packets", bytes.len());
        rule!(bytes.len() >= 3 * 188, "T3: {} bytes are fewer than three packets", bytes.len());
        if is_discontinuity {
            (self.dts, self.audio_end) = (None, None);
        }
        let mut segment = Segment::default();
        let (mut pmt_pid, mut pids, mut pes) = (0, BTreeMap::new(), BTreeMap::<u16, Pes>::new());
        let mut done = Vec::new();
        for (n, packet) in bytes.chunks(188).enumerate() {
            rule!(packet[0] == 0x47, "T1: packet {n} has no sync byte");
            let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
            let is_start = packet[1] & 0x40 != 0;
            rule!(
                packet[3] & 0x10 != 0 || packet[3] & 0x20 != 0,
                "T4: packet {n} has neither payload nor field"
            );
            let has_payload = packet[3] & 0x10 != 0;
            let counter = packet[3] & 0xf;
            let before = self.counters.insert(pid, counter);
            let expected = before
                .map_or(counter, |before| if has_payload { (before + 1) & 0xf } else { before });
            rule!(
                counter == expected,
                "T4: packet {n} of PID {pid:#x} has counter {counter}, not {expected}"
            );
            let mut payload = &packet[4..];
            let (mut is_random_access, mut pcr) = (false, None);
            if packet[3] & 0x20 != 0 {
                let length = usize::from(packet[4]);
                rule!(
                    length <= if has_payload { 182 } else { 183 },
                    "T16: packet {n} has a field of {length}"
                );
                let field = &packet[5..5 + length];
                payload = &packet[5 + length..];
                if let Some(flags) = field.first() {
                    is_random_access = flags & 0x40 != 0;
                    let mut stuffing = 1;
                    if flags & 0x10 != 0 {
                        rule!(
                            Some(&pid) == pids.get(&VIDEO),
                            "T5: packet {n} has a PCR on PID {pid:#x}"
                        );
                        let base =
                            field[1..5].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte))
                                << 1;
                        let base = self.unfold(base | i64::from(field[5] >> 7));
                        rule!(
                            field[5] & 0x7e == 0x7e,
                            "T11: packet {n}: reserved bits of the PCR are not set"
                        );
                        self.clock(base, flags & 0x80 != 0)?;
                        pcr = Some(base);
                        stuffing = 7;
                    }
                    rule!(
                        field[stuffing..].iter().all(|b| *b == 0xff),
                        "T16: packet {n} is stuffed with something"
                    );
                }
            }
            match n {
                0 => {
                    rule!(pid == 0 && is_start, "T1: the first packet is not a PAT");
                    let section = section(payload, 0)?;
                    rule!(
                        section.len() == 12,
                        "T2: a PAT of {} bytes is not of one program",
                        section.len()
                    );
                    pmt_pid = u16::from_be_bytes([section[10] & 0x1f, section[11]]);
                }
                1 => {
                    rule!(pid == pmt_pid && is_start, "T1: the second packet is not the PMT");
                    let section = section(payload, 2)?;
                    segment.pmt_version = section[5] >> 1 & 0x1f;
                    let pcr_pid = u16::from_be_bytes([section[8] & 0x1f, section[9]]);
                    let info = usize::from(section[10] & 0xf) << 8 | usize::from(section[11]);
                    let mut streams = &section[12 + info..];
                    while let [kind, high, low, info_high, info_low, ..] = streams {
                        let was = pids.insert(*kind, u16::from_be_bytes([high & 0x1f, *low]));
                        rule!(
                            matches!(*kind, VIDEO | AUDIO) && was.is_none(),
                            "T5: stream type {kind:#x}"
                        );
                        streams = &streams
                            [5 + (usize::from(info_high & 0xf) << 8 | usize::from(*info_low))..];
                    }
                    rule!(Some(&pcr_pid) == pids.get(&VIDEO), "T5: the PCR PID is {pcr_pid:#x}");
                    segment.lists_audio = pids.contains_key(&AUDIO);
                }
                _ => rule!(
                    pids.values().any(|known| *known == pid),
                    "T5: packet {n} has PID {pid:#x}"
                ),
            }
            if n < 2 || !has_payload {
                continue;
            }
            if is_start {
                let begun = Pes {
                    bytes: Vec::new(),
                    is_random_access,
                    has_pcr: pcr.is_some(),
                    pcr: pcr.unwrap_or(0),
                };
                done.extend(pes.insert(pid, begun).map(|whole| (pid, whole)));
            } else {
                rule!(!is_random_access, "T12: packet {n} is no start but random access");
            }
            rule!(
                pes.contains_key(&pid),
                "T13: packet {n} of PID {pid:#x} goes on from another segment"
            );
            pes.entry(pid).or_default().bytes.extend_from_slice(payload);
        }
        // Video first: audio is held against it.
        done.extend(pes);
        let is_video = |pid: u16| Some(&pid) == pids.get(&VIDEO);
        for (_, whole) in done.iter().filter(|(pid, _)| is_video(*pid)) {
            self.video(whole, &mut segment)?;
        }
        let mut audio_end = self.audio_end.filter(|_| segment.lists_audio);
        for (_, whole) in done.iter().filter(|(pid, _)| !is_video(*pid)) {
            self.audio(&whole.bytes, &mut segment)?;
        }
        rule!(!segment.video.is_empty(), "T5: no video");
        rule!(segment.lists_audio != segment.audio.is_empty(), "T5: audio is listed and missing");
        // Times of audio: T15 from frame to frame, T14 against the video.
        let frame_ticks =
            segment.audio.first().map_or(0, |frame| 1024 * 90_000 / i64::from(frame.rate));
        if let Some((end, ticks)) = audio_end.filter(|_| !self.has_holes) {
            let cut = segment.video[0].dts;
            rule!((end - cut).abs() <= ticks + 90, "T14: audio went on to {end}, video to {cut}");
        }
        for frame in &segment.audio {
            if let Some((end, ticks)) = audio_end {
                let gap = frame.pts - end;
                rule!(
                    self.has_holes || gap.abs() <= ticks,
                    "T15: audio at {} follows on {end}",
                    frame.pts
                );
            }
            audio_end = Some((frame.pts + frame_ticks, frame_ticks));
        }
        self.audio_end = audio_end;
        Ok(segment)
    }

    /// The time whose lower 33 bits are `folded` that is nearest to the times before.
    fn unfold(&mut self, folded: i64) -> i64 {
        let off = (folded - self.near).rem_euclid(1 << 33);
        self.near += if off < 1 << 32 { off } else { off - (1 << 33) };
        self.near
    }

    fn clock(&mut self, pcr: i64, is_discontinuity: bool) -> Result<(), String> {
        if let Some(before) = self.pcr.filter(|_| !is_discontinuity) {
            rule!((1..=9_000).contains(&(pcr - before)), "T11: a PCR of {pcr} follows on {before}");
        }
        self.pcr = Some(pcr);
        Ok(())
    }

    fn video(&mut self, pes: &Pes, segment: &mut Segment) -> Result<(), String> {
        let (pts, dts, es) = header(&pes.bytes, 0xe0)?;
        let (pts, dts) = (self.unfold(pts), dts.map(|dts| self.unfold(dts)));
        rule!(pes.bytes[4..6] == [0, 0], "T9: a video PES packet has a length");
        rule!(dts != Some(pts), "T10: a DTS that is the PTS");
        let dts = dts.unwrap_or(pts);
        rule!((0..900_000).contains(&(pts - dts)), "T10: PTS {pts}, DTS {dts}");
        if let Some(before) = self.dts {
            let step = dts - before;
            rule!(
                step > 0 && (self.has_holes || step <= 450_000),
                "T10: DTS {dts} follows on {before}"
            );
            let is_first = segment.video.is_empty();
            rule!(
                !is_first || self.has_holes || step <= 2 * self.step.max(step.min(9_000)),
                "T15: video starts {step} ticks late"
            );
            self.step = step;
        }
        self.dts = Some(dts);
        if pes.has_pcr {
            rule!((0..=90_000).contains(&(dts - pes.pcr)), "T11: PCR {} for DTS {dts}", pes.pcr);
        }
        let nals = nals(es)?;
        let kinds: Vec<u8> = nals.iter().map(|nal| nal[0] & 0x1f).collect();
        let delimiters = kinds.iter().filter(|kind| **kind == 9).count();
        rule!(kinds.first() == Some(&9) && delimiters == 1, "T7: NAL units {kinds:?}");
        let slice = kinds.iter().position(|kind| matches!(kind, 1..=5));
        let Some(slice) = slice else { return Err(format!("T9: no picture in {kinds:?}")) };
        // first_mb_in_slice is ue(v): a leading 1 bit is 0, the start of a picture.
        let pictures =
            nals.iter().filter(|nal| matches!(nal[0] & 0x1f, 1 | 5) && nal[1] & 0x80 != 0).count();
        rule!(pictures == 1, "T9: {pictures} pictures in a PES packet");
        let is_idr = kinds[slice] == 5;
        let count = |kind| kinds[..slice].iter().filter(|other| **other == kind).count();
        rule!(!is_idr || count(7) == 1 && count(8) >= 1, "T6: an IDR picture behind {kinds:?}");
        rule!(
            is_idr || self.has_holes || !segment.video.is_empty(),
            "T6: a segment starts with {kinds:?}"
        );
        rule!(
            is_idr == pes.is_random_access,
            "T12: random access {} for {kinds:?}",
            pes.is_random_access
        );
        rule!(!is_idr || pes.has_pcr, "T11: a key frame without PCR");
        let nals = nals.into_iter().skip(1).map(<[u8]>::to_vec).collect();
        segment.video.push(AccessUnit { dts, pts, nals });
        Ok(())
    }

    fn audio(&mut self, pes: &[u8], segment: &mut Segment) -> Result<(), String> {
        let (pts, dts, mut es) = header(pes, 0xc0)?;
        let pts = self.unfold(pts);
        rule!(dts.is_none(), "T10: audio with a DTS");
        let length = usize::from(u16::from_be_bytes([pes[4], pes[5]]));
        rule!(length == pes.len() - 6, "T9: a length of {length} for {} bytes", pes.len() - 6);
        let mut samples = 0;
        while !es.is_empty() {
            rule!(
                es.len() >= 7 && es[0] == 0xff && es[1] & 0xf6 == 0xf0,
                "T13: no ADTS header at the end of {samples}"
            );
            let bytes =
                usize::from(es[3] & 3) << 11 | usize::from(es[4]) << 3 | usize::from(es[5] >> 5);
            rule!(
                (8..=es.len()).contains(&bytes),
                "T13: an ADTS frame of {bytes} bytes, {} are left",
                es.len()
            );
            let rates = [
                96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000,
                11_025, 8_000,
            ];
            let rate = rates.get(usize::from(es[2] >> 2 & 0xf)).copied();
            let Some(rate) = rate else { return Err("T13: a reserved rate".to_owned()) };
            let pts = pts + samples * 90_000 / i64::from(rate);
            segment.audio.push(AudioFrame { pts, bytes: es[..bytes].to_vec(), rate });
            samples += 1024;
            es = &es[bytes..];
            rule!(samples * 10 <= 3 * i64::from(rate), "T13: {samples} samples in one PES packet");
        }
        Ok(())
    }
}

/// A table's section without its CRC, which must be right.
fn section(payload: &[u8], table_id: u8) -> Result<&[u8], String> {
    let section = &payload[1 + usize::from(payload[0])..];
    rule!(section[0] == table_id, "T1: table {:#x}, not {table_id:#x}", section[0]);
    let bytes = 3 + (usize::from(section[1] & 0xf) << 8 | usize::from(section[2]));
    let (section, padding) = section.split_at(bytes);
    let crc = section.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).fold(
        !0_u32,
        |crc, bit| {
            let is_set = (crc >> 31 ^ u32::from(bit)) == 1;
            crc << 1 ^ if is_set { 0x04c1_1db7 } else { 0 }
        },
    );
    rule!(crc == 0, "T1: a wrong CRC in table {table_id:#x}");
    rule!(padding.iter().all(|byte| *byte == 0xff), "T1: something after table {table_id:#x}");
    Ok(&section[..bytes - 4])
}

/// PTS, DTS and elementary stream of a PES packet.
fn header(pes: &[u8], stream_id: u8) -> Result<(i64, Option<i64>, &[u8]), String> {
    rule!(
        pes.len() > 14 && pes[..4] == [0, 0, 1, stream_id],
        "T9: no PES header for {stream_id:#x}"
    );
    rule!(pes[6] & 0xc4 == 0x84, "T9: data_alignment_indicator is not set");
    let timestamp = |at: usize, prefix: u8| {
        let t = &pes[at..at + 5];
        rule!(t[0] >> 4 == prefix && t[0] & t[2] & t[4] & 1 == 1, "T10: marker bits {t:02x?}");
        let part = |high: u8, low: u8| i64::from(u16::from_be_bytes([high, low]) >> 1);
        Ok(i64::from(t[0] >> 1 & 7) << 30 | part(t[1], t[2]) << 15 | part(t[3], t[4]))
    };
    let es = &pes[9 + usize::from(pes[8])..];
    match (pes[7] >> 6, pes[8]) {
        (2, 5) => Ok((timestamp(9, 2)?, None, es)),
        (3, 10) => Ok((timestamp(9, 3)?, Some(timestamp(14, 1)?), es)),
        other => Err(format!("T10: PTS and DTS flags and header length {other:?}")),
    }
}

/// The NAL units of a byte stream.
fn nals(es: &[u8]) -> Result<Vec<&[u8]>, String> {
    rule!(es.starts_with(&[0, 0, 0, 1]), "T8: no start code at the beginning");
    let starts: Vec<usize> = (0..es.len() - 2).filter(|at| es[*at..*at + 3] == [0, 0, 1]).collect();
    let mut nals = Vec::new();
    for (n, start) in starts.iter().enumerate() {
        rule!(*start > 0 && es[start - 1] == 0, "T8: a start code of 3 bytes at {start}");
        let end = starts.get(n + 1).map_or(es.len(), |next| next - 1);
        rule!(end > start + 3, "T8: an empty NAL unit at {start}");
        rule!(
            matches!(es[start + 3] & 0x9f, 1..=12),
            "T8: NAL unit header {:#x} at {start}",
            es[start + 3]
        );
        nals.push(&es[start + 3..end]);
    }
    Ok(nals)
}
