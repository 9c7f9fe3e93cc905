//! Where an object lies, in 56 bits.

use std::fmt;

const SLOT_BITS: u32 = 20;
const NUMBER_BITS: u32 = 12;
const GENERATION_BITS: u32 = 24;

/// Slots of a backing: with the default extents, 1 TiB.
pub const SLOTS_MAX: u32 = 1 << SLOT_BITS;
/// Objects of an extent.
pub const OBJECTS_MAX: usize = 1 << NUMBER_BITS;
/// A slot with this generation is used up.
pub(crate) const GENERATIONS: u32 = 1 << GENERATION_BITS;

/// Where an object lies: the slot of its extent, its number there, and the slot's generation. Two writes never give the same place.
///
/// ```text
///  bits  0..20 slot    20..32 number    32..56 generation
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place(u64);

impl Place {
    pub(crate) fn new(slot: u32, number: usize, generation: u32) -> Self {
        debug_assert!(slot < SLOTS_MAX && number < OBJECTS_MAX && generation < GENERATIONS);
        let number = (number as u64) << SLOT_BITS;
        Self(u64::from(slot) | number | u64::from(generation) << (SLOT_BITS + NUMBER_BITS))
    }

    /// Below 2^56.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// From [`bits`](Self::bits). Bits that no write gave are harmless: nothing is found there.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << (SLOT_BITS + NUMBER_BITS + GENERATION_BITS)) - 1))
    }

    /// The slot of its extent.
    #[expect(clippy::cast_possible_truncation, reason = "20 bits")]
    pub fn slot(self) -> u32 {
        (self.0 & u64::from(SLOTS_MAX - 1)) as u32
    }

    pub(crate) fn number(self) -> usize {
        (self.0 >> SLOT_BITS) as usize & (OBJECTS_MAX - 1)
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> (SLOT_BITS + NUMBER_BITS)) as u32
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({}.{} in life {})", self.slot(), self.number(), self.generation())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_of_each_field_come_back() {
        let mut seen = Vec::new();
        for slot in [0, 1, SLOTS_MAX - 1] {
            for number in [0, 1, OBJECTS_MAX - 1] {
                for generation in [0, 1, GENERATIONS - 1] {
                    let place = Place::new(slot, number, generation);
                    assert_eq!(Place::from_bits(place.bits()), place);
                    assert!(place.bits() < 1 << 56);
                    let parts = (place.slot(), place.number(), place.generation());
                    assert_eq!(parts, (slot, number, generation));
                    assert!(!seen.contains(&place));
                    seen.push(place);
                }
            }
        }
        assert_eq!(Place::from_bits(u64::MAX).bits(), (1 << 56) - 1);
    }
}
