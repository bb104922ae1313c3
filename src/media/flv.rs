//! FLV tag bodies → what they hold and where it starts.
//!
//! Of video only the header is read, so that a body may come in fragments; audio bodies are whole. Sources: Adobe FLV
//! 10.1 §E.4.2 and §E.4.3; Enhanced RTMP v1 for H.264 under a FourCC.

use super::aac::without_adts_header;

/// Longest header that [`Video::parse`] needs to see, in bytes: flags, FourCC and a composition offset.
pub const VIDEO_HEADER_BYTES_MAX: usize = 8;

/// What a VIDEODATA body holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Video {
    /// An AVCDecoderConfigurationRecord follows the header.
    Config {
        /// Where it starts.
        header_bytes: usize,
    },
    /// The NAL units of one access unit follow the header.
    AccessUnit {
        /// Where they start.
        header_bytes: usize,
        /// The encoder calls it a key frame.
        is_key: bool,
        /// Presentation time minus decoding time, in milliseconds, 24 bits signed on the wire.
        composition_ms: i32,
    },
    /// Nothing to record: an end of sequence, or a command to a player.
    Nothing,
    /// A codec or packet type that nobody has defined. Some cameras send such tags among good ones.
    Garbage,
    /// A codec that cannot be recorded, by its name.
    Unsupported(&'static str),
}

impl Video {
    /// Reads a body's first bytes; `None`: it takes more of them, at most [`VIDEO_HEADER_BYTES_MAX`].
    pub fn parse(head: &[u8]) -> Option<Self> {
        let (&flags, rest) = head.split_first()?;
        let is_key = flags >> 4 & 7 == 1;
        // Some encoders set bit 7 by chance: it means a FourCC only where one follows.
        if flags & 0x80 != 0 {
            match rest.first_chunk()? {
                b"avc1" => return Self::parse_enhanced(flags & 0xf, is_key, rest.get(4..)?),
                b"hvc1" | b"hev1" => return Some(Self::Unsupported("H.265")),
                b"vvc1" => return Some(Self::Unsupported("H.266")),
                b"av01" => return Some(Self::Unsupported("AV1")),
                b"vp08" => return Some(Self::Unsupported("VP8")),
                b"vp09" => return Some(Self::Unsupported("VP9")),
                _ => {}
            }
        }
        if flags >> 4 & 7 == 5 {
            return Some(Self::Nothing);
        }
        Some(match flags & 0xf {
            7 => {
                let &[kind, a, b, c] = rest.first_chunk()?;
                match kind {
                    0 => Self::Config { header_bytes: 5 },
                    1 => Self::AccessUnit {
                        header_bytes: 5,
                        is_key,
                        composition_ms: signed_24([a, b, c]),
                    },
                    2 => Self::Nothing,
                    _ => Self::Garbage,
                }
            }
            2 => Self::Unsupported("Sorenson H.263"),
            3 | 6 => Self::Unsupported("Screen"),
            4 | 5 => Self::Unsupported("VP6"),
            // Not Adobe's, but what Chinese cameras and CDNs have agreed on.
            12 => Self::Unsupported("H.265"),
            _ => Self::Garbage,
        })
    }

    fn parse_enhanced(packet_type: u8, is_key: bool, rest: &[u8]) -> Option<Self> {
        Some(match packet_type {
            0 => Self::Config { header_bytes: 5 },
            1 => Self::AccessUnit {
                header_bytes: 8,
                is_key,
                composition_ms: signed_24(*rest.first_chunk()?),
            },
            3 => Self::AccessUnit { header_bytes: 5, is_key, composition_ms: 0 },
            // End of sequence, and metadata about colours.
            2 | 4 => Self::Nothing,
            _ => Self::Garbage,
        })
    }
}

/// What an AUDIODATA body holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audio<'a> {
    /// An AudioSpecificConfig.
    Config(&'a [u8]),
    /// One AAC access unit.
    Frame(&'a [u8]),
    /// Too short, or a codec or packet type that nobody has defined.
    Garbage,
    /// A codec that cannot be recorded, by its name.
    Unsupported(&'static str),
}

impl<'a> Audio<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Self {
        match body {
            // Rate, size and channels in the first byte are constants for AAC: the configuration tells the truth.
            [flags, 0, config @ ..] if flags >> 4 == 10 => Self::Config(config),
            [flags, 1, frame @ ..] if flags >> 4 == 10 && !frame.is_empty() => {
                Self::Frame(without_adts_header(frame))
            }
            [flags, _, ..] => Self::Unsupported(match flags >> 4 {
                0 | 3 => "PCM",
                1 => "ADPCM",
                2 | 14 => "MP3",
                4..=6 => "Nellymoser",
                7 | 8 => "G.711",
                9 => "enhanced RTMP",
                11 => "Speex",
                _ => return Self::Garbage,
            }),
            _ => Self::Garbage,
        }
    }
}

fn signed_24([a, b, c]: [u8; 3]) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_headers() {
        let unit = |header_bytes, is_key, composition_ms| Video::AccessUnit {
            header_bytes,
            is_key,
            composition_ms,
        };
        let table: &[(&[u8], Option<Video>)] = &[
            (&[], None),
            (&[0x17], None),
            (&[0x17, 0, 0, 0, 0], Some(Video::Config { header_bytes: 5 })),
            (&[0x17, 1, 0, 0, 80], Some(unit(5, true, 80))),
            (&[0x27, 1, 0xff, 0xff, 0xd8], Some(unit(5, false, -40))),
            (&[0x27, 1, 0x80, 0, 0], Some(unit(5, false, -(1 << 23)))),
            (&[0x17, 2, 0, 0, 0], Some(Video::Nothing)),
            (&[0x57, 0], Some(Video::Nothing)),
            (&[0x12], Some(Video::Unsupported("Sorenson H.263"))),
            (&[0x1c, 0, 0, 0, 0], Some(Video::Unsupported("H.265"))),
            // Ids that stand for nothing.
            (&[0x10, 1, 2, 3, 4], Some(Video::Garbage)),
            (&[0x1f, 1, 2, 3, 4], Some(Video::Garbage)),
            (&[0x17, 3, 0, 0, 0], Some(Video::Garbage)),
            // Enhanced RTMP.
            (b"\x90hvc", None),
            (b"\x90hvc1", Some(Video::Unsupported("H.265"))),
            (b"\x91av01", Some(Video::Unsupported("AV1"))),
            (b"\x90avc1", Some(Video::Config { header_bytes: 5 })),
            (b"\x91avc1", None),
            (b"\x91avc1\xff\xff\xfe", Some(unit(8, true, -2))),
            (b"\xa3avc1", Some(unit(5, false, 0))),
            (b"\x92avc1", Some(Video::Nothing)),
            // Bit 7 set by chance, no FourCC after it.
            (&[0x97, 1, 0, 0, 1], Some(unit(5, true, 1))),
        ];
        for (head, expected) in table {
            assert_eq!(Video::parse(head), *expected, "{head:02x?}");
        }
    }

    #[test]
    fn audio_bodies() {
        let table: &[(&[u8], Audio<'_>)] = &[
            (&[], Audio::Garbage),
            (&[0xaf], Audio::Garbage),
            (&[0xaf, 0, 0x12, 0x10], Audio::Config(&[0x12, 0x10])),
            (&[0xaf, 1], Audio::Garbage),
            (&[0xa2, 1, 9], Audio::Frame(&[9])),
            (&[0xaf, 2, 9], Audio::Garbage),
            (&[0x2f, 1, 9], Audio::Unsupported("MP3")),
            (&[0x7f, 1, 9], Audio::Unsupported("G.711")),
            (&[0xff, 1, 9], Audio::Garbage),
        ];
        for (body, expected) in table {
            assert_eq!(Audio::parse(body), *expected, "{body:02x?}");
        }
    }
}
