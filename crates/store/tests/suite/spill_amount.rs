//! What is written to the backing for what leaves memory, and how much of the file is live, while everything is overwritten ten times.

use pagefold_store::{
    Page, SpaceConfig, Store,
    spill::{EXTENT_BYTES_MIN, FileBacking, Spill},
};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::{RngExt as _, seq::SliceRandom as _};

const KEYS: u64 = 10_000;
const ROUNDS: u64 = 10;

/// In which order a round overwrites the keys.
#[derive(Debug, Clone, Copy)]
enum Order {
    Ascending,
    Shuffled,
    /// As many puts as keys, so that some keys have several, and some none.
    Random,
}

/// Bytes written over bytes written that were not moved, so left memory; and bytes of extents over live bytes, the highest after a round.
fn measured(order: Order) -> [f64; 2] {
    let mix = Mix { same_filled: 0, ..Mix::PROCESS };
    let pages = mix.pages(&mut Seed::new(0x7a).rng(0), 997);
    let backing = FileBacking::new(&std::env::temp_dir(), EXTENT_BYTES_MIN).expect("a file");
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).encrypts(false);
    let builder = Store::builder().limit(6 << 20).spill(spill.build().expect("sensible"));
    // A cluster is one object of several pages.
    let store = builder.idle_share(0).self_training(false).build().expect("room");
    let space = store.space(SpaceConfig::persistent(KEYS)).expect("room");
    let put = |key: u64, version: u64| {
        let number = usize::try_from(key * 7 + version).expect("small") % pages.len();
        let mut page: Page = pages[number].as_slice().try_into().expect("a page");
        page[..8].copy_from_slice(&key.to_le_bytes());
        space.put(key, &page).expect("room in the backing");
    };
    let mut rng = Seed::new(0x7b).rng(0);
    (0..KEYS).for_each(|key| put(key, 0));
    let stats = || store.stats().spill.expect("a backing");
    let before = stats();
    let mut spread = 0.0_f64;
    for round in 1..=ROUNDS {
        let mut keys: Vec<u64> = (0..KEYS).collect();
        match order {
            Order::Ascending => {}
            Order::Shuffled => keys.shuffle(&mut rng),
            Order::Random => keys.iter_mut().for_each(|key| *key = rng.random_range(0..KEYS)),
        }
        keys.into_iter().for_each(|key| put(key, round));
        let now = stats();
        let used = now.backing.extents * now.backing.extent_bytes;
        spread = spread.max(used as f64 / now.backing.live_bytes as f64);
    }
    let now = stats();
    let written = (now.backing.written_bytes - before.backing.written_bytes) as f64;
    let moved = (now.backing.moved_bytes - before.backing.moved_bytes) as f64;
    let left = written - moved;
    let writes = now.backing.writes - before.backing.writes;
    eprintln!(
        "{order:?}: {written} bytes in {writes} writes for {left:.0} that left memory, {:.3}; extents over live bytes {spread:.3}; {} pages left, {} are there",
        written / left,
        now.spilled - before.spilled,
        now.pages,
    );
    store.validate().expect("valid");
    [written / left, spread]
}

#[test]
fn what_is_written_is_at_most_half_more_than_what_leaves_memory() {
    for order in [Order::Ascending, Order::Shuffled, Order::Random] {
        let [written, spread] = measured(order);
        assert!(written <= 1.5, "{order:?}: {written:.3}");
        // Of few extents, those that cleaning may leave are a good part.
        assert!(spread <= 2.2, "{order:?}: {spread:.3}");
    }
}
