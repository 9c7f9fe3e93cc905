//! The settings of the spill.

use pagefold_spill::Spill;

use super::StoreBuilder;
use crate::policy::{PREFETCH_MAX, SpillPolicy};

impl StoreBuilder {
    /// Where the coldest pages and values go before any is dropped or refused. A thread writes them while the store is above its
    /// high watermark; a put at the limit waits for it, at most half a second each time it makes room (a tenth in an ephemeral space). Values of less than
    /// 32 bytes, and objects longer than an extent, stay in memory.
    ///
    /// Three extents of memory are charged, and 4 bytes a spilled page beside its index word; 6 in extents with compressed
    /// values.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store, spill::{EXTENT_BYTES, FileBacking, Spill}};
    ///
    /// let backing = FileBacking::new(&std::env::temp_dir(), EXTENT_BYTES)?;
    /// let spill = Spill::builder(backing).limit(256 << 20).build()?;
    /// let store = Store::builder().limit(16 << 20).spill(spill).build()?;
    /// let space = store.space(SpaceConfig::persistent(10_000))?;
    /// let mix = |x: u64| (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    /// let page = |key: u64| -> [u8; 4096] {
    ///     std::array::from_fn(|at| (mix(mix(key << 12 | at as u64)) >> 56) as u8)
    /// };
    /// // 40 MB, incompressible.
    /// for key in 0..10_000 {
    ///     space.put(key, &page(key))?;
    /// }
    /// let mut back = [0; 4096];
    /// space.get(7, &mut back)?;
    /// assert_eq!(back, page(7));
    /// assert!(space.stats().spilled > 5000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spill(mut self, spill: Spill) -> Self {
        self.spill = Some(Box::new(spill));
        self
    }

    /// No thread spills: for tests, which call [`Store::spill_extent`](crate::Store::spill_extent) instead.
    #[doc(hidden)]
    pub fn without_spiller(mut self) -> Self {
        self.spiller = false;
        self
    }

    /// Which objects leave memory.
    ///
    /// # Errors
    /// [`build`](Self::build) refuses [`SpillPolicy::idle_only`] with an [`idle_share`](Self::idle_share) of 0, which finds no
    /// idle page.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpillPolicy, Store, spill::{EXTENT_BYTES, FileBacking, Spill}};
    ///
    /// let spill = Spill::builder(FileBacking::new(&std::env::temp_dir(), EXTENT_BYTES)?).build()?;
    /// let policy = SpillPolicy::coldest().idle_only().incompressible_first();
    /// let store = Store::builder().limit(64 << 20).spill(spill).spill_policy(policy).build()?;
    /// # drop(store);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spill_policy(mut self, policy: SpillPolicy) -> Self {
        self.spill_settings.policy = policy;
        self
    }

    /// How many objects a get of a spilled one brings back to memory along with it: those that follow in its extent and whose keys
    /// follow in its space, in one read of at most 64 KiB; 0 by default, at most 256. For programs that read keys in order. They
    /// come while the store is below its high watermark.
    ///
    /// [`take`](crate::Space::take) and the calls for many keys bring none along.
    pub fn spill_prefetch(mut self, objects: usize) -> Self {
        self.spill_settings.prefetch = objects.min(PREFETCH_MAX);
        self
    }
}
