//! AVCDecoderConfigurationRecord → parameter sets in Annex B form and what their first SPS says.
//!
//! Source: ISO/IEC 14496-15 §5.3.3.1. What the record repeats of the SPS, and what stands after the PPSs, is not read. Cameras send
//! the sets among the pictures as well, or there alone.

use super::{
    h264::{START_CODE, nal},
    sps::Sps,
};
use crate::limits::AVC_CONFIG_BYTES_MAX;

/// How to read and decode the access units of one track. Two that are equal need no discontinuity between them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AvcConfig {
    /// Bytes in a NAL unit's length prefix: 1, 2 or 4.
    pub length_bytes: u8,
    /// All SPSs, then all PPSs, each after a start code. At most twice as long as the record.
    pub parameter_sets: Vec<u8>,
    /// The first SPS; `None` if it cannot be read, which stops no decoder that knows better.
    pub sps: Option<Sps>,
}

/// Why a record cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// It is longer than any camera's.
    #[error("the AVC sequence header has {bytes} bytes, more than {AVC_CONFIG_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It ends in the middle of a field.
    #[error("the AVC sequence header of {bytes} bytes is cut short")]
    Truncated {
        /// Its length.
        bytes: usize,
    },
    /// The version is not 1.
    #[error("the AVC sequence header has version {0}, not 1")]
    Version(u8),
    /// A NAL unit's length has three bytes, which the standard forbids.
    #[error("the AVC sequence header gives NAL unit lengths 3 bytes")]
    LengthBytes,
    /// There is no SPS, no PPS, or an empty one.
    #[error("the AVC sequence header lacks an SPS or a PPS")]
    NoParameterSets,
}

impl AvcConfig {
    /// Reads a whole record.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let bytes = record.len();
        if bytes > AVC_CONFIG_BYTES_MAX {
            return Err(Error::TooLong { bytes });
        }
        let truncated = Error::Truncated { bytes };
        let (&[version, _, _, _, length, sps_count], mut rest) =
            record.split_first_chunk().ok_or(truncated)?;
        if version != 1 {
            return Err(Error::Version(version));
        }
        let length_bytes = (length & 3) + 1;
        if length_bytes == 3 {
            return Err(Error::LengthBytes);
        }
        let mut config =
            Self { length_bytes, parameter_sets: Vec::with_capacity(2 * bytes), sps: None };
        for _ in 0..sps_count & 0x1f {
            let sps = config.take_set(&mut rest).ok_or(truncated)?;
            config.sps = config.sps.or_else(|| Sps::parse(sps));
        }
        let has_sps = !config.parameter_sets.is_empty();
        let (&pps_count, mut rest) = rest.split_first().ok_or(truncated)?;
        for _ in 0..pps_count {
            config.take_set(&mut rest).ok_or(truncated)?;
        }
        if has_sps && pps_count > 0 { Ok(config) } else { Err(Error::NoParameterSets) }
    }

    /// Gathers the parameter sets among length-prefixed NAL units, of which the last may be cut off. `None`: there is no SPS that can
    /// be read, or no PPS.
    pub fn in_band(length_bytes: u8, mut units: &[u8]) -> Option<Self> {
        let mut config = Self { length_bytes, parameter_sets: Vec::new(), sps: None };
        let mut has_pps = false;
        while let Some((length, after)) = units.split_at_checked(length_bytes.into()) {
            let length = length.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
            let Some((unit, after)) = after.split_at_checked(length) else { break };
            units = after;
            match unit.first()? & 0x1f {
                nal::SPS => config.sps = config.sps.or_else(|| Sps::parse(unit)),
                nal::PPS => has_pps = true,
                _ => continue,
            }
            config.parameter_sets.extend_from_slice(&START_CODE);
            config.parameter_sets.extend_from_slice(unit);
        }
        (config.sps.is_some() && has_pps).then_some(config)
    }

    /// Moves one length-prefixed parameter set from the record to `parameter_sets`, and returns it.
    fn take_set<'a>(&mut self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, after) = rest.split_first_chunk()?;
        let (set, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        *rest = after;
        if !set.is_empty() {
            self.parameter_sets.extend_from_slice(&START_CODE);
            self.parameter_sets.extend_from_slice(set);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `length_size_minus_one`, SPSs, PPSs.
    fn record(length: u8, spss: &[&[u8]], ppss: &[&[u8]]) -> Vec<u8> {
        let mut record = vec![1, 66, 0, 30, 0xfc | length, 0xe0 | spss.len() as u8];
        for set in spss {
            record.extend([0, set.len() as u8]);
            record.extend(*set);
        }
        record.push(ppss.len() as u8);
        for set in ppss {
            record.extend([0, set.len() as u8]);
            record.extend(*set);
        }
        record
    }

    #[test]
    fn several_parameter_sets_become_annex_b_in_order() {
        let config =
            AvcConfig::parse(&record(3, &[&[0x67, 1], &[0x67, 2]], &[&[0x68, 3], &[0x68]]))
                .unwrap();
        assert_eq!(config.length_bytes, 4);
        let expected =
            [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x67, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x68];
        assert_eq!(config.parameter_sets, expected);
        assert_eq!(AvcConfig::parse(&record(0, &[&[0x67]], &[&[0x68]])).unwrap().length_bytes, 1);
        assert_eq!(AvcConfig::parse(&record(1, &[&[0x67]], &[&[0x68]])).unwrap().length_bytes, 2);
    }

    #[test]
    fn malformed_records_are_told_apart() {
        let good = record(3, &[&[0x67, 1]], &[&[0x68, 3]]);
        for bytes in 0..good.len() {
            assert_eq!(AvcConfig::parse(&good[..bytes]), Err(Error::Truncated { bytes }));
        }
        assert_eq!(AvcConfig::parse(&record(2, &[&[0x67]], &[&[0x68]])), Err(Error::LengthBytes));
        assert_eq!(AvcConfig::parse(&record(3, &[], &[&[0x68]])), Err(Error::NoParameterSets));
        assert_eq!(AvcConfig::parse(&record(3, &[&[0x67]], &[])), Err(Error::NoParameterSets));
        assert_eq!(AvcConfig::parse(&[0; 40]), Err(Error::Version(0)));
        assert_eq!(AvcConfig::parse(&[1; 4000]), Err(Error::TooLong { bytes: 4000 }));
    }

    #[test]
    fn what_follows_the_parameter_sets_changes_nothing() {
        let mut long = record(3, &[&[0x67, 1]], &[&[0x68, 3]]);
        let short = AvcConfig::parse(&long);
        long.extend([0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(AvcConfig::parse(&long), short);
    }
}
