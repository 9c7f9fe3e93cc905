//! What compaction costs, call by call, in pools of very different sizes: a call does a bounded amount of work however
//! large the pool is, and all calls together cost in proportion to what they move.
//!
//! `cargo bench -p pagefold-pool --bench compaction -- [--mib N,N,..] [--allocator NAME] [--budget BYTES] [--free PERCENT]`
//! fills a pool of each size, frees a random part of the objects, compacts call by call until there is nothing more to
//! win, and prints a row of Markdown. What is left is compared byte by byte afterwards.
#![forbid(unsafe_code)]

#[expect(dead_code, reason = "each benchmark uses its part of what they share")]
mod common;

use std::{error::Error, process::ExitCode, time::Instant};

use common::{Rng, fill_of, object_len};
use pagefold_pool::{Allocator, Handle, Pool, PoolBuilder};

struct Options {
    mib: Vec<usize>,
    allocators: Vec<Allocator>,
    budget: usize,
    free_percent: usize,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut parsed = Self {
            mib: vec![64, 512, 4096],
            allocators: Allocator::ALL.to_vec(),
            budget: 256 << 10,
            free_percent: 50,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {}
                "--mib" => {
                    parsed.mib = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--allocator" => parsed.allocators = vec![value()?.parse()?],
                "--budget" => parsed.budget = value()?.parse()?,
                "--free" => parsed.free_percent = value()?.parse()?,
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        Ok(parsed)
    }
}

/// An object that is still there: its handle, its length and what fills it.
type Kept = (Handle, usize, u8);

/// A pool, and what is in it.
type Holed = (Box<dyn Pool>, Vec<Kept>);

/// A pool of this much payload, of which a random part was freed.
fn holed(allocator: Allocator, bytes: usize, free_percent: usize) -> Result<Holed, Box<dyn Error>> {
    // Twice as much for zbud, which packs no better.
    let pool = PoolBuilder::new(allocator).limit(2 * bytes + (64 << 20)).build()?;
    let longest = pool.max_len().min(4096);
    let mut rng = Rng::new(3);
    let (mut kept, mut stored) = (Vec::new(), 0);
    let mut buffer = [0; 4096];
    while stored < bytes {
        let (len, fill) = (object_len(&mut rng).min(longest), fill_of(kept.len()));
        buffer[..len].fill(fill);
        kept.push((pool.store(&buffer[..len])?, len, fill));
        stored += len;
    }
    let mut left = Vec::new();
    for object in kept {
        if rng.below(100) < free_percent {
            pool.free(object.0)?;
        } else {
            left.push(object);
        }
    }
    Ok((pool, left))
}

fn verify(pool: &dyn Pool, kept: &[Kept]) -> Result<(), Box<dyn Error>> {
    let mut buffer = [0; 4096];
    for &(handle, len, fill) in kept {
        let found = pool.read_into(handle, &mut buffer)?;
        if found != len || buffer[..len].iter().any(|&byte| byte != fill) {
            return Err("an object is another one".into());
        }
    }
    Ok(pool.validate()?)
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn measure(allocator: Allocator, mib: usize, options: &Options) -> Result<(), Box<dyn Error>> {
    let (pool, kept) = holed(allocator, mib << 20, options.free_percent)?;
    let before = pool.stats();
    let (mut micros, mut objects_max) = (Vec::new(), 0);
    let mut objects = 0;
    loop {
        let begin = Instant::now();
        let report = pool.compact(options.budget);
        let took = begin.elapsed().as_secs_f64() * 1e6;
        if report.moved_objects > 0 {
            micros.push(took);
        }
        objects_max = objects_max.max(report.moved_objects);
        objects += report.moved_objects;
        if !report.more {
            break;
        }
    }
    verify(&*pool, &kept)?;
    let after = pool.stats();
    micros.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| {
        let last = micros.len().saturating_sub(1);
        micros.get(last * percent / 100).copied().unwrap_or_default()
    };
    println!(
        "| {allocator} | {mib} | {:.3} | {:.3} | {} | {objects} | {objects_max} | {:.0} | {:.0} | {:.0} | {:.0} |",
        before.density(),
        after.density(),
        micros.len(),
        at(50),
        at(99),
        at(100),
        micros.iter().sum::<f64>() * 1e3 / (objects as f64).max(1.0),
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() -> ExitCode {
    let run = || -> Result<(), Box<dyn Error>> {
        let options = Options::parse()?;
        println!(
            "budget {} bytes a call, {} % of the objects freed\n",
            options.budget, options.free_percent
        );
        println!(
            "| allocator | MiB | density before | after | calls that moved objects | objects moved | most in a call | us a call p50 | p99 | max | ns an object |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        for &allocator in &options.allocators {
            for &mib in &options.mib {
                measure(allocator, mib, &options)?;
            }
        }
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compaction: {error}");
            ExitCode::FAILURE
        }
    }
}
