//! A codec that learns the kind of its pages, and restores only what it made itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use pagefold_codec::{Codec, CodecError};
use pagefold_store::Page;

/// From this kind on, pages cannot be learned.
pub(crate) const STRANGE: u8 = 200;
const PLAIN_BYTES: usize = 512;
const STRANGE_BYTES: usize = 600;
const LEARNED_BYTES: usize = 128;
/// Of another kind than the one that was learned.
const OTHER_BYTES: usize = 640;
const HEADER_BYTES: usize = 17;

/// A page of a kind, of its own content.
pub(crate) fn page(kind: u8, number: u64) -> Page {
    let bytes = number.to_le_bytes();
    std::array::from_fn(|at| match at {
        0 => kind,
        1..9 => bytes[at - 1],
        _ => (at / 64).to_le_bytes()[0] ^ kind,
    })
}

/// What [`Learner::train`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    Good,
    Nothing,
    Panic,
    /// A codec that restores other pages.
    Liar,
    /// A codec that panics when it compresses.
    Panicking,
    /// A codec that restores nothing.
    Broken,
    /// A codec whose dictionary is not what it was.
    Changed,
    NoShorter,
    /// Fifty times as slow.
    Slower,
    /// The good one, from a codec that panics when it is released.
    Unreleased,
}

/// What all codecs of a test share.
#[derive(Default)]
pub(crate) struct Shared {
    serials: AtomicU64,
    /// Trained codecs that exist.
    pub(crate) alive: AtomicU64,
    pub(crate) trainings: AtomicU64,
    /// Milliseconds that a training sleeps.
    pub(crate) sleeps: AtomicU64,
    /// What a training says it takes.
    pub(crate) train_bytes: AtomicU64,
}

pub(crate) struct Learner {
    serial: u64,
    learned: Option<u8>,
    gives: Gives,
    /// What this one does wrong, after it was trained.
    is: Gives,
    pub(crate) shared: Arc<Shared>,
}

impl Learner {
    pub(crate) fn new(gives: Gives, shared: &Arc<Shared>) -> Box<Self> {
        let shared = Arc::clone(shared);
        Box::new(Self { serial: 0, learned: None, gives, is: Gives::Good, shared })
    }

    fn len_of(&self, kind: u8) -> usize {
        match self.learned {
            None if kind >= STRANGE => STRANGE_BYTES,
            None => PLAIN_BYTES,
            _ if self.is == Gives::NoShorter => PLAIN_BYTES - 8,
            Some(learned) if learned == kind => LEARNED_BYTES,
            Some(_) => OTHER_BYTES,
        }
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        if self.learned.is_some() {
            self.shared.alive.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Codec for Learner {
    fn name(&self) -> &str {
        "learner"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        let is_trained = self.learned.is_some();
        assert!(!is_trained || self.is != Gives::Panicking, "this codec always panics");
        let rounds = if is_trained && self.is == Gives::Slower { 50 } else { 1 };
        let number = u64::from_le_bytes(src.get(1..9)?.try_into().expect("8 bytes"));
        if !(0..rounds).all(|_| std::hint::black_box(src) == page(src[0], number)) {
            return None;
        }
        let dst = dst.get_mut(..self.len_of(src[0]))?;
        dst.fill(0);
        dst[..8].copy_from_slice(&self.serial.to_le_bytes());
        dst[8..HEADER_BYTES].copy_from_slice(&src[..9]);
        Some(dst.len())
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        let invalid = CodecError::Invalid { codec: "learner", capacity: dst.len() };
        let header: &[u8; HEADER_BYTES] = src.first_chunk().ok_or(invalid)?;
        let number =
            |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        let is_trained = self.learned.is_some();
        if number(0) != self.serial || is_trained && self.is == Gives::Broken {
            return Err(invalid);
        }
        let lie = u64::from(is_trained && self.is == Gives::Liar);
        dst.copy_from_slice(&page(header[8], number(9) + lie));
        Ok(dst.len())
    }

    fn metadata_bytes(&self) -> usize {
        if self.learned.is_some() { 8192 } else { 0 }
    }

    fn release_contexts(&self) {
        assert_ne!(self.gives, Gives::Unreleased, "this codec panics on purpose");
    }

    fn trains(&self) -> bool {
        true
    }

    fn train(&self, pages: &[&[u8]]) -> Option<Box<dyn Codec>> {
        self.shared.trainings.fetch_add(1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(self.shared.sleeps.load(Ordering::Relaxed)));
        assert_ne!(self.gives, Gives::Panic, "this training always panics");
        let count = |kind: u8| pages.iter().filter(|page| page[0] == kind).count();
        let learned = (0..STRANGE).max_by_key(|&kind| count(kind)).filter(|&kind| count(kind) > 0);
        let learned = learned.filter(|_| self.gives != Gives::Nothing);
        self.shared.alive.fetch_add(u64::from(learned.is_some()), Ordering::Relaxed);
        let serial = self.shared.serials.fetch_add(1, Ordering::Relaxed) + 1;
        learned.is_some().then(|| {
            let shared = Arc::clone(&self.shared);
            Box::new(Self { serial, learned, gives: Gives::Nothing, is: self.gives, shared })
                as Box<dyn Codec>
        })
    }

    fn train_bytes_max(&self, pages: usize) -> usize {
        let more = self.shared.train_bytes.load(Ordering::Relaxed);
        pages + usize::try_from(more).expect("small")
    }

    fn is_intact(&self) -> bool {
        self.learned.is_none() || self.is != Gives::Changed
    }
}
