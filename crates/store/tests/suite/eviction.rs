//! A page that may be dropped is found whenever there is one: wherever its key lies, whatever lies before it, and
//! whatever the order of another space says.

use std::sync::atomic::{AtomicU64, Ordering};

use pagefold_store::{
    Page, PutError, Space, SpaceConfig, Store,
    eviction::{EvictionOrder, Pages},
};
use pagefold_testkit::{corpus::PageKind, seed::Seed};
use rand::RngExt as _;

fn store(limit: usize) -> Store {
    // Raw pages, so that what fits is known.
    let codec = "raw".parse().expect("a codec");
    Store::builder().codec(codec).limit(limit).shrinker(false).build().expect("room")
}

fn random_page(rng: &mut impl rand::Rng) -> Page {
    let mut page = [0; 4096];
    rng.fill_bytes(&mut page);
    page
}

/// Puts a page under each key; how many were refused.
fn put_all(space: &Space, keys: impl IntoIterator<Item = u64>) -> u64 {
    let mut rng = Seed::for_test(0xe1).rng(0);
    let refused = |key| match space.put(key, &random_page(&mut rng)) {
        Ok(()) => 0,
        Err(PutError::Full { .. }) => 1,
        Err(error) => panic!("{error}"),
    };
    keys.into_iter().map(refused).sum()
}

fn all_may_go(store: &Store, space: &Space) {
    let stored = space.len();
    let report = store.shrink(usize::MAX);
    assert_eq!((space.len(), report.evicted), (0, stored), "{report:?}");
    store.validate().expect("valid");
}

#[test]
fn pages_far_from_key_0_are_dropped_like_others() {
    for first in [0, 2_000_000, 1 << 21, 1 << 40, u64::MAX - 10_000] {
        let store = store(16 << 20);
        let space = store.space(SpaceConfig::ephemeral(u64::MAX)).expect("room");
        assert_eq!(put_all(&space, first..first + 8000), 0, "from {first:#x}");
        assert!(space.stats().evicted > 3000);
        all_may_go(&store, &space);
    }
}

#[test]
fn pages_far_from_each_other_are_dropped_like_others() {
    let mut rng = Seed::for_test(0xe2).rng(0);
    let scattered: Vec<u64> = (0..3000).map(|_| rng.random_range(0..1 << 32)).collect();
    let mostly_dense: Vec<u64> = (0..14_000).chain([(1 << 28) - 1]).collect();
    for keys in [scattered, mostly_dense] {
        let store = store(8 << 20);
        let space = store.space(SpaceConfig::ephemeral(1 << 32)).expect("room");
        assert_eq!(put_all(&space, keys), 0);
        assert!(space.stats().evicted > 500, "{:?}", space.stats());
        all_may_go(&store, &space);
    }
}

#[test]
fn same_filled_pages_in_between_keep_no_page_out() {
    let store = store(4 << 20);
    let space = store.space(SpaceConfig::ephemeral(1 << 20)).expect("room");
    for key in 0..100_000 {
        space.put(key, &[7; 4096]).expect("it takes no memory but its word");
    }
    assert_eq!(put_all(&space, (0..3000).map(|step| 100_000 + step * 64)), 0);
    assert!(space.stats().evicted > 1000);
    // Dropping a page that holds no memory wins nothing.
    store.shrink(usize::MAX);
    assert_eq!(space.len(), 100_000);
    store.validate().expect("valid");
}

/// Chooses nothing, or a key without a page, or panics.
#[derive(Debug)]
enum Useless {
    Nothing,
    WrongKey,
    Panic,
}

impl EvictionOrder for Useless {
    fn next(&self, _pages: &Pages<'_>) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::WrongKey => Some(u64::MAX),
            Self::Panic => panic!("an order that panics"),
        }
    }
}

#[test]
fn an_order_that_chooses_nothing_keeps_no_other_space_out() {
    for useless in [Useless::Nothing, Useless::WrongKey, Useless::Panic] {
        let what = format!("{useless:?}");
        let store = store(4 << 20);
        let config = SpaceConfig::ephemeral(1 << 20).order(Box::new(useless));
        let fullest = store.space(config).expect("room");
        assert_eq!(put_all(&fullest, 0..3000), 0, "{what}");
        let other = store.space(SpaceConfig::persistent(10_000)).expect("room");
        assert_eq!(put_all(&other, 0..500), 0, "{what}");
        assert!(fullest.stats().order_failures > 0, "{what}");
        all_may_go(&store, &fullest);
        assert_eq!(other.len(), 500);
    }
}

#[test]
fn a_page_that_was_read_goes_round_once_more() {
    let store = store(4 << 20);
    let space = store.space(SpaceConfig::ephemeral(u64::MAX)).expect("room");
    let hot: Vec<u64> = (0..50).map(|step| step * 0x0400_0000_0007).collect();
    assert_eq!(put_all(&space, hot.iter().copied()), 0);
    let mut page = [0; 4096];
    for step in 0..4000 {
        assert_eq!(put_all(&space, [1 + step * 0x1_0000_0001]), 0);
        for &key in hot.iter().filter(|_| step % 16 == 0) {
            space.get(key, &mut page).expect("it is read all the time");
        }
    }
    assert!(space.stats().evicted > 2000);
}

/// Counts how often it is asked, and chooses the first page.
#[derive(Debug, Default)]
struct First(AtomicU64);

impl EvictionOrder for &'static First {
    fn next(&self, pages: &Pages<'_>) -> Option<u64> {
        self.0.fetch_add(1, Ordering::Relaxed);
        pages.next_from(0).map(|candidate| candidate.key)
    }
}

#[test]
fn a_choice_is_one_look_whatever_lies_before_the_page() {
    static FIRST: First = First(AtomicU64::new(0));
    let store = store(4 << 20);
    let config = SpaceConfig::ephemeral(u64::MAX).order(Box::new(&FIRST));
    let space = store.space(config).expect("room");
    let mut page = [0; 4096];
    PageKind::Random.fill(&mut Seed::for_test(0xe3).rng(0), &mut page);
    for key in (0..2000).map(|step| step << 45) {
        space.put(key, &page).expect("room");
    }
    let stats = space.stats();
    assert!(stats.evicted > 500 && stats.order_failures == 0, "{stats:?}");
    assert_eq!(FIRST.0.load(Ordering::Relaxed), stats.evicted);
}
