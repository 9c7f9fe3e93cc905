//! Pages into clusters, and out of them. Each exchange of index words is all or nothing; what a call put, removed or
//! overwrote meanwhile stays as the call left it.

use pagefold_frame::ReserveAccess;

use crate::{
    encoder::{
        clusters::{CLUSTER_BYTES, Making, NoCluster},
        decode::{ReadError, Wait},
        object::Object,
    },
    idle::{Job, Outcome, PageAt},
    index::{Change, Taken},
    page::PAGE_BYTES,
    state::{SpaceState, StoreState, caught::caught},
    training::Sample,
    word::{CLUSTER_PAGES, CodecId, Entry, Short, Word, member_len},
};

/// A cluster saves at least one in so many bytes of what its pages take alone: its reads cost more.
const SAVED_AT_LEAST_ONE_IN: usize = 32;

impl StoreState {
    pub(super) fn do_job(&self, space: &SpaceState, job: &Job) -> Outcome {
        let (outcome, pages): (_, &[PageAt]) = match job {
            Job::Join(pages) => (self.join(space, pages), pages),
            Job::Split(pages) => (self.split(space, pages), pages),
        };
        match outcome {
            Outcome::NotWorth | Outcome::Failed => {
                let words: Vec<(u64, Word)> =
                    pages.iter().map(|page| (page.key, page.word)).collect();
                space.index.note_tried(&words);
            }
            Outcome::Done(_) | Outcome::Changed | Outcome::NoRoom => {}
        }
        outcome
    }

    fn join(&self, space: &SpaceState, pages: &[PageAt; CLUSTER_PAGES]) -> Outcome {
        let Some(clusters) = &self.encoder.clusters else { return Outcome::NotWorth };
        let freed = self.freed_by(pages);
        let below = (freed - freed / SAVED_AT_LEAST_ONE_IN).min(self.pool.max_len() + 1);
        let made = clusters.making(|making| {
            if let Err(outcome) = self.read_all(pages, making) {
                return outcome;
            }
            let object = match caught(|| clusters.encode(making, below)) {
                Ok(Ok(object)) => object,
                Ok(Err(NoCluster::Long)) => return Outcome::NotWorth,
                Ok(Err(NoCluster::Damaged)) => {
                    tracing::error!(
                        space = space.name,
                        "the codec of clusters does not restore what it compressed; the pages stay"
                    );
                    return Outcome::Failed;
                }
                Err(_) => {
                    tracing::error!(
                        space = space.name,
                        "the codec of clusters panicked; the pages stay"
                    );
                    return Outcome::Failed;
                }
            };
            let len = member_len(object.len());
            let member = |at: Short, slot: usize| Entry::Member {
                at,
                slot: u8::try_from(slot).expect("few pages"),
                len,
            };
            // What it frees is more than what it takes.
            let exchange = |access| self.exchange_cluster(space, pages, object, member, access);
            let outcome = match exchange(ReserveAccess::Normal) {
                Outcome::NoRoom => {
                    self.with_overwrite_reserve(|| exchange(ReserveAccess::Overwrite))
                }
                outcome => outcome,
            };
            if let Outcome::Done(_) = outcome {
                self.idle.note_joined(object.len(), CLUSTER_PAGES);
                self.note_cluster(space, pages[0].key, object);
                return Outcome::Done((freed - object.len()) as u64);
            }
            outcome
        });
        made.unwrap_or(Outcome::NoRoom)
    }

    /// Counts a new cluster for its codec, inside of the operation in which words came to name it.
    fn note_cluster(&self, space: &SpaceState, key: u64, object: &[u8]) {
        let Some(clusters) = &self.encoder.clusters else { return };
        let len = object.len() as u64;
        if let (Some(trained), Some(id)) = (clusters.trained(), object.first()) {
            trained.note_object_in(CodecId(*id), len);
        }
        if let Some(training) = clusters.training() {
            training.note(Sample { space: space.number, key }, len);
        }
    }

    /// Stores the cluster and exchanges the words.
    fn exchange_cluster(
        &self,
        space: &SpaceState,
        pages: &[PageAt; CLUSTER_PAGES],
        object: &[u8],
        member: impl Fn(Short, usize) -> Entry,
        access: ReserveAccess,
    ) -> Outcome {
        let Ok(stored) = self.pool.store_within(object, access) else { return Outcome::NoRoom };
        let at = Short(stored.to_short());
        let changes: [Change; CLUSTER_PAGES] = std::array::from_fn(|slot| Change {
            key: pages[slot].key,
            old: pages[slot].word,
            new: Word::new(member(at, slot)),
        });
        match self.admit_changes(space, &changes) {
            Ok(()) => Outcome::Done(0),
            Err(outcome) => {
                // No word names it.
                self.free(member(at, 0));
                outcome
            }
        }
    }

    /// The bytes of the objects that go when these words do.
    fn freed_by(&self, pages: &[PageAt]) -> usize {
        let of = |page: &PageAt| self.object_len(page.word.entry());
        let is_first = |at: usize| {
            let handle = pages[at].word.entry().handle();
            pages[..at].iter().all(|page| page.word.entry().handle() != handle)
        };
        (0..pages.len()).filter(|&at| is_first(at)).map(|at| of(&pages[at])).sum()
    }

    fn read_all(&self, pages: &[PageAt], making: &mut Making) -> Result<(), Outcome> {
        debug_assert_eq!(pages.len() * PAGE_BYTES, CLUSTER_BYTES);
        for (page, into) in pages.iter().zip(making.pages.chunks_exact_mut(PAGE_BYTES)) {
            self.read_for_change(page, into)?;
        }
        Ok(())
    }

    fn read_for_change(&self, page: &PageAt, into: &mut [u8]) -> Result<(), Outcome> {
        match caught(|| self.read(page.word.entry(), into, Wait::Allowed)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(
                ReadError::Stale | ReadError::WouldBlock | ReadError::Spilled | ReadError::Base,
            )) => Err(Outcome::Changed),
            // A get says so.
            Ok(Err(ReadError::Corrupt | ReadError::Length(_))) => Err(Outcome::NotWorth),
            Err(_) => {
                tracing::error!(key = page.key, "the codec panicked over an idle page; it stays");
                Err(Outcome::Failed)
            }
        }
    }

    /// Gives each page that a sparse cluster has left an object of its own, if that is less.
    fn split(&self, space: &SpaceState, pages: &[PageAt]) -> Outcome {
        let freed = self.freed_by(pages);
        let mut buffers = vec![[0; PAGE_BYTES]; pages.len()];
        for (page, into) in pages.iter().zip(&mut buffers) {
            if let Err(outcome) = self.read_for_change(page, into) {
                return outcome;
            }
        }
        let encoded = buffers.iter_mut().map(|page| caught(|| self.encoder.encode_page(page)));
        let Ok(objects) = encoded.collect::<Result<Vec<Object<'_>>, _>>() else {
            return Outcome::Failed;
        };
        let taken: usize = objects.iter().map(|object| object.bytes.len()).sum();
        if taken >= freed {
            return Outcome::NotWorth;
        }
        let exchange = |access| {
            let mut changes: Vec<Change> = Vec::new();
            for (page, object) in pages.iter().zip(&objects) {
                let Some(entry) = self.store(*object, access) else {
                    changes.iter().for_each(|change| self.free(change.new.entry()));
                    return Outcome::NoRoom;
                };
                let new = Word::new(entry);
                changes.push(Change { key: page.key, old: page.word, new });
            }
            match self.admit_changes(space, &changes) {
                Ok(()) => Outcome::Done((freed - taken) as u64),
                Err(outcome) => {
                    changes.iter().for_each(|change| self.free(change.new.entry()));
                    outcome
                }
            }
        };
        match exchange(ReserveAccess::Normal) {
            Outcome::NoRoom => self.with_overwrite_reserve(|| exchange(ReserveAccess::Overwrite)),
            outcome => outcome,
        }
    }

    /// Gives a page of a cluster an object of its own; whether it did.
    pub(crate) fn leave_cluster(&self, space: &SpaceState, key: u64) -> bool {
        loop {
            let page = PageAt { key, word: space.index.load(key) };
            let Entry::Member { .. } = page.word.entry() else { return false };
            let mut bytes = [0; PAGE_BYTES];
            match self.read_for_change(&page, &mut bytes) {
                Ok(()) => {}
                Err(Outcome::Changed) => {
                    crate::spin::look_again();
                    continue;
                }
                Err(_) => return false,
            }
            let Ok(object) = caught(|| self.encoder.encode_page(&mut bytes)) else { return false };
            let Some(entry) = self.store(object, ReserveAccess::Normal) else { return false };
            let new = Word::new(entry);
            match self.admit_changes(space, &[Change { key, old: page.word, new }]) {
                Ok(()) => return true,
                Err(outcome) => {
                    self.free(new.entry());
                    if outcome != Outcome::Changed {
                        return false;
                    }
                }
            }
        }
    }

    /// Exchanges words for objects that no other thread knows, within the limit of the space.
    fn admit_changes(&self, space: &SpaceState, changes: &[Change]) -> Result<(), Outcome> {
        let new: u64 = changes.iter().map(|change| change.new.entry().counted_bytes()).sum();
        let old: u64 = changes.iter().map(|change| change.old.entry().counted_bytes()).sum();
        if !space.admit(new, old) {
            return Err(Outcome::NotWorth);
        }
        match space.index.replace_all(changes) {
            Some(taken) => {
                self.note_changes(space, changes, &taken);
                Ok(())
            }
            None => {
                space.count_shrunk(old, new);
                Err(Outcome::Changed)
            }
        }
    }

    /// Counts an exchange of words, and frees what they named.
    fn note_changes(&self, space: &SpaceState, changes: &[Change], taken: &[Taken]) {
        for (change, taken) in changes.iter().zip(taken) {
            let (new, old) = (change.new.entry(), change.old.entry());
            space.note_exchange(new, PAGE_BYTES, old, PAGE_BYTES);
            self.free_taken(*taken);
        }
        let counted = |word: fn(&Change) -> Word| -> u64 {
            changes.iter().map(|change| word(change).entry().counted_bytes()).sum()
        };
        space.count_shrunk(counted(|change| change.new), counted(|change| change.old));
    }
}
