//! The peer of a read: the same dependent misses, written by hand.

use super::common::{Rng, fill_of, object_len};

/// The same misses by hand: entry, descriptor, directory slot, payload, each found through the one before.
pub(crate) struct Chain {
    entries: Vec<u64>,
    descriptors: Vec<[u64; 4]>,
    memory: Vec<u8>,
}

impl Chain {
    const SPAN: usize = 16 << 10;

    /// As many objects of the same sizes as a fresh pool of `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        let (mut rng, mut stored) = (Rng::new(7), 0);
        let mut chain = Self {
            entries: Vec::new(),
            descriptors: Vec::new(),
            memory: Vec::with_capacity(bytes + (bytes >> 4)),
        };
        let (mut tail, mut slots) = (Self::SPAN, 0);
        while stored < bytes - 4096 {
            let len = object_len(&mut rng);
            if tail + len + 8 * (slots + 1) > Self::SPAN {
                chain.descriptors.push([chain.memory.len() as u64, 0, 0, 0]);
                chain.memory.resize(chain.memory.len() + Self::SPAN, 0);
                (tail, slots) = (0, 0);
            }
            let span = chain.descriptors.len() - 1;
            let base = usize::try_from(chain.descriptors[span][0]).expect("fits");
            chain.memory[base + tail..base + tail + len].fill(fill_of(chain.entries.len()));
            let at = base + Self::SPAN - 8 * (slots + 1);
            chain.memory[at..at + 8].copy_from_slice(&(tail as u64).to_le_bytes());
            chain.entries.push((span as u64) << 16 | slots as u64);
            (tail, slots, stored) = (tail + len, slots + 1, stored + len);
        }
        chain
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn first_byte(&self, index: usize) -> u8 {
        let entry = usize::try_from(self.entries[index]).expect("fits");
        let base = usize::try_from(self.descriptors[entry >> 16][0]).expect("fits");
        let at = base + Self::SPAN - 8 * ((entry & 0xffff) + 1);
        let offset = u64::from_le_bytes(self.memory[at..at + 8].try_into().expect("eight bytes"));
        self.memory[base + usize::try_from(offset).expect("fits")]
    }
}
