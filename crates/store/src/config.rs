//! Configures spaces.

use std::{ops::Range, sync::Arc};

use crate::base::Base;
use crate::eviction::{EvictionOrder, SecondChance};
use crate::listener::Listener;

/// A space's promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceKind {
    /// Keeps accepted pages until removed; refuses puts that find no room.
    Persistent,
    /// May drop any page to make room; gets then find nothing.
    Ephemeral,
}

impl SpaceKind {
    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Ephemeral => "ephemeral",
        }
    }
}

/// Configures [`Store::space`](crate::Store::space).
#[derive(Debug)]
pub struct SpaceConfig {
    pub(crate) kind: SpaceKind,
    pub(crate) pages: u64,
    pub(crate) limit: u64,
    pub(crate) name: Option<String>,
    pub(crate) keep: bool,
    pub(crate) order: Box<dyn EvictionOrder>,
    pub(crate) on_evict: Option<Arc<Listener>>,
    pub(crate) base: Option<Base>,
    /// Keys, and the base page of the first.
    pub(crate) mapped: Vec<(Range<u64>, u64)>,
}

impl SpaceConfig {
    fn new(kind: SpaceKind, pages: u64) -> Self {
        Self {
            kind,
            pages,
            limit: u64::MAX,
            name: None,
            keep: false,
            order: Box::new(SecondChance::new()),
            on_evict: None,
            base: None,
            mapped: Vec::new(),
        }
    }

    /// Keys are below `pages`; accepted pages are never dropped.
    pub fn persistent(pages: u64) -> Self {
        Self::new(SpaceKind::Persistent, pages)
    }

    /// Keys are below `pages`; pages are dropped for room.
    pub fn ephemeral(pages: u64) -> Self {
        Self::new(SpaceKind::Ephemeral, pages)
    }

    /// Limits the objects' compressed bytes, lengths rounded up by at most a sixteenth; none by default. At 0, only
    /// pages without memory fit.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// For statistics and [`find_space`](crate::Store::find_space); unique among current spaces. By default the kind's
    /// name, numbered from 2 if taken.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Keeps the space until [`drop_space`](crate::Store::drop_space) or the store's end.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(10).name("sessions").keep())?;
    /// space.put_bytes(7, b"kept")?;
    /// drop(space);
    /// let space = store.find_space("sessions").ok_or("it is kept")?;
    /// assert_eq!(space.get_bytes(7)?, b"kept");
    /// store.drop_space(&space);
    /// assert!(store.find_space("sessions").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// Keeps of each page what differs from a base page: of key `n` from page `n`, unless [`map`](Self::map) says otherwise.
    /// Keys beyond the base have none.
    ///
    /// # Examples
    /// See [`Base`].
    pub fn on(mut self, base: &Base) -> Self {
        self.base = Some(base.clone());
        self
    }

    /// Maps keys to the base pages from `first_page` on. May be called again for other keys; keys that are not mapped have no base
    /// page.
    ///
    /// # Examples
    /// Two images, one behind the other, of one template:
    /// ```
    /// use pagefold_store::{BaseSource, SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let base = store.base(BaseSource::memory(vec![7; 10 * 4096]))?;
    /// let config = SpaceConfig::persistent(20).on(&base).map(0..10, 0).map(10..20, 0);
    /// let images = store.space(config)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map(mut self, keys: Range<u64>, first_page: u64) -> Self {
        self.mapped.push((keys, first_page));
        self
    }

    /// An ephemeral space's eviction order; second chance by default.
    pub fn order(mut self, order: Box<dyn EvictionOrder>) -> Self {
        self.order = order;
        self
    }

    /// Calls `listener` with each key that an ephemeral space drops for room or by refusing an overwrite.
    ///
    /// [`evicted`](crate::SpaceStats::evicted) counts them too. Removing and overwriting are not reported.
    ///
    /// # Concurrency
    /// The dropping thread calls it once per entry, unlocked, after the drop, never in a signal handler; another thread
    /// may have put the key again. It may use the store, but [`validate`](crate::Store::validate) is `Busy`. Drops by
    /// its puts are reported when it returns, endlessly if it always replaces them. Its handle of the space keeps the
    /// space until `drop_space`.
    ///
    /// # Panics
    /// Caught, and counted in [`listener_panics`](crate::SpaceStats::listener_panics).
    ///
    /// # Examples
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let (dropped, keys) = mpsc::channel();
    /// let config = SpaceConfig::ephemeral(100).on_evict(move |key| _ = dropped.send(key));
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let space = store.space(config)?;
    /// for key in 0..100 {
    ///     space.put_bytes(key, &[1, 2, 3])?;
    /// }
    /// space.remove(0)?;
    /// store.shrink(usize::MAX);
    /// assert_eq!(keys.try_iter().count(), 99);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_evict(mut self, listener: impl Fn(u64) + Send + Sync + 'static) -> Self {
        self.on_evict = Some(Listener::new(Box::new(listener)));
        self
    }
}
