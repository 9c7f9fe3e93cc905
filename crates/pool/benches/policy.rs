//! Span length and append-or-fill policy: what each choice packs, and what it costs.
//!
//! `cargo bench -p pagefold-pool --bench policy [-- MIB]` prints a row for each span and policy: the median of single
//! stores while a pool fills up and while every object is rewritten three times, and the densities after both.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "each benchmark uses its part of what they share")]
mod common;

use std::time::Instant;

use common::{Filled, Rng, builder, fill_of, object_len, source};
use pagefold_pool::FillPolicy;

fn median_us(mut each: Vec<u64>) -> f64 {
    each.sort_unstable();
    each[each.len() / 2] as f64 / 1000.0
}

/// Fills a pool that has room to spare; the median of the stores.
fn filled_by(mib: usize, span_frames: u32, fill: FillPolicy, source: &[Vec<u8>]) -> (Filled, f64) {
    // Appending without filling needs room for all the holes that it leaves.
    let pool = builder((mib << 20) * 3, span_frames, fill);
    let mut filled = Filled { pool, objects: Vec::new(), rng: Rng::new(7) };
    let (mut stored, mut each) = (0, Vec::new());
    while stored < mib << 20 {
        let len = object_len(&mut filled.rng);
        let fill = fill_of(filled.objects.len());
        let begin = Instant::now();
        let handle = filled.pool.store(&source[usize::from(fill)][..len]).expect("below the limit");
        each.push(u64::try_from(begin.elapsed().as_nanos()).expect("short"));
        filled.objects.push((handle, fill));
        stored += len;
    }
    (filled, median_us(each))
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let mib = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(256);
    let source = source();
    println!(
        "| span | policy | store, fill | store, churn | slid a store | density, fill | density, churn | compacted |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for span_frames in [1, 2, 4, 8, 16] {
        for fill in [FillPolicy::Append, FillPolicy::Auto, FillPolicy::Tight] {
            let (mut filled, store_fill) = filled_by(mib, span_frames, fill, &source);
            let fresh = filled.pool.stats();
            let count = 3 * filled.objects.len();
            let store_churn =
                median_us((0..count).map(|_| filled.rewrite_one(&source).0).collect());
            let churned = filled.pool.stats();
            while filled.pool.compact(1 << 20).more {}
            println!(
                "| {} KiB | {fill:?} | {store_fill:.2} us | {store_churn:.2} us | {} | {:.4} | {:.4} | {:.4} |",
                4 * span_frames,
                (churned.moved_bytes - fresh.moved_bytes) / count as u64,
                fresh.density(),
                churned.density(),
                filled.pool.stats().density(),
            );
            filled.verify();
        }
    }
}
