//! Memory for keys: left out of core files, and not swapped where the system allows that.

use std::{
    alloc::Layout,
    fmt, io,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    slice,
};

use rustix::{
    mm::{Advice, madvise, mlock},
    rand::{GetRandomFlags, getrandom},
};

use crate::memory::{CoreDump, MemoryError, Reservation, commit, page_bytes, release, reserve};

/// A value in pages of its own, which core files leave out. Its pages are zeroed when it is dropped.
///
/// A process that may lock memory (`RLIMIT_MEMLOCK`) keeps it out of swap too, see [`is_locked`](Self::is_locked). Other memory of this process,
/// registers and copies on stacks are not protected. The child of a fork has a copy, without the lock.
///
/// # Invariants
/// `mapping` is committed, no other code has it, and `T` lies at its start, initialised.
pub struct Secret<T> {
    mapping: Option<Reservation>,
    value: NonNull<T>,
    is_locked: bool,
}

// SAFETY: it owns its value, as a `Box` does.
unsafe impl<T: Send> Send for Secret<T> {}

// SAFETY: as for a `Box`: sharing it gives `&T`.
unsafe impl<T: Sync> Sync for Secret<T> {}

impl<T> Secret<T> {
    /// Maps pages and moves the value there.
    ///
    /// # Errors
    /// [`MemoryError`] without address space or memory.
    ///
    /// # Panics
    /// If `T` needs an alignment of more than a page.
    pub fn new(value: T) -> Result<Self, MemoryError> {
        assert!(Layout::new::<T>().align() <= page_bytes(), "a page is aligned enough");
        let bytes = size_of::<T>().max(1).next_multiple_of(page_bytes());
        let mapping = reserve(bytes, page_bytes(), CoreDump::Exclude)?;
        if let Err(error) = commit(&mapping, 0..bytes) {
            // SAFETY: from `reserve`, used by no other code.
            unsafe { release(mapping) };
            return Err(error);
        }
        let start = mapping.base();
        // SAFETY: the range is mapped, and the advice changes nothing that a program reads.
        let _ = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxDontDump) };
        // SAFETY: the range is mapped.
        let is_locked = unsafe { mlock(start.as_ptr().cast(), bytes) }.is_ok();
        let place = start.cast::<T>();
        // SAFETY: committed, so writable for `size_of::<T>()`, and aligned to a page; no other code has it.
        unsafe { place.write(value) };
        // INVARIANT: committed and written above.
        Ok(Self { mapping: Some(mapping), value: place, is_locked })
    }

    /// Whether the system keeps it out of swap.
    pub fn is_locked(&self) -> bool {
        self.is_locked
    }
}

impl<T> Deref for Secret<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: initialised (invariant), borrowed like `self`.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for Secret<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and exclusive by `&mut self`.
        unsafe { self.value.as_mut() }
    }
}

impl<T> Drop for Secret<T> {
    fn drop(&mut self) {
        let Some(mapping) = self.mapping.take() else { return };
        // SAFETY: initialised (invariant), dropped once.
        unsafe { self.value.drop_in_place() };
        let start = self.value.cast::<u8>();
        // SAFETY: committed and writable for the length of `T`; the value is gone, and bytes of a mapping are initialised.
        let bytes = unsafe { slice::from_raw_parts_mut(start.as_ptr(), size_of::<T>()) };
        bytes.fill(0);
        // Otherwise the compiler may leave out a write that no code reads.
        std::hint::black_box(bytes);
        // SAFETY: from `reserve`, dropped once; the slice above is no longer used.
        unsafe { release(mapping) };
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("is_locked", &self.is_locked).finish_non_exhaustive()
    }
}

/// Fills `bytes` from the generator of the operating system.
///
/// # Errors
/// That of the system call: `Unsupported` before Linux 3.17.
pub fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let filled =
            rustix::io::retry_on_intr(|| getrandom(&mut bytes[done..], GetRandomFlags::empty()));
        done += filled?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[test]
    fn the_value_is_there_and_dropped_once() {
        struct Counts(Rc<Cell<u32>>, u64);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let drops = Rc::new(Cell::new(0));
        let secret = Secret::new(Counts(Rc::clone(&drops), 7)).expect("memory");
        assert_eq!(secret.1, 7);
        drop(secret);
        assert_eq!(drops.get(), 1);
    }

    #[test]
    fn core_files_leave_it_out() {
        let secret = Secret::new([0xa5_u8; 32]).expect("memory");
        let address = secret.as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("proc");
        let mut is_here = false;
        let flags = maps.lines().find(|line| {
            if let Some((range, _)) = line.split_once(' ')
                && let Some((start, end)) = range.split_once('-')
                && let (Ok(start), Ok(end)) =
                    (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16))
            {
                is_here = (start..end).contains(&address);
            }
            is_here && line.starts_with("VmFlags:")
        });
        let flags = flags.expect("a mapping has flags");
        assert!(flags.split(' ').any(|flag| flag == "dd"), "{flags}");
        assert_eq!(secret.is_locked(), flags.split(' ').any(|flag| flag == "lo"), "{flags}");
    }

    #[test]
    fn random_bytes_differ() {
        let mut both = [[0; 32]; 2];
        both.iter_mut().for_each(|bytes| fill_random(bytes).expect("a generator"));
        assert_ne!(both[0], both[1]);
        assert!(both[0].iter().any(|&byte| byte != 0));
    }
}
