//! What a camera's settings make of the stream, and what to change there.

use crate::{
    hls::{Gop, parts::Cadence},
    limits::PARTS_PER_SEGMENT_MAX,
};

/// What to change at the camera where its key frames make segments longer than they were asked to be.
pub(super) fn gop(measured: Gop, frag_duration_s: u32) -> Option<String> {
    let (gop_ms, asked_ms) = (measured.longest.as_millis(), 1000 * i64::from(frag_duration_s));
    // A twentieth too early is what clocks and frame times make of a whole number.
    let gops = (asked_ms - asked_ms / 20 + gop_ms - 1).checked_div(gop_ms)?;
    let segment_ms = gops * gop_ms;
    (segment_ms * 100 > asked_ms * 110).then(|| {
        format!(
            "Key frames come every {} s, so segments last {} s instead of {frag_duration_s}: set the camera's key frame \
             interval (GOP) to 1 s.",
            seconds(gop_ms),
            seconds(segment_ms),
        )
    })
}

/// What to change at the camera so that its segments can be listed in parts.
pub(super) fn low_latency(cadence: Cadence) -> Option<String> {
    let why = match cadence {
        Cadence::Unknown | Cadence::Steady => return None,
        Cadence::Uneven => String::from(
            "key frames come at uneven distances: set the camera's key frame interval (GOP) to a fixed 1 s, without scene \
             detection or a smart codec.",
        ),
        Cadence::Sparse => String::from(
            "two pictures last longer than a part: raise the camera's frame rate, or low_latency.part.",
        ),
        Cadence::Long => format!(
            "a segment would have more than {PARTS_PER_SEGMENT_MAX} parts: set the camera's key frame interval (GOP) to 1 s, \
             or raise low_latency.part.",
        ),
    };
    Some(format!("Served without low latency, because {why}"))
}

/// Milliseconds as seconds with at most one decimal.
fn seconds(ms: i64) -> String {
    let tenths = (ms + 50) / 100;
    match tenths % 10 {
        0 => format!("{}", tenths / 10),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ticks90k;

    #[test]
    fn a_stream_that_is_served_in_parts_or_measured_gets_no_hint_and_every_other_says_what_to_set()
    {
        assert_eq!(low_latency(Cadence::Unknown), None);
        assert_eq!(low_latency(Cadence::Steady), None);
        for cadence in [Cadence::Uneven, Cadence::Sparse, Cadence::Long] {
            let hint = low_latency(cadence).unwrap();
            assert!(hint.contains("the camera's") && hint.ends_with('.'), "{hint}");
        }
    }

    #[test]
    fn the_hint_names_the_segments_that_the_key_frames_make() {
        let table = [
            (1000, 5, None),
            (2000, 5, Some("last 6 s instead of 5")),
            (2500, 5, None),
            (4000, 1, Some("every 4 s, so segments last 4 s instead of 1")),
            (1001, 5, None),
            (5005, 5, None),
            (8330, 2, Some("every 8.3 s, so segments last 8.3 s")),
            (40, 1, None),
        ];
        for (gop_ms, frag_duration_s, expected) in table {
            let longest = Ticks90k::from_millis(gop_ms);
            let hint = gop(Gop { shortest: longest, longest }, frag_duration_s);
            match expected {
                None => assert_eq!(hint, None, "{gop_ms} {frag_duration_s}"),
                Some(part) => assert!(hint.as_deref().unwrap_or("").contains(part), "{hint:?}"),
            }
        }
        let zero = Gop { shortest: Ticks90k(0), longest: Ticks90k(0) };
        assert_eq!(gop(zero, 1), None);
    }
}
