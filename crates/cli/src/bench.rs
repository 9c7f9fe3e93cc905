//! `pagefold bench region`: what a program loses whose memory is a region, by how it uses it and how much may be in memory.
//!
//! Each workload runs on a vector in memory and on the same data in regions of a half, a quarter and an eighth. All give the same
//! answer, or the command fails.

mod workload;

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use pagefold_region::{BuildRegionError, FaultMode, RegionVec};
use thiserror::Error;

use self::workload::Workload;
use crate::{
    console::{self, OutputError},
    exit::Exit,
};

/// The least region: its limit would be below a region's least.
pub(crate) const MIB_MIN: usize = 8;

#[derive(Debug)]
pub(crate) struct BenchConfig {
    pub(crate) file: PathBuf,
    pub(crate) mib: usize,
    pub(crate) mode: FaultMode,
    /// A second thread is busy meanwhile.
    pub(crate) busy: bool,
}

#[derive(Debug, Error)]
pub(crate) enum BenchError {
    #[error("{}: {source}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} has {bytes} bytes; {MIB_MIN} MiB are needed", file.display())]
    Short { file: PathBuf, bytes: usize },
    #[error(transparent)]
    Region(#[from] BuildRegionError),
    #[error("{workload} on a region gave another answer than in memory")]
    Wrong { workload: &'static str },
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl From<&BenchError> for Exit {
    fn from(error: &BenchError) -> Self {
        match error {
            BenchError::Wrong { .. } => Self::Wrong,
            BenchError::Read { .. } | BenchError::Short { .. } => Self::Usage,
            BenchError::Region(_) => Self::Failed,
            BenchError::Output(error) => Self::from(error),
        }
    }
}

fn read(config: &BenchConfig) -> Result<Vec<u64>, BenchError> {
    let failed = |source| BenchError::Read { file: config.file.clone(), source };
    let mut bytes = Vec::new();
    let file = File::open(&config.file).map_err(failed)?;
    file.take((config.mib as u64) << 20).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() < MIB_MIN << 20 {
        return Err(BenchError::Short { file: config.file.clone(), bytes: bytes.len() });
    }
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
}

/// A run: its time, its answer, and what the region did.
struct Ran {
    time: Duration,
    answer: u64,
    faults: u64,
}

fn run_in_memory(workload: &Workload, data: &[u64]) -> Ran {
    let mut words = data.to_vec();
    let began = Instant::now();
    let answer = (workload.run)(&mut words);
    Ran { time: began.elapsed(), answer, faults: 0 }
}

fn run_in_region(
    workload: &Workload,
    data: &[u64],
    share: usize,
    mode: FaultMode,
) -> Result<Ran, BenchError> {
    let limit = size_of_val(data) / share;
    let words = RegionVec::<u64>::zeroed(data.len(), |region| {
        region.resident_limit(limit).fault_mode(mode)
    });
    let mut words = words?;
    words.copy_from_slice(data);
    let faults = |words: &RegionVec<u64>| {
        words.region().stats().faults.iter().map(|one| one.count).sum::<u64>()
    };
    let before = faults(&words);
    let began = Instant::now();
    let answer = (workload.run)(&mut words);
    let time = began.elapsed();
    Ok(Ran { time, answer, faults: faults(&words) - before })
}

/// Runs all workloads and prints a table.
pub(crate) fn run(config: &BenchConfig) -> Result<Exit, BenchError> {
    const SHARES: [usize; 3] = [2, 4, 8];
    let data = read(config)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        if config.busy {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let table = || -> Result<(), BenchError> {
            let mib = size_of_val(&data[..]) >> 20;
            let beside = if config.busy { "beside a busy thread" } else { "one thread" };
            let head = format!(
                "{mib} MiB of {}, mode {}, {beside}; every answer is compared\n{:24} {:>10} {:>22} {:>22} {:>22}\n",
                config.file.display(),
                config.mode,
                "seconds (times, faults)",
                "in memory",
                "1/2",
                "1/4",
                "1/8",
            );
            console::print(head.as_bytes())?;
            for workload in &workload::ALL {
                let own = run_in_memory(workload, &data);
                let mut line = format!("{:24} {:10.3}", workload.name, own.time.as_secs_f64());
                for share in SHARES {
                    let ran = run_in_region(workload, &data, share, config.mode)?;
                    if ran.answer != own.answer {
                        return Err(BenchError::Wrong { workload: workload.name });
                    }
                    let times = ran.time.as_secs_f64() / own.time.as_secs_f64();
                    let cell =
                        format!("{:.3} ({times:.1}x, {})", ran.time.as_secs_f64(), ran.faults);
                    line.push_str(&format!(" {cell:>22}"));
                }
                line.push('\n');
                console::print(line.as_bytes())?;
            }
            Ok(())
        };
        let outcome = table();
        stop.store(true, Ordering::Relaxed);
        outcome
    })?;
    Ok(Exit::Success)
}
