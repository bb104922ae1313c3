//! AMF0 values → metadata and commands: nothing recurses without end, and no text is longer than its bound.

use sluicegate::{
    limits::{ENCODER_NAME_CHARS_MAX, SMALL_MESSAGE_BYTES_MAX},
    rtmp::{Metadata, Session},
};

use super::{Input, rtmp::Listener};

/// Messages, each a type, a length and a body, in one chunk each.
pub(crate) fn hold(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut session = Session::new();
    let mut listener = Listener::default();
    let hello = [&[3][..], &[0x55; 2 * 1536], &chunk(1, &(1_u32 << 16).to_be_bytes())].concat();
    listener.hear(&mut session, &hello).expect("a plain handshake is understood");
    while !input.is_empty() {
        let type_id = [20, 18, 17, 15][usize::from(input.byte() & 3)];
        let length = usize::from(input.u16()) % (SMALL_MESSAGE_BYTES_MAX + 2);
        let body = input.bytes(length);
        if let Ok(Some(metadata)) = Metadata::parse(body) {
            assert!(metadata.encoder.chars().count() <= ENCODER_NAME_CHARS_MAX);
        }
        if listener.hear(&mut session, &chunk(type_id, body)).is_err() {
            return;
        }
        session.consume_output(usize::MAX);
    }
}

/// A message in a chunk of type 0 (RTMP 1.0 §5.3.1).
fn chunk(type_id: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[3, 0, 0, 0, a, b, c, type_id, 1, 0, 0, 0], body].concat()
}
