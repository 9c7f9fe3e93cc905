//! Reads that return a value.

use crate::{Handle, HandleError, Pool, Slices, TryReadError};

/// No trait methods, because a trait object has no generic ones.
impl dyn Pool + '_ {
    /// As [`read`](Pool::read); returns what `f` returned.
    ///
    /// # Errors
    /// As for [`read`](Pool::read).
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::{Allocator, PoolBuilder};
    ///
    /// let pool = PoolBuilder::new(Allocator::nbud()).limit(8 << 20).build()?;
    /// let handle = pool.store(&[1, 2, 3])?;
    /// let sum = pool.with(handle, |slices| slices.bytes().map(u32::from).sum::<u32>())?;
    /// assert_eq!(sum, 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with<R>(
        &self,
        handle: Handle,
        f: impl FnOnce(Slices<'_>) -> R,
    ) -> Result<R, HandleError> {
        let mut call = Once::Uncalled(f);
        self.read(handle, &mut |slices| call.run(slices))?;
        Ok(call.value())
    }

    /// As [`with`](Pool#method.with), without waiting.
    ///
    /// # Errors
    /// As for [`try_read`](Pool::try_read).
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::{Allocator, PoolBuilder, TryReadError};
    ///
    /// let pool = PoolBuilder::new(Allocator::nbud()).limit(8 << 20).build()?;
    /// let handle = pool.store(b"cold bytes")?;
    /// match pool.try_with(handle, |slices| slices.len()) {
    ///     Ok(len) => assert_eq!(len, 10),
    ///     Err(TryReadError::WouldBlock) => {} // The object is being moved: read it later.
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_with<R>(
        &self,
        handle: Handle,
        f: impl FnOnce(Slices<'_>) -> R,
    ) -> Result<R, TryReadError> {
        let mut call = Once::Uncalled(f);
        self.try_read(handle, &mut |slices| call.run(slices))?;
        Ok(call.value())
    }
}

enum Once<F, R> {
    Uncalled(F),
    Called(R),
    Panicked,
}

impl<R, F: FnOnce(Slices<'_>) -> R> Once<F, R> {
    fn run(&mut self, slices: Slices<'_>) {
        let Self::Uncalled(f) = std::mem::replace(self, Self::Panicked) else {
            unreachable!("a pool calls the closure of a read once");
        };
        *self = Self::Called(f(slices));
    }

    fn value(self) -> R {
        match self {
            Self::Called(value) => value,
            _ => unreachable!("a pool calls the closure of a read that succeeds"),
        }
    }
}
