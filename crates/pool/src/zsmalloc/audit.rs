//! What the pool says of itself, and whether it is true.

use std::collections::HashMap;

use pagefold_frame::{DescriptorId, FRAME_BYTES};
use pagefold_sys::sync::Ordering;

use super::{
    Zsmalloc,
    groups::{group_of, listed},
    layout::is_split,
};
use crate::{
    Stats,
    attend::Attend,
    entries::{Place, State},
};

/// Objects as they were found.
#[derive(Debug, Default)]
struct Sums {
    objects: u64,
    payload: u64,
    split: u64,
    frames: usize,
}

impl Zsmalloc {
    pub(super) fn account(&self) -> Stats {
        self.drain_all_deferred();
        Stats {
            reclaimable_bytes: self.reclaimable() as u64,
            lists_in_use: self.groups.in_use() as u64,
            split_objects: self.base.counters.split(),
            ..self.base.stats()
        }
    }

    /// Bytes of the zspages that their classes could do without. What lending would win beside is not counted.
    fn reclaimable(&self) -> usize {
        let frames = |class: usize| self.spare(class) * self.class(class).frames as usize;
        (0..self.table.classes().len()).map(frames).sum::<usize>() * FRAME_BYTES
    }

    pub(super) fn audit(&self) -> Result<(), String> {
        self.drain_all_deferred();
        let lists = self.audit_lists()?;
        let mut sums = Sums::default();
        let mut by_class = vec![(0, 0); self.table.classes().len()];
        let ids: Vec<DescriptorId> = self.zspages.live().map(|(id, _)| id).collect();
        for &id in &ids {
            let (class, live) = self.audit_zspage(id, &lists, &mut sums)?;
            by_class[class].0 += 1;
            by_class[class].1 += live;
        }
        if let Some(id) = lists.keys().find(|id| ids.iter().all(|other| other != *id)) {
            return Err(format!("I-GROUP: zspage {} is listed and does not live", id.get()));
        }
        for (class, found) in by_class.into_iter().enumerate() {
            let counted = self.groups.sums(class);
            if found != counted {
                return Err(format!(
                    "I-COUNT: class {class} has {found:?} zspages and places, {counted:?} counted"
                ));
            }
        }
        self.audit_runs(&mut sums)?;
        self.audit_sums(&sums)?;
        self.zspages.validate()?;
        self.runs.validate()?;
        self.base.arena.validate()
    }

    /// The groups that the lists say, by id.
    fn audit_lists(&self) -> Result<HashMap<DescriptorId, (usize, usize)>, String> {
        let mut lists = HashMap::new();
        self.groups.check(&self.zspages, &mut |id, class, group| match lists
            .insert(id, (class, group))
        {
            None => Ok(()),
            Some(_) => Err(format!("I-GROUP: zspage {} is listed twice", id.get())),
        })?;
        // ORDERING: Relaxed; the pool is quiet.
        match self.victim.load(Ordering::Relaxed) {
            0 => Ok(lists),
            victim => Err(format!("I-GROUP: zspage {} is still being emptied", victim - 1)),
        }
    }

    /// A zspage against its lists and entries: its class and used places.
    fn audit_zspage(
        &self,
        id: DescriptorId,
        lists: &HashMap<DescriptorId, (usize, usize)>,
        sums: &mut Sums,
    ) -> Result<(usize, usize), String> {
        let number = id.get();
        let mut guard =
            self.zspages.try_write(id).map_err(|_| format!("zspage {number} is held"))?;
        let frames = guard.frames().get();
        let body = *guard.parts().0;
        let class = body.class();
        let shape =
            self.table.classes().get(class).ok_or_else(|| format!("zspage {number}: {body:?}"))?;
        let group = group_of(body.live, shape.objects);
        if listed(&body) != group || lists.get(&id).copied() != group.map(|group| (class, group)) {
            return Err(format!(
                "I-GROUP: zspage {number} is not in the group of its use: {body:?}"
            ));
        }
        if body.live == 0 || frames != shape.frames {
            return Err(format!("zspage {number} is empty or not as its class says: {body:?}"));
        }
        let zspage = self.zspage(&mut guard);
        zspage.check().map_err(|error| format!("zspage {number}: {error}"))?;
        let mut at = 0;
        while let Some((slot, header)) = zspage.next_used(at) {
            let place = Place::Span { id, slot };
            if self.base.entries.load(header.index).state() != State::Live(place) {
                return Err(format!(
                    "I-ENTRY: index {} does not say zspage {number} place {slot}",
                    header.index
                ));
            }
            sums.objects += 1;
            sums.payload += u64::from(header.len);
            sums.split += u64::from(is_split(shape.size, slot, usize::from(header.len)));
            at = slot + 1;
        }
        sums.frames += frames as usize;
        Ok((class, usize::from(body.live)))
    }

    /// Huge objects by their entries.
    fn audit_runs(&self, sums: &mut Sums) -> Result<(), String> {
        let used = self.base.entries.used();
        let mut runs = 0;
        for index in 0..u32::try_from(used).expect("a table has fewer than 2^32 entries") {
            let State::Live(Place::Run { id, short }) = self.base.entries.load(index).state()
            else {
                continue;
            };
            if self.runs.frame_range(id).is_none() {
                return Err(format!("I-ENTRY: index {index} says a frame that is gone"));
            }
            runs += 1;
            sums.objects += 1;
            sums.payload += (FRAME_BYTES - usize::from(short)) as u64;
            sums.frames += 1;
        }
        match self.runs.live().count() {
            live if live == runs => Ok(()),
            live => Err(format!("I-ENTRY: {live} frames of huge objects, {runs} have an entry")),
        }
    }

    fn audit_sums(&self, sums: &Sums) -> Result<(), String> {
        let (objects, payload) = self.base.counters.sums();
        let split = self.base.counters.split();
        if (sums.objects, sums.payload, sums.split) != (objects, payload, split) {
            return Err(format!(
                "I-COUNT: {sums:?}, {objects} objects of {payload} bytes counted, {split} split"
            ));
        }
        let allocated = self.base.arena.stats().allocated;
        if sums.frames != allocated {
            return Err(format!("I-COUNT: {sums:?}, {allocated} frames allocated"));
        }
        self.base.entries.check(objects)?;
        let (used, limit) = (self.base.memory.used(), self.base.memory.limit());
        if used > limit {
            return Err(format!("I-LIMIT: {used} frames charged of a limit of {limit}"));
        }
        Ok(())
    }
}
