//! Sorts more numbers than may be in memory: `cargo run --release -p pagefold-region --example sort [MIB [LIMIT_MIB]]`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, time::Instant};

use pagefold_region::{Advice, RegionVec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let mut mib = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (bytes, limit) = (mib(64)? << 20, mib(16)? << 20);
    let len = bytes / size_of::<u64>();
    let mut numbers = RegionVec::<u64>::zeroed(len, |region| region.resident_limit(limit))?;
    println!("{} numbers, {} MiB of {} in memory", len, limit >> 20, bytes >> 20);
    println!("faults: {}", numbers.region().fault_mode().reason);

    // Times of day of 20 years, as a log would have them: they compress to about a third.
    let mut state = 1_u64;
    for number in numbers.iter_mut() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *number = 1_000_000_000 + (state >> 33) % 630_720_000;
    }
    let sum = numbers.iter().fold(0_u64, |sum, number| sum.wrapping_add(*number));

    let began = Instant::now();
    numbers.advise(0..len, Advice::Normal)?;
    numbers.sort_unstable();
    println!("sorted in {:.1} s", began.elapsed().as_secs_f64());

    assert!(numbers.is_sorted());
    assert_eq!(numbers.iter().fold(0_u64, |sum, number| sum.wrapping_add(*number)), sum);
    let stats = numbers.region().stats();
    let faults: u64 = stats.faults.iter().map(|one| one.count).sum();
    println!(
        "{faults} faults, {} neighbours, {} pages left memory, {} of them clean; {} MiB hold {} MiB",
        stats.neighbours,
        stats.dropped,
        stats.dropped_clean,
        stats.store.resident_bytes >> 20,
        stats.store.original_bytes >> 20,
    );
    Ok(())
}
