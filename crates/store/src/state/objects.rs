//! Objects of the pool: stored, read, measured, freed. Those of trained codecs are counted (I-CODEC).

use pagefold_frame::ReserveAccess;

use super::{SpaceState, StoreState};
use crate::{
    encoder::{
        clusters::Clusters,
        decode::{Objects, ReadError, Wait},
        object::Object,
    },
    index::Taken,
    word::{CodecId, Entry, Part, Short},
};

impl StoreState {
    fn objects(&self) -> Objects<'_> {
        Objects { pool: &*self.pool, pool_id: self.pool_id }
    }

    #[inline]
    pub(crate) fn read(&self, entry: Entry, into: &mut [u8], wait: Wait) -> Result<(), ReadError> {
        self.encoder.read(&self.objects(), entry, into, wait)
    }

    /// From the base page in `into` to the page.
    pub(crate) fn read_delta(
        &self,
        at: Short,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        self.encoder.read_delta(&self.objects(), at, into, wait)
    }

    pub(crate) fn len(&self, entry: Entry, wait: Wait) -> Result<usize, ReadError> {
        match entry {
            Entry::Spilled { place, part: Part::Value } if wait == Wait::Allowed => {
                self.spilled_len(place).ok_or(ReadError::Stale)
            }
            entry => self.encoder.len(&self.objects(), entry, wait),
        }
    }

    /// `None` without room.
    #[inline]
    pub(crate) fn store(&self, object: Object<'_>, access: ReserveAccess) -> Option<Entry> {
        let stored = self.pool.store_within(object.bytes, access).ok()?;
        let entry = object.entry(Short(stored.to_short()));
        self.encoder.trained.note_in(entry);
        Some(entry)
    }

    pub(crate) fn free(&self, entry: Entry) {
        self.encoder.trained.note_out(entry);
        if let Some(at) = entry.handle() {
            let freed = self.pool.free(self.pool_id.handle(at.0));
            assert!(
                freed.is_ok(),
                "I-WORD: only the thread that takes a word out frees its object"
            );
        }
    }

    /// Frees what a word named, unless others of its cluster still name it.
    pub(crate) fn free_taken(&self, taken: Taken) {
        let entry = taken.word.entry();
        if !taken.is_last {
            return;
        }
        if let Entry::Spilled { place, .. } = entry {
            return self.release_spilled(place);
        }
        if let Entry::Member { .. } = entry {
            self.note_cluster_gone(entry);
        }
        self.free(entry);
    }

    #[cold]
    fn note_cluster_gone(&self, entry: Entry) {
        let len = self.object_len(entry);
        self.idle.note_freed(len);
        if let Some(trained) = self.encoder.clusters.as_ref().and_then(Clusters::trained)
            && let Some(id) = self.cluster_codec(entry)
        {
            trained.note_object_out(id, len as u64);
        }
    }

    /// The codec that made the cluster of a page.
    pub(crate) fn cluster_codec(&self, entry: Entry) -> Option<CodecId> {
        let mut id = None;
        let at = entry.handle()?;
        let read = self.pool.read(self.pool_id.handle(at.0), &mut |slices| {
            id = Clusters::id_of(slices);
        });
        read.ok().and(id)
    }

    /// As [`free_taken`](Self::free_taken), and subtracts from the counters.
    pub(crate) fn retire(&self, space: &SpaceState, taken: Taken) {
        let entry = taken.word.entry();
        space.note_gone(entry, self.original(entry));
        self.free_taken(taken);
    }

    /// 0 if the object is gone.
    pub(crate) fn object_len(&self, entry: Entry) -> usize {
        entry.handle().map_or(0, |at| self.pool.len(self.pool_id.handle(at.0)).unwrap_or(0))
    }

    /// Bytes of the page or value; 0 if damaged.
    pub(crate) fn original(&self, entry: Entry) -> usize {
        self.len(entry, Wait::Allowed).unwrap_or(0)
    }
}
