//! A range of a channel's past → a VOD playlist (OSS: GetVodPlaylist, PostVodPlaylist).
//!
//! It lists what the ring still holds of the range, so it becomes shorter as the ring moves on; nothing is copied.

use std::cell::Cell;

use crate::{
    channel::{Channel, write_segment_name},
    hls::playlist::{self, Kind},
    http::error::OssError,
    limits::PLAYLIST_BYTES_MAX,
    store::Record,
    units::{UnixMillis, UnixSecs},
};

/// The segments of a range, in the order of a playlist.
#[derive(Clone, Debug)]
pub struct Recorded<R> {
    records: R,
    target_duration_s: u16,
}

/// The segments of `channel` that start from `first` to `last`, and can still be read. `None`: there are none.
pub fn recorded(
    channel: &Channel,
    first: UnixSecs,
    last: UnixSecs,
) -> Option<Recorded<impl Iterator<Item = &Record> + Clone>> {
    let ms = |secs: UnixSecs| UnixMillis(secs.0.saturating_mul(1000));
    let records = channel.recorder()?.ring().between(ms(first), ms(last));
    let records = records.filter(|record| !record.is_gap);
    let longest = records.clone().map(|record| record.duration.as_secs_rounded()).max()?;
    Some(Recorded { records, target_duration_s: u16::try_from(longest.max(1)).unwrap_or(u16::MAX) })
}

impl<'a, R: Iterator<Item = &'a Record> + Clone> Recorded<R> {
    /// The playlist's text. `address` writes the address of a segment.
    pub fn text(
        &self,
        mut address: impl FnMut(UnixMillis, &mut String),
    ) -> Result<String, OssError> {
        let mut text = String::with_capacity(4096);
        let is_too_long = Cell::new(false);
        let records = self.records.clone().take_while(|_| !is_too_long.get());
        let address = |start, out: &mut String| {
            address(start, out);
            is_too_long.set(out.len() > PLAYLIST_BYTES_MAX);
        };
        playlist::render(records, Kind::Vod, self.target_duration_s, &(), &mut text, address);
        if text.len() > PLAYLIST_BYTES_MAX {
            let message = "The playlist of this range is larger than 1 MB: ask for a shorter one.";
            return Err(OssError::new(400, "InvalidRequest", message));
        }
        Ok(text)
    }

    /// The text as an object that holds it would have it, with bare names; and its entity tag.
    pub fn object(&self) -> Result<(String, String), OssError> {
        let text = self.text(write_segment_name)?;
        let etag = playlist::etag(&text);
        Ok((text, etag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ticks90k;

    #[test]
    fn a_playlist_that_is_too_long_is_refused_before_it_has_been_made() {
        let record = Record {
            sequence: 1,
            discontinuities: 0,
            start: UnixMillis(1),
            duration: Ticks90k(90_000),
            position: 0,
            bytes: 1,
            crc: 0,
            target_duration_s: 1,
            is_discontinuity: false,
            is_independent: true,
            is_gap: false,
        };
        let records = vec![record; 4000];
        let recorded = Recorded { records: records.iter(), target_duration_s: 1 };
        let mut longest = 0;
        let refused = recorded.text(|_, out| {
            out.push_str(&"x".repeat(1000));
            longest = longest.max(out.len());
        });
        assert_eq!(refused.unwrap_err().status, 400);
        assert!(longest < PLAYLIST_BYTES_MAX + 2000, "{longest}");
    }
}
