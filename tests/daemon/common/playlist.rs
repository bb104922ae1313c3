//! Text → a media playlist, refusing whatever this daemon has no reason to write (RFC 8216 §4).

/// A media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Playlist {
    /// EXT-X-VERSION.
    pub(crate) version: u32,
    /// EXT-X-TARGETDURATION, in seconds.
    pub(crate) target_duration_s: u32,
    /// EXT-X-MEDIA-SEQUENCE.
    pub(crate) media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub(crate) discontinuity_sequence: Option<u64>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub(crate) is_independent: bool,
    /// EXT-X-PLAYLIST-TYPE.
    pub(crate) playlist_type: Option<String>,
    /// EXT-X-ENDLIST.
    pub(crate) is_ended: bool,
    /// The segments, oldest first.
    pub(crate) segments: Vec<Segment>,
}

/// An entry of a media playlist.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Segment {
    /// Address as it stands there.
    pub(crate) uri: String,
    /// EXTINF, in milliseconds.
    pub(crate) duration_ms: u64,
    /// A discontinuity stands before it.
    pub(crate) is_discontinuity: bool,
    /// EXT-X-PROGRAM-DATE-TIME, in milliseconds since 1970.
    pub(crate) start_ms: Option<u64>,
    /// EXT-X-GAP.
    pub(crate) is_gap: bool,
}

impl Playlist {
    /// Reads `text`. The error says which line is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\r') || !text.ends_with('\n') {
            return Err("lines must end with LF, the last one too".to_owned());
        }
        let mut lines = text.lines();
        if lines.next() != Some("#EXTM3U") {
            return Err("the first line must be #EXTM3U".to_owned());
        }
        let mut playlist = Self::default();
        let mut segment = Segment::default();
        for line in lines {
            let read = if line.starts_with('#') {
                playlist.read_tag(line, &mut segment)
            } else if line.is_empty() || segment.duration_ms == 0 || playlist.is_ended {
                None
            } else {
                line.clone_into(&mut segment.uri);
                playlist.segments.push(std::mem::take(&mut segment));
                Some(())
            };
            read.ok_or_else(|| format!("unexpected line: {line:?} in\n{text}"))?;
        }
        if segment != Segment::default() || playlist.target_duration_s == 0 {
            return Err(format!("something is missing in\n{text}"));
        }
        Ok(playlist)
    }

    fn read_tag(&mut self, line: &str, segment: &mut Segment) -> Option<()> {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-VERSION" => self.version = value.parse().ok()?,
            "#EXT-X-TARGETDURATION" => self.target_duration_s = value.parse().ok()?,
            "#EXT-X-MEDIA-SEQUENCE" => self.media_sequence = value.parse().ok()?,
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.discontinuity_sequence = Some(value.parse().ok()?)
            }
            "#EXT-X-INDEPENDENT-SEGMENTS" => self.is_independent = true,
            "#EXT-X-PLAYLIST-TYPE" => self.playlist_type = Some(value.to_owned()),
            "#EXT-X-ENDLIST" => self.is_ended = true,
            "#EXT-X-DISCONTINUITY" => segment.is_discontinuity = true,
            "#EXT-X-PROGRAM-DATE-TIME" => segment.start_ms = Some(unix_ms(value)?),
            "#EXT-X-GAP" => segment.is_gap = true,
            "#EXTINF" => segment.duration_ms = millis(value.strip_suffix(',')?)?,
            _ => return None,
        }
        Some(())
    }

    /// The segments with their media sequence numbers.
    pub(crate) fn numbered(&self) -> impl DoubleEndedIterator<Item = (u64, &Segment)> {
        self.segments
            .iter()
            .enumerate()
            .map(|(n, segment)| (self.media_sequence + n as u64, segment))
    }

    /// How long it is, in milliseconds.
    pub(crate) fn duration_ms(&self) -> u64 {
        self.segments.iter().map(|segment| segment.duration_ms).sum()
    }
}

/// `5.040` → 5040.
fn millis(text: &str) -> Option<u64> {
    let (secs, millis) = text.split_once('.')?;
    (millis.len() == 3).then_some(())?;
    Some(secs.parse::<u64>().ok()? * 1000 + millis.parse::<u64>().ok()?)
}

/// `2027-01-15T08:00:35.000Z` → milliseconds since 1970. Milliseconds and zone must be there.
fn unix_ms(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<u64>().ok()?, time.next()?.parse::<u64>().ok()?);
    // Days since 0000-03-01, by years that begin in March so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((((days - 719_468) * 24 + hour) * 60 + minute) * 60_000 + millis(time.next()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_of_day() {
        assert_eq!(unix_ms("1970-01-01T00:00:00.000Z"), Some(0));
        assert_eq!(unix_ms("2027-01-15T08:00:35.040Z"), Some(1_800_000_035_040));
        assert_eq!(unix_ms("2024-02-29T12:00:00.000Z"), Some(1_709_208_000_000));
        assert_eq!(unix_ms("2024-02-29T12:00:00Z"), None, "no milliseconds");
        assert_eq!(unix_ms("2024-02-29T12:00:00.000"), None, "no zone");
    }

    #[test]
    fn refuses_what_has_no_place() {
        let good = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:4.000,\na.ts\n";
        assert!(Playlist::parse(good).is_ok());
        let bad = [
            ("#EXTM3U", "\u{feff}#EXTM3U"),
            ("5\n", "5\r\n"),
            ("a.ts\n", "a.ts"),
            ("a.ts\n", "a.ts\n\n"),
            ("a.ts\n", "a.ts\nb.ts\n"),
            ("a.ts\n", "a.ts\n#EXT-X-DISCONTINUITY\n"),
            ("a.ts\n", ""),
            ("4.000,", "4,"),
            ("#EXTINF", "#EXT-X-ALLOW-CACHE:NO\n#EXTINF"),
            ("#EXTINF", "#EXT-X-ENDLIST\n#EXTINF"),
        ];
        for (from, to) in bad {
            assert!(Playlist::parse(&good.replace(from, to)).is_err(), "{from:?} → {to:?}");
        }
    }
}
