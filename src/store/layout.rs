//! The format of a ring file: superblock, index pages and records to and from bytes.
//!
//! All integers are little-endian and of fixed width. What is read is checked as if an enemy had written it:
//! nothing here panics, and a page is taken whole or not at all. Where the parts lie is [`geometry`](super::geometry)'s
//! matter, who writes them when is [`writer`](super::writer)'s, what is made of them is [`recovery`](super::recovery)'s.
//!
//! ```text
//! page 0, 1   the superblock, twice
//! pages 2…    the index: pairs of pages, copy 0 and copy 1
//! then        the data: a log that wraps. Segments start on pages and follow one another;
//!             one may go on at the beginning of the data where it met the end
//!
//! index page  line 0    crc | magic | ring | reach | records | write | oldest | synced_below
//!                       | sequence_ceiling | time_ceiling
//!             line 1…63 a record each
//! ```
//!
//! A line is 64 bytes. Sequence numbers come in groups of 63: a group has one pair of pages, pair `group % pairs`, and
//! sealing a segment writes one page with all records of its group so far. Log positions are 64-bit numbers that never
//! fold; only the place in the file does. Superblocks are written once, when the file is made.
//!
//! Why an index, and not a footer behind each body: recovery could not find the newest footer without reading the
//! whole ring. Why pages all over the index, and not one page that is always rewritten: a card wears out where it is
//! written. The price is one 4 KiB page a segment, in the same sync as its body.
//!
//! # Why power may go at any byte
//!
//! A write promises nothing until a sync after it has returned: up to then each 512 bytes of it may be there or not,
//! in any order. Four rules make that harmless:
//!
//! * **Copy.** Of a pair, the copy that was synced last is never written. The other one is, as often as it takes,
//!   until a sync has returned; then they change places. A group is left for the next one only when it is synced.
//! * **Reach.** Between two syncs bytes are written only within `reach` behind the newest synced segment, for a
//!   `reach` that a synced page states. A segment that begins within that distance on the lap before is not live.
//! * **Proof.** A page states below which sequence number bodies were synced before it was written. The body of
//!   any other record is *unproven*: it is read and compared with its CRC before it is listed.
//! * **Ceiling.** A segment, or a part of it, is listed before its sync only below the sequence number and the time that
//!   a synced page states; recovery goes on from there. Where durability is `segment` no segment is listed before its
//!   sync, and parts only where latency is low: of the one segment behind the newest that is synced.
//!
//! What reached the flash, what recovery sees, why that is right:
//!
//! 1. *Some bytes of the open segment.* No record names them. They lie within the reach of the newest record, where no
//!    older segment is live: what they overwrote is not listed either. Parts of it may have been listed: by *Ceiling*
//!    neither its number nor its name is used again.
//! 2. *A torn index page.* Its CRC is wrong. By *Copy* the other copy, or the pair of the group before, is whole and
//!    has every synced record. As case 1.
//! 3. *The whole index page, and its body torn or missing.* The record is unproven, its CRC does not fit: it is dropped
//!    with all behind it. No sync had returned, so where durability is `segment` nobody has seen it, and its number is
//!    used again. Where it is `relaxed`, or parts were listed, somebody may have: by *Ceiling* neither its number nor its
//!    name is.
//! 4. *The whole index page and the whole body, and the power went before the sync returned.* The CRC fits: the
//!    segment is listed. It is the one that was sealed.
//! 5. *Several segments without a sync (`relaxed`), some there, some not.* The page says which were sealed; the
//!    first whose CRC does not fit ends the ring, as in case 3. All bytes written lie within the reach of the newest
//!    *synced* record, so they lie within the reach of whichever record is the newest found, or between the two.
//!    A page with dropped records is blanked before a later one, whose *Proof* would cover them, can be written.
//! 6. *Power goes while recovery runs, or before its first seal is synced.* Recovery writes nothing, and begins
//!    with a sync and an empty page cache: what it reads is on flash, also after a crash. It finds the same again.
//! 7. *FragCount was changed, so that `reach` is another.* The larger of the page's and the configured one counts for
//!    what is live. Before anything is written further away than the page's allows, a page with the larger one is
//!    synced. What a larger reach once took away stays away: `oldest` says from which number on records count.
//! 8. *Power goes while the file is made.* It is made under another name and renamed when it is complete and synced. The folders above it are
//!    synced when they are made; until then the ring is not there at all, and nothing was listed from it.
//! 9. *The card was changed while the daemon ran.* The new ring begins with the numbers, names and discontinuities of the one before. They are on
//!    flash with its first page, before which nothing is listed from it. What skips numbers so is a hole as in case 5.
//!
//! A failed write or sync is like a cut that the program survives, and worse: a later sync that succeeds says nothing
//! of the bytes of the failed one. So what was not synced before is given up (records that were already listed become
//! gaps), and a page that says so is synced before anything else is written.
//!
//! A page that a fault of the card damaged after it was synced looks like case 2. Then the record found newest may be
//! one sync too old, and bytes may have been written up to twice the reach behind it: while any page of the index
//! is damaged, twice the reach counts. What no rule brings back is the number of a segment whose newest page is lost
//! in this way: it is used again. Damaged bodies are found when they are read: nothing is served before its
//! CRC was seen to fit.

use thiserror::Error;

use super::{
    RECORDS_PER_PAGE, Record,
    geometry::{Layout, group_of},
};
use crate::{
    limits::{PAGE_BYTES, RING_NAME_BYTES_MAX, SEGMENT_BYTES_MAX},
    units::{Ticks90k, UnixMillis},
};

/// One page of the file.
pub type Page = [u8; PAGE_BYTES];

/// The version that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

const SUPERBLOCK_MAGIC: [u8; 8] = *b"SLUICERG";
const PAGE_MAGIC: u32 = u32::from_le_bytes(*b"SGix");

/// Numbers above this are not believed: counting bytes at 1 GB/s it takes 70 years to get here, and sums cannot overflow.
const NUMBER_MAX: u64 = 1 << 61;

/// What a ring file is and whose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Superblock {
    /// Where things lie.
    pub layout: Layout,
    /// `bucket/channel`.
    pub name: heapless::String<RING_NAME_BYTES_MAX>,
}

impl Superblock {
    /// The superblock of a ring that is to be made. `None`: the name is too long.
    pub fn new(layout: Layout, name: &str) -> Option<Self> {
        Some(Self { layout, name: heapless::String::try_from(name).ok()? })
    }

    /// What marks the ring's index pages as its own.
    pub fn ring_id(&self) -> u32 {
        crc32fast::hash(self.name.as_bytes())
    }

    /// The page, complete with its CRC.
    pub fn encode(&self) -> Page {
        let [a, b, c, d, e, f, g, h] = SUPERBLOCK_MAGIC;
        let name_bytes = self.name.len() as u64;
        let words = [
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            whole(0, FORMAT_VERSION),
            self.layout.file_bytes,
            self.layout.pairs,
            self.layout.data_offset(),
            name_bytes,
            0,
            0,
        ];
        let mut page = [0; PAGE_BYTES];
        let (lines, _) = page.as_chunks_mut::<64>();
        let mut name = self.name.as_bytes().chunks(64);
        for (line, place) in lines.iter_mut().zip(0..) {
            if place == 0 {
                *line = encode_line(words);
            } else if let Some(part) = name.next()
                && let Some(line) = line.get_mut(..part.len())
            {
                line.copy_from_slice(part);
            }
        }
        seal_page(&mut page, 8);
        page
    }

    /// Reads one copy.
    pub fn parse(page: &Page) -> Result<Self, NotThisRing> {
        let (lines, _) = page.as_chunks::<64>();
        let [head, name @ ..] = lines else { return Err(NotThisRing::NotARing) };
        let [magic, crc_version, file_bytes, pairs, data_offset, name_bytes, ..] =
            decode_line(head);
        if magic.to_le_bytes() != SUPERBLOCK_MAGIC || !is_sealed(page, 8) {
            return Err(NotThisRing::NotARing);
        }
        // The magic, the CRC and the version stay where they are in every version, so that this can be told.
        let (_, version) = halves(crc_version);
        if version != FORMAT_VERSION {
            return Err(NotThisRing::OtherVersion { found: version });
        }
        let layout = Layout::new(file_bytes)
            .filter(|layout| (layout.pairs, layout.data_offset()) == (pairs, data_offset))
            .ok_or(NotThisRing::NotARing)?;
        usize::try_from(name_bytes)
            .ok()
            .and_then(|bytes| name.as_flattened().get(..bytes))
            .and_then(|name| str::from_utf8(name).ok())
            .and_then(|name| Self::new(layout, name))
            .ok_or(NotThisRing::NotARing)
    }

    /// Checks that the ring is the one of the channel `name`, and laid out as `layout`.
    pub fn expect(&self, layout: &Layout, name: &str) -> Result<(), NotThisRing> {
        if self.name != name {
            let (found, expected) = (self.name.as_str().into(), name.into());
            return Err(NotThisRing::OtherChannel { found, expected });
        }
        if self.layout != *layout {
            let (found_bytes, expected_bytes) = (self.layout.file_bytes, layout.file_bytes);
            return Err(NotThisRing::OtherSize { found_bytes, expected_bytes });
        }
        Ok(())
    }
}

/// Why a file is not the ring that was expected.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NotThisRing {
    /// Neither superblock is one.
    #[error(
        "not a ring of Sluicegate, or both of its superblocks are damaged: remove the file to begin a new ring"
    )]
    NotARing,
    /// Made by another version of the program.
    #[error(
        "its format has version {found}, this program knows version {FORMAT_VERSION}: use the program that made it, or remove the file to \
         begin a new ring"
    )]
    OtherVersion {
        /// The version that the file states.
        found: u32,
    },
    /// Another LiveChannel's.
    #[error(
        "it belongs to LiveChannel {found:?}, not to {expected:?}: put every ring back to its own name, or remove the file to begin a new \
         ring"
    )]
    OtherChannel {
        /// Whose it is.
        found: Box<str>,
        /// Whose it should be.
        expected: Box<str>,
    },
    /// Made with another size.
    #[error(
        "it was made with {found_bytes} bytes, the configuration wants {expected_bytes}: give it its old size back, or remove the file to \
         begin a new ring"
    )]
    OtherSize {
        /// How long it was made.
        found_bytes: u64,
        /// How long it should be.
        expected_bytes: u64,
    },
    /// Somebody has cut it.
    #[error(
        "it was made with {made_bytes} bytes, and {found_bytes} are left: remove the file to begin a new ring"
    )]
    Shortened {
        /// How long it was made.
        made_bytes: u64,
        /// How long it is.
        found_bytes: u64,
    },
}

/// What an index page states besides its records. The rules at the head of this file say what for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PageHeader {
    /// Counts the pages that were ever written to the ring: of two, the newer one has more.
    pub write: u64,
    /// How far behind the newest record bytes may be written, in bytes.
    pub reach_bytes: u32,
    /// Records below this sequence number do not count, whatever older pages say.
    pub oldest: u64,
    /// Bodies of records below this sequence number were synced before this page was written.
    pub synced_below: u64,
    /// No sequence number from this on was listed without a page that says more.
    pub sequence_ceiling: u64,
    /// No segment that ends later was listed without a page that says more.
    pub time_ceiling: UnixMillis,
}

/// The records of one group, in order.
pub type Group = heapless::Vec<Record, RECORDS_PER_PAGE>;

/// What an index page turned out to be.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are two at a time, on the stack")]
pub enum PageState {
    /// Never written.
    Blank,
    /// Whole.
    Good(PageHeader, Group),
    /// Torn, damaged, or not this ring's.
    Damaged,
}

/// The page, complete with its CRC.
pub fn encode_page(ring_id: u32, header: &PageHeader, group: &Group) -> Page {
    let mut page = [0; PAGE_BYTES];
    let (lines, _) = page.as_chunks_mut::<64>();
    let head = [
        whole(0, PAGE_MAGIC),
        whole(ring_id, header.reach_bytes),
        group.len() as u64,
        header.write,
        header.oldest,
        header.synced_below,
        header.sequence_ceiling,
        header.time_ceiling.0,
    ];
    let encoded = std::iter::once(head).chain(group.iter().map(record_words));
    lines.iter_mut().zip(encoded).for_each(|(line, words)| *line = encode_line(words));
    seal_page(&mut page, 0);
    page
}

/// Reads a page of pair `pair`.
pub fn parse_page(page: &Page, ring_id: u32, layout: &Layout, pair: u64) -> PageState {
    if page.iter().all(|byte| *byte == 0) {
        return PageState::Blank;
    }
    match parse_written_page(page, ring_id, layout, pair) {
        Some((header, group)) => PageState::Good(header, group),
        None => PageState::Damaged,
    }
}

fn parse_written_page(
    page: &Page,
    ring_id: u32,
    layout: &Layout,
    pair: u64,
) -> Option<(PageHeader, Group)> {
    let (lines, _) = page.as_chunks::<64>();
    let (head, lines) = lines.split_first()?;
    let [
        crc_magic,
        ring_reach,
        records,
        write,
        oldest,
        synced_below,
        sequence_ceiling,
        time_ceiling,
    ] = decode_line(head);
    let (found_id, reach_bytes) = halves(ring_reach);
    let numbers = [write, oldest, synced_below, sequence_ceiling, time_ceiling];
    let is_ours = is_sealed(page, 0)
        && halves(crc_magic).1 == PAGE_MAGIC
        && found_id == ring_id
        && numbers.iter().all(|number| *number <= NUMBER_MAX);
    if !is_ours {
        return None;
    }
    let mut group = Group::new();
    for line in lines.get(..usize::try_from(records).ok()?)? {
        let record = parse_record(decode_line(line), layout)?;
        let follows = group.last().is_none_or(|last| {
            last.sequence < record.sequence
                && last.end_position() <= record.position
                && group_of(last.sequence) == group_of(record.sequence)
        });
        if !follows || layout.pair_of(record.sequence) != pair {
            return None;
        }
        group.push(record).ok()?;
    }
    let time_ceiling = UnixMillis(time_ceiling);
    let header =
        PageHeader { write, reach_bytes, oldest, synced_below, sequence_ceiling, time_ceiling };
    (!group.is_empty()).then_some((header, group))
}

const IS_DISCONTINUITY: u32 = 1;
const IS_INDEPENDENT: u32 = 2;
const IS_GAP: u32 = 4;

fn record_words(record: &Record) -> [u64; 8] {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let flags = flag(record.is_discontinuity, IS_DISCONTINUITY)
        | flag(record.is_independent, IS_INDEPENDENT)
        | flag(record.is_gap, IS_GAP);
    [
        record.sequence,
        record.discontinuities,
        record.start.0,
        record.duration.0.unsigned_abs(),
        record.position,
        whole(record.bytes, record.crc),
        whole(record.target_duration_s.into(), flags),
        0,
    ]
}

fn parse_record(words: [u64; 8], layout: &Layout) -> Option<Record> {
    let [sequence, discontinuities, start, duration, position, bytes_crc, target_flags, _] = words;
    let (bytes, crc) = halves(bytes_crc);
    let (target_duration_s, flags) = halves(target_flags);
    let record = Record {
        sequence,
        discontinuities,
        start: UnixMillis(start),
        duration: Ticks90k(i64::try_from(duration).ok()?),
        position,
        bytes,
        crc,
        target_duration_s: u16::try_from(target_duration_s).ok()?,
        is_discontinuity: flags & IS_DISCONTINUITY != 0,
        is_independent: flags & IS_INDEPENDENT != 0,
        is_gap: flags & IS_GAP != 0,
    };
    let is_sound = position.is_multiple_of(PAGE_BYTES as u64)
        && [sequence, discontinuities, start, duration, position].iter().all(|n| *n <= NUMBER_MAX)
        && u64::from(bytes) <= SEGMENT_BYTES_MAX.min(layout.data_bytes())
        && record.is_gap == (bytes == 0);
    is_sound.then_some(record)
}

fn encode_line(words: [u64; 8]) -> [u8; 64] {
    let mut line = [0; 64];
    let (places, _) = line.as_chunks_mut::<8>();
    places.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes());
    line
}

fn decode_line(line: &[u8; 64]) -> [u64; 8] {
    let mut words = [0; 8];
    let (places, _) = line.as_chunks::<8>();
    words.iter_mut().zip(places).for_each(|(word, place)| *word = u64::from_le_bytes(*place));
    words
}

fn whole(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

/// The CRC-32 of a page but for the four bytes at `crc_at` that hold it.
fn page_crc(page: &Page, crc_at: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(page.get(..crc_at).unwrap_or_default());
    hasher.update(page.get(crc_at + 4..).unwrap_or_default());
    hasher.finalize()
}

fn seal_page(page: &mut Page, crc_at: usize) {
    let crc = page_crc(page, crc_at).to_le_bytes();
    if let Some(place) = page.get_mut(crc_at..crc_at + 4) {
        place.copy_from_slice(&crc);
    }
}

fn is_sealed(page: &Page, crc_at: usize) -> bool {
    page.get(crc_at..crc_at + 4) == Some(&page_crc(page, crc_at).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new(16 << 20).unwrap()
    }

    fn group() -> Group {
        (63..90)
            .map(|sequence| Record {
                sequence,
                discontinuities: 3,
                start: UnixMillis(1_700_000_000_000 + sequence),
                duration: Ticks90k(450_000),
                position: sequence * 8192,
                bytes: 5000,
                crc: 0xdead_beef,
                target_duration_s: 5,
                is_discontinuity: sequence == 64,
                is_independent: true,
                is_gap: false,
            })
            .collect()
    }

    const HEADER: PageHeader = PageHeader {
        write: 90,
        reach_bytes: 1 << 20,
        oldest: 2,
        synced_below: 89,
        sequence_ceiling: 89,
        time_ceiling: UnixMillis(1_700_000_000_089),
    };

    #[test]
    fn a_page_comes_back_as_it_was_written() {
        let page = encode_page(7, &HEADER, &group());
        let good = PageState::Good(HEADER, group());
        assert_eq!(parse_page(&page, 7, &layout(), 1), good);
        assert_eq!(parse_page(&page, 8, &layout(), 1), PageState::Damaged, "another ring's");
        assert_eq!(parse_page(&page, 7, &layout(), 0), PageState::Damaged, "another pair's");
        assert_eq!(parse_page(&[0; PAGE_BYTES], 7, &layout(), 1), PageState::Blank);
    }

    #[test]
    fn the_format_does_not_change_by_accident() {
        let page = encode_page(7, &HEADER, &group());
        assert_eq!(crc32fast::hash(&page), 0xcdb8_c3af);
        let superblock = Superblock::new(layout(), "cams/front-door").unwrap().encode();
        assert_eq!(crc32fast::hash(&superblock), 0x6ce2_6693);
    }

    #[test]
    fn no_flipped_bit_and_no_torn_sector_passes() {
        let page = encode_page(7, &HEADER, &group());
        for bit in 0..PAGE_BYTES * 8 {
            let mut flipped = page;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_page(&flipped, 7, &layout(), 1), PageState::Damaged, "bit {bit}");
        }
        let older = encode_page(7, &HEADER, &group()[..20].iter().copied().collect());
        for torn_at in (512..PAGE_BYTES).step_by(512) {
            let mut torn = older;
            torn[..torn_at].copy_from_slice(&page[..torn_at]);
            // Behind the last line that differs, the torn page is the whole page.
            if torn != page {
                assert_eq!(parse_page(&torn, 7, &layout(), 1), PageState::Damaged, "at {torn_at}");
            }
        }
    }

    #[test]
    fn records_that_a_sound_writer_never_wrote_are_refused() {
        let spoil = |change: &dyn Fn(&mut Record)| {
            let mut group = group();
            change(&mut group[9]);
            parse_page(&encode_page(7, &HEADER, &group), 7, &layout(), 1)
        };
        assert!(matches!(spoil(&|_| {}), PageState::Good(..)));
        let refused: &[&dyn Fn(&mut Record)] = &[
            &|record| record.position += 1,
            &|record| record.position = 0,
            &|record| record.position = 1 << 62,
            &|record| record.start.0 = u64::MAX,
            &|record| record.discontinuities = u64::MAX,
            &|record| record.duration.0 = i64::MAX,
            &|record| record.position = u64::MAX / PAGE_BYTES as u64 * PAGE_BYTES as u64,
            &|record| record.bytes = u32::MAX,
            &|record| record.bytes = 0,
            &|record| record.is_gap = true,
            &|record| record.sequence = 1,
            &|record| record.sequence += 1,
            &|record| record.sequence += 63 * layout().pairs,
        ];
        for (case, change) in refused.iter().enumerate() {
            assert_eq!(spoil(*change), PageState::Damaged, "case {case}");
        }
    }

    #[test]
    fn a_superblock_comes_back_and_no_flipped_bit_passes() {
        for name in ["", "b/c", &"x".repeat(RING_NAME_BYTES_MAX), "cams/Einfahrt-ß"] {
            let superblock = Superblock::new(layout(), name).unwrap();
            let page = superblock.encode();
            assert_eq!(Superblock::parse(&page), Ok(superblock));
            for bit in 0..PAGE_BYTES * 8 {
                let mut flipped = page;
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Superblock::parse(&flipped), Err(NotThisRing::NotARing), "bit {bit}");
            }
        }
        assert!(Superblock::new(layout(), &"x".repeat(RING_NAME_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn another_version_is_named() {
        let mut page = Superblock::new(layout(), "b/c").unwrap().encode();
        page[12] = 2;
        seal_page(&mut page, 8);
        assert_eq!(Superblock::parse(&page), Err(NotThisRing::OtherVersion { found: 2 }));
    }
}
