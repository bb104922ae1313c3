//! A data message → what the encoder says of its stream. Source: Video File Format Specification 10.1 §E.5 (`onMetaData`).
//!
//! It is for people to read: an encoder may say what it likes here, and the media are believed before it.

use super::amf::{AmfError, Reader, Value};
use crate::limits::ENCODER_NAME_CHARS_MAX;

/// What `onMetaData` says, as far as anybody asks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Metadata {
    /// The encoder's name and version; empty where it says none.
    pub encoder: String,
    /// Whether there is to be an audio track.
    pub has_audio: bool,
}

impl Metadata {
    /// Reads a data message; `None`: it is another one than `onMetaData`.
    ///
    /// Encoders send it behind `@setDataFrame`, which means "keep this for later viewers", or bare.
    pub fn parse(message: &[u8]) -> Result<Option<Self>, AmfError> {
        let mut reader = Reader::new(message);
        let mut name = reader.next()?;
        if name.as_ref().and_then(Value::as_str) == Some("@setDataFrame") {
            name = reader.next()?;
        }
        if name.as_ref().and_then(Value::as_str) != Some("onMetaData") {
            return Ok(None);
        }
        let Some(Value::Object(properties)) = reader.next()? else { return Ok(None) };
        let mut metadata = Self::default();
        for (name, value) in properties {
            match name {
                b"encoder" => {
                    let name = value.as_str().unwrap_or_default();
                    metadata.encoder = name.chars().take(ENCODER_NAME_CHARS_MAX).collect();
                }
                b"audiocodecid" => metadata.has_audio |= is_aac(&value),
                b"hasAudio" => metadata.has_audio |= matches!(value, Value::Boolean(true)),
                _ => {}
            }
        }
        Ok(Some(metadata))
    }
}

/// A codec is a number (FLV's SoundFormat), or a FourCC in text; encoders without a track write 0 or nothing.
fn is_aac(value: &Value<'_>) -> bool {
    match value {
        Value::Number(id) => *id == 10.0,
        Value::String(four_cc) => *four_cc == b"mp4a",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        [&[0x02, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
    }

    fn number(number: f64) -> Vec<u8> {
        [&[0x00], number.to_be_bytes().as_slice()].concat()
    }

    fn object(marker: &[u8], properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = marker.to_vec();
        for (name, value) in properties {
            bytes.extend_from_slice(&string(name)[1..]);
            bytes.extend_from_slice(value);
        }
        bytes.extend_from_slice(&[0, 0, 9]);
        bytes
    }

    #[test]
    fn metadata_is_read_with_and_without_set_data_frame_from_object_and_array() {
        let properties = [
            ("width", number(1280.0)),
            ("height", number(720.0)),
            ("framerate", number(25.0)),
            ("videocodecid", number(7.0)),
            ("audiocodecid", string("mp4a")),
            ("encoder", string("Lavf59.27.100")),
            ("creation", vec![0x0B, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ];
        let expected = Metadata { encoder: "Lavf59.27.100".into(), has_audio: true };
        for head in [[string("@setDataFrame"), string("onMetaData")].concat(), string("onMetaData")]
        {
            for marker in [&[0x03][..], &[0x08, 0, 0, 0, 0]] {
                let message = [head.clone(), object(marker, &properties)].concat();
                assert_eq!(Metadata::parse(&message), Ok(Some(expected.clone())));
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let properties = [
            ("hasAudio", number(1.0)),
            ("audiocodecid", number(0.0)),
            ("audiocodecid", number(7.0)),
            ("encoder", vec![0x02, 0, 1, 0xFF]),
        ];
        let message = [string("onMetaData"), object(&[0x03], &properties)].concat();
        assert_eq!(Metadata::parse(&message), Ok(Some(Metadata::default())));
        let long =
            [string("onMetaData"), object(&[0x03], &[("encoder", string(&"ä".repeat(100)))])]
                .concat();
        assert_eq!(
            Metadata::parse(&long).unwrap().unwrap().encoder,
            "ä".repeat(ENCODER_NAME_CHARS_MAX)
        );
    }

    #[test]
    fn other_data_messages_are_none_of_it() {
        for message in [
            vec![],
            string("onTextData"),
            string("@setDataFrame"),
            string("onMetaData"),
            number(1.0),
        ] {
            assert_eq!(Metadata::parse(&message), Ok(None));
        }
    }
}
