//! What memory keeps of an object: where it ends, and a label of the caller.

const LABEL_SHIFT: u32 = 26;

/// Six bits, and a note of 16, that the caller gives an object, for what it must know without a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Label {
    bits: u8,
    note: u16,
}

impl Label {
    /// The label 0.
    pub const NONE: Self = Self { bits: 0, note: 0 };

    /// # Panics
    /// From 64 on.
    pub const fn new(label: u8) -> Self {
        assert!(label < 64, "a label has six bits");
        Self { bits: label, note: 0 }
    }

    /// With a note. An extent with notes other than 0 keeps two more bytes of memory an object.
    #[must_use]
    pub const fn with_note(self, note: u16) -> Self {
        Self { note, ..self }
    }

    /// Below 64.
    pub const fn get(self) -> u8 {
        self.bits
    }

    /// The note; 0 without one.
    pub const fn note(self) -> u16 {
        self.note
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
        Self(at | u32::from(label.bits) << LABEL_SHIFT)
    }

    pub(crate) fn at(self) -> usize {
        (self.0 & ((1 << LABEL_SHIFT) - 1)) as usize
    }

    /// Without the note.
    pub(crate) fn label(self) -> Label {
        Label::new((self.0 >> LABEL_SHIFT).to_le_bytes()[0])
    }
}

/// What memory keeps of the objects of an extent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    ends: Box<[End]>,
    /// One for each object, or none.
    notes: Box<[u16]>,
}

impl Ends {
    pub(crate) fn new(ends: &[End], notes: &[u16]) -> Self {
        debug_assert_eq!(ends.len(), notes.len());
        let notes = if notes.iter().any(|&note| note != 0) { notes } else { &[] };
        Self { ends: ends.into(), notes: notes.into() }
    }

    /// Objects.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn label(&self, number: usize) -> Label {
        let note = self.notes.get(number).copied().unwrap_or(0);
        self.ends[number].label().with_note(note)
    }

    /// Where an object begins, and where it ends with its tag.
    pub(crate) fn range(&self, number: usize) -> (usize, usize) {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before].at());
        (start, self.ends[number].at())
    }

    /// Where the last object ends.
    pub(crate) fn end(&self) -> usize {
        self.ends.last().map_or(0, |end| end.at())
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.ends) + size_of_val(&*self.notes)
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
    fn notes_are_kept_where_there_is_one() {
        let ends = [100, 150].map(|at| End::new(at, Label::new(63)));
        let plain = Ends::new(&ends, &[0, 0]);
        let noted = Ends::new(&ends, &[0, u16::MAX]);
        assert_eq!((plain.bytes(), noted.bytes()), (8, 12));
        assert_eq!(plain.label(1), Label::new(63));
        assert_eq!(noted.label(0), Label::new(63));
        assert_eq!(noted.label(1), Label::new(63).with_note(u16::MAX));
        assert_eq!((noted.range(0), noted.range(1), noted.end()), ((0, 100), (100, 150), 150));
    }

    #[test]
    #[should_panic(expected = "six bits")]
    fn a_label_has_six_bits() {
        let _ = Label::new(64);
    }
}
