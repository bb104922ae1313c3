//! FLV files → the RTMP messages that an encoder would send (Adobe FLV 10.1 §E.2 to §E.4).

#![allow(dead_code, reason = "each test uses what it needs")]

/// One tag.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tag {
    pub(crate) is_video: bool,
    pub(crate) timestamp_ms: u32,
    pub(crate) body: Vec<u8>,
}

/// The audio and video tags of a file, in its order.
pub(crate) fn tags(file: &[u8]) -> Vec<Tag> {
    assert_eq!(file[..3], *b"FLV");
    let mut rest = &file[9 + 4..];
    let mut tags = Vec::new();
    while rest.len() >= 11 {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let bytes = number(&rest[1..4]) as usize;
        let timestamp_ms = number(&rest[4..7]) | u32::from(rest[7]) << 24;
        if matches!(rest[0], 8 | 9) {
            tags.push(Tag {
                is_video: rest[0] == 9,
                timestamp_ms,
                body: rest[11..11 + bytes].to_vec(),
            });
        }
        rest = &rest[11 + bytes + 4..];
    }
    tags
}

/// Rewrites AVC tags with 4-byte NAL unit lengths to have `length_bytes`, without SEI, which one byte is too short for.
pub(crate) fn with_length_bytes(tags: &[Tag], length_bytes: usize) -> Vec<Tag> {
    let rewrite = |tag: &Tag| {
        let mut tag = tag.clone();
        match (tag.is_video, tag.body[1]) {
            (true, 0) => tag.body[5 + 4] = 0xfc | (length_bytes as u8 - 1),
            (true, 1) => {
                let nals: Vec<Vec<u8>> = nals(&tag.body[5..])
                    .filter(|nal| nal[0] & 0x1f != 6)
                    .map(<[u8]>::to_vec)
                    .collect();
                tag.body.truncate(5);
                for nal in nals {
                    assert!(nal.len() < 1 << (8 * length_bytes), "{} bytes", nal.len());
                    tag.body.extend(&(nal.len() as u32).to_be_bytes()[4 - length_bytes..]);
                    tag.body.extend(nal);
                }
            }
            _ => {}
        }
        tag
    };
    tags.iter().map(rewrite).collect()
}

/// The NAL units of an access unit with 4-byte lengths.
pub(crate) fn nals(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (nal, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        bytes = rest;
        Some(nal)
    })
}
