//! Stats and validation.

use std::collections::HashMap;

use pagefold_frame::{DescriptorId, FRAME_BYTES};
use pagefold_sys::sync::Ordering;

use super::{
    Zsmalloc,
    groups::{group_of, listed},
    layout::is_split,
};
use crate::engine::{Audit, Location};

impl Zsmalloc {
    /// Lending is not counted.
    pub(super) fn reclaimable(&self) -> usize {
        let frames = |class: usize| self.spare(class) * self.class(class).frames as usize;
        (0..self.table.classes().len()).map(frames).sum::<usize>() * FRAME_BYTES
    }

    pub(super) fn audit_zspages(&self, audit: &mut Audit<'_>) -> Result<(), String> {
        let lists = self.audit_lists()?;
        let mut split = 0;
        let mut by_class = vec![(0, 0); self.table.classes().len()];
        let ids: Vec<DescriptorId> = self.zspages.live().map(|(id, _)| id).collect();
        for &id in &ids {
            let (class, live) = self.audit_zspage(id, &lists, audit, &mut split)?;
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
                    "I-COUNT: class {class} has {found:?} zspages and slots, {counted:?} counted"
                ));
            }
        }
        let counted = self.base.counters.split();
        if split != counted {
            return Err(format!("I-COUNT: {split} objects are split, {counted} counted"));
        }
        self.zspages.validate()
    }

    fn audit_lists(&self) -> Result<HashMap<DescriptorId, (usize, usize)>, String> {
        let mut lists = HashMap::new();
        self.groups.check(&self.zspages, &mut |id, class, group| match lists
            .insert(id, (class, group))
        {
            None => Ok(()),
            Some(_) => Err(format!("I-GROUP: zspage {} is listed twice", id.get())),
        })?;
        // ORDERING: Relaxed; the pool is quiescent.
        match self.victim.load(Ordering::Relaxed) {
            0 => Ok(lists),
            victim => Err(format!("I-GROUP: zspage {} is still being emptied", victim - 1)),
        }
    }

    fn audit_zspage(
        &self,
        id: DescriptorId,
        lists: &HashMap<DescriptorId, (usize, usize)>,
        audit: &mut Audit<'_>,
        split: &mut u64,
    ) -> Result<(usize, usize), String> {
        let number = id.get();
        let mut guard =
            self.zspages.try_write(id).map_err(|_| format!("zspage {number} is locked"))?;
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
            audit.entry_says(header.index, Location::Slot { id, slot })?;
            let len = usize::from(header.len);
            audit.object(len);
            *split += u64::from(is_split(shape.size, slot, len));
            at = slot + 1;
        }
        audit.frames(frames as usize);
        Ok((class, usize::from(body.live)))
    }
}
