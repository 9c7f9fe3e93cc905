//! Chains: single frames anywhere under one descriptor, which is moved frame by frame.
#![cfg(not(loom))]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use pagefold_frame::{
    Arena, ArenaConfig, Busy, Chain, DescriptorId, FrameCount, FrameMigrateError, FrameSource,
    HeapSource, LockError, MemoryBudget, Mobility, OutOfFrames, Release, ReserveAccess, Slab,
    SlabConfig, Tag,
};
use pagefold_testkit::faulty::{FaultPlan, FaultySource};
use support::{Numbers, fill, is_filled};

/// With as many words as fill a descriptor of 64 bytes.
type Chains = Slab<u32, 6, Chain>;

struct Rig {
    memory: Arc<MemoryBudget>,
    arena: Arc<Arena>,
    chains: Chains,
}

fn rig_over(source: Box<dyn FrameSource>, limit: usize, address_space: usize) -> Rig {
    let memory = Arc::new(MemoryBudget::new(source, limit));
    let arena =
        Arc::new(Arena::new(&memory, ArenaConfig { address_space }).expect("address space"));
    let config = SlabConfig {
        tag: Tag::new(3),
        mobility: Mobility::Movable,
        capacity: address_space / 4096,
    };
    let chains = Slab::new(&arena, config).expect("address space");
    Rig { memory, arena, chains }
}

fn rig() -> Rig {
    rig_over(Box::new(HeapSource::new()), 20_000, 64 << 20)
}

impl Rig {
    /// A chain each of whose frames is filled with a number of its own.
    fn create(&self, frames: u32, value: u32) -> Result<DescriptorId, OutOfFrames> {
        let mut guard =
            self.chains.create(FrameCount::new(frames), ReserveAccess::Normal, value)?;
        let id = guard.id();
        let (_, mut bytes) = guard.parts();
        for number in 0..bytes.frames() {
            fill(bytes.frame_mut(number), value + u32::try_from(number).expect("few"));
        }
        Ok(id)
    }

    fn check(&self, id: DescriptorId) -> Result<(), LockError> {
        let guard = self.chains.read(id)?;
        let (value, bytes) = guard.parts();
        assert_eq!(bytes.frames(), guard.frames().get() as usize);
        for number in 0..bytes.frames() {
            let expected = value + u32::try_from(number).expect("few");
            assert!(is_filled(bytes.frame(number), expected), "frame {number} of {id:?} changed");
        }
        Ok(())
    }

    fn validate(&self) {
        while self.chains.drain_deferred(&mut |_| {}) {}
        self.chains.validate().expect("valid chains");
        self.arena.validate().expect("a valid arena");
        assert!(self.memory.used() <= self.memory.limit());
    }
}

#[test]
fn a_descriptor_of_a_chain_takes_64_bytes_with_three_words_and_a_small_body() {
    assert_eq!(Slab::<[u16; 8], 3, Chain>::DESCRIPTOR_BYTES, 64);
    assert_eq!(Slab::<u32, 1>::DESCRIPTOR_BYTES, 16, "a run pays nothing for it");
}

#[test]
fn every_frame_of_a_chain_has_bytes_of_its_own_and_comes_back() {
    let rig = rig();
    // Something in between, so that frames of one chain are not neighbours.
    let ids: Vec<DescriptorId> =
        (0..64).map(|n| rig.create(n % 8 + 1, 100 * n).expect("room")).collect();
    for id in ids.iter().skip(1).step_by(2) {
        assert_eq!(rig.chains.reap(*id), Release::Now);
    }
    let scattered = rig.create(8, 7000).expect("room");
    rig.validate();
    for id in ids.iter().step_by(2).chain([&scattered]) {
        rig.check(*id).expect("lives");
    }
    for id in ids.iter().step_by(2).chain([&scattered]) {
        rig.chains.try_write(*id).expect("no guard locks it").retire();
    }
    rig.validate();
    assert_eq!(rig.arena.stats().allocated, 0);
}

#[test]
fn each_frame_moves_alone_with_its_bytes() {
    let rig = rig();
    let id = rig.create(8, 50).expect("room");
    for number in [7, 0, 3, 3, 0] {
        let before = rig.arena.migration().bytes_copied;
        assert_eq!(rig.arena.migrate_extent(&rig.chains, id, number), Ok(FrameCount::ONE));
        assert_eq!(rig.arena.migration().bytes_copied, before + 4096);
        rig.check(id).expect("lives");
        rig.validate();
    }
    assert_eq!(
        rig.arena.migrate_extent(&rig.chains, id, 8),
        Err(FrameMigrateError::Gone),
        "no such frame"
    );
    assert_eq!(rig.arena.migrate(&rig.chains, id), Ok(FrameCount::new(8)), "all of them");
    rig.check(id).expect("lives");
    rig.validate();
    assert_eq!(rig.arena.stats().allocated, 8);
}

#[test]
fn a_hold_on_a_chain_keeps_all_its_frames() {
    let rig = rig();
    let id = rig.create(5, 9).expect("room");
    let reader = rig.chains.read(id).expect("lives");
    for number in 0..5 {
        let stay = rig.arena.migrate_extent(&rig.chains, id, number);
        assert_eq!(stay, Err(FrameMigrateError::Busy(Busy::Locked)));
    }
    assert!(rig.chains.try_write(id).is_err());
    assert_eq!(rig.chains.reap(id), Release::Later);
    assert_eq!(rig.arena.migrate(&rig.chains, id), Err(FrameMigrateError::Gone), "it is dying");
    assert!(is_filled(reader.parts().1.frame(4), 13));
    assert_eq!(rig.arena.stats().allocated, 5);
    drop(reader);
    rig.validate();
    assert_eq!(rig.arena.stats().allocated, 0);
}

#[test]
fn what_is_freed_while_a_frame_is_isolated_goes_when_it_is_put_back() {
    let rig = rig();
    for retire in [false, true] {
        let id = rig.create(4, 9).expect("room");
        let isolated = rig.chains.isolate(id).expect("lives");
        match retire {
            true => rig.chains.try_write(id).expect("a mark keeps no writer out").retire(),
            false => assert_eq!(rig.chains.reap(id), Release::Later),
        }
        assert_eq!(rig.arena.stats().allocated, 4);
        drop(isolated);
        rig.validate();
        assert_eq!(rig.arena.stats().allocated, 0);
    }
}

#[test]
fn a_chain_gets_all_its_frames_or_none() {
    let plan = FaultPlan::new();
    let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(&plan));
    let rig = rig_over(Box::new(source), 20_000, 64 << 20);
    let stays = rig.create(3, 1).expect("room");
    for k in 0..8 {
        plan.fail(k, 1);
        assert!(rig.create(8, 5).is_err(), "the refusal of frame {k} is not noticed");
        assert_eq!(rig.arena.stats().allocated, 3);
        rig.validate();
        let id = rig.create(8, 5).expect("room again");
        rig.check(id).expect("lives");
        plan.fail(0, 1);
        assert!(matches!(
            rig.arena.migrate(&rig.chains, id),
            Err(FrameMigrateError::OutOfFrames(_))
        ));
        rig.check(id).expect("lives");
        rig.chains.reap(id);
    }
    rig.check(stays).expect("lives");
    // At the limit as well.
    let mut all = Vec::new();
    rig.memory.set_limit(rig.memory.used() + 100).expect("above the use");
    while let Ok(id) = rig.create(8, 5) {
        all.push(id);
    }
    assert_eq!(rig.arena.stats().allocated, 3 + 8 * all.len());
    rig.validate();
}

#[test]
fn a_chain_has_at_most_8_frames() {
    let rig = rig();
    let longer = catch_unwind(AssertUnwindSafe(|| rig.create(9, 1)));
    assert!(longer.is_err());
}

#[test]
fn memory_full_of_chains_is_compacted_and_claimed() {
    let mut numbers = Numbers::for_test(0xc4a1);
    let rig = rig_over(Box::new(HeapSource::new()), 9000, 32 << 20);
    let mut ids = Vec::new();
    while rig.arena.stats().allocated < 7000 {
        let frames = u32::try_from(numbers.below(8) + 1).expect("few");
        ids.push(rig.create(frames, u32::try_from(ids.len() * 10).expect("few")).expect("room"));
    }
    let mut kept = Vec::new();
    for id in ids {
        if numbers.below(4) == 0 {
            kept.push(id);
        } else {
            rig.chains.reap(id);
        }
    }
    let allocated = rig.arena.stats().allocated;
    let mut freed = 0;
    loop {
        let report = rig.arena.compact(&[&rig.chains], 64 << 10);
        freed += report.freed_pageblocks;
        kept.iter().for_each(|id| rig.check(*id).expect("lives"));
        if !report.more {
            break;
        }
    }
    rig.validate();
    assert!(freed >= 8, "{freed} pageblocks of 14 became free, three quarters were");
    assert!(rig.arena.stats().idle < 1024);
    // All but what is in use, so some of it has to move.
    let range = rig.arena.alloc_contiguous(&[&rig.chains], 8192 - 2560, 512).expect("room");
    kept.iter().for_each(|id| rig.check(*id).expect("lives"));
    assert_eq!(rig.arena.stats().allocated, allocated);
    drop(range);
    rig.validate();
}

#[test]
fn readers_writers_and_movers_beside_each_other_lose_nothing() {
    let numbers = Numbers::for_test(0xbe51de);
    let rig = rig_over(Box::new(HeapSource::new()), 3000, 8 << 20);
    let stable: Vec<DescriptorId> =
        (0..40).map(|n| rig.create(n % 8 + 1, 1000 * n).expect("room")).collect();
    let (rig, stable, over) = (&rig, &stable, &AtomicBool::new(false));
    thread::scope(|scope| {
        for mover in 0..2 {
            let mut numbers = numbers.stream(mover);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let id = stable[numbers.below(stable.len())];
                    let piece = u32::try_from(numbers.below(8)).expect("few");
                    _ = rig.arena.migrate_extent(&rig.chains, id, piece);
                    if mover == 0 && numbers.below(8) == 0 {
                        rig.arena.compact(&[&rig.chains], 64 << 10);
                        drop(rig.arena.alloc_contiguous(&[&rig.chains], 64, 1));
                    }
                }
            });
        }
        let working = [2, 3].map(|worker| {
            let mut numbers = numbers.stream(worker);
            scope.spawn(move || {
                for _ in 0..6000 {
                    rig.check(stable[numbers.below(stable.len())]).expect("lives");
                    let frames = u32::try_from(numbers.below(8) + 1).expect("few");
                    let Ok(id) = rig.create(frames, 77) else { continue };
                    rig.check(id).expect("lives");
                    match numbers.below(2) {
                        0 => _ = rig.chains.reap(id),
                        // A mover may have it.
                        _ => match rig.chains.try_write(id) {
                            Ok(guard) => guard.retire(),
                            Err(_) => _ = rig.chains.reap(id),
                        },
                    }
                    while rig.chains.has_deferred() && rig.chains.drain_deferred(&mut |_| {}) {}
                }
            })
        });
        let outcomes = working.map(thread::ScopedJoinHandle::join);
        over.store(true, Ordering::SeqCst);
        assert!(outcomes.iter().all(Result::is_ok), "see above");
    });
    stable.iter().for_each(|id| rig.check(*id).expect("lives"));
    rig.validate();
    assert_eq!(rig.arena.stats().allocated, 40 * 9 / 2);
    assert!(rig.arena.migration().migrated > 1000, "{:?}", rig.arena.migration());
}
