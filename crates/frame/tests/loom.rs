//! Models of the descriptor lock, the release list and the release of the last hold, on the real code.
//!
//! `cargo xtask loom` runs them. Loom watches a cell in each descriptor that guards touch like the bytes, so two holds
//! that exclude each other and overlap fail the model.
#![cfg(loom)]

use loom::{sync::Arc, thread};
use pagefold_frame::{
    Arena, ArenaConfig, Busy, Chain, Deferred, DescriptorId, FrameCount, FrameMigrateError,
    HeapSource, LockError, MemoryBudget, Mobility, Release, ReserveAccess, Slab, SlabConfig, Tag,
};

type Spans = Slab<u32, 1>;

/// Explores all interleavings with up to three preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.max_branches = 20_000;
    builder.check(f);
}

fn slab() -> (std::sync::Arc<Arena>, Arc<Spans>) {
    let memory = std::sync::Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 10_000));
    let arena = std::sync::Arc::new(
        Arena::new(&memory, ArenaConfig { address_space: 4 << 20 }).expect("heap"),
    );
    let config = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity: 4 };
    let slab = Slab::new(&arena, config).expect("heap");
    (arena, Arc::new(slab))
}

fn create(slab: &Spans, value: u8) -> DescriptorId {
    let mut guard =
        slab.create(FrameCount::ONE, ReserveAccess::Normal, u32::from(value)).expect("room");
    guard.parts().1[..2].fill(value);
    guard.id()
}

/// What a reader must find: body and bytes of one moment.
fn check(slab: &Spans, id: DescriptorId) -> Result<u8, LockError> {
    let guard = slab.read(id)?;
    let (&body, bytes) = guard.parts();
    assert_eq!(bytes[0], bytes[1]);
    assert_eq!(u32::from(bytes[0]), body);
    Ok(bytes[0])
}

fn finish(arena: &Arena, slab: &Spans) -> Vec<Deferred> {
    let mut seen = Vec::new();
    while slab.drain_deferred(&mut |work| seen.push(work)) {}
    slab.validate().expect("valid");
    arena.validate().expect("valid");
    seen
}

#[test]
fn a_writer_excludes_readers_and_readers_wait_for_it() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 1);
        let writer = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || {
                if let Ok(mut guard) = slab.try_write(id) {
                    let (body, bytes) = guard.parts();
                    *body = 2;
                    bytes[0] = 2;
                    bytes[1] = 2;
                }
            })
        };
        let first = check(&slab, id).expect("lives");
        let second = check(&slab, id).expect("lives");
        assert!(second >= first, "what was seen once stays");
        writer.join().expect("no panic");
        finish(&arena, &slab);
    });
}

#[test]
fn two_writers_exclude_each_other() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 0);
        let write = move |slab: &Spans| {
            slab.try_write(id).map(|mut guard| {
                let (body, bytes) = guard.parts();
                *body += 1;
                bytes[0] += 1;
                bytes[1] += 1;
            })
        };
        let other = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || write(&slab).is_ok())
        };
        let mine = write(&slab).is_ok();
        let theirs = other.join().expect("no panic");
        assert!(mine || theirs, "one of two writers gets in");
        assert_eq!(check(&slab, id), Ok(u8::from(mine) + u8::from(theirs)));
        finish(&arena, &slab);
    });
}

#[test]
fn the_last_hold_of_a_dying_descriptor_reports_it_and_it_is_freed_once() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 5);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let slab = Arc::clone(&slab);
                thread::spawn(move || match check(&slab, id) {
                    Ok(value) => assert_eq!(value, 5),
                    Err(refusal) => assert_eq!(refusal, LockError::Gone),
                })
            })
            .collect();
        let now = slab.reap(id) == Release::Now;
        for reader in readers {
            reader.join().expect("no panic");
        }
        let freed =
            finish(&arena, &slab).iter().filter(|seen| matches!(seen, Deferred::Freed(_))).count();
        assert_eq!(usize::from(now) + freed, 1, "freed once");
        assert_eq!(arena.stats().allocated, 0);
    });
}

#[test]
fn a_late_reader_never_meets_a_successor_unlocked() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 5);
        let reader = {
            let slab = Arc::clone(&slab);
            // A hold on the successor is allowed: the owner of the id compares its handle entry.
            thread::spawn(move || check(&slab, id).map(|value| assert!(value == 5 || value == 9)))
        };
        slab.reap(id);
        while slab.drain_deferred(&mut |_| {}) {}
        create(&slab, 9);
        let _ = reader.join().expect("no panic");
        finish(&arena, &slab);
    });
}

#[test]
fn pending_work_is_never_lost() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 1);
        let reader = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || check(&slab, id).map(drop))
        };
        let writer = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || {
                let Ok(guard) = slab.try_write(id) else { return 0 };
                // A writer takes the work over.
                let work = slab.words(id)[0].swap(0, loom::sync::atomic::Ordering::Acquire);
                drop(guard);
                work
            })
        };
        slab.words(id)[0].fetch_add(1, loom::sync::atomic::Ordering::Release);
        slab.note_pending(id);
        reader.join().expect("no panic").expect("lives");
        let taken = writer.join().expect("no panic");
        let reported = finish(&arena, &slab).contains(&Deferred::Pending(id));
        let left = slab.words(id)[0].load(loom::sync::atomic::Ordering::Acquire);
        assert_eq!(taken + left, 1);
        assert!(left == 0 || reported, "work that is left is reported");
    });
}

fn migrate(arena: &Arena, slab: &Spans, id: DescriptorId) -> Result<(), FrameMigrateError> {
    arena.migrate(slab, id).map(drop)
}

#[test]
fn a_read_beside_a_move_sees_the_bytes_at_one_place_or_the_other() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 5);
        let before = slab.frame_range(id).expect("lives");
        let mover = {
            let (arena, slab) = (std::sync::Arc::clone(&arena), Arc::clone(&slab));
            thread::spawn(move || migrate(&arena, &slab, id))
        };
        assert_eq!(check(&slab, id), Ok(5));
        let moved = mover.join().expect("no panic");
        let after = slab.frame_range(id).expect("lives");
        match moved {
            Ok(()) => assert!(after.start != before.start),
            Err(stay) => {
                assert_eq!(
                    stay,
                    FrameMigrateError::Busy(Busy::Locked),
                    "only the reader can be in the way"
                );
                assert_eq!(after, before, "nothing has changed");
            }
        }
        assert_eq!(check(&slab, id), Ok(5));
        finish(&arena, &slab);
        assert_eq!(arena.stats().allocated, 1);
    });
}

#[test]
fn a_free_beside_a_move_frees_the_run_once_wherever_it_is() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 5);
        let mover = {
            let (arena, slab) = (std::sync::Arc::clone(&arena), Arc::clone(&slab));
            thread::spawn(move || migrate(&arena, &slab, id))
        };
        slab.reap(id);
        _ = mover.join().expect("no panic");
        finish(&arena, &slab);
        assert_eq!(arena.stats().allocated, 0);
        assert_eq!(check(&slab, id), Err(LockError::Gone));
    });
}

#[test]
fn a_writer_that_ends_a_run_beside_a_move_frees_it_once() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 5);
        let mover = {
            let (arena, slab) = (std::sync::Arc::clone(&arena), Arc::clone(&slab));
            thread::spawn(move || migrate(&arena, &slab, id))
        };
        let retired = slab.try_write(id).map(pagefold_frame::WriteGuard::retire).is_ok();
        let moved = mover.join().expect("no panic");
        assert!(retired || moved.is_ok(), "of two that try one gets in");
        finish(&arena, &slab);
        assert_eq!(arena.stats().allocated, usize::from(!retired));
    });
}

#[test]
fn a_reader_that_waits_for_a_writer_that_ends_the_run_comes_out() {
    model(|| {
        let (arena, slab) = slab();
        let guard = slab.create(FrameCount::ONE, ReserveAccess::Normal, 5).expect("room");
        let id = guard.id();
        let reader = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || slab.read(id).map(drop))
        };
        guard.retire();
        assert_eq!(reader.join().expect("no panic"), Err(LockError::Gone));
        finish(&arena, &slab);
        assert_eq!(arena.stats().allocated, 0);
    });
}

#[test]
fn of_two_movers_one_steps_aside_or_both_move_one_after_the_other() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 5);
        let other = {
            let (arena, slab) = (std::sync::Arc::clone(&arena), Arc::clone(&slab));
            thread::spawn(move || migrate(&arena, &slab, id))
        };
        let mine = migrate(&arena, &slab, id);
        let theirs = other.join().expect("no panic");
        assert!(mine.is_ok() || theirs.is_ok());
        for answer in [mine, theirs] {
            assert!(matches!(answer, Ok(()) | Err(FrameMigrateError::Busy(_))), "{answer:?}");
        }
        assert_eq!(check(&slab, id), Ok(5));
        finish(&arena, &slab);
        assert_eq!(arena.stats().allocated, 1);
    });
}

/// An id that is freed and given out again while a mover means to move the old one.
#[test]
fn a_late_mover_never_takes_frames_from_a_successor_twice() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 5);
        let mover = {
            let (arena, slab) = (std::sync::Arc::clone(&arena), Arc::clone(&slab));
            thread::spawn(move || migrate(&arena, &slab, id))
        };
        slab.reap(id);
        while slab.drain_deferred(&mut |_| {}) {}
        let next = create(&slab, 9);
        _ = mover.join().expect("no panic");
        assert_eq!(check(&slab, next), Ok(9));
        finish(&arena, &slab);
        assert_eq!(arena.stats().allocated, 1);
    });
}

#[test]
fn pending_work_beside_a_move_is_never_lost() {
    model(|| {
        let (arena, slab) = slab();
        let id = create(&slab, 1);
        let mover = {
            let (arena, slab) = (std::sync::Arc::clone(&arena), Arc::clone(&slab));
            thread::spawn(move || migrate(&arena, &slab, id))
        };
        slab.words(id)[0].fetch_add(1, loom::sync::atomic::Ordering::Release);
        slab.note_pending(id);
        _ = mover.join().expect("no panic");
        let reported = finish(&arena, &slab).contains(&Deferred::Pending(id));
        assert!(reported, "no writer came, so the work is still there");
    });
}

#[test]
fn a_claim_beside_an_allocation_gets_a_range_that_is_its_own() {
    model(|| {
        let (arena, slab) = slab();
        let stays = create(&slab, 5);
        let other = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || create(&slab, 7))
        };
        // Half of the arena: one of the two pageblocks, with what is in it.
        let range = arena.alloc_contiguous(&[&*slab], 512, 1);
        let id = other.join().expect("no panic");
        if let Ok(range) = &range {
            let first = range.start().get();
            for id in [stays, id] {
                let start = slab.frame_range(id).expect("lives").start.get();
                assert!(!(first..first + 512).contains(&start), "inside the range");
            }
            assert_eq!(arena.stats().contiguous, 512);
        } else {
            panic!("there is a pageblock for it: {:?}", range.err());
        }
        assert_eq!((check(&slab, stays), check(&slab, id)), (Ok(5), Ok(7)));
        drop(range);
        finish(&arena, &slab);
        assert_eq!(arena.stats().allocated, 2);
    });
}

// Chains

/// With as many words as fill a descriptor of 64 bytes.
type Chains = Slab<u32, 6, Chain>;

fn chains() -> (std::sync::Arc<Arena>, Arc<Chains>) {
    let memory = std::sync::Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 10_000));
    let arena = std::sync::Arc::new(
        Arena::new(&memory, ArenaConfig { address_space: 4 << 20 }).expect("heap"),
    );
    let config = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity: 4 };
    let chains = Slab::new(&arena, config).expect("heap");
    (arena, Arc::new(chains))
}

/// A chain of two frames, each of which begins with the value.
fn create_chain(chains: &Chains, value: u8) -> DescriptorId {
    let two = FrameCount::new(2);
    let mut guard = chains.create(two, ReserveAccess::Normal, u32::from(value)).expect("room");
    let id = guard.id();
    let (_, mut bytes) = guard.parts();
    (0..2).for_each(|number| bytes.frame_mut(number)[0] = value);
    id
}

fn check_chain(chains: &Chains, id: DescriptorId) -> Result<u8, LockError> {
    let guard = chains.read(id)?;
    let (&body, bytes) = guard.parts();
    let first = bytes.frame(0)[0];
    assert_eq!((bytes.frame(1)[0], body), (first, u32::from(first)));
    Ok(first)
}

fn finish_chains(arena: &Arena, chains: &Chains, frames: usize) {
    while chains.drain_deferred(&mut |_| {}) {}
    chains.validate().expect("valid");
    arena.validate().expect("valid");
    assert_eq!(arena.stats().allocated, frames);
}

/// Moves a frame of a chain in a thread of its own.
fn mover(
    arena: &std::sync::Arc<Arena>,
    chains: &Arc<Chains>,
    id: DescriptorId,
    number: u32,
) -> thread::JoinHandle<Result<FrameCount, FrameMigrateError>> {
    let (arena, chains) = (std::sync::Arc::clone(arena), Arc::clone(chains));
    thread::spawn(move || arena.migrate_extent(&*chains, id, number))
}

#[test]
fn a_read_beside_the_move_of_one_frame_sees_the_whole_chain() {
    for number in 0..2 {
        model(move || {
            let (arena, chains) = chains();
            let id = create_chain(&chains, 5);
            let mover = mover(&arena, &chains, id, number);
            assert_eq!(check_chain(&chains, id), Ok(5));
            match mover.join().expect("no panic") {
                Ok(frames) => assert_eq!(frames, FrameCount::ONE),
                Err(stay) => assert_eq!(stay, FrameMigrateError::Busy(Busy::Locked)),
            }
            assert_eq!(check_chain(&chains, id), Ok(5));
            finish_chains(&arena, &chains, 2);
        });
    }
}

#[test]
fn a_free_beside_the_move_of_one_frame_frees_the_chain_once() {
    model(|| {
        let (arena, chains) = chains();
        let id = create_chain(&chains, 5);
        let mover = mover(&arena, &chains, id, 1);
        chains.reap(id);
        _ = mover.join().expect("no panic");
        assert_eq!(check_chain(&chains, id), Err(LockError::Gone));
        finish_chains(&arena, &chains, 0);
    });
}

#[test]
fn movers_of_two_frames_of_a_chain_move_one_after_the_other_or_step_aside() {
    model(|| {
        let (arena, chains) = chains();
        let id = create_chain(&chains, 5);
        let other = mover(&arena, &chains, id, 0);
        let mine = arena.migrate_extent(&*chains, id, 1);
        let theirs = other.join().expect("no panic");
        assert!(mine.is_ok() || theirs.is_ok());
        assert_eq!(check_chain(&chains, id), Ok(5));
        finish_chains(&arena, &chains, 2);
    });
}

/// A chain that dies and is followed by another of the same id, beside a mover that means to move a frame of the first.
#[test]
fn a_late_mover_takes_no_frame_of_a_successor_twice() {
    model(|| {
        let (arena, chains) = chains();
        let id = create_chain(&chains, 5);
        let mover = mover(&arena, &chains, id, 1);
        chains.reap(id);
        while chains.drain_deferred(&mut |_| {}) {}
        let next = create_chain(&chains, 9);
        _ = mover.join().expect("no panic");
        assert_eq!(check_chain(&chains, next), Ok(9));
        finish_chains(&arena, &chains, 2);
    });
}
