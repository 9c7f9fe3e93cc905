//! A cache of compressed values by key, within a store's limit.
//!
//! ```text
//!  key -- 128-bit keyed hash --> map: slot, stamp, weight, time  -- slot --> ephemeral space: stamp, value
//! ```
//! An entry and its value share a *stamp*, unique per insert; a read with another stamp is no hit.

mod clock;
mod config;
mod core;
mod error;
mod hash;
mod map;
mod shard;
mod slots;
mod stats;
#[cfg(all(test, not(loom)))]
mod tests;
mod value;

use std::{
    convert::Infallible,
    fmt,
    hash::Hash,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

pub use clock::{Clock, SystemClock};
pub use config::CacheConfig;
pub use error::CacheError;
pub use stats::CacheStats;
pub use value::CacheValue;

use config::Weigher;
use core::{Core, STAMP_BYTES};
use hash::KeyHasher;
use map::Map;
use shard::MapEntry;
use stats::Event;

use crate::{
    config::SpaceConfig, encoder::VALUE_MAX, error::SpaceError, stats::SpaceStats, store::Store,
};

/// Values by key, compressed in a store. Values not read lately are dropped first.
///
/// Only a 128-bit hash of a key stays, under the cache's random key, so a key needs only [`Hash`]. An entry takes 40
/// bytes, 6 to 11 of table and 8 of index; all count against the store's limit.
///
/// Clones are cheap and the same cache.
///
/// # Concurrency
/// Up to 16 shards have a lock each, taken only to look up or change the map. A get that begins after an insert
/// returned finds that value, a later one, or nothing.
///
/// # Examples
/// ```
/// use pagefold_store::{Cache, CacheConfig, Store};
///
/// let store = Store::builder().limit(16 << 20).build()?;
/// let cache: Cache<str, String> = Cache::new(&store, CacheConfig::new())?;
/// cache.insert("page/1", &"<html>..</html>".to_owned())?;
/// assert_eq!(cache.get("page/1").as_deref(), Some("<html>..</html>"));
/// assert_eq!(cache.get("page/2"), None);
///
/// let page = cache.get_or_insert_with("page/2", || "<p>made once</p>".to_owned());
/// assert_eq!(cache.get("page/2"), Some(page));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cache<K: ?Sized, V> {
    core: Arc<Core>,
    weigher: Option<Arc<Weigher<K, V>>>,
    values: PhantomData<fn(&K) -> V>,
}

impl<K: ?Sized, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        let (core, weigher) = (Arc::clone(&self.core), self.weigher.clone());
        Self { core, weigher, values: PhantomData }
    }
}

impl<K: ?Sized, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.core.space.name();
        f.debug_struct("Cache").field("name", &name).finish_non_exhaustive()
    }
}

impl<K: Hash + ?Sized, V: CacheValue> Cache<K, V> {
    /// The longest encoded value, in bytes; some allocators take less.
    pub const VALUE_BYTES_MAX: usize = VALUE_MAX - STAMP_BYTES;

    /// A cache in its own ephemeral space.
    ///
    /// # Errors
    /// [`SpaceError`].
    pub fn new(store: &Store, config: CacheConfig<K, V>) -> Result<Self, SpaceError> {
        let map = Map::new(config.entries_max, config.weight_max);
        let mut space = SpaceConfig::ephemeral(map.slots()).limit(config.limit);
        if let Some(name) = config.name {
            space = space.name(name);
        }
        let listener = Arc::clone(&map);
        let space = store.space(space.on_evict(move |slot| listener.evicted(slot)))?;
        map.bind(space.state());
        let fixed = size_of::<Core>() + map.fixed_bytes();
        let charge = store.charge_beside(fixed).map_err(|_| SpaceError::Full)?;
        let core = Core {
            map,
            space,
            hasher: KeyHasher::new(),
            clock: config.clock,
            time_to_live: config.time_to_live,
            timed: AtomicBool::new(false),
            stamps: AtomicU64::new(0),
            _charge: charge,
        };
        let weigher = config.weigher.map(Arc::new);
        Ok(Self { core: Arc::new(core), weigher, values: PhantomData })
    }

    /// Puts a value, replacing any other.
    ///
    /// # Errors
    /// [`CacheError`]; the key's old value is gone then.
    ///
    /// # Panics
    /// If the weigher or the encoding panics; nothing changes.
    ///
    /// # Concurrency
    /// Of concurrent inserts of a key, one stays. Makes room as [`put_bytes`](crate::Space::put_bytes).
    pub fn insert(&self, key: &K, value: &V) -> Result<(), CacheError> {
        self.insert_until(key, value, self.core.time_to_live)
    }

    /// As [`insert`](Self::insert), with its own time to live.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    ///
    /// # Panics
    /// As [`insert`](Self::insert).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use pagefold_store::{Cache, CacheConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let cache: Cache<u64, String> = Cache::new(&store, CacheConfig::new())?;
    /// cache.insert_for(&7, &"over at once".to_owned(), Duration::ZERO)?;
    /// assert_eq!(cache.get(&7), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert_for(&self, key: &K, value: &V, time: Duration) -> Result<(), CacheError> {
        self.insert_until(key, value, Some(time))
    }

    fn insert_until(&self, key: &K, value: &V, time: Option<Duration>) -> Result<(), CacheError> {
        let weight = self.weigher.as_ref().map_or(1, |weigher| weigher(key, value));
        let mut bytes = vec![0; STAMP_BYTES];
        value.encode(&mut bytes);
        let hash = self.core.hasher.hash(key);
        let _operation = self.core.enter().map_err(|_| CacheError::Abandoned)?;
        self.core.insert(hash, &mut bytes, weight, time).inspect_err(|_| {
            self.core.map.remove(hash, self.core.slots());
            self.core.map.count(hash, Event::Rejected);
        })
    }

    /// The value, unless dropped or expired.
    ///
    /// # Panics
    /// If decoding panics.
    pub fn get(&self, key: &K) -> Option<V> {
        let hash = self.core.hasher.hash(key);
        let _operation = self.core.enter().ok()?;
        self.core.get(hash, V::decode)
    }

    /// The value, or that of `make`, inserted if there is room.
    ///
    /// # Panics
    /// If `make` panics; nothing is inserted.
    ///
    /// # Concurrency
    /// `make` runs unlocked. Threads that miss the same key at once each return their own; one stays.
    pub fn get_or_insert_with(&self, key: &K, make: impl FnOnce() -> V) -> V {
        let Ok(value) = self.get_or_try_insert_with(key, || Ok::<_, Infallible>(make()));
        value
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), for a fallible `make`.
    ///
    /// # Errors
    /// That of `make`; nothing is inserted.
    ///
    /// # Panics
    /// If `make` panics.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{Cache, CacheConfig, Store};
    ///
    /// let store = Store::builder().limit(16 << 20).build()?;
    /// let cache: Cache<str, String> = Cache::new(&store, CacheConfig::new())?;
    /// let number = |text: &str| cache.get_or_try_insert_with(text, || text.parse::<u8>().map(|n| n.to_string()));
    /// assert!(number("x").is_err());
    /// assert_eq!(number("007")?, "7");
    /// assert!(cache.contains("007") && !cache.contains("x"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_or_try_insert_with<E>(
        &self,
        key: &K,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let value = make()?;
        // Without room the cache is slower, not wrong.
        let _ = self.insert(key, &value);
        Ok(value)
    }

    /// Removes a value; whether there was one.
    pub fn remove(&self, key: &K) -> bool {
        let hash = self.core.hasher.hash(key);
        self.core.enter().is_ok_and(|_operation| self.core.remove(hash))
    }

    /// Whether the key has a value; counts as no get.
    pub fn contains(&self, key: &K) -> bool {
        let hash = self.core.hasher.hash(key);
        self.core.enter().is_ok_and(|_operation| self.core.contains(hash))
    }
}

impl<K: ?Sized, V> Cache<K, V> {
    /// Entries, unnoticed expired ones included.
    pub fn len(&self) -> u64 {
        self.core.enter().map_or(0, |_operation| self.core.map.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes everything present at the call.
    ///
    /// # Complexity
    /// One look per place, at most 128 per lock.
    pub fn clear(&self) {
        if let Ok(_operation) = self.core.enter() {
            self.core.map.remove_where(|_| true, None, self.core.slots());
        }
    }

    /// Removes expired values at once; returns their number.
    ///
    /// # Complexity
    /// As [`clear`](Self::clear).
    pub fn remove_expired(&self) -> u64 {
        let now = self.core.now();
        let Ok(_operation) = self.core.enter() else { return 0 };
        let goes = |entry: &MapEntry| entry.expires_ms <= now;
        self.core.map.remove_where(goes, Some(Event::Expired), self.core.slots())
    }

    /// The cache's accounts.
    pub fn stats(&self) -> CacheStats {
        self.core.enter().map_or_else(|_| CacheStats::default(), |_operation| self.core.map.stats())
    }

    /// The space's accounts.
    pub fn space_stats(&self) -> SpaceStats {
        self.core.space.stats()
    }
}
