//! Compaction joins the objects of lone frames, two in a frame.
//!
//! The roomiest lone frame gives its object to the tightest other one that fits, then the next. The lists are locked
//! for one object at a time. The compactor tries both write guards, so it skips frames with readers; under both it
//! copies the bytes and exchanges the handle entry (I-RELOCATE). The target keeps its position in the order of use.

use pagefold_frame::DescriptorId;

use super::{
    Zbud,
    layout::{CHUNKS, SideSlot},
    lists::{Filled, Locked},
    place::{CANDIDATES, FrameGuard},
};
use crate::{contract::CompactReport, engine::Location};

#[derive(Debug)]
struct Cursor {
    free: usize,
    from: usize,
}

enum Step {
    Joined,
    /// Guards are in the way.
    Passed,
    Done,
}

impl Zbud {
    pub(super) fn join_lone_frames(&self, budget: usize) -> CompactReport {
        let mut report = CompactReport::default();
        let mut cursor = Cursor { free: CHUNKS - 1, from: 0 };
        loop {
            match self.join_next(&mut cursor, &mut report) {
                Step::Done => return report,
                Step::Passed => {}
                // After the work, so that any budget makes progress.
                Step::Joined if report.moved_bytes >= budget as u64 => {
                    report.more = true;
                    return report;
                }
                Step::Joined => {}
            }
        }
    }

    fn join_next(&self, cursor: &mut Cursor, report: &mut CompactReport) -> Step {
        let mut lists = self.lists.lock(&self.frames);
        let Some(from) = next_lone(&lists, cursor) else { return Step::Done };
        let Ok(mut source) = self.frames.try_write(from) else {
            report.busy += 1;
            return Step::Passed;
        };
        let mut target = match self.partner(&lists, from, report) {
            Ok(target) => target,
            Err(step) => return step,
        };
        let moved = self.join(&mut lists, &mut source, &mut target);
        drop(lists);
        // The target first: returning the source's frame may take long.
        drop(target);
        source.retire();
        report.moved_objects += 1;
        report.moved_bytes += moved as u64;
        report.freed_frames += 1;
        self.base.note_compacted(moved);
        Step::Joined
    }

    fn partner(
        &self,
        lists: &Locked<'_>,
        from: DescriptorId,
        report: &mut CompactReport,
    ) -> Result<FrameGuard<'_>, Step> {
        let chunks = CHUNKS - lists.sides(from).free();
        let mut refusal = Step::Done;
        for id in lists.lone(chunks).filter(|&id| id != from).take(CANDIDATES) {
            match self.frames.try_write(id) {
                Ok(guard) => return Ok(guard),
                Err(_) => {
                    report.busy += 1;
                    refusal = Step::Passed;
                }
            }
        }
        Err(refusal)
    }

    /// Returns the object's length.
    fn join(
        &self,
        lists: &mut Locked<'_>,
        source: &mut FrameGuard<'_>,
        target: &mut FrameGuard<'_>,
    ) -> usize {
        let (from, to) = (source.id(), target.id());
        let (side, _) = lists.sides(from).lone().expect("I-UNBUDDIED: it has one object");
        let (_, empty) = lists.sides(to).lone().expect("I-UNBUDDIED: it has one object");
        let object = self.object_on(lists, from, side).expect("I-SIDE: a side has an entry");
        let (old, new) = (object.slot, SideSlot { side: empty, ..object.slot });
        target.parts().1[new.range()].copy_from_slice(&source.parts().1[old.range()]);
        // I-RELOCATE: under both write guards. A thread that locks the old frame later sees the new entry.
        let relocated = object.found.relocate(Location::Slot { id: to, slot: new.bits() });
        assert!(relocated, "I-SIDE: entries change under the lock of the lists");
        let emptied = lists.empty(from, side);
        assert!(emptied, "I-UNBUDDIED: the source had one object and was not under reclaim");
        lists.fill(to, new, object.found.index, Filled::ByMoving);
        new.len
    }
}

fn next_lone(lists: &Locked<'_>, cursor: &mut Cursor) -> Option<DescriptorId> {
    loop {
        if let Some(id) = lists.lone_from(cursor.free, cursor.from) {
            cursor.from = id.get() as usize + 1;
            return Some(id);
        }
        *cursor = Cursor { free: cursor.free.checked_sub(1)?, from: 0 };
    }
}
