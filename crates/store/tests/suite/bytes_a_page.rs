//! What a stored page costs beside its compressed bytes: at most 32, the slot in the frame's directory among them.

use pagefold_codec::CodecSpec;
use pagefold_pool::Allocator;
use pagefold_store::{SpaceConfig, Store};
use pagefold_testkit::{corpus::Mix, seed::Seed};

const PAGES: u64 = 40_000;
/// A slot of nbud's directory, which lies in the span and so counts as frame, not as metadata.
const SLOT_BYTES: f64 = 8.0;
const TARGET: f64 = 32.0;

fn bytes_a_page(codec: &str, mix: Mix) -> f64 {
    let codec: CodecSpec = codec.parse().expect("a codec");
    let builder = Store::builder().allocator(Allocator::nbud()).codec(codec).limit(1 << 30);
    let store = builder.shrinker(false).workers(0).build().expect("room");
    let space = store.space(SpaceConfig::persistent(PAGES)).expect("room");
    let mut rng = Seed::new(0x32).rng(0);
    // Contexts of the codec are counted once they were used; this thread uses one.
    space.put_from(0, &mix.kind(&mut rng).page(&mut rng)).expect("room");
    store.flush();
    let empty = store.stats().metadata_bytes;
    for key in 0..PAGES {
        let page = mix.kind(&mut rng).page(&mut rng);
        space.put_from(key, &page).expect("room");
    }
    store.flush();
    let stats = store.stats();
    let metadata = (stats.metadata_bytes - empty) as f64 / PAGES as f64;
    eprintln!(
        "{codec}: metadata {metadata:.2} bytes a page (index, entries, descriptors, frame words), and a slot of \
         {SLOT_BYTES}; payload {:.0} bytes a page, density {:.4}, effective ratio {:.3}",
        stats.payload_bytes as f64 / PAGES as f64,
        stats.payload_bytes as f64 / stats.pool_bytes as f64,
        stats.effective_ratio(),
    );
    metadata + SLOT_BYTES
}

#[test]
fn a_stored_page_costs_at_most_32_bytes() {
    let no_same = Mix { same_filled: 0, ..Mix::PROCESS };
    for (codec, mix) in [("zstd:-1", no_same), ("lz4", no_same), ("zstd:1", Mix::PROCESS)] {
        let bytes = bytes_a_page(codec, mix);
        assert!(bytes <= TARGET, "{codec}: {bytes:.2} bytes a page");
    }
}
