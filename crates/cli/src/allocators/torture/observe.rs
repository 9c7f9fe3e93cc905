//! Watches a run: progress line, time, Ctrl-C, deadlock.

use std::{
    process, thread,
    time::{Duration, Instant},
};

use pagefold_testkit::torture::Watch;

use crate::{console, exit::Exit, interrupt::Interrupt, progress::Progress};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest time without a finished operation.
const STALLED_AFTER: Duration = Duration::from_secs(60);

pub(super) struct Observed<'a> {
    /// In the progress line.
    pub(super) name: String,
    pub(super) watch: &'a Watch,
    /// Repeats this many operations.
    pub(super) command: &'a dyn Fn(u64) -> String,
}

impl Observed<'_> {
    /// Runs `work` in a thread; stops it after `share` or an interrupt. A stall ends the process.
    pub(super) fn run<T: Send>(
        &self,
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
                    self.watch.stop();
                }
                let ops = self.watch.ops();
                if ops != last_ops {
                    (last_ops, last_move) = (ops, Instant::now());
                }
                progress.line(self.line(elapsed));
                if last_move.elapsed() >= STALLED_AFTER {
                    progress.finish();
                    console::complain(&format!(
                        "{} stalled after {ops} operations: nothing was finished for {} s. To reproduce: {}",
                        self.name,
                        STALLED_AFTER.as_secs(),
                        (self.command)(ops)
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

    fn line(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        format!(
            "{}  {seconds:.0} s  {} operations  {:.0} /s  {} cycles",
            self.name,
            self.watch.ops(),
            self.watch.ops() as f64 / seconds,
            self.watch.cycles()
        )
    }
}
