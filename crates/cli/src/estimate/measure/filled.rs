//! What a fill stored, added up by group and by unit of the sample.

use crate::estimate::{
    measure::worker::SpoolSlot,
    read::spool::Spool,
    result::tally::{Sums, Tally},
};

/// A tally for each group of the spool.
#[derive(Debug, PartialEq)]
pub(crate) struct Filled {
    /// The pages of the group. A unit that lies in several groups counts in each.
    parts: Vec<Tally>,
    /// The units that begin in the group: sums over groups of whole sources have each unit once.
    units: Vec<Tally>,
}

impl Filled {
    pub(crate) fn new(groups: usize) -> Self {
        let tallies = vec![Tally::default(); groups];
        Self { parts: tallies.clone(), units: tallies }
    }

    /// Adds a fill, in the order of the spool.
    pub(crate) fn add(&mut self, spool: &Spool, slots: &[SpoolSlot]) {
        let (mut part, mut part_group) = (Sums::default(), 0);
        let (mut unit, mut unit_group) = (Sums::default(), 0);
        for slot in slots {
            let page = slot.source as usize;
            let (group, begins_unit) = (spool.group(page), spool.begins_unit(page));
            if begins_unit || group != part_group {
                self.parts[part_group].add_unit(&std::mem::take(&mut part));
                part_group = group;
            }
            if begins_unit {
                self.units[unit_group].add_unit(&std::mem::take(&mut unit));
                unit_group = group;
            }
            let (len, payload) = (spool.page_len(page) as u64, u64::from(slot.payload));
            part.count(slot.kept, len, payload);
            unit.count(slot.kept, len, payload);
        }
        self.parts[part_group].add_unit(&part);
        self.units[unit_group].add_unit(&unit);
    }

    /// The pages of a group.
    pub(crate) fn part(&self, group: u32) -> Tally {
        self.parts.get(group as usize).copied().unwrap_or_default()
    }

    /// The units that begin in a group.
    pub(crate) fn units(&self, group: u32) -> Tally {
        self.units.get(group as usize).copied().unwrap_or_default()
    }

    pub(crate) fn whole(&self) -> Tally {
        self.units.iter().fold(Tally::default(), |mut sum, tally| {
            sum.add(tally);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::{
        config::Unit,
        read::{sampler::Sampler, spool::Room},
        result::kept::Kept,
    };

    #[test]
    fn a_unit_in_two_groups_counts_in_each_and_once_in_the_whole() {
        for (unit, units) in [(Unit::Leaf, 3), (Unit::Page, 8)] {
            let sampler = Sampler::new(1, 1.0, unit);
            let mut spool = Spool::new(sampler, Room::Tighten { bytes: usize::MAX }, 0);
            spool.add_source("a".into()).expect("a source");
            for page_no in [1, 2, 3, 70, 71, 72, 200, 201] {
                if page_no == 71 {
                    assert_eq!(spool.begin_group().expect("a few groups"), 1);
                }
                spool.offer(0, page_no, &[1; 16]).expect("there is room");
            }
            let slot = |source| SpoolSlot { source, payload: 0, kept: Kept::SameFilled(7) };
            let slots: Vec<_> = (0..8).map(slot).collect();
            let mut filled = Filled::new(spool.groups());
            filled.add(&spool, &slots);
            assert_eq!((filled.part(0).pages(), filled.part(1).pages()), (4, 4));
            let begin = if unit == Unit::Leaf { 6 } else { 4 };
            assert_eq!((filled.units(0).pages(), filled.units(1).pages()), (begin, 8 - begin));
            assert_eq!((filled.whole().pages(), filled.whole().units()), (8, units));
            assert_eq!(filled.part(9), Tally::default());
        }
    }
}
