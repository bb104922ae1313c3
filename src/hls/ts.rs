//! Annex B and ADTS bytes → 188-byte transport packets, as they come: no access unit is ever held whole.
//!
//! Each access unit is one PES packet of unbounded length, begins with an access unit delimiter and carries a PCR.
//! Continuity counters go on over segments and sessions; a broken access unit takes them back with it.
//! PAT and PMT stand at the start of a segment only: a player joins nowhere else.
//!
//! Sources: ISO/IEC 13818-1 §2.4.3.2 (packets), §2.4.3.4 (adaptation field), §2.4.3.6 (PES), §2.7.2 (PCR), §2.14 (H.264).

use super::{SegmentSink, psi};
use crate::{
    limits::{PCR_TICKS_MAX, TIMESTAMP_STEP_MS_MAX},
    units::{TICKS_PER_SEC, Ticks90k},
};

/// Length of a transport packet, in bytes.
pub const PACKET_BYTES: usize = 188;

/// By how much PCR runs ahead of decoding times: what a decoder buffers before it starts, 0.7 s.
pub const PCR_LEAD: Ticks90k = Ticks90k(TICKS_PER_SEC * 7 / 10);

/// A hole in the clock up to here is bridged by packets with a PCR alone; a longer one is marked as a discontinuity.
const PCR_BRIDGE_TICKS_MAX: i64 = TIMESTAMP_STEP_MS_MAX * TICKS_PER_SEC / 1000;

/// NAL unit of type 9 that allows any slice type (H.264 §7.3.2.4).
const ACCESS_UNIT_DELIMITER: [u8; 6] = [0, 0, 0, 1, 9, 0xf0];

const STREAM_ID_AUDIO: u8 = 0xc0;
const STREAM_ID_VIDEO: u8 = 0xe0;

/// Packet identifier, 13 bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pid(u16);

impl Pid {
    pub(super) const PAT: Self = Self(0);
    pub(super) const PMT: Self = Self(0x1000);
    pub(super) const VIDEO: Self = Self(0x100);
    pub(super) const AUDIO: Self = Self(0x101);

    pub(super) const fn bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// An upper bound for what an access unit or audio PES packet of `bytes` takes, with all that may stand before it.
pub const fn bytes_max(bytes: u64) -> u64 {
    let headers = 8 + 19 + ACCESS_UNIT_DELIMITER.len() as u64;
    let bridge = (PCR_BRIDGE_TICKS_MAX / PCR_TICKS_MAX).unsigned_abs();
    ((bytes + headers).div_ceil(184) + 2 + bridge) * PACKET_BYTES as u64
}

/// Writes the packets of one channel.
#[derive(Clone, Debug)]
pub struct Muxer {
    state: Continuity,
    /// `state` at the sink's last mark.
    marked: Continuity,
    /// The access unit's last packet, not yet written: it may have to be stuffed.
    packet: Packet,
}

/// What goes on from segment to segment and from session to session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Continuity {
    pat: Counter,
    pmt: Counter,
    video: Counter,
    audio: Counter,
    pmt_version: u8,
    /// What the last PMT listed.
    has_audio: Option<bool>,
    clock: Clock,
}

/// The program clock that players of the channel follow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Clock {
    /// No PCR has been written.
    #[default]
    Unset,
    /// The last PCR.
    At(Ticks90k),
    /// The next PCR belongs to another session.
    Interrupted,
}

/// A `continuity_counter`, 4 bits: the next packet's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counter(u8);

impl Counter {
    const fn next(&mut self) -> u8 {
        let value = self.0;
        self.0 = (value + 1) & 0xf;
        value
    }

    /// The last packet's: what a packet without payload repeats.
    const fn last(self) -> u8 {
        self.0.wrapping_sub(1) & 0xf
    }
}

impl Muxer {
    /// Goes on where `state` ended.
    pub const fn new(mut state: Continuity) -> Self {
        if matches!(state.clock, Clock::At(_)) {
            state.clock = Clock::Interrupted;
        }
        Self { state, marked: state, packet: Packet::EMPTY }
    }

    /// What another muxer goes on with: the state at the last mark.
    pub const fn continuity(&self) -> Continuity {
        self.marked
    }

    /// Whether the last PMT listed audio; `None`: there was none.
    pub const fn lists_audio(&self) -> Option<bool> {
        self.state.has_audio
    }

    /// Writes PAT and PMT.
    pub fn tables(&mut self, has_audio: bool, sink: &mut impl SegmentSink) {
        if self.state.has_audio.is_some_and(|before| before != has_audio) {
            self.state.pmt_version = (self.state.pmt_version + 1) & 0x1f;
        }
        self.state.has_audio = Some(has_audio);
        let mut pat = psi::pat();
        let mut pmt = psi::pmt(self.state.pmt_version, has_audio);
        pat[3] |= self.state.pat.next();
        pmt[3] |= self.state.pmt.next();
        sink.write(&pat);
        sink.write(&pmt);
    }

    /// Writes PCRs alone up to what comes at `dts`, so that they are never further apart than 100 ms.
    pub fn bridge_pcr(&mut self, dts: Ticks90k, sink: &mut impl SegmentSink) {
        let pcr = dts - PCR_LEAD;
        let Clock::At(mut last) = self.state.clock else { return };
        if (pcr - last).0 > PCR_BRIDGE_TICKS_MAX {
            return;
        }
        while (pcr - last).0 > PCR_TICKS_MAX {
            last = last + Ticks90k(PCR_TICKS_MAX);
            let mut packet = Packet::start(Pid::VIDEO, self.state.video.last(), false);
            packet.put_adaptation_field(0, last);
            packet.stuff();
            packet.bytes[3] &= !Packet::HAS_PAYLOAD;
            sink.write(&packet.bytes);
        }
        self.state.clock = Clock::At(last);
    }

    /// Begins an access unit. Its NAL units follow by [`payload`](Self::payload), then [`end_access_unit`](Self::end_access_unit).
    pub fn begin_access_unit(
        &mut self,
        dts: Ticks90k,
        pts: Ticks90k,
        is_key: bool,
        sink: &mut impl SegmentSink,
    ) {
        self.bridge_pcr(dts, sink);
        let pcr = dts - PCR_LEAD;
        let is_jump = match self.state.clock {
            Clock::Unset => false,
            Clock::At(last) => !(0..=PCR_TICKS_MAX).contains(&(pcr - last).0),
            Clock::Interrupted => true,
        };
        self.state.clock = Clock::At(pcr);
        let flags = if is_jump { Packet::DISCONTINUITY } else { 0 }
            | if is_key { Packet::RANDOM_ACCESS } else { 0 };
        self.packet = Packet::start(Pid::VIDEO, self.state.video.next(), true);
        self.packet.put_adaptation_field(flags, pcr);
        self.packet.put_pes_header(STREAM_ID_VIDEO, 0, pts, Some(dts).filter(|dts| *dts != pts));
        self.packet.put(&ACCESS_UNIT_DELIMITER);
    }

    /// Adds bytes to the access unit.
    pub fn payload(&mut self, mut bytes: &[u8], sink: &mut impl SegmentSink) {
        loop {
            bytes = self.packet.put(bytes);
            if bytes.is_empty() {
                return;
            }
            sink.write(&self.packet.bytes);
            self.packet.restart(Pid::VIDEO, self.state.video.next());
        }
    }

    /// Ends the access unit.
    pub fn end_access_unit(&mut self, sink: &mut impl SegmentSink) {
        self.packet.stuff();
        sink.write(&self.packet.bytes);
    }

    /// Writes whole ADTS frames as one PES packet; it may stand between the packets of an access unit.
    pub fn audio(&mut self, pts: Ticks90k, adts: &[u8], sink: &mut impl SegmentSink) {
        let mut packet = Packet::start(Pid::AUDIO, self.state.audio.next(), true);
        // What follows the length field: flags, PTS and the frames. 0, "unbounded", is for video alone.
        let length = u16::try_from(3 + 5 + adts.len()).unwrap_or(0);
        packet.put_pes_header(STREAM_ID_AUDIO, length, pts, None);
        let mut rest = packet.put(adts);
        while !rest.is_empty() {
            sink.write(&packet.bytes);
            packet.restart(Pid::AUDIO, self.state.audio.next());
            rest = packet.put(rest);
        }
        packet.stuff();
        sink.write(&packet.bytes);
    }

    /// All that was written is whole.
    pub fn mark(&mut self, sink: &mut impl SegmentSink) {
        sink.mark();
        self.marked = self.state;
    }

    /// Takes back what was written after the last mark; see [`SegmentSink::rollback`].
    pub fn rollback(&mut self, sink: &mut impl SegmentSink) -> bool {
        self.state = self.marked;
        sink.rollback()
    }
}

/// A transport packet that is being filled.
#[derive(Clone, Debug)]
struct Packet {
    bytes: [u8; PACKET_BYTES],
    /// Where the payload starts: after the header and the adaptation field.
    payload_at: usize,
    /// Where the next byte goes.
    used: usize,
}

impl Packet {
    const EMPTY: Self = Self { bytes: [0; PACKET_BYTES], payload_at: 0, used: 0 };

    const HEADER_BYTES: usize = 4;
    const HAS_ADAPTATION_FIELD: u8 = 0x20;
    const HAS_PAYLOAD: u8 = 0x10;

    /// Flags of the adaptation field.
    const DISCONTINUITY: u8 = 0x80;
    const RANDOM_ACCESS: u8 = 0x40;
    const HAS_PCR: u8 = 0x10;

    fn start(pid: Pid, continuity_counter: u8, is_pes_start: bool) -> Self {
        let mut packet = Self::EMPTY;
        packet.restart(pid, continuity_counter);
        if is_pes_start {
            packet.bytes[1] |= 0x40;
        }
        packet
    }

    /// Empties the packet.
    const fn restart(&mut self, pid: Pid, continuity_counter: u8) {
        let [high, low] = pid.bytes();
        self.bytes[0] = 0x47;
        self.bytes[1] = high;
        self.bytes[2] = low;
        self.bytes[3] = Self::HAS_PAYLOAD | continuity_counter;
        self.payload_at = Self::HEADER_BYTES;
        self.used = Self::HEADER_BYTES;
    }

    /// Puts what fits and returns the rest.
    fn put<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (fits, rest) = bytes.split_at(bytes.len().min(PACKET_BYTES - self.used));
        if let Some(free) = self.bytes.get_mut(self.used..self.used + fits.len()) {
            free.copy_from_slice(fits);
        }
        self.used += fits.len();
        rest
    }

    /// Puts an adaptation field with a PCR.
    fn put_adaptation_field(&mut self, flags: u8, pcr: Ticks90k) {
        self.bytes[3] |= Self::HAS_ADAPTATION_FIELD;
        self.put(&[7, flags | Self::HAS_PCR]);
        // 33 bits of 90 kHz, 6 reserved bits, 9 bits of 27 MHz.
        let [_, _, field @ ..] = (pcr.on_the_wire() << 15 | 0x3f << 9).to_be_bytes();
        self.put(&field);
        self.payload_at = self.used;
    }

    /// Puts a PES header. `length` is `PES_packet_length`.
    fn put_pes_header(&mut self, stream_id: u8, length: u16, pts: Ticks90k, dts: Option<Ticks90k>) {
        const ALIGNED: u8 = 0x84;
        let [high, low] = length.to_be_bytes();
        self.put(&[0, 0, 1, stream_id, high, low, ALIGNED]);
        match dts {
            None => {
                self.put(&[0x80, 5]);
                self.put(&timestamp(0b0010, pts));
            }
            Some(dts) => {
                self.put(&[0xc0, 10]);
                self.put(&timestamp(0b0011, pts));
                self.put(&timestamp(0b0001, dts));
            }
        }
    }

    /// Fills the packet up with stuffing bytes in the adaptation field, before the payload.
    fn stuff(&mut self) {
        let missing = PACKET_BYTES - self.used;
        if missing == 0 {
            return;
        }
        self.bytes.copy_within(self.payload_at..self.used, self.payload_at + missing);
        if let Some(stuffing) = self.bytes.get_mut(self.payload_at..self.payload_at + missing) {
            stuffing.fill(0xff);
        }
        let has_field = self.bytes[3] & Self::HAS_ADAPTATION_FIELD != 0;
        self.bytes[3] |= Self::HAS_ADAPTATION_FIELD;
        self.payload_at += missing;
        self.used = PACKET_BYTES;
        if !has_field && missing > 1 {
            self.bytes[5] = 0;
        }
        // The field's length does not count itself. It is at most 183.
        self.bytes[4] = u8::try_from(self.payload_at - Self::HEADER_BYTES - 1).unwrap_or(183);
    }
}

/// PTS or DTS as a PES header has it: 33 bits in three parts, each followed by a marker bit.
fn timestamp(prefix: u64, time: Ticks90k) -> [u8; 5] {
    let t = time.on_the_wire();
    let parts = (t >> 30) << 33 | (t >> 15 & 0x7fff) << 17 | (t & 0x7fff) << 1;
    let [_, _, _, bytes @ ..] = (prefix << 36 | parts | 1 << 32 | 1 << 16 | 1).to_be_bytes();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hls::{SegmentEnd, SegmentStart};

    /// Takes packets, and rolls back to its mark.
    #[derive(Default)]
    struct Packets {
        bytes: Vec<u8>,
        marked: usize,
    }

    impl SegmentSink for Packets {
        fn open(&mut self, _: SegmentStart) {}
        fn write(&mut self, packets: &[u8]) {
            assert_eq!(packets.len() % PACKET_BYTES, 0);
            self.bytes.extend_from_slice(packets);
        }
        fn mark(&mut self) {
            self.marked = self.bytes.len();
        }
        fn rollback(&mut self) -> bool {
            self.bytes.truncate(self.marked);
            true
        }
        fn room(&self) -> u64 {
            u64::MAX
        }
        fn part(&mut self, _: crate::hls::PartEnd) {}
        fn seal(&mut self, _: SegmentEnd) {}
    }

    impl Packets {
        fn iter(&self) -> impl Iterator<Item = &[u8]> {
            self.bytes.chunks(PACKET_BYTES)
        }
    }

    fn unit(muxer: &mut Muxer, sink: &mut Packets, dts: i64, bytes: &[u8]) {
        muxer.begin_access_unit(Ticks90k(dts), Ticks90k(dts), false, sink);
        muxer.payload(bytes, sink);
        muxer.end_access_unit(sink);
    }

    /// What follows header and adaptation field.
    fn payload(packet: &[u8]) -> &[u8] {
        match packet[3] & 0x30 {
            0x10 => &packet[4..],
            0x30 => &packet[5 + usize::from(packet[4])..],
            _ => &[],
        }
    }

    #[test]
    fn every_length_is_stuffed_to_whole_packets_that_hold_just_its_bytes() {
        for bytes in 1..600 {
            let es: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
            let (mut muxer, mut sink) = (Muxer::new(Continuity::default()), Packets::default());
            unit(&mut muxer, &mut sink, 900_000, &es);
            let video: Vec<u8> = sink.iter().flat_map(payload).copied().collect();
            assert_eq!(video[20..], es, "after 14 bytes of header and the delimiter");

            let mut sink = Packets::default();
            muxer.audio(Ticks90k(900_000), &es, &mut sink);
            let audio: Vec<u8> = sink.iter().flat_map(payload).copied().collect();
            assert_eq!(audio[14..], es);
            assert_eq!(usize::from(audio[4]) << 8 | usize::from(audio[5]), 8 + es.len());
            assert!(sink.bytes.len() as u64 <= bytes_max(es.len() as u64));
        }
    }

    #[test]
    fn a_key_frame_begins_with_flags_clock_times_and_delimiter() {
        let (mut muxer, mut sink) = (Muxer::new(Continuity::default()), Packets::default());
        muxer.begin_access_unit(Ticks90k(63_000), Ticks90k((1 << 33) + 1), true, &mut sink);
        muxer.payload(&[0, 0, 0, 1, 0x65], &mut sink);
        muxer.end_access_unit(&mut sink);
        let packet = &sink.bytes[..];
        assert_eq!(packet.len(), PACKET_BYTES);
        assert_eq!(packet[..6], [0x47, 0x41, 0, 0x30, 153, 0x50]);
        assert_eq!(packet[6..12], [0, 0, 0, 0, 0x7e, 0], "a PCR of 0 with its reserved bits");
        assert!(packet[12..158].iter().all(|byte| *byte == 0xff));
        assert_eq!(packet[158..167], [0, 0, 1, 0xe0, 0, 0, 0x84, 0xc0, 10]);
        assert_eq!(packet[167..172], [0x31, 0, 1, 0, 3], "PTS, folded at 33 bits");
        assert_eq!(packet[172..177], [0x11, 0, 3, 0xec, 0x31]);
        assert_eq!(packet[177..], [0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x65]);
    }

    #[test]
    fn counters_go_on_and_a_rollback_takes_them_back() {
        let (mut muxer, mut sink) = (Muxer::new(Continuity::default()), Packets::default());
        for n in 0..40 {
            muxer.tables(n % 3 == 0, &mut sink);
            unit(&mut muxer, &mut sink, n * 3600, &[7; 1000]);
            muxer.mark(&mut sink);
            unit(&mut muxer, &mut sink, n * 3600 + 1, &[8; 777]);
            muxer.audio(Ticks90k(n), &[9; 500], &mut sink);
            assert!(muxer.rollback(&mut sink));
            muxer.audio(Ticks90k(n), &[9; 300], &mut sink);
            let carried = Muxer::new(muxer.continuity());
            muxer.mark(&mut sink);
            assert_eq!(carried.state.video, muxer.state.video);
        }
        let mut last = std::collections::BTreeMap::new();
        for packet in sink.iter() {
            let (pid, counter) = (&packet[1..3], packet[3] & 0xf);
            let pid = u16::from_be_bytes([pid[0] & 0x1f, pid[1]]);
            if let Some(before) = last.insert(pid, counter) {
                assert_eq!(counter, (before + 1) & 0xf, "PID {pid}");
            }
        }
        assert_eq!(last.keys().copied().collect::<Vec<_>>(), [0, 0x100, 0x101, 0x1000]);
    }

    #[test]
    fn the_pmt_has_a_version_for_each_change() {
        let (mut muxer, mut sink) = (Muxer::new(Continuity::default()), Packets::default());
        for has_audio in [true, true, false, true, true] {
            muxer.tables(has_audio, &mut sink);
        }
        let versions: Vec<u8> =
            sink.iter().skip(1).step_by(2).map(|pmt| pmt[10] >> 1 & 0x1f).collect();
        assert_eq!(versions, [0, 0, 1, 2, 2]);
    }

    #[test]
    fn slow_cameras_get_clock_packets_in_between() {
        let (mut muxer, mut sink) = (Muxer::new(Continuity::default()), Packets::default());
        for n in 1..5 {
            unit(&mut muxer, &mut sink, n * 90_000, &[7; 9]);
        }
        assert_eq!(sink.iter().count(), 4 + 3 * 9);
        let pcr =
            |packet: &[u8]| i64::from(u32::from_be_bytes(packet[6..10].try_into().unwrap())) * 2;
        let pcrs: Vec<i64> = sink.iter().map(pcr).collect();
        assert!(pcrs.windows(2).all(|pair| pair[1] - pair[0] == 9_000), "{pcrs:?}");
        let clocks: Vec<&[u8]> = sink.iter().filter(|packet| packet[3] & 0x30 == 0x20).collect();
        assert_eq!(clocks.len(), 27);
        assert!(clocks.iter().all(|packet| packet[4] == 183 && packet[5] == 0x10));
    }

    #[test]
    fn another_session_has_another_clock() {
        let (mut muxer, mut sink) = (Muxer::new(Continuity::default()), Packets::default());
        unit(&mut muxer, &mut sink, 900_000, &[7; 9]);
        muxer.mark(&mut sink);
        unit(&mut Muxer::new(muxer.continuity()), &mut sink, 1_200_000, &[7; 9]);
        let is_marked: Vec<bool> =
            sink.iter().map(|packet| packet[5] & Packet::DISCONTINUITY != 0).collect();
        assert_eq!(is_marked, [false, true]);
    }

    #[test]
    fn a_jump_of_the_clock_is_marked_and_not_bridged() {
        for (jump, packets, is_marked) in [(450_000, 50, false), (450_001, 1, true), (-1, 1, true)]
        {
            let (mut muxer, mut sink) = (Muxer::new(Continuity::default()), Packets::default());
            unit(&mut muxer, &mut sink, 900_000, &[7; 9]);
            sink.bytes.clear();
            unit(&mut muxer, &mut sink, 900_000 + jump, &[7; 9]);
            assert_eq!(sink.iter().count(), packets, "{jump}");
            assert_eq!(sink.iter().any(|packet| packet[5] & Packet::DISCONTINUITY != 0), is_marked);
            assert!(sink.bytes.len() as u64 <= bytes_max(9));
        }
    }
}
