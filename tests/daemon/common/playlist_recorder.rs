//! The versions of a live playlist, one after another → where they break the rules for servers (RFC 8216 §6.2).
//!
//! Most of these rules bind a version to those before it, so no single look at a playlist can check them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    http::try_get,
    playlist::{Playlist, Segment},
};

/// All that was seen of one playlist.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// Every segment that was ever listed, by media sequence number.
    pub(crate) segments: BTreeMap<u64, Recorded>,
    /// What was wrong, in words.
    pub(crate) faults: Vec<String>,
    /// The newest version.
    pub(crate) last: Option<Playlist>,
    /// The playlist has been as long as three target durations.
    was_long: bool,
    /// Segments that a cut kept from being fetched: the next look has to find them.
    owed: BTreeSet<u64>,
}

/// A segment as it was listed, and as it was served.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Its entry.
    pub(crate) entry: Segment,
    /// Its bytes; empty for a gap.
    pub(crate) bytes: Vec<u8>,
}

impl Recorder {
    /// Takes the next version of the playlist, and fetches what is listed for the first time.
    /// What `fetch` cannot have because of a cut (`None`) is left for the next version.
    pub(crate) fn observe(
        &mut self,
        text: &str,
        mut fetch: impl FnMut(&Segment) -> Result<Option<Vec<u8>>, String>,
    ) {
        let playlist = match Playlist::parse(text) {
            Ok(playlist) => playlist,
            Err(fault) => return self.fault(&fault),
        };
        self.check_alone(&playlist);
        if let Some(last) = self.last.take() {
            self.check_against(&last, &playlist);
        }
        for (sequence, entry) in playlist.numbered() {
            match self.segments.get(&sequence) {
                Some(known) if known.entry != *entry => {
                    let fault =
                        format!("segment {sequence} was {:?} and is {entry:?}", known.entry);
                    self.fault(&fault);
                }
                Some(_) => {}
                None => {
                    // A listed segment is complete (draft-pantos-hls-rfc8216bis §6.2.1), so it can be had at once.
                    let bytes = if entry.is_gap { Ok(Some(Vec::new())) } else { fetch(entry) };
                    let bytes = bytes.unwrap_or_else(|fault| {
                        self.fault(&format!("segment {sequence} is listed but {fault}"));
                        Some(Vec::new())
                    });
                    let Some(bytes) = bytes else {
                        self.owed.insert(sequence);
                        continue;
                    };
                    self.owed.remove(&sequence);
                    if self.segments.values().any(|known| known.entry.uri == entry.uri) {
                        self.fault(&format!("the name {} is used again", entry.uri));
                    }
                    self.segments.insert(sequence, Recorded { entry: entry.clone(), bytes });
                }
            }
        }
        self.last = Some(playlist);
    }

    /// What a single version must fulfil.
    fn check_alone(&mut self, playlist: &Playlist) {
        let has_gap = playlist.segments.iter().any(|segment| segment.is_gap);
        let target_ms = u64::from(playlist.target_duration_s) * 1000;
        let rules = [
            (
                playlist.version == if has_gap { 8 } else { 3 },
                "the version is not the lowest that its tags need (§7)",
            ),
            (!playlist.segments.is_empty(), "an empty playlist"),
            (
                playlist.playlist_type.is_none(),
                "a sliding playlist has no PLAYLIST-TYPE (§4.3.3.5)",
            ),
            (playlist.discontinuity_sequence.is_some(), "no DISCONTINUITY-SEQUENCE (§4.3.3.3)"),
            (
                playlist.is_independent,
                "no INDEPENDENT-SEGMENTS, though each segment starts with a key frame (§4.3.5.1)",
            ),
            (
                playlist.segments.first().is_some_and(|segment| segment.start_ms.is_some()),
                "no PROGRAM-DATE-TIME (§4.3.2.6)",
            ),
            (
                playlist
                    .segments
                    .iter()
                    .all(|segment| !segment.is_discontinuity || segment.start_ms.is_some()),
                "no PROGRAM-DATE-TIME behind a DISCONTINUITY",
            ),
            (
                // §4.3.3.1 speaks of rounded durations, so half a second more is the most.
                playlist.segments.iter().all(|segment| segment.duration_ms < target_ms + 500),
                "a segment is longer than TARGETDURATION",
            ),
        ];
        for (_, fault) in rules.iter().filter(|(is_kept, _)| !is_kept) {
            self.fault(fault);
        }
        for pair in playlist.segments.windows(2) {
            let [Some(start), Some(next)] = [pair[0].start_ms, pair[1].start_ms] else { continue };
            let end = start + pair[0].duration_ms;
            if next < start || (!pair[1].is_discontinuity && next.abs_diff(end) > 50) {
                self.fault(&format!(
                    "PROGRAM-DATE-TIME goes from {start} over {} ms to {next}",
                    pair[0].duration_ms
                ));
            }
        }
        let is_long = playlist.duration_ms() >= 3 * target_ms;
        if self.was_long && !is_long {
            self.fault("the playlist is shorter than three target durations again (§6.2.2)");
        }
        self.was_long |= is_long;
    }

    /// What a version owes to the one before it.
    fn check_against(&mut self, last: &Playlist, playlist: &Playlist) {
        if playlist.target_duration_s != last.target_duration_s {
            self.fault("TARGETDURATION changes (§6.2.1)");
        }
        let end = |playlist: &Playlist| playlist.media_sequence + playlist.segments.len() as u64;
        if playlist.media_sequence < last.media_sequence || end(playlist) < end(last) {
            self.fault("MEDIA-SEQUENCE goes back (§6.2.2)");
        }
        if playlist.media_sequence > end(last) {
            self.fault("segments come and go between two looks at the playlist");
        }
        let gone = last.numbered().filter(|(sequence, segment)| {
            *sequence < playlist.media_sequence && segment.is_discontinuity
        });
        let expected = last.discontinuity_sequence.map(|sequence| sequence + gone.count() as u64);
        if playlist.discontinuity_sequence != expected {
            let found = playlist.discontinuity_sequence;
            self.fault(&format!(
                "DISCONTINUITY-SEQUENCE is {found:?} and not {expected:?} (§6.2.2)"
            ));
        }
        let returns = playlist
            .numbered()
            .any(|(sequence, segment)| sequence == end(last) && segment.is_discontinuity);
        if last.is_ended && last != playlist && !returns {
            self.fault("a playlist that has ended changes, though no stream returns (§4.3.3.4)");
        }
    }

    fn fault(&mut self, fault: &str) {
        self.faults.push(fault.to_owned());
    }

    /// Media sequence numbers of the segments behind a discontinuity.
    pub(crate) fn discontinuities(&self) -> Vec<u64> {
        let marked = self.segments.iter().filter(|(_, segment)| segment.entry.is_discontinuity);
        marked.map(|(sequence, _)| *sequence).collect()
    }

    /// All segments, joined.
    pub(crate) fn joined(&self) -> Vec<u8> {
        self.segments.values().flat_map(|segment| segment.bytes.iter().copied()).collect()
    }
}

/// A [`Recorder`] that watches a playlist from a thread of its own.
pub(crate) struct Recording {
    stop: Arc<AtomicBool>,
    cuts: Cuts,
    thread: JoinHandle<Recorder>,
}

impl Recording {
    /// Watches the playlist at `target`, which may not be there yet.
    pub(crate) fn start(port: u16, target: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let cuts = Cuts::default();
        let seen_cuts = cuts.clone();
        let target = target.to_owned();
        let thread = thread::spawn(move || {
            let mut recorder = Recorder::default();
            loop {
                let is_last = is_over.load(Ordering::Relaxed);
                look(&mut recorder, port, &target, &seen_cuts);
                if is_last {
                    return recorder;
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        Self { stop, cuts, thread }
    }

    /// Does `cut`, which kills the daemon and starts it again. A segment whose fetch it breaks is fetched afterwards.
    pub(crate) fn across<T>(&self, cut: impl FnOnce() -> T) -> T {
        self.cuts.0.fetch_add(1, Ordering::SeqCst);
        let done = cut();
        self.cuts.0.fetch_add(1, Ordering::SeqCst);
        done
    }

    /// Looks once more, and ends. Fails the test if a rule was broken.
    pub(crate) fn finish(self) -> Recorder {
        self.finish_but_for("no fault at all")
    }

    /// The same, but for one fault that is expected.
    pub(crate) fn finish_but_for(self, expected: &str) -> Recorder {
        self.stop.store(true, Ordering::Relaxed);
        let mut recorder = self.thread.join().unwrap();
        recorder.faults.retain(|fault| fault != expected);
        assert!(recorder.faults.is_empty(), "\n{}", recorder.faults.join("\n"));
        assert!(recorder.last.is_some(), "no playlist was seen");
        assert!(recorder.owed.is_empty(), "{:?} could not be had after a cut", recorder.owed);
        recorder
    }
}

/// Counts the beginnings and ends of cuts: odd while the daemon may be down.
#[derive(Clone, Default)]
struct Cuts(Arc<AtomicU32>);

impl Cuts {
    /// Runs `step`; also whether there was a cut meanwhile.
    fn during<T>(&self, step: impl FnOnce() -> T) -> (T, bool) {
        let before = self.0.load(Ordering::SeqCst);
        let done = step();
        (done, before % 2 == 1 || self.0.load(Ordering::SeqCst) != before)
    }
}

/// One look at the playlist. A daemon that is down, or that is still reading its ring (503),
/// has nothing to show.
fn look(recorder: &mut Recorder, port: u16, target: &str, cuts: &Cuts) {
    let Ok(reply) = try_get(port, target) else { return };
    if reply.status != 200 {
        if recorder.last.is_some() && reply.status != 503 {
            recorder
                .fault(&format!("the playlist was there and is answered with {}", reply.status));
        }
        return;
    }
    let folder = target.rsplit_once('/').map_or("", |(folder, _)| folder);
    recorder.observe(reply.text(), |segment| {
        match cuts.during(|| try_get(port, &format!("{folder}/{}", segment.uri))) {
            (Ok(reply), _) if reply.status == 200 => Ok(Some(reply.body)),
            (Ok(reply), _) => Err(format!("answered with {}", reply.status)),
            (Err(_), true) => Ok(None),
            (Err(error), false) => Err(error.to_string()),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n";

    /// A playlist of 4 s segments; `!` before a number is a discontinuity.
    fn version(target_s: u32, first: u64, gone: u64, segments: &[&str]) -> String {
        let mut text = format!(
            "{HEAD}#EXT-X-TARGETDURATION:{target_s}\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{gone}\n"
        );
        for name in segments {
            let number: u64 = name.trim_start_matches('!').parse().unwrap();
            if name.starts_with('!') {
                text += "#EXT-X-DISCONTINUITY\n";
            }
            let (minute, second) = (number * 4 / 60, number * 4 % 60);
            text += &format!(
                "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:{minute:02}:{second:02}.000Z\n#EXTINF:4.000,\n{number}.ts\n"
            );
        }
        text
    }

    fn faults(versions: &[String]) -> String {
        let mut recorder = Recorder::default();
        for version in versions {
            recorder.observe(version, |_| Ok(Some(Vec::new())));
        }
        recorder.faults.join("; ")
    }

    #[test]
    fn a_window_that_slides_is_fine() {
        let versions = [
            version(4, 0, 0, &["0", "1"]),
            version(4, 0, 0, &["0", "1", "!2"]),
            version(4, 2, 0, &["!2", "3", "4"]),
            version(4, 3, 1, &["3", "4", "5"]),
            version(4, 3, 1, &["3", "4", "5"]) + "#EXT-X-ENDLIST\n",
            version(4, 4, 1, &["4", "5", "!6"]),
        ];
        assert_eq!(faults(&versions), "");
    }

    #[test]
    fn what_a_cut_kept_back_is_owed_until_it_is_fetched() {
        let mut recorder = Recorder::default();
        recorder.observe(&version(4, 0, 0, &["0"]), |_| Ok(None));
        assert_eq!((recorder.owed.len(), recorder.segments.len()), (1, 0));
        recorder.observe(&version(4, 0, 0, &["0"]), |_| Ok(Some(vec![0x47])));
        assert_eq!(recorder.joined(), [0x47]);
        assert!(recorder.owed.is_empty() && recorder.faults.is_empty());

        let cuts = Cuts::default();
        assert!(!cuts.during(|| ()).1);
        assert!(cuts.during(|| cuts.0.fetch_add(1, Ordering::SeqCst)).1, "it begins meanwhile");
        assert!(cuts.during(|| cuts.0.fetch_add(1, Ordering::SeqCst)).1, "it ends meanwhile");
        assert!(!cuts.during(|| ()).1);
    }

    #[test]
    fn every_broken_rule_is_seen() {
        let start = || version(4, 3, 0, &["3", "!4", "5"]);
        let ended = version(4, 3, 0, &["3", "!4", "5"]) + "#EXT-X-ENDLIST\n";
        let table = [
            (start(), version(5, 3, 0, &["3", "!4", "5", "6"]), "TARGETDURATION changes"),
            (start(), version(4, 2, 0, &["2", "3", "!4", "5"]), "MEDIA-SEQUENCE goes back"),
            (start(), version(4, 3, 0, &["3", "!4"]), "MEDIA-SEQUENCE goes back"),
            (start(), version(4, 7, 1, &["7", "8", "9"]), "come and go"),
            (start(), version(4, 5, 0, &["5", "6", "7"]), "DISCONTINUITY-SEQUENCE is"),
            (start(), version(4, 3, 1, &["3", "!4", "5"]), "DISCONTINUITY-SEQUENCE is"),
            (start(), version(4, 3, 0, &["3", "4", "5"]), "segment 4 was"),
            (start(), version(4, 4, 0, &["4", "5", "6"]), "segment 4 was"),
            (start(), version(4, 3, 0, &["3", "!4", "5", "!3"]), "used again"),
            (start(), version(4, 3, 0, &["3", "!4", "5", "9"]), "PROGRAM-DATE-TIME goes from"),
            (start(), version(4, 4, 0, &["!4", "5"]), "shorter than three target durations"),
            (start(), version(3, 3, 0, &["3", "!4", "5"]), "longer than TARGETDURATION"),
            (ended, version(4, 3, 0, &["3", "!4", "5", "6"]), "no stream returns"),
            (start(), start().replace("VERSION:3", "VERSION:6"), "not the lowest"),
            (
                start(),
                start().replace("#EXT-X-INDEPENDENT-SEGMENTS\n", ""),
                "no INDEPENDENT-SEGMENTS",
            ),
            (
                start(),
                start().replace("#EXT-X-DISCONTINUITY-SEQUENCE:0\n", ""),
                "no DISCONTINUITY-SEQUENCE",
            ),
            (
                start(),
                start().replace("VERSION:3\n", "VERSION:3\n#EXT-X-PLAYLIST-TYPE:EVENT\n"),
                "no PLAYLIST-TYPE",
            ),
            (
                start(),
                start().replace("#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:12.000Z\n", ""),
                "no PROGRAM-DATE-TIME",
            ),
            (
                start(),
                start().replace("#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:16.000Z\n", ""),
                "behind a DISCONTINUITY",
            ),
        ];
        for (first, second, fault) in table {
            let found = faults(&[first, second]);
            assert!(found.contains(fault), "{fault}: {found:?}");
        }
    }
}
