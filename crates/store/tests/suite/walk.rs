//! The store walks: every kind of page and value in and out, in both kinds of spaces, with every allocator.

use pagefold_codec::CodecSpec;
use pagefold_pool::Allocator;
use pagefold_store::{
    GetError, KeyError, Page, PreviousValue, PutError, ReachedLimit, SpaceConfig, SpaceKind, Store,
    TryGetError,
};
use pagefold_testkit::{
    corpus::{Mix, PageKind},
    seed::Seed,
};

const LIMIT: usize = 16 << 20;

fn page(bytes: &[u8]) -> Page {
    bytes.try_into().expect("a page")
}

fn stores() -> impl Iterator<Item = Store> {
    Allocator::ALL.iter().flat_map(|&allocator| {
        ["lz4", "zstd:-1", "raw"].map(|codec| {
            let codec: CodecSpec = codec.parse().expect("a codec");
            Store::builder().allocator(allocator).codec(codec).limit(LIMIT).build().expect("room")
        })
    })
}

#[test]
fn every_kind_of_page_comes_back() {
    let seed = Seed::for_test(1);
    for store in stores() {
        let mut rng = seed.rng(0);
        let space = store.space(SpaceConfig::persistent(4000)).expect("room");
        let mut pages: Vec<Page> =
            Mix::PROCESS.pages(&mut rng, 500).iter().map(|bytes| page(bytes)).collect();
        pages.extend([0_u64, 1, 1 << 56, u64::MAX, 0x0123_4567_89ab_cdef].map(|word| {
            let mut page = [0; 4096];
            pagefold_codec::fill(word, &mut page);
            page
        }));
        for (key, page) in (0..).zip(&pages) {
            space.put(key * 7, page).expect("room");
        }
        assert_eq!(space.len(), pages.len() as u64);
        let mut back = [1; 4096];
        for (key, page) in (0..).zip(&pages) {
            space.get(key * 7, &mut back).expect("there");
            assert_eq!(&back, page);
            back.fill(1);
            space.try_get(key * 7, &mut back).expect("no other thread is here");
            assert_eq!(&back, page);
            assert_eq!(space.get_bytes(key * 7).expect("there"), page);
            assert_eq!(space.get(key * 7 + 1, &mut back), Err(GetError::Absent));
        }
        let stats = store.stats();
        assert_eq!(stats.original_bytes, pages.len() as u64 * 4096);
        assert!(stats.spaces[0].same_filled > 5 && stats.spaces[0].raw > 0, "{stats:?}");
        store.validate().expect("valid");
        assert_eq!(space.remove_range(0..u64::MAX).expect("alive"), pages.len() as u64);
        assert!(space.is_empty());
        assert_eq!(store.stats().payload_bytes, 0);
        store.validate().expect("valid");
    }
}

#[test]
fn values_of_every_length_come_back() {
    let seed = Seed::for_test(2);
    for store in stores() {
        let space = store.space(SpaceConfig::persistent(100)).expect("room");
        let mut rng = seed.rng(0);
        for len in [0, 1, 2, 3, 7, 31, 100, 4095, 4096, 4097, 5000, 9000, 40_000, 65_535, 65_536] {
            for kind in [PageKind::Text, PageKind::Random, PageKind::SameFilled] {
                let mut value = vec![0; len];
                kind.fill(&mut rng, &mut value);
                match space.put_bytes(3, &value) {
                    Ok(()) => {}
                    Err(PutError::TooLong { max, .. }) => {
                        assert!(max < len, "{store:?} takes {max}, and {len} were too long");
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                }
                assert_eq!(space.get_bytes(3).as_ref(), Ok(&value), "{store:?} {len}");
                let mut buffer = vec![0; len + 10];
                assert_eq!(space.get_bytes_into(3, &mut buffer), Ok(len));
                assert_eq!(buffer[..len], value);
                if len > 0 {
                    let short = space.get_bytes_into(3, &mut buffer[..len - 1]);
                    assert_eq!(short, Err(GetError::WrongLength { len, given: len - 1 }));
                }
                if len != 4096 {
                    let got = space.get(3, &mut [0; 4096]);
                    assert_eq!(got, Err(GetError::WrongLength { len, given: 4096 }));
                }
                assert_eq!(space.stats().original_bytes, len as u64);
                store.validate().expect("valid");
            }
        }
        let too_long = vec![0; 65_537];
        let error = space.put_bytes(3, &too_long).expect_err("too long");
        assert_eq!(error, PutError::TooLong { len: 65_537, max: 65_536 });
    }
}

#[test]
fn a_page_is_taken_once() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(10)).expect("room");
    let bytes = page(&PageKind::Heap.page(&mut Seed::new(3).rng(0)));
    space.put(9, &bytes).expect("room");
    let mut back = [0; 4096];
    space.take(9, &mut back).expect("there");
    assert_eq!(back, bytes);
    assert_eq!(space.take(9, &mut back), Err(GetError::Absent));
    assert!(!space.contains(9).expect("a key"));
    assert_eq!(space.put_many([(1, &bytes), (2, &bytes)]), Ok(2));
    let (mut one, mut two, mut none) = ([0; 4096], [0; 4096], [0; 4096]);
    let got = space.get_many([(1, &mut one), (2, &mut two), (3, &mut none)]);
    assert_eq!(got, [Ok(()), Ok(()), Err(GetError::Absent)]);
    assert!(one == bytes && two == bytes);
    let error = space.put_many([(4, &bytes), (10, &bytes)]).expect_err("beyond");
    assert_eq!(error.accepted, 1);
    store.validate().expect("valid");
}

/// Fills a space with pages that do not compress until it says no; how many it took.
fn fill(space: &pagefold_store::Space, seed: u64) -> (u64, PutError) {
    let mut rng = Seed::new(seed).rng(0);
    for key in 0..space.capacity() {
        if let Err(error) = space.put(key, &page(&PageKind::Random.page(&mut rng))) {
            return (key, error);
        }
    }
    panic!("it never was full");
}

#[test]
fn a_full_persistent_space_says_so_and_keeps_everything() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1 << 20)).expect("room");
    let (taken, error) = fill(&space, 4);
    assert_eq!(
        error,
        PutError::Full { limit: ReachedLimit::Store, previous: PreviousValue::Absent }
    );
    assert!(taken > 3500, "{taken}");
    assert!(!store.stats().accepting);
    let mut rng = Seed::new(4).rng(0);
    let mut back = [0; 4096];
    for key in 0..taken {
        space.get(key, &mut back).expect("accepted");
        assert_eq!(back[..], PageKind::Random.page(&mut rng));
    }
    let other = page(&PageKind::Random.page(&mut rng));
    let error = space.put(taken, &other).expect_err("below the threshold only");
    assert_eq!(
        error,
        PutError::Full { limit: ReachedLimit::Threshold, previous: PreviousValue::Absent }
    );
    // An overwrite is let in, and either holds or changes nothing.
    space.get(5, &mut back).expect("there");
    match space.put(5, &other) {
        Ok(()) => back = other,
        Err(error) => {
            assert_eq!(
                error,
                PutError::Full { limit: ReachedLimit::Store, previous: PreviousValue::Kept }
            );
        }
    }
    let mut now = [0; 4096];
    space.get(5, &mut now).expect("there");
    assert_eq!(now, back);
    let before = space.put_or_remove(5, &other);
    assert!(
        before.is_ok() || space.get(5, &mut now) == Err(GetError::Absent),
        "no stale data: {before:?}"
    );
    for key in 0..taken / 10 {
        space.remove(key).expect("a key");
    }
    space.put(taken, &other).expect("below the threshold again");
    assert!(store.stats().accepting);
    store.validate().expect("valid");
}

#[test]
fn a_full_ephemeral_space_drops_what_was_not_read() {
    let store = Store::builder().limit(LIMIT).shrinker(false).build().expect("room");
    let space = store.space(SpaceConfig::ephemeral(1 << 20)).expect("room");
    let mut rng = Seed::new(5).rng(0);
    let mut back = [0; 4096];
    for key in 0..10_000 {
        space.put(key, &page(&PageKind::Random.page(&mut rng))).expect("it drops pages");
        // The first hundred are read all the time.
        space.get(key % 100, &mut back).expect("read, so it stays");
    }
    let stats = space.stats();
    assert!(stats.evicted > 6000 && stats.stored + stats.evicted == 10_000, "{stats:?}");
    assert!(store.resident() <= LIMIT);
    store.validate().expect("valid");
    let shrunk = store.shrink(usize::MAX);
    assert!(shrunk.frames > 3000, "{shrunk:?}");
    assert_eq!(space.len(), 0);
}

#[test]
fn a_spaces_limit_holds() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let mut rng = Seed::new(6).rng(0);
    let mut random = || page(&PageKind::Random.page(&mut rng));
    let persistent = SpaceConfig::persistent(1000).limit(100 * 4096);
    let space = store.space(persistent).expect("room");
    for key in 0..100 {
        space.put(key, &random()).expect("room");
    }
    let full = |previous| Err(PutError::Full { limit: ReachedLimit::Space, previous });
    assert_eq!(space.put(100, &random()), full(PreviousValue::Absent));
    space.put(50, &random()).expect("as long as what it replaces");
    space.put(100, &[7; 4096]).expect("takes no memory");
    assert_eq!(space.put(100, &random()), full(PreviousValue::Kept));
    assert_eq!(space.put_or_remove(100, &random()), full(PreviousValue::Dropped));
    let ephemeral = SpaceConfig::ephemeral(1000).limit(100 * 4096);
    let space = store.space(ephemeral).expect("room");
    for key in 0..300 {
        space.put(key, &random()).expect("it drops pages");
        assert!(space.stats().object_bytes <= 100 * 4096);
    }
    let nothing = store.space(SpaceConfig::ephemeral(1000).limit(0)).expect("room");
    nothing.put(0, &[9; 4096]).expect("takes no memory");
    assert_eq!(nothing.put(0, &random()), full(PreviousValue::Dropped));
    store.validate().expect("valid");
}

#[test]
fn a_dropped_space_says_so() {
    // A training reads pages beside the drop, and what it adopts stays.
    let store = Store::builder().limit(LIMIT).self_training(false).build().expect("room");
    let before = store.stats();
    let space = store.space(SpaceConfig::persistent(1 << 20)).expect("room");
    let mut rng = Seed::new(7).rng(0);
    for key in 0..1000 {
        space.put(key * 600, &page(&PageKind::Heap.page(&mut rng))).expect("room");
    }
    // A worker at a page of the space frees what it made of it a moment after the drop.
    store.flush();
    let other = space.clone();
    store.drop_space(&space);
    let mut back = [0; 4096];
    assert_eq!(other.get(0, &mut back), Err(GetError::Key(KeyError::Dropped)));
    assert_eq!(other.try_get(0, &mut back), Err(TryGetError::Get(KeyError::Dropped.into())));
    assert_eq!(other.put(0, &back), Err(PutError::Key(KeyError::Dropped)));
    assert_eq!(other.remove(0), Err(KeyError::Dropped));
    assert_eq!(other.remove_range(0..9), Err(KeyError::Dropped));
    assert_eq!(other.contains(0), Err(KeyError::Dropped));
    assert_eq!(other.take(0, &mut back), Err(GetError::Key(KeyError::Dropped)));
    assert_eq!(store.stats().payload_bytes, 0);
    store.validate().expect("valid");
    drop((space, other));
    store.shrink(usize::MAX);
    let after = store.stats();
    assert!(
        after.resident_bytes <= before.resident_bytes + (64 << 10),
        "{} before and {} after",
        before.resident_bytes,
        after.resident_bytes
    );
    assert_eq!(SpaceKind::Persistent.name(), "persistent");
}

#[test]
fn statistics_have_three_forms() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10).name("a \"name\"")).expect("room");
    space.put(0, &[1; 4096]).expect("room");
    space.put(1, &std::array::from_fn(|at| (at / 99).to_le_bytes()[0])).expect("room");
    space.get(0, &mut [0; 4096]).expect("there");
    let stats = store.stats();
    assert_eq!((stats.stored, stats.spaces[0].hits, stats.spaces[0].puts), (2, 1, 2));
    assert_eq!(stats.spaces[0].put_latency.count, 2);
    let json = stats.to_json();
    assert!(
        json.contains("\"same_filled\":1") && json.contains("\"allocator\":\"nbud\""),
        "{json}"
    );
    let text = stats.to_prometheus();
    let line = r#"pagefold_store_stored{space="a \"name\"",kind="persistent"} 2"#;
    assert!(text.lines().any(|found| found == line), "{text}");
    assert!(text.contains("# TYPE pagefold_store_put_seconds histogram"));
    assert!(text.contains(r#"le="+Inf"} 2"#), "{text}");
}
