//! Bytes on a card under a page cache, and what the power leaves of them: written units may be lost, torn and reordered up to the
//! last sync that succeeded. And the random numbers that decide.

use std::collections::BTreeMap;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The bytes of one file.
#[derive(Clone, Default)]
pub(crate) struct Sectors {
    /// What a program reads.
    pub(crate) view: Vec<u8>,
    /// What is surely on flash.
    durable: Vec<u8>,
    /// By unit, what else may be: everything written since, in order. `true`: the next sync puts it on flash.
    versions: BTreeMap<usize, Vec<(Vec<u8>, bool)>>,
    /// What is written whole or not at all, in bytes.
    unit: usize,
}

impl Sectors {
    /// Bytes that are on flash.
    pub(crate) fn new(image: Vec<u8>, unit: usize) -> Self {
        Self { view: image.clone(), durable: image, versions: BTreeMap::new(), unit }
    }

    /// Writes, and makes the file longer where that is needed.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.view.resize(self.view.len().max(end), 0);
        self.view[at..end].copy_from_slice(bytes);
        for unit in at / self.unit..end.div_ceil(self.unit) {
            let here = unit * self.unit;
            let version = self.view[here..self.view.len().min(here + self.unit)].to_vec();
            self.versions.entry(unit).or_default().push((version, true));
        }
    }

    /// Makes the file so long.
    pub(crate) fn resize(&mut self, len: usize) {
        self.view.resize(len, 0);
        self.versions.retain(|unit, _| unit * self.unit < len);
    }

    /// Puts on flash what was written since the last sync.
    pub(crate) fn sync(&mut self) {
        let (durable, view, unit_bytes) = (&mut self.durable, &self.view, self.unit);
        durable.resize(view.len(), 0);
        self.versions.retain(|unit, versions| match versions.last() {
            Some((bytes, true)) => {
                let place = durable.iter_mut().skip(unit * unit_bytes);
                place.zip(bytes).for_each(|(place, byte)| *place = *byte);
                false
            }
            _ => true,
        });
    }

    /// A sync fails. Linux then takes what was not written for clean: a later sync does not write it.
    pub(crate) fn fail_sync(&mut self) {
        self.versions.values_mut().flatten().for_each(|(_, is_dirty)| *is_dirty = false);
    }

    /// What is on flash if the power goes: each unit is as it was, or as any write since the last sync left it.
    pub(crate) fn cut(&self, rng: &mut Rng) -> Vec<u8> {
        let mut image = Vec::new();
        self.cut_into(&mut image, rng);
        image
    }

    /// The same, into memory that is there.
    pub(crate) fn cut_into(&self, image: &mut Vec<u8>, rng: &mut Rng) {
        image.clone_from(&self.durable);
        if image.len() != self.view.len() && rng.one_in(2) {
            image.resize(self.view.len(), 0);
        }
        let mode = rng.below(6);
        let last_kept = rng.below(self.versions.len() as u64 + 1) as usize;
        for (nth, (unit, versions)) in self.versions.iter().enumerate() {
            let newest = versions.len();
            let kept = match mode {
                0 => newest,
                1 if nth < last_kept => newest,
                2 if nth >= last_kept => newest,
                3 if !rng.one_in(40) => newest,
                4 if rng.one_in(40) => newest,
                5 => rng.below(newest as u64 + 1) as usize,
                _ => 0,
            };
            if let Some((bytes, _)) = kept.checked_sub(1).and_then(|nth| versions.get(nth)) {
                let at = image.len().min(unit * self.unit);
                let end = image.len().min(at + bytes.len());
                image[at..end].copy_from_slice(&bytes[..end - at]);
            }
        }
    }

    /// The power goes, and comes back.
    pub(crate) fn lose_power(&mut self, rng: &mut Rng) {
        *self = Self::new(self.cut(rng), self.unit);
    }
}
