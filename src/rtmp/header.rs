//! The front of a chunk → its chunk stream and message header. Source: RTMP 1.0 §5.3.1.
//!
//! ```text
//!   basic header      message header                                          extended timestamp
//!   type, id          timestamp or delta   length   type id   message stream
//!   1 to 3 bytes      3                    3        1         4               0 or 4
//!                     ╰─ types 0, 1, 2 ──╯ ╰─ types 0, 1 ──╯  ╰─ type 0 ──╯
//! ```
//!
//! It is parsed where it lies; what is not there is said to be not there yet. The message stream id is stepped over: a
//! publisher has one message stream.

/// The longest chunk header, in bytes.
pub(super) const CHUNK_HEADER_BYTES_MAX: usize = 3 + 11 + 4;

/// The timestamp field that says "see the extended timestamp" (§5.3.1.3).
const EXTENDED: u32 = 0xFF_FFFF;

/// Chunk type and chunk stream id (§5.3.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BasicHeader {
    /// Chunk type, 0 to 3: how much of the message header is left out.
    pub(super) format: u8,
    /// Chunk stream id, 2 to 65,599.
    pub(super) id: u32,
}

impl BasicHeader {
    /// Steps `cursor` over it; `None`: it is not all there.
    pub(super) fn parse(cursor: &mut &[u8]) -> Option<Self> {
        let [first] = take(cursor)?;
        let id = match first & 0x3F {
            0 => take(cursor).map(|[a]| 64 + u32::from(a))?,
            1 => take(cursor).map(|[a, b]| 64 + u32::from(a) + 256 * u32::from(b))?,
            id => u32::from(id),
        };
        Some(Self { format: first >> 6, id })
    }
}

/// What a chunk stream remembers of its last message header (§5.3.1.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct MessageHeader {
    /// Timestamp (type 0) or delta, its extension included, in milliseconds.
    pub(super) timestamp_field: u32,
    /// Whether it needed the extension.
    pub(super) is_extended: bool,
    /// Length of the whole message, 24 bits.
    pub(super) message_bytes: u32,
    /// Message type id.
    pub(super) type_id: u8,
}

impl MessageHeader {
    /// Steps `cursor` over the message header of a chunk of type `format` and its extended timestamp. `last` fills in
    /// what is left out. `None`: it is not all there.
    ///
    /// `repeats_extended`: whether this peer repeats the extended timestamp in type 3 chunks. §5.3.1.3 wants it, earlier text
    /// did not, and encoders do both. Where it is `None`, the chunk decides and sets it: if the four bytes after the
    /// header are the last timestamp once more, they are a repetition. Media that look like it are one chance in 2^32.
    pub(super) fn parse(
        format: u8,
        last: Self,
        repeats_extended: &mut Option<bool>,
        cursor: &mut &[u8],
    ) -> Option<Self> {
        if format == 3 {
            if last.is_extended && *repeats_extended != Some(false) {
                let mut after = *cursor;
                let is_repeated = u32::from_be_bytes(take(&mut after)?) == last.timestamp_field;
                if *repeats_extended.get_or_insert(is_repeated) {
                    *cursor = after;
                }
            }
            return Some(last);
        }
        let [a, b, c] = take(cursor)?;
        let mut header = Self { timestamp_field: u32::from_be_bytes([0, a, b, c]), ..last };
        if format < 2 {
            let [d, e, f, type_id] = take(cursor)?;
            header.message_bytes = u32::from_be_bytes([0, d, e, f]);
            header.type_id = type_id;
        }
        if format == 0 {
            take::<4>(cursor)?;
        }
        header.is_extended = header.timestamp_field == EXTENDED;
        if header.is_extended {
            header.timestamp_field = u32::from_be_bytes(take(cursor)?);
        }
        Some(header)
    }
}

fn take<const N: usize>(cursor: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = cursor.split_first_chunk()?;
    *cursor = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_stream_ids_have_three_forms() {
        for (bytes, format, id) in [
            (&[0x02][..], 0, 2),
            (&[0x7F], 1, 63),
            (&[0x80, 0], 2, 64),
            (&[0xC0, 255], 3, 319),
            (&[0x01, 0, 1], 0, 320),
            (&[0x01, 255, 255], 0, 65_599),
        ] {
            assert_eq!(BasicHeader::parse(&mut &*bytes), Some(BasicHeader { format, id }));
            for cut in 0..bytes.len() {
                assert_eq!(BasicHeader::parse(&mut &bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn each_type_leaves_out_more_and_takes_it_from_the_last() {
        let last =
            MessageHeader { timestamp_field: 7, is_extended: false, message_bytes: 8, type_id: 9 };
        let bytes = [0, 0, 1, 0, 0, 2, 20, 1, 0, 0, 0];
        for (format, length, timestamp_field, message_bytes, type_id) in
            [(0, 11, 1, 2, 20), (1, 7, 1, 2, 20), (2, 3, 1, 8, 9), (3, 0, 7, 8, 9)]
        {
            let mut cursor = &bytes[..];
            let expected =
                MessageHeader { timestamp_field, is_extended: false, message_bytes, type_id };
            assert_eq!(MessageHeader::parse(format, last, &mut None, &mut cursor), Some(expected));
            assert_eq!(bytes.len() - cursor.len(), length, "type {format}");
            for cut in 0..length {
                assert_eq!(MessageHeader::parse(format, last, &mut None, &mut &bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn the_first_type_3_chunk_after_an_extended_timestamp_decides_for_all() {
        let last = MessageHeader {
            timestamp_field: 0x0102_0304,
            is_extended: true,
            message_bytes: 8,
            type_id: 9,
        };
        for (bytes, known, decides, length) in [
            ([1, 2, 3, 4], None, true, 4),
            ([1, 2, 3, 5], None, false, 0),
            ([1, 2, 3, 5], Some(true), true, 4),
            ([1, 2, 3, 4], Some(false), false, 0),
        ] {
            let (mut repeats_extended, mut cursor) = (known, &bytes[..]);
            assert_eq!(
                MessageHeader::parse(3, last, &mut repeats_extended, &mut cursor),
                Some(last)
            );
            assert_eq!(
                (repeats_extended, 4 - cursor.len()),
                (Some(decides), length),
                "{bytes:?}, {known:?}"
            );
        }
        let mut undecided = None;
        assert_eq!(MessageHeader::parse(3, last, &mut undecided, &mut &[1, 2, 3][..]), None);
        assert_eq!(undecided, None);
    }
}
