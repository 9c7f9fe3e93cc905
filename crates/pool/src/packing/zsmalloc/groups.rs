//! Zspages by class and fullness. A class has ten *fullness groups*, by tenths of used slots. A full zspage is in none.
//!
//! # Invariants (I-GROUP)
//! - A zspage is linked and unlinked only under its write guard; `Body::listed` names its group.
//! - The words of a list are changed only under its class's lock.
//! - A zspage with room that is not locked is in the group of its use, except the victim of compaction.

use pagefold_frame::DescriptorId;
use pagefold_sys::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, Padded};

use super::{ZspageSlab, zspage::Body};

pub(super) const GROUPS: usize = 10;
const PREV: usize = 0;
const NEXT: usize = 1;

/// `None`: it is full.
pub(super) fn group_of(live: u16, objects: u32) -> Option<usize> {
    let live = u32::from(live);
    (live < objects).then(|| live as usize * GROUPS / objects as usize)
}

pub(super) fn listed(body: &Body) -> Option<usize> {
    usize::from(body.listed).checked_sub(1)
}

#[derive(Debug, Default)]
struct GroupHeads {
    heads: [u32; GROUPS],
}

impl GroupHeads {
    fn is_empty(&self) -> bool {
        self.heads == [0; GROUPS]
    }
}

#[derive(Debug, Default)]
struct Class {
    lists: Mutex<GroupHeads>,
    zspages: AtomicUsize,
    live: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Groups {
    classes: Box<[Padded<Class>]>,
    /// A bit for each class that has a listed zspage.
    with_room: Box<[AtomicU64]>,
}

fn link(word: u32) -> Option<DescriptorId> {
    word.checked_sub(1).map(DescriptorId::new)
}

// ORDERING (this file): Relaxed. The class's lock guards the links; without it, sums and bits are estimates.
impl Groups {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            classes: (0..classes).map(|_| Padded(Class::default())).collect(),
            with_room: (0..classes.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn fixed_bytes(&self) -> usize {
        size_of_val(&*self.classes) + size_of_val(&*self.with_room)
    }

    /// Under its write guard.
    pub(super) fn list(
        &self,
        slab: &ZspageSlab,
        id: DescriptorId,
        body: &mut Body,
        to: Option<usize>,
    ) {
        let from = listed(body);
        if from == to {
            return;
        }
        let number = body.class();
        let mut lists = self.classes[number].lists.lock();
        let was_empty = lists.is_empty();
        if let Some(group) = from {
            unlink(&mut lists, slab, id, group);
        }
        if let Some(group) = to {
            let head = std::mem::replace(&mut lists.heads[group], id.get() + 1);
            let words = slab.words(id);
            words[PREV].store(0, Ordering::Relaxed);
            words[NEXT].store(head, Ordering::Relaxed);
            if let Some(next) = link(head) {
                slab.words(next)[PREV].store(id.get() + 1, Ordering::Relaxed);
            }
        }
        let bit = 1 << (number % 64);
        match (was_empty, lists.is_empty()) {
            (true, false) => _ = self.with_room[number / 64].fetch_or(bit, Ordering::Relaxed),
            (false, true) => _ = self.with_room[number / 64].fetch_and(!bit, Ordering::Relaxed),
            _ => {}
        }
        drop(lists);
        body.listed = to.map_or(0, |group| u16::try_from(group + 1).expect("ten groups"));
    }

    /// Returns how many.
    pub(super) fn fullest(
        &self,
        slab: &ZspageSlab,
        class: usize,
        into: &mut [DescriptorId],
    ) -> usize {
        self.some(slab, class, &mut (0..GROUPS).rev(), into)
    }

    /// Returns how many.
    pub(super) fn emptiest(
        &self,
        slab: &ZspageSlab,
        class: usize,
        into: &mut [DescriptorId],
    ) -> usize {
        self.some(slab, class, &mut (0..GROUPS), into)
    }

    fn some(
        &self,
        slab: &ZspageSlab,
        class: usize,
        groups: &mut dyn Iterator<Item = usize>,
        into: &mut [DescriptorId],
    ) -> usize {
        let lists = self.classes[class].lists.lock();
        let mut count = 0;
        for group in groups {
            let mut at = link(lists.heads[group]);
            while let Some(id) = at.filter(|_| count < into.len()) {
                into[count] = id;
                count += 1;
                at = link(slab.words(id)[NEXT].load(Ordering::Relaxed));
            }
        }
        count
    }

    pub(super) fn next_with_room(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let load = |word: usize| Some(self.with_room.get(word)?.load(Ordering::Relaxed));
        let mut bits = load(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = load(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    pub(super) fn add_zspage(&self, class: usize) {
        self.classes[class].zspages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_zspage(&self, class: usize) {
        self.classes[class].zspages.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn add_live(&self, class: usize) {
        self.classes[class].live.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_live(&self, class: usize) {
        self.classes[class].live.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn sums(&self, class: usize) -> (usize, usize) {
        let class = &self.classes[class];
        (class.zspages.load(Ordering::Relaxed), class.live.load(Ordering::Relaxed))
    }

    pub(super) fn holes(&self, class: usize, objects: u32) -> usize {
        let (zspages, live) = self.sums(class);
        // Not read at one instant.
        (zspages * objects as usize).saturating_sub(live)
    }

    pub(super) fn in_use(&self) -> usize {
        let used = |class: &Padded<Class>| {
            class.lists.lock().heads.iter().filter(|head| **head != 0).count()
        };
        self.classes.iter().map(used).sum()
    }

    /// For a quiescent pool.
    pub(super) fn check(
        &self,
        slab: &ZspageSlab,
        f: &mut dyn FnMut(DescriptorId, usize, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        for (number, class) in self.classes.iter().enumerate() {
            let lists = class.lists.lock();
            let bit = self.with_room[number / 64].load(Ordering::Relaxed) >> (number % 64) & 1 == 1;
            if bit == lists.is_empty() {
                return Err(format!("I-GROUP: the bit of class {number} is wrong"));
            }
            for (group, &head) in lists.heads.iter().enumerate() {
                let (mut prev, mut at) = (0, head);
                while let Some(id) = link(at) {
                    let words = slab.words(id);
                    if words[PREV].load(Ordering::Relaxed) != prev {
                        return Err(format!("I-GROUP: zspage {} is linked wrongly", id.get()));
                    }
                    f(id, number, group)?;
                    (prev, at) = (at, words[NEXT].load(Ordering::Relaxed));
                }
            }
        }
        Ok(())
    }
}

fn unlink(lists: &mut GroupHeads, slab: &ZspageSlab, id: DescriptorId, group: usize) {
    let words = slab.words(id);
    let (prev, next) = (words[PREV].load(Ordering::Relaxed), words[NEXT].load(Ordering::Relaxed));
    if let Some(next) = link(next) {
        slab.words(next)[PREV].store(prev, Ordering::Relaxed);
    }
    match link(prev) {
        Some(prev) => slab.words(prev)[NEXT].store(next, Ordering::Relaxed),
        None => lists.heads[group] = next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_tenths_and_a_full_zspage_is_in_none() {
        for objects in [2_u16, 3, 5, 7, 10, 64, 256, 1024] {
            let mut last = 0;
            for live in 0..objects {
                let group = group_of(live, u32::from(objects)).expect("it has room");
                assert!(group < GROUPS && group >= last);
                assert!(usize::from(live) * GROUPS >= group * usize::from(objects));
                last = group;
            }
            assert_eq!(group_of(objects, u32::from(objects)), None);
        }
    }
}
