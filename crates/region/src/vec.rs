//! [`RegionVec`].

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut, Range},
    slice,
};

use bytemuck::Pod;

use crate::{
    advise::Advice,
    builder::RegionBuilder,
    error::{BuildRegionError, RangeError},
    region::Region,
};

/// A fixed number of plain values in a region, at first zeros.
///
/// # Examples
/// ```
/// use pagefold_region::RegionVec;
///
/// let mut numbers = RegionVec::<u64>::zeroed(1_000_000, |region| region.resident_limit(2 << 20))?;
/// for (at, number) in numbers.iter_mut().enumerate() {
///     *number = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
/// }
/// numbers.sort_unstable();
/// assert!(numbers.is_sorted());
/// # Ok::<(), pagefold_region::BuildRegionError>(())
/// ```
pub struct RegionVec<T> {
    region: Region,
    len: usize,
    values: PhantomData<T>,
}

impl<T> fmt::Debug for RegionVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the values, which are many and cold.
        f.debug_struct("RegionVec").field("len", &self.len).field("region", &self.region).finish()
    }
}

impl<T: Pod> RegionVec<T> {
    /// `len` zeroed values, in a region of their own that `configure` sets up.
    ///
    /// # Errors
    /// [`BuildRegionError`]; `Size` if the values do not fit the address space, or there are none.
    pub fn zeroed(
        len: usize,
        configure: impl FnOnce(RegionBuilder) -> RegionBuilder,
    ) -> Result<Self, BuildRegionError> {
        let bytes = len.checked_mul(size_of::<T>());
        let bytes = bytes.ok_or(BuildRegionError::Size { bytes: usize::MAX })?;
        let region = configure(Region::builder(bytes)).build()?;
        Ok(Self { region, len, values: PhantomData })
    }

    fn bytes(range: &Range<usize>) -> Range<usize> {
        range.start.saturating_mul(size_of::<T>())..range.end.saturating_mul(size_of::<T>())
    }

    /// As [`Region::advise`], for values.
    ///
    /// # Errors
    /// [`RangeError::Beyond`], in bytes.
    pub fn advise(&self, range: Range<usize>, advice: Advice) -> Result<(), RangeError> {
        self.region.advise(Self::bytes(&range), advice)
    }
}

impl<T> RegionVec<T> {
    /// The region, for its accounts.
    pub fn region(&self) -> &Region {
        &self.region
    }
}

impl<T: Pod> Deref for RegionVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the region has `len` values, begins at a page and so aligned, and is initialised; any bytes are a value.
        unsafe { slice::from_raw_parts(self.region.as_ptr().cast(), self.len) }
    }
}

impl<T: Pod> DerefMut for RegionVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and exclusive by `&mut self`.
        unsafe { slice::from_raw_parts_mut(self.region.as_mut_ptr().cast(), self.len) }
    }
}
