//! Bytes of an RTMP connection after its handshake → messages: video as it arrives, everything else whole.
//!
//! The reader keeps no read buffer. It looks at the bytes that the caller just received, hands slices of them out, and
//! keeps only what it must: the last header of each chunk stream, an unfinished chunk header, and small messages that
//! arrive in pieces. A declared length never allocates, and a message that nobody wants is read past.
//!
//! It carries out the two control messages that change how chunks are read (Set Chunk Size, Abort) and knows nothing
//! of what the others mean. Source: RTMP 1.0 §5.3 (chunks), §5.4 (control messages), §7.1 (message types).
//!
//! It stands in the place of `rml_rtmp`'s own reader, which has one payload buffer for all chunk streams and panics on
//! legal interleaving, takes any declared length, and keeps a header for every chunk stream that a peer invents.

use heapless::Vec as FixedVec;

use super::{
    chunk_stream::{Body, ChunkStream, Kind},
    header::{BasicHeader, CHUNK_HEADER_BYTES_MAX, MessageHeader},
};
use crate::limits::{CHUNK_STREAMS_MAX, SMALL_MESSAGE_BYTES_MAX, SMALL_MESSAGES_HELD_MAX};

/// Chunk size before the peer sets another (RTMP 1.0 §5.4.1), in bytes.
const CHUNK_BYTES_AT_START: u32 = 128;

/// A message has at most this length (24 bits on the wire), so a larger chunk size means the same.
const CHUNK_BYTES_MAX: u32 = 0xFF_FFFF;

/// Reads chunks. One per connection.
pub(super) struct ChunkReader {
    /// Largest payload of the chunks to come, in bytes.
    chunk_bytes: u32,
    streams: FixedVec<ChunkStream, CHUNK_STREAMS_MAX>,
    /// The chunk whose payload is being read.
    chunk: Option<Chunk>,
    /// The place in `streams` of the last one whose header was parsed.
    last: usize,
    /// Whether this peer repeats the extended timestamp in type 3 chunks; not known before the first of them.
    repeats_extended: Option<bool>,
    /// Bytes of earlier input that are not yet used up: an unfinished chunk header.
    carry: FixedVec<u8, CHUNK_HEADER_BYTES_MAX>,
    /// What [`Bytes::Kept`] stands for.
    kept: Vec<u8>,
}

/// What the input brought.
pub(super) enum Arrived<'a> {
    /// Part of a video message.
    Video(VideoPart<'a>),
    /// A whole message of another type.
    Message(Message<'a>),
}

/// Part of a video message.
pub(super) struct VideoPart<'a> {
    pub(super) timestamp_ms: u32,
    pub(super) message_bytes: u32,
    /// Where in the message the part stands.
    pub(super) offset: u32,
    pub(super) bytes: Bytes<'a>,
}

/// A whole message.
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    pub(super) timestamp_ms: u32,
    pub(super) bytes: Bytes<'a>,
}

/// Where bytes are: [`ChunkReader::bytes`] shows them. Apart from the reader, so that the reader can go on
/// without them.
#[derive(Clone, Copy)]
pub(super) enum Bytes<'a> {
    /// In the caller's input.
    Input(&'a [u8]),
    /// In the reader, until it reads on.
    Kept,
}

/// Chunks that no encoder means. The connection cannot be read on after one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ChunkError {
    /// A first chunk that leans on a header which was never sent.
    #[error("chunk stream {id} starts with a type {format} chunk, which has no length")]
    NoHeader {
        /// Chunk stream id.
        id: u32,
        /// Chunk type, 2 or 3.
        format: u8,
    },
    /// More chunk streams than [`CHUNK_STREAMS_MAX`].
    #[error("chunk stream {id} is one more than the {CHUNK_STREAMS_MAX} that a connection may use")]
    TooManyStreams {
        /// Chunk stream id.
        id: u32,
    },
    /// More half-received messages than [`SMALL_MESSAGES_HELD_MAX`].
    #[error("more than {SMALL_MESSAGES_HELD_MAX} messages are half received")]
    TooManyHeld,
    /// A control or command message longer than [`SMALL_MESSAGE_BYTES_MAX`].
    #[error(
        "a message of type {type_id} and {bytes} bytes is longer than {SMALL_MESSAGE_BYTES_MAX}"
    )]
    TooLong {
        /// Message type id.
        type_id: u8,
        /// Declared length.
        bytes: u32,
    },
    /// A control message that is shorter than its field.
    #[error("a message of type {type_id} is shorter than 4 bytes")]
    TooShort {
        /// Message type id.
        type_id: u8,
    },
    /// A chunk size of 0, or with the bit that must be zero (RTMP 1.0 §5.4.1).
    #[error("chunk size {0:#x} is not allowed")]
    ChunkSize(u32),
    /// A video message starts inside another one.
    #[error(
        "a video message starts on chunk stream {id} before the one on another chunk stream has ended"
    )]
    InterleavedVideo {
        /// Chunk stream id of the second one.
        id: u32,
    },
}

impl ChunkReader {
    pub(super) const fn new() -> Self {
        Self {
            chunk_bytes: CHUNK_BYTES_AT_START,
            streams: FixedVec::new(),
            chunk: None,
            last: 0,
            repeats_extended: None,
            carry: FixedVec::new(),
            kept: Vec::new(),
        }
    }

    /// Takes bytes from the front of `input` until they make something to hand out; `None` once they are used up.
    pub(super) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Arrived<'a>>, ChunkError> {
        // What was handed out last has been seen. It is small and rarely kept, so it need not wait for the next.
        self.kept = Vec::new();
        loop {
            let Some(chunk) = self.chunk else {
                if !self.begin_chunk(input)? {
                    return Ok(None);
                }
                continue;
            };
            let available = if self.carry.is_empty() { input.len() } else { self.carry.len() };
            if available == 0 {
                return Ok(None);
            }
            let taken = available.min(chunk.left as usize);
            if let Some(arrived) = self.take(chunk, taken, input)? {
                return Ok(Some(arrived));
            }
        }
    }

    /// Shows what was handed out last.
    pub(super) fn bytes<'a>(&'a self, bytes: Bytes<'a>) -> &'a [u8] {
        match bytes {
            Bytes::Input(bytes) => bytes,
            Bytes::Kept => &self.kept,
        }
    }

    /// Takes `taken` bytes of the chunk's payload, from what is carried or else from the input.
    fn take<'a>(
        &mut self,
        chunk: Chunk,
        taken: usize,
        input: &mut &'a [u8],
    ) -> Result<Option<Arrived<'a>>, ChunkError> {
        let from = if self.carry.is_empty() {
            let (bytes, rest) = input.split_at(taken);
            *input = rest;
            Bytes::Input(bytes)
        } else {
            // Only bytes that were taken for an extended timestamp and are none come this way.
            self.kept = self.carry.drain(..taken).collect();
            Bytes::Kept
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most chunk.left, which is 24 bits")]
        let taken = taken as u32;
        let left = chunk.left - taken;
        self.chunk = (left > 0).then_some(Chunk { left, ..chunk });

        let Some(stream) = self.streams.get_mut(chunk.stream) else { return Ok(None) };
        let offset = stream.received;
        stream.received += taken;
        let is_complete = stream.received == stream.header.message_bytes;
        let (kind, timestamp_ms, message_bytes) =
            (stream.kind(), stream.timestamp_ms, stream.header.message_bytes);
        let arrived = match &stream.body {
            Body::Idle | Body::Skipped => None,
            Body::Video => {
                Some(Arrived::Video(VideoPart { timestamp_ms, message_bytes, offset, bytes: from }))
            }
            // The usual case: the message came in one piece, and nothing is copied.
            Body::Small(gathered) if is_complete && gathered.is_empty() => {
                self.complete(Message { kind, timestamp_ms, bytes: from })?
            }
            Body::Small(_) => {
                if !self.gather(chunk.stream, from, is_complete)? {
                    return Ok(None);
                }
                self.complete(Message { kind, timestamp_ms, bytes: Bytes::Kept })?
            }
        };
        if is_complete && let Some(stream) = self.streams.get_mut(chunk.stream) {
            stream.body = Body::Idle;
        }
        Ok(arrived)
    }

    /// Adds to a small message that comes in pieces. When it is complete it moves to where [`Bytes::Kept`] finds it.
    fn gather(
        &mut self,
        index: usize,
        from: Bytes<'_>,
        is_complete: bool,
    ) -> Result<bool, ChunkError> {
        let held = self.streams.iter().filter(|stream| stream.holds_bytes()).count();
        let Some(ChunkStream { body: Body::Small(gathered), .. }) = self.streams.get_mut(index)
        else {
            return Ok(false);
        };
        if gathered.is_empty() {
            if held == SMALL_MESSAGES_HELD_MAX {
                return Err(ChunkError::TooManyHeld);
            }
            // The room is the bound's, never what the peer declared.
            gathered.reserve_exact(SMALL_MESSAGE_BYTES_MAX);
        }
        gathered.extend_from_slice(match from {
            Bytes::Input(bytes) => bytes,
            Bytes::Kept => &self.kept,
        });
        if is_complete {
            self.kept = std::mem::take(gathered);
        }
        Ok(is_complete)
    }

    /// Carries out what is the reader's own, hands the rest up.
    fn complete<'a>(&mut self, message: Message<'a>) -> Result<Option<Arrived<'a>>, ChunkError> {
        let field = |reader: &Self, type_id| {
            let field =
                reader.bytes(message.bytes).first_chunk().map(|field| u32::from_be_bytes(*field));
            field.ok_or(ChunkError::TooShort { type_id })
        };
        match message.kind {
            Kind::SetChunkSize => {
                let size = field(self, 1)?;
                if size == 0 || size > i32::MAX.unsigned_abs() {
                    return Err(ChunkError::ChunkSize(size));
                }
                self.chunk_bytes = size.min(CHUNK_BYTES_MAX);
                Ok(None)
            }
            Kind::Abort => {
                let id = field(self, 2)?;
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
                    stream.body = Body::Idle;
                }
                Ok(None)
            }
            _ => Ok(Some(Arrived::Message(message))),
        }
    }

    /// Reads a chunk's header from what is carried and from the input; `false`: it is not all there.
    fn begin_chunk(&mut self, input: &mut &[u8]) -> Result<bool, ChunkError> {
        // The usual case, and the one that counts where chunks are small: the same message goes on.
        if let Some((&first, rest)) = input.split_first()
            && let Some(stream) = self.streams.get(self.last)
            && stream.continues_with(first)
            && self.carry.is_empty()
        {
            let left = (stream.header.message_bytes - stream.received).min(self.chunk_bytes);
            self.chunk = Some(Chunk { stream: self.last, left });
            *input = rest;
            return Ok(true);
        }
        let header = if self.carry.is_empty() {
            let Some(header) = self.parse_header(input)? else {
                // Less than a header, so it fits; a type 3 chunk may wait here for the four bytes after it.
                let fits = self.carry.extend_from_slice(input).is_ok();
                debug_assert!(fits, "a header is never longer than CHUNK_HEADER_BYTES_MAX");
                *input = &[];
                return Ok(false);
            };
            *input = input.get(header.bytes..).unwrap_or_default();
            header
        } else {
            let carried = self.carry.len();
            let room = CHUNK_HEADER_BYTES_MAX - carried;
            let added = input.get(..room).unwrap_or(input);
            let fits = self.carry.extend_from_slice(added).is_ok();
            debug_assert!(fits, "no more was taken than there is room");
            let Some(header) = self.parse_header(&self.carry)? else {
                *input = &[];
                return Ok(false);
            };
            // What was added beyond the header goes back; what was carried beyond it stays.
            self.carry.truncate(carried.max(header.bytes));
            *input = input.get(self.carry.len() - carried..).unwrap_or_default();
            self.carry.drain(..header.bytes);
            header
        };
        self.begin(&header)?;
        Ok(true)
    }

    /// Looks at a chunk header at the front of `bytes`; `None`: it is not all there.
    fn parse_header(&self, bytes: &[u8]) -> Result<Option<Header>, ChunkError> {
        let mut cursor = bytes;
        let Some(BasicHeader { format, id }) = BasicHeader::parse(&mut cursor) else {
            return Ok(None);
        };
        let stream = self.streams.iter().position(|stream| stream.id == id);
        let last = stream.and_then(|index| self.streams.get(index)).map(|stream| stream.header);
        // librtmp opens chunk stream 2 with a type 1 chunk, so that one may stand first.
        if last.is_none() && format > 1 {
            return Err(ChunkError::NoHeader { id, format });
        }
        let mut repeats_extended = self.repeats_extended;
        let message = MessageHeader::parse(
            format,
            last.unwrap_or_default(),
            &mut repeats_extended,
            &mut cursor,
        );
        Ok(message.map(|message| {
            let bytes = bytes.len() - cursor.len();
            Header { format, id, stream, message, repeats_extended, bytes }
        }))
    }

    /// Applies a header: a chunk's payload follows, of a message that it begins or goes on with.
    fn begin(&mut self, header: &Header) -> Result<(), ChunkError> {
        self.repeats_extended = header.repeats_extended;
        let index = match header.stream {
            Some(index) => index,
            None => {
                let fresh = ChunkStream { id: header.id, ..ChunkStream::default() };
                let pushed = self.streams.push(fresh);
                pushed.map_err(|_| ChunkError::TooManyStreams { id: header.id })?;
                self.streams.len() - 1
            }
        };
        self.last = index;
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        // A header of type 0, 1 or 2 begins a message, and gives up one that it cuts short.
        let is_first = header.format < 3 || matches!(stream.body, Body::Idle);
        if is_first {
            let MessageHeader { type_id, message_bytes: bytes, .. } = header.message;
            let begun = stream.begin_message(header.format, header.message);
            begun.ok_or(ChunkError::TooLong { type_id, bytes })?;
        }
        let left = (stream.header.message_bytes - stream.received).min(self.chunk_bytes);
        self.chunk = (left > 0).then_some(Chunk { stream: index, left });

        if is_first
            && self.streams.iter().filter(|stream| matches!(stream.body, Body::Video)).count() > 1
        {
            return Err(ChunkError::InterleavedVideo { id: header.id });
        }
        Ok(())
    }
}

/// One chunk's header.
struct Header {
    /// Chunk type, 0 to 3.
    format: u8,
    id: u32,
    /// Its place in the table of chunk streams, if it has one.
    stream: Option<usize>,
    message: MessageHeader,
    /// What is known of this peer's extended timestamps after it.
    repeats_extended: Option<bool>,
    /// Its length on the wire.
    bytes: usize,
}

/// The chunk whose payload is being read.
#[derive(Clone, Copy)]
struct Chunk {
    /// Its place in the table of chunk streams.
    stream: usize,
    /// Payload bytes to come; never 0.
    left: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO: u8 = 8;
    const VIDEO: u8 = 9;
    const COMMAND: u8 = 20;

    /// A chunk of type 0 on a chunk stream below 64.
    fn chunk0(
        id: u8,
        timestamp: u32,
        message_bytes: usize,
        type_id: u8,
        payload: &[u8],
    ) -> Vec<u8> {
        let field = timestamp.min(0xFF_FFFF);
        let mut bytes = vec![id];
        bytes.extend_from_slice(&field.to_be_bytes()[1..]);
        bytes.extend_from_slice(&u32::try_from(message_bytes).unwrap().to_be_bytes()[1..]);
        bytes.push(type_id);
        bytes.extend_from_slice(&[1, 0, 0, 0]);
        if field == 0xFF_FFFF {
            bytes.extend_from_slice(&timestamp.to_be_bytes());
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    /// A chunk of type 1.
    fn chunk1(id: u8, delta: u32, message_bytes: usize, type_id: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = chunk0(id, delta, message_bytes, type_id, payload);
        bytes[0] |= 0x40;
        bytes.drain(8..12);
        bytes
    }

    fn chunk2(id: u8, delta: u8, payload: &[u8]) -> Vec<u8> {
        [&[0x80 | id, 0, 0, delta], payload].concat()
    }

    fn chunk3(id: u8, payload: &[u8]) -> Vec<u8> {
        [&[0xC0 | id], payload].concat()
    }

    fn set_chunk_size(bytes: u32) -> Vec<u8> {
        chunk0(2, 0, 4, 1, &bytes.to_be_bytes())
    }

    /// A message as a test sees it; video put together again, and what was given up of it left out.
    #[derive(Clone, Debug, Eq, PartialEq)]
    struct Seen {
        kind: Kind,
        timestamp_ms: u32,
        payload: Vec<u8>,
    }

    fn seen(kind: Kind, timestamp_ms: u32, payload: &[u8]) -> Seen {
        Seen { kind, timestamp_ms, payload: payload.to_vec() }
    }

    /// Reads `bytes`, given in pieces of `piece` bytes.
    fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<Vec<Seen>, ChunkError> {
        let mut reader = ChunkReader::new();
        let mut messages = Vec::new();
        let mut video = Vec::new();
        for mut input in bytes.chunks(piece) {
            while let Some(arrived) = reader.next(&mut input)? {
                match arrived {
                    Arrived::Message(Message { kind, timestamp_ms, bytes }) => {
                        messages.push(seen(kind, timestamp_ms, reader.bytes(bytes)));
                    }
                    Arrived::Video(part) => {
                        if part.offset == 0 {
                            video.clear();
                        }
                        assert_eq!(part.offset as usize, video.len());
                        video.extend_from_slice(reader.bytes(part.bytes));
                        if video.len() == part.message_bytes as usize {
                            messages.push(seen(Kind::Video, part.timestamp_ms, &video));
                        }
                    }
                }
            }
            assert!(input.is_empty());
        }
        Ok(messages)
    }

    /// Reads `bytes` at every size of piece, and sees the same at each.
    fn read(bytes: &[u8]) -> Result<Vec<Seen>, ChunkError> {
        let whole = read_in_pieces(bytes, bytes.len().max(1));
        for piece in 1..bytes.len().min(70) {
            assert_eq!(read_in_pieces(bytes, piece), whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn a_chunk_stream_is_the_same_in_each_form_of_its_id() {
        for basic_header in [&[2][..], &[63], &[0, 0], &[0, 255], &[1, 0, 1], &[1, 255, 255]] {
            let first = [basic_header, &chunk0(0, 5, 200, AUDIO, &[1; 128])[1..]].concat();
            let mut second = [basic_header, &[1; 72]].concat();
            second[0] |= 0xC0;
            let bytes = [first, second.clone(), second].concat();
            assert_eq!(
                read(&bytes[..bytes.len() - 1]),
                Ok(vec![seen(Kind::Audio, 5, &[1; 200])]),
                "{basic_header:?}"
            );
        }
    }

    #[test]
    fn header_types_leave_out_what_stays_the_same() {
        let bytes = [
            chunk0(4, 1000, 2, AUDIO, b"ab"),
            chunk1(4, 20, 3, AUDIO, b"cde"),
            chunk2(4, 30, b"fgh"),
            chunk3(4, b"ijk"),
            chunk0(4, 7, 1, AUDIO, b"l"),
            // The delta after type 0 is its timestamp.
            chunk3(4, b"m"),
        ];
        let expected = [
            (1000, &b"ab"[..]),
            (1020, b"cde"),
            (1050, b"fgh"),
            (1080, b"ijk"),
            (7, b"l"),
            (14, b"m"),
        ];
        let expected = expected.map(|(timestamp, payload)| seen(Kind::Audio, timestamp, payload));
        assert_eq!(read(&bytes.concat()), Ok(expected.to_vec()));
    }

    #[test]
    fn messages_on_two_chunk_streams_may_be_interleaved() {
        let video: Vec<u8> = (0..200).collect();
        let bytes = [
            chunk0(6, 40, 200, VIDEO, &video[..128]),
            chunk0(4, 41, 130, AUDIO, &[7; 128]),
            chunk3(6, &video[128..]),
            chunk3(4, &[7; 2]),
        ];
        let expected = vec![seen(Kind::Video, 40, &video), seen(Kind::Audio, 41, &[7; 130])];
        assert_eq!(read(&bytes.concat()), Ok(expected));
    }

    #[test]
    fn video_is_handed_out_as_slices_of_the_input() {
        let bytes = chunk0(6, 0, 100, VIDEO, &[5; 100]);
        let mut reader = ChunkReader::new();
        let mut input = &bytes[..50];
        let Ok(Some(Arrived::Video(VideoPart { bytes: Bytes::Input(part), .. }))) =
            reader.next(&mut input)
        else {
            panic!("not a slice of the input");
        };
        assert_eq!(part.as_ptr(), bytes[12..].as_ptr());
        assert_eq!(part.len(), 38);
    }

    #[test]
    fn type_3_chunks_repeat_an_extended_timestamp_or_do_not() {
        let time = 0x0123_4567_u32;
        let payload: Vec<u8> = (0..129).collect();
        for repeats in [true, false] {
            let type3 = |time: u32, payload: &[u8]| {
                let time = time.to_be_bytes();
                chunk3(6, &[if repeats { &time[..] } else { &[] }, payload].concat())
            };
            let bytes = [
                chunk0(6, time, 129, VIDEO, &payload[..128]),
                // One byte of payload is left: without the timestamp, three of the four bytes after it are not its own.
                type3(time, &payload[128..]),
                chunk1(6, 10, 130, VIDEO, &[1; 128]),
                chunk3(6, &[1; 2]),
                chunk0(6, time + 50, 300, VIDEO, &[2; 128]),
                type3(time + 50, &[2; 128]),
                type3(time + 50, &[2; 44]),
            ];
            let expected = vec![
                seen(Kind::Video, time, &payload),
                seen(Kind::Video, time + 10, &[1; 130]),
                seen(Kind::Video, time + 50, &[2; 300]),
            ];
            assert_eq!(read(&bytes.concat()), Ok(expected), "repeats: {repeats}");
        }
    }

    #[test]
    fn timestamps_wrap_and_an_extended_delta_counts() {
        let bytes = [
            chunk0(4, u32::MAX - 9, 1, AUDIO, b"a"),
            chunk1(4, 20, 1, AUDIO, b"b"),
            chunk1(4, 0x0100_0000, 1, AUDIO, b"c"),
            chunk0(5, 0xFF_FFFF, 1, AUDIO, b"d"),
        ];
        let expected = vec![
            seen(Kind::Audio, u32::MAX - 9, b"a"),
            seen(Kind::Audio, 10, b"b"),
            seen(Kind::Audio, 0x0100_000A, b"c"),
            seen(Kind::Audio, 0xFF_FFFF, b"d"),
        ];
        assert_eq!(read(&bytes.concat()), Ok(expected));
    }

    #[test]
    fn the_chunk_size_changes_between_chunks_even_inside_a_message() {
        let mut bytes =
            [chunk0(6, 0, 300, VIDEO, &[1; 128]), set_chunk_size(1), chunk3(6, &[1])].concat();
        bytes.extend_from_slice(&set_chunk_size_in_bytes(&(0x7FFF_FFFF_u32).to_be_bytes()));
        bytes.extend_from_slice(&chunk3(6, &[1; 171]));
        assert_eq!(read(&bytes), Ok(vec![seen(Kind::Video, 0, &[1; 300])]));
        for size in [0, 0x8000_0000, u32::MAX] {
            assert_eq!(read(&set_chunk_size(size)), Err(ChunkError::ChunkSize(size)));
        }
        assert_eq!(read(&chunk0(2, 0, 3, 1, &[0; 3])), Err(ChunkError::TooShort { type_id: 1 }));
    }

    /// Set Chunk Size, sent at chunk size 1.
    fn set_chunk_size_in_bytes(size: &[u8; 4]) -> Vec<u8> {
        [
            chunk0(2, 0, 4, 1, &size[..1]),
            chunk3(2, &size[1..2]),
            chunk3(2, &size[2..3]),
            chunk3(2, &size[3..]),
        ]
        .concat()
    }

    #[test]
    fn a_message_is_given_up_by_abort_or_by_the_next_header() {
        let abort = chunk0(2, 0, 4, 2, &4_u32.to_be_bytes());
        for giving_up in [abort, Vec::new()] {
            for type_id in [AUDIO, VIDEO] {
                let bytes = [
                    chunk0(4, 0, 200, type_id, &[1; 128]),
                    giving_up.clone(),
                    chunk1(4, 5, 3, type_id, b"abc"),
                ];
                assert_eq!(read(&bytes.concat()), Ok(vec![seen(Kind::of(type_id), 5, b"abc")]));
            }
        }
        let unknown_stream = chunk0(2, 0, 4, 2, &77_u32.to_be_bytes());
        assert_eq!(read(&unknown_stream), Ok(vec![]));
        // After an abort even a type 3 chunk begins a message.
        let bytes = [
            chunk0(4, 3, 200, AUDIO, &[1; 128]),
            chunk0(2, 0, 4, 2, &4_u32.to_be_bytes()),
            chunk3(4, &[2; 128]),
            chunk3(4, &[2; 72]),
        ];
        assert_eq!(read(&bytes.concat()), Ok(vec![seen(Kind::Audio, 6, &[2; 200])]));
    }

    #[test]
    fn messages_that_are_empty_or_mean_nothing_are_read_past() {
        let bytes = [
            chunk0(4, 0, 0, AUDIO, b""),
            chunk0(6, 0, 0, VIDEO, b""),
            chunk3(6, b""),
            chunk0(5, 0, 5, 22, b"12345"),
            chunk0(7, 0, 2, 200, b"12"),
            chunk0(4, 9, 1, AUDIO, b"a"),
        ];
        assert_eq!(read(&bytes.concat()), Ok(vec![seen(Kind::Audio, 9, b"a")]));
    }

    #[test]
    fn librtmp_may_open_a_chunk_stream_with_type_1() {
        assert_eq!(read(&chunk1(2, 0, 1, AUDIO, b"a")), Ok(vec![seen(Kind::Audio, 0, b"a")]));
        assert_eq!(read(&chunk2(4, 0, b"a")), Err(ChunkError::NoHeader { id: 4, format: 2 }));
        assert_eq!(read(&chunk3(4, b"a")), Err(ChunkError::NoHeader { id: 4, format: 3 }));
    }

    #[test]
    fn audio_and_data_beyond_the_bound_are_read_past() {
        let payload = vec![3; SMALL_MESSAGE_BYTES_MAX + 1];
        for type_id in [AUDIO, 18] {
            let mut reader = ChunkReader::new();
            let bytes = [
                set_chunk_size(100_000),
                chunk0(4, 0, payload.len(), type_id, &payload),
                chunk0(4, 9, payload.len() - 1, type_id, &payload[1..]),
            ]
            .concat();
            let mut input = &bytes[..];
            let Ok(Some(Arrived::Message(message))) = reader.next(&mut input) else {
                panic!("nothing arrived")
            };
            assert_eq!(
                (message.timestamp_ms, reader.bytes(message.bytes).len()),
                (9, SMALL_MESSAGE_BYTES_MAX)
            );
        }
    }

    #[test]
    fn each_bound_ends_the_connection() {
        let many_streams: Vec<u8> =
            (2..).take(CHUNK_STREAMS_MAX + 1).flat_map(|id| chunk0(id, 0, 1, 99, b"a")).collect();
        assert_eq!(read(&many_streams), Err(ChunkError::TooManyStreams { id: 18 }));

        let halves: Vec<u8> = (2..)
            .take(SMALL_MESSAGES_HELD_MAX + 1)
            .flat_map(|id| chunk0(id, 0, 200, AUDIO, &[1; 128]))
            .collect();
        assert_eq!(read(&halves), Err(ChunkError::TooManyHeld));
        assert_eq!(read(&halves[..SMALL_MESSAGES_HELD_MAX * 140]), Ok(vec![]));

        for (type_id, bytes) in [
            (COMMAND, SMALL_MESSAGE_BYTES_MAX + 1),
            (COMMAND, 0xFF_FFFF),
            (1, 0xFF_FFFF),
            (4, 9000),
        ] {
            let expected = ChunkError::TooLong { type_id, bytes: u32::try_from(bytes).unwrap() };
            assert_eq!(read(&chunk0(3, 0, bytes, type_id, b"")), Err(expected));
        }

        let two_videos =
            [chunk0(6, 0, 200, VIDEO, &[1; 128]), chunk0(7, 0, 200, VIDEO, &[1; 128])].concat();
        assert_eq!(read(&two_videos), Err(ChunkError::InterleavedVideo { id: 7 }));
    }
}
