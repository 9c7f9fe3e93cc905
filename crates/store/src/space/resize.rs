//! More keys, or fewer.

use super::Space;
use crate::KeyError;

impl Space {
    /// Changes the number of keys; removes entries beyond, without reports to a listener, and returns how many.
    ///
    /// # Errors
    /// [`KeyError::Dropped`], `Frozen`.
    ///
    /// # Complexity
    /// As [`remove_range`](Self::remove_range) of keys beyond.
    ///
    /// # Concurrency
    /// A put beyond meanwhile is removed, or refused with [`Beyond`](crate::KeyError::Beyond). Calls run one after
    /// the other.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(1000))?;
    /// space.put_bytes(7, b"stays")?;
    /// space.put_bytes(700, b"goes")?;
    /// assert_eq!(space.resize(100)?, 1);
    /// assert_eq!(space.capacity(), 100);
    /// assert!(space.put_bytes(700, b"refused").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resize(&self, pages: u64) -> Result<u64, KeyError> {
        let space = self.state();
        let _operation = self.store().enter()?;
        let _alone = space.resizing.lock();
        if space.index.is_closed() {
            return Err(KeyError::Dropped);
        }
        if space.is_frozen() {
            return Err(KeyError::Frozen);
        }
        space.index.set_pages(pages);
        Ok(self.store().remove_keys(space, pages..u64::MAX))
    }
}
