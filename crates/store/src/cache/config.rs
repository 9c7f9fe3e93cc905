//! Configures caches.

use std::{fmt, time::Duration};

use super::clock::{Clock, SystemClock};

pub(super) type Weigher<K, V> = Box<dyn Fn(&K, &V) -> u32 + Send + Sync>;

/// Configures a [`Cache`](super::Cache).
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use pagefold_store::{Cache, CacheConfig, Store};
///
/// let store = Store::builder().limit(16 << 20).build()?;
/// let config = CacheConfig::new()
///     .name("thumbnails")
///     .time_to_live(Duration::from_secs(600))
///     .weight_max(1 << 20)
///     .weigher(|_path: &str, image: &Vec<u8>| u32::try_from(image.len()).unwrap_or(u32::MAX));
/// let cache: Cache<str, Vec<u8>> = Cache::new(&store, config)?;
/// cache.insert("a.png", &vec![0; 5000])?;
/// assert_eq!(cache.stats().weight, 5000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CacheConfig<K: ?Sized, V> {
    pub(super) name: Option<String>,
    pub(super) limit: u64,
    pub(super) entries_max: u64,
    pub(super) weight_max: u64,
    pub(super) weigher: Option<Weigher<K, V>>,
    pub(super) time_to_live: Option<Duration>,
    pub(super) clock: Box<dyn Clock>,
}

impl<K: ?Sized, V> fmt::Debug for CacheConfig<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheConfig")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("entries_max", &self.entries_max)
            .field("weight_max", &self.weight_max)
            .field("time_to_live", &self.time_to_live)
            .finish_non_exhaustive()
    }
}

impl<K: ?Sized, V> Default for CacheConfig<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: ?Sized, V> CacheConfig<K, V> {
    /// Bounded by the store's limit and 1 048 576 entries.
    pub fn new() -> Self {
        Self {
            name: None,
            limit: u64::MAX,
            entries_max: 1 << 20,
            weight_max: u64::MAX,
            weigher: None,
            time_to_live: None,
            clock: Box::new(SystemClock::new()),
        }
    }

    /// The space's name; see [`SpaceConfig::name`](crate::SpaceConfig::name).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Limits the compressed bytes; see [`SpaceConfig::limit`](crate::SpaceConfig::limit). None by default.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// The most entries; 1 048 576 by default, at least 1. Reserves 8 bytes of address space each. Shards split them
    /// evenly, so a small cache drops entries early; for an exact number, use [`weight_max`](Self::weight_max) without
    /// a weigher.
    pub fn entries_max(mut self, entries: u64) -> Self {
        self.entries_max = entries.max(1);
        self
    }

    /// The most total weight, exceeded only by inserts under way; unbounded by default.
    pub fn weight_max(mut self, weight: u64) -> Self {
        self.weight_max = weight;
        self
    }

    /// Weighs a value on insertion, unlocked; 1 by default.
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// How long values live, in whole milliseconds; for ever by default.
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = Some(time);
        self
    }

    /// The clock; [`SystemClock`] by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }
}
