//! Spans by the room they have: the tightest one that fits, and the emptiest, in a few loads.
//!
//! A span hangs in a bucket of its set by its room, in steps of 16 bytes (64 above a frame of room), a doubly linked list through two words of its descriptor;
//! a bit for each bucket says whether it is empty. There are several sets, each under a lock of its own, and a
//! span's id says which is its: so threads seldom meet.
//!
//! # Invariants (I-BUCKET)
//! - A span is linked and unlinked only by whoever holds it for writing; `SpanBody::listed` says where it is.
//! - The words of a list are changed only under its set's lock.

use pagefold_frame::DescriptorId;
use pagefold_sys::sync::{AtomicUsize, Mutex, Ordering};

use super::{SpanSlab, span::SpanBody};

/// Bytes of room that one bucket spans: up to a frame of room, where objects are matched to holes, and above.
const FINE: usize = 16;
const COARSE: usize = 64;
const FINE_ROOM: usize = 4096;
const FINE_BUCKETS: usize = FINE_ROOM / FINE;

/// The bucket of spans with this room.
fn bucket_of(room: usize) -> usize {
    match room.checked_sub(FINE_ROOM) {
        None => room / FINE,
        Some(above) => FINE_BUCKETS + above / COARSE,
    }
}

/// The least room of the spans in a bucket.
fn least_room(bucket: usize) -> usize {
    match bucket.checked_sub(FINE_BUCKETS) {
        None => bucket * FINE,
        Some(above) => FINE_ROOM + above * COARSE,
    }
}

/// The first bucket all of whose spans have this room.
fn bucket_from(room: usize) -> usize {
    let bucket = bucket_of(room);
    if least_room(bucket) < room { bucket + 1 } else { bucket }
}

/// Words of a span's descriptor that need no hold.
pub(crate) const PREV: usize = 0;
pub(crate) const NEXT: usize = 1;

/// Where a span is listed, as [`SpanBody::listed`] says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// Nowhere: a shard appends to it, or it is in somebody's hands.
    No,
    /// In this bucket.
    Bucket(u16),
}

impl Listed {
    pub(crate) fn of(body: &SpanBody) -> Self {
        body.listed.checked_sub(1).map_or(Self::No, Self::Bucket)
    }

    /// The bucket of spans with this room.
    pub(crate) fn for_room(room: usize) -> Self {
        Self::Bucket(u16::try_from(bucket_of(room)).expect("fewer buckets than 2^16"))
    }

    pub(crate) fn word(self) -> u16 {
        match self {
            Self::No => 0,
            Self::Bucket(bucket) => bucket + 1,
        }
    }
}

/// One set of buckets.
#[derive(Debug)]
struct Set {
    /// Id + 1 of the first span of each bucket; 0 for none.
    heads: Box<[u32]>,
    /// A bit for each bucket that is not empty.
    full: Box<[u64]>,
}

impl Set {
    /// The first bucket that is not empty, from `from` on.
    fn first_from(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.full.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.full.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// The last bucket that is not empty, below `below`.
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

/// All sets of a pool.
#[derive(Debug)]
pub(crate) struct Buckets {
    sets: Box<[Mutex<Set>]>,
    /// The least room of all listed spans, by their buckets, in bytes.
    holes: AtomicUsize,
}

// ORDERING (this file): Relaxed. Links are read and written under their set's lock; `holes` is an estimate.
impl Buckets {
    /// Empty sets for spans of `span_bytes`.
    pub(crate) fn new(sets: usize, span_bytes: usize) -> Self {
        let buckets = bucket_of(span_bytes) + 1;
        let set = || {
            Mutex::new(Set {
                heads: vec![0; buckets].into(),
                full: vec![0; buckets.div_ceil(64)].into(),
            })
        };
        Self { sets: (0..sets).map(|_| set()).collect(), holes: AtomicUsize::new(0) }
    }

    /// Bytes that lie outside of the source.
    pub(crate) fn fixed_bytes(&self) -> usize {
        let set = self.sets[0].lock();
        self.sets.len()
            * (size_of::<Mutex<Set>>() + size_of_val(&*set.heads) + size_of_val(&*set.full))
    }

    pub(crate) fn sets(&self) -> usize {
        self.sets.len()
    }

    /// Bytes of room in listed spans.
    pub(crate) fn holes(&self) -> usize {
        self.holes.load(Ordering::Relaxed)
    }

    fn set_of(&self, id: DescriptorId) -> &Mutex<Set> {
        &self.sets[id.get() as usize % self.sets.len()]
    }

    /// Lists a span by its room, or moves it to another bucket. The caller holds it for writing.
    pub(crate) fn list(&self, slab: &SpanSlab, id: DescriptorId, body: &mut SpanBody, room: usize) {
        let listed = Listed::for_room(room);
        let Listed::Bucket(bucket) = listed else { unreachable!("every room has a bucket") };
        if Listed::of(body) == listed {
            return;
        }
        self.unlist(slab, id, body);
        let mut set = self.set_of(id).lock();
        let head = std::mem::replace(&mut set.heads[usize::from(bucket)], id.get() + 1);
        let words = slab.words(id);
        words[PREV].store(0, Ordering::Relaxed);
        words[NEXT].store(head, Ordering::Relaxed);
        if let Some(next) = link(head) {
            slab.words(next)[PREV].store(id.get() + 1, Ordering::Relaxed);
        }
        set.full[usize::from(bucket) / 64] |= 1 << (bucket % 64);
        drop(set);
        self.holes.fetch_add(least_room(usize::from(bucket)), Ordering::Relaxed);
        body.listed = listed.word();
    }

    /// Takes a span off its list, if it is on one. The caller holds it for writing.
    pub(crate) fn unlist(&self, slab: &SpanSlab, id: DescriptorId, body: &mut SpanBody) {
        let Listed::Bucket(bucket) = Listed::of(body) else { return };
        let mut set = self.set_of(id).lock();
        let words = slab.words(id);
        let (prev, next) =
            (words[PREV].load(Ordering::Relaxed), words[NEXT].load(Ordering::Relaxed));
        if let Some(next) = link(next) {
            slab.words(next)[PREV].store(prev, Ordering::Relaxed);
        }
        match link(prev) {
            Some(prev) => slab.words(prev)[NEXT].store(next, Ordering::Relaxed),
            None => {
                set.heads[usize::from(bucket)] = next;
                if next == 0 {
                    set.full[usize::from(bucket) / 64] &= !(1 << (bucket % 64));
                }
            }
        }
        drop(set);
        self.holes.fetch_sub(least_room(usize::from(bucket)), Ordering::Relaxed);
        body.listed = Listed::No.word();
    }

    /// Some spans of a set that had room for `len` bytes a moment ago, the tightest first; returns how many.
    pub(crate) fn tightest(
        &self,
        slab: &SpanSlab,
        set: usize,
        len: usize,
        into: &mut [DescriptorId],
    ) -> usize {
        let set = self.sets[set % self.sets.len()].lock();
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

    /// The emptiest spans of all sets, one bucket or more, the emptiest first; at least `least` if there are.
    pub(crate) fn emptiest(&self, slab: &SpanSlab, least: usize) -> Vec<DescriptorId> {
        let mut below = self.sets[0].lock().heads.len();
        let mut found = Vec::new();
        while found.len() < least {
            let last = self.sets.iter().filter_map(|set| set.lock().last_below(below)).max();
            let Some(bucket) = last else { break };
            for set in &self.sets {
                let set = set.lock();
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

    /// Buckets in use, over all sets.
    pub(crate) fn in_use(&self) -> usize {
        self.sets
            .iter()
            .map(|set| set.lock().full.iter().map(|word| word.count_ones() as usize).sum::<usize>())
            .sum()
    }

    /// Checks every list; calls `f` for each span with its bucket. For a quiet pool.
    pub(crate) fn check(
        &self,
        slab: &SpanSlab,
        f: &mut dyn FnMut(DescriptorId, u16) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut room = 0;
        for (number, set) in self.sets.iter().enumerate() {
            let set = set.lock();
            for (bucket, &head) in set.heads.iter().enumerate() {
                if (head != 0) != (set.full[bucket / 64] >> (bucket % 64) & 1 == 1) {
                    return Err(format!(
                        "I-BUCKET: the bit of bucket {bucket} in set {number} is wrong"
                    ));
                }
                let (mut prev, mut at) = (0, head);
                while let Some(id) = link(at) {
                    let words = slab.words(id);
                    if words[PREV].load(Ordering::Relaxed) != prev
                        || id.get() as usize % self.sets.len() != number
                    {
                        return Err(format!(
                            "I-BUCKET: span {} is linked wrongly in bucket {bucket}",
                            id.get()
                        ));
                    }
                    f(id, u16::try_from(bucket).expect("fewer buckets than 2^16"))?;
                    room += least_room(bucket);
                    (prev, at) = (at, words[NEXT].load(Ordering::Relaxed));
                }
            }
        }
        match self.holes.load(Ordering::Relaxed) {
            holes if holes == room => Ok(()),
            holes => Err(format!("I-BUCKET: {room} bytes of room are listed, {holes} counted")),
        }
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
