//! Text → a media playlist, refusing whatever this daemon has no reason to write (RFC 8216 §4; of low latency
//! draft-pantos-hls-rfc8216bis §4.4.3.7, §4.4.3.8, §4.4.4.9, §4.4.5.3).

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
    /// What it lists beside its segments; `None`: it is a plain one.
    pub(crate) low_latency: Option<LowLatency>,
}

/// What a low-latency playlist lists beside its segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LowLatency {
    /// PART-TARGET, in milliseconds.
    pub(crate) part_target_ms: u64,
    /// PART-HOLD-BACK, in milliseconds.
    pub(crate) hold_back_ms: u64,
    /// Oldest first; those of the segment behind the last one at the end.
    pub(crate) parts: Vec<Part>,
    /// Address and first byte of the part that is to come.
    pub(crate) hint: Option<(String, u64)>,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// Media sequence number of its segment.
    pub(crate) sequence: u64,
    /// Its segment's address as it stands there.
    pub(crate) uri: String,
    /// Its first byte in it.
    pub(crate) first: u64,
    /// How many bytes it has.
    pub(crate) bytes: u64,
    /// DURATION, in milliseconds.
    pub(crate) duration_ms: u64,
    /// INDEPENDENT=YES.
    pub(crate) is_independent: bool,
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
        // Behind the last segment may stand what is known of the next one, if there are parts of it.
        let end = playlist.media_sequence + playlist.segments.len() as u64;
        let is_open = playlist.low_latency.as_ref().is_some_and(|low| {
            low.hint.is_some() || low.parts.last().is_some_and(|part| part.sequence == end)
        });
        let is_rest = segment != Segment::default() && (!is_open || segment.duration_ms > 0);
        if is_rest || playlist.target_duration_s == 0 {
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
            "#EXT-X-SERVER-CONTROL" => {
                let hold_back = value.strip_prefix("CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=")?;
                let low = LowLatency { hold_back_ms: millis(hold_back)?, ..LowLatency::default() };
                self.low_latency = Some(low);
            }
            "#EXT-X-PART-INF" => {
                let target = millis(value.strip_prefix("PART-TARGET=")?)?;
                self.low_latency.as_mut()?.part_target_ms = target;
            }
            "#EXT-X-PART" => {
                let sequence = self.media_sequence + self.segments.len() as u64;
                self.low_latency.as_mut()?.parts.push(Part::parse(value, sequence)?);
            }
            "#EXT-X-PRELOAD-HINT" => {
                let (uri, first) =
                    value.strip_prefix("TYPE=PART,URI=\"")?.split_once("\",BYTERANGE-START=")?;
                self.low_latency.as_mut()?.hint = Some((uri.to_owned(), first.parse().ok()?));
            }
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

impl Part {
    fn parse(attributes: &str, sequence: u64) -> Option<Self> {
        let (duration, rest) = attributes.strip_prefix("DURATION=")?.split_once(",URI=\"")?;
        let (uri, rest) = rest.split_once("\",BYTERANGE=\"")?;
        let (range, rest) = rest.split_once('"')?;
        let (bytes, first) = range.split_once('@')?;
        let is_independent = match rest {
            "" => false,
            ",INDEPENDENT=YES" => true,
            _ => return None,
        };
        Some(Self {
            sequence,
            uri: uri.to_owned(),
            first: first.parse().ok()?,
            bytes: bytes.parse().ok()?,
            duration_ms: millis(duration)?,
            is_independent,
        })
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
