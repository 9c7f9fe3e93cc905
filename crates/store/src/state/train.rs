//! A turn of self-training, and the retirement of codecs that it left behind.
//!
//! The turn reads pages of the store, each in an operation of its own, trains on the older ones outside of any, and lets
//! the newest judge. Every call of a codec in use is inside an operation, so that a fork finds its contexts free. The
//! charge for all of it comes first, stays below the high watermark, and drops nothing.

use std::{
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use pagefold_codec::{
    Codec, accept_len, checked_compress, checked_decompress, checked_metadata_bytes_max,
};
use pagefold_frame::{Charge, FRAME_BYTES};
use pagefold_sys::{clock::thread_time, memory::Buffer};

use super::{StoreState, caught::caught};
use crate::{
    encoder::{clusters::CLUSTER_BYTES, decode::Wait, trained::Trained},
    index::NODE_WORDS,
    page::PAGE_BYTES,
    training::{End, Sample, Score, Training, choose, expected_bytes},
    word::{CodecId, Entry, page_len},
};

const ROUNDS: usize = if cfg!(loom) { 1 } else { 3 };
/// Of lists and sets, for each entry of the ring.
const BESIDE_BYTES: usize = 64;
/// Of a codec beside what it says: its own fields and name.
const CODEC_BYTES: usize = 512;
/// Short, because other operations wait meanwhile; it is tried again.
const RETIRE_WAIT: Duration = Duration::from_millis(20);

/// A codec in comparison. `None` is the base codec.
type Own = Option<Arc<dyn Codec>>;

/// What a turn has.
struct Plan {
    id: CodecId,
    /// At most so many pages.
    pages: usize,
    charge: Charge,
}

/// Why a turn ends early.
struct Ends(End);

/// What trains: the codec of single pages, or that of clusters. "Page" below means an input of it.
#[derive(Clone, Copy)]
pub(super) struct Learner<'a> {
    pub(super) training: &'a Training,
    base: &'a dyn Codec,
    trained: &'a Trained,
    /// Bytes of an input.
    unit: usize,
    rounds: usize,
}

impl StoreState {
    /// Notes a page that was compressed, for a training to come.
    #[inline]
    pub(crate) fn note_compressed(&self, space: u64, key: u64, entry: Entry) {
        if let Entry::Page { len, .. } = entry
            && self.training.note(Sample { space, key }, len)
        {
            self.workers.notify();
        }
    }

    pub(super) fn learners(&self) -> impl Iterator<Item = Learner<'_>> {
        let pages = Learner {
            training: &self.training,
            base: &*self.encoder.codec,
            trained: &self.encoder.trained,
            unit: PAGE_BYTES,
            rounds: ROUNDS,
        };
        let clusters = self.encoder.clusters.as_ref().and_then(|clusters| {
            Some(Learner {
                training: clusters.training()?,
                base: clusters.codec()?,
                trained: clusters.trained()?,
                unit: CLUSTER_BYTES,
                // The codec of clusters is slow, and its time matters less.
                rounds: 1,
            })
        });
        iter::once(pages).chain(clusters)
    }

    /// Trains, if that is due and no other thread has the turn; whether this thread had it. Not inside an operation.
    pub(crate) fn train_if_due(&self, goes_on: &dyn Fn() -> bool) -> bool {
        let trained = self.learners().filter(|learner| self.train(*learner, goes_on));
        trained.count() > 0
    }

    fn train(&self, learner: Learner<'_>, goes_on: &dyn Fn() -> bool) -> bool {
        if !learner.training.is_due() || !goes_on() {
            return false;
        }
        if learner.trained.free_id().is_none() {
            self.retire_codecs();
        }
        let begun = self.enter().is_ok_and(|_operation| learner.training.begin());
        if !begun {
            return false;
        }
        let began = thread_time();
        let turn = catch_unwind(AssertUnwindSafe(|| self.training_turn(learner, goes_on)));
        let end = match turn {
            Ok(Ok(end) | Err(Ends(end))) => end,
            Err(_) => End::Failed,
        };
        let counts = &learner.training.counts;
        if end == End::Failed {
            counts.add(&counts.failures);
            tracing::error!(
                codec = learner.base.name(),
                "the codec failed at training; the store goes on without"
            );
        }
        let took = thread_time().saturating_sub(began);
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // ORDERING: Relaxed; statistics.
        counts.time_ns.fetch_add(ns, Ordering::Relaxed);
        if let Ok(_operation) = self.enter() {
            if learner.unit == CLUSTER_BYTES {
                self.idle.spend(took);
            }
            learner.training.end(end);
        }
        true
    }

    fn training_turn(&self, learner: Learner<'_>, goes_on: &dyn Fn() -> bool) -> Result<End, Ends> {
        let plan = self.plan(learner)?;
        let end = self.training_within(learner, &plan, goes_on);
        self.forget_dictionaries(learner);
        end
    }

    /// Contexts keep what they need of the last dictionary, which may be gone. Before its charge goes.
    fn forget_dictionaries(&self, learner: Learner<'_>) {
        if let Ok(_operation) = self.enter()
            && caught(|| learner.base.release_contexts()).is_err()
        {
            tracing::error!(codec = learner.base.name(), "the codec panicked at its release");
        }
    }

    fn training_within(
        &self,
        learner: Learner<'_>,
        plan: &Plan,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<End, Ends> {
        let (bytes, read) = self.sampled_pages(learner, plan, goes_on)?;
        let pages: Vec<&[u8]> = bytes[..read].chunks_exact(learner.unit).collect();
        let steps = learner.training.steps;
        if pages.len() < steps.least() {
            return Err(Ends(End::Retry));
        }
        // The newest come first.
        let (held_out, learned) = pages.split_at(steps.held_out());
        let counts = &learner.training.counts;
        let new = learner.base.train(learned).map(Arc::<dyn Codec>::from);
        counts.add(&counts.trained);
        if !goes_on() {
            return Err(Ends(End::Interrupted));
        }
        let current = learner.trained.current();
        let current_codec = learner.trained.get(current);
        let mut candidates: Vec<Own> = Vec::new();
        if let Some(new) = &new {
            self.prove(learner, &**new, held_out)?;
            candidates.push(Some(Arc::clone(new)));
        }
        if current != CodecId::FIRST {
            candidates.push(None);
        }
        if candidates.is_empty() {
            return Ok(End::Kept);
        }
        let compared: Vec<Own> = [current_codec].into_iter().chain(candidates).collect();
        let scores = self.scores(learner, &compared, held_out)?;
        let chosen = choose(&scores[0], &scores[1..], steps.time_percent);
        let Some(chosen) = chosen else { return Ok(End::Kept) };
        let score = &scores[1 + chosen];
        let _operation = self.enter().map_err(|_| Ends(End::Failed))?;
        match &compared[1 + chosen] {
            Some(codec) => self.adopt_codec(learner, plan.id, codec)?,
            None => {
                learner.trained.make_current(CodecId::FIRST);
                counts.add(&counts.given_up);
                tracing::debug!("the dictionary was given up");
            }
        }
        Ok(End::Adopted { expected: expected_bytes(score, held_out.len()) })
    }

    /// An id, and room for as many pages as there is room for. It drops nothing, and leaves room below the high
    /// watermark.
    fn plan(&self, learner: Learner<'_>) -> Result<Plan, Ends> {
        let counts = &learner.training.counts;
        let _operation = self.enter().map_err(|_| Ends(End::Retry))?;
        let Some(id) = learner.trained.free_id() else {
            counts.add(&counts.without_id);
            return Err(Ends(End::Retry));
        };
        let steps = learner.training.steps;
        for pages in [steps.samples, steps.least()] {
            let bytes = pages * learner.unit;
            let training = learner.base.train_bytes_max(bytes);
            let needed = training.saturating_add(bytes + steps.ring() * BESIDE_BYTES);
            let used = self.memory.used().saturating_add(needed.div_ceil(FRAME_BYTES));
            if used <= self.share(self.watermarks.high)
                && !self.is_above_target()
                && let Ok(charge) = self.memory.charge_beside(needed)
            {
                return Ok(Plan { id, pages, charge });
            }
        }
        counts.add(&counts.without_room);
        tracing::debug!("there is no room for training");
        Err(Ends(End::Retry))
    }

    /// The sampled pages that are still there, one after the other, the newest first.
    fn sampled_pages(
        &self,
        learner: Learner<'_>,
        plan: &Plan,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(Buffer, usize), Ends> {
        let newest = self.enter().map(|_operation| learner.training.newest());
        let bytes = Buffer::zeroed(plan.pages * learner.unit);
        let mut bytes = bytes.map_err(|_| Ends(End::Retry))?;
        debug_assert!(plan.charge.bytes() > bytes.len());
        let mut read = 0;
        for sample in newest.map_err(|_| Ends(End::Retry))? {
            if !goes_on() {
                return Err(Ends(End::Interrupted));
            }
            let Some(page) = bytes.chunks_exact_mut(learner.unit).nth(read) else { break };
            read += usize::from(match learner.unit {
                CLUSTER_BYTES => self.read_cluster_sample(sample, page),
                _ => self.read_sample(sample, page),
            });
        }
        Ok((bytes, read * learner.unit))
    }

    /// Whether a page is there that the codec compresses, and could be read. One that was put since counts too: where
    /// all are overwritten before long, no other is left.
    fn read_sample(&self, sample: Sample, page: &mut [u8]) -> bool {
        let Ok(_operation) = self.enter() else { return false };
        let Some(space) = self.numbered_space(sample.space) else { return false };
        let entry = space.index.load(sample.key).entry();
        let counts = matches!(entry, Entry::Page { .. } | Entry::Fresh(_) | Entry::Member { .. });
        counts && self.read(entry, page, Wait::Allowed).is_ok()
    }

    /// Whether there are enough pages with memory, from the sampled one to the end of its leaf.
    fn read_cluster_sample(&self, sample: Sample, pages: &mut [u8]) -> bool {
        let Ok(_operation) = self.enter() else { return false };
        let Some(space) = self.numbered_space(sample.space) else { return false };
        let mut pages = pages.chunks_exact_mut(PAGE_BYTES);
        let mut into = pages.next();
        let leaf = NODE_WORDS as u64;
        let end = sample.key.saturating_add(leaf - sample.key % leaf);
        for key in sample.key..end {
            let Some(page) = &mut into else { break };
            let entry = space.index.load(key).entry();
            let joins = matches!(entry, Entry::Page { .. } | Entry::Raw(_) | Entry::Member { .. });
            if joins && self.read(entry, page, Wait::Allowed).is_ok() {
                into = pages.next();
            }
        }
        into.is_none()
    }

    /// Restores each page from what the codec makes of it, and compares.
    fn prove(&self, learner: Learner<'_>, codec: &dyn Codec, pages: &[&[u8]]) -> Result<(), Ends> {
        let (mut output, mut back) = (vec![0; accept_len(learner.unit)], vec![0; learner.unit]);
        for page in pages {
            let _operation = self.enter().map_err(|_| Ends(End::Retry))?;
            let Some(len) = checked_compress(codec, page, &mut output) else { continue };
            let restored = checked_decompress(codec, &output[..len], &mut back);
            if restored.is_err() || back != *page {
                return Err(Ends(End::Failed));
            }
        }
        if codec.is_intact() { Ok(()) } else { Err(Ends(End::Failed)) }
    }

    /// In rounds, so that what else the machine does meets all of them.
    fn scores(
        &self,
        learner: Learner<'_>,
        codecs: &[Own],
        pages: &[&[u8]],
    ) -> Result<Vec<Score>, Ends> {
        let mut scores = vec![Score { bytes: 0, time: Duration::MAX }; codecs.len()];
        let mut output = vec![0; accept_len(learner.unit)];
        for _ in 0..learner.rounds {
            for (codec, score) in codecs.iter().zip(&mut scores) {
                let codec = codec.as_deref().unwrap_or(learner.base);
                let (began, mut bytes) = (thread_time(), 0);
                for page in pages {
                    let _operation = self.enter().map_err(|_| Ends(End::Retry))?;
                    let len = checked_compress(codec, page, &mut output);
                    bytes += len.map_or(learner.unit as u64, page_len);
                }
                score.time = score.time.min(thread_time().saturating_sub(began));
                score.bytes = bytes;
            }
        }
        Ok(scores)
    }

    /// Inside an operation.
    fn adopt_codec(
        &self,
        learner: Learner<'_>,
        id: CodecId,
        codec: &Arc<dyn Codec>,
    ) -> Result<(), Ends> {
        let counts = &learner.training.counts;
        let bytes = checked_metadata_bytes_max(&**codec, learner.unit).ok_or(Ends(End::Failed))?;
        let Ok(charge) = self.memory.charge_beside(bytes + CODEC_BYTES) else {
            counts.add(&counts.without_room);
            return Err(Ends(End::Retry));
        };
        learner.training.charges.lock().push((id, charge));
        learner.trained.fill(id, codec);
        learner.trained.make_current(id);
        counts.add(&counts.adopted);
        tracing::debug!(id = id.0, bytes, "a dictionary of the store's own is in use");
        Ok(())
    }

    /// Frees the codecs that no object names, of those that are not current. Not inside an operation.
    pub(crate) fn retire_codecs(&self) {
        self.learners().for_each(|learner| self.retire_of(learner));
    }

    fn retire_of(&self, learner: Learner<'_>) {
        let trained = learner.trained;
        if trained.idle().next().is_none() {
            return;
        }
        let Some(quiet) = self.operations.quiesce(RETIRE_WAIT) else { return };
        let idle: Vec<CodecId> = trained.idle().collect();
        let codecs: Vec<_> = idle.iter().flat_map(|&id| trained.clear(id)).collect();
        let mut charges = learner.training.charges.lock();
        let gone: Vec<_> = charges.extract_if(.., |(id, _)| idle.contains(id)).collect();
        drop(charges);
        drop(quiet);
        // The memory goes before its charge.
        drop(codecs);
        self.forget_dictionaries(learner);
        let retired = &learner.training.counts.retired;
        gone.iter().for_each(|_| learner.training.counts.add(retired));
    }
}
