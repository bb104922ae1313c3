//! ListObjects and ListObjectsV2: segments, playlists and recordings as the objects of a bucket.
//!
//! Keys are walked in their order, channel by channel, from where the request says. What a page costs is bounded: in a ring it
//! looks at what the prefix allows and at one segment of each common prefix, and it ends early where sizes are dear to tell.

use std::{cmp::Ordering, ops::Range};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Asked, World, bucket::write_owner, xml_answer};
use crate::{
    channel::{Channel, SharedChannel, write_segment_name},
    config::{
        Bucket,
        catalogue::{ObjectPath, Recording},
    },
    http::{
        error::OssError,
        object,
        recording::{Recorded, recorded},
        response::Response,
        xml::Document,
    },
    query::encode,
    store::Record,
    units::{UnixMillis, UnixSecs},
};

/// Objects in one answer, where the request names no number (OSS: ListObjects).
const KEYS_DEFAULT: usize = 100;

/// Objects in one answer, at most (OSS: ListObjects).
const KEYS_MAX: usize = 1000;

/// Recordings in one answer, at most: each has to be made to tell its size. The answer ends there and says that more follow.
const RECORDINGS_MAX: usize = 16;

/// An object as a list shows it.
#[derive(Debug)]
struct Entry {
    key: String,
    bytes: u64,
    etag: String,
    modified: UnixSecs,
}

/// A part of the keys, in their order.
#[derive(Debug, Default)]
struct Page {
    entries: Vec<Entry>,
    /// What keys up to the delimiter come to.
    prefixes: Vec<String>,
    is_truncated: bool,
    /// The last key or prefix that it has.
    last: String,
    recordings: usize,
}

/// Which part.
struct Wanted<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    /// Only what comes behind it.
    after: &'a str,
    max_keys: usize,
}

/// Answers ListObjects.
pub(super) fn list(asked: &Asked<'_>, world: &World<'_>) -> Result<Response, OssError> {
    let marker = asked.text("marker");
    let wanted = wanted(asked, marker)?;
    let coding = Coding::of(asked)?;
    let page = page(asked.bucket, &wanted, world);
    Ok(xml_answer(Document::write("ListBucketResult", |result| {
        result.text("Name", &asked.bucket.name);
        coding.text("Prefix", wanted.prefix, result);
        coding.text("Marker", marker, result);
        write_frame(&wanted, &coding, &page, result);
        if page.is_truncated {
            coding.text("NextMarker", &page.last, result);
        }
        write_page(&page, &coding, true, result);
    })))
}

/// Answers ListObjectsV2. A continuation token is the last key, in base64.
pub(super) fn list_v2(asked: &Asked<'_>, world: &World<'_>) -> Result<Response, OssError> {
    let (token, start_after) = (asked.text("continuation-token"), asked.text("start-after"));
    let continued = URL_SAFE_NO_PAD.decode(token).ok().and_then(|key| String::from_utf8(key).ok());
    let continued = continued.ok_or_else(|| {
        let message = "The continuation-token is not one that this gateway gave out.";
        OssError::invalid_argument("continuation-token", token, message)
    })?;
    let after = if token.is_empty() { start_after } else { &continued };
    let wanted = wanted(asked, after)?;
    let coding = Coding::of(asked)?;
    let page = page(asked.bucket, &wanted, world);
    Ok(xml_answer(Document::write("ListBucketResult", |result| {
        result.text("Name", &asked.bucket.name);
        coding.text("Prefix", wanted.prefix, result);
        coding.text("StartAfter", start_after, result);
        result.text("ContinuationToken", token);
        write_frame(&wanted, &coding, &page, result);
        if page.is_truncated {
            result.text("NextContinuationToken", URL_SAFE_NO_PAD.encode(&page.last));
        }
        result.text("KeyCount", page.entries.len() + page.prefixes.len());
        write_page(&page, &coding, asked.query.first("fetch-owner") == Some("true"), result);
    })))
}

fn wanted<'a>(asked: &'a Asked<'_>, after: &'a str) -> Result<Wanted<'a>, OssError> {
    let max_keys = asked.count("max-keys", KEYS_DEFAULT, KEYS_MAX)?;
    let (prefix, delimiter) = (asked.text("prefix"), asked.text("delimiter"));
    Ok(Wanted { prefix, delimiter, after, max_keys })
}

fn write_frame(wanted: &Wanted<'_>, coding: &Coding, page: &Page, result: &mut Document) {
    result.text("MaxKeys", wanted.max_keys);
    coding.text("Delimiter", wanted.delimiter, result);
    if coding.is_url {
        result.text("EncodingType", "url");
    }
    result.text("IsTruncated", page.is_truncated);
}

fn write_page(page: &Page, coding: &Coding, has_owner: bool, result: &mut Document) {
    for entry in &page.entries {
        result.parent("Contents", |contents| {
            coding.text("Key", &entry.key, contents);
            contents.text("LastModified", entry.modified.oss_date());
            contents.text("ETag", &entry.etag);
            contents.text("Type", "Normal");
            contents.text("Size", entry.bytes);
            contents.text("StorageClass", "Standard");
            if has_owner {
                write_owner(contents);
            }
        });
    }
    for prefix in &page.prefixes {
        result.parent("CommonPrefixes", |common| coding.text("Prefix", prefix, common));
    }
}

/// How keys are written: as they are, or percent-coded because XML has no way to write some characters.
struct Coding {
    is_url: bool,
}

impl Coding {
    fn of(asked: &Asked<'_>) -> Result<Self, OssError> {
        match asked.text("encoding-type") {
            "" => Ok(Self { is_url: false }),
            "url" => Ok(Self { is_url: true }),
            other => Err(OssError::invalid_argument(
                "encoding-type",
                other,
                "encoding-type must be url.",
            )),
        }
    }

    fn text(&self, name: &str, text: &str, document: &mut Document) {
        if self.is_url {
            let mut coded = String::with_capacity(text.len() + 8);
            encode(text, &mut coded);
            document.text(name, coded);
        } else {
            document.text(name, text);
        }
    }
}

/// Whether there is an object of this key.
pub(super) fn is_there(bucket: &Bucket, key: &str, world: &World<'_>) -> bool {
    let page = page(bucket, &Wanted { prefix: key, delimiter: "", after: "", max_keys: 1 }, world);
    page.entries.first().is_some_and(|entry| entry.key == key)
}

/// How many objects there are, and their bytes: of segments, which are all that takes room.
pub(super) fn sum(bucket: &Bucket, world: &World<'_>) -> (usize, u64) {
    let mut sum = (0, 0);
    for channel in channels(bucket, world) {
        let channel = channel.borrow();
        let Some(recorder) = channel.recorder() else { continue };
        for record in recorder.ring().history().filter(|record| !record.is_gap) {
            sum = (sum.0 + 1, sum.1 + u64::from(record.bytes));
        }
    }
    sum
}

/// The bucket's channels, in the order of their keys: a name's is that with the slash behind it.
fn channels<'w>(bucket: &Bucket, world: &World<'w>) -> Vec<&'w SharedChannel> {
    let mut channels: Vec<_> =
        world.channels.iter().filter(|channel| channel.borrow().bucket == bucket.name).collect();
    channels.sort_by(|a, b| folder_order(&a.borrow().config.name, &b.borrow().config.name));
    channels
}

fn folder_order(a: &str, b: &str) -> Ordering {
    a.bytes().chain([b'/']).cmp(b.bytes().chain([b'/']))
}

fn page(bucket: &Bucket, wanted: &Wanted<'_>, world: &World<'_>) -> Page {
    let mut page = Page::default();
    for channel in channels(bucket, world) {
        let folder = format!("{}/", channel.borrow().config.name);
        let is_in_reach = folder.starts_with(wanted.prefix) || wanted.prefix.starts_with(&folder);
        // All keys of the channel begin with its folder: those of one that lies wholly before the start are not looked at.
        let is_behind = wanted.after < folder.as_str() || wanted.after.starts_with(&folder);
        if !is_in_reach || !is_behind {
            continue;
        }
        if let Some(common) = wanted.common_prefix(&folder) {
            let has_keys = has_keys(&channel.borrow(), bucket, world);
            if has_keys && !page.add_prefix(common, wanted) {
                return page;
            }
            continue;
        }
        if !add_channel(&mut channel.borrow_mut(), &folder, bucket, wanted, world, &mut page) {
            return page;
        }
    }
    page
}

impl Wanted<'_> {
    /// The part of `key` up to the first delimiter behind the prefix.
    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        if self.delimiter.is_empty() {
            return None;
        }
        let at = key.strip_prefix(self.prefix)?.find(self.delimiter)?;
        key.get(..self.prefix.len() + at + self.delimiter.len())
    }
}

impl Page {
    /// Makes room for one more; `false`: there is none, and more follow.
    fn has_room(&mut self, wanted: &Wanted<'_>) -> bool {
        self.is_truncated = self.entries.len() + self.prefixes.len() >= wanted.max_keys;
        !self.is_truncated
    }

    /// Whether the line of this common prefix stands on the page already, or on one before.
    fn has_prefix(&self, prefix: &str, wanted: &Wanted<'_>) -> bool {
        wanted.after >= prefix || self.prefixes.last().is_some_and(|last| last == prefix)
    }

    fn add_prefix(&mut self, prefix: &str, wanted: &Wanted<'_>) -> bool {
        if self.has_prefix(prefix, wanted) {
            return true;
        }
        if !self.has_room(wanted) {
            return false;
        }
        prefix.clone_into(&mut self.last);
        self.prefixes.push(prefix.to_owned());
        true
    }

    fn add(&mut self, entry: Entry, wanted: &Wanted<'_>) -> bool {
        if let Some(common) = wanted.common_prefix(&entry.key) {
            return self.add_prefix(common, wanted);
        }
        if !self.has_room(wanted) {
            return false;
        }
        self.last.clone_from(&entry.key);
        self.entries.push(entry);
        true
    }
}

fn has_keys(channel: &Channel, bucket: &Bucket, world: &World<'_>) -> bool {
    let has_segments =
        channel.recorder().is_some_and(|recorder| recorder.ring().history().len() > 0);
    has_segments || recordings(channel, bucket, world).next().is_some()
}

/// The recordings of a channel, in the order of their keys.
fn recordings<'w>(
    channel: &Channel,
    bucket: &Bucket,
    world: &World<'w>,
) -> impl Iterator<Item = (&'w ObjectPath, &'w Recording)> {
    let name = channel.config.name.clone();
    let from = ObjectPath { bucket: bucket.name.clone(), key: format!("{name}/").into() };
    let bucket = bucket.name.clone();
    let behind = world.catalogue.recordings.range(from..);
    behind.take_while(move |(path, recording)| path.bucket == bucket && recording.channel == name)
}

/// Adds the keys of one channel. `false`: the page is full.
fn add_channel(
    channel: &mut Channel,
    folder: &str,
    bucket: &Bucket,
    wanted: &Wanted<'_>,
    world: &World<'_>,
    page: &mut Page,
) -> bool {
    let is_wanted = |key: &str| key > wanted.after && key.starts_with(wanted.prefix);
    // Playlists and recordings are few: they are put in order, and the segments flow in between.
    let mut named: Vec<(String, Option<&Recording>)> = Vec::new();
    for (path, recording) in recordings(channel, bucket, world) {
        named.push((path.key.to_string(), Some(recording)));
    }
    for name in channel.playlist_names() {
        let key = format!("{folder}{name}");
        if named.iter().all(|(other, _)| *other != key) {
            named.push((key, None));
        }
    }
    named.retain(|(key, _)| is_wanted(key));
    named.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut named = named.into_iter().peekable();
    let Range { start, end } = named_so(wanted.prefix.strip_prefix(folder).unwrap_or_default());
    let mut from = start.max(wanted.after.strip_prefix(folder).map_or(0, first_behind));
    loop {
        let record = channel.recorder().filter(|_| from < end).and_then(|recorder| {
            let mut records = recorder.ring().between(UnixMillis(from), UnixMillis(end - 1));
            records.find(|record| !record.is_gap).copied()
        });
        let segment = record.map(|record| {
            let mut key = folder.to_owned();
            write_segment_name(record.start, &mut key);
            (key, record)
        });
        let is_named_next = match (&segment, named.peek()) {
            (Some((key, _)), Some((name, _))) => name < key,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let entry = if is_named_next {
            let Some((key, recording)) = named.next() else { return true };
            if wanted.common_prefix(&key).is_some_and(|common| page.has_prefix(common, wanted)) {
                continue;
            }
            match recording {
                Some(recording) => {
                    // One that has outlived the ring is no object any more. It costs nothing and counts for nothing, so that
                    // a page that ends here has something to go on behind.
                    let Some(recorded) = recorded(channel, recording.first, recording.last) else {
                        continue;
                    };
                    if page.recordings == RECORDINGS_MAX {
                        page.is_truncated = true;
                        return false;
                    }
                    page.recordings += 1;
                    recording_entry(key, recording, &recorded)
                }
                None => playlist_entry(key, channel, world),
            }
        } else {
            let Some((key, record)) = segment else { return true };
            from = record.start.0 + 1;
            // All that share its common prefix are that one line.
            if let Some(common) =
                wanted.common_prefix(&key).and_then(|key| key.strip_prefix(folder))
            {
                from = from.max(named_so(common).end);
            }
            is_wanted(&key).then(|| segment_entry(key, &record))
        };
        if entry.is_some_and(|entry| !page.add(entry, wanted)) {
            return false;
        }
    }
}

/// The starts of segments whose names begin with `text`: 13 digits and `.ts`.
fn named_so(text: &str) -> Range<u64> {
    const NONE: Range<u64> = 0..0;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let Some(missing) = u32::try_from(digits).ok().and_then(|digits| 13_u32.checked_sub(digits))
    else {
        return NONE;
    };
    if !".ts".starts_with(rest) || !rest.is_empty() && missing > 0 {
        return NONE;
    }
    let (number, scale) = (number.parse().unwrap_or(0), 10_u64.pow(missing));
    number * scale..(number + 1) * scale
}

/// The least start of a segment whose name comes behind `text` in the order of keys.
fn first_behind(text: &str) -> u64 {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count().min(13);
    let (number, rest) = text.split_at(digits);
    let is_over = if digits == 13 { rest >= ".ts" } else { rest >= ":" };
    let scale = 10_u64.pow(13 - u32::try_from(digits).unwrap_or(13));
    (number.parse().unwrap_or(0) + u64::from(is_over)) * scale
}

fn segment_entry(key: String, record: &Record) -> Entry {
    Entry {
        key,
        bytes: record.bytes.into(),
        etag: object::segment_etag(record),
        modified: record.end().as_secs(),
    }
}

fn playlist_entry(key: String, channel: &mut Channel, world: &World<'_>) -> Option<Entry> {
    let rendered = channel.playlist(world.now)?;
    Some(Entry {
        key,
        bytes: rendered.text.len() as u64,
        etag: rendered.etag.clone(),
        modified: rendered.changed,
    })
}

fn recording_entry<'a, R: Iterator<Item = &'a Record> + Clone>(
    key: String,
    recording: &Recording,
    recorded: &Recorded<R>,
) -> Option<Entry> {
    let (text, etag) = recorded.object().ok()?;
    Some(Entry { key, bytes: text.len() as u64, etag, modified: recording.made })
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, path::Path, rc::Rc};

    use super::*;
    use crate::{
        access::GateTime,
        channel::Channels,
        config::{Config, catalogue::Catalogue},
        console::Vitals,
        http::response::RequestId,
        store::memory_flash::ring_of_one_segment,
        units::Now,
    };

    /// All that pages list, one after the other, of a channel that holds one segment.
    /// `recordings`: how many there are that begin so many seconds before it or behind it.
    fn listed(recordings: &[(i64, usize)], delimiter: &str) -> Vec<String> {
        let text = "[[bucket]]\nname = \"cams\"\nlive_channel = [{ name = \"door\" }]\n";
        let no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        let config = Config::parse(text, "test.toml", &no_files).unwrap().0;
        let bucket = &config.buckets[0];
        let mut channel = Channel::new(1, bucket.name.clone(), bucket.live_channels[0].clone());
        channel.opened(ring_of_one_segment(), Now::default());
        let mut channels = Channels::default();
        channels.push(Rc::new(RefCell::new(channel)));
        let mut catalogue = Catalogue::default();
        for (secs, count) in recordings {
            let second = 1_700_000_000_u64.saturating_add_signed(*secs);
            for n in 0..*count {
                let key = format!("door/at{secs}-{n:02}.m3u8").into();
                let (first, last) = (UnixSecs(second), UnixSecs(second + 1));
                let made = UnixSecs(99);
                let recording = Recording { channel: "door".into(), first, last, made };
                let path = ObjectPath { bucket: "cams".into(), key };
                catalogue.recordings.insert(path, recording);
            }
        }
        let world = World {
            config: &config,
            config_read: UnixSecs(0),
            catalogue: &catalogue,
            channels: &channels,
            vitals: &Vitals::default(),
            now: Now::default(),
            gate_time: GateTime::new(UnixSecs(0), UnixSecs(0)),
            request_id: RequestId::default(),
            may_wait: false,
        };
        let (mut listed, mut after) = (Vec::new(), String::new());
        for _ in 0..20 {
            let wanted = Wanted { prefix: "door/", delimiter, after: &after, max_keys: 1000 };
            let page = page(bucket, &wanted, &world);
            listed.extend(page.entries.into_iter().map(|entry| entry.key).chain(page.prefixes));
            if !page.is_truncated {
                return listed;
            }
            after = page.last;
        }
        panic!("{recordings:?} {delimiter:?}: no end behind {after:?}: {listed:?}");
    }

    #[test]
    fn pages_end_however_many_recordings_have_outlived_the_ring() {
        let alive = |count: usize| (0..count).map(|n| format!("door/at0-{n:02}.m3u8"));
        let (segment, playlist) = ("door/1700000000000.ts", "door/playlist.m3u8");
        for count in [0, 1, 15, 16, 17, 33] {
            let keys: Vec<_> =
                [segment.into()].into_iter().chain(alive(count)).chain([playlist.into()]).collect();
            assert_eq!(listed(&[(0, count)], ""), keys);
            assert_eq!(listed(&[(-9, 40), (0, count), (9, 40)], ""), keys);
        }
        // Behind a delimiter all that is alive is one line, and what is not is none.
        let folded = [segment, playlist, "door/at0-"];
        assert_eq!(listed(&[(-9, 40), (0, 40), (9, 40)], "-"), folded);
        assert_eq!(listed(&[(-9, 40)], "-"), [segment, playlist]);
    }

    #[test]
    fn a_prefix_of_names_is_a_range_of_starts() {
        for (text, starts) in [
            ("", 0..10_000_000_000_000),
            ("17", 1_700_000_000_000..1_800_000_000_000),
            ("1795603227150", 1_795_603_227_150..1_795_603_227_151),
            ("1795603227150.t", 1_795_603_227_150..1_795_603_227_151),
            ("1795603227150.ts", 1_795_603_227_150..1_795_603_227_151),
            ("1795603227150.tsx", 0..0),
            ("17.ts", 0..0),
            ("17956032271500", 0..0),
            ("z", 0..0),
            ("18446744073709551616", 0..0),
        ] {
            assert_eq!(named_so(text), starts, "{text}");
        }
    }

    #[test]
    fn a_page_goes_on_at_the_first_name_behind_its_marker() {
        let names: Vec<_> = [
            1_699_999_999_999,
            1_700_000_000_000,
            1_795_603_227_150,
            1_795_603_227_151,
            1_800_000_000_000,
        ]
        .map(|start| (start, format!("{start}.ts")))
        .to_vec();
        for marker in [
            "",
            "1",
            "17",
            "17.",
            "17/",
            "17:",
            "17z",
            "16z",
            "1795603227150",
            "1795603227150.",
            "1795603227150.ts",
            "1795603227150.tt",
            "1795603227150/",
            "17956032271500",
            "2",
            "9",
            ".ts",
            "playlist.m3u8",
        ] {
            let behind = names.iter().filter(|(_, name)| name.as_str() > marker);
            let found = names.iter().filter(|(start, _)| *start >= first_behind(marker));
            assert!(behind.eq(found), "{marker}: {}", first_behind(marker));
        }
    }
}
