//! Index words for spilled objects, and the end of those.

use pagefold_spill::{Place, Released, Written};

use super::spilling::{Gathered, Gathering, Words};
use crate::{
    encoder::{clusters::Clusters, decode::SpilledForm},
    index::{Change, Taken},
    state::{SpaceState, StoreState},
    word::{CodecId, Entry, Part, Short, Word, page_len, value_len},
};

/// Objects whose words are exchanged in one operation: a fork waits for so many.
const TOGETHER: usize = 16;

impl StoreState {
    /// Exchanges the words of what was gathered, if they are what they were.
    pub(super) fn publish_spilled(&self, written: &Written<'_>, gathered: &Gathering) {
        let objects = &gathered.objects;
        for (first, together) in (0..).step_by(TOGETHER).zip(objects.chunks(TOGETHER)) {
            let Ok(_operation) = self.enter() else { break };
            // It changes at moments without operations only.
            let are_same = self.epoch() == gathered.epoch;
            // In the operation that exchanges the words, so that between operations each live object has some.
            written.keep_some(first..first + together.len());
            for (number, object) in (first..).zip(together) {
                let place = written.place(number);
                if !(are_same && self.exchange_for(object, place, true)) {
                    self.release_spilled_object(place);
                }
            }
        }
    }

    /// As [`publish_spilled`](Self::publish_spilled), for objects that lay at these places of the backing.
    pub(super) fn publish_moved(
        &self,
        written: &Written<'_>,
        objects: &[Gathered],
        places: &[Place],
    ) {
        for (number, (object, old)) in objects.iter().zip(places).enumerate() {
            let Ok(_operation) = self.enter() else { break };
            let place = written.keep(number);
            let moved = self.exchange_for(object, place, false);
            // Codecs count the object once.
            self.release_spilled_object(if moved { *old } else { place });
        }
    }

    /// Exchanges the words of an object for its place, all or none; with `frees` they named memory, which is free then.
    fn exchange_for(&self, object: &Gathered, place: Place, frees: bool) -> bool {
        let index = &object.space.index;
        let to_place = |change: &Change| Change { new: spilled_word(change.old, place), ..*change };
        match &object.words {
            Words::One(change) => {
                let change = to_place(change);
                let taken = index.replace(change.key, change.old, change.new);
                if let (Ok(taken), true) = (taken, frees) {
                    self.note_spilled(&object.space, change, taken);
                }
                taken.is_ok()
            }
            Words::Several(words) => {
                let changes: Vec<Change> = words.iter().map(to_place).collect();
                let taken = index.replace_all(&changes);
                if let (Some(taken), true) = (&taken, frees) {
                    for (change, taken) in changes.iter().zip(taken) {
                        self.note_spilled(&object.space, *change, *taken);
                    }
                }
                taken.is_some()
            }
        }
    }

    fn note_spilled(&self, space: &SpaceState, change: Change, taken: Taken) {
        let (new, old) = (change.new.entry(), change.old.entry());
        // The object in memory is there until it is freed below.
        let original = self.original(old);
        space.note_exchange(new, original, old, original);
        if let Some(spilling) = &self.spilling {
            spilling.counts.note_spilled();
        }
        space.count_shrunk(new.counted_bytes(), old.counted_bytes());
        // The object lives on in the backing, so its codec still counts it.
        if taken.is_last {
            self.free_spilled(old);
        }
    }

    /// Frees the memory of an object that is in the backing now.
    fn free_spilled(&self, entry: Entry) {
        if let Entry::Member { .. } = entry {
            self.idle.note_freed(self.object_len(entry));
        }
        if let Some(at) = entry.handle() {
            let freed = self.pool.free(self.pool_id.handle(at.0));
            assert!(
                freed.is_ok(),
                "I-WORD: only the thread that takes a word out frees its object"
            );
        }
    }

    /// No word names the object any more.
    pub(crate) fn release_spilled(&self, place: Place) {
        let Some(spilling) = &self.spilling else { return };
        let Some(Released { label, bytes, .. }) = spilling.spill.release(place) else { return };
        spilling.note_released();
        match SpilledForm::of(label) {
            SpilledForm::Raw
            | SpilledForm::Delta
            | SpilledForm::RawValue
            | SpilledForm::Value(_) => {}
            SpilledForm::Page(id) => self.encoder.trained.note_object_out(id, page_len(bytes)),
            SpilledForm::Cluster(id) => {
                if let Some(trained) = self.encoder.clusters.as_ref().and_then(Clusters::trained) {
                    trained.note_object_out(id, bytes as u64);
                }
            }
        }
    }

    /// The object stayed in memory, or at another place: no codec counts it for this one.
    pub(super) fn release_spilled_object(&self, place: Place) {
        if let Some(spilling) = &self.spilling {
            spilling.spill.release(place);
            spilling.note_released();
        }
    }
}

/// The entry of an object in memory; `None` for a cluster.
pub(super) fn counted_entry(form: SpilledForm, at: Short, len: usize) -> Option<Entry> {
    let value = |codec| Some(Entry::Value { at, codec, len: value_len(len) });
    match form {
        SpilledForm::Raw => Some(Entry::Raw(at)),
        SpilledForm::Page(codec) => Some(Entry::Page { at, codec, len: page_len(len) }),
        SpilledForm::Delta => Some(Entry::Delta { at, len: page_len(len) }),
        SpilledForm::RawValue => value(None),
        SpilledForm::Value(_) => value(Some(CodecId::FIRST)),
        SpilledForm::Cluster(_) => None,
    }
}

fn spilled_word(old: Word, place: Place) -> Word {
    let part = match old.entry() {
        Entry::Member { slot, .. } => Part::Member(slot),
        Entry::Spilled { part, .. } => part,
        Entry::Value { .. } => Part::Value,
        Entry::Delta { .. } => Part::Delta,
        _ => Part::Page,
    };
    Word::new(Entry::Spilled { place, part })
}
