//! Bytes of an AMF0 message → its values, one at a time, borrowed and bounded.
//!
//! Nothing is built and nothing is allocated: a [`Reader`] steps over values, and looks inside an object only where it is
//! asked to. Writing is `rml_rtmp`'s; its reader recurses as deep as a peer nests, which a few kilobytes turn into
//! an overflow of the stack.
//!
//! Source: AMF 0 Specification (Adobe, 2007) §2.2 to §2.18. AMF3 (§3.1) is not read: it ends the message.

use crate::limits::{AMF_DEPTH_MAX, AMF_VALUES_MAX};

/// Reads values off the front of a message.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Values that may still come, nested ones counted.
    values_left: usize,
}

/// One value, as far as anybody asks for it.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Number(f64),
    Boolean(bool),
    /// A string or a long string. Meant to be UTF-8, and not checked to be.
    String(&'a [u8]),
    /// An object, a typed object or an ECMA array: names and values.
    Object(Properties<'a>),
    /// Null, undefined, a date, an XML document, a strict array, a reference: stepped over.
    Other,
}

impl<'a> Value<'a> {
    /// The text of a string that is UTF-8.
    pub(super) fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::String(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub(super) const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// The names and values of one object, which have been stepped over once and are known to be whole.
#[derive(Clone, Debug)]
pub(super) struct Properties<'a>(Reader<'a>);

impl<'a> Iterator for Properties<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let Ok(Some(name)) = self.0.name() else {
            // What follows the object is not its own.
            self.0.bytes = &[];
            return None;
        };
        Some((name, self.0.value(0).ok()?))
    }
}

/// AMF0 that cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AmfError {
    /// The message ends inside a value.
    #[error("an AMF0 value is cut short")]
    Truncated,
    /// A marker that AMF0 does not define, inside an object or array.
    #[error("AMF0 marker {0:#04x} is unknown")]
    UnknownMarker(u8),
    /// Values nested deeper than [`AMF_DEPTH_MAX`].
    #[error("AMF0 values are nested deeper than {AMF_DEPTH_MAX}")]
    TooDeep,
    /// More values than [`AMF_VALUES_MAX`].
    #[error("a message holds more than {AMF_VALUES_MAX} AMF0 values")]
    TooMany,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, values_left: AMF_VALUES_MAX }
    }

    /// The next value; `None` at the end of the message, or where AMF3 or an unknown value begins: its length is not
    /// known, and what came before it may be all that was needed.
    pub(super) fn next(&mut self) -> Result<Option<Value<'a>>, AmfError> {
        match self.bytes.first() {
            None => Ok(None),
            Some(&marker) if marker > marker::TYPED_OBJECT => {
                self.bytes = &[];
                Ok(None)
            }
            Some(_) => self.value(0).map(Some),
        }
    }

    /// Steps over the next value, `depth` levels inside others, and looks at it.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, AmfError> {
        if depth > AMF_DEPTH_MAX {
            return Err(AmfError::TooDeep);
        }
        self.values_left = self.values_left.checked_sub(1).ok_or(AmfError::TooMany)?;
        let [marker] = self.array()?;
        Ok(match marker {
            marker::NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            marker::BOOLEAN => Value::Boolean(self.array::<1>()? != [0]),
            marker::STRING => Value::String(self.short_string()?),
            marker::LONG_STRING => Value::String(self.long_string()?),
            marker::OBJECT => Value::Object(self.object(depth)?),
            marker::ECMA_ARRAY => {
                // The count is a hint (§2.10), and encoders get it wrong: the end marker ends the array.
                self.array::<4>()?;
                Value::Object(self.object(depth)?)
            }
            marker::TYPED_OBJECT => {
                self.short_string()?;
                Value::Object(self.object(depth)?)
            }
            marker::STRICT_ARRAY => {
                for _ in 0..u32::from_be_bytes(self.array()?) {
                    self.value(depth + 1)?;
                }
                Value::Other
            }
            marker::DATE => self.array::<10>().map(|_| Value::Other)?,
            marker::REFERENCE => self.array::<2>().map(|_| Value::Other)?,
            marker::XML_DOCUMENT => self.long_string().map(|_| Value::Other)?,
            marker::NULL | marker::UNDEFINED | marker::UNSUPPORTED => Value::Other,
            unknown => return Err(AmfError::UnknownMarker(unknown)),
        })
    }

    /// Steps over the properties of an object.
    fn object(&mut self, depth: usize) -> Result<Properties<'a>, AmfError> {
        let properties = Properties(self.clone());
        while self.name()?.is_some() {
            self.value(depth + 1)?;
        }
        Ok(properties)
    }

    /// The name of the next property; `None` at the object's end (§2.11).
    fn name(&mut self) -> Result<Option<&'a [u8]>, AmfError> {
        let name = self.short_string()?;
        if name.is_empty() && self.bytes.first() == Some(&marker::OBJECT_END) {
            self.array::<1>()?;
            return Ok(None);
        }
        Ok(Some(name))
    }

    fn short_string(&mut self) -> Result<&'a [u8], AmfError> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length))
    }

    fn long_string(&mut self) -> Result<&'a [u8], AmfError> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| AmfError::Truncated)?)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(AmfError::Truncated)?;
        self.bytes = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], AmfError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(AmfError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }
}

/// Type markers (§2.1).
mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const REFERENCE: u8 = 0x07;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0A;
    pub(super) const DATE: u8 = 0x0B;
    pub(super) const LONG_STRING: u8 = 0x0C;
    pub(super) const UNSUPPORTED: u8 = 0x0D;
    pub(super) const XML_DOCUMENT: u8 = 0x0F;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Value<'_>>, AmfError> {
        let mut reader = Reader::new(bytes);
        let mut values = Vec::new();
        while let Some(value) = reader.next()? {
            values.push(value);
        }
        Ok(values)
    }

    #[test]
    fn every_marker_of_the_specification_is_stepped_over_to_the_byte() {
        let cases: &[(&str, &[u8])] = &[
            ("number", &[0x00, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("boolean", &[0x01, 7]),
            ("string", b"\x02\x00\x03abc"),
            ("object", b"\x03\x00\x01a\x05\x00\x00\x09"),
            ("null", &[0x05]),
            ("undefined", &[0x06]),
            ("reference", &[0x07, 0, 1]),
            ("ECMA array with a wrong count", b"\x08\x00\x00\x00\x63\x00\x01a\x01\x01\x00\x00\x09"),
            ("strict array", &[0x0A, 0, 0, 0, 2, 0x05, 0x01, 1]),
            ("date", &[0x0B, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("long string", b"\x0C\x00\x00\x00\x03abc"),
            ("unsupported", &[0x0D]),
            ("XML document", b"\x0F\x00\x00\x00\x03<a>"),
            ("typed object", b"\x10\x00\x01T\x00\x01a\x02\x00\x01b\x00\x00\x09"),
        ];
        for (name, bytes) in cases {
            let mut message = bytes.to_vec();
            message.extend_from_slice(b"\x02\x00\x04next");
            let values = all(&message).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(values.len(), 2, "{name}");
            assert_eq!(values[1].as_str(), Some("next"), "{name}");
            for cut in 1..bytes.len() {
                assert_eq!(
                    all(&bytes[..cut]).unwrap_err(),
                    AmfError::Truncated,
                    "{name} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn an_object_shows_its_properties_in_order_and_only_its_own() {
        let bytes = b"\x03\x00\x01a\x03\x00\x01x\x00\x3f\xf0\0\0\0\0\0\0\x00\x00\x09\x00\x01b\x02\x00\x01c\x00\x00\x09";
        let values = all(bytes).unwrap();
        let [Value::Object(properties)] = values.as_slice() else { panic!("{values:?}") };
        let names: Vec<_> = properties.clone().map(|(name, _)| name).collect();
        assert_eq!(names, [b"a", b"b"]);
        let Some((_, Value::Object(inner))) = properties.clone().next() else {
            panic!("{values:?}")
        };
        assert!(matches!(inner.clone().next(), Some((b"x", Value::Number(1.0)))));
        let mut inner = inner.skip(1);
        assert!(inner.next().is_none() && inner.next().is_none(), "it ends once and for all");
    }

    #[test]
    fn an_empty_name_that_no_end_marker_follows_is_a_name() {
        let values = all(b"\x03\x00\x00\x05\x00\x00\x09").unwrap();
        let [Value::Object(properties)] = values.as_slice() else { panic!("{values:?}") };
        assert_eq!(properties.clone().count(), 1);
    }

    #[test]
    fn values_nest_to_the_bound_and_no_deeper() {
        let nested = |depth| {
            let mut bytes = [0x0A, 0, 0, 0, 1].repeat(depth);
            bytes.push(0x05);
            bytes
        };
        assert!(all(&nested(AMF_DEPTH_MAX)).is_ok());
        assert_eq!(all(&nested(AMF_DEPTH_MAX + 1)).unwrap_err(), AmfError::TooDeep);
        assert_eq!(all(&nested(100_000)).unwrap_err(), AmfError::TooDeep);
        assert_eq!(all(&b"\x03\x00\x01a".repeat(100_000)).unwrap_err(), AmfError::TooDeep);
    }

    #[test]
    fn a_message_holds_values_up_to_the_bound_nested_ones_counted() {
        assert_eq!(all(&[0x05; AMF_VALUES_MAX]).unwrap().len(), AMF_VALUES_MAX);
        assert_eq!(all(&[0x05; AMF_VALUES_MAX + 1]).unwrap_err(), AmfError::TooMany);
        let mut array = vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF];
        array.resize(AMF_VALUES_MAX + 5, 0x05);
        assert_eq!(all(&array).unwrap_err(), AmfError::TooMany);
    }

    #[test]
    fn amf3_ends_the_message_and_spoils_an_object() {
        assert_eq!(all(b"\x02\x00\x01a\x11\x0A\x0B").unwrap().len(), 1);
        assert_eq!(
            all(b"\x03\x00\x01a\x11\x01\x00\x00\x09").unwrap_err(),
            AmfError::UnknownMarker(0x11)
        );
        assert_eq!(all(b"\x04").unwrap_err(), AmfError::UnknownMarker(0x04));
    }
}
