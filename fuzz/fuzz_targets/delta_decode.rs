//! Arbitrary bytes as a delta, over a base page that the input makes; then pages of the input against each other, there and back.
//!
//! Run with `RUSTC_BOOTSTRAP=1 cargo fuzz run delta_decode` inside `fuzz/`. The first two bytes say where the base page begins in
//! the input, which is repeated; the rest is the delta.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pagefold_codec::{DELTA_BYTES_MAX, Deltas, Prefixed, TryCodecError, apply_delta, delta};

static DELTAS: LazyLock<Deltas> = LazyLock::new(|| Deltas::new().expect("a full build"));
static PREFIXED: LazyLock<Prefixed> = LazyLock::new(|| Prefixed::new().expect("a full build"));

type Page = [u8; 4096];

fn page(input: &[u8], from: usize) -> Box<Page> {
    let mut page = Box::new([0; 4096]);
    for (byte, value) in page.iter_mut().zip(input.iter().cycle().skip(from % input.len().max(1))) {
        *byte = *value;
    }
    page
}

fuzz_target!(|input: &[u8]| {
    let Some((start, object)) = input.split_first_chunk::<2>() else { return };
    let base = page(object, usize::from(u16::from_le_bytes(*start)));

    let mut back = base.clone();
    if apply_delta(object, &mut back).is_ok() {
        let mut again = [0; DELTA_BYTES_MAX];
        let len = delta(&base, &back, &mut again).expect("the longest fits");
        assert_eq!(&again[..len], object, "another delta of the same page");
    }
    let mut one = base.clone();
    let restored = DELTAS.decode(object, &mut one);
    let mut other = base.clone();
    assert_eq!(DELTAS.try_decode(object, &mut other), restored.map_err(TryCodecError::from));
    assert!(restored.is_err() || one == other);
    // Boxed to the byte, so that the address sanitizer sees a write beyond the end.
    for len in [0, 1, 100, 4096] {
        let mut dst = vec![0; len].into_boxed_slice();
        for prefix in [&base[..], &object[..object.len().min(4096)], &[]] {
            if let Ok(restored) = PREFIXED.decompress(prefix, object, &mut dst) {
                assert!(restored <= len, "{restored} bytes in {len}");
            }
        }
    }

    let changed = page(object, object.len() / 2);
    for room in [DELTA_BYTES_MAX, 1000, usize::from(start[0])] {
        let mut object = vec![0; room].into_boxed_slice();
        if let Some(len) = DELTAS.encode(&base, &changed, &mut object) {
            let mut back = base.clone();
            DELTAS.decode(&object[..len], &mut back).expect("its own");
            assert!(back == changed, "another page");
            // Damage reaches further than bytes that were never a delta.
            let at = usize::from(start[1]) % len;
            object[at] ^= start[0] | 1;
            let mut back = base.clone();
            let _ = DELTAS.decode(&object[..len], &mut back);
        }
    }
});
