//! The ring of samples, and the phases of self-training.
//!
//! Samples are taken only for a training that is to come: the first one reads the first pages of the store, a later one
//! pages from after the drift that made it due, one in four, so that they come from more than one burst. Without a
//! training to come, a page costs an addition to the window's mean.
//!
//! The first pages may tell little of what comes later. So there are more trainings, on samples of all pages that the store
//! ever compressed, whenever these are four times as many.
//!
//! The mean length over windows of pages is compared with what is expected of the codec: what the pages that judged
//! promised, and then the mean of the first window, unless that is far from it. After each turn the store looks
//! away for a number of windows, each time for twice as many, up to [`REST_WINDOWS_MAX`]: data that changes for ever
//! must not train for ever.

use std::collections::HashSet;

use super::reservoir::Reservoir;

/// A page of the store: the number of its space, and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sample {
    pub(crate) space: u64,
    pub(crate) key: u64,
}

/// How many pages each step takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    /// Pages that a training reads.
    pub(crate) samples: usize,
    /// The pages of a window.
    pub(crate) window: u64,
    /// Percent of the present codec's time that a better one may take.
    pub(crate) time_percent: u32,
    /// After so many times the pages of the last training on all, there is another; 0: none.
    pub(crate) growth: u64,
}

impl Default for Steps {
    fn default() -> Self {
        if cfg!(loom) {
            // A model has no time.
            Self { samples: 2, window: 8, time_percent: u32::MAX, growth: 0 }
        } else {
            Self { samples: 1000, window: 4096, time_percent: 105, growth: 4 }
        }
    }
}

impl Steps {
    /// Fewer pages are not trained on.
    pub(crate) fn least(self) -> usize {
        self.samples.div_ceil(2)
    }

    /// For clusters, each of which is four pages.
    pub(crate) fn of_clusters(self) -> Self {
        Self {
            samples: (self.samples / 4).max(2),
            window: (self.window / 4).max(1),
            // They are made in the background.
            time_percent: self.time_percent.max(CLUSTER_TIME_PERCENT),
            growth: self.growth,
        }
    }

    /// The newest pages, which judge.
    pub(crate) fn held_out(self) -> usize {
        (self.samples / 5).max(1)
    }

    /// The length of the ring: pages that are gone, or were put twice, do not count.
    pub(crate) fn ring(self) -> usize {
        self.samples + self.samples / 5
    }
}

const CLUSTER_TIME_PERCENT: u32 = 150;
/// One page in so many after the first training.
const LATER_ONE_IN: u64 = 4;
const REST_WINDOWS_MAX: u64 = 64;
/// After so many pages a turn that found no room is tried again, and each time after twice as many.
const RETRY_PAGES_MAX: u64 = 1 << 16;
/// A drift of the mean by one part in so many makes a training due.
const DRIFT_ONE_IN: u64 = 20;
/// The pages that judge are few: their mean differs by chance, by less than one part in so many.
const CHANCE_ONE_IN: u64 = 10;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// New pages have another codec now, of which so many bytes are expected a thousand pages.
    Adopted { expected: u64 },
    /// Nothing was better.
    Kept,
    /// No room, no free id, or too few of the pages are still there.
    Retry,
    /// Workers are to rest: it stays due.
    Interrupted,
    /// The codec failed: no more training.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Collecting { every: u64, seen: u64, due_at: u64 },
    Due,
    InTurn,
    Watching,
    Off,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Samples {
    ring: Vec<Sample>,
    capacity: usize,
    /// Where the next sample goes when the ring is full: the oldest one.
    next: usize,
    phase: Phase,
    /// Of all pages of the store's life.
    of_all: Reservoir,
    all: u64,
    /// How many these were when the last training became due.
    due_since: u64,
    /// The training that is due takes the newest pages, not a sample of all.
    takes_newest: bool,
    /// The next training on all comes at so many pages.
    grown_at: u64,
    window_pages: u64,
    window_bytes: u64,
    /// The bytes of a thousand pages; `None` until a window gives it.
    expected: Option<u64>,
    /// Whether only the pages that judged say so.
    is_first_guess: bool,
    /// Windows left to look away.
    rest: u64,
    /// How many after the next turn.
    next_rest: u64,
    next_retry: u64,
}

impl Samples {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            ring: Vec::new(),
            capacity,
            next: 0,
            phase: Phase::Collecting { every: 1, seen: 0, due_at: 0 },
            of_all: Reservoir::new(capacity),
            all: 0,
            due_since: 0,
            takes_newest: true,
            grown_at: 0,
            window_pages: 0,
            window_bytes: 0,
            expected: None,
            is_first_guess: false,
            rest: 0,
            next_rest: 1,
            next_retry: 0,
        }
    }

    /// Notes a page and its length; whether a training is due now.
    pub(super) fn note(&mut self, sample: Sample, len: u64, steps: Steps) -> bool {
        self.all += 1;
        if steps.growth > 0 {
            self.of_all.offer(sample);
        }
        match &mut self.phase {
            Phase::Collecting { every, seen, due_at } => {
                *seen += 1;
                let (every, seen, due_at) =
                    (*every, *seen, (*due_at).max(steps.samples as u64 * *every));
                if seen % every == 0 {
                    self.push(sample);
                }
                if seen >= due_at {
                    self.fall_due(true);
                    return true;
                }
            }
            Phase::Watching if steps.growth > 0 && self.all >= self.grown_at => {
                (self.ring, self.next) = (self.of_all.mixed(), 0);
                self.fall_due(false);
                return true;
            }
            Phase::Watching => {
                self.window_pages += 1;
                self.window_bytes += len;
                if self.window_pages >= steps.window && self.end_window() {
                    self.phase = Phase::Collecting { every: LATER_ONE_IN, seen: 0, due_at: 0 };
                }
            }
            // Those of before may be gone when its turn comes.
            Phase::Due if self.takes_newest => self.push(sample),
            Phase::Due | Phase::InTurn | Phase::Off => {}
        }
        false
    }

    fn fall_due(&mut self, takes_newest: bool) {
        (self.phase, self.due_since) = (Phase::Due, self.all);
        self.takes_newest = takes_newest;
    }

    /// Whether a training waits for longer than a window of pages: a store with pages in staging at all times trains too.
    pub(super) fn is_overdue(&self, steps: Steps) -> bool {
        self.phase == Phase::Due && self.all >= self.due_since.saturating_add(steps.window)
    }

    fn push(&mut self, sample: Sample) {
        if self.ring.len() < self.capacity {
            if self.ring.len() == self.ring.capacity() {
                self.ring.reserve_exact(self.capacity - self.ring.len());
            }
            self.ring.push(sample);
        } else {
            self.ring[self.next] = sample;
            self.next = (self.next + 1) % self.capacity;
        }
    }

    /// Whether the mean has drifted.
    fn end_window(&mut self) -> bool {
        let mean = per_thousand(self.window_bytes, self.window_pages);
        (self.window_pages, self.window_bytes) = (0, 0);
        let Some(expected) = self.expected else {
            self.expected = Some(mean);
            return false;
        };
        let differs_by = |one_in| mean.abs_diff(expected) > expected / one_in;
        if std::mem::take(&mut self.is_first_guess) && !differs_by(CHANCE_ONE_IN) {
            self.expected = Some(mean);
        }
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        differs_by(DRIFT_ONE_IN)
    }

    /// Whether a training is due now, on these samples.
    pub(super) fn train_on(&mut self, samples: Vec<Sample>, steps: Steps) -> bool {
        if !matches!(self.phase, Phase::Collecting { .. }) {
            return false;
        }
        let is_due = samples.len() >= steps.least();
        samples.into_iter().for_each(|sample| self.push(sample));
        if is_due {
            self.fall_due(false);
        }
        is_due
    }

    pub(super) fn begin(&mut self) -> bool {
        let begins = self.phase == Phase::Due;
        if begins {
            self.phase = Phase::InTurn;
        }
        begins
    }

    pub(super) fn end(&mut self, end: End, steps: Steps) {
        self.phase = match end {
            End::Adopted { expected } => {
                (self.expected, self.is_first_guess) = (Some(expected), true);
                self.watch(steps)
            }
            // The next window says what to expect.
            End::Kept => {
                (self.expected, self.is_first_guess) = (None, false);
                self.watch(steps)
            }
            End::Retry => {
                self.next_retry =
                    (self.next_retry * 2).clamp(steps.samples as u64, RETRY_PAGES_MAX);
                Phase::Collecting { every: 1, seen: 0, due_at: self.next_retry }
            }
            End::Interrupted => Phase::Due,
            End::Failed => Phase::Off,
        };
    }

    fn watch(&mut self, steps: Steps) -> Phase {
        (self.ring, self.next) = (Vec::new(), 0);
        if self.due_since >= self.grown_at {
            let pages = self.due_since.max(steps.samples as u64);
            self.grown_at = pages.saturating_mul(steps.growth.max(1));
        }
        self.rest = self.next_rest;
        self.next_rest = (self.next_rest * 2).min(REST_WINDOWS_MAX);
        self.next_retry = 0;
        (self.window_pages, self.window_bytes) = (0, 0);
        Phase::Watching
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.ring.capacity() * size_of::<Sample>() + self.of_all.held_bytes()
    }

    pub(super) fn newest(&self) -> Vec<Sample> {
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        let mut seen = HashSet::with_capacity(self.ring.len());
        let newest = newer.iter().rev().chain(older.iter().rev());
        newest.copied().filter(|sample| seen.insert(*sample)).collect()
    }
}

/// The bytes of a thousand pages.
pub(super) fn per_thousand(bytes: u64, pages: u64) -> u64 {
    bytes.saturating_mul(1000) / pages.max(1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const STEPS: Steps = Steps { samples: 10, window: 100, time_percent: 105, growth: 0 };

    /// Notes pages of a length until a training is due, at most `pages`; how many that took.
    fn due_after(samples: &mut Samples, len: u64, pages: u64) -> Option<u64> {
        (1..=pages).find(|&key| samples.note(Sample { space: 1, key }, len, STEPS))
    }

    fn turn(samples: &mut Samples, end: End) {
        assert!(samples.begin());
        assert!(!samples.begin(), "one thread has the turn");
        samples.end(end, STEPS);
    }

    #[test]
    fn the_first_training_is_due_after_the_first_pages() {
        let mut samples = Samples::new(STEPS.ring());
        assert!(!samples.begin());
        assert_eq!(due_after(&mut samples, 1000, 1000), Some(10));
        let keys = |samples: &Samples| -> Vec<u64> {
            samples.newest().iter().map(|sample| sample.key).collect()
        };
        assert_eq!(keys(&samples), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(due_after(&mut samples, 1000, 1000), None, "it is due once");
        assert_eq!(keys(&samples)[..3], [1000, 999, 998], "those of before may be gone");
    }

    #[test]
    fn growth_makes_one_due_on_pages_of_all_ages() {
        let steps = Steps { growth: 4, ..STEPS };
        let mut samples = Samples::new(steps.ring());
        let (mut due, mut keys) = (Vec::new(), Vec::new());
        for key in 1..=1000 {
            if samples.note(Sample { space: 1, key }, 1000, steps) {
                due.push(key);
                assert!(samples.begin());
                keys = samples.newest().iter().map(|sample| sample.key).collect();
                samples.end(End::Kept, steps);
            }
        }
        assert_eq!(due, [10, 40, 160, 640]);
        assert_eq!(keys.len(), steps.ring());
        let ring_bytes = steps.ring() * size_of::<Sample>();
        assert_eq!(samples.held_bytes(), ring_bytes, "only the sample of all stays");
        // A turn that comes late does not put the next one off.
        let mut late = Samples::new(steps.ring());
        (1..=500).for_each(|key| _ = late.note(Sample { space: 1, key }, 1000, steps));
        assert!(late.is_overdue(steps) && late.begin() && !late.is_overdue(steps));
        late.end(End::Kept, steps);
        assert!(late.note(Sample { space: 1, key: 501 }, 1000, steps), "forty are long past");
        assert!(keys.iter().any(|&key| key < 320) && keys.iter().any(|&key| key > 320), "{keys:?}");
    }

    #[test]
    fn a_drift_makes_one_due_and_each_turn_a_longer_rest() {
        let mut samples = Samples::new(STEPS.ring());
        due_after(&mut samples, 1000, 10);
        turn(&mut samples, End::Adopted { expected: 1_000_000 });
        // 4.9 percent are chance, and the mean of that window is what is expected then.
        assert_eq!(due_after(&mut samples, 1049, 10_000), None);
        assert_eq!(due_after(&mut samples, 1000, 10_000), None, "4.7 percent less than that");
        // A window begins anew at each drift and each turn: one that drifts, and 10 samples of one page in four.
        assert_eq!(due_after(&mut samples, 990, 10_000), Some(100 + 40));
        turn(&mut samples, End::Adopted { expected: 990_000 });
        assert_eq!(due_after(&mut samples, 800, 10_000), Some(3 * 100 + 40), "two to rest");
        turn(&mut samples, End::Adopted { expected: 800_000 });
        assert_eq!(due_after(&mut samples, 900, 10_000), Some(5 * 100 + 40), "four to rest");
        for _ in 0..10 {
            turn(&mut samples, End::Adopted { expected: 800_000 });
            assert!(due_after(&mut samples, 900, 7000).is_some());
        }
    }

    #[test]
    fn a_turn_that_keeps_the_codec_expects_what_comes() {
        let mut samples = Samples::new(STEPS.ring());
        due_after(&mut samples, 1000, 10);
        turn(&mut samples, End::Kept);
        assert_eq!(due_after(&mut samples, 2000, 10_000), None);
        assert!(due_after(&mut samples, 2200, 10_000).is_some());
    }

    #[test]
    fn without_room_it_is_tried_again_later_each_time() {
        let mut samples = Samples::new(STEPS.ring());
        due_after(&mut samples, 1000, 10);
        for wait in [10, 20, 40, 80] {
            turn(&mut samples, End::Retry);
            assert_eq!(due_after(&mut samples, 1000, 10_000), Some(wait));
        }
        turn(&mut samples, End::Interrupted);
        turn(&mut samples, End::Failed);
        assert_eq!(due_after(&mut samples, 1000, 10_000), None);
    }

    #[test]
    fn the_ring_keeps_the_newest_and_names_each_once() {
        let mut samples = Samples::new(4);
        for key in [1, 2, 3, 4, 5, 2] {
            samples.push(Sample { space: 1, key });
        }
        let keys: Vec<u64> = samples.newest().iter().map(|sample| sample.key).collect();
        assert_eq!(keys, [2, 5, 4, 3]);
        assert_eq!(samples.ring.len(), 4);
    }
}
