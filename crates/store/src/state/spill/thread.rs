//! The spiller: a thread that writes what is coldest while the store is above its high watermark, and cleans extents.
//!
//! Puts wake it, and wait for it only at the limit, for a bounded time. It is inside an operation only while it touches the
//! store, never while the backing works.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    extent::Flight,
    spilling::{Refusal, Spilled, Spilling, Turn},
};
use crate::{config::SpaceKind, state::StoreState};

const REST: Duration = Duration::from_secs(60);
/// After a refusal, before the next try: the pace of the spill says when a write goes.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a put at the limit waits for the spiller, each time it makes room. That of an ephemeral space drops pages then.
const PUT_WAIT: Duration = Duration::from_millis(500);
const EPHEMERAL_PUT_WAIT: Duration = Duration::from_millis(100);
/// How often such a put looks whether a fork waits for it.
const LOOK: Duration = Duration::from_millis(10);
/// Extents are cleaned when they take more than this share of the live bytes, in percent. Where all is overwritten at random, an extent
/// that is cleaned has u live bytes of one, with (1 - u) / -ln u = 100 / 175: 0.29, and each byte is written 1 / (1 - u) = 1.4 times
/// (Desnoyers, "Analytic modeling of SSD write performance", 2012, for greedy cleaning). With 150 it would be 1.7 times.
const SPACE_PERCENT: u64 = 175;

pub(crate) fn start(store: &Arc<StoreState>) -> io::Result<Option<JoinHandle<()>>> {
    let Some(spilling) = &store.spilling else { return Ok(None) };
    spilling.wakeup.note_start();
    let own = Arc::clone(store);
    let thread = thread::Builder::new().name("pagefold-spiller".to_owned()).spawn(move || {
        if let Some(spilling) = &own.spilling {
            run(&own, spilling);
            spilling.wakeup.note_end();
        }
    });
    thread.map(Some).inspect_err(|_| spilling.wakeup.note_end())
}

fn run(store: &StoreState, spilling: &Spilling) {
    let mut ahead = None;
    while !spilling.wakeup.is_stopped() {
        spilling.wakeup.note_round();
        let step = catch_unwind(AssertUnwindSafe(|| store.spill_step_ahead(spilling, &mut ahead)));
        if !matches!(step, Ok(Step::More)) {
            // Puts do not wait for the next one.
            spilling.note_try();
        }
        match step {
            Ok(Step::More) => {}
            Ok(Step::Rest) => spilling.wakeup.sleep(REST),
            Ok(Step::Pause) => spilling.wakeup.pause(PAUSE),
            Err(_) => {
                tracing::error!("the spiller panicked; it goes on");
                ahead = None;
                spilling.renew_turns();
                spilling.wakeup.pause(PAUSE);
            }
        }
    }
    if let Some(flight) = ahead {
        store.end_flight(spilling, flight);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    /// Nothing to do until a put asks.
    Rest,
    /// The backing takes nothing now.
    Pause,
}

impl Spilling {
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn tries(&self) -> u64 {
        // ORDERING: Relaxed, here and below; a number that only has to change, and the wake-up orders what it tells.
        self.counts.tries.load(Ordering::Relaxed)
    }

    fn extents(&self) -> u64 {
        self.counts.extents.load(Ordering::Relaxed)
    }

    /// An extent left memory.
    fn note_extent(&self) {
        self.counts.extents.fetch_add(1, Ordering::Relaxed);
        self.note_try();
    }

    /// An extent left memory, or none can or has to.
    fn note_try(&self) {
        self.counts.tries.fetch_add(1, Ordering::Relaxed);
        pagefold_sys::sync::wake_all(self.key());
    }

    /// After a panic, which kept those of its thread. By the spiller, which has none.
    fn renew_turns(&self) {
        let mut turns = self.turns.lock();
        while turns.len() < self.turns_max
            && let Ok(turn) = Turn::new(&self.spill)
        {
            turns.push(turn);
        }
    }

    /// Whether extents have more dead bytes than they may.
    fn is_sparse(&self) -> bool {
        let stats = self.spill.stats();
        let used = stats.extents * stats.extent_bytes;
        used > stats.live_bytes / 100 * SPACE_PERCENT + 2 * stats.extent_bytes
    }
}

impl StoreState {
    /// For tests, which have no thread.
    pub(crate) fn spill_step(&self) -> Step {
        let Some(spilling) = &self.spilling else { return Step::Rest };
        let mut ahead = None;
        let step = self.spill_step_ahead(spilling, &mut ahead);
        if let Some(flight) = ahead {
            self.end_flight(spilling, flight);
        }
        step
    }

    /// One extent: cleaned, if the backing has too many dead bytes, or written, if the store is above its watermark. Neither keeps the
    /// other waiting for more than one extent. Not inside an operation.
    fn spill_step_ahead<'a>(&self, spilling: &'a Spilling, ahead: &mut Option<Flight<'a>>) -> Step {
        let makes_room = spilling.takes_room(self.is_above_low(), self.is_above_high())
            || self.is_above_target();
        if let Some(flight) = ahead.take_if(|_| !makes_room) {
            self.end_flight(spilling, flight);
        }
        if spilling.is_sparse() && !(makes_room && spilling.has_cleaned()) {
            spilling.note_cleaned(true);
            match self.clean_extents() {
                Spilled::Freed => return Step::More,
                Spilled::Busy | Spilled::Failed if !makes_room => return Step::Pause,
                _ => {}
            }
        }
        spilling.note_cleaned(false);
        if makes_room {
            let spilled = match spilling.turns_max {
                1 => self.spill_extent(),
                _ => self.spill_ahead(spilling, ahead),
            };
            match spilled {
                Spilled::Freed => {
                    if let Ok(_operation) = self.enter() {
                        self.trim_towards(self.spill_goal());
                    }
                    spilling.note_extent();
                    return Step::More;
                }
                Spilled::Full => return self.room_in_backing(spilling),
                Spilled::Busy | Spilled::Failed => return Step::Pause,
                Spilled::Nothing => {}
            }
        }
        if spilling.spill.discard_one() { Step::More } else { Step::Rest }
    }

    /// The backing is full: it is cleaned, or ephemeral spaces lose their oldest pages there, or it is cleaned at any cost.
    fn room_in_backing(&self, spilling: &Spilling) -> Step {
        let ways = [Self::clean_extents, Self::drop_spilled, Self::clean_all_dead];
        let mut made = ways.into_iter().map(|way| way(self));
        let some = made.find(|made| !matches!(made, Spilled::Nothing));
        match some.unwrap_or(Spilled::Nothing) {
            Spilled::Freed => Step::More,
            Spilled::Busy => Step::Pause,
            Spilled::Full | Spilled::Nothing => {
                spilling.note_refused(Refusal::Full);
                Step::Pause
            }
            Spilled::Failed => {
                spilling.note_refused(Refusal::Failed);
                Step::Pause
            }
        }
    }

    /// For a put at the limit: wakes the spiller, and waits for the next extent that left memory, for a bounded time. Whether one did: then there
    /// are free frames or holes.
    pub(crate) fn wait_for_spiller(&self, kind: SpaceKind) -> bool {
        let wait = match kind {
            SpaceKind::Persistent => PUT_WAIT,
            SpaceKind::Ephemeral => EPHEMERAL_PUT_WAIT,
        };
        // Where a fork or a validation waits for this put, the spiller cannot go on before that.
        self.wait_for_extent(Instant::now() + wait, || self.operations.is_closing())
    }

    /// As [`wait_for_spiller`](Self::wait_for_spiller), not inside an operation.
    pub(crate) fn wait_for_spiller_outside(&self, until: Instant) -> bool {
        self.wait_for_extent(until, || false)
    }

    fn wait_for_extent(&self, until: Instant, gives_up: impl Fn() -> bool) -> bool {
        let Some(spilling) = self.spilling.as_ref().filter(|spilling| spilling.wakeup.is_running())
        else {
            return false;
        };
        let (tries, extents) = (spilling.tries(), spilling.extents());
        spilling.ask();
        if spilling.is_refused() {
            // It tries again by itself, and no put waits for that.
            return false;
        }
        while spilling.tries() == tries {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || gives_up() {
                return false;
            }
            let epoch = pagefold_sys::sync::epoch(spilling.key());
            if spilling.tries() == tries {
                pagefold_sys::sync::wait_timeout(spilling.key(), epoch, left.min(LOOK));
            }
        }
        spilling.extents() != extents
    }
}
