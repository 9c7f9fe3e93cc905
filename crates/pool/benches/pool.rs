//! Store, read and free, one at a time, for pools of different size and history, beside a `Vec<u8>` an object.
//!
//! `cargo bench -p pagefold-pool --bench pool`. The 1 GiB pools take a while to make; name a filter to leave them out.
#![forbid(unsafe_code)]

mod common;

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use common::{Filled, History, Rng, filled, first_byte, object_len, source};
use criterion::{Criterion, criterion_group, criterion_main};
use pagefold_pool::{FillPolicy, Handle};

const SIZES: [(&str, usize); 2] = [("8MiB", 8 << 20), ("1GiB", 1 << 30)];
const HISTORIES: [(&str, History); 3] = [
    ("fresh", History::Fresh),
    ("churned", History::Churned),
    ("nearly_full", History::NearlyFull),
];
/// Operations between two looks at the clock.
const BATCH: usize = 1000;

/// Splits `iterations` over `threads` threads, each over its own part of the objects, and returns the longest time.
fn in_parallel(
    threads: usize,
    iterations: u64,
    work: &(dyn Fn(usize, u64) -> Duration + Sync),
) -> Duration {
    thread::scope(|scope| {
        let each = iterations.div_ceil(threads as u64);
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread, each))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .max()
            .expect("at least one")
    })
}

fn reads(c: &mut Criterion) {
    for (size, bytes) in SIZES {
        for (name, history) in HISTORIES {
            let filled = filled(bytes, 4, FillPolicy::Auto, history);
            for threads in [1, 2] {
                c.bench_function(&format!("read/{size}/nbud_{name}/{threads}t"), |bencher| {
                    bencher.iter_custom(|iterations| {
                        in_parallel(threads, iterations, &|thread, count| {
                            read_some(&filled, threads, thread, count)
                        })
                    });
                });
            }
            filled.verify();
        }
        let mut rng = Rng::new(7);
        let objects: Vec<Vec<u8>> =
            (0..bytes / 1500).map(|_| vec![5; object_len(&mut rng)]).collect();
        c.bench_function(&format!("read/{size}/vec"), |bencher| {
            let mut rng = Rng::new(1);
            bencher.iter(|| black_box(objects[rng.below(objects.len())][0]));
        });
    }
}

fn read_some(filled: &Filled, threads: usize, thread: usize, count: u64) -> Duration {
    let part = filled.objects.len() / threads;
    let mut rng = Rng::new(thread as u64 + 1);
    let begin = Instant::now();
    let mut carry = 0;
    for _ in 0..count {
        let (handle, fill) = filled.objects[thread * part + (rng.below(part) + carry) % part];
        let byte = first_byte(&*filled.pool, handle);
        assert_eq!(byte, fill);
        carry = usize::from(byte >> 7);
    }
    begin.elapsed()
}

/// Store and free, timed apart: a batch of objects is freed and then as many are stored, so the pool keeps its state.
fn stores_and_frees(c: &mut Criterion) {
    let source = source();
    for (size, bytes) in SIZES {
        for (name, history) in HISTORIES {
            for threads in [1, 2] {
                let filled = filled(bytes, 4, FillPolicy::Auto, history);
                let part = filled.objects.len() / threads;
                let parts: Vec<std::sync::Mutex<(Vec<Handle>, Rng)>> = filled
                    .objects
                    .chunks(part)
                    .map(|part| {
                        let handles = part.iter().map(|&(handle, _)| handle).collect();
                        std::sync::Mutex::new((handles, Rng::new(9)))
                    })
                    .collect();
                for (operation, timed) in [("store", 1), ("free", 0)] {
                    c.bench_function(
                        &format!("{operation}/{size}/nbud_{name}/{threads}t"),
                        |bencher| {
                            bencher.iter_custom(|iterations| {
                                in_parallel(threads, iterations, &|thread, count| {
                                    let mut mine = parts[thread].lock().expect("one thread each");
                                    let (handles, rng) = &mut *mine;
                                    rewrite(&*filled.pool, handles, rng, &source, count)[timed]
                                })
                            });
                        },
                    );
                }
                filled.pool.validate().expect("valid");
            }
        }
    }
    vec_store_and_free(c, &source);
}

/// Frees and stores `count` objects in batches; the time of the frees and of the stores.
fn rewrite(
    pool: &dyn pagefold_pool::Pool,
    handles: &mut [Handle],
    rng: &mut Rng,
    source: &[Vec<u8>],
    count: u64,
) -> [Duration; 2] {
    let mut took = [Duration::ZERO; 2];
    let mut left = usize::try_from(count).expect("fits");
    while left > 0 {
        let batch = left.min(BATCH).min(handles.len());
        let start = rng.below(handles.len() - batch + 1);
        let begin = Instant::now();
        for handle in &handles[start..start + batch] {
            pool.free(*handle).expect("lives");
        }
        took[0] += begin.elapsed();
        let lens: Vec<usize> = (0..batch).map(|_| object_len(rng)).collect();
        let begin = Instant::now();
        for (handle, len) in handles[start..start + batch].iter_mut().zip(lens) {
            // At the limit a long object may not fit where a short one does.
            *handle = pool
                .store(&source[3][..len])
                .or_else(|_| pool.store(&source[3][..64]))
                .expect("room");
        }
        took[1] += begin.elapsed();
        left -= batch;
    }
    took
}

fn vec_store_and_free(c: &mut Criterion, source: &[Vec<u8>]) {
    for (size, bytes) in SIZES {
        let mut rng = Rng::new(7);
        let mut objects: Vec<Vec<u8>> =
            (0..bytes / 1500).map(|_| source[3][..object_len(&mut rng)].to_vec()).collect();
        c.bench_function(&format!("store_and_free/{size}/vec"), |bencher| {
            bencher.iter(|| {
                let at = rng.below(objects.len());
                objects[at] = source[3][..object_len(&mut rng)].to_vec();
            });
        });
    }
}

criterion_group! {
    name = pool;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = reads, stores_and_frees
}
criterion_main!(pool);
