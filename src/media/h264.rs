//! Length-prefixed NAL units → Annex B byte stream, for fragments cut anywhere, and what the units are.
//!
//! A walk holds a dozen bytes, never a picture. Access unit delimiters are left out: the muxer writes its own.
//! Sources: ISO/IEC 14496-15 §5.3.4.2 (length prefix), H.264 §7.4.1 (types) and Annex B.

/// Stands before each NAL unit (H.264 §B.1.1, with its `zero_byte`).
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// `nal_unit_type`, H.264 table 7-1.
pub(super) mod nal {
    pub(in crate::media) const SLICE: u8 = 1;
    pub(in crate::media) const IDR: u8 = 5;
    pub(in crate::media) const SPS: u8 = 7;
    pub(in crate::media) const PPS: u8 = 8;
    pub(in crate::media) const ACCESS_UNIT_DELIMITER: u8 = 9;
}

/// Walks the NAL units of one access unit.
#[derive(Clone, Copy, Debug)]
pub struct NalWalk {
    length_bytes: u8,
    /// Bytes of the access unit that are to come.
    bytes_left: u32,
    position: Position,
    seen: Seen,
    /// How many bytes of the first slice are left when its second byte comes, until it has come.
    slice_header_at: Option<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Position {
    /// `bytes` of a length prefix have been read, and make `value`.
    Length { bytes: u8, value: u32 },
    /// Before a NAL unit's first byte; `left` bytes to come.
    Header { left: u32 },
    /// Inside a NAL unit, of which `left` bytes are to come.
    Payload { left: u32, is_kept: bool },
}

const BETWEEN_UNITS: Position = Position::Length { bytes: 0, value: 0 };

/// What the walk has come past.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// A slice, and whether the first one belongs to an IDR picture.
    pub picture: Option<Picture>,
    /// Whether the first slice begins in the middle of a picture: its `first_mb_in_slice` is not 0 (H.264 §7.4.3).
    pub is_continuation: Option<bool>,
    /// An SPS before the first slice.
    pub has_sps: bool,
    /// A PPS before the first slice.
    pub has_pps: bool,
}

/// What kind of picture an access unit holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Picture {
    /// Decoding can start here.
    Idr,
    /// It cannot.
    Other,
}

/// Why an access unit cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// A NAL unit claims more bytes than its message has.
    #[error("a NAL unit of {nal_bytes} bytes, where {bytes_left} are left")]
    Overrun {
        /// What its length prefix says.
        nal_bytes: u32,
        /// What its message has.
        bytes_left: u32,
    },
    /// A NAL unit has no bytes.
    #[error("an empty NAL unit")]
    EmptyUnit,
    /// There is no slice in it.
    #[error("an access unit without a picture")]
    NoPicture,
    /// It ends in the middle of a NAL unit or a length prefix.
    #[error("an access unit that is cut short")]
    CutShort,
}

impl NalWalk {
    /// A walk over `bytes` bytes of NAL units with prefixes of `length_bytes`.
    pub const fn new(length_bytes: u8, bytes: u32) -> Self {
        let seen = Seen { picture: None, is_continuation: None, has_sps: false, has_pps: false };
        let position = BETWEEN_UNITS;
        Self { length_bytes, bytes_left: bytes, position, seen, slice_header_at: None }
    }

    /// Takes the next bytes and gives `write` their Annex B form, piece by piece.
    pub fn feed(&mut self, mut bytes: &[u8], mut write: impl FnMut(&[u8])) -> Result<(), Broken> {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.position {
                Position::Length { bytes: have, value } => {
                    self.bytes_left = self.bytes_left.checked_sub(1).ok_or(Broken::CutShort)?;
                    let value = value << 8 | u32::from(first);
                    self.position = if have + 1 < self.length_bytes {
                        Position::Length { bytes: have + 1, value }
                    } else if value == 0 {
                        return Err(Broken::EmptyUnit);
                    } else if value > self.bytes_left {
                        return Err(Broken::Overrun {
                            nal_bytes: value,
                            bytes_left: self.bytes_left,
                        });
                    } else {
                        Position::Header { left: value }
                    };
                    bytes = rest;
                }
                Position::Header { left } => {
                    let is_first_slice = self.seen.picture.is_none();
                    let is_kept = self.note(first & 0x1f);
                    if is_first_slice && self.seen.picture.is_some() {
                        self.slice_header_at = left.checked_sub(1).filter(|left| *left > 0);
                    }
                    if is_kept {
                        write(&START_CODE);
                    }
                    self.position = Position::Payload { left, is_kept };
                }
                Position::Payload { left, is_kept } => {
                    let ahead = self.slice_header_at.map(|at| left.saturating_sub(at) as usize);
                    if let Some(byte) = ahead.and_then(|ahead| bytes.get(ahead)) {
                        // An Exp-Golomb code is 0 if its first bit is 1 (H.264 §9.1).
                        self.seen.is_continuation = Some(byte & 0x80 == 0);
                        self.slice_header_at = None;
                    }
                    let (piece, rest) = match bytes.split_at_checked(left as usize) {
                        Some(whole) => whole,
                        None => (bytes, &[][..]),
                    };
                    if is_kept {
                        write(piece);
                    }
                    // A piece is never longer than `left`, nor `left` than `bytes_left`.
                    let taken = u32::try_from(piece.len()).unwrap_or(left);
                    self.bytes_left -= taken;
                    self.position = if taken == left {
                        BETWEEN_UNITS
                    } else {
                        Position::Payload { left: left - taken, is_kept }
                    };
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// What has been seen so far.
    pub const fn seen(&self) -> Seen {
        self.seen
    }

    /// Says whether all bytes came and hold a picture.
    pub fn finish(&self) -> Result<(), Broken> {
        if self.bytes_left > 0 || self.position != BETWEEN_UNITS {
            return Err(Broken::CutShort);
        }
        self.seen.picture.map(|_| ()).ok_or(Broken::NoPicture)
    }

    /// Notes a NAL unit and returns whether it is kept.
    const fn note(&mut self, nal_unit_type: u8) -> bool {
        match (nal_unit_type, self.seen.picture) {
            (nal::IDR, None) => self.seen.picture = Some(Picture::Idr),
            (nal::SLICE..nal::IDR, None) => self.seen.picture = Some(Picture::Other),
            (nal::SPS, None) => self.seen.has_sps = true,
            (nal::PPS, None) => self.seen.has_pps = true,
            _ => {}
        }
        nal_unit_type != nal::ACCESS_UNIT_DELIMITER
    }
}

/// The most that `bytes` bytes of length-prefixed NAL units can grow to in Annex B form.
///
/// Only prefixes shorter than a start code make them grow: a unit has at least one byte beside its prefix.
pub fn annex_b_bytes_max(length_bytes: u8, bytes: u32) -> u64 {
    let shortest_unit = u64::from(length_bytes) + 1;
    u64::from(bytes).div_ceil(shortest_unit) * (START_CODE.len() as u64 + 1).max(shortest_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(length_bytes: u8, nals: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for nal in nals {
            bytes.extend(&(nal.len() as u32).to_be_bytes()[4 - length_bytes as usize..]);
            bytes.extend(*nal);
        }
        bytes
    }

    fn walk(length_bytes: u8, bytes: &[u8], step: usize) -> (Vec<u8>, Result<(), Broken>, Seen) {
        let mut walk = NalWalk::new(length_bytes, bytes.len() as u32);
        let mut out = Vec::new();
        for piece in bytes.chunks(step) {
            if let Err(broken) = walk.feed(piece, |bytes| out.extend_from_slice(bytes)) {
                return (out, Err(broken), walk.seen());
            }
        }
        (out, walk.finish(), walk.seen())
    }

    #[test]
    fn output_does_not_depend_on_where_fragments_are_cut() {
        for length_bytes in [1, 2, 4] {
            let bytes =
                units(length_bytes, &[&[9, 0xf0], &[0x67, 1], &[0x68], &[6; 40], &[0x65; 99]]);
            let mut expected = vec![0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 0, 1];
            expected.extend([6; 40]);
            expected.extend([0, 0, 0, 1]);
            expected.extend([0x65; 99]);
            let seen = Seen {
                picture: Some(Picture::Idr),
                is_continuation: Some(true),
                has_sps: true,
                has_pps: true,
            };
            for step in 1..=bytes.len() {
                assert_eq!(walk(length_bytes, &bytes, step), (expected.clone(), Ok(()), seen));
            }
            assert!(expected.len() as u64 <= annex_b_bytes_max(length_bytes, bytes.len() as u32));
        }
    }

    #[test]
    fn the_first_slice_decides_what_the_picture_is() {
        let table: &[(&[&[u8]], Option<Picture>)] = &[
            (&[&[0x41], &[0x65]], Some(Picture::Other)),
            (&[&[0x65], &[0x41]], Some(Picture::Idr)),
            (&[&[6], &[0x25]], Some(Picture::Idr)),
            (&[&[0x02], &[0x03], &[0x04]], Some(Picture::Other)),
            (&[&[0x67], &[0x68], &[6]], None),
        ];
        for (nals, picture) in table {
            assert_eq!(walk(4, &units(4, nals), 3).2.picture, *picture, "{nals:02x?}");
        }
        for (nals, is_continuation) in [
            (&[&[0x67, 0x42][..], &[0x65, 0x88], &[0x65, 0x42]][..], Some(false)),
            (&[&[0x06, 0x80], &[0x41, 0x7f]], Some(true)),
            (&[&[0x41], &[0x41, 0x7f]], None),
            (&[&[0x67, 0x42]], None),
        ] {
            for step in 1..9 {
                let seen = walk(4, &units(4, nals), step).2;
                assert_eq!(seen.is_continuation, is_continuation, "{nals:02x?} by {step}");
            }
        }
        let after = walk(4, &units(4, &[&[0x65], &[0x67], &[0x68]]), 3).2;
        assert!(
            !after.has_sps && !after.has_pps,
            "parameter sets after the slice are for later pictures"
        );
    }

    #[test]
    fn broken_access_units_are_told_apart() {
        let table: &[(u8, &[u8], Broken)] = &[
            (4, &[0, 0, 0, 9, 0x65, 1], Broken::Overrun { nal_bytes: 9, bytes_left: 2 }),
            (
                4,
                &[0xff, 0xff, 0xff, 0xff, 0x65],
                Broken::Overrun { nal_bytes: u32::MAX, bytes_left: 1 },
            ),
            (4, &[0, 0, 0, 1, 0x65, 0, 0, 0, 0], Broken::EmptyUnit),
            (4, &[0, 0, 0, 1, 0x65, 0, 0], Broken::CutShort),
            (2, &[0, 2, 9, 0xf0], Broken::NoPicture),
            (1, &[], Broken::NoPicture),
        ];
        for (length_bytes, bytes, broken) in table {
            for step in 1..=bytes.len().max(1) {
                assert_eq!(walk(*length_bytes, bytes, step).1, Err(*broken), "{bytes:02x?}");
            }
        }
        let mut walk = NalWalk::new(4, 9);
        walk.feed(&[0, 0, 0, 5, 0x65], |_| ()).unwrap();
        assert_eq!(walk.finish(), Err(Broken::CutShort));
    }

    #[test]
    fn more_bytes_than_were_announced_are_broken_not_a_panic() {
        let mut walk = NalWalk::new(4, 5);
        assert_eq!(walk.feed(&[0, 0, 0, 1, 0x65, 0], |_| ()), Err(Broken::CutShort));
    }

    #[test]
    fn one_byte_units_are_the_worst_case() {
        for (length_bytes, growth) in [(1, 2.5), (2, 5.0 / 3.0), (4, 1.0)] {
            let nal: &[u8] = &[0x65];
            let bytes = units(length_bytes, &[nal; 60]);
            let out = walk(length_bytes, &bytes, 7).0;
            assert_eq!(out.len() as u64, annex_b_bytes_max(length_bytes, bytes.len() as u32));
            assert_eq!(out.len() as f64 / bytes.len() as f64, growth);
        }
    }
}
