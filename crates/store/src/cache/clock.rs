//! Clocks for caches.

use std::time::{Duration, Instant};

/// A clock that never goes back.
///
/// # Concurrency
/// Threads ask it unlocked.
///
/// # Examples
/// ```
/// use std::{sync::{Arc, Mutex}, time::Duration};
///
/// use pagefold_store::{Cache, CacheConfig, Clock, Store};
///
/// #[derive(Clone, Default)]
/// struct Hand(Arc<Mutex<u64>>);
///
/// impl Clock for Hand {
///     fn now(&self) -> Duration {
///         Duration::from_secs(*self.0.lock().unwrap())
///     }
/// }
///
/// let hand = Hand::default();
/// let store = Store::builder().limit(16 << 20).build()?;
/// let config = CacheConfig::new().time_to_live(Duration::from_secs(60)).clock(hand.clone());
/// let cache: Cache<str, String> = Cache::new(&store, config)?;
/// cache.insert("key", &"value".to_owned())?;
/// *hand.0.lock().unwrap() = 59;
/// assert!(cache.get("key").is_some());
/// *hand.0.lock().unwrap() = 60;
/// assert!(cache.get("key").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Clock: Send + Sync {
    /// Time since a fixed moment.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts at 0.
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
