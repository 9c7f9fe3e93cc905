//! Selection of blocks, compaction, and detection of broken bytes.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use pagefold_frame::{DescriptorId, HeapSource, ReserveAccess};

use super::{
    blocks::{Block, Blocks, UNITS},
    chain::BlockChain,
    header::{HEADER_BYTES, PARANOID, capacity},
    place::BlockSource,
    rewrite::Replaced,
};
use crate::{
    AllocError, BlockSelection, Handle, Pool, PoolBuilder, XcfmallocOptions,
    engine::{Content, Engine},
};

type Xcfmalloc = Engine<super::Xcfmalloc>;

fn pool_with(options: XcfmallocOptions) -> Xcfmalloc {
    let builder = PoolBuilder::new(options).limit(2 << 20).source(Box::new(HeapSource::new()));
    let packing = super::Xcfmalloc::new(builder.config(), options).expect("heap");
    Engine::new(packing).expect("room")
}

fn pool(max_blocks: u32) -> Xcfmalloc {
    pool_with(XcfmallocOptions::new().max_blocks(max_blocks))
}

fn store(pool: &Xcfmalloc, units: u32) -> Handle {
    pool.store(&bytes(capacity(units))).expect("room")
}

fn bytes(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn chain(pool: &Xcfmalloc, handle: Handle) -> BlockChain {
    let found = pool.packing().base.find(handle).expect("alive");
    pool.packing().sides.chain(found.index, found.location).expect("a chain")
}

fn blocks_of(pool: &Xcfmalloc, handle: Handle) -> Vec<(u32, u32, u32)> {
    let chain = chain(pool, handle);
    chain.blocks().iter().map(|block| (block.id.get(), block.unit, block.units())).collect()
}

fn carving(pool: &Xcfmalloc) -> BTreeMap<DescriptorId, Blocks> {
    let ids: Vec<_> = pool.packing().frames.slab.live().map(|(id, _)| id).collect();
    let locked = pool.packing().frames.lock();
    ids.into_iter().map(|id| (id, locked.blocks(id))).collect()
}

fn holes(pool: &Xcfmalloc) -> Vec<(u32, u32, u32)> {
    let carved = carving(pool).into_iter().filter(|(_, blocks)| *blocks != Blocks::FREE);
    let free = carved.flat_map(|(id, blocks)| blocks.free_blocks().map(move |block| (id, block)));
    free.map(|(id, Block { unit, units })| (id.get(), unit, units)).collect()
}

/// Fills a new frame; there are no holes elsewhere.
fn full<const N: usize>(pool: &Xcfmalloc, sizes: [u32; N]) -> [Handle; N] {
    assert_eq!(sizes.iter().sum::<u32>(), UNITS, "a whole frame");
    let stored = sizes.map(|units| store(pool, units));
    let (frame, mut unit) = (blocks_of(pool, stored[0])[0].0, 0);
    for (&handle, units) in stored.iter().zip(sizes) {
        assert_eq!(blocks_of(pool, handle), [(frame, unit, units)]);
        unit += units;
    }
    stored
}

fn free<const N: usize>(pool: &Xcfmalloc, handles: [Handle; N]) {
    handles.into_iter().for_each(|handle| pool.free(handle).expect("alive"));
}

/// As [`full`], with holes.
fn carve<const N: usize>(pool: &Xcfmalloc, sizes: [(u32, bool); N]) {
    let stored = full(pool, sizes.map(|(units, _)| units));
    for (handle, _) in stored.into_iter().zip(sizes).filter(|(_, (_, is_hole))| *is_hole) {
        pool.free(handle).expect("alive");
    }
}

fn assert_whole(pool: &Xcfmalloc, handle: Handle, len: usize) {
    let mut buffer = vec![0; len];
    assert_eq!(pool.read_into(handle, &mut buffer), Ok(len));
    assert!(buffer == bytes(len), "the object is not what was stored");
    assert_eq!(pool.validate(), Ok(()));
}

const HOLE: bool = true;
const KEPT: bool = false;

#[test]
fn an_exact_fit_comes_first() {
    let pool = pool(2);
    carve(&pool, [(5, HOLE), (1, KEPT), (9, HOLE), (1, KEPT), (14, HOLE), (34, KEPT)]);
    let handle = store(&pool, 9);
    assert_eq!(blocks_of(&pool, handle), [(0, 6, 9)], "not the smaller, not the larger one");
}

#[test]
fn the_largest_smaller_block_comes_before_a_larger_one_which_is_split() {
    let pool = pool(2);
    carve(&pool, [(5, HOLE), (1, KEPT), (9, HOLE), (1, KEPT), (20, HOLE), (28, KEPT)]);
    let len = capacity(12);
    let handle = pool.store(&bytes(len)).expect("room");
    // 9 units are filled whole; the rest takes 4 of the smallest larger block.
    assert_eq!(blocks_of(&pool, handle), [(0, 6, 9), (0, 0, 4)]);
    assert_eq!(holes(&pool), [(0, 4, 1), (0, 16, 20)], "only the last block was split");
    assert_eq!(pool.stats().split_objects, 1);
    assert_whole(&pool, handle, len);
    pool.free(handle).expect("alive");
    assert_eq!(pool.stats().split_objects, 0);
}

#[test]
fn the_last_block_allowed_is_not_a_smaller_one() {
    let carved = [(5, HOLE), (1, KEPT), (9, HOLE), (1, KEPT), (20, HOLE), (28, KEPT)];
    let inverted = pool_with(XcfmallocOptions::new().selection(BlockSelection::Inverted));
    for (name, pool) in [("one block", pool(1)), ("inverted", inverted)] {
        carve(&pool, carved);
        let handle = store(&pool, 12);
        assert_eq!(blocks_of(&pool, handle), [(0, 16, 12)], "{name}");
        assert_eq!(holes(&pool), [(0, 0, 5), (0, 6, 9), (0, 28, 8)], "{name}");
    }
}

#[test]
fn more_blocks_are_filled_from_the_largest_down() {
    let pool = pool(4);
    carve(&pool, [(3, HOLE), (1, KEPT), (9, HOLE), (1, KEPT), (5, HOLE), (45, KEPT)]);
    let handle = store(&pool, 24);
    let blocks = blocks_of(&pool, handle);
    assert_eq!(blocks[..3], [(0, 4, 9), (0, 14, 5), (0, 0, 3)]);
    assert_eq!(blocks[3].0, 1, "the rest is in a new frame");
    assert_whole(&pool, handle, capacity(24));
}

#[test]
fn a_smaller_block_is_passed_over_if_what_it_leaves_would_not_fit() {
    let pool = pool(2);
    carve(&pool, [(9, HOLE), (55, KEPT)]);
    let len = 2 * capacity(UNITS);
    let handle = pool.store(&bytes(len)).expect("the longest object");
    assert_eq!(blocks_of(&pool, handle), [(1, 0, UNITS), (2, 0, UNITS)]);
    assert_eq!(holes(&pool), [(0, 0, 9)]);
    assert_whole(&pool, handle, len);
}

#[test]
fn what_needs_a_whole_frame_gets_one_without_a_header() {
    let pool = pool(2);
    carve(&pool, [(9, HOLE), (55, KEPT)]);
    for len in [capacity(UNITS - 1) + 1, 4096] {
        let handle = pool.store(&bytes(len)).expect("room");
        let blocks = blocks_of(&pool, handle);
        assert_eq!((blocks.len(), blocks[0].2), (1, UNITS), "{len} bytes");
        assert_whole(&pool, handle, len);
    }
    assert_eq!(holes(&pool), [(0, 0, 9)], "no hole was needed");
}

fn fill(pool: &Xcfmalloc) -> Vec<Handle> {
    let content = bytes(capacity(30));
    let mut stored = Vec::new();
    loop {
        match pool.store(&content) {
            Ok(handle) => stored.push(handle),
            Err(AllocError::OutOfMemory { .. }) => return stored,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_chain_that_cannot_be_completed_leaves_everything_as_it_was() {
    let pool = pool(4);
    let stored = fill(&pool);
    for handle in stored.iter().skip(7).step_by(40).take(3) {
        pool.free(*handle).expect("alive");
    }
    let (carved, holes) = (carving(&pool), holes(&pool));
    assert!(holes.len() >= 3, "{holes:?}");
    let free: u32 = holes.iter().map(|hole| hole.2).sum();
    let len = (free as usize * 64).min(pool.max_len() - 1);
    for _ in 0..3 {
        assert!(matches!(pool.store(&bytes(len)), Err(AllocError::OutOfMemory { .. })));
        assert_eq!(carving(&pool), carved);
        assert_eq!(pool.validate(), Ok(()));
    }
}

#[test]
fn whatever_hole_is_left_is_used_at_the_limit() {
    let pool = pool(2);
    let stored = fill(&pool);
    let freed: Vec<_> = stored.iter().skip(3).step_by(30).take(8).collect();
    let used: Vec<Vec<_>> = freed.iter().map(|handle| blocks_of(&pool, **handle)).collect();
    freed.iter().for_each(|handle| pool.free(**handle).expect("alive"));
    // 4096 bytes need three holes of 30 units.
    assert!(pool.store(&bytes(4096)).is_err(), "freed: {used:?}");
    let long = pool.store(&bytes(capacity(30) + capacity(20))).expect("two holes");
    assert!(chain(&pool, long).is_split());
    assert_whole(&pool, long, capacity(30) + capacity(20));
}

#[test]
fn an_overwrite_that_comes_too_late_gives_its_frames_back() {
    let pool = pool(2);
    let len = pool.max_len();
    let handle = pool.store(&bytes(len)).expect("room");
    let packing = pool.packing();
    let found = packing.base.find(handle).expect("alive");
    let reservation = || {
        let source = BlockSource::Anywhere(ReserveAccess::Reserve);
        packing.reserve(len, found.index, 2, source, |_, _| Ok(())).expect("room")
    };
    let (late, mut first) = (reservation(), reservation());
    first.fill(found.index, Content::Bytes(&bytes(len)));
    let switch = |reservation| packing.switch(&found, reservation, Replaced::All, 0);
    let frames_to_free = switch(first).expect("the entry is this one");
    assert_eq!(frames_to_free.count(), 2, "the old frames");
    pool.packing().frames.reap(&frames_to_free);
    assert!(switch(late).is_none(), "the entry is another one");
    assert_eq!(pool.stats().frame_bytes, 2 * 4096);
    assert_whole(&pool, handle, len);
}

#[test]
fn several_new_frames_are_had_where_none_may_be_kept() {
    for max_blocks in [2, 8] {
        let pool = pool(max_blocks);
        let len = pool.max_len();
        let mut stored = Vec::new();
        while let Ok(handle) = pool.store(&bytes(len)) {
            stored.push(handle);
        }
        // The old blocks are locked, so the new ones come from the overwrite reserve.
        for handle in stored.into_iter().take(20) {
            let mut written = Ok(());
            pool.read(handle, &mut |_| written = pool.write(handle, &bytes(len))).expect("alive");
            assert_eq!(written, Ok(()));
            assert_whole(&pool, handle, len);
        }
        assert!(pool.store(&bytes(len)).is_err(), "the reserve is not for this");
    }
}

#[test]
fn some_whole_frames_stay_until_they_are_trimmed() {
    let pool = pool(2);
    let stored: Vec<Handle> = (0..100).map(|_| pool.store(&bytes(4096)).expect("room")).collect();
    stored.into_iter().for_each(|handle| pool.free(handle).expect("alive"));
    let stats = pool.stats();
    assert_eq!(pool.packing().frames.lock().entirely_free(), 32, "of 100");
    assert_eq!((stats.frame_bytes, stats.payload_bytes), (0, 0));
    assert!(stats.idle_frame_bytes >= 32 * 4096, "the reserve is idle: {stats:?}");
    assert_eq!(pool.validate(), Ok(()));
    pool.trim();
    assert_eq!(pool.packing().frames.lock().entirely_free(), 0);
    assert_eq!(pool.stats().idle_frame_bytes, 0);
}

#[test]
fn side_words_go_with_their_objects_and_come_again() {
    for max_blocks in [1, 2, 4, 8] {
        let pool = pool(max_blocks);
        for round in 0..3 {
            let stored: Vec<Handle> = (0..3000).map(|_| store(&pool, 1 + round)).collect();
            let peak = pool.stats().metadata_bytes;
            stored.into_iter().for_each(|handle| pool.free(handle).expect("alive"));
            pool.trim();
            let left = pool.stats().metadata_bytes;
            let words = 3000 * 8 * (max_blocks as u64 - 1).max(1);
            assert!(left + words <= peak, "{left} bytes are left of {peak}, {max_blocks} blocks");
            assert_eq!(pool.validate(), Ok(()));
        }
    }
}

#[test]
fn compaction_puts_an_object_together_in_a_hole_that_holds_it() {
    let pool = pool(2);
    let [first, between, second, after] = full(&pool, [9, 1, 5, 49]);
    let [_, hole, _] = full(&pool, [22, 20, 22]);
    free(&pool, [first, second]);
    let len = capacity(12);
    let split = pool.store(&bytes(len)).expect("room");
    assert_eq!(blocks_of(&pool, split), [(0, 0, 9), (0, 10, 4)]);
    free(&pool, [hole, between, after]);
    let report = pool.compact(usize::MAX);
    assert_eq!(blocks_of(&pool, split), [(1, 22, 12)]);
    assert_eq!((report.moved_objects, report.freed_frames), (1, 1));
    assert_eq!(pool.stats().split_objects, 0);
    assert_whole(&pool, split, len);
}

#[test]
fn compaction_moves_the_blocks_of_an_object_one_by_one() {
    let pool = pool(2);
    let [first, between, second, after] = full(&pool, [5, 1, 20, 38]);
    let [five, _, nine, _] = full(&pool, [5, 1, 9, 49]);
    free(&pool, [first, second]);
    let len = capacity(5) + capacity(9);
    let split = pool.store(&bytes(len)).expect("room");
    assert_eq!(blocks_of(&pool, split), [(0, 0, 5), (0, 6, 9)], "both in one frame");
    free(&pool, [five, nine, between, after]);
    // The larger second block goes first, under its frame's write guard.
    let report = pool.compact(usize::MAX);
    assert_eq!(blocks_of(&pool, split), [(1, 0, 5), (1, 6, 9)]);
    assert_eq!((report.moved_objects, report.freed_frames), (2, 1));
    assert_whole(&pool, split, len);
}

#[test]
fn compaction_scatters_an_object_over_holes_where_it_must() {
    let pool = pool(4);
    let [moved, goes] = full(&pool, [12, 52]);
    let [first, _, second, _, third, _] = full(&pool, [5, 1, 4, 1, 5, 48]);
    free(&pool, [goes, first, second, third]);
    pool.compact(usize::MAX);
    let blocks = blocks_of(&pool, moved);
    assert!(blocks.len() == 3 && blocks.iter().all(|block| block.0 == 1), "{blocks:?}");
    assert_whole(&pool, moved, capacity(12));
}

#[test]
fn compaction_moves_what_is_being_read() {
    let pool = pool(2);
    let [moved, goes] = full(&pool, [12, 52]);
    let [_, hole, _] = full(&pool, [22, 20, 22]);
    free(&pool, [goes, hole]);
    let mut report = None;
    let read = pool.read(moved, &mut |slices| {
        report = Some(pool.packing().empty_frames(usize::MAX, u64::MAX));
        assert_eq!(blocks_of(&pool, moved), [(1, 22, 12)], "it is elsewhere");
        assert!(slices.contiguous() == Some(&bytes(capacity(12))), "and the open bytes stay");
    });
    assert_eq!(read, Ok(()));
    assert_eq!(report.map(|report| report.freed_frames), Some(1));
    assert_whole(&pool, moved, capacity(12));
}

#[test]
fn compaction_stops_at_the_frames_that_are_wanted() {
    let pool = pool(2);
    let stored: Vec<Handle> = (0..200).map(|_| store(&pool, 16)).collect();
    for handle in stored.iter().enumerate().filter(|(at, _)| at % 4 > 0).map(|(_, handle)| handle) {
        pool.free(*handle).expect("alive");
    }
    let report = pool.packing().empty_frames(usize::MAX, 3);
    assert_eq!((report.freed_frames, report.more), (3, true));
    let report = pool.packing().empty_frames(usize::MAX, u64::MAX);
    assert!(report.freed_frames > 20 && !report.more, "{report:?}");
    assert_eq!(pool.validate(), Ok(()));
}

#[test]
fn compaction_with_no_budget_comes_to_an_end() {
    for max_blocks in [1, 2, 8] {
        let pool = pool(max_blocks);
        let stored: Vec<Handle> = (0..900).map(|at| store(&pool, 1 + at % 30)).collect();
        for handle in stored.iter().step_by(2) {
            pool.free(*handle).expect("alive");
        }
        let calls = (0..20_000).take_while(|_| pool.compact(0).more).count();
        assert!(calls > 50 && calls < 20_000, "{calls} calls, {max_blocks} blocks");
        assert_eq!(pool.validate(), Ok(()));
    }
}

#[test]
fn small_holes_are_squeezed_out() {
    let (pool, one_block) = (pool(2), pool(1));
    let content = bytes(capacity(12));
    // Five objects of 12 units leave 4 of a frame.
    for pool in [&pool, &one_block] {
        let stored: Vec<Handle> = (0..600).map(|_| pool.store(&content).expect("room")).collect();
        for handle in stored.iter().step_by(2) {
            pool.free(*handle).expect("alive");
        }
        while pool.compact(64 << 10).more {}
        assert_eq!(pool.validate(), Ok(()));
    }
    let free = |pool: &Xcfmalloc| holes(pool).iter().map(|hole| hole.2).sum::<u32>();
    assert!(free(&one_block) >= 4 * (300 / 5 - 2), "one block cannot");
    assert!(free(&pool) <= 300 * 12 / 16, "{} units are free", free(&pool));
}

fn break_sentinel(pool: &Xcfmalloc, handle: Handle) -> [String; 3] {
    let block = *chain(pool, handle).blocks().last().expect("a block");
    let mut guard = pool.packing().frames.slab.try_write(block.id).expect("not locked");
    guard.parts().1[block.offset() + HEADER_BYTES - 1] ^= 0x10;
    [
        format!("index {}", pool.packing().base.find(handle).expect("alive").index),
        format!("frame {}", block.id.get()),
        format!("offset {}", block.offset()),
    ]
}

fn assert_names(message: &str, names: &[String]) {
    for name in names {
        assert!(message.contains(name), "the message does not say {name}: {message}");
    }
}

type Discovery<'a> = (&'a str, &'a dyn Fn(&Xcfmalloc, Handle));

#[test]
fn a_broken_sentinel_is_named_when_it_is_found() {
    if !PARANOID {
        return;
    }
    let discoveries: [Discovery<'_>; 4] = [
        ("read", &|pool, handle| _ = pool.read(handle, &mut |_| {})),
        ("try_read", &|pool, handle| _ = pool.try_read(handle, &mut |_| {})),
        ("free", &|pool, handle| _ = pool.free(handle)),
        ("compact", &|pool, _| _ = pool.compact(usize::MAX)),
    ];
    for (what, discover) in discoveries {
        let pool = pool(2);
        let [first, second, after] = full(&pool, [5, 20, 39]);
        let [_, hole, _] = full(&pool, [22, 20, 22]);
        free(&pool, [first]);
        let handle = store(&pool, 12);
        assert!(chain(&pool, handle).is_split());
        // The object's frame is the sparsest, with a hole elsewhere.
        free(&pool, [second, after, hole]);
        let names = break_sentinel(&pool, handle);
        let violation = pool.validate().expect_err("validate looks at every block");
        assert_names(&violation.0, &names);
        let outcome = catch_unwind(AssertUnwindSafe(|| discover(&pool, handle)));
        let panic = outcome.expect_err(what);
        assert_names(panic.downcast_ref::<String>().expect("a message"), &names);
    }
}
