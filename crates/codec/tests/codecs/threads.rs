//! One value of a codec, used by more threads than it has contexts.

use std::{sync::Barrier, thread};

use crate::common::{Content, assert_gives_back, codecs, compressed};
use pagefold_sys::sync::default_slot_count;

#[test]
fn threads_share_a_codec_and_its_errors() {
    let threads = default_slot_count() + 3;
    for (name, codec) in codecs() {
        let start = Barrier::new(threads);
        let rounds = if name == "zstd:19" { 20 } else { 200 };
        thread::scope(|scope| {
            for thread in 0..threads {
                let (codec, start, name) = (&*codec, &start, &name);
                scope.spawn(move || {
                    start.wait();
                    for round in 0..rounds {
                        let seed = (thread * rounds + round) as u64;
                        let kind = Content::ALL[(thread + round) % Content::ALL.len()];
                        let original = kind.bytes(1 + round * 37 % 8192, seed);
                        let what = format!("{name}, {kind:?}, seed {seed}");
                        let bytes = compressed(codec, &original, &what);
                        let mut short = vec![0; original.len() - 1];
                        assert!(codec.decompress(&bytes, &mut short).is_err(), "{what}");
                        assert_gives_back(codec, &bytes, &original, &what);
                    }
                });
            }
        });
        let held = codec.metadata_bytes();
        assert!(held < 64 << 20, "{name} counts {held} bytes: the sum of its contexts went wrong");
    }
}
