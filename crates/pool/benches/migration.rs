//! What compaction wins and costs, and what readers notice of it.
//!
//! `cargo bench -p pagefold-pool --bench migration [-- MIB [ALLOCATOR..]]` prints three tables for each allocator:
//! what is resident after a random 75 % of a pool was freed and after compaction, beside the kernel's figure; the cost
//! of a byte moved, of a claim of 64 MiB in the fragmented pool; and latencies of reads alone, beside compaction, and
//! beside a thread that copies memory of its own. Every object is verified to the byte afterwards.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "other benchmarks use more of it")]
mod common;

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use common::{Rng, fill_of, object_len, source};
use pagefold_frame::HeapSource;
use pagefold_pool::{Allocator, CompactReport, Handle, Pool, PoolBuilder};

/// What compaction may move in one call.
const BUDGET: usize = 1 << 20;
/// Pools whose compaction readers are timed beside.
const READ_ROUNDS: usize = 3;
/// Frames of the claim.
const CLAIM_FRAMES: usize = (64 << 20) / 4096;

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn print(line: &str) {
    println!("{line}");
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// Anonymous resident bytes of the process.
fn rss_anon() -> u64 {
    #[cfg(target_os = "linux")]
    return pagefold_procfs::rss_anon(pagefold_procfs::Process::Current).unwrap_or(0);
    #[cfg(not(target_os = "linux"))]
    0
}

/// A pool filled to its limit, of which a random three quarters are freed again.
struct Fragmented {
    pool: Box<dyn Pool>,
    objects: Vec<(Handle, u8)>,
    peak_objects: u64,
}

impl Fragmented {
    fn new(
        builder: PoolBuilder,
        bytes: usize,
        seed: u64,
        mut after_fill: impl FnMut(&dyn Pool),
    ) -> Self {
        let pool = builder.limit(bytes).build().expect("a pool of this size");
        let mut rng = Rng::new(seed);
        let source = source();
        let mut objects = Vec::with_capacity(bytes / 1000);
        let mut refused = 0;
        while refused < 16 {
            let (len, fill) = (object_len(&mut rng), fill_of(objects.len()));
            match pool.store(&source[usize::from(fill)][..len]) {
                Ok(handle) => objects.push((handle, fill)),
                Err(_) => refused += 1,
            }
        }
        after_fill(&*pool);
        let peak_objects = objects.len() as u64;
        objects.retain(|&(handle, _)| {
            let stays = rng.below(4) == 0;
            if !stays {
                pool.free(handle).expect("lives");
            }
            stays
        });
        Self { pool, objects, peak_objects }
    }

    fn verify(&self) {
        for &(handle, fill) in &self.objects {
            let same = |slices: pagefold_pool::Slices<'_>| {
                slices.parts().iter().all(|part| part.iter().all(|&byte| byte == fill))
            };
            self.pool.read(handle, &mut |slices| assert!(same(slices))).expect("lives");
        }
        self.pool.validate().expect("valid");
    }

    /// Compacts until nothing more can be won.
    fn compact(&self) -> CompactReport {
        let mut all = CompactReport::default();
        loop {
            let report = self.pool.compact(BUDGET);
            all.moved_objects += report.moved_objects;
            all.moved_bytes += report.moved_bytes;
            all.freed_frames += report.freed_frames;
            all.migrated_bytes += report.migrated_bytes;
            all.freed_pageblocks += report.freed_pageblocks;
            all.busy += report.busy;
            if !report.more {
                return all;
            }
        }
    }
}

fn residency_row(what: &str, pool: &dyn Pool, peak_objects: u64, rss: u64) {
    let stats = pool.stats();
    print(&format!(
        "| {what} | {} | {} | {} | {:.3} | {:.1} | {} | {} |",
        mib(stats.payload_bytes),
        mib(stats.frame_bytes),
        mib(stats.idle_frame_bytes),
        (stats.frame_bytes + stats.idle_frame_bytes) as f64 / (stats.payload_bytes as f64 / 0.97),
        stats.metadata_bytes as f64 / peak_objects as f64,
        mib(stats.resident_bytes()),
        mib(rss),
    ));
}

fn residency(allocator: Allocator, bytes: usize) {
    print(&format!(
        "\n| {allocator}, {} MiB | payload, MiB | frames | idle | frames and idle / (payload / 0.97) | metadata, bytes an object of the peak | resident, MiB | RssAnon grew, MiB |\n|---|---|---|---|---|---|---|---|",
        bytes >> 20
    ));
    // The benchmark's own memory is there before.
    drop(vec![1_u8; bytes / 1000 * 16]);
    let base = rss_anon();
    let grown = |objects: usize| rss_anon().saturating_sub(base + (objects * 16) as u64);
    let mut held = 0;
    let fragmented = Fragmented::new(PoolBuilder::new(allocator), bytes, 7, |pool| {
        let objects = pool.stats().objects;
        held = usize::try_from(objects).expect("fits");
        residency_row("filled", pool, objects, grown(held));
    });
    let peak = fragmented.peak_objects;
    residency_row("a random 75 % freed", &*fragmented.pool, peak, grown(held));
    let begin = Instant::now();
    let report = fragmented.compact();
    let took = begin.elapsed();
    residency_row("compacted", &*fragmented.pool, peak, grown(held));
    let begin = Instant::now();
    fragmented.pool.trim();
    let trimmed = begin.elapsed();
    residency_row("trimmed", &*fragmented.pool, peak, grown(held));
    fragmented.verify();
    let moved = report.moved_bytes + report.migrated_bytes;
    print(&format!(
        "\nCompaction took {:.0} ms: {} objects of {} MiB moved, {} MiB of frames moved, {} frames and {} pageblocks freed; \
         {:.2} ns a byte moved. Trim took {:.0} ms.",
        took.as_secs_f64() * 1e3,
        report.moved_objects,
        mib(report.moved_bytes),
        mib(report.migrated_bytes),
        report.freed_frames,
        report.freed_pageblocks,
        took.as_nanos() as f64 / moved.max(1) as f64,
        trimmed.as_secs_f64() * 1e3,
    ));
}

/// Only the frame layer: what a byte costs that moves with its frame, and a claim in a fragmented pool.
fn moving(allocator: Allocator, bytes: usize) {
    // The heap source reserves little more than the limit, so a claim has to make room where objects are.
    let builder = PoolBuilder::new(allocator).source(Box::new(HeapSource::new()));
    let mut fragmented = Fragmented::new(builder, bytes, 8, |_| {});
    let before = fragmented.pool.stats().migration.bytes_copied;
    let begin = Instant::now();
    let claimed = fragmented.pool.alloc_contiguous(CLAIM_FRAMES, 512).map(|range| range.frames());
    let took = begin.elapsed();
    let moved = fragmented.pool.stats().migration.bytes_copied - before;
    print(&format!(
        "\nA claim of 64 MiB in the fragmented pool: {claimed:?} frames, {:.1} ms, {} MiB moved out of the way.",
        took.as_secs_f64() * 1e3,
        mib(moved),
    ));
    let mut rng = Rng::new(9);
    for at in (1..fragmented.objects.len()).rev() {
        fragmented.objects.swap(at, rng.below(at + 1));
    }
    let begin = Instant::now();
    let (mut copied, mut runs) = (0, 0);
    for &(handle, _) in &fragmented.objects {
        copied += fragmented.pool.migrate(handle).expect("no read is open");
        runs += 1;
    }
    let took = begin.elapsed();
    print(&format!(
        "Moving the frames of one object after the other, in random order: {:.0} ns a move of {:.0} bytes, {:.3} ns a byte.",
        took.as_nanos() as f64 / f64::from(runs),
        copied as f64 / f64::from(runs),
        took.as_nanos() as f64 / copied as f64,
    ));
    fragmented.verify();
}

/// Reads at random until told to stop; the latencies in ns.
fn reader(fragmented: &Fragmented, seed: u64, until: &AtomicBool, least: usize) -> Vec<u32> {
    let mut rng = Rng::new(seed);
    let mut latencies = Vec::with_capacity(4 << 20);
    // ORDERING: Relaxed; it only says when to stop.
    while latencies.len() < least || !until.load(Ordering::Relaxed) {
        let (handle, fill) = fragmented.objects[rng.below(fragmented.objects.len())];
        let begin = Instant::now();
        let mut first = 0;
        fragmented.pool.read(handle, &mut |slices| first = slices.parts()[0][0]).expect("lives");
        latencies.push(u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX));
        assert_eq!(first, fill);
        if latencies.len() == latencies.capacity() {
            break;
        }
    }
    latencies
}

/// What a second thread does meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Copying,
    Compaction,
}

fn latencies(allocator: Allocator, bytes: usize, beside: Beside, all: &mut Vec<u32>) {
    for round in 0..READ_ROUNDS {
        let fragmented =
            Fragmented::new(PoolBuilder::new(allocator), bytes, 20 + round as u64, |_| {});
        let (stop, start) = (AtomicBool::new(false), Barrier::new(2));
        let least = if beside == Beside::Compaction { 0 } else { 300_000 };
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut own = (vec![1_u8; 4 << 20], vec![2_u8; 4 << 20]);
                start.wait();
                match beside {
                    Beside::Nothing => {}
                    Beside::Copying => {
                        while !stop.load(Ordering::Relaxed) {
                            own.0.copy_from_slice(black_box(&own.1));
                        }
                    }
                    Beside::Compaction => drop(fragmented.compact()),
                }
                stop.store(true, Ordering::Relaxed);
            });
            start.wait();
            if beside == Beside::Copying {
                let reads = reader(&fragmented, 3, &AtomicBool::new(true), least);
                stop.store(true, Ordering::Relaxed);
                all.extend(reads);
            } else {
                all.extend(reader(&fragmented, 3, &stop, least));
            }
        });
        fragmented.verify();
    }
}

fn percentile(sorted: &[u32], per_mille: usize) -> u32 {
    sorted[(sorted.len() * per_mille / 1000).min(sorted.len() - 1)]
}

fn slowdown(allocator: Allocator, bytes: usize) {
    print("\n| reads | number | p50, ns | p99 | p99.9 | longest |\n|---|---|---|---|---|---|");
    let rows = [
        ("alone", Beside::Nothing),
        ("beside a thread that copies its own memory", Beside::Copying),
        ("beside compaction", Beside::Compaction),
    ];
    for (what, beside) in rows {
        let mut all = Vec::new();
        latencies(allocator, bytes, beside, &mut all);
        all.sort_unstable();
        print(&format!(
            "| {what} | {} | {} | {} | {} | {} |",
            all.len(),
            percentile(&all, 500),
            percentile(&all, 990),
            percentile(&all, 999),
            all[all.len() - 1],
        ));
    }
}

fn main() {
    // Cargo passes `--bench`.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mib: usize = arguments.first().map_or(1024, |mib| mib.parse().expect("a number of MiB"));
    let named: Vec<Allocator> = arguments
        .iter()
        .skip(1)
        .map(|name| name.parse().expect("the name of an allocator"))
        .collect();
    let allocators = if named.is_empty() { Allocator::ALL } else { &named };
    for &allocator in allocators {
        residency(allocator, mib << 20);
        moving(allocator, mib << 20);
        slowdown(allocator, (mib << 20) / 4);
    }
}
