//! What the kernel says is resident follows the accounts, and `trim` gives it back.
//!
//! One test in a program of its own, because all threads of a process share the figure.
#![cfg(all(target_os = "linux", not(loom)))]

use std::{fs, sync::Arc};

use pagefold_frame::{
    Arena, ArenaConfig, FRAME_BYTES, FrameCount, MemoryBudget, MmapSource, Mobility, ReserveAccess,
    Slab, SlabConfig, Tag,
};

/// Frames of the test: 128 MiB, so that what else the process does is a small part.
const FRAMES: usize = 32 << 10;
/// What else may come and go meanwhile, in bytes: stacks, buffers of the test itself.
const NOISE: usize = 2 << 20;

/// Anonymous resident bytes of this process.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("since 4.5");
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib << 10
}

#[test]
fn resident_memory_follows_the_accounts() {
    let source = MmapSource::new(Default::default()).expect("pages of 4 KiB");
    let memory = Arc::new(MemoryBudget::new(Box::new(source), FRAMES + 4096));
    let config = ArenaConfig { address_space: 512 << 20 };
    let arena = Arc::new(Arena::new(&memory, config).expect("address space"));
    let config = SlabConfig { tag: Tag::new(1), mobility: Mobility::Movable, capacity: 2 * FRAMES };
    let slab: Slab<(), 0> = Slab::new(&arena, config).expect("address space");
    let before = resident();
    let grown = || resident().saturating_sub(before);
    let accounted = || memory.used() * FRAME_BYTES;
    let agrees = |when: &str, full: usize| {
        let (grown, said) = (grown(), accounted());
        assert!(grown.abs_diff(said) < NOISE + full / 50, "{when}: {grown} resident, {said} said");
    };

    let mut ids = Vec::with_capacity(FRAMES);
    while ids.len() < FRAMES {
        let mut guard = slab.create(FrameCount::ONE, ReserveAccess::Normal, ()).expect("room");
        guard.parts().1.fill(1);
        ids.push(guard.id());
    }
    let full = grown();
    assert!(
        full > FRAMES * FRAME_BYTES / 2,
        "{full} bytes resident: the kernel's figure is no use"
    );
    agrees("full", full);

    // Every other frame: no pageblock is whole, and still the free frames are given back one by one.
    for id in ids.iter().skip(1).step_by(2) {
        slab.reap(*id);
    }
    let (frame_bytes, _) = arena.trim();
    assert!(frame_bytes >= FRAMES / 2 * FRAME_BYTES, "{frame_bytes} bytes said to be given back");
    let half = grown();
    assert!(half < full / 2 + NOISE + full / 50, "{half} of {full} resident after half was freed");
    agrees("half freed", full);
    for id in ids.iter().step_by(2) {
        let guard = slab.read(*id).expect("lives");
        let kept = guard.parts().1.iter().all(|&byte| byte == 1);
        assert!(kept, "a neighbour's frame was given back");
    }

    for id in ids.iter().step_by(2) {
        slab.reap(*id);
    }
    arena.trim();
    slab.trim();
    let empty = grown();
    assert!(
        empty < NOISE + full / 100,
        "{empty} of {full} still resident after everything was freed"
    );
    slab.validate().expect("valid");
    arena.validate().expect("valid");
}
