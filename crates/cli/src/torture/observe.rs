//! Watching a run: the progress line, the time, Ctrl-C, and a deadlock.

use std::{
    process, thread,
    time::{Duration, Instant},
};

use pagefold_testkit::torture::Watch;

use super::job::Job;
use crate::{
    exit::{self, Exit},
    interrupt::Interrupt,
    progress::Progress,
};

/// How often the run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long nothing may be finished.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Does `work` in a thread of its own and watches it; it stops when its share of the time is over.
///
/// A run that stalls ends the process: its threads cannot be stopped.
pub(super) fn observe<T: Send>(
    job: &Job,
    watch: &Watch,
    share: Option<Duration>,
    interrupt: &Interrupt,
    progress: &Progress,
    work: impl FnOnce() -> T + Send,
) -> T {
    let begin = Instant::now();
    let (mut last_ops, mut last_move) = (0, begin);
    thread::scope(|scope| {
        let running = scope.spawn(work);
        while !running.is_finished() {
            thread::sleep(LOOK_EVERY);
            let elapsed = begin.elapsed();
            if share.is_some_and(|share| elapsed >= share) || interrupt.is_requested() {
                watch.stop();
            }
            let ops = watch.ops();
            if ops != last_ops {
                (last_ops, last_move) = (ops, Instant::now());
            }
            progress.line(line(job, watch, elapsed));
            if last_move.elapsed() >= STALLED_AFTER {
                progress.finish();
                exit::complain(&format!(
                    "{} stalled after {ops} operations: nothing was finished for {} s; {}",
                    job.subject,
                    STALLED_AFTER.as_secs(),
                    job.command(ops)
                ));
                process::exit(Exit::Stalled.code().into());
            }
        }
        match running.join() {
            Ok(outcome) => outcome,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

fn line(job: &Job, watch: &Watch, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let canary = job.canary.map(|kind| format!(" with {}", kind.name())).unwrap_or_default();
    format!(
        "{}{canary}  {seconds:.0} s  {} operations  {:.0} /s  {} cycles",
        job.subject,
        watch.ops(),
        watch.ops() as f64 / seconds,
        watch.cycles()
    )
}
