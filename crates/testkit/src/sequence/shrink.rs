//! Delta debugging of traces, bounded in time.

use std::time::Instant;

use super::{Build, replay};
use crate::{
    torture::Watch,
    trace::{Step, Trace},
};

/// Shortens a failing trace until nothing shorter fails or the time is up. Any failure counts.
///
/// # Complexity
/// About as many replays as steps left, times the logarithm of the first count.
pub fn shrink(build: &Build<'_>, trace: &Trace, until: Instant, watch: &Watch) -> Trace {
    let mut best = Shrinking { build, trace: trace.clone(), until, watch };
    if best.take(trace.steps.clone()) {
        best.leave_out();
        best.merge();
        best.simplify();
        // Shorter objects may make others superfluous.
        best.leave_out();
    }
    best.trace
}

/// Most pools take this length.
const LEN_MERGED_MAX: u32 = 4096;

struct Shrinking<'a> {
    build: &'a Build<'a>,
    trace: Trace,
    until: Instant,
    watch: &'a Watch,
}

impl Shrinking<'_> {
    /// Keeps these steps, up to their failure.
    fn take(&mut self, steps: Vec<Step>) -> bool {
        let candidate = Trace { header: self.trace.header.clone(), steps };
        match replay(self.build, &candidate, self.watch) {
            Err(failed) => {
                self.trace.steps = failed.trace.steps;
                true
            }
            Ok(_) => false,
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until || self.watch.stopped()
    }

    /// Ever smaller parts, down to single steps.
    fn leave_out(&mut self) {
        let mut part = self.trace.steps.len().div_ceil(2);
        while part > 0 {
            let mut shorter = false;
            // From the end: failures often need the early steps.
            let mut end = self.trace.steps.len();
            while end > 0 {
                if self.is_late() {
                    return;
                }
                let start = end.saturating_sub(part);
                let mut steps = self.trace.steps.clone();
                steps.drain(start..end);
                shorter |= self.take(steps);
                end = start.min(self.trace.steps.len());
            }
            if part == 1 && !shorter {
                return;
            }
            part = if part == 1 { 1 } else { part / 2 };
        }
    }

    /// One longer object for two, where only bytes matter.
    fn merge(&mut self) {
        let mut at = 0;
        loop {
            let stores = self.trace.steps.iter().enumerate().skip(at);
            let mut stores = stores.filter_map(|(place, step)| match *step {
                Step::Store { object, len } => Some((place, object, len)),
                _ => None,
            });
            let (Some((first, object, len)), Some((next, _, more))) =
                (stores.next(), stores.next())
            else {
                return;
            };
            if self.is_late() {
                return;
            }
            let mut steps = self.trace.steps.clone();
            steps[first] = Step::Store { object, len: (len + more).min(LEN_MERGED_MAX) };
            steps.remove(next);
            if !self.take(steps) {
                at = next;
            }
        }
    }

    fn simplify(&mut self) {
        for at in 0.. {
            let Some(step) = self.trace.steps.get(at).copied() else { return };
            for simpler in simpler(step) {
                if self.is_late() {
                    return;
                }
                let mut steps = self.trace.steps.clone();
                if let Some(step) = steps.get_mut(at) {
                    *step = simpler;
                }
                if self.take(steps) {
                    break;
                }
            }
        }
    }
}

/// The simplest first.
fn simpler(step: Step) -> Vec<Step> {
    match step {
        Step::Store { object, len } if len > 1 => [1, 64, 4096]
            .into_iter()
            .filter(|shorter| *shorter < len)
            .map(|len| Step::Store { object, len })
            .collect(),
        Step::Alloc { object, len } => vec![Step::Store { object, len }],
        Step::Hold { object, steps } if steps > 1 => {
            vec![Step::Hold { object, steps: 1 }]
        }
        Step::Reclaim { retries, refused, panics } if (refused, panics) != (0, 0) => {
            [(0, 0), (0, panics), (refused, 0)]
                .into_iter()
                .filter(|simpler| *simpler != (refused, panics))
                .map(|(refused, panics)| Step::Reclaim { retries, refused, panics })
                .collect()
        }
        _ => Vec::new(),
    }
}
