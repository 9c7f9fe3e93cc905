//! A codec whose answers cannot be: pages and values come back right or as an error of theirs, and the limit holds.

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
