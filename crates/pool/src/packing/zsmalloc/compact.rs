//! Compaction empties zspages into free slots of other zspages.
//!
//! 1. *Within a class*: the emptiest zspage into the fullest, while the class can do without one.
//! 2. *Across classes*: the emptiest zspage of each class, by the bytes to move for a frame, into free slots of the
//!    tightest class.
//!
//! It first counts whether all objects find a slot. No zspage is made, so compaction ends. For each object it locks
//! both zspages for writing, copies the bytes and exchanges the entry (I-RELOCATE). A reader waits for one object at
//! most; a zspage with readers is skipped.

use pagefold_frame::DescriptorId;
use pagefold_sys::sync::{self, Ordering};

use super::{Zsmalloc, ZspageGuard, groups::listed, zspage::Header};
use crate::{
    contract::CompactReport,
    engine::{Location, SlotPacking},
};

const OBJECTS_MAX: u64 = 1024;
/// Zspages to try in a class.
const VICTIMS: usize = 4;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Classes from the object's own to the victim's.
    Class,
    /// Larger classes too.
    Larger,
}

enum Step {
    /// So many bytes.
    Moved(usize),
    /// The victim is freed.
    Emptied { moved: Option<usize> },
    /// Freed or written meanwhile.
    Gone,
    /// No slot fits.
    NoRoom,
    /// The victim is locked.
    Busy,
    /// No further object.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Emptied,
    /// It cannot be emptied now.
    Stays,
    Spent,
}

impl Zsmalloc {
    pub(super) fn empty_zspages(&self, budget: usize) -> CompactReport {
        let mut report = CompactReport::default();
        let Some(_compactor) = self.compactor.try_lock() else {
            // A caller that loops waits here for the other compactor.
            sync::yield_now();
            return CompactReport { busy: 1, more: true, ..report };
        };
        for class in 0..self.table.classes().len() {
            while self.spare(class) > 0 {
                match self.empty_one(class, Reach::Class, budget, &mut report) {
                    Outcome::Emptied => {}
                    Outcome::Stays => break,
                    Outcome::Spent => {
                        report.more = true;
                        return report;
                    }
                }
            }
        }
        if !self.lending {
            return report;
        }
        loop {
            let before = report.freed_frames;
            for class in self.by_cost() {
                match self.empty_one(class, Reach::Larger, budget, &mut report) {
                    Outcome::Emptied | Outcome::Stays => {}
                    Outcome::Spent => {
                        report.more = true;
                        return report;
                    }
                }
            }
            if before == report.freed_frames {
                return report;
            }
        }
    }

    pub(super) fn spare(&self, class: usize) -> usize {
        let Some(objects) = self.objects(class) else { return 0 };
        self.groups.holes(class, objects) / objects as usize
    }

    /// Slots in a zspage; `None` for a huge class.
    fn objects(&self, class: usize) -> Option<u32> {
        let class = self.class(class);
        (!class.is_huge()).then_some(class.objects)
    }

    /// Classes by the bytes to move for each frame won.
    fn by_cost(&self) -> impl Iterator<Item = usize> + use<> {
        let mut candidates = Vec::new();
        let mut next = self.groups.next_with_room(0);
        while let Some(class) = next {
            let mut emptiest = [DescriptorId::new(0)];
            if self.groups.emptiest(&self.zspages, class, &mut emptiest) == 1
                && let Ok(guard) = self.zspages.try_read(emptiest[0])
            {
                let body = guard.parts().0;
                let shape = self.class(body.class());
                let bytes = usize::from(body.live) * shape.size;
                candidates.push((bytes / shape.frames as usize, class));
            }
            next = self.groups.next_with_room(class + 1);
        }
        candidates.sort_unstable();
        candidates.into_iter().map(|(_, class)| class)
    }

    fn empty_one(
        &self,
        class: usize,
        reach: Reach,
        budget: usize,
        report: &mut CompactReport,
    ) -> Outcome {
        let mut victims = [DescriptorId::new(0); VICTIMS];
        let count = self.groups.emptiest(&self.zspages, class, &mut victims);
        for &id in &victims[..count] {
            let Some(mut guard) = self.try_write_hard(id) else {
                report.busy += 1;
                continue;
            };
            self.drain_pending(&mut guard);
            let body = guard.parts().0;
            let is_listed = body.class() == class && listed(body).is_some() && body.live > 0;
            if !is_listed {
                self.unlock_and_relist(guard);
                continue;
            }
            if !self.all_have_a_slot_elsewhere(&mut guard, class, reach) {
                self.unlock_and_relist(guard);
                return Outcome::Stays;
            }
            // ORDERING: Release; pairs with the Acquire in `is_victim`.
            self.victim.store(id.get() + 1, Ordering::Release);
            self.unlock_and_relist(guard);
            let outcome = self.empty(id, class, reach, budget, report);
            self.victim.store(0, Ordering::Release);
            if outcome != Outcome::Emptied {
                self.relist_later(id);
            }
            return outcome;
        }
        Outcome::Stays
    }

    fn all_have_a_slot_elsewhere(
        &self,
        guard: &mut ZspageGuard<'_>,
        class: usize,
        reach: Reach,
    ) -> bool {
        let live = usize::from(guard.parts().0.live);
        let shape = *self.class(class);
        let own =
            self.groups.holes(class, shape.objects).saturating_sub(shape.objects as usize - live);
        if reach == Reach::Class {
            return live <= own;
        }
        let zspage = self.zspage(guard);
        let mut wanted = vec![0_usize; class + 1];
        let mut at = 0;
        while let Some((slot, header)) = zspage.next_used(at) {
            wanted[self.own_class(header).min(class)] += 1;
            at = slot + 1;
        }
        let holes = |other: usize| match self.objects(other) {
            Some(_) if other == class => own,
            Some(objects) => self.groups.holes(other, objects),
            None => 0,
        };
        // Free slots must suffice for all objects that fit nowhere below.
        let mut free: usize = (class + 1..self.table.classes().len()).map(holes).sum();
        for other in (0..=class).rev() {
            free += holes(other);
            if wanted[other] > free {
                return false;
            }
            free -= wanted[other];
        }
        true
    }

    fn own_class(&self, header: Header) -> usize {
        self.table.index_of(usize::from(header.len)).expect("an object is no longer than a frame")
    }

    fn empty(
        &self,
        id: DescriptorId,
        class: usize,
        reach: Reach,
        budget: usize,
        report: &mut CompactReport,
    ) -> Outcome {
        let frames = u64::from(self.class(class).frames);
        let mut at = 0;
        loop {
            // After the work, so that any budget makes progress.
            let spent = report.moved_objects > 0 && report.moved_bytes >= budget as u64;
            if spent || report.moved_objects >= OBJECTS_MAX {
                return Outcome::Spent;
            }
            let moved = match self.relocate_next(id, class, reach, &mut at) {
                Step::Moved(bytes) => Some(bytes),
                Step::Emptied { moved } => {
                    report.freed_frames += frames;
                    self.note_moved(report, moved);
                    return Outcome::Emptied;
                }
                Step::Gone => None,
                Step::NoRoom | Step::End => return Outcome::Stays,
                Step::Busy => {
                    report.busy += 1;
                    return Outcome::Stays;
                }
            };
            self.note_moved(report, moved);
        }
    }

    fn note_moved(&self, report: &mut CompactReport, moved: Option<usize>) {
        if let Some(bytes) = moved {
            report.moved_objects += 1;
            report.moved_bytes += bytes as u64;
            self.base.note_compacted(bytes);
        }
    }

    /// Moves the next object from slot `at` on, and `at` behind it.
    fn relocate_next(&self, from: DescriptorId, class: usize, reach: Reach, at: &mut u16) -> Step {
        let Some(mut source) = self.try_write_hard(from) else { return Step::Busy };
        self.drain_pending(&mut source);
        let body = source.parts().0;
        if body.class() != class {
            self.unlock_and_relist(source);
            return Step::End;
        }
        if body.live == 0 {
            self.unlock_and_relist(source);
            return Step::Emptied { moved: None };
        }
        let Some((slot, header)) = self.zspage(&mut source).next_used(*at) else {
            self.unlock_and_relist(source);
            return Step::End;
        };
        *at = slot + 1;
        let Some(found) = self.base.find_at(header.index, Location::Slot { id: from, slot }) else {
            self.unlock_and_relist(source);
            return Step::Gone;
        };
        let to = match reach {
            Reach::Class => class,
            Reach::Larger => usize::MAX,
        };
        let Some(mut target) = self.fill_among(self.own_class(header), to) else {
            self.unlock_and_relist(source);
            return Step::NoRoom;
        };
        let (id, len) = (target.id(), usize::from(header.len));
        let target_slot = self.take(&mut target, len, header.index);
        let old = self.zspage(&mut source);
        self.zspage(&mut target).copy_from(target_slot, &old, slot, len);
        // I-RELOCATE: under both write guards. A thread that locks the old zspage later sees the new entry.
        let step = if found.relocate(Location::Slot { id, slot: target_slot }) {
            self.give(&mut source, slot);
            match source.parts().0.live {
                0 => Step::Emptied { moved: Some(len) },
                _ => Step::Moved(len),
            }
        } else {
            self.give(&mut target, target_slot);
            Step::Gone
        };
        // The target first: returning the source's frames may take long.
        self.unlock_and_relist(target);
        self.unlock_and_relist(source);
        step
    }
}
