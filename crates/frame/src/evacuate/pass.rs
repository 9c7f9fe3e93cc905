//! One pass that moves every movable run out of an isolated range.

use std::ops::{ControlFlow, Range};

use crate::{
    Arena, Blocker, Busy, FrameCount, FrameMigrateError, FrameNo, FrameOwner, FrameRange, Movable,
    OutOfFrames,
    migrate::{ExtentRef, MigrateOutcome},
    owner::CONTIGUOUS,
};

/// In an error.
const BLOCKERS_MAX: usize = 16;
#[derive(Debug, Default)]
pub(super) struct Evacuation {
    pub(super) copied: usize,
    /// The first.
    pub(super) blockers: Vec<Blocker>,
    /// All runs that stayed.
    pub(super) busy: u64,
    pub(super) out_of_frames: bool,
    /// For the budget.
    pub(super) stopped: bool,
}

impl Evacuation {
    pub(super) fn note(&mut self, frame: u32, owner: Option<FrameOwner>, busy: Busy) {
        self.busy += 1;
        if self.blockers.len() < BLOCKERS_MAX {
            self.blockers.push(Blocker { frame: FrameNo(frame), owner, busy });
        }
    }
}

/// `next`: the first frame with another owner word.
struct Met {
    frame: u32,
    next: u32,
    word: u32,
}

impl Arena {
    pub(super) fn evacuate(
        &self,
        range: &Range<u32>,
        kinds: &[&dyn Movable],
        budget: usize,
        to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
    ) -> Evacuation {
        let mut done = Evacuation::default();
        self.drain_caches();
        let mut frame = range.start;
        while frame < range.end {
            let word = self.owner_word(frame);
            let next = match word {
                0 => frame + 1,
                _ => (frame + 1..range.end)
                    .find(|&at| self.owner_word(at) != word)
                    .unwrap_or(range.end),
            };
            match self.evacuate_one(Met { frame, next, word }, kinds, &mut done, budget, to) {
                ControlFlow::Continue(next) => frame = next,
                ControlFlow::Break(()) => break,
            }
        }
        done
    }

    /// Returns where to continue.
    fn evacuate_one(
        &self,
        Met { frame, next, word }: Met,
        kinds: &[&dyn Movable],
        done: &mut Evacuation,
        budget: usize,
        to: &mut dyn FnMut(FrameCount, FrameOwner) -> Result<FrameRange, OutOfFrames>,
    ) -> ControlFlow<(), u32> {
        let owner = self.owner(FrameNo(frame));
        let kind = owner.and_then(|owner| kinds.iter().find(|kind| kind.tag() == owner.tag));
        let (Some(owner), Some(kind)) = (owner, kind) else {
            if word != 0 {
                let busy = if word == CONTIGUOUS { Busy::Contiguous } else { Busy::Pinned };
                self.moves().note_busy(busy);
                done.note(frame, owner, busy);
            }
            return ControlFlow::Continue(next);
        };
        // After work: the smallest budget progresses.
        if done.copied > 0 && done.copied >= budget {
            done.stopped = true;
            return ControlFlow::Break(());
        }
        match kind.migrate(owner.id, ExtentRef::Of(FrameNo(frame)), to) {
            Ok(MigrateOutcome::Copied(from)) => {
                done.copied += from.frames.bytes();
                return ControlFlow::Continue(from.range().end);
            }
            // Its frames may be elsewhere.
            Ok(MigrateOutcome::Freed) => return ControlFlow::Continue(frame + 1),
            Err(FrameMigrateError::Gone) => {}
            Err(FrameMigrateError::Busy(busy)) => done.note(frame, Some(owner), busy),
            Err(FrameMigrateError::OutOfFrames(_)) => {
                done.out_of_frames = true;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(next)
    }

    /// The first blockers of a range.
    pub(super) fn busy_in(&self, kinds: &[&dyn Movable], range: &Range<u32>) -> Vec<Blocker> {
        let mut found = Evacuation::default();
        let mut last = 0;
        for frame in range.clone() {
            let word = self.owner_word(frame);
            if word == 0 || std::mem::replace(&mut last, word) == word {
                continue;
            }
            let owner = self.owner(FrameNo(frame));
            let busy = owner.map_or(Some(Busy::Contiguous), |owner| {
                let kind = kinds.iter().find(|kind| kind.tag() == owner.tag);
                kind.map_or(Some(Busy::Pinned), |kind| kind.busy(owner.id))
            });
            if let Some(busy) = busy {
                found.note(frame, owner, busy);
            }
        }
        found.blockers
    }
}
