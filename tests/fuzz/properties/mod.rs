//! What must hold for whatever a peer, a file or a card says: one property function a parser.
//!
//! `tests/fuzz/run` lets a fuzzer look for bytes that break one; `cargo test --test fuzz` tries the kept corpus. Each
//! takes any bytes, and panics where its property does not hold.

#![allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "each target uses its own property, and a panic is a finding"
)]

pub(crate) mod amf;
pub(crate) mod catalogue;
pub(crate) mod config;
pub(crate) mod ingest;
pub(crate) mod media;
pub(crate) mod request;
pub(crate) mod ring;
pub(crate) mod rtmp;
pub(crate) mod signature;
pub(crate) mod xml;

/// Bytes that steer a property. An empty one gives zeros.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// A number that is mostly small and sometimes anything.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..0xF0 => u64::from(small),
            0xF0..0xF4 => u64::from(self.u16()),
            0xF4..0xF8 => u64::from(self.u32()),
            0xF8..0xFC => u64::MAX - u64::from(self.byte()),
            _ => u64::from(self.u32()) << 32 | u64::from(self.u32()),
        }
    }

    /// At most so many.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A line of text, or what of it is UTF-8.
    pub(crate) fn line(&mut self) -> &'a str {
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let line = self.bytes(end);
        self.bytes(1);
        match str::from_utf8(line) {
            Ok(line) => line,
            Err(error) => str::from_utf8(&line[..error.valid_up_to()]).unwrap(),
        }
    }
}
