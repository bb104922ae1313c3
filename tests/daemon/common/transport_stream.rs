//! The segments of one stream → where they break the rules of MPEG-TS, H.264 in TS and HLS.
//!
//! Sources: ISO/IEC 13818-1 (§2.4.3 packets and PES, §2.4.4 tables, §2.7.2 PCR, §2.14 H.264), ISO/IEC 14496-3 §1.A.2
//! (ADTS), RFC 8216 §3.2. Written from these, without a look at the muxer.

use std::collections::BTreeMap;

/// What one segment held.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Summary {
    /// First decoding time of video, in 90 kHz ticks.
    pub(crate) first_video_90k: u64,
    /// First presentation time of audio, in 90 kHz ticks.
    pub(crate) first_audio_90k: Option<u64>,
    /// Access units of video.
    pub(crate) pictures: usize,
    /// ADTS frames.
    pub(crate) audio_frames: usize,
}

/// Walks segments in order: what is carried from one to the next stays inside.
#[derive(Debug, Default)]
pub(crate) struct Walker {
    /// What was wrong, in words.
    pub(crate) faults: Vec<String>,
    /// The name of the segment that is walked, for the faults.
    segment: String,
    /// Last continuity counter, by PID.
    counters: BTreeMap<u16, u8>,
    last_video_dts: Option<u64>,
    last_pcr: Option<u64>,
    audio_end: Option<u64>,
}

/// 90 kHz ticks in 100 ms: PCRs may not be further apart (§2.7.2).
const PCR_TICKS_MAX: u64 = 9_000;

/// What stands before the payload of a packet.
struct Packet<'a> {
    pid: u16,
    is_start: bool,
    is_random_access: bool,
    pcr_90k: Option<u64>,
    payload: &'a [u8],
}

/// A PES packet.
struct Pes {
    stream_id: u8,
    pts: u64,
    dts: u64,
    is_random_access: bool,
    payload: Vec<u8>,
}

/// What the PMT says.
struct Programme {
    pcr_pid: u16,
    /// (stream type, PID).
    streams: Vec<(u8, u16)>,
}

impl Walker {
    /// Takes the next segment. With `is_discontinuity` times and counters may start anew.
    pub(crate) fn walk(&mut self, name: &str, bytes: &[u8], is_discontinuity: bool) -> Summary {
        name.clone_into(&mut self.segment);
        if is_discontinuity {
            self.counters.clear();
            self.last_video_dts = None;
            self.last_pcr = None;
            self.audio_end = None;
        }
        self.check(
            !bytes.is_empty() && bytes.len().is_multiple_of(188),
            "is not made of 188-byte packets",
        );
        let packets: Vec<_> =
            bytes.chunks_exact(188).filter_map(|packet| self.read_packet(packet)).collect();
        let mut summary = Summary::default();
        let Some(programme) = self.read_tables(&packets) else {
            self.fault("the tables cannot be read");
            return summary;
        };
        for (stream_type, pid) in &programme.streams {
            let units = self.read_pes(&packets, *pid);
            match stream_type {
                0x1B => self.check_video(&units, &mut summary),
                // The last segment of a stream may be over before its audio begins.
                0x0F if units.is_empty() => {
                    self.check(summary.pictures <= 5, "the PMT lists audio that is not there")
                }
                0x0F => self.check_audio(&units, &mut summary),
                other => self.fault(&format!("stream type {other:#x}")),
            }
        }
        self.check_pcr(&packets, programme.pcr_pid);
        if let Some(audio) = summary.first_audio_90k {
            let skew = audio.abs_diff(summary.first_video_90k);
            self.check(skew < 90_000 / 10, "audio and video start further apart than 100 ms");
        }
        summary
    }

    fn read_packet<'a>(&mut self, packet: &'a [u8]) -> Option<Packet<'a>> {
        let flags = packet[1];
        let pid = u16::from_be_bytes([flags & 0x1F, packet[2]]);
        let has_adaptation = packet[3] & 0x20 != 0;
        let has_payload = packet[3] & 0x10 != 0;
        self.check(
            packet[0] == 0x47 && flags & 0x80 == 0 && packet[3] & 0xC0 == 0,
            "sync byte, error flag or scrambling",
        );
        if pid == 0x1FFF {
            return None;
        }
        let adaptation_len = if has_adaptation { usize::from(packet[4]) } else { 0 };
        let payload_at = 4 + usize::from(has_adaptation) + adaptation_len;
        let fits = if has_payload { payload_at < 188 } else { payload_at == 188 };
        self.check(fits, "the adaptation field does not fit");
        let adaptation = if adaptation_len > 0 { packet.get(5..payload_at)? } else { &[] };
        let marks_jump = adaptation.first().is_some_and(|flags| flags & 0x80 != 0);
        let counter = packet[3] & 0x0F;
        if let Some(last) = self.counters.insert(pid, counter) {
            let expected = if has_payload { (last + 1) & 0x0F } else { last };
            let fault =
                format!("continuity counter of PID {pid:#x} is {counter} and not {expected}");
            self.check(counter == expected || marks_jump, &fault);
        }
        let pcr = adaptation.first().is_some_and(|flags| flags & 0x10 != 0);
        Some(Packet {
            pid,
            is_start: flags & 0x40 != 0,
            is_random_access: adaptation.first().is_some_and(|flags| flags & 0x40 != 0),
            // The 33 bits of the base alone: the extension counts 27 MHz ticks.
            pcr_90k: pcr.then(|| be(&adaptation[1..6]) >> 7),
            payload: packet.get(payload_at..).filter(|_| has_payload).unwrap_or_default(),
        })
    }

    /// PAT and PMT must be the first two packets.
    fn read_tables(&mut self, packets: &[Packet<'_>]) -> Option<Programme> {
        let [pat, pmt, ..] = packets else { return None };
        self.check(pat.pid == 0 && pat.is_start, "does not begin with a PAT");
        let programmes = self.read_section(pat.payload, 0x00)?;
        self.check(programmes.len() == 4, "more or less than one programme");
        let pmt_pid = u16::from_be_bytes([programmes.get(2)? & 0x1F, *programmes.get(3)?]);
        self.check(pmt.pid == pmt_pid && pmt.is_start, "the PMT does not follow the PAT");
        let pmt = self.read_section(pmt.payload, 0x02)?;
        let pcr_pid = u16::from_be_bytes([pmt[0] & 0x1F, pmt[1]]);
        let info_len = usize::from(u16::from_be_bytes([pmt[2] & 0x0F, pmt[3]]));
        let mut rest = &pmt[4 + info_len..];
        let mut streams = Vec::new();
        while let [kind, high, low, info_high, info_low, more @ ..] = rest {
            streams.push((*kind, u16::from_be_bytes([high & 0x1F, *low])));
            rest = &more[usize::from(u16::from_be_bytes([info_high & 0x0F, *info_low]))..];
        }
        self.check(
            streams.first().is_some_and(|(kind, pid)| *kind == 0x1B && *pid == pcr_pid),
            "the PCR is not the video's",
        );
        Some(Programme { pcr_pid, streams })
    }

    /// The body of a PSI section behind its eight-byte head.
    fn read_section<'a>(&mut self, payload: &'a [u8], table_id: u8) -> Option<&'a [u8]> {
        let section = payload.get(1 + usize::from(*payload.first()?)..)?;
        let length = 3 + usize::from(u16::from_be_bytes([section[1] & 0x0F, section[2]]));
        let section = section.get(..length)?;
        self.check(section[0] == table_id && section[1] & 0x80 != 0, "not the expected table");
        // The checksum over all, itself included, is 0.
        if crc32_mpeg(section) != 0 {
            self.fault("checksum of a table");
            return None;
        }
        section.get(8..length - 4)
    }

    fn read_pes(&mut self, packets: &[Packet<'_>], pid: u16) -> Vec<Pes> {
        let mut units: Vec<Pes> = Vec::new();
        let mut declared_len = 0;
        for packet in packets.iter().filter(|packet| packet.pid == pid) {
            if !packet.is_start {
                match units.last_mut() {
                    Some(unit) => unit.payload.extend_from_slice(packet.payload),
                    None => self.fault("begins inside a PES packet"),
                }
                continue;
            }
            self.check_length(units.last(), declared_len);
            let head = packet.payload;
            self.check(
                head.starts_with(&[0, 0, 1]) && head[6] & 0xC4 == 0x84,
                "PES head, or not marked as aligned",
            );
            declared_len = usize::from(u16::from_be_bytes([head[4], head[5]]))
                .saturating_sub(3 + usize::from(head[8]));
            let has_dts = head[7] & 0x40 != 0;
            self.check(head[7] & 0x80 != 0, "a PES packet without PTS");
            let pts = timestamp(&head[9..]);
            let dts = if has_dts { timestamp(&head[14..]) } else { pts };
            self.check(
                pts >= dts && (!has_dts || pts != dts),
                "DTS stands there if and only if it is earlier than PTS",
            );
            units.push(Pes {
                stream_id: head[3],
                pts,
                dts,
                is_random_access: packet.is_random_access,
                payload: head[9 + usize::from(head[8])..].to_vec(),
            });
        }
        self.check_length(units.last(), declared_len);
        units
    }

    fn check_length(&mut self, unit: Option<&Pes>, declared: usize) {
        let Some(unit) = unit else { return };
        let is_video = unit.stream_id & 0xF0 == 0xE0;
        self.check(
            declared == unit.payload.len() || (declared == 0 && is_video),
            "PES_packet_length",
        );
    }

    fn check_video(&mut self, units: &[Pes], summary: &mut Summary) {
        summary.pictures = units.len();
        summary.first_video_90k = units.first().map_or(0, |unit| unit.dts);
        for (number, unit) in units.iter().enumerate() {
            self.check(unit.stream_id == 0xE0, "stream_id of video");
            self.check(self.last_video_dts.is_none_or(|last| last < unit.dts), "DTS does not grow");
            self.last_video_dts = Some(unit.dts);
            let types: Vec<_> = nal_units(&unit.payload).iter().map(|nal| nal[0] & 0x1F).collect();
            let is_key = types.contains(&5);
            let fault = format!("picture {number} is made of NAL units {types:?}");
            self.check(
                unit.payload.starts_with(&[0, 0, 0, 1]) && types.first() == Some(&9),
                &fault,
            );
            self.check(types.iter().filter(|kind| **kind == 9).count() == 1, &fault);
            // Supplemental information may stand anywhere before the picture (H.264 §7.4.1.2.3).
            let mut without_sei = types.iter().filter(|kind| **kind != 6);
            let start = [without_sei.next(), without_sei.next(), without_sei.next()];
            self.check(!is_key || start == [Some(&9), Some(&7), Some(&8)], &fault);
            self.check(is_key || number > 0, "does not start with a key frame");
            self.check(
                unit.is_random_access == is_key,
                "random_access_indicator is not where the key frame is",
            );
        }
    }

    fn check_audio(&mut self, units: &[Pes], summary: &mut Summary) {
        summary.first_audio_90k = units.first().map(|unit| unit.pts);
        for unit in units {
            self.check(unit.stream_id == 0xC0, "stream_id of audio");
            // A frame of the clip lasts 1920 ticks; cameras stamp in milliseconds.
            self.check(
                self.audio_end.is_none_or(|end| end.abs_diff(unit.pts) < 1920),
                "a gap or an overlap in the audio",
            );
            let mut rest = unit.payload.as_slice();
            let mut frames = 0;
            while let [0xFF, 0xF0 | 0xF1 | 0xF8 | 0xF9, _, b3, b4, b5, _, ..] = rest {
                let length =
                    usize::from(b3 & 3) << 11 | usize::from(*b4) << 3 | usize::from(b5 >> 5);
                let Some(more) = rest.get(length..) else { break };
                rest = more;
                frames += 1;
            }
            self.check(
                rest.is_empty() && frames > 0,
                "a PES packet that is not made of whole ADTS frames",
            );
            summary.audio_frames += frames;
            self.audio_end = Some(unit.pts + frames as u64 * 1920);
        }
    }

    fn check_pcr(&mut self, packets: &[Packet<'_>], pcr_pid: u16) {
        let mut latest = None;
        for packet in packets {
            if packet.pid != pcr_pid {
                self.check(packet.pcr_90k.is_none(), "a PCR outside the PCR's PID");
                continue;
            }
            if let Some(pcr) = packet.pcr_90k {
                let fault = format!("PCR goes from {:?} to {pcr}", self.last_pcr);
                self.check(
                    self.last_pcr.is_none_or(|last| (last..=last + PCR_TICKS_MAX).contains(&pcr)),
                    &fault,
                );
                self.last_pcr = Some(pcr);
                latest = Some(pcr);
            }
            if packet.is_start {
                self.check(
                    !packet.is_random_access || packet.pcr_90k.is_some(),
                    "a random access point without PCR",
                );
                let head = packet.payload;
                let dts = timestamp(&head[if head[7] & 0x40 != 0 { 14 } else { 9 }..]);
                let is_early = latest.is_some_and(|pcr| pcr <= dts && dts - pcr <= 90_000);
                self.check(
                    is_early,
                    "a picture is later than its DTS by the PCR, or more than 1 s early",
                );
            }
        }
    }

    fn check(&mut self, is_kept: bool, rule: &str) {
        if !is_kept {
            self.fault(rule);
        }
    }

    fn fault(&mut self, fault: &str) {
        self.faults.push(format!("{}: {fault}", self.segment));
    }
}

/// The NAL units of a byte stream (H.264 Annex B).
fn nal_units(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 < stream.len() {
        if stream[at..].starts_with(&[0, 0, 1]) {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([stream.len()]);
    starts.iter().zip(ends).map(|(start, end)| &stream[*start..end]).collect()
}

/// The 33 bits of a PTS or DTS in their five bytes (ISO/IEC 13818-1 table 2-21).
fn timestamp(field: &[u8]) -> u64 {
    let bits = be(&field[..5]);
    (bits >> 33 & 7) << 30 | (bits >> 17 & 0x7FFF) << 15 | (bits >> 1 & 0x7FFF)
}

/// Big-endian bytes as a number.
fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The checksum of PSI sections (ISO/IEC 13818-1 Annex A).
fn crc32_mpeg(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{CLIP, ffmpeg, process::Watched};

    const VIDEO_PID: u16 = 0x100;

    /// Two seconds of the clip by ffmpeg's muxer, without the service description that it puts in front.
    fn stream() -> Vec<u8> {
        let folder = crate::common::Folder::new();
        let file = folder.path().join("clip.ts");
        Watched::run(ffmpeg().args(["-i", CLIP, "-t", "2", "-c", "copy"]).arg(&file))
            .expect_silence();
        let bytes = std::fs::read(file).unwrap();
        bytes.chunks_exact(188).filter(|packet| pid(packet) != 0x11).flatten().copied().collect()
    }

    fn pid(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[1] & 0x1F, packet[2]])
    }

    fn faults(stream: &[u8]) -> String {
        let mut walker = Walker::default();
        walker.walk("planted", stream, false);
        walker.faults.join("\n")
    }

    #[test]
    fn the_walker_finds_what_is_planted() {
        type Plant = fn(&mut Vec<Vec<u8>>);
        let table: [(&str, Plant); 8] = [
            ("188-byte packets", |packets| packets.last_mut().unwrap().truncate(100)),
            ("begin with a PAT", |packets| packets.swap(0, 1)),
            ("checksum of a table", |packets| packets[1][20] ^= 1),
            ("continuity counter", |packets| drop(packets.remove(6))),
            ("continuity counter", |packets| packets.insert(6, packets[5].clone())),
            ("sync byte", |packets| packets[7][0] = 0x48),
            ("DTS does not grow", |packets| {
                let again: Vec<_> = packets
                    .iter()
                    .filter(|packet| pid(packet) == VIDEO_PID)
                    .take(60)
                    .cloned()
                    .collect();
                packets.extend(again);
            }),
            ("PCR goes from", |packets| {
                packets.retain(|packet| {
                    pid(packet) != VIDEO_PID || packet[1] & 0x40 == 0 || packet[5] & 0x40 != 0
                })
            }),
        ];
        let clean = stream();
        let found = faults(&clean);
        let packets: Vec<_> = clean.chunks_exact(188).map(<[u8]>::to_vec).collect();
        for (fault, plant) in table {
            assert!(!found.contains(fault), "{found}");
            let mut planted = packets.clone();
            plant(&mut planted);
            let found = faults(&planted.concat());
            assert!(found.contains(fault), "{fault}: {found}");
        }
    }
}
