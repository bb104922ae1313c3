//! A ring's records → its picture over time: how much was recorded when, and where it has holes.

use serde::Serialize;

use crate::{store::Record, units::UnixMillis};

/// Pieces that the time is cut into: as many as a phone has room for.
const SLOTS: usize = 96;

/// What a ring holds, over time. All slots are equally long.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Timeline {
    /// When the first slot starts.
    pub start_unix_ms: u64,
    /// How long each is.
    pub slot_ms: u64,
    /// Bytes of segments in each.
    pub slot_bytes: Vec<u64>,
    /// Time of each that segments cover, in thousandths of it: less than 1,000 is a hole.
    pub slot_covered_permille: Vec<u16>,
}

impl Timeline {
    /// From the oldest record to `until`, or to the end of the newest if that is later. `None`: there is none.
    pub fn draw<'r>(
        records: impl Iterator<Item = &'r Record> + Clone,
        until: UnixMillis,
    ) -> Option<Self> {
        let start = records.clone().next()?.start.0;
        let end = records.clone().last().map_or(start, |record| record.end().0).max(until.0);
        let slot_ms = (end - start).div_ceil(SLOTS as u64).max(1);
        let mut bytes = vec![0_u64; SLOTS];
        let mut covered_ms = vec![0_u64; SLOTS];
        for record in records.filter(|record| !record.is_gap) {
            let (mut at, end) = (record.start.0, record.end().0);
            let whole_ms = (end - at).max(1);
            while at < end {
                let slot = (at - start) / slot_ms;
                let piece_end = end.min(start + (slot + 1) * slot_ms);
                let index = usize::try_from(slot).unwrap_or(SLOTS);
                if let (Some(bytes), Some(covered_ms)) =
                    (bytes.get_mut(index), covered_ms.get_mut(index))
                {
                    *bytes += u64::from(record.bytes) * (piece_end - at) / whole_ms;
                    *covered_ms += piece_end - at;
                }
                at = piece_end;
            }
        }
        let used =
            usize::try_from((end - start).div_ceil(slot_ms)).unwrap_or(SLOTS).clamp(1, SLOTS);
        bytes.truncate(used);
        covered_ms.truncate(used);
        // The last slot goes on after the end; what it cannot hold yet is no hole.
        let last_ms = end - start - (used as u64 - 1) * slot_ms;
        let lengths = std::iter::repeat_n(slot_ms, used - 1).chain([last_ms.max(1)]);
        let permille = |(covered, ms): (u64, u64)| {
            u16::try_from((covered * 1000 / ms).min(1000)).unwrap_or(1000)
        };
        Some(Self {
            start_unix_ms: start,
            slot_ms,
            slot_bytes: bytes,
            slot_covered_permille: covered_ms.into_iter().zip(lengths).map(permille).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Ticks90k;

    fn record(start: u64, ms: i64, bytes: u32) -> Record {
        Record {
            sequence: start,
            discontinuities: 0,
            start: UnixMillis(start),
            duration: Ticks90k::from_millis(ms),
            position: 0,
            bytes,
            crc: 0,
            target_duration_s: 2,
            is_discontinuity: false,
            is_independent: true,
            is_gap: bytes == 0,
        }
    }

    #[test]
    fn every_byte_and_every_hole_has_its_place() {
        let second = |n: u64| 1_700_000_000_000 + 1000 * n;
        // 48 s, 12 s of nothing, 12 s that were lost, 24 s: 96 slots of a second.
        let records: Vec<_> = (0..24)
            .map(|n| record(second(2 * n), 2000, 2_000_000))
            .chain([record(second(60), 12_000, 0)])
            .chain((36..48).map(|n| record(second(2 * n), 2000, 2_000_000)))
            .collect();
        let timeline = Timeline::draw(records.iter(), UnixMillis(second(96))).unwrap();
        assert_eq!((timeline.start_unix_ms, timeline.slot_ms), (second(0), 1000));
        let expected: Vec<_> =
            (0..96).map(|n| if (48..72).contains(&n) { 0 } else { 1000 }).collect();
        assert_eq!(timeline.slot_covered_permille, expected);
        assert_eq!(timeline.slot_bytes.iter().sum::<u64>(), 72_000_000);
    }

    #[test]
    fn a_camera_that_is_away_leaves_a_hole_up_to_now() {
        let records = [record(1_000_000, 5000, 1_000_000)];
        let timeline = Timeline::draw(records.iter(), UnixMillis(1_010_000)).unwrap();
        let covered: u64 =
            timeline.slot_covered_permille.iter().map(|n| u64::from(*n)).sum::<u64>();
        let whole = 1000 * timeline.slot_covered_permille.len() as u64;
        assert!((45..=55).contains(&(100 * covered / whole)), "{timeline:?}");
        let bytes = timeline.slot_bytes.iter().sum::<u64>();
        assert!((999_900..=1_000_000).contains(&bytes), "{bytes}: more than rounding was lost");
    }

    #[test]
    fn short_rings_and_clocks_behind_them_are_drawn_as_well() {
        assert_eq!(Timeline::draw([].iter(), UnixMillis(5)), None);
        let records = [record(1_000_000, 40, 7)];
        let timeline = Timeline::draw(records.iter(), UnixMillis(0)).unwrap();
        assert_eq!(timeline.slot_bytes.len(), 40);
        assert!(timeline.slot_covered_permille.iter().all(|permille| *permille == 1000));
    }
}
