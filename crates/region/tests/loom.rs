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

#[test]
fn a_write_beside_an_eviction_is_not_lost() {
    both(|guards| {
        let region = Arc::new(Model::new(1, 130, guards));
        region.write(0, 1);
        let evictor = {
            let region = Arc::clone(&region);
            thread::spawn(move || region.evict())
        };
        region.write(0, 2);
        assert_eq!(region.read(0), 2);
        evictor.join().expect("no panic");
        region.check();
        region.evict();
        region.check();
        assert_eq!(region.read(0), 2);
        region.check();
    });
}

#[test]
fn a_clean_page_that_is_written_beside_an_eviction() {
    both(|guards| {
        let region = Arc::new(Model::new(1, 130, guards));
        region.write(0, 1);
        region.evict();
        assert_eq!(region.read(0), 1);
        let evictor = {
            let region = Arc::clone(&region);
            thread::spawn(move || region.evict())
        };
        assert_eq!(region.read(0), 1);
        region.write(0, 2);
        evictor.join().expect("no panic");
        assert_eq!(region.read(0), 2);
        region.check();
    });
}

#[test]
fn two_threads_fault_on_one_page() {
    both(|guards| {
        let region = Arc::new(Model::new(1, 130, guards));
        region.write(0, 1);
        region.evict();
        let other = {
            let region = Arc::clone(&region);
            thread::spawn(move || assert_eq!(region.read(0), 1))
        };
        region.write(0, 1);
        other.join().expect("no panic");
        region.check();
    });
}

#[test]
fn two_evictors() {
    both(|guards| {
        let region = Arc::new(Model::new(1, 130, guards));
        region.write(0, 1);
        let other = {
            let region = Arc::clone(&region);
            thread::spawn(move || region.evict())
        };
        region.evict();
        other.join().expect("no panic");
        region.check();
        assert_eq!(region.read(0), 1);
    });
}

/// An old batch must not take a page that came back, was written, and was chosen again.
#[test]
fn two_evictors_beside_a_write() {
    model(2, || {
        // Unmapped pages: every touch takes one back.
        let region = Arc::new(Model::new(1, 130, true));
        region.write(0, 1);
        region.warm(0);
        let spawn = |f: fn(&Model)| {
            let region = Arc::clone(&region);
            thread::spawn(move || f(&region))
        };
        let others = [spawn(|region| region.write(0, 2)), spawn(Model::evict)];
        region.evict();
        for other in others {
            other.join().expect("no panic");
        }
        assert_eq!(region.read(0), 2);
        region.check();
        region.evict();
        assert_eq!(region.read(0), 2);
        region.check();
    });
}

#[test]
fn a_pin_beside_an_eviction() {
    both(|guards| {
        let region = Arc::new(Model::new(1, 130, guards));
        region.write(0, 1);
        let evictor = {
            let region = Arc::clone(&region);
            thread::spawn(move || region.evict())
        };
        region.pinned(0, || {});
        evictor.join().expect("no panic");
        assert_eq!(region.read(0), 1);
        region.check();
    });
}

#[test]
fn a_discard_beside_an_eviction() {
    both(|guards| {
        let region = Arc::new(Model::new(1, 130, guards));
        region.write(0, 1);
        let evictor = {
            let region = Arc::clone(&region);
            thread::spawn(move || region.evict())
        };
        region.discard(0);
        evictor.join().expect("no panic");
        region.check();
        assert_eq!(region.read(0), 0);
        region.check();
    });
}

/// A child reads what was written before the fork or beside it, from a word without a claim.
#[test]
fn a_fork_beside_an_eviction_and_a_write() {
    model(2, || {
        let region = Arc::new(Model::with_snapshots(1, 130));
        region.write(0, 1);
        let spawn = |f: fn(&Model)| {
            let region = Arc::clone(&region);
            thread::spawn(move || f(&region))
        };
        let others = [spawn(|region| region.write(0, 2)), spawn(Model::evict)];
        let child = region.snapshot();
        assert!([[1], [2]].contains(&[child[0]]), "{child:?}");
        for other in others {
            other.join().expect("no panic");
        }
        assert_eq!(region.read(0), 2);
        region.check();
        assert_eq!(region.snapshot(), [2]);
    });
}

/// One credit and two pages: the second touch waits until the evictor has given the first one's.
#[test]
fn a_fault_waits_for_a_credit() {
    both(|guards| {
        let region = Arc::new(Model::new(2, 1, guards));
        region.write(0, 1);
        let evictor = {
            let region = Arc::clone(&region);
            thread::spawn(move || region.evict())
        };
        region.write(1, 2);
        evictor.join().expect("no panic");
        region.check();
    });
}
