//! A store in use for long: spaces that come and go, limits that change, pages of another nature now and then, all tiers
//! with short intervals; memory stays flat.
//!
//! 3 s by default; `PAGEFOLD_SOAK_SECONDS=1200` is the long form.
#![cfg(not(loom))]

use std::{
    cmp::Ordering,
    env, thread,
    time::{Duration, Instant},
};

use pagefold_pool::Allocator;
use pagefold_store::{GetError, Page, PutError, SpaceConfig, Store, StoreStats};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::RngExt;

/// A quarter of it is too little for clusters, which then stay as they are.
const LIMIT: usize = 32 << 20;
const KEYS: u64 = 20_000;
/// Most calls use these; the others are idle for a while.
const HOT: u64 = KEYS / 16;

/// The cycle after which memory is as it stays.
const WARM: u64 = 2;

/// Random use of a space that lives for this long.
fn use_space(store: &Store, seed: Seed, stream: u64, pages: &[Vec<u8>], time: Duration) -> u64 {
    let mut rng = seed.rng(stream);
    let config = if stream.is_multiple_of(2) {
        SpaceConfig::ephemeral(KEYS)
    } else {
        SpaceConfig::persistent(KEYS).limit(4 << 20)
    };
    let space = store.space(config).expect("room");
    let (mut back, mut operations): (Page, u64) = ([0; 4096], 0);
    let until = Instant::now() + time;
    while Instant::now() < until {
        for _ in 0..100 {
            let keys = if rng.random_ratio(15, 16) { HOT } else { KEYS };
            let key = rng.random_range(0..keys);
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

/// The accounts once no training has its charge any more: what is resident is at most `bytes`, or two seconds have passed.
fn at_rest(store: &Store, bytes: u64) -> StoreStats {
    store.pause_workers();
    let began = Instant::now();
    let mut stats = store.stats();
    while stats.resident_bytes > bytes && began.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(5));
        stats = store.stats();
    }
    store.resume_workers();
    stats
}

/// Pages of text that no dictionary of heaps has seen.
fn records(rng: &mut impl rand::Rng, count: usize) -> Vec<Vec<u8>> {
    let mut record = || {
        format!(
            "<row key='{:x}'><cell>{}</cell><cell kind='total'>{}</cell></row>",
            rng.random_range(0..1_000_000),
            ["north", "south", "east", "west"][rng.random_range(0..4)],
            rng.random_range(0..5000),
        )
    };
    let mut page = || (0..100).map(|_| record()).collect::<String>().into_bytes()[..4096].to_vec();
    (0..count).map(|_| page()).collect()
}

#[test]
fn memory_stays_flat() {
    let seed = *Seed::for_test(0x50a4);
    let seconds = env::var("PAGEFOLD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    // A space lives for four passes and more.
    let (life, interval) = match seconds {
        Some(_) => (Duration::from_secs(5), Duration::from_secs(1)),
        None => (Duration::from_millis(400), Duration::from_millis(50)),
    };
    let builder = Store::builder().allocator(Allocator::nbud()).limit(LIMIT);
    let builder = builder.idle_interval(interval).idle_share(20);
    let store = builder.training_steps(200, 500, u32::MAX).build().expect("room");
    // The second kind of data has another mean length, and a dictionary of its own is better.
    let kinds = [Mix::PROCESS.pages(&mut seed.rng(1000), 997), records(&mut seed.rng(1001), 997)];
    let (mut baseline, mut rss_baseline, mut cycle, mut operations) = (0, 0, 0, 0);
    while Instant::now() < until || cycle < 4 {
        let pages = &kinds[usize::try_from(cycle / 2 % 2).expect("small")];
        thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|number| {
                    let (store, stream) = (&store, cycle * 3 + number);
                    scope.spawn(move || use_space(store, seed, stream, pages, life))
                })
                .collect();
            for step in 0..4_usize {
                thread::sleep(life / 5);
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
        // Frees the codecs that have no page any more.
        store.maintain(0);
        store.validate().expect("valid");
        // A dictionary for clusters may come later, and one be replaced by a longer one.
        // In a short run the codec of clusters may come after the baseline.
        let more = if seconds.is_some() { 512 << 10 } else { 2 << 20 };
        let at_most = match cycle.cmp(&WARM) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => 0,
            Ordering::Greater => baseline + more,
        };
        let stats = at_rest(&store, at_most);
        assert_eq!((stats.stored, stats.payload_bytes), (0, 0), "every space is gone");
        assert_eq!((stats.idle.clusters, stats.idle.bytes, stats.staging.pages), (0, 0, 0));
        let rss = rss();
        // The first cycles warm up: codec contexts, the heap, tables, dictionaries for both kinds of data.
        if cycle == WARM {
            (baseline, rss_baseline) = (stats.resident_bytes, rss);
        }
        if cycle > WARM {
            assert!(stats.resident_bytes <= baseline + more, "cycle {cycle}: {stats:?}");
            assert!(rss <= rss_baseline + (8 << 20), "cycle {cycle}: {rss_baseline} and now {rss}");
        }
        cycle += 1;
    }
    eprintln!(
        "{cycle} cycles, {operations} operations, {baseline} bytes after cycle {WARM} and {} at the end; the kernel says \
         {rss_baseline} and {}",
        store.stats().resident_bytes,
        rss()
    );
    let stats = store.stats();
    eprintln!("{:?}\n{:?}\n{:?}", stats.staging, stats.training, stats.idle);
    assert!(stats.staging.compressed > 0, "{stats:?}");
    assert_eq!(stats.staging.worker_panics + stats.idle.failures, 0);
    // Spaces of a short run live for too short a time to be sure of these.
    if seconds.is_some() {
        assert!(stats.idle.joined > 0 && stats.training.adopted > 0, "{stats:?}");
        assert!(stats.idle.returned > 0 && stats.idle.split > 0, "{stats:?}");
        assert!(stats.training.retired > 0, "{stats:?}");
    }
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
