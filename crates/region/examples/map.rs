//! A hash map of four times its memory: `cargo run --release -p pagefold-region --example map [ENTRIES]`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, time::Instant};

use hashbrown::{DefaultHashBuilder, HashMap};
use pagefold_region::{Region, RegionAllocator};

/// What the map keeps for a key.
type Visit = [u64; 6];

fn visit(key: u64) -> Visit {
    [key, key % 97, 1_700_000_000 + key / 50, key % 3, 200, 0]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let entries: u64 = env::args().nth(1).map_or(Ok(300_000), |text| text.parse())?;
    // hashbrown doubles its table: old and new are there while it moves, and holes that older ones left.
    let capacity = usize::try_from(entries)? * 8 / 7;
    let table = capacity.next_power_of_two() * (size_of::<(u64, Visit)>() + 1);
    let region = Region::builder(3 * table).resident_limit((table / 4).max(1 << 20)).build()?;
    println!("a table of {} MiB, {} MiB in memory", table >> 20, region.resident_limit() >> 20);
    let allocator = RegionAllocator::new(region);
    let mut visits: HashMap<u64, Visit, DefaultHashBuilder, _> =
        HashMap::with_hasher_in(DefaultHashBuilder::default(), allocator.clone());

    let began = Instant::now();
    for key in 0..entries {
        visits.insert(key, visit(key));
    }
    println!("filled in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    for key in 0..entries {
        assert_eq!(visits.get(&key), Some(&visit(key)));
    }
    println!("each found, in {:.1} s", began.elapsed().as_secs_f64());
    drop(visits);
    assert_eq!(allocator.room().longest, allocator.region().len(), "all of it came back");
    Ok(())
}
