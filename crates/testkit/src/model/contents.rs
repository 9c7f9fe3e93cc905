//! A pool's model contents, and their mismatches.

use std::collections::{HashMap, HashSet};

use pagefold_pool::Handle;
use thiserror::Error;

/// A breach of the contract, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Mismatch(pub String);

macro_rules! agree {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::model::contents::Mismatch(format!($($text)+)));
        }
    };
}
pub(crate) use agree;

/// A pool's expected contents.
///
/// # Invariants
/// - `objects` and `dead` partition all handles given out.
/// - `places[h]` is the index of `h` in `objects`; `payload` sums their lengths.
#[derive(Debug, Default)]
pub struct Model {
    pub(super) objects: Vec<(Handle, Vec<u8>)>,
    places: HashMap<Handle, usize>,
    dead: Vec<Handle>,
    pub(super) buried: HashSet<Handle>,
    payload: u64,
}

impl Model {
    /// Live objects.
    pub fn objects(&self) -> &[(Handle, Vec<u8>)] {
        &self.objects
    }

    /// Handles of freed objects, oldest death first.
    pub fn dead(&self) -> &[Handle] {
        &self.dead
    }

    /// Bytes of live objects.
    pub fn payload_bytes(&self) -> u64 {
        self.payload
    }

    /// A live object's bytes.
    pub fn get(&self, handle: Handle) -> Option<&[u8]> {
        self.places.get(&handle).map(|&place| self.objects[place].1.as_slice())
    }

    /// The live object a number selects.
    pub fn pick(&self, number: u64) -> Option<Handle> {
        pick(number, self.objects.len()).map(|at| self.objects[at].0)
    }

    /// The dead handle a number selects.
    pub fn pick_dead(&self, number: u64) -> Option<Handle> {
        pick(number, self.dead.len()).map(|at| self.dead[at])
    }

    /// # Errors
    /// A handle given out before.
    pub(super) fn insert(&mut self, handle: Handle, bytes: Vec<u8>) -> Result<(), Mismatch> {
        agree!(
            !self.places.contains_key(&handle),
            "{handle:?} was given out while it names another live object"
        );
        agree!(
            !self.buried.contains(&handle),
            "{handle:?} was given out again after its object was freed"
        );
        self.payload += bytes.len() as u64;
        self.places.insert(handle, self.objects.len());
        self.objects.push((handle, bytes));
        Ok(())
    }

    pub(super) fn replace(&mut self, handle: Handle, bytes: &[u8]) {
        if let Some(&place) = self.places.get(&handle) {
            self.objects[place].1.copy_from_slice(bytes);
        }
    }

    pub(super) fn remove(&mut self, handle: Handle) {
        let Some(place) = self.places.remove(&handle) else { return };
        let (_, bytes) = self.objects.swap_remove(place);
        if let Some((moved, _)) = self.objects.get(place) {
            self.places.insert(*moved, place);
        }
        self.payload -= bytes.len() as u64;
        self.dead.push(handle);
        self.buried.insert(handle);
    }
}

pub(super) fn pick(number: u64, count: usize) -> Option<usize> {
    usize::try_from(number.checked_rem(count as u64)?).ok()
}
