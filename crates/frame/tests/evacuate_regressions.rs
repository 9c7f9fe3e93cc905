//! Faults of evacuation that were found and mended: each test fails without its fix.
#![cfg(not(loom))]

mod support;

use std::{
    collections::HashSet,
    fmt,
    io::ErrorKind,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use pagefold_frame::{
    ContiguousError, DescriptorId, FrameCount, FrameMigrateError, FrameSource, HeapSource,
    PAGEBLOCK_FRAMES, ReserveAccess, SourceError,
};
use pagefold_sys::memory::{MemoryError, Reservation};
use pagefold_testkit::faulty::{FaultPlan, FaultySource};
use support::{Rig, create, is_filled};

const ADDRESS_SPACE: usize = 64 << 20;
const AMPLE: usize = 20_000;

fn rig() -> Rig {
    Rig::new(Box::new(HeapSource::new()), AMPLE, ADDRESS_SPACE)
}

/// `count` single frames.
fn singles(rig: &Rig, count: u32) -> Vec<DescriptorId> {
    (0..count).map(|value| create(&rig.movable, 1, value).expect("room")).collect()
}

/// Frees those whose number does not satisfy `stays`; returns the others.
fn thin_out(rig: &Rig, ids: Vec<DescriptorId>, stays: impl Fn(usize) -> bool) -> Vec<DescriptorId> {
    let mut kept = Vec::new();
    for (at, id) in ids.into_iter().enumerate() {
        if stays(at) {
            kept.push(id);
        } else {
            rig.movable.reap(id);
        }
    }
    kept
}

fn pageblock_of(rig: &Rig, id: DescriptorId) -> u32 {
    rig.movable.frame_range(id).expect("lives").start.get() / PAGEBLOCK_FRAMES
}

type Hook = Box<dyn FnMut() + Send>;

/// What a test does at each allocation; and whether decommit fails.
#[derive(Default)]
struct Hooks {
    on_alloc: Mutex<Option<Hook>>,
    keeps_memory: AtomicBool,
}

impl Hooks {
    fn set(&self, hook: Option<Hook>) {
        *self.on_alloc.lock().expect("no panic") = hook;
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

#[derive(Debug)]
struct HookedSource {
    inner: HeapSource,
    hooks: Arc<Hooks>,
}

// SAFETY: memory comes from `inner` unchanged; what it refuses to give back stays as it is.
unsafe impl FrameSource for HookedSource {
    fn reserve(&self, bytes: usize, align: usize) -> Result<Reservation, SourceError> {
        self.inner.reserve(bytes, align)
    }

    fn commit(&self, reservation: &Reservation, range: Range<usize>) -> Result<(), SourceError> {
        self.inner.commit(reservation, range)
    }

    unsafe fn decommit(
        &self,
        reservation: &Reservation,
        ranges: &[Range<usize>],
    ) -> Result<(), SourceError> {
        if self.hooks.keeps_memory.load(Ordering::Relaxed) {
            let source = ErrorKind::Other.into();
            return Err(MemoryError::Decommit { bytes: 0, source }.into());
        }
        // SAFETY: by this function's contract.
        unsafe { self.inner.decommit(reservation, ranges) }
    }

    unsafe fn release(&self, reservation: Reservation) {
        // SAFETY: by this function's contract.
        unsafe { self.inner.release(reservation) };
    }

    fn injects_failure(&self) -> bool {
        // Taken out while it runs, so that its own allocations run no hook.
        let hook = self.hooks.on_alloc.lock().expect("no panic").take();
        if let Some(mut hook) = hook {
            hook();
            self.hooks.set(Some(hook));
        }
        false
    }

    fn address_space(&self, limit_bytes: usize) -> usize {
        self.inner.address_space(limit_bytes)
    }
}

fn hooked(limit: usize) -> (Arc<Rig>, Arc<Hooks>) {
    let hooks = Arc::new(Hooks::default());
    let source = HookedSource { inner: HeapSource::new(), hooks: Arc::clone(&hooks) };
    (Arc::new(Rig::new(Box::new(source), limit, ADDRESS_SPACE)), hooks)
}

#[test]
fn a_slab_of_another_arena_is_refused() {
    let (own, foreign) = (rig(), rig());
    let id = create(&foreign.movable, 1, 7).expect("room");
    let refused = [
        catch_unwind(AssertUnwindSafe(|| _ = own.arena.migrate(&foreign.movable, id))),
        catch_unwind(AssertUnwindSafe(|| _ = own.arena.compact(&[&foreign.movable], 1))),
        catch_unwind(AssertUnwindSafe(|| {
            drop(own.arena.alloc_contiguous(&[&foreign.movable], 1, 1));
        })),
    ];
    assert!(refused.iter().all(Result::is_err));
    assert!(is_filled(foreign.movable.read(id).expect("lives").parts().1, 7));
}

#[test]
fn a_claim_may_be_aligned_to_more_than_a_pageblock() {
    for align in [512, 1024, 2048, 4096, 8192] {
        let rig = Rig::new(Box::new(HeapSource::new()), 200_000, 256 << 20);
        for frames in [1, 512, 1024] {
            let range = rig.arena.alloc_contiguous(&[&rig.movable], frames, align);
            let range = range.unwrap_or_else(|error| panic!("aligned to {align}: {error}"));
            assert!(range.as_slice().as_ptr().addr().is_multiple_of(align * 4096));
        }
    }
}

/// The tables of whole pageblocks are not given back between the opening of a range and its hold.
#[test]
fn tables_of_a_contiguous_range_are_charged_while_another_thread_trims() {
    let rig = rig();
    create(&rig.movable, 1, 1).expect("room");
    let alloc = || rig.arena.alloc_contiguous(&[&rig.movable], 4096, 512).expect("room");
    let needed = {
        let _range = alloc();
        rig.memory.metadata()
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rig.arena.trim();
                }
            });
        }
        let least = (0..1000).map(|_| {
            let _range = alloc();
            rig.memory.metadata()
        });
        let least = least.min();
        stop.store(true, Ordering::Relaxed);
        assert!(least >= Some(needed), "{least:?} pages of tables charged, {needed} needed");
    });
}

/// Free frames of a range that is evacuated are out of reach; at the limit they go back first.
#[test]
fn an_allocation_beside_compaction_finds_what_is_idle() {
    let (rig, hooks) = hooked(AMPLE);
    let ids = singles(&rig, 1024);
    thin_out(&rig, ids, |at| at == 5 || at >= 512 && at != 600);
    rig.memory.set_limit(rig.memory.used()).expect("what is used");
    let failed = Arc::new(AtomicUsize::new(0));
    let (other, count) = (Arc::clone(&rig), Arc::clone(&failed));
    hooks.set(Some(Box::new(move || {
        for value in 0..3 {
            let made = other.movable.create(FrameCount::ONE, ReserveAccess::Normal, value);
            count.fetch_add(usize::from(made.is_err()), Ordering::Relaxed);
        }
    })));
    rig.arena.compact(&[&rig.movable], usize::MAX);
    hooks.set(None);
    assert_eq!(failed.load(Ordering::Relaxed), 0, "out of frames, with hundreds idle");
}

#[test]
fn compaction_leaves_the_reserve_to_others() {
    let (rig, hooks) = hooked(6000);
    rig.memory.set_reserve(16);
    let mut ids = Vec::new();
    while let Ok(id) = create(&rig.movable, 4, 3) {
        ids.push(id);
    }
    thin_out(&rig, ids, |at| at % 2 == 0);
    rig.arena.trim();
    rig.memory.set_limit(rig.memory.used() + 16).expect("more than is used");
    let (tried, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (other, tries, count) = (Arc::clone(&rig), Arc::clone(&tried), Arc::clone(&failed));
    hooks.set(Some(Box::new(move || {
        tries.fetch_add(1, Ordering::Relaxed);
        match other.movable.create(FrameCount::new(4), ReserveAccess::Reserve, 1) {
            Ok(guard) => guard.retire(),
            Err(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
        }
    })));
    let report = rig.arena.compact(&[&rig.movable], usize::MAX);
    hooks.set(None);
    assert!(report.freed_pageblocks > 0 && tried.load(Ordering::Relaxed) > 100, "{report:?}");
    assert_eq!(failed.load(Ordering::Relaxed), 0, "overwriting found no frames");
}

#[test]
fn a_run_that_fits_no_hole_keeps_its_own_pageblock_only() {
    let rig = rig();
    let long: Vec<_> = (0..8).map(|_| create(&rig.movable, 64, 1).expect("room")).collect();
    let short: Vec<_> = (0..384).map(|_| create(&rig.movable, 4, 2).expect("room")).collect();
    thin_out(&rig, long, |at| at == 0);
    thin_out(&rig, short, |at| if at < 128 { at % 6 == 0 } else { at % 2 == 0 });
    let freed: u64 =
        (0..3).map(|_| rig.arena.compact(&[&rig.movable], usize::MAX).freed_pageblocks).sum();
    assert!(freed > 0, "what has no run of 64 frames can be emptied");
}

#[test]
fn a_pageblock_with_readers_does_not_keep_the_others() {
    let rig = rig();
    let ids = singles(&rig, 3 * 512);
    let stays = |at: usize| at % 512 < [60, 70, 412][at / 512];
    let kept = thin_out(&rig, ids, stays);
    let readers: Vec<_> =
        kept[..60].iter().map(|&id| rig.movable.read(id).expect("lives")).collect();
    let freed: u64 =
        (0..3).map(|_| rig.arena.compact(&[&rig.movable], usize::MAX).freed_pageblocks).sum();
    assert_eq!(freed, 1, "the second fits the third while the first is read");
    drop(readers);
}

#[test]
fn a_plan_is_not_believed_when_it_is_old() {
    let rig = rig();
    let ids = singles(&rig, 6 * 512);
    let kept = thin_out(&rig, ids, |at| at % 512 < 128);
    assert!(rig.arena.compact(&[&rig.movable], 1).more, "a plan is made, and kept");
    for &id in &kept[..4 * 128] {
        rig.movable.reap(id);
    }
    let runs: Vec<_> = (0..20).map(|_| create(&rig.movable, 4, 1).expect("room")).collect();
    rig.arena.trim();
    let of_singles =
        || -> HashSet<_> { kept[4 * 128..].iter().map(|&id| pageblock_of(&rig, id)).collect() };
    let before = of_singles().len();
    let report = rig.arena.compact(&[&rig.movable], usize::MAX);
    let of_singles = of_singles();
    let freed = usize::try_from(report.freed_pageblocks).expect("few");
    assert_eq!(freed, before - of_singles.len(), "those that were free before do not count");
    let of_runs: HashSet<_> = runs.iter().map(|&id| pageblock_of(&rig, id)).collect();
    assert!(of_singles.is_disjoint(&of_runs), "runs stay away from single frames");
    rig.validate().expect("valid");
}

#[test]
fn readers_in_the_cheapest_ranges_do_not_stop_a_claim() {
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 8 << 20);
    let ids = singles(&rig, 4 * 512);
    let kept = thin_out(&rig, ids, |at| if at < 512 { at % 32 == 0 } else { at % 2 == 0 });
    let _readers: Vec<_> =
        kept[..8].iter().map(|&id| rig.movable.read(id).expect("lives")).collect();
    let range = rig.arena.alloc_contiguous(&[&rig.movable], 32, 32);
    assert!(range.is_ok(), "{}", range.expect_err("just seen"));
}

#[test]
fn a_run_is_counted_and_named_once_however_long_it_is() {
    let rig = Rig::new(Box::new(HeapSource::new()), AMPLE, 2 << 20);
    let ids = [64, 4].map(|frames| create(&rig.movable, frames, 1).expect("room"));
    let _readers = ids.map(|id| rig.movable.read(id).expect("lives"));
    let error = rig.arena.alloc_contiguous(&[&rig.movable], 512, 1).expect_err("held");
    let ContiguousError::Blocked { blockers, .. } = error else { panic!("{error}") };
    let named: Vec<_> =
        blockers.iter().map(|blocker| blocker.owner.map(|owner| owner.id)).collect();
    assert_eq!(named, ids.map(Some));
}

#[test]
fn what_is_dead_is_freed_and_not_counted_as_moved() {
    let rig = rig();
    let id = create(&rig.movable, 4, 1).expect("room");
    let reader = rig.movable.read(id).expect("lives");
    rig.movable.reap(id);
    drop(reader);
    assert_eq!(rig.arena.migrate(&rig.movable, id), Err(FrameMigrateError::Gone));
    assert_eq!((rig.arena.migration().migrated, rig.arena.stats().allocated), (0, 0));
    rig.validate().expect("valid");
}

#[test]
fn a_pageblock_that_the_system_did_not_take_is_not_counted() {
    let (rig, hooks) = hooked(AMPLE);
    let ids = singles(&rig, 1024);
    let kept = thin_out(&rig, ids, |at| at % 4 == 0);
    hooks.keeps_memory.store(true, Ordering::Relaxed);
    let used = rig.memory.used();
    let report = rig.arena.compact(&[&rig.movable], usize::MAX);
    assert_eq!((report.freed_pageblocks, rig.memory.used()), (0, used));
    let range = rig.arena.alloc_contiguous(&[&rig.movable], 700, 1).expect("room");
    assert!(range.as_slice().iter().all(|&byte| byte == 0), "zero, with or without the system");
    rig.validate().expect("valid");
    drop((range, kept));
}

#[test]
fn each_single_refusal_is_harmless() {
    for refused in 0..300 {
        let plan = FaultPlan::new();
        let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(&plan));
        let rig = Rig::new(Box::new(source), AMPLE, 16 << 20);
        let ids: Vec<_> = (0..1200)
            .map(|value| create(&rig.movable, [1, 4][value as usize % 2], value).expect("room"))
            .collect();
        let kept: Vec<_> = ids.iter().enumerate().filter(|(at, _)| at % 5 < 2).collect();
        for (_, &id) in ids.iter().enumerate().filter(|(at, _)| at % 5 >= 2) {
            rig.movable.reap(id);
        }
        plan.fail(refused, 1);
        rig.arena.compact(&[&rig.movable], usize::MAX);
        let range = rig.arena.alloc_contiguous(&[&rig.movable], 1024, 1);
        rig.validate().unwrap_or_else(|error| panic!("grant {refused}: {error}"));
        drop(range);
        for (value, &id) in kept {
            let value = u32::try_from(value).expect("few");
            assert!(is_filled(rig.movable.read(id).expect("lives").parts().1, value));
        }
        rig.validate().unwrap_or_else(|error| panic!("grant {refused}: {error}"));
    }
}
