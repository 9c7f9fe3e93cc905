//! An extent before it is written.
//!
//! ```text
//!  object 0 | tag | object 1 | tag | .. | directory: owner of each, 16 bytes | tag
//! ```

use pagefold_sys::memory::{Buffer, MemoryError};

use crate::{
    end::{End, Ends, Label},
    place::OBJECTS_MAX,
    seal::{Binding, DoesNotOpen, Sealer, TAG_BYTES},
};

const OWNER_BYTES: usize = 16;

/// Whose an object is: two numbers that the caller chose, such as a space and a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner(pub u64, pub u64);

impl Owner {
    fn to_bytes(self) -> [u8; OWNER_BYTES] {
        let mut bytes = [0; OWNER_BYTES];
        bytes[..8].copy_from_slice(&self.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.1.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; OWNER_BYTES]) -> Self {
        let half = |bytes: &[u8]| u64::from_le_bytes(*bytes.first_chunk().expect("8 bytes"));
        Self(half(&bytes[..8]), half(&bytes[8..]))
    }
}

/// The object does not fit any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchFull;

/// Gathers the objects of one extent. A write empties it, so one batch serves many writes.
#[derive(Debug)]
pub struct Batch {
    bytes: Buffer,
    ends: Vec<End>,
    notes: Vec<u16>,
    owners: Vec<Owner>,
}

impl Batch {
    pub(crate) fn new(extent_bytes: usize) -> Result<Self, MemoryError> {
        let bytes = Buffer::zeroed(extent_bytes)?;
        Ok(Self { bytes, ends: Vec::new(), notes: Vec::new(), owners: Vec::new() })
    }

    /// Adds an object; its number in the extent. Memory keeps the label.
    ///
    /// # Errors
    /// [`BatchFull`]; the batch is as before.
    pub fn push(&mut self, owner: Owner, label: Label, object: &[u8]) -> Result<usize, BatchFull> {
        let (number, start) = (self.ends.len(), self.end());
        let sealed = object.len().checked_add(TAG_BYTES).ok_or(BatchFull)?;
        let end = start.checked_add(sealed).ok_or(BatchFull)?;
        let whole = end.saturating_add(directory_bytes(number + 1));
        if number == OBJECTS_MAX || whole > self.bytes.len() {
            return Err(BatchFull);
        }
        self.bytes[start..][..object.len()].copy_from_slice(object);
        self.ends.push(End::new(end, label));
        self.notes.push(label.note());
        self.owners.push(owner);
        Ok(number)
    }

    /// Whether an object of so many bytes fits.
    pub fn fits(&self, bytes: usize) -> bool {
        let number = self.ends.len();
        let sealed = bytes.saturating_add(TAG_BYTES + directory_bytes(number + 1));
        number < OBJECTS_MAX && self.end().saturating_add(sealed) <= self.bytes.len()
    }

    /// Objects.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no object.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes that a write of it takes.
    pub fn written_bytes(&self) -> usize {
        if self.is_empty() { 0 } else { self.end() + directory_bytes(self.len()) }
    }

    /// Removes all objects.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.notes.clear();
        self.owners.clear();
    }

    fn end(&self) -> usize {
        self.ends.last().map_or(0, |end| end.at())
    }

    pub(crate) fn ends(&self) -> Ends {
        Ends::new(&self.ends, &self.notes)
    }

    /// Seals all objects and the directory; the bytes to write. Afterwards the batch has nothing readable.
    pub(crate) fn seal(&mut self, sealer: &Sealer, directory: Binding) -> &[u8] {
        let mut start = 0;
        for ((number, end), &note) in (0_u32..).zip(&self.ends).zip(&self.notes) {
            let (object, tag) = self.bytes[start..end.at()]
                .split_last_chunk_mut::<TAG_BYTES>()
                .expect("a tag follows each object");
            let label = end.label().with_note(note);
            *tag = sealer.seal(Binding { number, label, ..directory }, object);
            start = end.at();
        }
        let bytes = &mut self.bytes[start..][..directory_bytes(self.owners.len())];
        let (owners, tag) = bytes.split_at_mut(self.owners.len() * OWNER_BYTES);
        for (into, owner) in owners.chunks_exact_mut(OWNER_BYTES).zip(&self.owners) {
            into.copy_from_slice(&owner.to_bytes());
        }
        tag.copy_from_slice(&sealer.seal(directory, owners));
        &self.bytes[..start + directory_bytes(self.owners.len())]
    }
}

pub(crate) fn directory_bytes(objects: usize) -> usize {
    objects * OWNER_BYTES + TAG_BYTES
}

/// The owners of an extent's objects.
pub(crate) fn open_directory(
    sealer: &Sealer,
    directory: Binding,
    bytes: &mut [u8],
) -> Result<Vec<Owner>, DoesNotOpen> {
    let owners = sealer.open(directory, bytes)?;
    Ok(owners.as_chunks().0.iter().map(Owner::from_bytes).collect())
}

/// Opens an object with its tag, in place; its bytes.
pub(crate) fn open_object<'b>(
    sealer: &Sealer,
    binding: Binding,
    bytes: &'b mut [u8],
) -> Result<&'b [u8], DoesNotOpen> {
    Ok(sealer.open(binding, bytes)?)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const DIRECTORY: Binding =
        Binding { sequence: 1, slot: 0, generation: 0, number: u32::MAX, label: Label::NONE };

    #[test]
    fn it_takes_what_fits_to_the_last_byte() {
        // One object, its owner, and two tags.
        for (extra, fits) in [(0, true), (1, false)] {
            let mut batch = Batch::new(4096).expect("memory");
            let len = 4096 - 2 * TAG_BYTES - OWNER_BYTES + extra;
            assert_eq!(batch.fits(len), fits);
            assert_eq!(batch.push(Owner(1, 2), Label::NONE, &vec![1; len]).is_ok(), fits);
            assert_eq!(batch.written_bytes(), if fits { 4096 } else { 0 });
        }
        let mut batch = Batch::new(1 << 20).expect("memory");
        for number in 0..OBJECTS_MAX {
            assert_eq!(batch.push(Owner(0, number as u64), Label::NONE, &[]), Ok(number));
        }
        assert_eq!(batch.push(Owner(0, 0), Label::NONE, &[]), Err(BatchFull));
        assert!(!batch.fits(0));
        batch.clear();
        assert_eq!((batch.len(), batch.push(Owner(0, 0), Label::NONE, &[5])), (0, Ok(0)));
    }

    fn label(key: u64) -> Label {
        Label::new(u8::try_from(key).expect("small"))
            .with_note(u16::try_from(1000 * key).expect("small"))
    }

    #[test]
    fn objects_and_owners_come_back_from_the_sealed_bytes() {
        for encrypts in [true, false] {
            let sealer = Sealer::new(encrypts).expect("a key");
            let mut batch = Batch::new(1 << 16).expect("memory");
            let objects: Vec<Vec<u8>> =
                (0..50_u8).map(|at| vec![at; usize::from(at) * 9]).collect();
            for (key, object) in (0..).zip(&objects) {
                batch.push(Owner(7, key), label(key), object).expect("room");
            }
            let ends = batch.ends();
            let mut bytes = batch.seal(&sealer, DIRECTORY).to_vec();
            let (sealed, directory) = bytes.split_at_mut(ends.end());
            let owners = open_directory(&sealer, DIRECTORY, directory).expect("as it was");
            assert_eq!(owners, (0..50).map(|key| Owner(7, key)).collect::<Vec<_>>());
            for (number, object) in (0..).zip(&objects) {
                let binding = Binding { number, label: label(number.into()), ..DIRECTORY };
                let at = usize::try_from(number).expect("small");
                assert_eq!(ends.label(at), binding.label);
                let (start, end) = ends.range(at);
                let mut range = sealed[start..end].to_vec();
                let other = Binding { label: binding.label.with_note(1), ..binding };
                assert_eq!(open_object(&sealer, other, &mut range.clone()), Err(DoesNotOpen));
                assert_eq!(open_object(&sealer, binding, &mut range), Ok(&object[..]));
            }
        }
    }
}
