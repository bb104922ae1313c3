//! AudioSpecificConfig → ADTS headers.
//!
//! HE-AAC is written as the AAC-LC stream at its core, which is how ADTS carries it: decoders find SBR and PS inside.
//! Sources: ISO/IEC 14496-3 §1.6.2.1 (AudioSpecificConfig), §4.4.1 (GASpecificConfig), §1.6.5 (SBR signalling);
//! ISO/IEC 13818-7 §6.2 (ADTS).

use super::bits::BitReader;
use crate::{
    limits::AUDIO_CONFIG_BYTES_MAX,
    units::{TICKS_PER_SEC, Ticks90k},
};

/// Bytes of an ADTS header without CRC.
pub const ADTS_HEADER_BYTES: usize = 7;

/// Longest ADTS frame, header included, in bytes: its length has 13 bits.
pub const ADTS_FRAME_BYTES_MAX: usize = (1 << 13) - 1;

/// Samples per channel in one AAC frame, at the core's rate.
const FRAME_SAMPLES: i64 = 1024;

/// `samplingFrequencyIndex`, in Hz (ISO/IEC 14496-3 table 1.18).
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Audio object types (ISO/IEC 14496-3 table 1.17): ADTS has two bits for Main, LC, SSR and LTP.
mod object {
    pub(super) const MAIN: u8 = 1;
    pub(super) const LTP: u8 = 4;
    pub(super) const SBR: u8 = 5;
    pub(super) const PS: u8 = 29;
    pub(super) const ESCAPE: u8 = 31;
}

/// How to wrap the frames of one track. Two that are equal need no discontinuity between them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AacConfig {
    /// Audio object type of the core, 1 to 4; 2 is AAC-LC.
    object_type: u8,
    /// Index of the core's sample rate, 0 to 12.
    rate_index: u8,
    /// `channelConfiguration`, 1 to 7.
    channel_configuration: u8,
    /// Samples per second that a decoder puts out, in Hz: with SBR, twice the core's.
    pub sample_rate: u32,
    /// Channels that a decoder puts out, 1 to 8.
    pub channels: u8,
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// It ends in the middle of a field.
    #[error("the AudioSpecificConfig of {bytes} bytes is cut short")]
    Truncated {
        /// Its length.
        bytes: usize,
    },
    /// ADTS has no place for this object type.
    #[error("AAC object type {0} cannot be carried in ADTS; use AAC-LC")]
    ObjectType(u8),
    /// ADTS has no place for this rate.
    #[error("AAC at {0} Hz cannot be carried in ADTS; use one of the usual rates")]
    SampleRate(u32),
    /// The rate's index is reserved.
    #[error("AAC sample rate index {0} is reserved")]
    SampleRateIndex(u32),
    /// Channels are described by a program config element, or not at all.
    #[error("AAC channel configuration {0} is not supported; use mono or stereo")]
    Channels(u32),
    /// Frames have 960 samples.
    #[error("AAC frames of 960 samples cannot be carried in ADTS; use 1024")]
    FrameLength,
}

impl AacConfig {
    /// Reads an AudioSpecificConfig.
    pub fn parse(config: &[u8]) -> Result<Self, Error> {
        let config = config.get(..AUDIO_CONFIG_BYTES_MAX).unwrap_or(config);
        let truncated = Error::Truncated { bytes: config.len() };
        let mut bits = BitReader::new(config);
        let mut object_type = object_type(&mut bits).ok_or(truncated)?;
        let core_rate = sample_rate(&mut bits).ok_or(truncated)??;
        let channel_configuration = bits.bits(4).ok_or(truncated)?;
        let mut rate = core_rate;
        let has_ps = object_type == object::PS;
        if has_ps || object_type == object::SBR {
            rate = sample_rate(&mut bits).ok_or(truncated)??;
            object_type = self::object_type(&mut bits).ok_or(truncated)?;
        }
        if !(object::MAIN..=object::LTP).contains(&object_type) {
            return Err(Error::ObjectType(object_type));
        }
        let channels = match channel_configuration {
            7 => 8,
            1 if has_ps => 2,
            1..=6 => channel_configuration,
            _ => return Err(Error::Channels(channel_configuration)),
        };
        let is_960_samples = bits.flag().ok_or(truncated)?;
        if is_960_samples {
            return Err(Error::FrameLength);
        }
        if rate == core_rate {
            rate = extension_rate(&mut bits).unwrap_or(rate);
        }
        let rate_index = SAMPLE_RATES.iter().position(|known| *known == core_rate);
        Ok(Self {
            object_type,
            rate_index: rate_index
                .and_then(|i| i.try_into().ok())
                .ok_or(Error::SampleRate(core_rate))?,
            channel_configuration: channel_configuration.try_into().map_err(|_| truncated)?,
            sample_rate: rate,
            channels: channels.try_into().map_err(|_| truncated)?,
        })
    }

    /// The header of a frame of `payload_bytes`; `None`: it is too long for ADTS.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fields are cut to bytes, as they are laid out"
    )]
    pub fn adts_header(&self, payload_bytes: usize) -> Option<[u8; ADTS_HEADER_BYTES]> {
        let frame_bytes = payload_bytes + ADTS_HEADER_BYTES;
        if frame_bytes > ADTS_FRAME_BYTES_MAX {
            return None;
        }
        let channels = self.channel_configuration;
        Some([
            0xff,
            0xf1, // MPEG-4, layer 0, no CRC
            (self.object_type - 1) << 6 | self.rate_index << 2 | channels >> 2,
            (channels & 3) << 6 | (frame_bytes >> 11) as u8,
            (frame_bytes >> 3) as u8,
            (frame_bytes << 5) as u8 | 0x1f, // buffer fullness: variable rate
            0xfc,                            // one raw data block
        ])
    }

    /// How long `frames` frames play.
    pub fn duration(&self, frames: u32) -> Ticks90k {
        let core_rate = SAMPLE_RATES.get(usize::from(self.rate_index)).copied().unwrap_or(48_000);
        Ticks90k(i64::from(frames) * FRAME_SAMPLES * TICKS_PER_SEC / i64::from(core_rate))
    }
}

/// Length of the ADTS frame that `bytes` starts with, header included.
pub fn adts_frame_bytes(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, middle, low, _] = bytes.first_chunk()?;
    Some(usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5))
}

/// The access unit in a frame that an encoder has left in ADTS (no access unit starts like that: an END and a bit of 1).
pub fn without_adts_header(frame: &[u8]) -> &[u8] {
    match frame {
        [0xff, second, ..]
            if second & 0xf6 == 0xf0 && adts_frame_bytes(frame) == Some(frame.len()) =>
        {
            let has_crc = second & 1 == 0;
            frame.get(if has_crc { 9 } else { ADTS_HEADER_BYTES }..).unwrap_or_default()
        }
        _ => frame,
    }
}

fn object_type(bits: &mut BitReader<'_>) -> Option<u8> {
    let object_type = match u8::try_from(bits.bits(5)?).ok()? {
        object::ESCAPE => 32 + u8::try_from(bits.bits(6)?).ok()?,
        short => short,
    };
    Some(object_type)
}

fn sample_rate(bits: &mut BitReader<'_>) -> Option<Result<u32, Error>> {
    let index = bits.bits(4)?;
    if index == 15 {
        return Some(Ok(bits.bits(24)?));
    }
    let known = usize::try_from(index).ok().and_then(|index| SAMPLE_RATES.get(index));
    Some(known.copied().ok_or(Error::SampleRateIndex(index)))
}

/// The rate that a backward compatible SBR extension after the GASpecificConfig gives.
fn extension_rate(bits: &mut BitReader<'_>) -> Option<u32> {
    const SYNC_EXTENSION_TYPE: u32 = 0x2b7;
    let [depends_on_core_coder, has_extension] = [bits.flag()?, bits.flag()?];
    if depends_on_core_coder || has_extension || bits.bits(11)? != SYNC_EXTENSION_TYPE {
        return None;
    }
    let has_sbr = object_type(bits)? == object::SBR && bits.flag()?;
    if has_sbr { sample_rate(bits)?.ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes fields of (value, bits), most significant first, and pads with zeros.
    fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
        let bits: Vec<u8> = fields
            .iter()
            .flat_map(|(value, count)| (0..*count).rev().map(move |i| (value >> i & 1) as u8))
            .collect();
        bits.chunks(8)
            .map(|byte| byte.iter().enumerate().fold(0, |sum, (i, bit)| sum | bit << (7 - i)))
            .collect()
    }

    fn core(object_type: u8, rate: u32, channel_configuration: u8) -> (u8, u8, u8) {
        let rate_index = SAMPLE_RATES.iter().position(|r| *r == rate).unwrap() as u8;
        (object_type, rate_index, channel_configuration)
    }

    #[test]
    fn configurations_of_every_kind_of_signalling() {
        let table = [
            // What ffmpeg writes for 44.1 kHz stereo and 8 kHz mono.
            (vec![0x12, 0x10], core(2, 44_100, 2), 44_100, 2),
            (vec![0x15, 0x88], core(2, 8_000, 1), 8_000, 1),
            // Explicit rate, one that the table has.
            (pack(&[(2, 5), (15, 4), (16_000, 24), (1, 4), (0, 3)]), core(2, 16_000, 1), 16_000, 1),
            // HE-AAC, explicit hierarchical.
            (
                pack(&[(5, 5), (6, 4), (2, 4), (3, 4), (2, 5), (0, 3)]),
                core(2, 24_000, 2),
                48_000,
                2,
            ),
            // HE-AAC v2.
            (
                pack(&[(29, 5), (6, 4), (1, 4), (3, 4), (2, 5), (0, 3)]),
                core(2, 24_000, 1),
                48_000,
                2,
            ),
            // HE-AAC, backward compatible.
            (
                pack(&[(2, 5), (6, 4), (2, 4), (0, 3), (0x2b7, 11), (5, 5), (1, 1), (3, 4)]),
                core(2, 24_000, 2),
                48_000,
                2,
            ),
            // 7.1.
            (pack(&[(2, 5), (3, 4), (7, 4), (0, 3)]), core(2, 48_000, 7), 48_000, 8),
        ];
        for (bytes, (object_type, rate_index, channel_configuration), sample_rate, channels) in
            table
        {
            let expected =
                AacConfig { object_type, rate_index, channel_configuration, sample_rate, channels };
            assert_eq!(AacConfig::parse(&bytes), Ok(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_adts_cannot_carry_is_refused_by_name() {
        let table = [
            (vec![], Error::Truncated { bytes: 0 }),
            (vec![0x12], Error::Truncated { bytes: 1 }),
            (pack(&[(31, 5), (10, 6), (3, 4), (2, 4), (0, 3)]), Error::ObjectType(42)),
            (pack(&[(17, 5), (3, 4), (2, 4), (0, 3)]), Error::ObjectType(17)),
            (pack(&[(0, 5), (3, 4), (2, 4), (0, 3)]), Error::ObjectType(0)),
            (pack(&[(2, 5), (13, 4), (2, 4), (0, 3)]), Error::SampleRateIndex(13)),
            (pack(&[(2, 5), (15, 4), (44_000, 24), (2, 4), (0, 3)]), Error::SampleRate(44_000)),
            // A program config element.
            (pack(&[(2, 5), (3, 4), (0, 4), (0, 3)]), Error::Channels(0)),
            (pack(&[(2, 5), (3, 4), (2, 4), (1, 1), (0, 2)]), Error::FrameLength),
        ];
        for (bytes, error) in table {
            assert_eq!(AacConfig::parse(&bytes), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_header_is_that_of_the_standard_bit_by_bit() {
        let config = AacConfig::parse(&[0x12, 0x10]).unwrap();
        // Sync word, MPEG-4 without CRC, LC, 44.1 kHz, stereo, 379 bytes, variable rate, one block.
        assert_eq!(config.adts_header(372), Some([0xff, 0xf1, 0x50, 0x80, 0x2f, 0x7f, 0xfc]));
        assert_eq!(adts_frame_bytes(&config.adts_header(372).unwrap()), Some(379));
        assert_eq!(adts_frame_bytes(&config.adts_header(8184).unwrap()), Some(8191));
        assert_eq!(config.adts_header(8185), None);
        assert_eq!(adts_frame_bytes(&[0xff; 6]), None);
    }

    #[test]
    fn durations_do_not_accumulate_rounding() {
        let config = AacConfig::parse(&[0x12, 0x10]).unwrap();
        assert_eq!(config.duration(1), Ticks90k(2089));
        assert_eq!(config.duration(44_100), Ticks90k(1024 * 90_000));
    }
}
