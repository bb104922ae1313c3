//! The tables of a TS with one program: PAT and PMT, one packet each.
//!
//! Sources: ISO/IEC 13818-1 §2.4.4.3 (PAT), §2.4.4.8 (PMT), annex A (CRC). Sections are padded with 0xFF (§2.4.4).

use super::ts::{PACKET_BYTES, Pid};

const PROGRAM_NUMBER: u8 = 1;
const TABLE_ID_PAT: u8 = 0;
const TABLE_ID_PMT: u8 = 2;
const STREAM_TYPE_H264: u8 = 0x1b;
const STREAM_TYPE_AAC_ADTS: u8 = 0x0f;

/// Longest section, in bytes: a PMT of two streams.
const SECTION_BYTES_MAX: usize = 26;

type Section = heapless::Vec<u8, SECTION_BYTES_MAX>;

/// The packet with the PAT. Its continuity counter is 0.
pub(super) fn pat() -> [u8; PACKET_BYTES] {
    let [high, low] = Pid::PMT.bytes();
    packet(Pid::PAT, TABLE_ID_PAT, 0, &[&[0, PROGRAM_NUMBER, 0xe0 | high, low]])
}

/// The packet with the PMT. Its continuity counter is 0; `version` has 5 bits.
pub(super) fn pmt(version: u8, has_audio: bool) -> [u8; PACKET_BYTES] {
    let stream = |stream_type, pid: Pid| {
        let [high, low] = pid.bytes();
        [stream_type, 0xe0 | high, low, 0xf0, 0]
    };
    let [pcr_high, pcr_low] = Pid::VIDEO.bytes();
    let video = stream(STREAM_TYPE_H264, Pid::VIDEO);
    let audio = stream(STREAM_TYPE_AAC_ADTS, Pid::AUDIO);
    packet(
        Pid::PMT,
        TABLE_ID_PMT,
        version,
        &[&[0xe0 | pcr_high, pcr_low, 0xf0, 0], &video, if has_audio { &audio } else { &[] }],
    )
}

#[expect(
    clippy::expect_used,
    reason = "SECTION_BYTES_MAX is the length of the longest of three sections, all tested"
)]
fn packet(pid: Pid, table_id: u8, version: u8, body: &[&[u8]]) -> [u8; PACKET_BYTES] {
    let mut section = Section::new();
    let mut append = |bytes: &[u8]| section.extend_from_slice(bytes).expect("a section fits");
    let body_bytes: usize = body.iter().map(|part| part.len()).sum();
    // After the length: five bytes of header, the body, four bytes of CRC.
    let length = u8::try_from(5 + body_bytes + 4).expect("a section is short");
    let current_next_indicator = 1;
    append(&[
        table_id,
        0xb0,
        length,
        0,
        PROGRAM_NUMBER,
        0xc0 | version << 1 | current_next_indicator,
        0,
        0,
    ]);
    for part in body {
        append(part);
    }
    let crc = crc_32(&section);
    section.extend_from_slice(&crc.to_be_bytes()).expect("a section fits");

    let mut packet = [0xff; PACKET_BYTES];
    let [high, low] = pid.bytes();
    let pointer_field = 0;
    let header = [0x47, 0x40 | high, low, 0x10, pointer_field];
    for (to, from) in packet.iter_mut().zip(header.iter().chain(&section)) {
        *to = *from;
    }
    packet
}

/// The CRC of ISO/IEC 13818-1 annex A: polynomial 0x04C11DB7, not reflected, no final inversion.
fn crc_32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_crc_32_mpeg_2() {
        assert_eq!(crc_32(b"123456789"), 0x0376_e6e7);
    }

    #[test]
    fn the_pat_names_one_program() {
        let pat = pat();
        assert_eq!(
            pat[..17],
            [0x47, 0x40, 0, 0x10, 0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0]
        );
        assert_eq!(crc_32(&pat[5..21]), 0, "over a section with its CRC");
        assert!(pat[21..].iter().all(|byte| *byte == 0xff));
    }

    #[test]
    fn the_pmt_lists_what_is_there() {
        let both = pmt(3, true);
        assert_eq!(both[..13], [0x47, 0x50, 0, 0x10, 0, 2, 0xb0, 23, 0, 1, 0xc7, 0, 0]);
        assert_eq!(
            both[13..27],
            [0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0]
        );
        assert_eq!(crc_32(&both[5..31]), 0);
        assert_eq!(both[31], 0xff);
        let video = pmt(31, false);
        assert_eq!((video[7], video[10]), (18, 0xff));
        assert_eq!(crc_32(&video[5..26]), 0);
        assert_eq!(video[26], 0xff);
    }
}
