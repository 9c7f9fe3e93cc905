//! Which object has the extent of which slot.
//!
//! A call that failed may still be under way: a server that was stopped does it when it goes on, and a write that comes late would lie over a
//! newer extent. So a name is not used again after a call on it failed: the slot moves to a fresh one, and the old name is *stale*. It is deleted
//! later, and with the store.

use std::{collections::HashMap, fmt};

/// The most stale names that are remembered. Further ones are deleted with the store.
const STALE_MAX: usize = 1 << 16;

/// An object of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// The first name of a slot.
    Slot(u32),
    /// A fresh name.
    Again(u32),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(number) => write!(f, "slot-{number}"),
            Self::Again(number) => write!(f, "again-{number}"),
        }
    }
}

/// Objects with numbers below these may exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) slots: u32,
    pub(crate) again: u32,
}

impl Counts {
    pub(crate) fn cover(self, other: Self) -> bool {
        self.slots >= other.slots && self.again >= other.again
    }

    /// All names below.
    pub(crate) fn names(self) -> impl Iterator<Item = Name> {
        (0..self.slots).map(Name::Slot).chain((0..self.again).map(Name::Again))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Slots that do not have their first name any more.
    moved: HashMap<u32, u32>,
    used: Counts,
    stale: Vec<Name>,
}

impl Names {
    pub(crate) fn of(&self, slot: u32) -> Name {
        self.moved.get(&slot).map_or(Name::Slot(slot), |&number| Name::Again(number))
    }

    /// Before a write.
    pub(crate) fn begin_write(&mut self, slot: u32) -> Name {
        self.used.slots = self.used.slots.max(slot.saturating_add(1));
        self.of(slot)
    }

    /// A call on the slot's object failed.
    pub(crate) fn move_on(&mut self, slot: u32) {
        let old = self.of(slot);
        self.moved.insert(slot, self.used.again);
        self.used.again = self.used.again.saturating_add(1);
        self.add_stale([old]);
    }

    pub(crate) fn take_stale(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.stale)
    }

    pub(crate) fn add_stale(&mut self, names: impl IntoIterator<Item = Name>) {
        let room = STALE_MAX - self.stale.len();
        self.stale.extend(names.into_iter().take(room));
    }

    pub(crate) fn used(&self) -> Counts {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_not_used_again_after_a_failure() {
        let mut names = Names::default();
        assert_eq!(names.begin_write(3).to_string(), "slot-3");
        names.move_on(3);
        assert_eq!(names.begin_write(3).to_string(), "again-0");
        names.move_on(3);
        names.move_on(0);
        assert_eq!((names.of(3), names.of(0)), (Name::Again(1), Name::Again(2)));
        assert_eq!(names.of(1), Name::Slot(1));
        assert_eq!(names.take_stale(), [Name::Slot(3), Name::Again(0), Name::Slot(0)]);
        assert_eq!(names.used(), Counts { slots: 4, again: 3 });
        assert_eq!(names.used().names().count(), 7);
    }
}
