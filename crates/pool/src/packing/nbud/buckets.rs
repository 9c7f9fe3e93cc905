//! Spans by room, in buckets of 16 bytes (256 above a frame). Each set of buckets has a lock; a thread uses its own set
//! first.
//!
//! # Invariants (I-BUCKET)
//! - A span is linked and unlinked only under its write guard; `SpanBody::listed` names its list.
//! - The words of a list are changed only under its set's lock.

use pagefold_frame::DescriptorId;
use pagefold_sys::sync::{self, AtomicUsize, Mutex, Ordering, Padded};

use super::{SpanSlab, span::SpanBody};

/// Bytes of room of a bucket: up to a frame of room, and above.
const FINE: usize = 16;
const COARSE: usize = 256;
const FINE_ROOM: usize = 4096;
const FINE_BUCKETS: usize = FINE_ROOM / FINE;

fn bucket_of(room: usize) -> usize {
    match room.checked_sub(FINE_ROOM) {
        None => room / FINE,
        Some(above) => FINE_BUCKETS + above / COARSE,
    }
}

fn least_room(bucket: usize) -> usize {
    match bucket.checked_sub(FINE_BUCKETS) {
        None => bucket * FINE,
        Some(above) => FINE_ROOM + above * COARSE,
    }
}

fn bucket_from(room: usize) -> usize {
    let bucket = bucket_of(room);
    if least_room(bucket) < room { bucket + 1 } else { bucket }
}

pub(crate) const PREV: usize = 0;
pub(crate) const NEXT: usize = 1;

/// Three bits of [`SpanBody::listed`].
pub(crate) const SETS_MAX: usize = 8;
const BUCKET_BITS: u32 = 11;
/// In [`SpanBody::listed`]: a shard may have it open.
const OPENED: u16 = 1 << 15;

/// [`SpanBody::listed`] has bucket + 1 in bits 0..11, the set in 11..14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// A shard appends to it, or a thread took it off.
    No,
    /// In this list.
    In { set: usize, bucket: usize },
}

impl Listed {
    pub(crate) fn of(body: &SpanBody) -> Self {
        let word = usize::from(body.listed & !OPENED);
        match (word & ((1 << BUCKET_BITS) - 1)).checked_sub(1) {
            Some(bucket) => Self::In { set: word >> BUCKET_BITS, bucket },
            None => Self::No,
        }
    }

    fn put(self, body: &mut SpanBody) {
        let word = match self {
            Self::No => 0,
            Self::In { set, bucket } => set << BUCKET_BITS | (bucket + 1),
        };
        body.listed = body.listed & OPENED | u16::try_from(word).expect("14 bits");
    }

    pub(crate) fn suits(self, room: usize) -> bool {
        match self {
            Self::No => true,
            Self::In { bucket, .. } => bucket == bucket_of(room),
        }
    }
}

/// A hint: an open span without it is also listed.
pub(crate) fn may_be_open(body: &SpanBody) -> bool {
    body.listed & OPENED != 0
}

pub(crate) fn set_may_be_open(body: &mut SpanBody, open: bool) {
    body.listed = if open { body.listed | OPENED } else { body.listed & !OPENED };
}

#[derive(Debug)]
struct Set {
    /// Id + 1 of the first span; 0 for none.
    heads: Box<[u32]>,
    full: Box<[u64]>,
}

impl Set {
    fn first_from(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.full.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.full.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    fn last_below(&self, below: usize) -> Option<usize> {
        let mut word = below / 64;
        let mut bits = self.full.get(word).map_or(0, |bits| bits & !(u64::MAX << (below % 64)));
        while bits == 0 {
            word = word.checked_sub(1)?;
            bits = self.full[word];
        }
        Some(word * 64 + 63 - bits.leading_zeros() as usize)
    }
}

/// With the sum of its spans' least rooms, in bytes.
#[derive(Debug)]
struct Locked {
    set: Mutex<Set>,
    room: AtomicUsize,
}

#[derive(Debug)]
pub(crate) struct Buckets {
    sets: Box<[Padded<Locked>]>,
}

// ORDERING (this file): Relaxed. Links are used under their set's lock; without it, rooms are estimates.
impl Set {
    fn link(&mut self, slab: &SpanSlab, id: DescriptorId, bucket: usize) {
        let head = std::mem::replace(&mut self.heads[bucket], id.get() + 1);
        let words = slab.words(id);
        words[PREV].store(0, Ordering::Relaxed);
        words[NEXT].store(head, Ordering::Relaxed);
        if let Some(next) = link(head) {
            slab.words(next)[PREV].store(id.get() + 1, Ordering::Relaxed);
        }
        self.full[bucket / 64] |= 1 << (bucket % 64);
    }

    fn unlink(&mut self, slab: &SpanSlab, id: DescriptorId, bucket: usize) {
        let words = slab.words(id);
        let (prev, next) =
            (words[PREV].load(Ordering::Relaxed), words[NEXT].load(Ordering::Relaxed));
        if let Some(next) = link(next) {
            slab.words(next)[PREV].store(prev, Ordering::Relaxed);
        }
        match link(prev) {
            Some(prev) => slab.words(prev)[NEXT].store(next, Ordering::Relaxed),
            None => {
                self.heads[bucket] = next;
                if next == 0 {
                    self.full[bucket / 64] &= !(1 << (bucket % 64));
                }
            }
        }
    }
}

impl Buckets {
    pub(crate) fn new(sets: usize, span_bytes: usize) -> Self {
        let buckets = bucket_of(span_bytes) + 1;
        let set = || Locked {
            set: Mutex::new(Set {
                heads: vec![0; buckets].into(),
                full: vec![0; buckets.div_ceil(64)].into(),
            }),
            room: AtomicUsize::new(0),
        };
        Self { sets: (0..sets.clamp(1, SETS_MAX)).map(|_| Padded(set())).collect() }
    }

    pub(crate) fn fixed_bytes(&self) -> usize {
        let set = self.sets[0].set.lock();
        self.sets.len()
            * (size_of::<Padded<Locked>>() + size_of_val(&*set.heads) + size_of_val(&*set.full))
    }

    pub(crate) fn sets(&self) -> usize {
        self.sets.len()
    }

    pub(crate) fn holes(&self) -> usize {
        self.sets.iter().map(|locked| locked.room.load(Ordering::Relaxed)).sum()
    }

    /// Under the span's write guard.
    pub(crate) fn list(&self, slab: &SpanSlab, id: DescriptorId, body: &mut SpanBody, room: usize) {
        let own = sync::shard_hint() % self.sets.len();
        let to = bucket_of(room);
        let from = match Listed::of(body) {
            Listed::In { bucket, .. } if bucket == to => return,
            Listed::In { set, bucket } if set == own => Some(bucket),
            _ => {
                self.unlist(slab, id, body);
                None
            }
        };
        let locked = &self.sets[own];
        let mut set = locked.set.lock();
        let mut left = locked.room.load(Ordering::Relaxed) + least_room(to);
        if let Some(from) = from {
            set.unlink(slab, id, from);
            left -= least_room(from);
        }
        set.link(slab, id, to);
        locked.room.store(left, Ordering::Relaxed);
        drop(set);
        Listed::In { set: own, bucket: to }.put(body);
    }

    /// Under its write guard.
    pub(crate) fn unlist(&self, slab: &SpanSlab, id: DescriptorId, body: &mut SpanBody) {
        let Listed::In { set: number, bucket } = Listed::of(body) else { return };
        let locked = &self.sets[number];
        let mut set = locked.set.lock();
        set.unlink(slab, id, bucket);
        locked
            .room
            .store(locked.room.load(Ordering::Relaxed) - least_room(bucket), Ordering::Relaxed);
        drop(set);
        Listed::No.put(body);
    }

    /// Some spans that had room a moment ago, tightest first; returns how many.
    pub(crate) fn tightest(
        &self,
        slab: &SpanSlab,
        set: usize,
        len: usize,
        into: &mut [DescriptorId],
    ) -> usize {
        let set = self.sets[set % self.sets.len()].set.lock();
        let (mut count, mut bucket) = (0, bucket_from(len));
        while count < into.len() {
            let Some(found) = set.first_from(bucket) else { break };
            let mut at = link(set.heads[found]);
            while let Some(id) = at.filter(|_| count < into.len()) {
                into[count] = id;
                count += 1;
                at = link(slab.words(id)[NEXT].load(Ordering::Relaxed));
            }
            bucket = found + 1;
        }
        count
    }

    /// Emptiest first.
    pub(crate) fn emptiest(&self, slab: &SpanSlab, least: usize) -> Vec<DescriptorId> {
        let mut below = self.sets[0].set.lock().heads.len();
        let mut found = Vec::new();
        while found.len() < least {
            let last =
                self.sets.iter().filter_map(|locked| locked.set.lock().last_below(below)).max();
            let Some(bucket) = last else { break };
            for locked in &self.sets {
                let set = locked.set.lock();
                let mut at = link(set.heads[bucket]);
                while let Some(id) = at.filter(|_| found.len() < 2 * least) {
                    found.push(id);
                    at = link(slab.words(id)[NEXT].load(Ordering::Relaxed));
                }
            }
            below = bucket;
        }
        found
    }

    pub(crate) fn in_use(&self) -> usize {
        let used =
            |set: &Set| set.full.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        self.sets.iter().map(|locked| used(&locked.set.lock())).sum()
    }

    /// For a quiescent pool.
    pub(crate) fn check(
        &self,
        slab: &SpanSlab,
        f: &mut dyn FnMut(DescriptorId, Listed) -> Result<(), String>,
    ) -> Result<(), String> {
        for (number, locked) in self.sets.iter().enumerate() {
            let set = locked.set.lock();
            let mut room = 0;
            for (bucket, &head) in set.heads.iter().enumerate() {
                if (head != 0) != (set.full[bucket / 64] >> (bucket % 64) & 1 == 1) {
                    return Err(format!(
                        "I-BUCKET: the bit of bucket {bucket} in set {number} is wrong"
                    ));
                }
                let (mut prev, mut at) = (0, head);
                while let Some(id) = link(at) {
                    let words = slab.words(id);
                    if words[PREV].load(Ordering::Relaxed) != prev {
                        return Err(format!(
                            "I-BUCKET: span {} is linked wrongly in bucket {bucket}",
                            id.get()
                        ));
                    }
                    f(id, Listed::In { set: number, bucket })?;
                    room += least_room(bucket);
                    (prev, at) = (at, words[NEXT].load(Ordering::Relaxed));
                }
            }
            let counted = locked.room.load(Ordering::Relaxed);
            if counted != room {
                return Err(format!(
                    "I-BUCKET: set {number} has {room} bytes of room, {counted} counted"
                ));
            }
        }
        Ok(())
    }
}

fn link(word: u32) -> Option<DescriptorId> {
    word.checked_sub(1).map(DescriptorId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_all_spans_of_the_first_one_fit() {
        for room in 0..70_000 {
            let bucket = bucket_of(room);
            assert!(least_room(bucket) <= room && room < least_room(bucket + 1), "room {room}");
            assert!(least_room(bucket_from(room)) >= room, "room {room}");
            assert!(bucket_from(room) <= bucket + 1, "room {room}");
        }
    }
}
