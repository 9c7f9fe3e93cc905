//! The configuration of a cache.

use std::{fmt, time::Duration};

use super::clock::{Clock, SystemClock};

/// What a value weighs.
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
    /// A cache that is bounded by the limit of its store alone, and whose values stay as long as there is room.
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

    /// The name of the cache's space, for statistics; see [`SpaceConfig::name`](crate::SpaceConfig::name).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A limit on the bytes of the values, compressed; see [`SpaceConfig::limit`](crate::SpaceConfig::limit). None by
    /// default: the cache then takes what the store's limit and its other spaces leave.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// For how many entries there is place at most; 1 048 576 by default, and at least 1. Address space for them is
    /// reserved (8 bytes each). The map has up to 16 shards, and each has place for an even part, so a cache of few
    /// entries drops some before all places are taken. For an exact number set [`weight_max`](Self::weight_max), and leave
    /// the weigher out.
    pub fn entries_max(mut self, entries: u64) -> Self {
        self.entries_max = entries.max(1);
        self
    }

    /// What all values may weigh together; no bound by default. Exceeded by no more than what inserts under way weigh.
    pub fn weight_max(mut self, weight: u64) -> Self {
        self.weight_max = weight;
        self
    }

    /// What a value weighs, asked once, when it is inserted; 1 by default. Called with no lock held.
    pub fn weigher(mut self, weigher: impl Fn(&K, &V) -> u32 + Send + Sync + 'static) -> Self {
        self.weigher = Some(Box::new(weigher));
        self
    }

    /// How long a value is good after it was inserted; for ever by default. To the millisecond, rounded down.
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = Some(time);
        self
    }

    /// What the time is taken from; [`SystemClock`] by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }
}
