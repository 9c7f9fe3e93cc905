//! Bases: their sources, what becomes of pages on them, and each thing that can be wrong with a base.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use pagefold_store::{
    Base, BaseError, BaseFault, BaseSource, GetError, KeyError, MappingError, Page, PutError,
    Space, SpaceConfig, SpaceError, Store, TryGetError,
};
use pagefold_testkit::{
    corpus::{Mix, PageKind},
    seed::Seed,
};
use tempfile::TempDir;

pub(super) fn store() -> Store {
    Store::builder().limit(32 << 20).staging(0).build().expect("room")
}

pub(super) fn pages(seed: u64, count: usize) -> Vec<Page> {
    let pages = Mix::PROCESS.pages(&mut Seed::new(seed).rng(0), count);
    pages.iter().map(|page| page.as_slice().try_into().expect("a page")).collect()
}

pub(super) fn get(space: &Space, key: u64) -> Result<Page, GetError> {
    let mut page = [0; 4096];
    space.get(key, &mut page).map(|()| page)
}

fn try_get(space: &Space, key: u64) -> Result<Page, TryGetError> {
    let mut page = [0; 4096];
    space.try_get(key, &mut page).map(|()| page)
}

fn random(seed: u64) -> Page {
    let mut page = [0; 4096];
    PageKind::Random.fill(&mut Seed::new(seed).rng(0), &mut page);
    page
}

/// A template of 40 pages without a page of one word: random ones, so that nothing but a delta makes pages short.
fn template() -> Vec<Page> {
    (0..40).map(random).collect()
}

fn file(directory: &TempDir, pages: &[Page]) -> PathBuf {
    let path = directory.path().join("image");
    fs::write(&path, pages.as_flattened()).expect("room");
    path
}

/// Equal, a word changed, bytes moved, all changed: of each kind of page on its base.
fn clone_of(template: &[Page], key: u64) -> Page {
    let mut page = template[usize::try_from(key).expect("small")];
    match key % 4 {
        0 => {}
        1 => page[100..104].copy_from_slice(&key.to_le_bytes()[..4]),
        2 => page.copy_within(0..3000, 1000),
        _ => page = random(1000 + key),
    }
    page
}

fn fill(space: &Space, template: &[Page]) {
    for key in 0..template.len() as u64 {
        space.put(key, &clone_of(template, key)).expect("room");
    }
}

fn check(space: &Space, template: &[Page]) {
    for key in 0..template.len() as u64 {
        assert!(get(space, key).expect("there") == clone_of(template, key), "page {key}");
    }
}

fn with(source: BaseSource<'_>, locked: bool) -> BaseSource<'_> {
    if locked { source.locked() } else { source }
}

fn each_source(test: impl Fn(&Store, &Base, &[Page])) {
    let (template, directory) = (template(), TempDir::new().expect("a directory"));
    let path = file(&directory, &template);
    for locked in [false, true] {
        let store = store();
        let base = store.base(with(BaseSource::path(&path), locked)).expect("a file");
        test(&store, &base, &template);
        let base = store.base(with(BaseSource::file(File::open(&path).expect("there")), locked));
        test(&store, &base.expect("a file"), &template);
        let base =
            store.base(with(BaseSource::memory(template.as_flattened()), locked)).expect("room");
        test(&store, &base, &template);
        let space = store.space(SpaceConfig::persistent(1000)).expect("room");
        for (key, page) in (0..).zip(&template) {
            space.put(key, page).expect("room");
        }
        let base = store.base(BaseSource::space(&space).resident(0)).expect("frozen");
        test(&store, &base, &template);
        store.validate().expect("valid");
    }
}

#[test]
fn what_differs_from_a_base_is_what_a_space_keeps() {
    each_source(|store, base, template| {
        let space = store.space(SpaceConfig::persistent(100).on(base)).expect("room");
        fill(&space, template);
        check(&space, template);
        let forms: Vec<_> = (0..4).map(|key| space.form_of(key).expect("there")).collect();
        let plain = "raw";
        let moved = if cfg!(feature = "c-codecs") { "delta" } else { plain };
        assert_eq!(forms, ["equal", "delta", moved, plain]);
        let stats = space.stats();
        assert_eq!((stats.equal, stats.stored), (10, 40));
        assert_eq!(stats.base.as_deref(), Some(base.name()));
        if cfg!(feature = "c-codecs") {
            assert_eq!((stats.deltas, stats.raw), (20, 10));
            // 11 to 15 bytes a word, and less than 200 for what was moved.
            assert!(stats.delta_bytes <= 10 * 16 + 10 * 208, "{stats:?}");
            assert!(stats.saved_bytes > 29 * 4096, "{stats:?}");
            assert_eq!(stats.object_bytes, stats.delta_bytes + 10 * 4096);
        }
        store.validate().expect("valid");
        // Over each other, and out.
        for key in 0..40 {
            let other = clone_of(template, key);
            space.put(key, &random(77)).expect("room");
            space.put(key, &other).expect("room");
            assert!(get(&space, key) == Ok(other));
            let mut page = [0; 4096];
            if key % 2 == 0 {
                space.take(key, &mut page).expect("there");
                assert!(page == other);
            } else {
                assert_eq!(space.remove(key), Ok(true));
            }
            assert_eq!(get(&space, key), Err(GetError::Absent));
        }
        let stats = space.stats();
        assert_eq!(
            (stats.equal, stats.deltas, stats.delta_bytes, stats.object_bytes),
            (0, 0, 0, 0)
        );
        store.validate().expect("valid");
    });
}

#[test]
fn a_space_outlives_the_handle_of_its_base_and_then_the_base_goes() {
    each_source(|store, base, template| {
        let others = store.stats().bases.len();
        let space = store.space(SpaceConfig::persistent(40).on(base)).expect("room");
        fill(&space, template);
        check(&space, template);
        assert_eq!(base.stats().spaces, 1);
        assert_eq!(store.stats().bases.len(), others);
    });
    let (store, template) = (store(), template());
    let before = store.stats();
    let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
    let space = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    let second = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    fill(&space, &template);
    drop(base);
    check(&space, &template);
    fill(&second, &template);
    drop(space);
    check(&second, &template);
    assert_eq!(store.stats().bases.len(), 1);
    assert_eq!(store.stats().spaces.len(), 2, "with that of the base");
    store.validate().expect("valid");
    drop(second);
    let after = store.stats();
    assert_eq!((after.bases.len(), after.spaces.len(), after.stored), (0, 0, 0));
    assert_eq!(after.payload_bytes, before.payload_bytes);
    store.validate().expect("valid");
}

/// The keys of the pages that need their base page.
fn on_base(space: &Space) -> Vec<u64> {
    let is_on = |key: &u64| matches!(space.form_of(*key), Some("equal" | "delta"));
    (0..40).filter(is_on).collect()
}

#[test]
fn a_file_that_changes_is_an_error_that_names_it_and_never_other_bytes() {
    let (template, directory) = (template(), TempDir::new().expect("a directory"));
    let path = file(&directory, &template);
    let store = store();
    let base = store.base(BaseSource::path(&path).resident(0)).expect("a file");
    let space = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    fill(&space, &template);
    let writer = OpenOptions::new().write(true).open(&path).expect("there");
    for key in on_base(&space) {
        let at = key * 4096 + 4095;
        let byte = template[usize::try_from(key).expect("small")][4095];
        writer.write_all_at(&[byte ^ 1], at).expect("room");
        let error = get(&space, key).expect_err("it was changed");
        let name = path.display().to_string();
        let expected =
            GetError::Base { base: name.as_str().into(), page: key, fault: BaseFault::Changed };
        assert_eq!(error, expected);
        let text = error.to_string();
        assert!(text.contains(&name) && text.contains(&format!("page {key} ")), "{text}");
        let mut page = [0; 4096];
        assert_eq!(space.take(key, &mut page), Err(expected.clone()));
        assert_eq!(space.get_bytes(key), Err(expected.clone()));
        assert_eq!(space.get_versioned(key, &mut page).map(drop), Err(expected));
        assert_eq!(try_get(&space, key), Err(TryGetError::WouldBlock));
        assert_eq!(space.contains(key), Ok(true));
        // A put of the same page: plain now.
        if key % 8 == 0 {
            space.put(key, &clone_of(&template, key)).expect("room");
            assert!(!on_base(&space).contains(&key));
            assert!(get(&space, key) == Ok(clone_of(&template, key)));
        }
        writer.write_all_at(&[byte], at).expect("room");
        assert!(get(&space, key) == Ok(clone_of(&template, key)), "it is right again");
    }
    assert!(base.stats().failures > 30);
    check(&space, &template);
    store.validate().expect("valid");
}

#[test]
fn a_file_that_is_truncated_or_deleted() {
    let (template, directory) = (template(), TempDir::new().expect("a directory"));
    let path = file(&directory, &template);
    let store = store();
    let base = store.base(BaseSource::path(&path).resident(0)).expect("a file");
    let space = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    fill(&space, &template);
    // Another file of that name is not the base.
    let aside = directory.path().join("aside");
    fs::rename(&path, &aside).expect("renamed");
    fs::write(&path, [7; 4096]).expect("room");
    check(&space, &template);
    OpenOptions::new()
        .write(true)
        .open(&aside)
        .expect("there")
        .set_len(4096 * 20 + 5)
        .expect("set");
    for key in 0..40 {
        let needs = on_base(&space).contains(&key);
        match get(&space, key) {
            Err(GetError::Base { page, fault: BaseFault::Truncated, .. }) => {
                assert!(needs && key >= 20 && page == key, "{key}");
            }
            page => {
                assert!(!needs || key < 20, "{key}");
                assert!(page == Ok(clone_of(&template, key)), "{key}");
            }
        }
    }
    // Longer again, with zeros: still not the bytes.
    let file = OpenOptions::new().write(true).open(&aside).expect("there");
    file.set_len(4096 * 40).expect("set");
    let fault = |key| match get(&space, key) {
        Err(GetError::Base { fault, .. }) => Some(fault),
        _ => None,
    };
    assert_eq!(
        (fault(0), fault(20), fault(24)),
        (None, Some(BaseFault::Changed), Some(BaseFault::Changed))
    );
    file.write_all_at(template.as_flattened(), 0).expect("room");
    check(&space, &template);
    drop(file);
    fs::remove_file(&aside).expect("there");
    check(&space, &template);
    // Opening it anew does not work.
    let error = store.base(BaseSource::path(&aside)).expect_err("deleted");
    assert!(matches!(&error, BaseError::Io { name, .. } if *name == aside.display().to_string()));
    store.validate().expect("valid");
}

#[test]
fn holes_and_a_last_page_that_is_not_whole() {
    let (template, directory) = (template(), TempDir::new().expect("a directory"));
    let path = directory.path().join("sparse");
    let mut file = File::create(&path).expect("room");
    file.write_all(&template[0]).expect("room");
    file.set_len(4096 * 30).expect("set");
    file.write_all_at(&template[1][..100], 4096 * 30).expect("room");
    let store = store();
    let base = store.base(BaseSource::path(&path).resident(1 << 20)).expect("a file");
    let stats = base.stats();
    assert_eq!((stats.pages, stats.holes), (31, 29));
    assert!(stats.charged_bytes < 16 << 10, "holes take no room: {stats:?}");
    let space = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    let mut near_hole = [0; 4096];
    near_hole[5] = 7;
    let mut last = [0; 4096];
    last[..100].copy_from_slice(&template[1][..100]);
    for (key, page) in [(0, template[0]), (10, [0; 4096]), (11, near_hole), (30, last), (31, last)]
    {
        space.put(key, &page).expect("room");
        assert!(get(&space, key) == Ok(page), "{key}");
    }
    let forms: Vec<_> = [0, 10, 11, 30, 31].map(|key| space.form_of(key).expect("there")).into();
    assert_eq!(forms[..4], ["equal", "same-filled", "delta", "equal"]);
    assert_ne!(forms[4], "equal", "beyond the base");
    // A hole needs no file.
    file.set_len(0).expect("set");
    assert!(get(&space, 11) == Ok(near_hole) && try_get(&space, 11) == Ok(near_hole));
    store.validate().expect("valid");
}

#[test]
fn what_never_waits_has_resident_pages_and_those_of_the_store_only() {
    let (template, directory) = (template(), TempDir::new().expect("a directory"));
    let path = file(&directory, &template);
    let store = store();
    let open = |source: BaseSource<'_>| {
        let base = store.base(source).expect("a base");
        let space = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
        fill(&space, &template);
        (base, space)
    };
    let works = |space: &Space| {
        let ok = (0..40).filter(|&key| try_get(space, key) == Ok(clone_of(&template, key)));
        ok.count()
    };
    let (_base, file_only) = open(BaseSource::path(&path).resident(0));
    assert_eq!(works(&file_only), 40 - on_base(&file_only).len());
    assert_eq!(file_only.stats().would_block, on_base(&file_only).len() as u64);
    let (_base, locked) = open(BaseSource::path(&path).locked());
    assert_eq!(works(&locked), 40);
    let (_base, memory) = open(BaseSource::memory(template.as_flattened()).resident(0));
    assert_eq!(works(&memory), 40);
    let (base, cached) = open(BaseSource::path(&path).resident(64 << 10));
    // Sets of four slots, of which each has room for some of its pages.
    check(&cached, &template);
    let there = works(&cached);
    assert!((10..40).contains(&there), "{there}");
    assert_eq!(base.stats().resident_bytes, 64 << 10);
}

#[test]
fn a_frozen_space_refuses_every_change_and_thaws_with_its_last_base() {
    let (store, template) = (store(), template());
    let space = store.space(SpaceConfig::persistent(40).name("golden")).expect("room");
    for (key, page) in (0..).zip(&template) {
        space.put(key, page).expect("room");
    }
    let mut page = [0; 4096];
    let version = space.get_versioned(0, &mut page).expect("there");
    let base = store.base(BaseSource::space(&space)).expect("frozen");
    let second = store.base(BaseSource::space(&space)).expect("frozen twice");
    assert_eq!(base.name(), "golden");
    assert_eq!(base.fingerprint(), second.fingerprint());
    let frozen = PutError::Key(KeyError::Frozen);
    assert_eq!(space.put(0, &page), Err(frozen));
    assert_eq!(space.put(0, &[0; 4096]), Err(frozen));
    assert_eq!(space.put_bytes(0, b"value"), Err(frozen));
    assert_eq!(space.put_or_remove(0, &page), Err(frozen));
    assert!(space.put_if(0, &page, version).is_err());
    assert!(space.put_if_absent(39, &page).is_err());
    assert!(space.update(0, |page| page[0] ^= 1).is_err());
    assert_eq!(space.remove(0), Err(KeyError::Frozen));
    assert_eq!(space.remove_if(0, version), Err(KeyError::Frozen));
    assert_eq!(space.remove_range(0..40), Err(KeyError::Frozen));
    assert_eq!(space.take(0, &mut page), Err(KeyError::Frozen.into()));
    assert_eq!(space.take_bytes(0), Err(KeyError::Frozen.into()));
    assert_eq!(space.resize(10), Err(KeyError::Frozen));
    assert!(get(&space, 0) == Ok(template[0]), "it can be read");
    let clone = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    fill(&clone, &template);
    drop((base, second));
    // The clone has it still.
    assert_eq!(space.remove(0), Err(KeyError::Frozen));
    store.drop_space(&space);
    check(&clone, &template);
    assert!(get(&space, 0) == Ok(template[0]), "it goes with the last base");
    drop(clone);
    assert_eq!(space.remove(0), Err(KeyError::Dropped));
    assert!(store.find_space("golden").is_none());
    assert_eq!(store.stats().stored, 0);

    let space = store.space(SpaceConfig::persistent(40)).expect("room");
    space.put(3, &template[3]).expect("room");
    let base = store.base(BaseSource::space(&space)).expect("frozen");
    assert_eq!((base.pages(), base.stats().holes), (4, 3));
    drop(base);
    assert_eq!(space.remove(3), Ok(true), "thawed");
    store.validate().expect("valid");
}

#[test]
fn the_handle_of_a_frozen_space_may_go_first() {
    let (store, template) = (store(), template());
    let space = store.space(SpaceConfig::persistent(40)).expect("room");
    for (key, page) in (0..).zip(&template) {
        space.put(key, page).expect("room");
    }
    let base = store.base(BaseSource::space(&space)).expect("frozen");
    drop(space);
    let clone = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    drop(base);
    fill(&clone, &template);
    check(&clone, &template);
    drop(clone);
    assert_eq!(store.stats().stored, 0);
    store.validate().expect("valid");
}

#[test]
fn what_cannot_be_a_base_is_refused_and_nothing_stays_frozen() {
    let (store, template) = (store(), template());
    let spaces = || store.space(SpaceConfig::persistent(40)).expect("room");
    let ephemeral = store.space(SpaceConfig::ephemeral(40)).expect("room");
    let refused = store.base(BaseSource::space(&ephemeral)).expect_err("it may drop pages");
    assert!(matches!(refused, BaseError::Ephemeral { .. }), "{refused}");

    let values = spaces();
    values.put(0, &template[0]).expect("room");
    values.put_bytes(7, b"a value").expect("room");
    let refused = store.base(BaseSource::space(&values)).expect_err("a value");
    assert!(matches!(refused, BaseError::NotAPage { key: 7, .. }), "{refused}");
    assert_eq!(values.remove(7), Ok(true), "it is not frozen");

    let base = store.base(BaseSource::space(&values)).expect("pages only");
    let clone = store.space(SpaceConfig::persistent(40).on(&base)).expect("room");
    let refused = store.base(BaseSource::space(&clone)).expect_err("a chain");
    assert!(matches!(refused, BaseError::Chain { .. }), "{refused}");

    let other = self::store();
    let foreign = other.space(SpaceConfig::persistent(4)).expect("room");
    let refused = store.base(BaseSource::space(&foreign)).expect_err("of another store");
    assert!(matches!(refused, BaseError::ForeignSpace { .. }), "{refused}");
    let refused = other.space(SpaceConfig::persistent(4).on(&base)).expect_err("as well");
    assert!(matches!(refused, SpaceError::Base(MappingError::Foreign)), "{refused}");

    let refused = store.base(BaseSource::path("/nowhere/at all")).expect_err("no file");
    assert!(refused.to_string().contains("/nowhere/at all"), "{refused}");
    let refused = store.base(BaseSource::path("/")).expect_err("a directory");
    assert!(matches!(refused, BaseError::Io { .. }), "{refused}");

    let right = base.fingerprint();
    let image = template.as_flattened();
    let refused = store.base(BaseSource::memory(image).name("image").expect(right));
    let refused = refused.expect_err("another content");
    assert!(
        matches!(refused, BaseError::Fingerprint { ref name, expected, .. } if name == "image" && expected == right),
        "{refused}"
    );
    assert!(store.base(BaseSource::memory(&template[0][..]).expect(right)).is_ok());

    let refused = store.base(BaseSource::memory(image).resident(usize::MAX));
    assert!(refused.is_ok(), "never more than the base");
    let small = Store::builder().limit(2 << 20).staging(0).idle_share(0).build().expect("room");
    let random: Vec<Page> = (0..600).map(random).collect();
    let refused = small.base(BaseSource::memory(random.as_flattened())).expect_err("no room");
    assert!(matches!(refused, BaseError::Full), "{refused}");
    assert_eq!(small.stats().stored, 0, "nothing stays of it");
    small.validate().expect("valid");
    store.validate().expect("valid");
}

#[test]
fn keys_are_mapped_to_base_pages_as_the_space_says() {
    let (store, template) = (store(), template());
    let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
    let config = || SpaceConfig::persistent(1000).on(&base);
    let refused = |config| match store.space(config) {
        Err(SpaceError::Base(error)) => error,
        other => panic!("{other:?}"),
    };
    let twice = config().map(0..10, 0).map(100..120, 0).map(5..7, 30);
    assert_eq!(refused(twice), MappingError::Twice { key: 5 });
    let beyond = MappingError::BeyondBase { page: 40, pages: 40 };
    assert_eq!(refused(config().map(0..41, 0)), beyond);
    assert_eq!(refused(config().map(7..8, 40)), beyond);
    let far = MappingError::BeyondBase { page: u64::MAX, pages: 40 };
    assert_eq!(refused(config().map(0..5, u64::MAX)), far);
    let without = SpaceConfig::persistent(10).map(0..10, 0);
    assert_eq!(refused(without), MappingError::NoBase);
    let empty = config().map(10..10, 7);
    let space = store.space(empty).expect("no key");
    space.put(0, &template[0]).expect("room");
    assert_ne!(space.form_of(0), Some("equal"), "a mapping was given, and has no key");

    let space = store.space(config().map(500..510, 20).map(0..10, 0).map(10..20, 0)).expect("room");
    for (key, page, equal) in [
        (500, 20, true),
        (509, 29, true),
        (510, 30, false),
        (499, 19, false),
        (3, 3, true),
        (13, 3, true),
    ] {
        space.put(key, &template[page]).expect("room");
        assert_eq!(space.form_of(key) == Some("equal"), equal, "{key}");
        assert!(get(&space, key) == Ok(template[page]));
    }
    store.validate().expect("valid");
}

#[test]
fn a_base_that_has_nothing_to_do_with_the_pages_costs_little() {
    let (store, template) = (store(), template());
    let base = store.base(BaseSource::memory(template.as_flattened())).expect("room");
    let (on, off) = (
        store.space(SpaceConfig::persistent(40).on(&base)).expect("room"),
        store.space(SpaceConfig::persistent(40)).expect("room"),
    );
    for (key, page) in (0..).zip(pages(5, 40)) {
        on.put(key, &page).expect("room");
        off.put(key, &page).expect("room");
        assert!(get(&on, key) == Ok(page));
    }
    let (on, off) = (on.stats(), off.stats());
    assert!(on.object_bytes <= off.object_bytes / 8 * 9, "{on:?} {off:?}");
    store.validate().expect("valid");
}

#[test]
fn a_base_page_that_looks_like_a_dictionary_of_zstd() {
    let store = store();
    let mut template = random(1);
    template[..4].copy_from_slice(&0xec30_a437_u32.to_le_bytes());
    let base = store.base(BaseSource::memory(&template[..])).expect("room");
    let space = store.space(SpaceConfig::persistent(1).on(&base)).expect("room");
    let mut page = template;
    page.copy_within(0..3000, 1000);
    for page in [template, page] {
        space.put(0, &page).expect("room");
        assert!(get(&space, 0) == Ok(page));
    }
}

#[test]
fn accounts_say_what_a_base_saves() {
    let (store, template) = (store(), template());
    let base = store.base(BaseSource::memory(template.as_flattened()).name("image")).expect("room");
    let space = store.space(SpaceConfig::persistent(40).on(&base).name("clone")).expect("room");
    fill(&space, &template);
    let stats = store.stats();
    let json = stats.to_json();
    for part in
        ["\"equal\":10", "\"deltas\":", "\"bases\":[{\"name\":\"image\"", "\"saved_bytes\":"]
    {
        assert!(json.contains(part), "{part} in {json}");
    }
    let text = stats.to_prometheus();
    for part in [
        "pagefold_store_equal{space=\"clone\",kind=\"persistent\"} 10",
        "pagefold_store_delta_bytes{space=\"clone\"",
        "pagefold_store_base_saved_bytes{space=\"clone\"",
        "pagefold_store_base_pages{base=\"image\"} 40",
        "pagefold_store_base_reads_total{base=\"image\"}",
        "pagefold_store_base_failures_total{base=\"image\"} 0",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
