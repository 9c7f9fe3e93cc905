//! Pages on a base take part in what a store does with pages: staging, limits, eviction, idle passes, the backing, versions,
//! resizing, many at once, threads.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    sync::Arc,
    thread,
};

use pagefold_frame::HeapSource;
use pagefold_pool::Allocator;
use pagefold_store::{
    BaseSource, GetError, Page, PutIfError, Space, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, FileBacking, Spill},
};
use pagefold_testkit::{
    backing::{FaultyBacking, ReadFault},
    corpus::PageKind,
    seed::Seed,
};
use tempfile::TempDir;

use super::bases::{get, pages, store};

/// Pages that all can shrink a little.
fn template(count: usize) -> Vec<Page> {
    let mut rng = Seed::new(7).rng(0);
    let page = |_| {
        let mut page = [0; 4096];
        PageKind::Random.fill(&mut rng, &mut page);
        page[..600].fill(7);
        page
    };
    (0..count).map(page).collect()
}

/// A page of `words` changed words, which `version` says.
fn changed(template: &[Page], key: u64, version: u64, words: usize) -> Page {
    let mut page = template[usize::try_from(key).expect("small") % template.len()];
    for word in 0..words {
        let at = (word * 232 + 600) % 4088;
        page[at..at + 8]
            .copy_from_slice(&(key << 32 | version << 16 | word as u64 | 1 << 63).to_le_bytes());
    }
    page
}

#[test]
fn staged_pages_become_deltas_by_the_hand_of_a_worker() {
    let template = template(64);
    for workers in [0, 1] {
        let store = Store::builder().limit(32 << 20).workers(workers).build().expect("room");
        let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
        let space = store.space(SpaceConfig::persistent(64).on(&base)).expect("room");
        store.pause_workers();
        // Too long to be taken at once.
        for key in 0..64 {
            space.put(key, &changed(&template, key, 1, 100)).expect("room");
        }
        let fresh = space.stats().fresh;
        assert!(fresh > 0, "they wait");
        for key in 0..64 {
            assert!(get(&space, key) == Ok(changed(&template, key, 1, 100)), "while it waits");
        }
        store.resume_workers();
        store.flush();
        let stats = space.stats();
        assert_eq!((stats.fresh, stats.deltas), (0, 64), "{stats:?}");
        assert!(stats.delta_bytes < 64 * 1200, "{stats:?}");
        for key in 0..64 {
            assert!(get(&space, key) == Ok(changed(&template, key, 1, 100)));
        }
        // Overwritten while it waits by what is equal.
        store.pause_workers();
        for key in 0..64 {
            space.put(key, &changed(&template, key, 2, 100)).expect("room");
            space.put(key, &template[usize::try_from(key).expect("small")]).expect("room");
        }
        store.resume_workers();
        store.flush();
        assert_eq!((space.stats().equal, space.stats().object_bytes), (64, 0));
        store.validate().expect("valid");
    }
}

#[test]
fn a_limit_of_a_space_counts_deltas_and_not_what_is_equal() {
    let (store, template) = (store(), template(64));
    let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
    let space = store.space(SpaceConfig::persistent(64).on(&base).limit(64)).expect("room");
    for (key, page) in (0..).zip(&template) {
        space.put(key, page).expect("equal pages take nothing");
    }
    for key in 0..4 {
        space.put(key, &changed(&template, key, 0, 0)).expect("equal");
        space.put(key, &changed(&template, key, 1, 1)).expect("a delta of 16 or 32 bytes");
        if space.stats().object_bytes == 64 {
            break;
        }
    }
    assert_eq!(space.stats().object_bytes, 64);
    assert!(space.put(10, &changed(&template, 10, 1, 1)).is_err());
    assert!(get(&space, 10) == Ok(template[10]), "the old value stays");
    store.validate().expect("valid");
}

#[test]
fn an_ephemeral_space_drops_deltas_for_room_and_keeps_what_is_equal() {
    let template = template(64);
    let builder = Store::builder().limit(4 << 20).staging(0).idle_share(0).shrinker(false);
    let store = builder.build().expect("room");
    let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
    let config = (0..1000).fold(SpaceConfig::ephemeral(64_000), |config, image| {
        config.map(image * 64..(image + 1) * 64, 0)
    });
    let space = store.space(config.on(&base)).expect("room");
    for key in 0..64 {
        space.put(key, &template[usize::try_from(key).expect("small")]).expect("room");
    }
    for key in 64..20_000 {
        space.put(key, &changed(&template, key, 1, 40)).expect("room is made");
    }
    assert!(space.stats().evicted > 1000, "{:?}", space.stats());
    assert_eq!(space.stats().equal, 64);
    for key in 0..20_000 {
        match get(&space, key) {
            Ok(page) if key < 64 => assert!(page == template[usize::try_from(key).expect("small")]),
            Ok(page) => assert!(page == changed(&template, key, 1, 40), "{key}"),
            Err(error) => assert!(error == GetError::Absent && key >= 64, "{key}: {error}"),
        }
    }
    store.validate().expect("valid");
}

#[test]
fn idle_passes_leave_deltas_alone_and_join_the_pages_of_the_base() {
    let pages = pages(3, 1200);
    let builder = Store::builder().limit(64 << 20).staging(0).workers(0);
    let store = builder.self_training(false).build().expect("room");
    let base = store.base(BaseSource::memory(pages.as_flattened()).resident(0)).expect("room");
    let space = store.space(SpaceConfig::persistent(1200).on(&base)).expect("room");
    for key in 0..1200 {
        space.put(key, &changed(&pages, key, 1, 3)).expect("room");
    }
    let before = space.stats();
    assert!(before.deltas > 1000, "{before:?}");
    for _ in 0..3 {
        store.idle_pass();
    }
    let after = space.stats();
    assert_eq!((after.deltas, after.clustered), (before.deltas, before.clustered));
    let of_base = store.stats().spaces.into_iter().find(|space| space.name == "base-1");
    assert!(of_base.expect("there").clustered > 500);
    for key in 0..1200 {
        assert!(get(&space, key) == Ok(changed(&pages, key, 1, 3)), "from a cluster and a delta");
    }
    store.validate().expect("valid");
}

fn spilling(backing: impl pagefold_store::spill::Backing + 'static) -> Store {
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
    let builder = Store::builder().limit(16 << 20).staging(0).spill(spill).without_spiller();
    builder.build().expect("room")
}

fn spill_all(store: &Store) {
    // The first round may only take marks.
    for _ in 0..2000 {
        if !store.spill_extent() && !store.spill_extent() {
            break;
        }
    }
}

#[test]
fn deltas_go_to_the_backing_and_come_back() {
    let template = template(2000);
    let backing = FileBacking::new(&std::env::temp_dir(), EXTENT_BYTES_MIN).expect("a file");
    let store = spilling(backing);
    let base = store.base(BaseSource::memory(template.as_flattened()).resident(0)).expect("room");
    let space = store.space(SpaceConfig::persistent(2000).on(&base)).expect("room");
    let version = |key: u64, version| match key % 2 {
        0 => changed(&template, key, version, 9),
        _ => changed(&template, key, version, 60),
    };
    for key in 0..2000 {
        space.put(key, &version(key, 1)).expect("room");
    }
    spill_all(&store);
    let forms = |form| (0..2000).filter(|&key| space.form_of(key) == Some(form)).count();
    let spilled = forms("spilled delta");
    assert!(spilled > 1500, "{spilled} {:?}", space.stats());
    let of_base = store.stats().spaces.into_iter().find(|space| space.name == "base-1");
    assert!(of_base.expect("there").spilled > 1000, "the base as well");
    store.validate().expect("valid");
    // From the backing: the delta, and its base page.
    let mut together: Vec<Page> = vec![[0; 4096]; 2000];
    let wanted: Vec<(u64, &mut Page)> = (0..).zip(&mut together).collect();
    assert!(space.get_many(wanted).into_iter().all(|got| got == Ok(())));
    for key in 0..2000 {
        assert!(together[usize::try_from(key).expect("small")] == version(key, 1), "{key}");
        assert!(get(&space, key) == Ok(version(key, 1)), "{key}");
        assert!(get(&space, key) == Ok(version(key, 1)), "read twice, it comes back");
    }
    assert!(forms("spilled delta") < spilled, "some came back");
    for key in (0..2000).step_by(3) {
        space.put(key, &version(key, 2)).expect("room");
    }
    let mut page = [0; 4096];
    space.take(1, &mut page).expect("there");
    assert!(page == version(1, 1));
    spill_all(&store);
    while store.clean_extent() {}
    for key in 2..2000 {
        assert!(get(&space, key) == Ok(version(key, if key % 3 == 0 { 2 } else { 1 })), "{key}");
    }
    store.validate().expect("valid");
    drop((base, space));
    let stats = store.stats();
    assert_eq!((stats.stored, stats.bases.len()), (0, 0));
    assert_eq!(stats.spill.expect("a backing").backing.live_bytes, 0);
    store.validate().expect("valid");
}

#[test]
fn a_backing_that_fails_under_a_base_is_an_error_of_the_base_page() {
    let template = template(400);
    let backing = Arc::new(FaultyBacking::new(false));
    let store = spilling(Arc::clone(&backing));
    let base = store.base(BaseSource::memory(template.as_flattened()).resident(0)).expect("room");
    let space = store.space(SpaceConfig::persistent(400).on(&base)).expect("room");
    for (key, page) in (0..).zip(&template) {
        space.put(key, page).expect("room");
    }
    spill_all(&store);
    backing.fail_all(None, Some(ReadFault::Fails));
    let failed = |key: &u64| match get(&space, *key) {
        Err(GetError::Base { page, base, .. }) => page == *key && &*base == "base-1",
        page => {
            assert!(page == Ok(template[usize::try_from(*key).expect("small")]), "{page:?}");
            false
        }
    };
    let failures = (0..400).filter(failed).count();
    assert!(failures > 100, "{failures}");
    backing.fail_all(None, None);
    for (key, page) in (0..).zip(&template) {
        assert!(get(&space, key) == Ok(*page));
    }
    store.validate().expect("valid");
}

#[test]
fn versions_of_pages_on_a_base() {
    let (store, template) = (store(), template(8));
    let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
    let space = store.space(SpaceConfig::persistent(8).on(&base)).expect("room");
    let mut page = [0; 4096];
    for words in [0, 1, 60] {
        space.put(3, &changed(&template, 3, 1, words)).expect("room");
        let version = space.get_versioned(3, &mut page).expect("there");
        assert!(page == changed(&template, 3, 1, words));
        let second = space.put_if(3, &changed(&template, 3, 2, words), version).expect("unchanged");
        // What is equal is the same version: it is the same page.
        let again = space.put_if(3, &page, version);
        assert_eq!(again.is_ok(), words == 0, "{again:?}");
        assert_ne!(again, Err(PutIfError::Put(pagefold_store::PutError::WrongLength { len: 0 })));
        if words > 0 {
            assert!(space.put_if(3, &page, second).is_ok());
        }
    }
    space.put_if_absent(5, &template[5]).expect("absent");
    let first = u64::from_le_bytes(*template[5].first_chunk().expect("8"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let add = |page: &mut Page| {
                        let count = u64::from_le_bytes(*page.first_chunk().expect("8")) + 1;
                        page[..8].copy_from_slice(&count.to_le_bytes());
                    };
                    assert_eq!(space.update(5, add), Ok(true));
                }
            });
        }
    });
    let page = get(&space, 5).expect("there");
    assert_eq!(u64::from_le_bytes(*page.first_chunk().expect("8")), first + 2000);
    store.validate().expect("valid");
}

#[test]
fn a_space_on_a_base_grows_beyond_it_and_shrinks() {
    let (store, template) = (store(), template(64));
    let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
    let space = store.space(SpaceConfig::persistent(64).on(&base)).expect("room");
    for (key, page) in (0..).zip(&template) {
        space.put(key, page).expect("room");
    }
    space.resize(128).expect("more");
    space.put(100, &template[36]).expect("room");
    assert_ne!(space.form_of(100), Some("equal"));
    assert_eq!(space.resize(32), Ok(33));
    assert_eq!(space.stats().equal, 32);
    space.resize(64).expect("more again");
    space.put(63, &template[63]).expect("room");
    assert_eq!(space.form_of(63), Some("equal"), "mapped as before");
    store.validate().expect("valid");
}

#[test]
fn every_allocator_keeps_deltas() {
    let template = template(200);
    for &allocator in Allocator::ALL {
        let source = Box::new(HeapSource::new());
        let builder = Store::builder().allocator(allocator).source(source).limit(16 << 20);
        let store = builder.staging(0).build().expect("room");
        let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
        let space = store.space(SpaceConfig::persistent(200).on(&base)).expect("room");
        for round in 0..3 {
            for key in 0..200 {
                let words = usize::try_from((key * 7 + round * 31) % 120).expect("small");
                space.put(key, &changed(&template, key, round, words)).expect("room");
            }
            store.compact(1 << 20);
            for key in 0..200 {
                let words = usize::try_from((key * 7 + round * 31) % 120).expect("small");
                assert!(
                    get(&space, key) == Ok(changed(&template, key, round, words)),
                    "{allocator}"
                );
            }
        }
        store.validate().expect("valid");
    }
}

/// Readers, a writer, and a resident budget that is too small: every page is right.
#[test]
fn threads_beside_each_other_on_few_resident_pages() {
    let (template, directory) = (template(256), TempDir::new().expect("a directory"));
    let path = directory.path().join("image");
    fs::write(&path, template.as_flattened()).expect("room");
    let store = Store::builder().limit(32 << 20).build().expect("room");
    for source in [
        BaseSource::path(&path).resident(32 << 10),
        BaseSource::memory(template.as_flattened()).resident(32 << 10),
    ] {
        let base = store.base(source).expect("a base");
        let space = store.space(SpaceConfig::persistent(256).on(&base)).expect("room");
        for key in 0..256 {
            space.put(key, &changed(&template, key, 0, 2)).expect("room");
        }
        let check = |space: &Space, key: u64, most: u64| {
            let page = get(space, key).expect("there");
            let is_one = (0..=most).any(|version| page == changed(&template, key, version, 2));
            assert!(is_one, "{key}");
        };
        thread::scope(|scope| {
            for reader in 0..3_u64 {
                let (space, check) = (&space, &check);
                scope.spawn(move || {
                    for step in 0..5000_u64 {
                        check(space, (step * (reader + 1) * 7919) % 256, 5);
                    }
                });
            }
            for version in 1..=5 {
                for key in 0..256 {
                    space.put(key, &changed(&template, key, version, 2)).expect("room");
                }
            }
        });
        assert!(base.stats().hits > 0 && base.stats().reads > 0, "{:?}", base.stats());
        store.validate().expect("valid");
    }
}

/// A base that changes under readers is right or an error, at each moment.
#[test]
fn a_file_that_changes_beside_gets() {
    let (template, directory) = (template(16), TempDir::new().expect("a directory"));
    let path = directory.path().join("image");
    fs::write(&path, template.as_flattened()).expect("room");
    let store = store();
    let base = store.base(BaseSource::path(&path).resident(0)).expect("a file");
    let space = store.space(SpaceConfig::persistent(16).on(&base)).expect("room");
    for key in 0..16 {
        space.put(key, &changed(&template, key, 0, 2)).expect("room");
    }
    let file = OpenOptions::new().write(true).open(&path).expect("there");
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..400_u64 {
                let at = round * 4099 % (16 * 4096);
                let byte = template.as_flattened()[usize::try_from(at).expect("small")];
                file.write_all_at(&[!byte], at).expect("room");
                file.write_all_at(&[byte], at).expect("room");
            }
        });
        let (mut right, mut step) = (0, 0);
        while !writer.is_finished() || step < 1000 {
            match get(&space, step % 16) {
                Ok(page) => {
                    assert!(page == changed(&template, step % 16, 0, 2));
                    right += 1;
                }
                Err(error) => assert!(matches!(error, GetError::Base { .. }), "{error}"),
            }
            step += 1;
        }
        assert!(right > 0);
    });
    for key in 0..16 {
        assert!(get(&space, key) == Ok(changed(&template, key, 0, 2)));
    }
}
