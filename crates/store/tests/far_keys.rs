//! What an index costs follows from what is stored: memory and steps, whatever the highest key.
#![cfg(not(loom))]

use std::fs;

use pagefold_store::{Page, SpaceConfig, Store};
use pagefold_testkit::seed::Seed;
use rand::{Rng as _, RngExt as _};

fn store(limit: usize) -> Store {
    let codec = "raw".parse().expect("a codec");
    Store::builder().codec(codec).limit(limit).shrinker(false).build().expect("room")
}

fn page() -> Page {
    let mut page = [0; 4096];
    Seed::for_test(0xfa).rng(0).fill_bytes(&mut page);
    page
}

/// Anonymous memory of this process that is resident, in bytes.
fn rss_anon_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux 4.5");
    let kib: usize = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("kB");
    kib << 10
}

#[test]
fn an_empty_store_has_room_again_whatever_keys_it_had() {
    let limit = 16 << 20;
    let store = store(limit);
    let space = store.space(SpaceConfig::persistent(u64::MAX)).expect("room");
    let empty = store.resident();
    let page = page();
    for round in 0..10_u64 {
        let mut keys = Vec::new();
        for step in 0_u64.. {
            let key = (step + round * 1_000_000).wrapping_mul(0x9e37_79b9_7f4a_7c15) % u64::MAX;
            match space.put(key, &page) {
                Ok(()) => keys.push(key),
                Err(_) => break,
            }
        }
        assert!(keys.len() > 2500, "{} pages at round {round}", keys.len());
        for key in keys {
            assert_eq!(space.remove(key), Ok(true));
        }
        store.validate().expect("valid");
        store.shrink(usize::MAX);
        let resident = store.resident();
        assert!(
            resident <= empty + limit / 32,
            "{resident} bytes when empty again, {empty} before"
        );
    }
}

#[test]
fn a_far_key_costs_what_a_near_one_costs() {
    let page = page();
    for far in [1 << 20, 1 << 34, 1 << 40, 1 << 63, u64::MAX - 1] {
        let store = store(4 << 20);
        let space = store.space(SpaceConfig::persistent(u64::MAX)).expect("room");
        let other = store.space(SpaceConfig::persistent(100)).expect("room");
        other.put(0, &page).expect("room");
        let (resident, rss) = (store.resident(), rss_anon_bytes());
        space.put(far, &page).expect("room");
        assert!(store.resident() - resident <= 64 << 10, "key {far:#x}");
        let more = rss_anon_bytes().saturating_sub(rss);
        // Other tests of this binary run beside it.
        assert!(more < 24 << 20, "key {far:#x}: {more} bytes more are resident");
        let mut back = [0; 4096];
        space.get(far, &mut back).expect("there");
        assert_eq!(back, page);
        store.validate().expect("valid");
        store.drop_space(&space);
        store.validate().expect("valid");
    }
}

#[test]
fn page_numbers_of_an_ordinary_process_fit_the_account() {
    // Clusters as the kernel lays out a program, its heap, libraries and stack.
    let limit = 32 << 20;
    let store = store(limit);
    let space = store.space(SpaceConfig::persistent(1 << 35)).expect("room");
    let mut rng = Seed::for_test(0xfb).rng(0);
    let rss = rss_anon_bytes();
    let page = page();
    let mut put = 0_u64;
    for base in [0x5_5555_5554_u64, 0x5_5555_6000, 0x7_ffff_7d00, 0x7_ffff_fff0, 0x7_fff0_0000] {
        for _ in 0..1200 {
            put += u64::from(space.put(base + rng.random_range(0..4000), &page).is_ok());
        }
    }
    assert!(put > 4000, "{put}");
    let more = rss_anon_bytes().saturating_sub(rss);
    assert!(store.resident() <= limit && more <= limit + (24 << 20), "{more} bytes more");
    store.validate().expect("valid");
}
