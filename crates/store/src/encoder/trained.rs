//! The codecs that the store trained, by id from 2. Id 1 is the base codec, which is a field of the encoder and stays.
//!
//! # Invariants (I-CODEC)
//! - A page's word names codec 1, or one in this table.
//! - An id gets a codec while no word names it and it is not current, and becomes current afterwards.
//! - A codec is taken out only at a moment without operations, when it is not current and no object names it.
//! - At such a moment the counts of an id are those of the objects that words name with it.
//!
//! So an operation that found an id in a word, or as the current one, finds its codec until it ends. Slots are sharded,
//! because readers count themselves in. They only try: a writer is at a slot when no operation reads it.

use std::sync::Arc;

use pagefold_codec::{Codec, checked_metadata_bytes_max};
use pagefold_sys::sync::{self, AtomicU32, AtomicU64, Ordering, Padded, RwLock, RwLockReadGuard};

use super::decode::{ReadError, Wait};
use crate::{
    spin::look_again,
    word::{CodecId, Entry},
};

/// Ids of the table.
pub(crate) const TRAINED_MAX: usize = if cfg!(loom) { 2 } else { 14 };
const FIRST_ID: u8 = 2;

type Own = Option<Arc<dyn Codec>>;

/// See the module.
pub(crate) struct Trained {
    /// The id that new pages get.
    current: AtomicU32,
    /// A bit for each id that has a codec.
    alive: AtomicU32,
    /// Empty if the store does not train.
    shards: Box<[Padded<Shard>]>,
}

struct Shard {
    slots: [Slot; TRAINED_MAX],
}

struct Slot {
    codec: RwLock<Own>,
    /// Objects of this id, of which only sums over shards mean anything, and their bytes as words count them.
    objects: AtomicU64,
    bytes: AtomicU64,
}

/// A codec that stays while this lives.
pub(crate) struct InUse<'a>(RwLockReadGuard<'a, Own>);

impl InUse<'_> {
    pub(crate) fn codec(&self) -> &dyn Codec {
        self.0.as_deref().expect("looked at when it was made")
    }
}

/// Why there is no codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// A thread changes the slot.
    Locked,
    /// The id has none.
    None,
}

/// The objects of an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

/// By id; see [`Trained::audit`].
pub(crate) type Tallies = [Tally; 16];

impl Trained {
    /// Without a slot unless `is_on`.
    pub(crate) fn new(is_on: bool) -> Self {
        let slot = || Slot {
            codec: RwLock::new(None),
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        let shards = if is_on { pagefold_frame::shard_count() } else { 0 };
        Self {
            current: AtomicU32::new(u32::from(CodecId::FIRST.0)),
            alive: AtomicU32::new(0),
            shards: (0..shards)
                .map(|_| Padded(Shard { slots: std::array::from_fn(|_| slot()) }))
                .collect(),
        }
    }

    pub(crate) fn fixed_bytes(&self) -> usize {
        size_of_val(&*self.shards)
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.shards.is_empty()
    }

    fn slot(&self, id: CodecId) -> Option<&Slot> {
        let shard = self.shards.get(sync::shard_hint() % self.shards.len().max(1))?;
        shard.slots.get(usize::from(id.0).checked_sub(usize::from(FIRST_ID))?)
    }

    fn slots(&self, id: CodecId) -> impl Iterator<Item = &Slot> {
        let at = usize::from(id.0 - FIRST_ID);
        self.shards.iter().map(move |shard| &shard.slots[at])
    }

    fn ids(&self) -> impl Iterator<Item = CodecId> + use<> {
        (FIRST_ID..).take(TRAINED_MAX).map(CodecId)
    }

    /// The id that new pages get. Inside an operation.
    #[inline]
    pub(crate) fn current(&self) -> CodecId {
        // ORDERING: Acquire; pairs with the Release in `make_current`: the slots are filled.
        let id = self.current.load(Ordering::Acquire);
        CodecId(u8::try_from(id).expect("at most 15"))
    }

    /// The codec of an id that a word names, or that is current. Never waits.
    pub(crate) fn try_use(&self, id: CodecId) -> Result<InUse<'_>, Missing> {
        let slot = self.slot(id).ok_or(Missing::None)?;
        let codec = slot.codec.try_read().ok_or(Missing::Locked)?;
        if codec.is_some() { Ok(InUse(codec)) } else { Err(Missing::None) }
    }

    /// Calls `f` with the codec of an id, which must be that of an object, or the current one (I-CODEC). `base` has id 1.
    #[inline]
    pub(crate) fn with_codec<R>(
        &self,
        base: &dyn Codec,
        id: CodecId,
        wait: Wait,
        f: impl FnOnce(&dyn Codec) -> R,
    ) -> Result<R, ReadError> {
        let in_use;
        let codec = if id == CodecId::FIRST {
            base
        } else {
            in_use = self.use_codec(id, wait)?;
            in_use.codec()
        };
        Ok(f(codec))
    }

    fn use_codec(&self, id: CodecId, wait: Wait) -> Result<InUse<'_>, ReadError> {
        loop {
            match self.try_use(id) {
                Ok(codec) => return Ok(codec),
                Err(Missing::None) => return Err(ReadError::Corrupt),
                Err(Missing::Locked) if wait == Wait::Never => return Err(ReadError::WouldBlock),
                Err(Missing::Locked) => look_again(),
            }
        }
    }

    /// As [`try_use`](Self::try_use), to keep beyond the operation.
    pub(crate) fn get(&self, id: CodecId) -> Option<Arc<dyn Codec>> {
        self.slot(id)?.codec.try_read()?.clone()
    }

    fn codecs(&self) -> impl Iterator<Item = Arc<dyn Codec>> {
        self.alive().filter_map(|id| self.get(id))
    }

    /// Frees what only encoding needs, until the next page comes. Inside an operation.
    pub(crate) fn rest(&self) {
        self.codecs().for_each(|codec| codec.release_contexts());
    }

    /// Charged bytes not resident, of codecs for inputs of `len` bytes.
    pub(crate) fn reserved_bytes(&self, len: usize) -> usize {
        let of = |codec: Arc<dyn Codec>| {
            let most = checked_metadata_bytes_max(&*codec, len)?;
            most.checked_sub(codec.metadata_bytes())
        };
        self.codecs().filter_map(of).sum()
    }

    fn is_alive(&self, id: CodecId) -> bool {
        // ORDERING: Relaxed; only the thread with the turn of training, or one without operations beside it, acts on it.
        self.alive.load(Ordering::Relaxed) & 1 << id.0 != 0
    }

    /// Those with a codec.
    pub(crate) fn alive(&self) -> impl Iterator<Item = CodecId> {
        self.ids().filter(|&id| self.is_alive(id))
    }

    /// One without a codec.
    pub(crate) fn free_id(&self) -> Option<CodecId> {
        self.ids().find(|&id| !self.is_alive(id)).filter(|_| !self.shards.is_empty())
    }

    /// Gives a free id its codec. Only the thread with the turn of training.
    pub(crate) fn fill(&self, id: CodecId, codec: &Arc<dyn Codec>) {
        for slot in self.slots(id) {
            let old = slot.codec.replace(Some(Arc::clone(codec)));
            debug_assert!(old.is_none(), "I-CODEC: the id was free");
        }
        // ORDERING: Relaxed; see `is_alive`.
        self.alive.fetch_or(1 << id.0, Ordering::Relaxed);
    }

    /// Encodes new pages by this id from now on. Only the thread with the turn of training.
    pub(crate) fn make_current(&self, id: CodecId) {
        // ORDERING: Release; pairs with the Acquire in `current`.
        self.current.store(u32::from(id.0), Ordering::Release);
    }

    // ORDERING of the counts: Relaxed. The gate orders them where they are exact; elsewhere they are a hint.

    /// Counts an object that was stored.
    #[inline]
    pub(crate) fn note_in(&self, entry: Entry) {
        if let Entry::Page { codec, len, .. } = entry {
            self.note_object_in(codec, len);
        }
    }

    #[inline]
    pub(crate) fn note_object_in(&self, id: CodecId, len: u64) {
        if id != CodecId::FIRST
            && let Some(slot) = self.slot(id)
        {
            slot.objects.fetch_add(1, Ordering::Relaxed);
            slot.bytes.fetch_add(len, Ordering::Relaxed);
        }
    }

    /// Counts an object that was freed.
    #[inline]
    pub(crate) fn note_out(&self, entry: Entry) {
        if let Entry::Page { codec, len, .. } = entry {
            self.note_object_out(codec, len);
        }
    }

    #[inline]
    pub(crate) fn note_object_out(&self, id: CodecId, len: u64) {
        if id != CodecId::FIRST
            && let Some(slot) = self.slot(id)
        {
            slot.objects.fetch_sub(1, Ordering::Relaxed);
            slot.bytes.fetch_sub(len, Ordering::Relaxed);
        }
    }

    /// Exact at a moment without operations.
    pub(crate) fn tally(&self, id: CodecId) -> Tally {
        let sum = |of: fn(&Slot) -> &AtomicU64| {
            let load = |slot| of(slot).load(Ordering::Relaxed);
            let sum = self.slots(id).map(load).fold(0_u64, u64::wrapping_add);
            // Parts are read at different instants.
            u64::try_from(sum.cast_signed()).unwrap_or(0)
        };
        Tally { objects: sum(|slot| &slot.objects), bytes: sum(|slot| &slot.bytes) }
    }

    /// Ids that may be retired; a hint beside operations.
    pub(crate) fn idle(&self) -> impl Iterator<Item = CodecId> {
        let current = self.current();
        self.alive().filter(move |&id| id != current && self.tally(id).objects == 0)
    }

    /// Takes the codec of an idle id out. No operation may be under way. The caller drops what it returns afterwards.
    pub(crate) fn clear(&self, id: CodecId) -> Vec<Arc<dyn Codec>> {
        // ORDERING: Relaxed; see `is_alive`.
        self.alive.fetch_and(!(1 << id.0), Ordering::Relaxed);
        self.slots(id).filter_map(|slot| slot.codec.replace(None)).collect()
    }

    /// Compares the counts with what the indices name. No operation may be under way.
    pub(crate) fn audit(&self, found: &Tallies) -> Result<(), String> {
        let current = self.current();
        if current != CodecId::FIRST && !self.is_alive(current) {
            return Err(format!("I-CODEC: the current codec {} is not there", current.0));
        }
        for id in self.ids() {
            let (counted, found) = (self.tally(id), found[usize::from(id.0)]);
            if counted != found {
                return Err(format!(
                    "I-CODEC: {counted:?} is counted for codec {}, and the indices name {found:?}",
                    id.0
                ));
            }
            let codec = self.get(id);
            if codec.is_some() != self.is_alive(id) && !self.shards.is_empty() {
                return Err(format!("I-CODEC: the slot of codec {} is not as it is known", id.0));
            }
            if codec.is_none() && found.objects > 0 {
                return Err(format!("I-CODEC: words name codec {}, which is not there", id.0));
            }
            if codec.is_some_and(|codec| !codec.is_intact()) {
                return Err(format!("I-CODEC: the dictionary of codec {} was changed", id.0));
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use pagefold_codec::Raw;

    use super::*;
    use crate::word::Short;

    fn page(codec: CodecId) -> Entry {
        Entry::Page { at: Short(7), codec, len: 32 }
    }

    #[test]
    fn an_id_is_free_filled_current_idle_and_free_again() {
        let trained = Trained::new(true);
        let codec: Arc<dyn Codec> = Arc::new(Raw);
        assert_eq!((trained.current(), trained.alive().count()), (CodecId::FIRST, 0));
        assert_eq!(trained.try_use(CodecId(2)).err(), Some(Missing::None));
        let ids: Vec<CodecId> = (0..TRAINED_MAX)
            .map(|_| {
                let id = trained.free_id().expect("fourteen");
                trained.fill(id, &codec);
                id
            })
            .collect();
        assert_eq!((ids[0], ids[TRAINED_MAX - 1]), (CodecId(2), CodecId(15)));
        assert_eq!(trained.free_id(), None);
        trained.make_current(ids[3]);
        trained.note_in(page(ids[5]));
        let idle: Vec<CodecId> = trained.idle().collect();
        assert_eq!(idle.len(), TRAINED_MAX - 2, "neither the current one nor one with an object");
        assert!(!idle.contains(&ids[3]) && !idle.contains(&ids[5]));

        trained.note_out(page(ids[5]));
        assert!(trained.try_use(ids[5]).is_ok());
        let out = trained.clear(ids[5]);
        assert_eq!(out.len(), pagefold_frame::shard_count());
        assert_eq!(trained.try_use(ids[5]).err(), Some(Missing::None));
        assert_eq!(trained.free_id(), Some(ids[5]));
    }

    #[test]
    fn an_audit_finds_a_count_that_is_wrong_and_a_codec_that_is_missing() {
        let trained = Trained::new(true);
        trained.audit(&Tallies::default()).expect("nothing is there");
        trained.note_in(page(CodecId(4)));
        let mut found = Tallies::default();
        assert!(trained.audit(&found).is_err(), "the indices name none");
        found[4] = Tally { objects: 1, bytes: 32 };
        let error = trained.audit(&found).expect_err("no codec");
        assert!(error.contains("not there"), "{error}");
        let codec: Arc<dyn Codec> = Arc::new(Raw);
        trained.fill(CodecId(4), &codec);
        trained.audit(&found).expect("as it is");
        trained.make_current(CodecId(9));
        assert!(trained.audit(&found).is_err(), "the current one has no codec");
    }

    #[test]
    fn a_store_that_does_not_train_has_no_slot() {
        let trained = Trained::new(false);
        assert_eq!((trained.fixed_bytes(), trained.free_id()), (0, None));
        assert_eq!(trained.try_use(CodecId(2)).err(), Some(Missing::None));
        trained.audit(&Tallies::default()).expect("nothing is there");
    }
}
