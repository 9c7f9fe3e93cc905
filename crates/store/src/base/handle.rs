//! The handle of a base.

use std::{any::Any, fmt, ptr, sync::Arc};

use super::{state::BaseState, stats::BaseStats};

/// Pages that never change, for [`SpaceConfig::on`](crate::SpaceConfig::on); from [`Store::base`](crate::Store::base).
///
/// Clones are the same base. It keeps its store alive. A space on it keeps what it needs of it, so the handle may go.
///
/// # Examples
/// ```
/// use pagefold_store::{BaseSource, SpaceConfig, Store};
///
/// let store = Store::builder().limit(16 << 20).build()?;
/// let template = store.space(SpaceConfig::persistent(100))?;
/// template.put(7, &std::array::from_fn(|at| at.to_le_bytes()[0]))?;
/// let base = store.base(BaseSource::space(&template))?;
///
/// let clone = store.space(SpaceConfig::persistent(100).on(&base))?;
/// let mut page = std::array::from_fn(|at| at.to_le_bytes()[0]);
/// page[100] += 1;
/// clone.put(7, &page)?;
/// assert_eq!((clone.stats().deltas, clone.stats().object_bytes), (1, 16));
/// assert!(template.put(7, &page).is_err(), "it is frozen");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Base {
    state: Arc<BaseState>,
    /// The handle of the store, as something to keep.
    store: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("name", &self.name())
            .field("pages", &self.pages())
            .finish_non_exhaustive()
    }
}

impl Base {
    pub(crate) fn new(state: Arc<BaseState>, store: Arc<dyn Any + Send + Sync>) -> Self {
        Self { state, store }
    }

    pub(crate) fn state(&self) -> &Arc<BaseState> {
        &self.state
    }

    /// Whether it keeps that handle of a store.
    pub(crate) fn is_of<T>(&self, store: &Arc<T>) -> bool {
        ptr::addr_eq(Arc::as_ptr(&self.store), Arc::as_ptr(store))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Pages of 4096 bytes.
    pub fn pages(&self) -> u64 {
        self.state.pages()
    }

    /// xxh3-128 of all of its bytes, the same in every process: to know an image again, not to trust a stranger's.
    pub fn fingerprint(&self) -> u128 {
        self.state.fingerprint()
    }

    /// The accounts.
    pub fn stats(&self) -> BaseStats {
        self.state.stats()
    }
}
