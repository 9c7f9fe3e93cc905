//! What a region does when its store is full, and with a backing.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use pagefold_region::{Advice, FailurePolicy, Region, ServedFrom};
use pagefold_store::{
    Store,
    spill::{EXTENT_BYTES, FileBacking, Spill},
};

use crate::{
    common::{PAGE, builder, check, fill, mix, modes},
    parts,
};

/// Words that no codec makes shorter.
fn fill_raw(bytes: &mut [u8], page: usize) {
    for (at, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&mix((page * 512 + at) as u64 + 1).to_ne_bytes());
    }
}

#[test]
fn a_full_store_ends_the_process_with_a_message() {
    for mode in modes() {
        let ended = parts::run("policies::part_full", mode);
        ended.assert_killed(libc::SIGABRT);
        assert!(ended.stderr().contains("the store is full"), "{mode}: {}", ended.stderr());
    }
}

#[test]
#[ignore = "run by a_full_store_ends_the_process_with_a_message"]
fn part_full() {
    let Some(mode) = parts::mode() else { return };
    let region = builder(mode, 8192, 256)
        .store_limit(8 << 20)
        .failure_policy(FailurePolicy::AbortAfter(Duration::from_millis(300)))
        .build();
    let mut region = region.expect("a mode that works");
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
        fill_raw(page, number);
    }
}

#[test]
fn a_full_store_blocks_until_its_limit_is_raised() {
    for mode in modes() {
        let store = Store::builder().limit(8 << 20).max_limit(64 << 20);
        let store = store.codec("lz4".parse().expect("a codec"));
        let region =
            builder(mode, 8192, 256).store(store).failure_policy(FailurePolicy::Block).build();
        let mut region: Region = region.expect("a mode that works");
        let store = region.store().clone();
        let written = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
                    fill_raw(page, number);
                    written.store(number, Ordering::Relaxed);
                }
            });
            // Until nothing goes on.
            let mut last = usize::MAX;
            while last != written.load(Ordering::Relaxed) {
                last = written.load(Ordering::Relaxed);
                thread::sleep(Duration::from_millis(500));
            }
            assert!(
                (1000..4000).contains(&last),
                "{mode}: {last} pages fit 8 MiB and a limit of 1 MiB"
            );
            store.set_limit(40 << 20).expect("below the highest");
        });
        let mut expected = vec![0; PAGE];
        for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
            fill_raw(&mut expected, number);
            assert!(page == expected, "{mode}: page {number}");
        }
    }
}

#[test]
fn kept_copies_make_room() {
    for mode in modes() {
        // 12 MiB of pages that do not shrink, 4 MiB in memory, 9 MiB in the store: with copies of those in memory it would not do.
        let region = builder(mode, 3072, 1024).store_limit(9600 << 10).build();
        let mut region = region.expect("a mode that works");
        for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
            fill_raw(page, number);
        }
        let mut expected = vec![0; PAGE];
        for _ in 0..2 {
            for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
                fill_raw(&mut expected, number);
                assert!(page == expected, "{mode}: page {number}");
            }
        }
        let stats = region.stats();
        assert!(stats.store.resident_bytes <= stats.store.limit_bytes);
        eprintln!("{mode}: full {} times, kept {}", stats.store_full, stats.kept_bytes);
    }
}

#[test]
fn spilled_pages_come_back() {
    for mode in modes() {
        let directory = tempfile::tempdir().expect("a directory");
        let backing = FileBacking::new(directory.path(), EXTENT_BYTES).expect("a directory");
        let spill = Spill::builder(backing).limit(256 << 20).build().expect("a limit");
        let store =
            Store::builder().limit(12 << 20).codec("lz4".parse().expect("a codec")).spill(spill);
        let region = builder(mode, 8192, 512).store(store).build();
        let mut region = region.expect("a mode that works");
        for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
            fill(page, number, 5);
        }
        for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
            check(page, number, 5);
        }
        let stats = region.stats();
        let of = |from| stats.faults.iter().find(|one| one.from == from).map_or(0, |one| one.count);
        assert!(of(ServedFrom::Spill) > 100, "{mode}: {:?}", of(ServedFrom::Spill));
        assert!(stats.store.resident_bytes <= stats.store.limit_bytes);
    }
}

#[test]
fn a_lower_limit_is_reached() {
    for mode in modes() {
        let region = builder(mode, 4096, 2048).build().expect("a mode that works");
        let mut region: Region = region;
        for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
            fill(page, number, 1);
        }
        region.set_resident_limit(512 * PAGE);
        assert_eq!(region.resident_limit(), 512 * PAGE);
        for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
            check(page, number, 1);
        }
        let stats = region.stats();
        assert!(stats.resident_bytes <= stats.resident_limit_bytes, "{mode}");
        region.set_resident_limit(2048 * PAGE);
        for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
            check(page, number, 1);
        }
    }
}

#[test]
fn advice_moves_pages_and_changes_none() {
    for mode in modes() {
        let mut region = builder(mode, 2048, 1024).build().expect("a mode that works");
        for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate().take(512) {
            fill(page, number, 1);
        }
        region.advise(0..2048 * PAGE, Advice::Cold).expect("a range");
        let stats = region.stats();
        assert_eq!((stats.pages.compressed, stats.resident_bytes), (512, 0), "{mode}");
        region.advise(0..256 * PAGE, Advice::WillNeed).expect("a range");
        let stats = region.stats();
        // Neighbours may come along.
        let there = stats.resident_bytes / PAGE as u64;
        assert!((256..=272).contains(&there), "{mode}: {there}");
        for advice in [Advice::Sequential, Advice::Random, Advice::Normal] {
            region.advise(0..2048 * PAGE, advice).expect("a range");
            for (number, page) in region.as_slice().chunks(PAGE).enumerate().take(512) {
                check(page, number, 1);
            }
            region.advise(0..2048 * PAGE, Advice::Cold).expect("a range");
        }
        region.discard(100..512 * PAGE - 100).expect("a range");
        let stats = region.stats();
        assert_eq!(stats.pages.untouched, 2048 - 2, "{mode}");
        assert!(region.as_slice()[100..512 * PAGE - 100].iter().all(|&byte| byte == 0), "{mode}");
        assert!(region.as_slice()[..100].iter().any(|&byte| byte != 0), "{mode}");
        assert_eq!(region.store().stats().stored, 2, "{mode}");
    }
}
