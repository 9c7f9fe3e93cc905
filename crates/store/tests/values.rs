//! Values beyond one put and one get, against what `get_bytes` says, with every allocator.
#![cfg(not(loom))]

use std::thread;

use pagefold_codec::CodecSpec;
use pagefold_pool::Allocator;
use pagefold_store::{GetError, KeyError, PutError, Space, SpaceConfig, Store, TryGetError};
use pagefold_testkit::{
    alloc_counter::{Allocations, CountingAllocator},
    corpus::PageKind,
    seed::Seed,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const LIMIT: usize = 16 << 20;
const LENGTHS: [usize; 14] =
    [0, 1, 2, 3, 31, 100, 4095, 4096, 4097, 5000, 9000, 20_000, 40_000, 65_536];

fn stores() -> impl Iterator<Item = (Allocator, Store)> {
    Allocator::ALL.iter().flat_map(|&allocator| {
        ["lz4", "zstd:-1", "raw"].map(|codec| {
            let codec: CodecSpec = codec.parse().expect("a codec");
            let builder = Store::builder().allocator(allocator).codec(codec).limit(LIMIT);
            (allocator, builder.shrinker(false).build().expect("room"))
        })
    })
}

/// Values of all lengths and kinds, as far as the allocator takes them; the keys.
fn filled(space: &Space) -> Vec<(u64, Vec<u8>)> {
    let mut rng = Seed::for_test(0x7a).rng(0);
    let mut values = Vec::new();
    for len in LENGTHS {
        for kind in [PageKind::Text, PageKind::Heap, PageKind::Random, PageKind::SameFilled] {
            let mut value = vec![0; len];
            kind.fill(&mut rng, &mut value);
            let key = values.len() as u64;
            match space.put_bytes(key, &value) {
                Ok(()) => values.push((key, value)),
                Err(PutError::TooLong { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    values
}

#[test]
fn every_way_to_read_a_value_reads_the_same() {
    for (allocator, store) in stores() {
        let space = store.space(SpaceConfig::persistent(100)).expect("room");
        let values = filled(&space);
        assert!(values.len() >= 32, "{allocator}: {}", values.len());
        let mut gathered = 0;
        let mut all = Vec::new();
        for (key, value) in &values {
            assert_eq!(space.value_len(*key), Ok(value.len()));
            let start = all.len();
            assert_eq!(space.get_append(*key, &mut all), Ok(value.len()));
            assert!(all[start..] == value[..], "{allocator}");
            let same = space.get_with(*key, |bytes| bytes == value).expect("there");
            assert!(same, "{allocator}");
            let mut buffer = vec![0xee; value.len() + 3];
            match space.try_get_bytes(*key, &mut buffer) {
                Ok(len) => {
                    assert_eq!(len, value.len());
                    assert!(buffer[..len] == value[..], "{allocator}");
                    assert_eq!(buffer[len..], [0xee; 3], "beyond the value nothing is written");
                }
                // As stated: compressed, longer than a page, and in several pieces.
                Err(TryGetError::WouldBlock) => {
                    assert!(value.len() > 4096 && allocator != Allocator::nbud(), "{allocator}");
                    gathered += 1;
                }
                Err(error) => panic!("{allocator}: {error}"),
            }
            if !value.is_empty() {
                let given = value.len() - 1;
                let wrong = GetError::WrongLength { len: value.len(), given };
                assert_eq!(space.try_get_bytes(*key, &mut buffer[..given]), Err(wrong.into()));
            }
        }
        assert!(gathered < values.len() / 4, "{allocator}: {gathered}");
        let got = space.get_bytes_many(values.iter().map(|(key, _)| *key));
        assert!(got.into_iter().zip(&values).all(|(got, (_, value))| got.as_ref() == Ok(value)));
        for (key, value) in &values {
            assert_eq!(space.take_bytes(*key).as_ref(), Ok(value));
            assert_eq!(space.take_bytes(*key), Err(GetError::Absent));
        }
        assert_eq!(store.stats().payload_bytes, 0);
        store.validate().expect("valid");
    }
}

#[test]
fn a_value_that_is_read_without_waiting_is_read_without_allocating() {
    for (allocator, store) in stores() {
        let space = store.space(SpaceConfig::persistent(100)).expect("room");
        let mut buffer = vec![0; 65_536];
        for (key, value) in filled(&space) {
            // Contexts are made at their first use, by reads that may allocate.
            space.get_bytes(key).expect("there");
            let mut outcome = Ok(0);
            let seen = Allocations::of(|| outcome = space.try_get_bytes(key, &mut buffer));
            assert_eq!(seen, Allocations { allocated: 0, freed: 0 }, "{allocator}: {key}");
            assert!(outcome == Ok(value.len()) || outcome == Err(TryGetError::WouldBlock));
        }
        let mut room = Vec::with_capacity(4096);
        space.put_bytes(0, &[1; 3000]).expect("room");
        let seen = Allocations::of(|| space.get_append(0, &mut room).map(drop).expect("there"));
        assert_eq!(seen.allocated, 0, "there was capacity");
    }
}

#[test]
fn a_failed_append_leaves_the_buffer_as_it_was() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10)).expect("room");
    let mut buffer = b"head".to_vec();
    assert_eq!(space.get_append(3, &mut buffer), Err(GetError::Absent));
    let beyond = KeyError::Beyond { key: 10, pages: 10 };
    assert_eq!(space.get_append(10, &mut buffer), Err(beyond.into()));
    assert_eq!(buffer, b"head");
    assert_eq!(space.value_len(3), Err(GetError::Absent));
    assert_eq!(space.value_len(10), Err(beyond.into()));
    assert_eq!(space.take_bytes(10), Err(beyond.into()));
    assert_eq!(space.try_get_bytes(10, &mut []), Err(beyond.into()));
    let got = space.get_with(3, |_| panic!("there is nothing"));
    assert_eq!(got.map(|()| 0), Err(GetError::Absent));
    let misses = space.stats().misses;
    assert_eq!(space.value_len(3), Err(GetError::Absent));
    assert_eq!(space.stats().misses, misses, "asking for the length is no get");
    store.drop_space(&space);
    for error in [
        space.value_len(3).expect_err("dropped"),
        space.get_append(3, &mut buffer).expect_err("dropped"),
        space.take_bytes(3).expect_err("dropped"),
    ] {
        assert_eq!(error, KeyError::Dropped.into());
    }
    assert_eq!(buffer, b"head");
}

#[test]
fn a_batch_ends_at_the_first_value_that_is_not_accepted() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10)).expect("room");
    let long = vec![0; 65_537];
    let batch = [(0, &b"one"[..]), (1, b""), (2, &long), (3, b"never")];
    let error = space.put_bytes_many(batch).expect_err("too long");
    assert_eq!(error.accepted, 2);
    assert_eq!(error.error, PutError::TooLong { len: 65_537, max: 65_536 });
    assert_eq!(space.put_bytes_many([(3, &b"now"[..])]), Ok(1));
    let got = space.get_bytes_many([0, 1, 2, 3, 10]);
    let beyond = KeyError::Beyond { key: 10, pages: 10 };
    assert_eq!(
        got,
        [
            Ok(b"one".to_vec()),
            Ok(Vec::new()),
            Err(GetError::Absent),
            Ok(b"now".to_vec()),
            Err(beyond.into())
        ]
    );
}

#[test]
fn the_closure_of_a_get_may_use_the_store() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::persistent(10)).expect("room");
    for len in [100, 4096, 9000] {
        space.put_bytes(1, &vec![3; len]).expect("room");
        let got = space.get_with(1, |value| {
            space.put_bytes(1, &value[1..]).expect("room");
            store.compact(1 << 20);
            space.remove(2).expect("a key");
            value.len()
        });
        assert_eq!(got, Ok(len));
        assert_eq!(space.value_len(1), Ok(len - 1));
    }
}

#[test]
fn a_value_is_taken_by_one_thread_and_whole() {
    let store = Store::builder().limit(LIMIT).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1)).expect("room");
    let value_of = |number: u64| {
        let len = usize::try_from(number * 37 % 9000).expect("small");
        let mut value = vec![0; 8 + len];
        PageKind::Text.fill(&mut Seed::new(number).rng(0), &mut value);
        value[..8].copy_from_slice(&number.to_ne_bytes());
        value
    };
    const PUTS: u64 = 800;
    let mut taken: Vec<u64> = thread::scope(|scope| {
        let takers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut taken = Vec::new();
                    loop {
                        match space.take_bytes(0) {
                            Ok(value) => {
                                let head = *value.first_chunk().expect("8 bytes");
                                let number = u64::from_ne_bytes(head);
                                assert!(value == value_of(number), "{number}: torn");
                                taken.push(number);
                                if number >= PUTS - 2 {
                                    return taken;
                                }
                            }
                            Err(error) => assert_eq!(error, GetError::Absent),
                        }
                    }
                })
            })
            .collect();
        for number in 0..PUTS {
            // The next only once this one was taken.
            while space.put_bytes_if_absent(0, &value_of(number)).is_err() {
                thread::yield_now();
            }
        }
        takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect()
    });
    taken.sort_unstable();
    assert_eq!(taken, (0..PUTS).collect::<Vec<_>>());
    store.validate().expect("valid");
}
