//! A value dropped between its put and its link.

use std::num::NonZeroU64;

use super::{
    core::{NEVER, Reserved},
    hash::KeyHash,
    *,
};

fn hash_of(cache: &Cache<u64, String>, key: u64) -> KeyHash {
    cache.core.hasher.hash(&key)
}

#[test]
fn a_value_that_is_dropped_before_its_entry_is_made_gets_none_and_the_key_has_nothing_old() {
    let store = Store::builder().limit(8 << 20).shrinker(false).build().expect("room");
    let cache: Cache<u64, String> = Cache::new(&store, CacheConfig::new()).expect("room");
    cache.insert(&1, &"old".to_owned()).expect("room");
    let (core, hash) = (&cache.core, hash_of(&cache, 1));
    let reserved = Reserved::new(core, hash).expect("room");
    let slot = reserved.slot.number;
    core.space.put_bytes(slot, &[9; 20]).expect("room");
    // A late report of the slot's old value leaves the place reserved.
    core.map.evicted(slot);
    assert!(core.slots().is_there(slot));
    assert!(core.slots().remove(slot));
    core.map.evicted(slot);
    let stamp = NonZeroU64::MAX;
    reserved.link(MapEntry { hash, stamp, expires_ms: NEVER, weight: 1 });
    assert_eq!(cache.len(), 0, "before a get looks");
    assert!(!cache.contains(&1) && cache.get(&1).is_none());
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.weight, stats.evictions), (0, 0, 1));
    assert_eq!(cache.space_stats().stored, 0);
    // Both places are vacant.
    cache.insert(&1, &"new".to_owned()).expect("room");
    assert_eq!(cache.get(&1).as_deref(), Some("new"));
}

#[test]
fn a_reservation_that_is_not_linked_leaves_nothing() {
    let store = Store::builder().limit(8 << 20).shrinker(false).build().expect("room");
    let cache: Cache<u64, String> = Cache::new(&store, CacheConfig::new()).expect("room");
    cache.insert(&1, &"old".to_owned()).expect("room");
    let reserved = Reserved::new(&cache.core, hash_of(&cache, 1)).expect("room");
    let slot = reserved.slot.number;
    cache.core.space.put_bytes(slot, &[9; 20]).expect("room");
    drop(reserved);
    assert!(!cache.core.slots().is_there(slot));
    assert_eq!(cache.get(&1).as_deref(), Some("old"));
    let again = Reserved::new(&cache.core, hash_of(&cache, 1)).expect("room");
    assert_eq!(again.slot.number, slot, "vacant again");
}
