//! Cache operations on hashes and bytes.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use pagefold_frame::Charge;
use pagefold_sys::quiesce::Entered;

use super::{
    clock::Clock,
    error::CacheError,
    hash::{KeyHash, KeyHasher},
    map::{Map, SpaceSlot},
    shard::MapEntry,
    slots::Slots,
    stats::Event,
};
use crate::{
    encoder::VALUE_MAX,
    error::{GetError, KeyError, ReachedLimit},
    space::Space,
};

/// The stamp before each value.
pub(super) const STAMP_BYTES: usize = 8;
/// Retries of a get.
const ROUNDS: u32 = 8;
/// No expiry.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) struct Core {
    pub(super) map: Arc<Map>,
    pub(super) space: Space,
    pub(super) hasher: KeyHasher,
    pub(super) clock: Box<dyn Clock>,
    pub(super) time_to_live: Option<Duration>,
    /// Set by the first expiring entry; the clock is unused before.
    pub(super) timed: AtomicBool,
    pub(super) stamps: AtomicU64,
    pub(super) _charge: Charge,
}

impl Core {
    /// Map locks are taken inside of store operations.
    pub(super) fn enter(&self) -> Result<Entered<'_>, KeyError> {
        self.space.store().enter()
    }

    pub(super) fn slots(&self) -> Slots<'_> {
        Slots { store: self.space.store(), space: self.space.state() }
    }

    // ORDERING of `timed` and `stamps`: Relaxed. An insert sets `timed` before it links its entry under a shard's lock,
    // so a get that finds the entry under that lock reads `true`. Stamps need only differ.

    /// In milliseconds; 0 while no entry expires.
    pub(super) fn now(&self) -> u64 {
        if self.timed.load(Ordering::Relaxed) {
            millis(self.clock.now()).map_or(NEVER - 1, |now| now.min(NEVER - 1))
        } else {
            0
        }
    }

    /// `bytes`: room for the stamp, then the value.
    pub(super) fn insert(
        &self,
        hash: KeyHash,
        bytes: &mut [u8],
        weight: u32,
        time: Option<Duration>,
    ) -> Result<(), CacheError> {
        let (len, max) = (bytes.len() - STAMP_BYTES, VALUE_MAX - STAMP_BYTES);
        if len > max {
            return Err(CacheError::TooLong { len, max });
        }
        let weight_max = self.map.weight_max();
        if u64::from(weight) > weight_max {
            return Err(CacheError::TooHeavy { weight, max: weight_max });
        }
        let expires_ms = time.map_or(NEVER, |time| {
            self.timed.store(true, Ordering::Relaxed);
            millis(self.clock.now().saturating_add(time)).unwrap_or(NEVER)
        });
        let reserved = Reserved::new(self, hash)?;
        let stamp = self.stamps.fetch_add(1, Ordering::Relaxed);
        let stamp = NonZeroU64::MIN.saturating_add(stamp);
        bytes[..STAMP_BYTES].copy_from_slice(&stamp.get().to_le_bytes());
        let put = self.space.put_bytes(reserved.slot.number, bytes);
        put.map_err(|error| CacheError::from_put(error, len, STAMP_BYTES))?;
        reserved.link(MapEntry { hash, stamp, expires_ms, weight });
        self.map.shed_weight(hash, stamp, self.now(), self.slots());
        Ok(())
    }

    pub(super) fn get<V>(&self, hash: KeyHash, decode: impl Fn(&[u8]) -> Option<V>) -> Option<V> {
        let value = self.find(hash, decode);
        self.map.count(hash, if value.is_some() { Event::Hit } else { Event::Miss });
        value
    }

    fn find<V>(&self, hash: KeyHash, decode: impl Fn(&[u8]) -> Option<V>) -> Option<V> {
        for _ in 0..ROUNDS {
            let found = self.map.find(hash)?;
            if found.entry.expires_ms != NEVER && found.entry.expires_ms <= self.now() {
                self.map.remove_found(&found, Event::Expired, self.slots());
                return None;
            }
            let stamp = found.entry.stamp.get().to_le_bytes();
            let read = self.space.get_with(found.slot.number, |bytes| {
                let (head, value) = bytes.split_first_chunk::<STAMP_BYTES>()?;
                (*head == stamp).then(|| decode(value))
            });
            let why = match read {
                Ok(Some(Some(value))) => return Some(value),
                Ok(Some(None)) | Err(GetError::Corrupt) => Event::Undecodable,
                // Dropped, or removed and perhaps replaced.
                Err(GetError::Absent) => Event::Evicted,
                // Another value took the slot.
                Ok(None) => continue,
                // It stays: a later get may find it.
                Err(
                    GetError::Key(_)
                    | GetError::WrongLength { .. }
                    | GetError::Io(_)
                    | GetError::Timeout
                    | GetError::Base { .. },
                ) => return None,
            };
            if self.map.remove_found(&found, why, self.slots()) {
                return None;
            }
        }
        None
    }

    pub(super) fn remove(&self, hash: KeyHash) -> bool {
        match self.map.find(hash) {
            Some(found) if found.entry.expires_ms <= self.now() => {
                self.map.remove_found(&found, Event::Expired, self.slots());
                false
            }
            Some(_) => self.map.remove(hash, self.slots()),
            None => false,
        }
    }

    pub(super) fn contains(&self, hash: KeyHash) -> bool {
        self.map.find(hash).is_some_and(|found| {
            found.entry.expires_ms > self.now() && self.slots().is_there(found.slot.number)
        })
    }
}

/// Released on drop unless linked.
pub(super) struct Reserved<'a> {
    core: &'a Core,
    pub(super) slot: SpaceSlot,
    is_linked: bool,
}

impl<'a> Reserved<'a> {
    pub(super) fn new(core: &'a Core, hash: KeyHash) -> Result<Self, CacheError> {
        let slots = core.slots();
        let slot = core.map.reserve(hash, core.now(), slots);
        let slot = slot.ok_or(CacheError::Full(ReachedLimit::Store))?;
        Ok(Self { core, slot, is_linked: false })
    }

    pub(super) fn link(mut self, entry: MapEntry) {
        self.core.map.link(self.slot, entry, self.core.slots());
        self.is_linked = true;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.is_linked {
            self.core.map.release(self.slot, self.core.slots());
        }
    }
}

fn millis(time: Duration) -> Option<u64> {
    u64::try_from(time.as_millis()).ok()
}
