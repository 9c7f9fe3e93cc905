//! A codec whose answers cannot be: pages and values come back right or as an error of theirs, and the limit holds.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pagefold_codec::{Codec, CodecError};
use pagefold_pool::Allocator;
use pagefold_store::{GetError, PutError, SpaceConfig, Store, StoreBuildError};
use pagefold_testkit::liar::{Liar, Lie};

#[test]
fn whatever_a_codec_says_a_value_comes_back_right_or_as_an_error_of_its_own() {
    for &allocator in Allocator::ALL {
        for lie in Lie::ALL {
            let builder = Store::builder().allocator(allocator).codec_with(Box::new(Liar(lie)));
            let store = match builder.limit(8 << 20).build() {
                Ok(store) => store,
                Err(StoreBuildError::CodecMemory { codec }) => {
                    assert!(matches!(lie, Lie::HoldsMaximum | Lie::MayHoldMaximum), "{lie:?}");
                    assert!(!codec.is_empty());
                    continue;
                }
                Err(error) => panic!("{lie:?}: {error}"),
            };
            let space = store.space(SpaceConfig::persistent(1000)).expect("room");
            for (key, len) in (0..).zip([1, 100, 3000, 4095, 4097, 4200, 8000]) {
                let value = vec![7; len];
                if let Err(error) = space.put_bytes(key, &value) {
                    // Not compressed, it may be longer than what the allocator takes.
                    assert!(matches!(error, PutError::TooLong { .. }), "{lie:?}: {error}");
                    assert!(lie.is_about_compress(), "{lie:?}");
                    continue;
                }
                match space.get_bytes(key) {
                    Ok(back) => assert_eq!(back, value, "{lie:?}, {len} bytes"),
                    Err(error) => {
                        assert_eq!(error, GetError::Corrupt, "{lie:?}, {len} bytes");
                        assert!(lie.is_about_decompress(), "{lie:?}, {len} bytes");
                    }
                }
            }
            assert!(store.resident() <= store.limit());
            store.validate().expect("valid");
            assert!(space.remove_range(0..1000).is_ok_and(|removed| removed >= 4));
            store.validate().expect("valid");
        }
    }
}

/// Compresses nothing, and panics, while told to, when it is asked what it holds.
#[derive(Clone, Default)]
struct Moody(Arc<AtomicBool>);

impl Codec for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    fn compress(&self, _src: &[u8], _dst: &mut [u8]) -> Option<usize> {
        None
    }

    fn decompress(&self, _src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        Err(CodecError::Invalid { codec: "moody", capacity: dst.len() })
    }

    fn metadata_bytes(&self) -> usize {
        assert!(!self.0.load(Ordering::Relaxed), "this codec panics on purpose");
        100
    }

    fn wants_context(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn add_context(&self) -> bool {
        panic!("this codec panics on purpose")
    }
}

#[test]
fn a_codec_that_panics_outside_of_its_work_leaves_no_lock_unusable() {
    let (of_pages, of_clusters) = (Moody::default(), Moody::default());
    let store = Store::builder().limit(32 << 20).workers(0).shrinker(false);
    let store = store.codec_with(Box::new(of_pages.clone()));
    let store = store.idle_codec_with(Box::new(of_clusters.clone())).build().expect("room");
    let space = store.space(SpaceConfig::persistent(1000)).expect("room");
    let page = |key: u64| std::array::from_fn(|at| (at as u64 * (key + 1) % 251) as u8);
    let put_all = || (0..64).for_each(|key| space.put(key, &page(key)).expect("room"));
    put_all();
    store.flush();

    of_pages.0.store(true, Ordering::Relaxed);
    let panics = |f: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(f)).is_err();
    assert!(panics(&mut || _ = store.stats()));
    assert!(panics(&mut || _ = space.put_bytes(100, &[7; 8000])));
    put_all();
    of_pages.0.store(false, Ordering::Relaxed);
    // The codec of clusters is asked with the first cluster.
    of_clusters.0.store(true, Ordering::Relaxed);
    (0..3).for_each(|_| assert_eq!(store.idle_pass().joined, 0));
    of_clusters.0.store(false, Ordering::Relaxed);

    store.idle_pass();
    space.put_bytes(100, &[7; 8000]).expect("room");
    put_all();
    store.flush();
    assert_eq!(store.stats().stored, 65);
    let mut back = [0; 4096];
    (0..64).for_each(|key| {
        space.get(key, &mut back).expect("there");
        assert_eq!(back, page(key));
    });
    store.validate().expect("valid");
}
