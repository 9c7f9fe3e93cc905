//! The word of a page: its state, and what goes with it.
//!
//! ```text
//!  63        32 31     16 15 13 12 11 10  9  8     7     6      5      4     3   0
//! +------------+---------+-----+-----+-----+-----+------+-----+------+------+-----+
//! | tick       | pins    |     | hint| hot |     |COPIED|     |STALE |WAITED|state|
//! +------------+---------+-----+-----+-----+-----+------+-----+------+------+-----+
//! ```
//! *tick*: of a compressed page, when it was dropped; of a page in limbo, which isolation it belongs to.

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Never touched: zeros, nowhere.
    Untouched,
    /// In memory; its content is nowhere else.
    Resident,
    /// In memory, chosen to go; a write, or any touch in a backing that unmaps it, brings it back.
    Limbo,
    /// In memory, and its content in the store too. A write is a fault.
    Clean,
    /// In the store, and perhaps in its backing.
    Compressed,
    /// A thread is changing it; others wait.
    Busy,
}

/// What the program said about the next faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Nothing.
    Normal,
    /// Neighbours follow.
    Sequential,
    /// They do not.
    Random,
}

const STATE: u64 = 0xf;
const WAITED: u64 = 1 << 4;
const STALE: u64 = 1 << 5;
const COPIED: u64 = 1 << 7;
const HOT_SHIFT: u32 = 9;
const HOT: u64 = 3 << HOT_SHIFT;
const HINT_SHIFT: u32 = 11;
const HINT: u64 = 3 << HINT_SHIFT;
const PIN_SHIFT: u32 = 16;
const PINS: u64 = 0xffff << PIN_SHIFT;
const TICK_SHIFT: u32 = 32;

/// Passes of the hand that a page may survive.
pub(crate) const HOT_MAX: u64 = 3;
/// Pins of a page at one time.
pub(crate) const PINS_MAX: u64 = 0xffff;

/// A page's word; the default is an untouched page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    pub(crate) fn state(self) -> State {
        match self.0 & STATE {
            0 => State::Untouched,
            1 => State::Resident,
            2 => State::Limbo,
            3 => State::Clean,
            4 => State::Compressed,
            _ => State::Busy,
        }
    }

    /// Its other parts stay.
    pub(crate) fn with_state(self, state: State) -> Self {
        let number = match state {
            State::Untouched => 0,
            State::Resident => 1,
            State::Limbo => 2,
            State::Clean => 3,
            State::Compressed => 4,
            State::Busy => 5,
        };
        Self(self.0 & !STATE | number)
    }

    fn with(self, flag: u64, on: bool) -> Self {
        Self(if on { self.0 | flag } else { self.0 & !flag })
    }

    /// Whether a thread waits for the end of `Busy`.
    pub(crate) fn is_waited(self) -> bool {
        self.0 & WAITED != 0
    }

    pub(crate) fn waited(self, on: bool) -> Self {
        self.with(WAITED, on)
    }

    /// Whether the store has an older content of a page in memory.
    pub(crate) fn is_stale(self) -> bool {
        self.0 & STALE != 0
    }

    pub(crate) fn stale(self, on: bool) -> Self {
        self.with(STALE, on)
    }

    /// Whether the store has the content of this page in limbo.
    pub(crate) fn is_copied(self) -> bool {
        self.0 & COPIED != 0
    }

    pub(crate) fn copied(self, on: bool) -> Self {
        self.with(COPIED, on)
    }

    /// Passes of the hand that it survives.
    pub(crate) fn hot(self) -> u64 {
        (self.0 & HOT) >> HOT_SHIFT
    }

    pub(crate) fn with_hot(self, hot: u64) -> Self {
        Self(self.0 & !HOT | hot.min(HOT_MAX) << HOT_SHIFT)
    }

    pub(crate) fn hint(self) -> Hint {
        match (self.0 & HINT) >> HINT_SHIFT {
            1 => Hint::Sequential,
            2 => Hint::Random,
            _ => Hint::Normal,
        }
    }

    pub(crate) fn with_hint(self, hint: Hint) -> Self {
        let number = match hint {
            Hint::Normal => 0,
            Hint::Sequential => 1,
            Hint::Random => 2,
        };
        Self(self.0 & !HINT | number << HINT_SHIFT)
    }

    pub(crate) fn pins(self) -> u64 {
        (self.0 & PINS) >> PIN_SHIFT
    }

    pub(crate) fn with_pins(self, pins: u64) -> Self {
        Self(self.0 & !PINS | pins.min(PINS_MAX) << PIN_SHIFT)
    }

    pub(crate) fn tick(self) -> u32 {
        u32::try_from(self.0 >> TICK_SHIFT).unwrap_or(u32::MAX)
    }

    pub(crate) fn with_tick(self, tick: u32) -> Self {
        Self(self.0 & ((1 << TICK_SHIFT) - 1) | u64::from(tick) << TICK_SHIFT)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_touch_each_other() {
        let all = Word::default()
            .with_state(State::Compressed)
            .with_tick(u32::MAX)
            .with_pins(PINS_MAX)
            .with_hot(HOT_MAX)
            .with_hint(Hint::Random)
            .stale(true)
            .copied(true)
            .waited(true);
        let states = [
            State::Untouched,
            State::Resident,
            State::Limbo,
            State::Clean,
            State::Compressed,
            State::Busy,
        ];
        for state in states {
            let word = all.with_state(state);
            assert_eq!(word.state(), state);
            assert_eq!((word.tick(), word.pins(), word.hot()), (u32::MAX, PINS_MAX, HOT_MAX));
            assert!(word.is_stale() && word.is_copied() && word.is_waited());
        }
        let less = all.with_tick(1).with_pins(2).with_hot(0).stale(false).with_hint(Hint::Normal);
        assert_eq!((less.tick(), less.pins(), less.hot(), less.hint()), (1, 2, 0, Hint::Normal));
        assert!(!less.is_stale() && less.is_copied());
        assert_eq!(less.state(), State::Compressed);
    }
}
