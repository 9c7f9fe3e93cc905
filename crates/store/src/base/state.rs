//! The state of a base, which its handles and the spaces on it hold.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use pagefold_frame::Charge;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::{
    fault::BaseFault,
    pages::{AtHand, BasePages, Found},
    resident::Resident,
    stats::BaseStats,
};
use crate::page::{PAGE_BYTES, Page};

pub(crate) struct BaseState {
    pub(crate) name: Arc<str>,
    fingerprint: u128,
    hashes: Hashes,
    resident: Resident,
    source: Box<dyn BasePages>,
    pub(crate) counts: Counts,
    /// Of hashes and resident pages.
    charged: usize,
    _charge: Charge,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    hits: AtomicU64,
    reads: AtomicU64,
    failures: AtomicU64,
    pub(crate) spaces: AtomicUsize,
}

struct Hashes {
    seed: u64,
    of: Box<[u64]>,
    /// A bit a page.
    holes: Box<[u64]>,
    hole_count: u64,
}

/// The hashes of a base that is opened: of its pages, in order.
pub(crate) struct Hashing {
    seed: u64,
    of: Vec<u64>,
    holes: Vec<u64>,
    hole_count: u64,
    whole: Xxh3,
}

impl Hashing {
    pub(crate) fn new(pages: usize) -> Self {
        Self {
            // Not known outside: a file cannot be prepared to pass for another.
            seed: RandomState::new().hash_one(pages),
            of: Vec::with_capacity(pages),
            holes: Vec::with_capacity(pages.div_ceil(64)),
            hole_count: 0,
            whole: Xxh3::new(),
        }
    }

    /// What it takes for so many pages.
    pub(crate) fn bytes(pages: usize) -> usize {
        (pages + pages.div_ceil(64)) * size_of::<u64>()
    }

    /// Adds the next page; whether it is a hole.
    pub(crate) fn add(&mut self, page: &Page) -> bool {
        let is_hole = page.iter().all(|byte| *byte == 0);
        let number = self.of.len();
        if number.is_multiple_of(64) {
            self.holes.push(0);
        }
        self.holes[number / 64] |= u64::from(is_hole) << (number % 64);
        self.hole_count += u64::from(is_hole);
        self.of.push(xxh3_64_with_seed(page, self.seed));
        self.whole.update(page);
        is_hole
    }

    /// Whether a page that was added is a hole; `None` if these are not its bytes.
    pub(crate) fn look(&self, number: usize, page: &Page) -> Option<bool> {
        let is_right = xxh3_64_with_seed(page, self.seed) == self.of[number];
        is_right.then(|| self.holes[number / 64] >> (number % 64) & 1 == 1)
    }

    pub(crate) fn holes(&self) -> u64 {
        self.hole_count
    }

    pub(crate) fn fingerprint(&self) -> u128 {
        self.whole.digest128()
    }
}

impl BaseState {
    pub(crate) fn new(
        name: Arc<str>,
        hashing: Hashing,
        resident: Resident,
        source: Box<dyn BasePages>,
        (charge, charged): (Charge, usize),
    ) -> Self {
        let fingerprint = hashing.fingerprint();
        let Hashing { seed, of, holes, hole_count, .. } = hashing;
        let hashes = Hashes { seed, of: of.into(), holes: holes.into(), hole_count };
        let counts = Counts::default();
        Self { name, fingerprint, hashes, resident, source, counts, charged, _charge: charge }
    }

    pub(crate) fn pages(&self) -> u64 {
        self.hashes.of.len() as u64
    }

    pub(crate) fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    fn index(&self, page: u64) -> usize {
        usize::try_from(page).expect("below the number of pages")
    }

    fn is_hole(&self, page: u64) -> bool {
        let at = self.index(page);
        self.hashes.holes[at / 64] >> (at % 64) & 1 == 1
    }

    fn is_right(&self, page: u64, bytes: &Page) -> bool {
        xxh3_64_with_seed(bytes, self.hashes.seed) == self.hashes.of[self.index(page)]
    }

    /// Copies a page without waiting for a device, inside an operation; whether it could.
    #[inline]
    pub(crate) fn at_hand(&self, page: u64, into: &mut Page, how: AtHand) -> bool {
        if self.is_hole(page) {
            into.fill(0);
            return true;
        }
        if self.resident.copy(page, into) {
            self.count(&self.counts.hits);
            return true;
        }
        if self.source.at_hand(page, into, how) == Found::NotAtHand || !self.is_right(page, into) {
            return false;
        }
        self.count(&self.counts.reads);
        if how == AtHand::Soon {
            self.resident.keep(page, into);
        }
        true
    }

    /// Copies a page; may wait. Outside of any operation.
    pub(crate) fn load(&self, page: u64, into: &mut Page) -> Result<(), BaseFault> {
        if self.is_hole(page) {
            into.fill(0);
            return Ok(());
        }
        let loaded = self.source.load(page, into).and_then(|()| {
            if self.is_right(page, into) { Ok(()) } else { Err(BaseFault::Changed) }
        });
        match loaded {
            Ok(()) => {
                self.count(&self.counts.reads);
                self.resident.keep(page, into);
            }
            Err(fault) => {
                self.count(&self.counts.failures);
                tracing::warn!(base = &*self.name, page, %fault, "a base page cannot be had");
            }
        }
        loaded
    }

    fn count(&self, count: &AtomicU64) {
        // ORDERING: Relaxed; a statistic.
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> BaseStats {
        // ORDERING: Relaxed; statistics.
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        BaseStats {
            name: self.name.to_string(),
            pages: self.pages(),
            holes: self.hashes.hole_count,
            spaces: self.counts.spaces.load(Ordering::Relaxed) as u64,
            locked: self.resident.is_locked(),
            resident_bytes: self.resident.pages() * PAGE_BYTES as u64,
            charged_bytes: self.charged as u64,
            hits: load(&self.counts.hits),
            reads: load(&self.counts.reads),
            failures: load(&self.counts.failures),
        }
    }
}
