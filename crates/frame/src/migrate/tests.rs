use std::sync::Arc;

use super::*;
use crate::{
    ArenaConfig, Chain, HeapSource, MemoryBudget, ReserveAccess, layout::sealed::Extents as _,
};

/// Fills a descriptor of 64 bytes.
type Chains = Slab<u32, 6, Chain>;

/// A mover that isolated a chain while it was made may see its frames only under the lock; another frame than it
/// meant stays. (I-EXTENT)
#[test]
fn a_piece_that_is_not_where_it_was_seen_stays() {
    let memory = Arc::new(MemoryBudget::new(Box::new(HeapSource::new()), 10_000));
    let arena =
        Arc::new(Arena::new(&memory, ArenaConfig { address_space: 4 << 20 }).expect("heap"));
    let config = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity: 4 };
    let chains: Chains = Slab::new(&arena, config).expect("heap");
    let guard = chains.create(FrameCount::new(3), ReserveAccess::Normal, 0).expect("room");
    let id = guard.id();
    drop(guard);
    let mut isolated = chains.isolate(id).expect("lives");
    let places: Vec<FrameNo> = (0..3).map(|number| isolated.extent(number).start).collect();
    let further = &isolated.descriptor.further;
    let write = |second, third| {
        Chain::put(further, 1, second);
        Chain::put(further, 2, third);
    };
    // The mover's view, until it takes a frame.
    write(places[2], places[1]);
    let moved = isolated.migrate(1, &mut |frames, owner| {
        write(places[1], places[2]);
        arena.alloc(frames, Mobility::Movable, ReserveAccess::Normal, owner)
    });
    assert_eq!(moved, Err(FrameMigrateError::Gone));
    assert_eq!(arena.stats().allocated, 3, "the frame to go to is free again");
    let after: Vec<FrameNo> = (0..3).map(|number| isolated.extent(number).start).collect();
    assert_eq!(after, places);
    drop(isolated);
    assert_eq!(arena.migrate_extent(&chains, id, 1), Ok(FrameCount::ONE));
    chains.validate().expect("valid");
    arena.validate().expect("valid");
}
