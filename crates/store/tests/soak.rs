//! A store in use for long: spaces that come and go, limits that change, everything at once; memory stays flat.
//!
//! 3 s by default; `PAGEFOLD_SOAK_SECONDS=600` is the long form.
#![cfg(not(loom))]

use std::{
    env, thread,
    time::{Duration, Instant},
};

use pagefold_pool::Allocator;
use pagefold_store::{GetError, Page, PutError, SpaceConfig, Store};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::RngExt;

const LIMIT: usize = 16 << 20;
const KEYS: u64 = 20_000;

/// Random use of a space that lives for this long.
fn use_space(store: &Store, seed: Seed, stream: u64, pages: &[Vec<u8>], time: Duration) -> u64 {
    let mut rng = seed.rng(stream);
    let config = if stream.is_multiple_of(2) {
        SpaceConfig::ephemeral(KEYS)
    } else {
        SpaceConfig::persistent(KEYS).limit(3 << 20)
    };
    let space = store.space(config).expect("room");
    let (mut back, mut operations): (Page, u64) = ([0; 4096], 0);
    let until = Instant::now() + time;
    while Instant::now() < until {
        for _ in 0..100 {
            let key = rng.random_range(0..KEYS);
            // Which page it is follows from the key, so that everybody can check it.
            let number = usize::try_from(key).expect("small") % pages.len();
            let page = pages[number].as_slice();
            match rng.random_range(0..20) {
                0..10 => match space.put_from(key, page) {
                    Ok(()) | Err(PutError::Full { .. }) => {}
                    Err(error) => panic!("{error}"),
                },
                10..17 => match space.get(key, &mut back) {
                    Ok(()) => assert!(back == page, "key {key} is another page"),
                    Err(error) => assert_eq!(error, GetError::Absent),
                },
                17..19 => _ = space.remove(key).expect("a key"),
                _ => _ = space.remove_range(key..key + 50).expect("alive"),
            }
            operations += 1;
        }
    }
    operations
}

#[test]
fn memory_stays_flat() {
    let seed = *Seed::for_test(0x50a4);
    let seconds = env::var("PAGEFOLD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    let store = Store::builder().allocator(Allocator::nbud()).limit(LIMIT).build().expect("room");
    let pages = Mix::PROCESS.pages(&mut seed.rng(1000), 997);
    let (mut baseline, mut rss_baseline, mut cycle, mut operations) = (0, 0, 0, 0);
    while Instant::now() < until || cycle < 3 {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|number| {
                    let (store, pages) = (&store, &pages);
                    let stream = cycle * 3 + number;
                    let time = Duration::from_millis(400);
                    scope.spawn(move || use_space(store, seed, stream, pages, time))
                })
                .collect();
            for step in 0..4_usize {
                thread::sleep(Duration::from_millis(80));
                let wanted = LIMIT / 4 * (1 + (step * 3) % 4);
                // What persistent spaces hold may not fit; then the old one stays.
                let _ = store.set_limit(wanted);
                assert!(store.resident() <= store.limit());
            }
            for thread in threads {
                operations += thread.join().expect("no panic");
            }
        });
        store.set_limit(LIMIT).expect("raised");
        store.shrink(usize::MAX);
        store.validate().expect("valid");
        let stats = store.stats();
        assert_eq!((stats.stored, stats.payload_bytes), (0, 0), "every space is gone");
        let rss = rss();
        // The first cycles warm up: codec contexts, the heap, tables.
        if cycle == 1 {
            (baseline, rss_baseline) = (stats.resident_bytes, rss);
        }
        if cycle > 1 {
            assert!(stats.resident_bytes <= baseline + (256 << 10), "cycle {cycle}: {stats:?}");
            assert!(rss <= rss_baseline + (8 << 20), "cycle {cycle}: {rss_baseline} and now {rss}");
        }
        cycle += 1;
    }
    eprintln!(
        "{cycle} cycles, {operations} operations, {baseline} bytes after the second and {} at the end; the kernel says \
         {rss_baseline} and {}",
        store.stats().resident_bytes,
        rss()
    );
}

#[cfg(target_os = "linux")]
fn rss() -> u64 {
    use pagefold_procfs::{Process, rss_anon};
    rss_anon(Process::Current).expect("Linux")
}

#[cfg(not(target_os = "linux"))]
fn rss() -> u64 {
    0
}
