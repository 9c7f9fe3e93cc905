//! What memory keeps of an object: where it ends, and a label of the caller.

const LABEL_SHIFT: u32 = 26;

/// Six bits that the caller gives an object, for what it must know without a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Label(u8);

impl Label {
    /// The label 0.
    pub const NONE: Self = Self(0);

    /// # Panics
    /// From 64 on.
    pub const fn new(label: u8) -> Self {
        assert!(label < 64, "a label has six bits");
        Self(label)
    }

    /// Below 64.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// ```text
///  bits  0..26 where the object ends, with its tag    26..32 label
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End(u32);

impl End {
    pub(crate) fn new(at: usize, label: Label) -> Self {
        let at = u32::try_from(at).expect("within an extent");
        debug_assert!(at < 1 << LABEL_SHIFT);
        Self(at | u32::from(label.0) << LABEL_SHIFT)
    }

    pub(crate) fn at(self) -> usize {
        (self.0 & ((1 << LABEL_SHIFT) - 1)) as usize
    }

    pub(crate) fn label(self) -> Label {
        Label((self.0 >> LABEL_SHIFT).to_le_bytes()[0])
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_come_back() {
        for at in [0, 1, (1 << LABEL_SHIFT) - 1] {
            for label in [0, 1, 63].map(Label::new) {
                let end = End::new(at, label);
                assert_eq!((end.at(), end.label()), (at, label));
            }
        }
    }

    #[test]
    #[should_panic(expected = "six bits")]
    fn a_label_has_six_bits() {
        let _ = Label::new(64);
    }
}
