//! `pagefold bench region`: what a program loses whose memory is a region, by how it uses it and how much may be in memory.
//!
//! Each workload runs on a vector in memory and on the same data in regions of a half, a quarter and an eighth, and on memory that
//! the kernel swaps to zram under the same limits. All give the same answer and leave the same data, or the command fails.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what to measure, errors |
//! | [`data`] | the pages |
//! | [`workload`] | patterns |
//! | [`place`] | a workload in memory and in a region |
//! | [`peer`], [`swapped`] | the swap device, and the process that swaps to it |
//! | [`out_and_back`] | a page out and back, without a limit |
//! | [`report`] | tables and JSON |

pub(crate) mod config;
mod data;
mod out_and_back;
mod peer;
mod place;
mod report;
pub(crate) mod swapped;
mod workload;

use self::{
    config::{BenchConfig, BenchError, Share},
    peer::Peer,
    place::{Busy, Ran},
    report::{Outcome, Report, Row, Table},
    workload::{Plan, Workload},
};
use crate::{exit::Exit, interrupt::Interrupt, progress::Progress};

/// Measures all workloads and prints the report.
///
/// # Errors
/// [`BenchError`]; a wrong answer ends the command at once.
pub(crate) fn run(config: &BenchConfig) -> Result<Exit, BenchError> {
    let interrupt = Interrupt::install()?;
    let data = data::read(config)?;
    interrupt.set_reportable();
    let peer = Peer::new(config.zram.as_deref(), size_of_val(&data[..]) as u64, &interrupt);
    let mut bench = Bench {
        config,
        plan: Plan::new(data.len()),
        data,
        peer,
        interrupt,
        progress: Progress::new(config.output),
    };
    let report = bench.report()?;
    bench.progress.finish();
    let is_whole = !bench.interrupt.is_requested();
    // Before the report is printed, which may wait for its reader.
    drop(bench);
    report.print(config.output)?;
    Ok(if is_whole { Exit::Success } else { Exit::Interrupted })
}

struct Bench<'c> {
    config: &'c BenchConfig,
    plan: Plan,
    data: Vec<u64>,
    peer: Peer,
    interrupt: Interrupt,
    progress: Progress,
}

impl Bench<'_> {
    fn report(&mut self) -> Result<Report, BenchError> {
        let mode = place::taken(self.config.mode)?.name();
        let mut report = Report::new(self.config, mode, size_of_val(&self.data[..]), &self.peer);
        for &busy in &self.config.busy {
            if self.interrupt.is_requested() {
                break;
            }
            report.tables.push(self.table(busy)?);
        }
        report.interrupted = self.interrupt.is_requested();
        Ok(report)
    }

    fn table(&mut self, busy: bool) -> Result<Table, BenchError> {
        let mut table = Table { busy, out_and_back: Vec::new(), rows: Vec::new() };
        {
            self.progress.line("pages out and back".to_owned());
            let _busy = Busy::start(busy);
            table.out_and_back = out_and_back::measure(&self.data, self.config, &self.peer)?;
        }
        for workload in workload::ALL.iter().filter(|one| self.config.has(one.pattern)) {
            if self.interrupt.is_requested() {
                break;
            }
            table.rows.push(self.row(workload, busy)?);
        }
        Ok(table)
    }

    fn row(&mut self, workload: &'static Workload, busy: bool) -> Result<Row, BenchError> {
        self.progress.line(format!("{}, in memory", workload.name));
        let memory = {
            let _busy = Busy::start(busy);
            place::in_memory(workload, &self.plan, &self.data)
        };
        let mut row = Row { workload: workload.name, memory, region: Vec::new(), zram: Vec::new() };
        for &share in &self.config.shares {
            if self.interrupt.is_requested() {
                break;
            }
            self.progress.line(format!("{}, {share} in memory", workload.name));
            let ran = {
                let _busy = Busy::start(busy);
                place::in_region(workload, &self.plan, &self.data, share, self.config)?
            };
            check(workload, "a region", &memory, &ran)?;
            row.region.push(ran);
            row.zram.push(self.zram(workload, share, busy, &memory)?);
        }
        Ok(row)
    }

    fn zram(
        &self,
        workload: &'static Workload,
        share: Share,
        busy: bool,
        memory: &Ran,
    ) -> Result<Outcome, BenchError> {
        let ran = self.peer.run(workload, &self.data, share, busy, &self.interrupt);
        if let Outcome::Ran(ran, _) = &ran {
            check(workload, "zram swap", memory, ran)?;
        }
        Ok(ran)
    }
}

fn check(
    workload: &'static Workload,
    place: &'static str,
    memory: &Ran,
    ran: &Ran,
) -> Result<(), BenchError> {
    if (memory.answer, memory.digest) == (ran.answer, ran.digest) {
        return Ok(());
    }
    Err(BenchError::Wrong { workload: workload.name, place })
}
