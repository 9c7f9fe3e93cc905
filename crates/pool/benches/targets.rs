//! The pool's figures that have a target, each beside its peer in the same run, in alternating rounds.
//!
//! `cargo bench -p pagefold-pool --bench targets [-- MIB]` prints a table: median of the rounds, and the lowest and
//! highest of them. Every pool is verified to the byte afterwards. Single operations are timed with the clock around
//! them, whose own cost is in the first row.
#![forbid(unsafe_code)]

#[path = "common/chain.rs"]
mod chain;
mod common;

use std::{hint::black_box, sync::Barrier, thread, time::Instant};

use chain::Chain;
use common::{Filled, History, Rng, builder, filled, first_byte, object_len, source};
use pagefold_pool::FillPolicy;

const ROUNDS: usize = 9;
const READS: usize = 200_000;

fn median(values: &mut [f64]) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn row(name: &str, unit: &str, values: &mut [f64]) -> f64 {
    let (median, low, high) = median(values);
    print_row(name, &format!("{median:.3} {unit}"), &format!("{low:.3} to {high:.3}"));
    median
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn print_row(name: &str, value: &str, spread: &str) {
    println!("| {name} | {value} | {spread} |");
}

/// Mean ns of reads in random order, each index depending on the byte read before.
fn chase(order: &[u32], mut read: impl FnMut(usize) -> u8) -> f64 {
    let begin = Instant::now();
    let mut carry = 0;
    for &index in order {
        // The byte is below 128, so this adds 0, but only the read can tell.
        carry = usize::from(read(index as usize + carry) >> 7);
    }
    black_box(carry);
    begin.elapsed().as_nanos() as f64 / order.len() as f64
}

fn random_order(below: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    (0..READS).map(|_| u32::try_from(rng.below(below)).expect("32 bits")).collect()
}

fn reads(mib: usize) {
    let bytes = mib << 20;
    let chain = Chain::new(bytes);
    let fresh = filled(bytes, 4, FillPolicy::Auto, History::Fresh);
    let churned = filled(bytes, 4, FillPolicy::Auto, History::Churned);
    let boxed: Vec<Vec<u8>> = {
        let mut rng = Rng::new(7);
        (0..fresh.objects.len())
            .map(|number| vec![common::fill_of(number); object_len(&mut rng)])
            .collect()
    };
    let mut samples: [Vec<f64>; 6] = Default::default();
    for round in 0..ROUNDS {
        let order = random_order(chain.len().min(fresh.objects.len()), round as u64 + 1);
        samples[0].push(chase(&order, |index| chain.first_byte(index)));
        samples[1].push(chase(&order, |index| first_byte(&*fresh.pool, fresh.objects[index].0)));
        samples[2]
            .push(chase(&order, |index| first_byte(&*churned.pool, churned.objects[index].0)));
        samples[3].push(chase(&order, |index| boxed[index][0]));
    }
    for round in 0..ROUNDS {
        samples[4].push(samples[1][round] / samples[0][round]);
        samples[5].push(samples[2][round] / samples[0][round]);
    }
    let [chain_ns, fresh_ns, churned_ns, vec_ns, fresh_ratio, churned_ratio] = &mut samples;
    row(&format!("read, {mib} MiB, chain by hand"), "ns", chain_ns);
    row(&format!("read, {mib} MiB, nbud fresh"), "ns", fresh_ns);
    row(&format!("read, {mib} MiB, nbud churned"), "ns", churned_ns);
    row(&format!("read, {mib} MiB, `Vec<u8>` an object"), "ns", vec_ns);
    row("- fresh over chain", "", fresh_ratio);
    row("- churned over chain", "", churned_ratio);
    fresh.verify();
    churned.verify();
}

fn read_in_cache() {
    let filled = filled(8 << 20, 4, FillPolicy::Auto, History::Churned);
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        let order = random_order(64, round as u64 + 1);
        samples.push(chase(&order, |index| first_byte(&*filled.pool, filled.objects[index].0)));
    }
    row("read, in cache (64 objects of 8 MiB)", "ns", &mut samples);
}

/// The clock's own share in a single timed operation.
fn clock() {
    let mut samples: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let mut each: Vec<u128> =
                (0..10_000).map(|_| Instant::now().elapsed().as_nanos()).collect();
            each.sort_unstable();
            each[each.len() / 2] as f64
        })
        .collect();
    row("clock, around nothing", "ns", &mut samples);
}

/// Median us of a store while the pool fills up by appending.
fn store_append(mib: usize) {
    let source = source();
    let mut medians: Vec<f64> = (0..3)
        .map(|round| {
            let bytes = mib << 20;
            let pool = builder(bytes + bytes / 8, 4, FillPolicy::Append);
            let (mut rng, mut stored, mut each) = (Rng::new(round + 3), 0, Vec::new());
            while stored < bytes {
                let len = object_len(&mut rng);
                let begin = Instant::now();
                black_box(pool.store(&source[1][..len]).expect("below the limit"));
                each.push(begin.elapsed().as_nanos());
                stored += len;
            }
            pool.validate().expect("valid");
            each.sort_unstable();
            each[each.len() / 2] as f64 / 1000.0
        })
        .collect();
    row(&format!("store, {mib} MiB, append"), "us", &mut medians);
}

/// Median us of a store that fills a hole, and of the free before it, in a pool that is nearly full.
fn store_fill(mib: usize, span_frames: u32) {
    let source = source();
    let mut filled = filled(mib << 20, span_frames, FillPolicy::Tight, History::NearlyFull);
    let (mut stores, mut frees): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let operations = filled.objects.len().min(200_000);
    let before = filled.pool.stats();
    for _ in 0..ROUNDS {
        let mut each: Vec<(u64, u64)> =
            (0..operations).map(|_| filled.rewrite_one(&source)).collect();
        each.sort_unstable_by_key(|pair| pair.0);
        stores.push(each[operations / 2].0 as f64 / 1000.0);
        each.sort_unstable_by_key(|pair| pair.1);
        frees.push(each[operations / 2].1 as f64 / 1000.0);
    }
    let after = filled.pool.stats();
    let kib = span_frames * 4;
    row(&format!("store, {mib} MiB, every store fills a hole, {kib} KiB spans"), "us", &mut stores);
    row("- the free before it", "us", &mut frees);
    let moved = (after.moved_bytes - before.moved_bytes) as f64 / (ROUNDS * operations) as f64;
    print_row("- bytes slid a store", &format!("{moved:.0}"), "");
    print_row("- density", &format!("{:.4}", after.density()), "");
    filled.verify();
}

/// Operations a second of `threads` threads that run `work(thread)` over and over for about 0.2 s.
fn throughput(threads: usize, work: &(dyn Fn(usize) -> u64 + Sync)) -> f64 {
    let barrier = Barrier::new(threads);
    let run = &|thread| {
        barrier.wait();
        let (begin, mut operations) = (Instant::now(), 0);
        while begin.elapsed().as_millis() < 200 {
            operations += work(thread);
        }
        operations as f64 / begin.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    })
}

/// How much more two threads do than one, beside a loop over private memory.
fn scaling(mib: usize) {
    let halves: Vec<Filled> = vec![filled(mib << 20, 4, FillPolicy::Auto, History::Fresh)];
    let shared = &halves[0];
    let half = shared.objects.len() / 2;
    // Each thread has its half of the objects of one pool.
    let orders: Vec<Vec<u32>> = (0..2).map(|thread| random_order(half, thread + 11)).collect();
    let read = |thread: usize| {
        chase(&orders[thread][..20_000], |index| {
            first_byte(&*shared.pool, shared.objects[thread * half + index].0)
        });
        20_000
    };
    let chains = [Chain::new((mib << 20) / 2), Chain::new((mib << 20) / 2)];
    let private: Vec<Vec<u32>> =
        (0..2).map(|thread| random_order(chains[0].len(), thread + 11)).collect();
    let chain = |thread: usize| {
        chase(&private[thread][..20_000], |index| chains[thread].first_byte(index));
        20_000
    };
    let source = source();
    let write_pool = builder((mib << 20) * 2, 4, FillPolicy::Auto);
    let slots: Vec<std::sync::Mutex<(Vec<pagefold_pool::Handle>, Rng)>> = (0..2)
        .map(|thread| {
            let mut rng = Rng::new(thread + 40);
            let count = (mib << 20) / 2 / 1500;
            let handles = (0..count)
                .map(|_| write_pool.store(&source[3][..object_len(&mut rng)]).expect("room"));
            std::sync::Mutex::new((handles.collect(), rng))
        })
        .collect();
    let churn = |thread: usize| {
        let mut guard = slots[thread].lock().expect("one thread each");
        let (handles, rng) = &mut *guard;
        for _ in 0..1000 {
            let at = rng.below(handles.len());
            write_pool.free(handles[at]).expect("lives");
            handles[at] = write_pool.store(&source[3][..object_len(rng)]).expect("room");
        }
        1000
    };
    let works: [(&str, &(dyn Fn(usize) -> u64 + Sync)); 3] = [
        ("private chain (the ceiling)", &chain),
        ("nbud read", &read),
        ("nbud free and store", &churn),
    ];
    let mut speedups: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (samples, (_, work)) in speedups.iter_mut().zip(works) {
            let one = throughput(1, work);
            samples.push(throughput(2, work) / one);
        }
    }
    let ceiling = speedups[0].clone();
    for (samples, (name, _)) in speedups.iter_mut().zip(works) {
        let mut ratios: Vec<f64> =
            samples.iter().zip(&ceiling).map(|(speedup, ceiling)| speedup / ceiling).collect();
        row(&format!("two threads over one, {mib} MiB, {name}"), "", samples);
        row("- of the ceiling", "", &mut ratios);
    }
    shared.verify();
    write_pool.validate().expect("valid");
}

fn main() {
    let mib = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1024);
    print_row("what", "median", "lowest to highest round");
    print_row("---", "---", "---");
    clock();
    read_in_cache();
    reads(8);
    reads(mib);
    store_append(mib);
    store_fill(mib, 4);
    store_fill(mib, 2);
    scaling(8);
    scaling(mib);
}
