//! What a pool should hold, kept as plainly as possible, and how a disagreement is said.

use std::collections::{HashMap, HashSet};

use pagefold_pool::Handle;
use thiserror::Error;

/// The pool did something that the contract does not allow, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Mismatch(pub String);

/// `Err(Mismatch(..))` with a formatted text, unless the condition holds.
macro_rules! agree {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::model::contents::Mismatch(format!($($text)+)));
        }
    };
}
pub(crate) use agree;

/// What a pool should hold.
///
/// # Invariants
/// - Each handle ever given out is in exactly one of `objects` and `dead`.
/// - `places[h]` is the index of `h` in `objects`; `payload` is the sum of their lengths.
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

    /// Handles of freed objects, in the order of their deaths.
    pub fn dead(&self) -> &[Handle] {
        &self.dead
    }

    /// Sum of the lengths of live objects.
    pub fn payload_bytes(&self) -> u64 {
        self.payload
    }

    /// The bytes of a live object.
    pub fn get(&self, handle: Handle) -> Option<&[u8]> {
        self.places.get(&handle).map(|&place| self.objects[place].1.as_slice())
    }

    /// Some live object, chosen by a number; `None` if there is none.
    pub fn pick(&self, number: u64) -> Option<Handle> {
        pick(number, self.objects.len()).map(|at| self.objects[at].0)
    }

    /// Some dead handle, chosen by a number; `None` if there is none.
    pub fn pick_dead(&self, number: u64) -> Option<Handle> {
        pick(number, self.dead.len()).map(|at| self.dead[at])
    }

    /// # Errors
    /// If this handle was given out before: a handle names one object, ever.
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

    /// Replaces the bytes of a live object by as many others.
    pub(super) fn replace(&mut self, handle: Handle, bytes: &[u8]) {
        if let Some(&place) = self.places.get(&handle) {
            self.objects[place].1.copy_from_slice(bytes);
        }
    }

    /// Moves a handle from the live to the dead.
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
