//! What viewers see of a channel: the part of its ring that the live playlist lists, and the parts of segments
//! ahead of it.

use std::rc::Rc;

use smol_str::SmolStr;

use super::{
    Channel,
    parts::Parted,
    recorder::{Piece, Recorder},
    write_segment_name,
};
use crate::{
    config::Status,
    hls::{
        parts::Part,
        playlist::{self, Kind},
    },
    store::Record,
    units::{Now, Ticks90k, UnixMillis, UnixSecs},
};

/// A live playlist's text, made once per change.
#[derive(Debug)]
pub struct Rendered {
    of: Revision,
    /// The text.
    pub text: Rc<[u8]>,
    /// The same, packed, once somebody asked for it so.
    pub gzip: Option<Rc<[u8]>>,
    /// Its entity tag.
    pub etag: String,
    /// When it changed last.
    pub changed: UnixSecs,
}

/// Tells one state of a playlist from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Revision {
    first: u64,
    last: u64,
    gaps: usize,
    /// Parts of the segment behind the last, and whether those are all; `None`: there is no such segment.
    open_parts: Option<(usize, bool)>,
    kind: Kind,
}

impl Revision {
    fn of<'a>(window: &Window<'_, impl Iterator<Item = &'a Record> + Clone>) -> Self {
        let open_parts = window.parts.open.map(Parted::progress);
        let start = Self { first: u64::MAX, last: 0, gaps: 0, open_parts, kind: window.kind };
        window.records.clone().fold(start, |of, record| Self {
            first: of.first.min(record.sequence),
            last: record.sequence,
            gaps: of.gaps + usize::from(record.is_gap),
            ..of
        })
    }
}

/// The part of the ring that a live playlist lists.
#[derive(Clone, Debug)]
pub struct Window<'a, R> {
    /// Its segments, oldest first.
    pub records: R,
    /// How it ends.
    pub kind: Kind,
    /// TARGETDURATION, in seconds.
    pub target_duration_s: u16,
    /// Its parts.
    pub parts: ListedParts<'a>,
}

/// The parts that a live playlist lists.
#[derive(Clone, Copy, Debug)]
pub struct ListedParts<'a> {
    recorder: &'a Recorder,
    /// `None`: it lists none.
    target: Option<Ticks90k>,
    /// Parts of segments before this one are not listed any more.
    first: u64,
    open: Option<&'a Parted>,
}

impl<'a> ListedParts<'a> {
    fn new(
        recorder: &'a Recorder,
        target: Option<Ticks90k>,
        kind: Kind,
        target_duration_s: u16,
    ) -> Self {
        let plain = Self { recorder, target: None, first: u64::MAX, open: None };
        let mut newest = recorder.ring().records().rev();
        let (Some(target), Some(last), Kind::Live) = (target, newest.next(), kind) else {
            return plain;
        };
        let open = recorder.ahead();
        if open.is_none() && recorder.parted(last.sequence).is_none() {
            return plain;
        }
        // Parts stay for three target durations (draft-pantos-hls-rfc8216bis §6.2.2), and for whole segments.
        let enough = Ticks90k::from_millis(3000 * i64::from(target_duration_s));
        let (mut first, mut listed) = (last.sequence, last.duration);
        for record in newest {
            if listed >= enough {
                break;
            }
            (first, listed) = (record.sequence, listed + record.duration);
        }
        Self { recorder, target: Some(target), first, open }
    }
}

impl playlist::Parts for ListedParts<'_> {
    fn target(&self) -> Option<Ticks90k> {
        self.target
    }

    fn of(&self, record: &Record) -> &[Part] {
        let is_listed = record.sequence >= self.first && !record.is_gap;
        let parted = self.recorder.parted(record.sequence).filter(|_| is_listed);
        parted.map_or(&[], |parted| &parted.parts)
    }

    fn open(&self) -> Option<playlist::OpenSegment<'_>> {
        let Parted { start, is_discontinuity, is_complete, parts, .. } = self.open?;
        Some(playlist::OpenSegment {
            start: *start,
            is_discontinuity: *is_discontinuity,
            is_complete: *is_complete,
            parts,
        })
    }
}

/// How far a low-latency playlist is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Front {
    /// The last segment that is listed as a whole.
    pub sequence: u64,
    /// Its parts.
    pub parts: usize,
    /// Parts of the segment behind it.
    pub open_parts: usize,
    /// TARGETDURATION, in seconds.
    pub target_duration_s: u16,
}

impl Channel {
    /// The segment of this name of which only parts are listed, and how many bytes of it.
    pub fn open_segment(&self, start: UnixMillis, now: Now) -> Option<(u64, u64)> {
        let window = self.window(now)?;
        let open = window.parts.open.filter(|open| open.start == start)?;
        Some((open.sequence, open.bytes()))
    }

    /// How far the live playlist is: the last segment that it lists, and how many parts of the one behind it.
    /// `None`: it lists no parts.
    pub fn front(&self, now: Now) -> Option<Front> {
        let window = self.window(now)?;
        window.parts.target?;
        let last = window.records.last()?;
        Some(Front {
            sequence: last.sequence,
            parts: window.parts.recorder.parted(last.sequence).map_or(0, |of| of.parts.len()),
            open_parts: window.parts.open.map_or(0, |open| open.parts.len()),
            target_duration_s: window.target_duration_s,
        })
    }

    /// Whether parts or segments were listed, or the stream ended, since this was asked last. `false` where no parts are listed.
    pub fn take_news(&mut self) -> bool {
        let Some(recorder) = self.recorder().filter(|_| self.config.low_latency.is_some()) else {
            return false;
        };
        let sequence = recorder.ring().records().next_back().map_or(0, |last| last.sequence);
        let open_parts = recorder.ahead().map(Parted::progress);
        let told = (sequence, open_parts, self.seat.session().is_some());
        std::mem::replace(&mut self.told, told) != told
    }

    /// Whether `file` is the name of the live playlist.
    pub fn is_playlist(&self, file: &str) -> bool {
        self.config.playlist_name == file || self.pushed_playlist.as_deref() == Some(file)
    }

    /// The names of the live playlist: the configured one, and the one that the last push asked for.
    pub fn playlist_names(&self) -> impl Iterator<Item = &SmolStr> {
        let configured = &self.config.playlist_name;
        let pushed = self.pushed_playlist.iter().filter(move |pushed| *pushed != configured);
        [configured].into_iter().chain(pushed)
    }

    /// The segment with this name.
    pub fn segment(&self, start: UnixMillis) -> Option<&Record> {
        self.recorder()?.ring().find(start).filter(|record| !record.is_gap)
    }

    /// Where the next piece of a segment's bytes is.
    pub fn piece(&self, sequence: u64, offset: u64, bytes_max: u64) -> Piece<'_> {
        self.recorder().map_or(Piece::Gone, |recorder| recorder.piece(sequence, offset, bytes_max))
    }

    /// The window that viewers see. `None`: there is nothing to see, or the channel is withdrawn.
    pub fn window(&self, now: Now) -> Option<Window<'_, impl Iterator<Item = &Record> + Clone>> {
        let recorder = self.recorder().filter(|_| self.config.status == Status::Enabled)?;
        let target_duration_s = recorder.target_duration_s()?;
        let records = recorder.ring().records();
        let len = playlist::window_len(
            records.clone(),
            self.config.frag_count as usize,
            target_duration_s,
        );
        let records = records
            .clone()
            .skip(records.len() - len)
            .skip_while(|record| record.sequence < self.window_first);
        // A playlist that has ended does not change (RFC 8216 §4.3.3.4): what is on its way to the flash comes first.
        let is_over = self.ends_at.is_some_and(|ends_at| now.mono >= ends_at);
        let kind = if is_over && !recorder.ring().is_sealing() { Kind::Ended } else { Kind::Live };
        let parts = ListedParts::new(recorder, self.part_target(), kind, target_duration_s);
        let window = Window { records, kind, target_duration_s, parts };
        window.records.clone().next().is_some().then_some(window)
    }

    /// What has left the window by now does not come back, though a longer target would let it (RFC 8216 §6.2.2).
    pub(super) fn hold_window(&mut self, now: Now) {
        let first = self
            .window(now)
            .and_then(|mut window| window.records.next().map(|first| first.sequence));
        self.window_first = self.window_first.max(first.unwrap_or(0));
    }

    /// Takes the place of a channel whose window it goes on with.
    pub fn goes_on_from(&mut self, other: &Self) {
        self.window_first = other.window_first;
    }

    /// The live playlist as it is.
    pub fn playlist(&mut self, now: Now) -> Option<&mut Rendered> {
        if let Some(rendered) = self.render(now)? {
            self.rendered = Some(rendered);
        }
        self.rendered.as_mut()
    }

    /// The live playlist, if it is another than the one that was made last.
    fn render(&self, now: Now) -> Option<Option<Rendered>> {
        let window = self.window(now)?;
        let of = Revision::of(&window);
        if self.rendered.as_ref().is_some_and(|rendered| rendered.of == of) {
            return Some(None);
        }
        let mut text = String::with_capacity(1024);
        playlist::render(
            window.records.clone(),
            window.kind,
            window.target_duration_s,
            &window.parts,
            &mut text,
            write_segment_name,
        );
        let newest_end = window.records.last().map_or(UnixSecs(0), |record| record.end().as_secs());
        let etag = playlist::etag(&text);
        // After a restart nobody knows when the newest segment was listed; it was not before it ended.
        let changed = if self.listed_at == UnixSecs(0) { newest_end } else { self.listed_at };
        Some(Some(Rendered { of, text: text.into_bytes().into(), gzip: None, etag, changed }))
    }
}
