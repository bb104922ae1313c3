//! FLV file → its tags; and the demo's clip as an endless run of them.
//!
//! A tag's body is what RTMP carries as a message, so nothing in it is looked at. Encrypted tags are not read.
//! Source: Adobe Flash Video File Format Specification 10.1, Annex E.2 to E.4.1.

/// The built-in clip: 8 s of test picture and tone whose end meets its beginning. `clip.sh` beside it tells how it is made.
pub const CLIP: &[u8] = include_bytes!("clip.flv");

/// How long [`CLIP`] lasts, in milliseconds.
pub const CLIP_DURATION_MS: u32 = 8000;

/// The media of [`CLIP`], over and over, timestamps growing all the way (modulo 2^32, as RTMP's do).
///
/// The parameter sets come again with each round, as from many an encoder.
pub fn clip_for_ever() -> impl Iterator<Item = Tag<'static>> {
    let rounds = (0..).map(|round: u32| round.wrapping_mul(CLIP_DURATION_MS));
    rounds.flat_map(|start_ms| {
        let media = Tags::new(CLIP)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|tag| tag.kind != TagKind::Script);
        media.map(move |tag| Tag { timestamp_ms: tag.timestamp_ms.wrapping_add(start_ms), ..tag })
    })
}

/// One tag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tag<'a> {
    /// What its body is.
    pub kind: TagKind,
    /// Decoding time in milliseconds.
    pub timestamp_ms: u32,
    /// The body: of a media tag, all that an RTMP message of that type carries.
    pub body: &'a [u8],
}

/// What the body of a tag is (Annex E.4.1, TagType; the numbers are RTMP's message types as well).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TagKind {
    /// 8.
    Audio,
    /// 9.
    Video,
    /// 18: `onMetaData`.
    Script,
}

/// The tags of an FLV file, first to last. Behind an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Tags<'a> {
    /// What is not read yet; `None` once it is over.
    rest: Option<&'a [u8]>,
}

/// Why a file cannot be read, or no further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FlvError {
    /// It does not begin with an FLV header.
    #[error("not an FLV file")]
    NoHeader,
    /// It ends inside a tag.
    #[error("the file ends inside a tag: {missing_bytes} bytes are missing")]
    Truncated {
        /// What should still come.
        missing_bytes: usize,
    },
    /// A tag of a type that the specification does not have, or an encrypted one.
    #[error("tag type {0} is not known")]
    UnknownTag(u8),
}

/// What stands before a tag's body: the size of the tag before it, then its own type, size, time and stream.
const TAG_HEAD_BYTES: usize = 4 + 11;

impl<'a> Tags<'a> {
    /// Begins with the first tag of `file`.
    pub fn new(file: &'a [u8]) -> Result<Self, FlvError> {
        match file.split_first_chunk() {
            Some(([b'F', b'L', b'V', 1, _, 0, 0, 0, 9], tags)) => Ok(Self { rest: Some(tags) }),
            _ => Err(FlvError::NoHeader),
        }
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Result<Tag<'a>, FlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if rest.len() == 4 {
            return None; // behind the last tag stands its size alone
        }
        Some(read_tag(rest).map(|(tag, rest)| {
            self.rest = Some(rest);
            tag
        }))
    }
}

fn read_tag(bytes: &[u8]) -> Result<(Tag<'_>, &[u8]), FlvError> {
    let Some((head, rest)) = bytes.split_first_chunk::<TAG_HEAD_BYTES>() else {
        return Err(FlvError::Truncated { missing_bytes: TAG_HEAD_BYTES - bytes.len() });
    };
    // The eight high bits of the time come last.
    let &[_, _, _, _, kind, s2, s1, s0, t2, t1, t0, t3, _, _, _] = head;
    let kind = match kind {
        8 => TagKind::Audio,
        9 => TagKind::Video,
        18 => TagKind::Script,
        other => return Err(FlvError::UnknownTag(other)),
    };
    let body_bytes = u32::from_be_bytes([0, s2, s1, s0]) as usize;
    let Some((body, rest)) = rest.split_at_checked(body_bytes) else {
        return Err(FlvError::Truncated { missing_bytes: body_bytes - rest.len() });
    };
    Ok((Tag { kind, timestamp_ms: u32::from_be_bytes([t3, t2, t1, t0]), body }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> Vec<Tag<'static>> {
        Tags::new(CLIP).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn the_clip_lasts_as_long_as_it_says_on_both_tracks() {
        let last = |kind| clip().into_iter().rfind(|tag| tag.kind == kind).unwrap().timestamp_ms;
        assert_eq!(last(TagKind::Video), CLIP_DURATION_MS - 40, "25 pictures a second");
        assert_eq!(
            last(TagKind::Audio),
            CLIP_DURATION_MS - 21,
            "1024 samples of 48 kHz, in whole milliseconds"
        );
    }

    #[test]
    fn the_clip_is_aac_and_h264_with_a_key_frame_each_second() {
        let frames: Vec<_> = clip().into_iter().filter(|tag| tag.body.get(1) == Some(&1)).collect();
        let keys: Vec<_> =
            frames.iter().filter(|tag| tag.body[0] == 0x17).map(|tag| tag.timestamp_ms).collect();
        assert_eq!(keys, [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000]);
        let count = |kind| frames.iter().filter(|tag| tag.kind == kind).count();
        assert_eq!((count(TagKind::Video), count(TagKind::Audio)), (200, 375));
        assert!(frames.iter().all(|tag| matches!(tag.body[0], 0x17 | 0x27 | 0xAF)));
    }

    #[test]
    fn both_configurations_come_once_and_before_the_media() {
        let media = || clip().into_iter().filter(|tag| tag.kind != TagKind::Script);
        let configs: Vec<_> = media().filter(|tag| tag.body[1] == 0).collect();
        let kinds: Vec<_> = configs.iter().map(|tag| (tag.kind, tag.timestamp_ms)).collect();
        assert_eq!(kinds, [(TagKind::Video, 0), (TagKind::Audio, 0)]);
        // AAC LC, 48 kHz, one channel (ISO/IEC 14496-3 §1.6.2.1).
        assert_eq!(configs[1].body[2..4], [0x11, 0x88]);
        assert_eq!(media().position(|tag| tag.body[1] == 1), Some(2));
    }

    #[test]
    fn the_loop_goes_on_where_the_clip_ends_and_never_back() {
        let times: Vec<_> = clip_for_ever()
            .filter(|tag| tag.kind == TagKind::Video && tag.body[1] == 1)
            .map(|tag| tag.timestamp_ms)
            .take(1000)
            .collect();
        assert_eq!(times, (0..1000).map(|n| n * 40).collect::<Vec<_>>());
        assert!(clip_for_ever().take(5000).all(|tag| tag.kind != TagKind::Script));
        assert!(clip_for_ever().take(5000).map(|tag| tag.timestamp_ms).is_sorted());
    }

    #[test]
    fn a_file_that_is_cut_anywhere_ends_with_an_error_or_at_a_tag() {
        let file = &CLIP[..3000];
        for end in 0..file.len() {
            let Ok(tags) = Tags::new(&file[..end]) else {
                assert!(end < 9);
                continue;
            };
            let tags: Vec<_> = tags.collect();
            let whole: usize =
                9 + tags.iter().flatten().map(|tag| TAG_HEAD_BYTES + tag.body.len()).sum::<usize>();
            assert_eq!(tags.last().is_some_and(Result::is_err), end != whole + 4, "cut at {end}");
        }
    }

    #[test]
    fn what_is_not_flv_is_refused() {
        assert_eq!(Tags::new(b"RIFF").err(), Some(FlvError::NoHeader));
        assert_eq!(Tags::new(b"FLV\x01\x05\0\0\0\x0a\0\0\0\0").err(), Some(FlvError::NoHeader));
        let odd = b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x2f\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(Tags::new(odd).unwrap().collect::<Vec<_>>(), [Err(FlvError::UnknownTag(0x2f))]);
    }

    #[test]
    fn the_high_bits_of_a_time_come_last() {
        let file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x08\0\0\x01\x02\x03\x04\x01\0\0\0\xAA\0\0\0\x0c";
        let tag = Tag { kind: TagKind::Audio, timestamp_ms: 0x0102_0304, body: &[0xAA] };
        assert_eq!(Tags::new(file).unwrap().collect::<Vec<_>>(), [Ok(tag)]);
    }
}
