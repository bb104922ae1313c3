//! What is found on a card → a ring: nothing that is not sound is listed, and the ring goes on as if all were well.

use std::{collections::HashMap, io};

use sluicegate::{
    limits::PAGE_BYTES,
    store::{
        Ahead, Flash, Record,
        geometry::Geometry,
        layout::{Group, PageHeader, Superblock, encode_page},
        recovery::Index,
        ring::{Listing, Ring},
        segment::Body,
        writer::{self, RingWriter},
    },
    units::{Millis, Ticks90k, UnixMillis},
};

use super::Input;

const NAME: &str = "cams/front-door";
const FILE_BYTES: u64 = 3 << 20;
const PAGE: u64 = PAGE_BYTES as u64;

/// A card: pages that are not there are zeros.
#[derive(Clone, Default)]
struct Card(HashMap<u64, Box<[u8; PAGE_BYTES]>>);

impl Card {
    fn page(&mut self, at: u64) -> &mut [u8; PAGE_BYTES] {
        self.0.entry(at / PAGE).or_insert_with(|| Box::new([0; PAGE_BYTES]))
    }
}

impl Flash for Card {
    fn file_bytes(&mut self) -> io::Result<u64> {
        Ok(FILE_BYTES)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        assert!(at + into.len() as u64 <= FILE_BYTES, "read beyond the end");
        let (mut into, mut at) = (into, at);
        while !into.is_empty() {
            let from = (at % PAGE) as usize;
            let (piece, rest) = into.split_at_mut(into.len().min(PAGE_BYTES - from));
            match self.0.get(&(at / PAGE)) {
                Some(page) => piece.copy_from_slice(&page[from..from + piece.len()]),
                None => piece.fill(0),
            }
            at += piece.len() as u64;
            into = rest;
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(at + bytes.len() as u64 <= FILE_BYTES, "written beyond the end");
        let (mut bytes, mut at) = (bytes, at);
        while !bytes.is_empty() {
            let from = (at % PAGE) as usize;
            let (piece, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - from));
            self.page(at)[from..from + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn refresh(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A formatted ring, then pages with right CRCs and any content, and bytes anywhere.
pub(crate) fn hold(bytes: &[u8]) {
    let mut input = Input(bytes);
    let geometry = Geometry::new(FILE_BYTES, 1, PAGE).expect("large enough for one segment");
    let superblock = Superblock::new(geometry.layout, NAME).expect("a short name");
    let mut card = Card::default();
    writer::format(&mut card, &superblock).expect("nothing fails");
    let modes = [Ahead::Nothing, Ahead::Segments, Ahead::Parts];
    let ahead = modes[usize::from(input.byte() & 3).min(2)];
    while !input.is_empty() {
        match input.byte() % 4 {
            0..3 => {
                let place = input.byte();
                let at = geometry.layout.page_offset(
                    u64::from(place >> 1) % geometry.layout.pairs,
                    u64::from(place & 1),
                );
                let page = page(&mut input, superblock.ring_id());
                *card.page(at) = page;
            }
            _ => {
                let at = u64::from(input.u32()) % FILE_BYTES;
                let count = usize::from(input.byte() & 63);
                for (byte, at) in input.bytes(count).iter().zip(at..FILE_BYTES) {
                    card.page(at)[(at % PAGE) as usize] = *byte;
                }
            }
        }
    }
    let index = Index::read(&mut card, &superblock).expect("nothing fails");
    let Ok((mut writer, recovered)) = RingWriter::open(card, geometry, NAME, ahead) else {
        return;
    };
    check(&recovered.records, recovered.next_sequence, recovered.head);
    // Numbers that no ring reaches in a thousand years, and that leave no room to count on.
    let largest = recovered.next_sequence.max(recovered.head).max(recovered.time_floor.0);
    if largest.max(index.header.write) >= 1 << 60 {
        return;
    }
    let mut ring = Ring::new(geometry, recovered);
    let mut sealed = Vec::new();
    for n in 0..3_u8 {
        let Some(record) = record(&mut ring, &mut writer, n) else { return };
        assert!(sealed.last().is_none_or(|before: &Record| before.sequence < record.sequence));
        sealed.push(record);
    }
    writer.close().expect("nothing fails");
    // Found again after the next start.
    let card = writer.flash().clone();
    let (_, found) = RingWriter::open(card, geometry, NAME, ahead).expect("it was a ring");
    check(&found.records, found.next_sequence, found.head);
    for record in &sealed {
        assert!(found.records.contains(record), "{record:?} is lost: {:?}", found.records);
    }
}

fn check(records: &[Record], next_sequence: u64, head: u64) {
    for two in records.windows(2) {
        assert!(two[0].sequence < two[1].sequence);
    }
    for record in records {
        assert!(record.sequence < next_sequence && record.end_position() <= head);
    }
}

/// Records a segment; `None`: it cannot have a name, because the card's clock stands at the end of time.
fn record(ring: &mut Ring, writer: &mut RingWriter<Card>, fill: u8) -> Option<Record> {
    let open = ring.open_segment().expect("nothing waits");
    let body = vec![fill; 5000];
    writer.write(open.epoch, open.position, &body).expect("it is in its reach");
    let crc = crc32fast::hash(&body);
    let body = Body { epoch: open.epoch, position: open.position, bytes: body.len() as u32, crc };
    let listing = Listing {
        start: ring.time_floor().max(UnixMillis(1_700_000_000_000)),
        duration: Ticks90k(90_000),
        target_duration_s: 5,
        is_discontinuity: false,
        is_independent: true,
    };
    let seal = ring.seal(body, listing).ok()?;
    assert!(writer.seal(&seal, Millis(0)).expect("nothing fails"));
    ring.sealed(seal.record.sequence).copied()
}

fn page(input: &mut Input<'_>, ring_id: u32) -> [u8; PAGE_BYTES] {
    let header = PageHeader {
        write: input.number(),
        reach_bytes: input.number() as u32,
        oldest: input.number(),
        synced_below: input.number(),
        sequence_ceiling: input.number(),
        time_ceiling: UnixMillis(input.number()),
    };
    let mut group = Group::new();
    let (mut sequence, mut position) = (input.number(), input.number() & !0xFFF);
    for _ in 0..input.byte() & 63 {
        let bytes = input.number() as u32;
        let record = Record {
            sequence,
            discontinuities: input.number(),
            start: UnixMillis(input.number()),
            duration: Ticks90k((input.number() << 10).cast_signed().wrapping_abs()),
            position,
            bytes,
            crc: 0,
            target_duration_s: input.byte().into(),
            is_discontinuity: bytes & 1 != 0,
            is_independent: bytes & 2 != 0,
            is_gap: bytes == 0,
        };
        sequence = sequence.wrapping_add(1).wrapping_add(u64::from(input.byte() >> 7));
        position = position.saturating_add(u64::from(bytes).next_multiple_of(PAGE)) & !0xFFF;
        let _ = group.push(record);
    }
    encode_page(ring_id, &header, &group)
}
