//! Bytes → bit fields, as H.264 §7.2 and §9.1 and ISO/IEC 14496-3 write them. Past the end every read is `None`.

/// Reads bits, most significant first.
#[derive(Clone, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits already read of the first of `bytes`, 0 to 7.
    bits_read: u32,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, bits_read: 0 }
    }

    /// One bit.
    pub(super) fn flag(&mut self) -> Option<bool> {
        let (&first, rest) = self.bytes.split_first()?;
        let bit = first << self.bits_read & 0x80 != 0;
        self.bits_read += 1;
        if self.bits_read == 8 {
            (self.bytes, self.bits_read) = (rest, 0);
        }
        Some(bit)
    }

    /// The next `count` bits, at most 32, as a number.
    pub(super) fn bits(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    /// `ue(v)`, H.264 §9.1.
    pub(super) fn unsigned_exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// `se(v)`, H.264 §9.1.1.
    pub(super) fn signed_exp_golomb(&mut self) -> Option<i32> {
        let code = self.unsigned_exp_golomb()?;
        let magnitude = i32::try_from(code.div_ceil(2)).ok()?;
        Some(if code % 2 == 1 { magnitude } else { -magnitude })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cross_bytes_and_end_with_them() {
        let mut bits = BitReader::new(&[0b1010_0101, 0b1100_0000]);
        assert_eq!(
            (bits.bits(3), bits.flag(), bits.bits(6)),
            (Some(0b101), Some(false), Some(0b01_0111))
        );
        assert_eq!((bits.bits(6), bits.flag(), bits.bits(0)), (Some(0), None, Some(0)));
    }

    #[test]
    fn exp_golomb_codes_are_those_of_the_standards_table() {
        // 1 | 010 | 011 | 00100 | 00101
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!([0; 5].map(|_| bits.unsigned_exp_golomb()), [0, 1, 2, 3, 4].map(Some));
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!([0; 5].map(|_| bits.signed_exp_golomb()), [0, 1, -1, 2, -2].map(Some));
        let longest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(BitReader::new(&longest).unsigned_exp_golomb(), Some(u32::MAX - 1));
        assert_eq!(BitReader::new(&[0; 8]).unsigned_exp_golomb(), None);
    }
}
