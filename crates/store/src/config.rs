//! The configuration of a space.

use std::sync::Arc;

use crate::eviction::{EvictionOrder, SecondChance};
use crate::listener::Listener;

/// What a space promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceKind {
    /// An accepted page stays until it is removed. A put that finds no room is refused.
    Persistent,
    /// The store may drop a page at any time to make room; a get then finds nothing.
    Ephemeral,
}

impl SpaceKind {
    /// The name, lower-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::Ephemeral => "ephemeral",
        }
    }
}

/// Configures a space; [`Store::space`](crate::Store::space) makes it.
#[derive(Debug)]
pub struct SpaceConfig {
    pub(crate) kind: SpaceKind,
    pub(crate) pages: u64,
    pub(crate) limit: u64,
    pub(crate) name: Option<String>,
    pub(crate) keep: bool,
    pub(crate) order: Box<dyn EvictionOrder>,
    pub(crate) on_evict: Option<Arc<Listener>>,
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
        }
    }

    /// A space with keys from 0 to `pages - 1` that never drops what it accepted.
    pub fn persistent(pages: u64) -> Self {
        Self::new(SpaceKind::Persistent, pages)
    }

    /// A space with keys from 0 to `pages - 1` that drops pages when room is needed.
    pub fn ephemeral(pages: u64) -> Self {
        Self::new(SpaceKind::Ephemeral, pages)
    }

    /// A limit on the bytes of the space's objects: what its pages take compressed, lengths rounded up by at most a
    /// sixteenth, without the frames' holes and without metadata, which spaces share. None by default; of 0, only
    /// pages that take no memory are accepted.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// A name, by which statistics and [`find_space`](crate::Store::find_space) know the space. No two spaces of a store
    /// have the same one at one time. By default that of the kind, and, while there is such a one, with the least number
    /// from 2 on that is free: `persistent`, `persistent-2`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets the store keep the space when its last handle goes, until [`drop_space`](crate::Store::drop_space), or as
    /// long as the store lives: for spaces that are found by name.
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

    /// The order in which an ephemeral space drops pages; second chance by default. A persistent space has no use for
    /// it.
    pub fn order(mut self, order: Box<dyn EvictionOrder>) -> Self {
        self.order = order;
        self
    }

    /// The callback for the key of each page or value that an ephemeral space drops by itself.
    ///
    /// Reported is what is dropped *for room* (for the limit of the store or of the space, by a put, the shrinker,
    /// [`shrink`](crate::Store::shrink) or [`set_limit`](crate::Store::set_limit)), and the old value of a put that was
    /// *refused*. Not reported is what a call takes out by intent: `remove`, `remove_range`, `take`, `resize`,
    /// `drop_space`, or a put over it. These are the entries that [`evicted`](crate::SpaceStats::evicted) counts.
    ///
    /// # Concurrency
    /// Called once for each, by the thread that dropped it, after it is gone, with no lock held: by then another thread may
    /// have put the key anew. The call may use the store; [`validate`](crate::Store::validate) is `Busy` there. A put from inside
    /// may drop pages too; their reports wait until the call returns. A call that puts as much as was dropped keeps its
    /// thread at it without end. Never called in a signal handler. A listener that holds a handle of its space keeps it
    /// alive until it is dropped by `drop_space`, with which the listener goes.
    ///
    /// # Panics
    /// A panic in it is caught, counted in [`listener_panics`](crate::SpaceStats::listener_panics), and otherwise ignored.
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
