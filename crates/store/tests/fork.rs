//! A fork beside threads at work: the child gets, puts, removes and drops, and never hangs, panics or finds wrong bytes.
#![cfg(not(loom))]

#[path = "suite/training_codec.rs"]
mod training_codec;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use pagefold_store::{
    BaseSource, Cache, CacheConfig, KeyError, LimitFn, Page, PutError, Space, SpaceConfig, Store,
    eviction::{EvictionOrder, Pages},
};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::RngExt as _;

const FORKS: usize = 500;
/// Only a child that waits for ever takes that long.
const HANGS: Duration = Duration::from_secs(120);

/// Says that it is over when it goes, by a failed assertion too: the other threads of a test then end.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Forks; the child runs `f` and ends with 0 if it returns `true`. Says how the child ended.
fn in_child(f: impl FnOnce() -> bool) -> i32 {
    in_child_with(|| i32::from(!f()))
}

/// As [`in_child`], with the exit code that `f` returns.
fn in_child_with(f: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child calls what this file is about, and ends without running anything of the parent.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        let code = catch_unwind(AssertUnwindSafe(f)).unwrap_or(99);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(code) };
    }
    let begin = Instant::now();
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    while unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } != pid {
        if begin.elapsed() > HANGS {
            // SAFETY: as above; it has not been waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            panic!("the child hangs");
        }
        thread::yield_now();
    }
    status
}

fn page(pages: &[Page], key: u64) -> &Page {
    &pages[usize::try_from(key).expect("small") % pages.len()]
}

/// What the child does with a space in which each key has its page or nothing.
fn use_in_child(space: &Space, pages: &[Page]) -> bool {
    let mut back = [0; 4096];
    for key in 0..200 {
        match space.get(key, &mut back) {
            Ok(()) if back != *page(pages, key) => return false,
            _ => {}
        }
        match space.put(key, page(pages, key)) {
            Ok(()) | Err(PutError::Full { .. }) => {}
            Err(_) => return false,
        }
        if key % 3 == 0 && space.remove(key).is_err() {
            return false;
        }
    }
    true
}

#[test]
fn a_child_uses_and_drops_the_stores_of_its_parent() {
    let mut rng = Seed::for_test(0xf0).rng(0);
    let pages: Vec<Page> = Mix::PROCESS
        .pages(&mut rng, 64)
        .iter()
        .map(|bytes| bytes[..].try_into().expect("a page"))
        .collect();
    let source = LimitFn::new(|_| Some(5 << 20));
    let store =
        Store::builder().limit(4 << 20).limit_source(Box::new(source)).build().expect("room");
    let persistent = store.space(SpaceConfig::persistent(1000)).expect("room");
    let ephemeral = store.space(SpaceConfig::ephemeral(1 << 40)).expect("room");
    let cache: Cache<u64, Vec<u8>> = Cache::new(&store, CacheConfig::new()).expect("room");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..2_u64 {
            let (pages, done) = (&pages, &done);
            let (store, persistent, ephemeral, cache) = (&store, &persistent, &ephemeral, &cache);
            scope.spawn(move || {
                let mut rng = Seed::for_test(0xf0).rng(1 + number);
                let mut back = [0; 4096];
                while !done.load(Ordering::Relaxed) {
                    let key = rng.random_range(0..1000);
                    match rng.random_range(0..40) {
                        0 => drop(persistent.remove(key)),
                        1 => drop(store.compact(1 << 16)),
                        2 => drop(store.shrink(1 << 16)),
                        3 => drop(store.stats()),
                        4..10 => drop(cache.insert(&key, &page(pages, key).to_vec())),
                        10..16 => drop(cache.get(&key)),
                        16..26 => drop(ephemeral.put(key << 20, page(pages, key))),
                        26..30 => drop(persistent.get(key, &mut back)),
                        _ => drop(persistent.put(key, page(pages, key))),
                    }
                }
            });
        }
        let _over = Over(&done);
        let handles: Vec<(Store, Space)> =
            (0..FORKS).map(|_| (store.clone(), persistent.clone())).collect();
        for (fork, (own_store, own_space)) in handles.into_iter().enumerate() {
            let status = in_child_with(|| {
                let right = use_in_child(&own_space, &pages);
                let valid = own_store.validate().is_ok();
                let thread_is_gone = !own_store.stats().work.shrinker_runs;
                own_store.drop_space(&ephemeral);
                let value = cache.get(&7).is_none_or(|value| value == page(&pages, 7));
                drop((own_store, own_space));
                // Each of them a bit, so that the code tells which one was wrong.
                [right, valid, thread_is_gone, value]
                    .iter()
                    .zip([1, 2, 4, 8])
                    .map(|(holds, bit)| if *holds { 0 } else { bit })
                    .sum()
            });
            assert_eq!(status, 0, "fork {fork}: its bits 8.. are the exit code");
        }
    });
    store.validate().expect("valid");
    assert!(store.stats().work.shrinker_runs);
}

#[test]
fn a_child_uses_spaces_on_bases_and_drops_them() {
    let mut rng = Seed::for_test(0xf2).rng(0);
    let pages: Vec<Page> = Mix::PROCESS
        .pages(&mut rng, 64)
        .iter()
        .map(|bytes| bytes[..].try_into().expect("a page"))
        .collect();
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("image");
    std::fs::write(&path, pages.as_flattened()).expect("room");
    let store = Store::builder().limit(8 << 20).build().expect("room");
    let resident = 32 << 10;
    let of_file = store.base(BaseSource::path(&path).resident(resident)).expect("a file");
    let of_memory = BaseSource::memory(pages.as_flattened()).resident(resident);
    let of_memory = store.base(of_memory).expect("room");
    let space = |base| store.space(SpaceConfig::persistent(1000).on(base)).expect("room");
    let spaces = [space(&of_file), space(&of_memory)];
    let near = |key: u64| {
        let mut near = *page(&pages, key);
        near[100] ^= 1;
        near
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..2_u64 {
            let (pages, done, near, spaces, store) = (&pages, &done, &near, &spaces, &store);
            scope.spawn(move || {
                let mut rng = Seed::for_test(0xf2).rng(1 + number);
                let mut back = [0; 4096];
                while !done.load(Ordering::Relaxed) {
                    let (key, at) = (rng.random_range(0..64), rng.random_range(0..2_usize));
                    match rng.random_range(0..40) {
                        0 => drop(store.base(BaseSource::memory(&pages[0][..]))),
                        1 => drop(store.stats()),
                        2..20 => drop(spaces[at].get(key, &mut back)),
                        20..30 => drop(spaces[at].put(key, page(pages, key))),
                        _ => drop(spaces[at].put(key, &near(key))),
                    }
                }
            });
        }
        let _over = Over(&done);
        let handles: Vec<_> = (0..FORKS / 5).map(|_| (store.clone(), spaces.clone())).collect();
        for (own_store, own_spaces) in handles {
            let status = in_child(|| {
                let mut back = [0; 4096];
                for space in &own_spaces {
                    for key in 0..64 {
                        if space.put(key, &near(key)).is_err()
                            || space.get(key, &mut back).is_err()
                            || back != near(key)
                        {
                            return false;
                        }
                    }
                }
                let own = own_store.base(BaseSource::path(&path)).is_ok();
                let valid = own_store.validate().is_ok() && own_store.stats().bases.len() >= 2;
                drop((own_spaces, own_store));
                own && valid
            });
            assert_eq!(status, 0);
        }
    });
    store.validate().expect("valid");
}

#[test]
fn a_child_drops_the_last_handle_of_a_store() {
    let store = Store::builder().limit(4 << 20).build().expect("room");
    let space = store.space(SpaceConfig::persistent(100)).expect("room");
    space.put(1, &std::array::from_fn(|at| (at / 7).to_le_bytes()[0])).expect("room");
    let status = in_child(move || {
        drop(space);
        drop(store);
        true
    });
    assert_eq!(status, 0);
}

/// Forks in the middle of an eviction.
#[derive(Debug)]
struct Forks;

impl EvictionOrder for Forks {
    fn next(&self, pages: &Pages<'_>) -> Option<u64> {
        static ONCE: AtomicBool = AtomicBool::new(false);
        if !ONCE.swap(true, Ordering::Relaxed) {
            // The child goes on with this very put, and ends after it.
            assert_eq!(in_child(|| pages.next_from(0).is_some()), 0);
        }
        pages.next_from(0).map(|candidate| candidate.key)
    }
}

#[test]
fn a_fork_from_inside_a_callback_waits_for_nothing_of_its_own_thread() {
    let store = Store::builder().codec("raw".parse().expect("a codec")).limit(2 << 20);
    let store = store.shrinker(false).build().expect("room");
    let config = SpaceConfig::ephemeral(10_000).order(Box::new(Forks));
    let space = store.space(config).expect("room");
    let mut rng = Seed::for_test(0xf1).rng(0);
    for key in 0..1000 {
        let mut page = [0; 4096];
        rand::Rng::fill_bytes(&mut rng, &mut page);
        space.put(key, &page).expect("room");
    }
    store.validate().expect("valid");
}

/// Keeps the put that asks it under way until it is released.
#[derive(Debug, Default)]
struct Blocks {
    inside: AtomicBool,
    release: AtomicBool,
}

impl EvictionOrder for &'static Blocks {
    fn next(&self, pages: &Pages<'_>) -> Option<u64> {
        self.inside.store(true, Ordering::Relaxed);
        while !self.release.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        pages.next_from(0).map(|candidate| candidate.key)
    }
}

#[test]
fn a_store_that_a_fork_left_half_changed_says_so_and_nothing_hangs() {
    static BLOCKS: Blocks =
        Blocks { inside: AtomicBool::new(false), release: AtomicBool::new(false) };
    // In a process of its own, because the wait of a fork is a setting of the process.
    let status = in_child(|| {
        pagefold_store::set_fork_wait(Duration::from_millis(50));
        let builder = Store::builder().codec("raw".parse().expect("a codec")).limit(2 << 20);
        let store = builder.shrinker(false).build().expect("room");
        let config = SpaceConfig::ephemeral(10_000).order(Box::new(&BLOCKS));
        let space = store.space(config).expect("room");
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut rng = Seed::for_test(0xf2).rng(0);
                for key in 0..1000 {
                    let mut page = [0; 4096];
                    rand::Rng::fill_bytes(&mut rng, &mut page);
                    space.put(key, &page).expect("room");
                }
            });
            while !BLOCKS.inside.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let (own_store, own_space) = (store.clone(), space.clone());
            let status = in_child(move || {
                let mut back = [0; 4096];
                let refused = own_space.get(2, &mut back) == Err(KeyError::Abandoned.into())
                    && own_space.put(2, &back) == Err(KeyError::Abandoned.into())
                    && own_space.remove(1) == Err(KeyError::Abandoned)
                    && own_space.try_get(1, &mut back) == Err(KeyError::Abandoned.into())
                    && own_space.keys(..).next().is_none()
                    && own_store.validate().is_err()
                    && own_store.stats().spaces.is_empty();
                drop((own_space, own_store));
                refused
            });
            BLOCKS.release.store(true, Ordering::Relaxed);
            status == 0
        })
    });
    assert_eq!(status, 0);
}

#[test]
fn a_fork_does_not_wait_for_a_training_and_the_child_has_the_codecs() {
    use training_codec::{Gives, Learner, Shared, page};
    let shared = std::sync::Arc::new(Shared::default());
    shared.sleeps.store(2000, Ordering::Relaxed);
    let builder = Store::builder().limit(32 << 20).codec_with(Learner::new(Gives::Good, &shared));
    let store = builder.training_steps(20, 20, u32::MAX).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    let works_in_child = || {
        let mut back = [0; 4096];
        for key in 0..100 {
            if space.get(key, &mut back).is_err() || back != page(1, key) {
                return false;
            }
            if space.put(key + 100, &page(2, key)).is_err() {
                return false;
            }
        }
        store.flush();
        store.maintain(usize::MAX);
        let is_right = |key| space.get(key + 100, &mut back).is_ok() && back == page(2, key);
        (0..100).all(is_right) && space.remove(7) == Ok(true) && store.validate().is_ok()
    };
    (0..100).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    let begin = Instant::now();
    while shared.trainings.load(Ordering::Relaxed) == 0 {
        assert!(begin.elapsed() < HANGS, "{:?}", store.stats());
        thread::yield_now();
    }
    assert_eq!(in_child(works_in_child), 0);
    assert_eq!(store.stats().training.trained, 0, "the training of the parent goes on");
    while store.stats().training.adopted == 0 {
        assert!(begin.elapsed() < HANGS, "{:?}", store.stats());
        // Some of these come while the pages that were held out are compressed.
        assert_eq!(in_child(works_in_child), 0);
    }
    (0..100).for_each(|key| space.put(key, &page(1, key)).expect("room"));
    store.flush();
    assert!(store.stats().training.codecs[0].objects > 0);
    assert_eq!(in_child(works_in_child), 0);
    store.validate().expect("valid");
}

/// A page that is like its neighbours, so that clusters are worth it.
fn idle_page(key: u64, number: u64) -> Page {
    let mut page = [0; 4096];
    for (at, bytes) in (0_u64..).zip(page.chunks_exact_mut(8)) {
        let seed = if at.is_multiple_of(8) { number * 131 + key } else { key / 8 };
        bytes.copy_from_slice(&(seed * 512 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    page[..8].copy_from_slice(&number.to_le_bytes());
    page
}

fn is_idle_page(page: &Page, key: u64) -> bool {
    *page == idle_page(key, u64::from_le_bytes(*page.first_chunk().expect("8 bytes")))
}

/// What the child does with pages of clusters: reads, passes of its own, and every way out.
fn use_clusters_in_child(store: &Store, space: &Space, own: &Space) -> i32 {
    let mut back = [0; 4096];
    for key in 0..512 {
        if space.get(key, &mut back).is_ok_and(|()| !is_idle_page(&back, key)) {
            return 1;
        }
        let never_waits = space.try_get(key, &mut back);
        if never_waits.is_ok() && !is_idle_page(&back, key) {
            return 2;
        }
    }
    // No thread of the parent has this space.
    let is_there = |key, number| {
        let mut back = [0; 4096];
        own.get(key, &mut back).is_ok() && back == idle_page(key, number)
    };
    if !(0..64).all(|key| is_there(key, 0)) {
        return 3;
    }
    for key in (0..63).step_by(3) {
        if own.put(key, &idle_page(key, 1)).is_err() || own.remove(key + 1) != Ok(true) {
            return 4;
        }
    }
    store.maintain(64 * 4096);
    store.idle_pass();
    store.idle_pass();
    let found = |key| match key % 3 {
        0 => is_there(key, 1),
        1 => !own.contains(key).unwrap_or(true),
        _ => is_there(key, 0),
    };
    if !(0..63).all(found) {
        return 5;
    }
    if store.stats().idle.clusters == 0 {
        return 6;
    }
    store.drop_space(space);
    if store.validate().is_err() { 7 } else { 0 }
}

#[test]
fn a_child_has_the_clusters_of_its_parent_and_makes_its_own() {
    let builder = Store::builder().limit(32 << 20).training_steps(40, 200, u32::MAX);
    let builder = builder.idle_interval(Duration::from_millis(5)).idle_share(100);
    let store = builder.build().expect("room");
    let space = store.space(SpaceConfig::persistent(512)).expect("room");
    // As long as no thread reads these, they stay in clusters.
    let own = store.space(SpaceConfig::persistent(64)).expect("room");
    (0..512).for_each(|key| space.put(key, &idle_page(key, 0)).expect("room"));
    (0..64).for_each(|key| own.put(key, &idle_page(key, 0)).expect("room"));
    store.flush();
    while store.stats().idle.pages < 64 {
        store.idle_pass();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&done);
        for number in 0..2_u64 {
            let (store, space, done) = (&store, &space, &done);
            scope.spawn(move || {
                let mut rng = Seed::for_test(0xf3).rng(number);
                let mut back = [0; 4096];
                while !done.load(Ordering::Relaxed) {
                    let key = rng.random_range(0..512);
                    match rng.random_range(0..100) {
                        0..4 => drop(store.idle_pass()),
                        4..10 => drop(store.maintain(8 * 4096)),
                        10..40 => {
                            space.put(key, &idle_page(key, rng.random_range(0..9))).expect("room");
                        }
                        40..50 => drop(space.remove(key)),
                        _ => {
                            let got = space.get(key, &mut back);
                            assert!(got.is_err() || is_idle_page(&back, key), "page {key}");
                        }
                    }
                }
            });
        }
        for fork in 0..FORKS / 2 {
            let status = in_child_with(|| use_clusters_in_child(&store, &space, &own));
            assert_eq!(status, 0, "fork {fork}: its bits 8.. are the exit code");
        }
    });
    let idle = store.stats().idle;
    assert!(idle.joined > 64 && idle.returned > 0, "{idle:?}");
    store.validate().expect("valid");
}
