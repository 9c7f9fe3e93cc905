//! One descriptor.

use std::{mem::MaybeUninit, ptr::NonNull};

use pagefold_sys::sync::AtomicU32;
#[cfg(loom)]
use pagefold_sys::sync::UnsafeCell;

use crate::{layout::FrameLayout, state::StateWord, table::Entry};

/// A descriptor's body: plain data without drop.
pub trait Body: Copy + Send + Sync {}

impl<M: Copy + Send + Sync> Body for M {}

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Descriptor<M, const W: usize, L: FrameLayout> {
    pub(crate) state: StateWord,
    pub(super) words: [AtomicU32; W],
    /// The extents after the first.
    pub(crate) further: L::Further,
    body: std::cell::UnsafeCell<MaybeUninit<M>>,
    /// Loom watches it for body and bytes.
    #[cfg(loom)]
    pub(crate) watch: UnsafeCell<()>,
}

// SAFETY: guards alone reach the body: shared for readers, exclusive for the writer (I-BODY).
unsafe impl<M: Body, const W: usize, L: FrameLayout> Sync for Descriptor<M, W, L> {}

// SAFETY: all zero is a vacant state word, zero words, valid further extents (by the layout's contract) and an
// uninitialised body; none needs a drop.
unsafe impl<M: Body, const W: usize, L: FrameLayout> Entry for Descriptor<M, W, L> {
    #[cfg(loom)]
    fn vacant() -> Self {
        Self {
            state: StateWord::vacant(),
            words: std::array::from_fn(|_| AtomicU32::new(0)),
            further: L::Further::default(),
            body: std::cell::UnsafeCell::new(MaybeUninit::uninit()),
            watch: UnsafeCell::new(()),
        }
    }

    #[cfg(loom)]
    const MODEL_ENTRIES: usize = 6;
}

impl<M, const W: usize, L: FrameLayout> Descriptor<M, W, L> {
    #[inline]
    pub(crate) fn body_ptr(&self) -> NonNull<M> {
        NonNull::new(self.body.get().cast()).expect("a cell has an address")
    }
}
