//! Models of a page: touched, evicted, pinned and discarded by threads. `cargo xtask loom -p pagefold-region` runs them.
#![cfg(loom)]

use loom::{sync::Arc, thread};
use pagefold_region::model::Model;

fn model(bound: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(bound));
    builder.max_branches = 100_000;
    builder.check(f);
}

/// Each model in both forms of a backing.
fn both(f: impl Fn(bool) + Sync + Send + Copy + 'static) {
    for guards in [false, true] {
        model(3, move || f(guards));
    }
}

/// A page that was written once, and `others` in threads beside `f`. Then the invariants hold, and the page is `last`.
fn beside(guards: bool, others: &[fn(&Model)], f: impl FnOnce(&Model), last: u8) {
    let region = written(guards);
    beside_in(&region, others, f);
    assert_eq!(region.read(0), last);
    region.check();
}

fn written(guards: bool) -> Arc<Model> {
    let region = Arc::new(Model::new(1, 130, guards));
    region.write(0, 1);
    region
}

/// The invariants hold when all have ended.
fn beside_in(region: &Arc<Model>, others: &[fn(&Model)], f: impl FnOnce(&Model)) {
    let spawn = |&other: &fn(&Model)| {
        let region = Arc::clone(region);
        thread::spawn(move || other(&region))
    };
    let others: Vec<_> = others.iter().map(spawn).collect();
    f(region);
    for other in others {
        other.join().expect("no panic");
    }
    region.check();
}

#[test]
fn a_write_beside_an_eviction_is_not_lost() {
    both(|guards| {
        let region = written(guards);
        beside_in(&region, &[Model::evict], |region| {
            region.write(0, 2);
            assert_eq!(region.read(0), 2);
        });
        region.evict();
        region.check();
        assert_eq!(region.read(0), 2);
        region.check();
    });
}

#[test]
fn a_clean_page_that_is_written_beside_an_eviction() {
    both(|guards| {
        let region = written(guards);
        region.evict();
        assert_eq!(region.read(0), 1);
        beside_in(&region, &[Model::evict], |region| {
            assert_eq!(region.read(0), 1);
            region.write(0, 2);
        });
        assert_eq!(region.read(0), 2);
        region.check();
    });
}

#[test]
fn two_threads_fault_on_one_page() {
    both(|guards| {
        let region = written(guards);
        region.evict();
        let reads: fn(&Model) = |region| assert_eq!(region.read(0), 1);
        beside_in(&region, &[reads], |region| region.write(0, 1));
    });
}

#[test]
fn two_evictors() {
    both(|guards| beside(guards, &[Model::evict], Model::evict, 1));
}

/// An old batch must not take a page that came back, was written, and was chosen again.
#[test]
fn two_evictors_beside_a_write() {
    model(2, || {
        // Unmapped pages: every touch takes one back.
        let region = written(true);
        region.warm(0);
        let writes: fn(&Model) = |region| region.write(0, 2);
        beside_in(&region, &[writes, Model::evict], Model::evict);
        assert_eq!(region.read(0), 2);
        region.check();
        region.evict();
        assert_eq!(region.read(0), 2);
        region.check();
    });
}

#[test]
fn a_pin_beside_an_eviction() {
    both(|guards| beside(guards, &[Model::evict], |region| region.pinned(0, || {}), 1));
}

#[test]
fn a_discard_beside_an_eviction() {
    both(|guards| beside(guards, &[Model::evict], |region| region.discard(0), 0));
}

/// What a child reads beside `other`, from a word without a claim; afterwards the parent has `then`.
fn fork_beside(other: fn(&Model), expected: [u8; 2], then: u8) {
    model(2, move || {
        let region = Arc::new(Model::with_snapshots(1, 130));
        region.write(0, 1);
        let beside = {
            let region = Arc::clone(&region);
            thread::spawn(move || other(&region))
        };
        let child = region.snapshot();
        assert!(expected.contains(&child[0]), "{child:?}");
        beside.join().expect("no panic");
        assert_eq!(region.read(0), then);
        region.check();
        assert_eq!(region.snapshot(), [then]);
    });
}

#[test]
fn a_fork_beside_an_eviction() {
    fork_beside(Model::evict, [1, 1], 1);
}

#[test]
fn a_fork_beside_a_write() {
    fork_beside(|region| region.write(0, 2), [1, 2], 2);
}

/// One credit and two pages: the second touch waits until the evictor has given the first one's.
#[test]
fn a_fault_waits_for_a_credit() {
    both(|guards| {
        let region = Arc::new(Model::new(2, 1, guards));
        region.write(0, 1);
        beside_in(&region, &[Model::evict], |region| region.write(1, 2));
    });
}
