//! Arena and slabs against a naive model: random lives of descriptors, some held while they are killed.
#![cfg(not(loom))]

mod support;

use std::collections::{BTreeMap, HashMap};

use pagefold_frame::{
    Busy, ContiguousError, ContiguousRange, DescriptorId, FrameCount, FrameMigrateError,
    FrameOwner, FrameRange, FrameSource, HeapSource, Isolated, LockError, Movable, ReadGuard,
    Release, ReserveAccess, Tag,
};
use support::{Numbered, Numbers, Rig, create, fill, is_filled};

const STEPS: usize = 6000;
/// Frames; some thirty of the longest runs, so that the limit is met all the time.
const LIMIT: usize = 2500;
const ADDRESS_SPACE: usize = 64 << 20;

/// What lives, by slab and id: how many frames, and the value they are filled with.
type Model = HashMap<(u8, DescriptorId), (u32, u32)>;

/// The slab whose tag has this number.
fn slab(rig: &Rig, number: u8) -> &Numbered {
    if Tag::new(number) == Rig::MOVABLE { &rig.movable } else { &rig.pinned }
}

/// Every live run has its own frames, its value, and its name on each frame; nothing else is allocated.
fn compare(rig: &Rig, model: &Model) {
    let mut taken = BTreeMap::new();
    for (&(number, id), &(frames, value)) in model {
        let slab = slab(rig, number);
        let location = slab.frame_range(id).expect("what lives has a place");
        assert_eq!(location.frames, FrameCount::new(frames));
        let first = location.start.get();
        for frame in first..first + frames {
            assert_eq!(taken.insert(frame, (number, id)), None, "frame {frame} has two owners");
        }
        let guard = slab.read(id).expect("no guard writes");
        let (&body, bytes) = guard.parts();
        assert_eq!(body, value);
        assert!(is_filled(bytes, value), "the bytes of {id:?} changed");
    }
    assert_eq!(rig.arena.stats().allocated, taken.len(), "allocated is what lives");
}

/// The frames of everything that lives name their owner.
fn owners_agree(rig: &Rig, model: &Model) {
    for &(number, id) in model.keys() {
        let FrameRange { start, frames } = slab(rig, number).frame_range(id).expect("lives");
        assert_eq!(
            rig.arena.owner(start),
            Some(FrameOwner { tag: Tag::new(number), id }),
            "of {} frames",
            frames.get()
        );
    }
}

struct Life<'a> {
    rig: &'a Rig,
    numbers: Numbers,
    model: Model,
    /// Holds on runs that may be killed meanwhile, with their values.
    held: Vec<(ReadGuard<'a, u32, 1>, u32)>,
    /// Descriptors that are being moved, for a while.
    isolated: Vec<Isolated<'a, u32, 1>>,
    /// Ranges with the value they are filled with.
    claimed: Vec<(ContiguousRange<'a>, u32)>,
}

impl Life<'_> {
    fn pick(&mut self) -> Option<(u8, DescriptorId)> {
        let mut keys: Vec<_> = self.model.keys().copied().collect();
        keys.sort_unstable();
        (!keys.is_empty()).then(|| keys[self.numbers.below(keys.len())])
    }

    fn born(&mut self, value: u32) {
        let number = 1 + u8::from(self.numbers.below(4) == 0);
        let frames = match self.numbers.below(4) {
            0 => 1,
            1 => 1 << self.numbers.below(7),
            _ => 1 + self.numbers.below(64),
        };
        let frames = u32::try_from(frames).expect("at most 64");
        if let Ok(id) = create(slab(self.rig, number), frames, value) {
            let before = self.model.insert((number, id), (frames, value));
            assert_eq!(before, None, "the id of something that lives was given out");
        }
    }

    fn dies(&mut self) {
        let Some((number, id)) = self.pick() else { return };
        let held = self.held.iter().any(|(guard, _)| guard.id() == id);
        let released = slab(self.rig, number).reap(id);
        // A hold or mark on the same id in the other slab does not count, so only one direction is certain.
        let used = held || !self.isolated.is_empty();
        assert!(released == Release::Now || used, "no guard locks {id:?}");
        self.model.remove(&(number, id));
        assert_eq!(slab(self.rig, number).read(id).err(), Some(LockError::Gone));
    }

    fn rewritten(&mut self, value: u32) {
        let Some((number, id)) = self.pick() else { return };
        let Ok(mut guard) = slab(self.rig, number).try_write(id) else {
            assert!(self.held.iter().any(|(guard, _)| guard.id() == id), "no guard locks {id:?}");
            return;
        };
        let (body, bytes) = guard.parts();
        *body = value;
        fill(bytes, value);
        self.model.get_mut(&(number, id)).expect("lives").1 = value;
    }

    fn unlock_one(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let chosen = self.numbers.below(self.held.len());
        let (guard, value) = self.held.swap_remove(chosen);
        let (&body, bytes) = guard.parts();
        assert_eq!(body, value, "a hold keeps the body, whatever was killed");
        assert!(is_filled(bytes, value), "a hold keeps the bytes, whatever was killed");
    }

    fn is_locked(&self, id: DescriptorId) -> bool {
        self.held.iter().any(|(guard, _)| guard.id() == id)
    }

    /// Moves a run, whatever state it is in, and checks the answer.
    fn moved(&mut self) {
        let Some((number, id)) = self.pick() else { return };
        let before = slab(self.rig, number).frame_range(id).expect("lives");
        let movable: &dyn Movable = slab(self.rig, number);
        let answer = self.rig.arena.migrate(movable, id);
        let after = slab(self.rig, number).frame_range(id).expect("lives");
        match answer {
            Ok(frames) => {
                assert_eq!(frames, before.frames);
                assert_eq!(after.frames, before.frames);
                assert!(before.start != after.start, "it went nowhere");
                assert!(Tag::new(number) == Rig::MOVABLE, "a pinned run moved");
                return;
            }
            Err(FrameMigrateError::Gone) => panic!("{id:?} lives"),
            Err(FrameMigrateError::Busy(Busy::Pinned)) => assert!(Tag::new(number) == Rig::PINNED),
            Err(FrameMigrateError::Busy(Busy::Locked)) => {
                assert!(self.is_locked(id), "no guard locks {id:?}");
            }
            Err(FrameMigrateError::Busy(busy)) => assert_eq!(busy, Busy::Isolated),
            Err(FrameMigrateError::OutOfFrames(_)) => {}
        }
        assert_eq!(before, after, "a run that stays stays where it is");
    }

    fn isolated(&mut self) {
        let Some((number, id)) = self.pick() else { return };
        match slab(self.rig, number).isolate(id) {
            Ok(isolated) => self.isolated.push(isolated),
            Err(refusal) => assert_eq!(refusal, LockError::Busy, "{id:?} lives"),
        }
    }

    fn compacted(&mut self) {
        let budget = self.numbers.below(1 << 20);
        let report = self.rig.arena.compact(&[&self.rig.movable], budget);
        assert!(report.copied_bytes <= (budget + FrameCount::MAX.bytes()) as u64);
        assert!(report.copied_bytes > 0 || !report.more || budget == 0);
    }

    fn claims(&mut self, value: u32) {
        let frames = match self.numbers.below(3) {
            0 => 1 + self.numbers.below(20),
            1 => 1 + self.numbers.below(512),
            _ => 513 + self.numbers.below(600),
        };
        let align = 1 << self.numbers.below(10);
        match self.rig.arena.alloc_contiguous(&[&self.rig.movable], frames, align) {
            Ok(mut range) => {
                assert_eq!(range.frames(), frames);
                let bytes = range.as_mut_slice();
                assert!(bytes.as_ptr().addr().is_multiple_of(align * 4096));
                assert!(bytes.iter().all(|&byte| byte == 0), "a claimed range is zero");
                fill(bytes, value);
                self.claimed.push((range, value));
            }
            Err(ContiguousError::OutOfMemory { .. }) => {}
            Err(ContiguousError::Blocked { blockers, .. }) => {
                assert!(!blockers.is_empty(), "something was in the way");
            }
            Err(error) => panic!("{frames} frames, aligned to {align}: {error}"),
        }
        if self.claimed.len() > 2 {
            self.gives_range_back();
        }
    }

    fn gives_range_back(&mut self) {
        if self.claimed.is_empty() {
            return;
        }
        let chosen = self.numbers.below(self.claimed.len());
        let (range, value) = self.claimed.swap_remove(chosen);
        assert!(is_filled(range.as_slice(), value), "a claimed range is its owner's alone");
    }

    fn retired(&mut self) {
        let Some((number, id)) = self.pick() else { return };
        if let Ok(guard) = slab(self.rig, number).try_write(id) {
            guard.retire();
            self.model.remove(&(number, id));
        }
    }
}

fn lives_agree_with_the_model(source: Box<dyn FrameSource>, stream: u64) {
    let rig = Rig::new(source, LIMIT, ADDRESS_SPACE);
    let numbers = Numbers::for_test(0x11fe).stream(stream);
    let mut life = Life {
        rig: &rig,
        numbers,
        model: Model::new(),
        held: Vec::new(),
        isolated: Vec::new(),
        claimed: Vec::new(),
    };
    for step in 0..STEPS {
        let value = u32::try_from(step).expect("few steps");
        match life.numbers.below(29) {
            0..=7 => life.born(value),
            8..=12 => life.dies(),
            13 => life.retired(),
            14 => life.rewritten(value),
            15 | 16 => {
                if let Some((number, id)) = life.pick() {
                    let guard = slab(&rig, number).read(id).expect("lives");
                    life.held.push((guard, life.model[&(number, id)].1));
                }
            }
            17 | 18 => life.unlock_one(),
            19..=21 => life.moved(),
            22 => life.isolated(),
            23 => life.isolated.clear(),
            24 => life.compacted(),
            25 => life.claims(value),
            26 => life.gives_range_back(),
            _ => rig.drain_deferred(),
        }
        assert!(rig.memory.used() <= rig.memory.limit(), "step {step}");
        if step % 200 == 0 {
            while !life.held.is_empty() {
                life.unlock_one();
            }
            life.isolated.clear();
            if step % 400 == 0 {
                rig.arena.trim();
                rig.movable.trim();
                rig.pinned.trim();
            }
            rig.drain_deferred();
            compare(&rig, &life.model);
            owners_agree(&rig, &life.model);
            rig.validate().unwrap_or_else(|violation| panic!("step {step}: {violation}"));
        }
    }
    let moves = rig.arena.migration();
    assert!(
        moves.migrated > 0 && moves.contiguous_allocs > 0 && moves.busy_locked > 0,
        "{moves:?}"
    );
    assert!(moves.pageblocks_freed > 0 && moves.busy_pinned > 0, "{moves:?}");
    life.held.clear();
    life.isolated.clear();
    life.claimed.clear();
    rig.drain_deferred();
    for (number, id) in life.model.drain().map(|(key, _)| key) {
        assert_eq!(slab(&rig, number).reap(id), Release::Now);
    }
    rig.validate().expect("valid");
    rig.arena.trim();
    let left = rig.arena.stats();
    assert_eq!((left.allocated, left.idle), (0, 0), "nothing lives and all was given back");
    assert_eq!(rig.memory.used(), rig.memory.metadata());
    // Everything works again from nothing.
    create(&rig.movable, 64, 1).expect("room");
}

#[test]
fn on_the_heap() {
    for stream in 0..3 {
        lives_agree_with_the_model(Box::new(HeapSource::new()), stream);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn on_mapped_memory() {
    for stream in 3..6 {
        let source = pagefold_frame::MmapSource::new(Default::default()).expect("pages of 4 KiB");
        lives_agree_with_the_model(Box::new(source), stream);
    }
}

/// A slab whose table went back to the system gives the same ids out again, and late look-ups find nothing meanwhile.
#[test]
fn ids_are_reused_lowest_first_and_pages_of_the_table_come_back() {
    let rig = Rig::new(Box::new(HeapSource::new()), 20_000, ADDRESS_SPACE);
    let ids: Vec<_> =
        (0..3000).map(|value| create(&rig.movable, 1, value).expect("room")).collect();
    assert!(ids.iter().map(|id| id.get()).eq(0..3000), "lowest first");
    for id in &ids {
        assert_eq!(rig.movable.reap(*id), Release::Now);
    }
    let given_back = rig.movable.trim();
    assert!(given_back >= 3000 * 16 / 4096 * 4096, "only {given_back} bytes of the table went");
    for id in &ids {
        assert_eq!(rig.movable.read(*id).err(), Some(LockError::Gone));
        assert_eq!(rig.movable.try_write(*id).err(), Some(LockError::Gone));
        assert_eq!(rig.movable.frame_range(*id), None);
        rig.movable.note_pending(*id);
    }
    assert!(!rig.movable.has_deferred(), "a note on something dead is no work");
    let again = create(&rig.movable, 1, 7).expect("room");
    assert_eq!(again.get(), 0);
    let never = DescriptorId::new(u32::MAX);
    assert_eq!(rig.movable.read(never).err(), Some(LockError::Gone), "no id is no harm");
    rig.validate().expect("valid");
}

/// Killed while held: frames, body and bytes stay until the last hold goes; then exactly one report frees them.
#[test]
fn a_run_that_dies_while_it_is_held_is_freed_by_the_last_hold() {
    let rig = Rig::new(Box::new(HeapSource::new()), 1000, ADDRESS_SPACE);
    let id = create(&rig.movable, 3, 9).expect("room");
    let (first, second) =
        (rig.movable.read(id).expect("lives"), rig.movable.read(id).expect("lives"));
    assert_eq!(rig.movable.reap(id), Release::Later);
    assert_eq!(rig.movable.try_read(id).err(), Some(LockError::Gone), "no new holds");
    drop(first);
    assert!(!rig.movable.has_deferred(), "a guard still locks it");
    assert!(is_filled(second.parts().1, 9));
    assert_eq!(rig.arena.stats().allocated, 3);
    drop(second);
    assert!(rig.movable.has_deferred());
    let mut seen = Vec::new();
    while rig.movable.drain_deferred(&mut |work| seen.push(work)) {}
    assert_eq!(seen, [pagefold_frame::Deferred::Freed(FrameCount::new(3))]);
    assert_eq!(rig.arena.stats().allocated, 0);
    rig.validate().expect("valid");
}

/// A panic unlocks what its guards locked.
#[test]
fn a_panic_unlocks() {
    let rig = Rig::new(Box::new(HeapSource::new()), 1000, ADDRESS_SPACE);
    let id = create(&rig.movable, 1, 9).expect("room");
    for write in [false, true] {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _read = (!write).then(|| rig.movable.read(id));
            let _write = write.then(|| rig.movable.try_write(id));
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(outcome.is_err());
        assert!(rig.movable.try_write(id).is_ok());
    }
    let guard = rig.movable.create(FrameCount::ONE, ReserveAccess::Normal, 1).expect("room");
    assert_eq!(
        rig.movable.try_read(guard.id()).err(),
        Some(LockError::Busy),
        "born held for writing"
    );
    drop(guard);
    rig.validate().expect("valid");
}
