//! What was made over the API ↔ the text that keeps it: LiveChannels, the status of others, recordings.
//!
//! ```text
//! sluicegate-catalogue 1 1C291CA3                       CRC-32 (IEEE) of all lines below, in hexadecimal
//! channel BUCKET CHANNEL STATUS FRAG_DURATION FRAG_COUNT PLAYLIST MODIFIED DESCRIPTION
//! status BUCKET CHANNEL STATUS                          of a channel that the file defines
//! recording BUCKET KEY CHANNEL FIRST LAST MADE          seconds since 1970
//! removed BUCKET CHANNEL                                its ring is to be removed
//! ```
//!
//! One blank between two fields, each percent-coded. The file is small, replaced as a whole and atomically, and written
//! only when a call changes something: so it is the old one or the new one whenever the power goes, and a camera's video
//! never waits for it. A file that is damaged is refused as a whole rather than half believed, and so is one whose
//! checksum is right but which no call can have made: its names become names of files, one of which may be removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use smol_str::SmolStr;

use super::{ChannelPath, Config, LiveChannel, Status, Takeover, names};
use crate::{
    query::{decode_path, encode},
    units::UnixSecs,
};

const MAGIC: &str = "sluicegate-catalogue 1 ";

/// What was made over the API.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Catalogue {
    /// LiveChannels that PutLiveChannel made.
    pub channels: BTreeMap<ChannelPath, Settings>,
    /// What PutLiveChannelStatus said of channels that the file defines, where it differs from the file.
    pub statuses: BTreeMap<ChannelPath, Status>,
    /// What PostVodPlaylist made.
    pub recordings: BTreeMap<ObjectPath, Recording>,
    /// Channels that were deleted and whose rings may still be there.
    pub removed: BTreeSet<ChannelPath>,
}

/// What PutLiveChannel says of a LiveChannel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// At most 128 bytes.
    pub description: SmolStr,
    /// Whether it takes publishers.
    pub status: Status,
    /// Seconds, 1 to 100.
    pub frag_duration_s: u32,
    /// 1 to 100.
    pub frag_count: u32,
    /// Ends with `.m3u8`, 6 to 128 bytes, no `/`.
    pub playlist_name: SmolStr,
    /// When it was made or changed last.
    pub modified: UnixSecs,
}

/// An object's key, with its bucket.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ObjectPath {
    /// The bucket.
    pub bucket: SmolStr,
    /// The key: `CHANNEL/NAME`.
    pub key: SmolStr,
}

/// A part of a channel's past that has a name (OSS: PostVodPlaylist). It is a range of time and no copy: what it lists
/// becomes less as the ring moves on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recording {
    /// The channel.
    pub channel: SmolStr,
    /// Its first second.
    pub first: UnixSecs,
    /// Its last second.
    pub last: UnixSecs,
    /// When it was made.
    pub made: UnixSecs,
}

/// Why a catalogue cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Damaged {
    /// It is something else, or of another version.
    #[error("its first line is not that of a catalogue of this version")]
    NotACatalogue,
    /// Bits have changed.
    #[error("its checksum is {is:08X}, not {told:08X}")]
    Checksum {
        /// As the first line has it.
        told: u32,
        /// As its lines come to.
        is: u32,
    },
    /// A line cannot be understood though the checksum is right.
    #[error("line {0} is not understood")]
    Line(usize),
}

impl Catalogue {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, Damaged> {
        let (head, body) = text.split_once('\n').ok_or(Damaged::NotACatalogue)?;
        let crc = head.strip_prefix(MAGIC).ok_or(Damaged::NotACatalogue)?;
        let told = u32::from_str_radix(crc, 16).map_err(|_| Damaged::NotACatalogue)?;
        let is = crc32fast::hash(body.as_bytes());
        if told != is {
            return Err(Damaged::Checksum { told, is });
        }
        let mut catalogue = Self::default();
        for (line, number) in body.lines().zip(2..) {
            catalogue.add(line).ok_or(Damaged::Line(number))?;
        }
        Ok(catalogue)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split(' ');
        let kind = fields.next()?;
        let mut text = || decode_path(fields.next()?).map(SmolStr::from);
        let bucket = text().filter(|name| names::is_bucket_name(name))?;
        let is_channel = |name: &SmolStr| names::is_channel_name(name);
        match kind {
            "channel" => {
                let channel = text().filter(is_channel)?;
                let settings = Settings {
                    status: status(&text()?)?,
                    frag_duration_s: text()?.parse().ok().filter(|n| (1..=100).contains(n))?,
                    frag_count: text()?.parse().ok().filter(|n| (1..=100).contains(n))?,
                    playlist_name: text().filter(|name| names::is_playlist_name(name))?,
                    modified: UnixSecs(text()?.parse().ok()?),
                    description: text().filter(|text| names::is_description(text))?,
                };
                self.channels.insert(ChannelPath { bucket, channel }, settings);
            }
            "status" => {
                let channel = text().filter(is_channel)?;
                self.statuses.insert(ChannelPath { bucket, channel }, status(&text()?)?);
            }
            "recording" => {
                let key = text()?;
                let recording = Recording {
                    channel: text()?,
                    first: UnixSecs(text()?.parse().ok()?),
                    last: UnixSecs(text()?.parse().ok()?),
                    made: UnixSecs(text()?.parse().ok()?),
                };
                let (channel, name) = key.split_once('/')?;
                let is_one = channel == recording.channel && names::is_playlist_name(name);
                if !is_channel(&recording.channel) || !is_one || recording.first >= recording.last {
                    return None;
                }
                self.recordings.insert(ObjectPath { bucket, key }, recording);
            }
            "removed" => {
                let channel = text().filter(is_channel)?;
                self.removed.insert(ChannelPath { bucket, channel });
            }
            _ => return None,
        }
        fields.next().is_none().then_some(())
    }

    /// Writes the text.
    pub fn text(&self) -> String {
        let mut body = Lines::default();
        for (path, settings) in &self.channels {
            body.line("channel", &[&path.bucket, &path.channel, settings.status.word()]);
            body.number(settings.frag_duration_s.into()).number(settings.frag_count.into());
            body.field(&settings.playlist_name).number(settings.modified.0);
            body.field(&settings.description);
        }
        for (path, status) in &self.statuses {
            body.line("status", &[&path.bucket, &path.channel, status.word()]);
        }
        for (path, recording) in &self.recordings {
            body.line("recording", &[&path.bucket, &path.key, &recording.channel]);
            body.number(recording.first.0).number(recording.last.0).number(recording.made.0);
        }
        for path in &self.removed {
            body.line("removed", &[&path.bucket, &path.channel]);
        }
        let body = body.finish();
        format!("{MAGIC}{:08X}\n{body}", crc32fast::hash(body.as_bytes()))
    }

    /// Adds to a configuration as the file has it what the catalogue knows of its buckets.
    ///
    /// The file comes first: a channel that it defines is as it says, but for its status; a status that the file agrees
    /// with is forgotten. What finds no place is told in words, and stays in the catalogue for the day when the
    /// file has one for it again.
    pub fn apply(&mut self, config: &mut Config) -> Vec<String> {
        let mut homeless = Vec::new();
        for (path, settings) in &self.channels {
            if let Err(why) = add_channel(config, path, settings) {
                homeless.push(format!("the LiveChannel {path}, made by PutLiveChannel, {why}"));
            }
        }
        self.statuses.retain(|path, status| {
            let mut buckets = config.buckets.iter_mut();
            let bucket = buckets.find(|bucket| bucket.name == path.bucket);
            let channels = bucket.into_iter().flat_map(|bucket| &mut bucket.live_channels);
            let mut defined = channels.filter(|channel| channel.modified.is_none());
            let channel = defined.find(|channel| channel.name == path.channel);
            channel.is_none_or(|channel| std::mem::replace(&mut channel.status, *status) != *status)
        });
        homeless
    }
}

fn add_channel(config: &mut Config, path: &ChannelPath, settings: &Settings) -> Result<(), String> {
    let file = config.file.clone();
    let mut buckets = config.buckets.iter_mut();
    let Some(bucket) = buckets.find(|bucket| bucket.name == path.bucket) else {
        return Err(format!("is not served: {file} has no such bucket"));
    };
    if bucket.live_channels.iter().any(|channel| channel.name == path.channel) {
        return Err(format!("is overruled: {file} defines one of this name"));
    }
    let made = bucket.live_channels.iter().filter(|channel| channel.modified.is_some()).count();
    let Some(dynamic) = bucket.dynamic_channels.filter(|dynamic| made < dynamic.max as usize)
    else {
        return Err(format!("is not served: {file} allows fewer dynamic_channels"));
    };
    bucket.live_channels.push(LiveChannel {
        name: path.channel.clone(),
        description: settings.description.clone(),
        status: settings.status,
        frag_duration_s: settings.frag_duration_s,
        frag_count: settings.frag_count,
        playlist_name: settings.playlist_name.clone(),
        ring_bytes: dynamic.ring_bytes,
        takeover: Takeover::Reject,
        low_latency: None,
        modified: Some(settings.modified),
    });
    Ok(())
}

impl Status {
    /// As requests and configurations spell it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

fn status(word: &str) -> Option<Status> {
    [Status::Enabled, Status::Disabled].into_iter().find(|status| status.word() == word)
}

/// Lines of percent-coded fields.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, kind: &str, fields: &[&str]) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(kind);
        for field in fields {
            self.field(field);
        }
    }

    fn field(&mut self, text: &str) -> &mut Self {
        self.0.push(' ');
        encode(text, &mut self.0);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        // Writing to a String does not fail.
        let _ = write!(self.0, " {number}");
        self
    }

    fn finish(mut self) -> String {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(channel: &str) -> ChannelPath {
        ChannelPath { bucket: "cams".into(), channel: channel.into() }
    }

    fn settings() -> Settings {
        Settings {
            description: "the door, 50 % open".into(),
            status: Status::Enabled,
            frag_duration_s: 2,
            frag_count: 6,
            playlist_name: "直播.m3u8".into(),
            modified: UnixSecs(1_800_000_000),
        }
    }

    fn full() -> Catalogue {
        let recording = Recording {
            channel: "前门".into(),
            first: UnixSecs(1),
            last: UnixSecs(2),
            made: UnixSecs(3),
        };
        let key = ObjectPath { bucket: "cams".into(), key: "前门/a b.m3u8".into() };
        Catalogue {
            channels: [(path("前门"), settings())].into(),
            statuses: [(path("yard"), Status::Disabled)].into(),
            recordings: [(key, recording)].into(),
            removed: [path("old one")].into(),
        }
    }

    fn config(text: &str) -> Config {
        let no_files = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        Config::parse(text, "test.toml", &no_files).unwrap().0
    }

    #[test]
    fn what_is_written_is_read_back() {
        for catalogue in [Catalogue::default(), full()] {
            assert_eq!(Catalogue::parse(&catalogue.text()), Ok(catalogue));
        }
        let mut undescribed = full();
        undescribed.channels.insert(path("b"), Settings { description: "".into(), ..settings() });
        assert_eq!(Catalogue::parse(&undescribed.text()), Ok(undescribed));
    }

    #[test]
    fn a_changed_bit_or_a_lost_end_is_noticed_wherever_it_is() {
        let text = full().text().into_bytes();
        for at in 0..text.len() {
            for bit in 0..7 {
                let mut flipped = text.clone();
                flipped[at] ^= 1 << bit;
                let flipped = String::from_utf8_lossy(&flipped);
                // The case of the checksum's own digits carries nothing.
                let is_case = flipped.eq_ignore_ascii_case(&full().text());
                assert!(Catalogue::parse(&flipped).is_err() || is_case, "{at}.{bit}");
            }
            assert!(Catalogue::parse(&String::from_utf8_lossy(&text[..at])).is_err(), "{at}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_as_a_whole() {
        let with = |line: &str| {
            let body = format!("removed cams a\n{line}\n");
            format!("{MAGIC}{:08X}\n{body}", crc32fast::hash(body.as_bytes()))
        };
        assert!(Catalogue::parse(&with("removed cams b")).is_ok());
        for line in [
            "",
            "removed cams",
            "removed cams b c",
            "removed .. b",
            "removed cams ..",
            "removed cams -",
            "moved cams b",
            "status cams b on",
            "channel cams b enabled 0 3 playlist.m3u8 7 ",
            "channel cams b enabled 5 101 playlist.m3u8 7 ",
            "channel cams b enabled 5 3 a%2Fb.m3u8 7 ",
            "recording cams b%2Flist.m3u8 c 1 2 3",
            "recording cams b%2Flist.m3u8 b 2 2 3",
        ] {
            assert_eq!(Catalogue::parse(&with(line)), Err(Damaged::Line(3)), "{line}");
        }
    }

    #[test]
    fn the_file_comes_first_and_its_bounds_hold() {
        let mut catalogue = full();
        catalogue.channels.insert(path("yard"), settings());
        catalogue.channels.insert(path("shed"), settings());
        let elsewhere = ChannelPath { bucket: "gone".into(), channel: "a".into() };
        catalogue.channels.insert(elsewhere, settings());
        let mut config = config(
            "[[bucket]]\nname = \"cams\"\nlive_channel = [{ name = \"yard\" }]\n\
             dynamic_channels = { max = 1, ring = \"16MiB\" }\n",
        );
        let plans = config.ring_plans().map(|plan| plan.count).sum::<u32>();
        let homeless = catalogue.apply(&mut config);
        let names: Vec<_> = config.live_channels().map(|(_, c)| (&*c.name, c.status)).collect();
        assert_eq!(names, [("yard", Status::Disabled), ("shed", Status::Enabled)]);
        assert_eq!(homeless.len(), 3, "{homeless:?}");
        assert_eq!(config.ring_plans().map(|plan| plan.count).sum::<u32>(), plans);
    }

    #[test]
    fn a_status_of_a_channel_of_the_file_s_is_not_that_of_one_that_was_made_since() {
        let mut catalogue = full();
        catalogue.channels.insert(path("yard"), settings());
        let file =
            "[[bucket]]\nname = \"cams\"\ndynamic_channels = { max = 9, ring = \"16MiB\" }\n";
        let mut made = config(file);
        catalogue.apply(&mut made);
        let mut channels = made.live_channels();
        assert!(channels.all(|(_, channel)| channel.status == Status::Enabled), "{made:?}");
        let mut defined = config(&format!("{file}live_channel = [{{ name = \"yard\" }}]\n"));
        catalogue.apply(&mut defined);
        assert_eq!(defined.live_channels().next().unwrap().1.status, Status::Disabled);
    }

    #[test]
    fn a_status_that_the_file_agrees_with_is_forgotten() {
        let file = "[[bucket]]\nname = \"cams\"\nlive_channel = [{ name = \"yard\", status = \"disabled\" }]\n";
        let mut catalogue = full();
        catalogue.apply(&mut config(file));
        assert!(catalogue.statuses.is_empty());
        let mut elsewhere = full();
        elsewhere
            .apply(&mut config("[[bucket]]\nname = \"cams\"\nlive_channel = [{ name = \"a\" }]\n"));
        assert_eq!(elsewhere.statuses.len(), 1);
    }
}
