//! Tests of a run against a pool that is a map: its counts, its end, and the detection of damage.

use std::{
    collections::HashMap,
    num::NonZeroU16,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use pagefold_codec::{Codec, CodecError, Lz4};
use pagefold_pool::{
    AllocError, CompactReport, Handle, HandleError, LimitError, PoolId, ReadIntoError, Slices,
    TrimReport, TryReadError, Violation, WriteError,
};

use rand::RngExt as _;

use super::*;

use crate::estimate::{
    config::{PAGE, Unit},
    measure::codecs::ClusterCodec,
    read::{sampler::Sampler, spool::Room},
    result::percentiles::Percentiles,
};

/// A pool that is a map, with one injected fault if a test asks for it.
#[derive(Default)]
struct MapPool {
    objects: Mutex<HashMap<Handle, Vec<u8>>>,
    next: AtomicU64,
    /// The most objects; 0 for any number.
    capacity: usize,
    fault: Fault,
    /// The longest object; 0 for a page.
    longest: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// The object stored as this one has a bit flipped.
    FlipsBit(u64),
    /// The object stored as this one comes back as the one before.
    Confuses(u64),
    /// Objects come back with a byte more than was stored.
    Lengthens,
    /// The pool counts one object too many.
    Miscounts,
    /// The first object is lost.
    Forgets,
    /// Every object is too long.
    Refuses,
    /// `compact` always promises more.
    CompactsForever,
}

impl Pool for MapPool {
    fn name(&self) -> &'static str {
        "map"
    }

    fn id(&self) -> PoolId {
        PoolId::from_raw(NonZeroU16::MIN)
    }

    fn max_len(&self) -> usize {
        if self.longest == 0 { PAGE } else { self.longest }
    }

    fn alloc(&self, len: usize) -> Result<Handle, AllocError> {
        self.store(&vec![0; len])
    }

    fn store(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        if self.fault == Fault::Refuses {
            return Err(AllocError::TooLarge { len: bytes.len(), max: 1 });
        }
        let mut objects = self.objects.lock().expect("no test panics here");
        if self.capacity > 0 && objects.len() >= self.capacity {
            return Err(AllocError::OutOfMemory { limit: self.capacity });
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let handle = |number: u64| self.id().handle(number);
        let mut object = bytes.to_vec();
        match self.fault {
            Fault::FlipsBit(at) if at == number => object[0] ^= 1,
            Fault::Confuses(at) if at == number => object.clone_from(&objects[&handle(number - 1)]),
            Fault::Lengthens => object.push(0),
            _ => {}
        }
        objects.insert(handle(number), object);
        if self.fault == Fault::Forgets && number == 5 {
            objects.remove(&handle(0));
        }
        Ok(handle(number))
    }

    fn free(&self, handle: Handle) -> Result<(), HandleError> {
        let freed = self.objects.lock().expect("no test panics here").remove(&handle);
        freed.map(|_| ()).ok_or(HandleError::Stale)
    }

    fn len(&self, handle: Handle) -> Result<usize, HandleError> {
        let objects = self.objects.lock().expect("no test panics here");
        objects.get(&handle).map(Vec::len).ok_or(HandleError::Stale)
    }

    fn write(&self, handle: Handle, bytes: &[u8]) -> Result<(), WriteError> {
        let len = self.len(handle)?;
        Err(WriteError::WrongLength { len, given: bytes.len() })
    }

    fn read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), HandleError> {
        let objects = self.objects.lock().expect("no test panics here");
        let object = objects.get(&handle).ok_or(HandleError::Stale)?;
        // In pieces where possible, so that both ways of reading are tested.
        match object.split_at_checked(1000) {
            Some((head, tail)) if !tail.is_empty() => f(Slices::new(&[head, tail])),
            _ => f(Slices::new(&[object])),
        }
        Ok(())
    }

    fn try_read(&self, handle: Handle, f: &mut dyn FnMut(Slices<'_>)) -> Result<(), TryReadError> {
        Ok(self.read(handle, f)?)
    }

    fn read_into(&self, handle: Handle, _buffer: &mut [u8]) -> Result<usize, ReadIntoError> {
        Ok(self.len(handle)?)
    }

    fn compact(&self, budget: usize) -> CompactReport {
        let more = self.fault == Fault::CompactsForever;
        let mut report = CompactReport::default();
        report.moved_objects = 1;
        report.moved_bytes = budget as u64;
        report.more = more;
        report
    }

    fn trim(&self) -> TrimReport {
        TrimReport::default()
    }

    fn set_limit(&self, _bytes: usize) -> Result<(), LimitError> {
        Ok(())
    }

    fn stats(&self) -> Stats {
        let objects = self.objects.lock().expect("no test panics here");
        let payload_bytes = objects.values().map(|object| object.len() as u64).sum();
        let mut stats = Stats::default();
        stats.objects = objects.len() as u64 + u64::from(self.fault == Fault::Miscounts);
        stats.payload_bytes = payload_bytes;
        stats.frame_bytes = payload_bytes * 2;
        stats.metadata_bytes = 1000;
        stats
    }

    fn validate(&self) -> Result<(), Violation> {
        Ok(())
    }
}

const SAME_FILLED: usize = 10;
const RANDOM: usize = 20;
const TEXT: usize = 70;
const PAGES: usize = SAME_FILLED + RANDOM + TEXT;

/// Zeros, noise, text, and a last page of 100 bytes.
fn spool() -> Spool {
    let mut spool =
        Spool::new(Sampler::new(1, 1.0, Unit::Page), Room::Tighten { bytes: usize::MAX }, 0);
    spool.add_source("pages".into()).expect("the first source");
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for number in 0..PAGES {
        let mut page = [0; PAGE];
        match number {
            0..SAME_FILLED => {}
            _ if number < SAME_FILLED + RANDOM => random.fill(&mut page),
            _ => {
                let line = format!("line {number} of a text that repeats itself, ").into_bytes();
                page.iter_mut().zip(line.iter().cycle()).for_each(|(to, from)| *to = *from);
            }
        }
        let len = if number == PAGES - 1 { 100 } else { PAGE };
        spool.offer(0, number as u64, &page[..len]).expect("there is room");
    }
    spool
}

/// Interrupts the run at the k-th compression; otherwise lz4.
struct InterruptsAt {
    at: u64,
    calls: AtomicU64,
    interrupt: Interrupt,
    inner: Lz4,
}

impl Codec for InterruptsAt {
    fn name(&self) -> &str {
        "interrupting"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            assert!(self.interrupt.request(), "the first one");
        }
        self.inner.compress(src, dst)
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        self.inner.decompress(src, dst)
    }

    fn metadata_bytes(&self) -> usize {
        0
    }
}

struct Setup<'a> {
    pool: &'a MapPool,
    codec: &'a dyn Codec,
    interrupt: Interrupt,
    threads: usize,
    seed: u64,
    clusters: Option<ClusterCodec<'a>>,
}

impl<'a> Setup<'a> {
    fn new(pool: &'a MapPool, codec: &'a dyn Codec) -> Self {
        let interrupt = Interrupt::default();
        interrupt.set_reportable();
        Self { pool, codec, interrupt, threads: 1, seed: 1, clusters: None }
    }

    fn run(
        &self,
        spool: &Spool,
        lifecycle: bool,
    ) -> Result<(Vec<Row>, Option<String>), EstimateError> {
        let (progress, interrupt) = (Progress::hidden(), &self.interrupt);
        let books = Bookkeeping::new(spool, self.threads);
        let (pool, progress, seed) = (self.pool, &progress, self.seed);
        let codecs = Codecs { clusters: self.clusters, ..Codecs::of_one(self.codec) };
        let mut rows = Vec::new();
        let (rss_before, passes) = (Some(0), 0);
        let whole = Whole { pages: spool.len() as u64, sample_max: u64::MAX };
        let mut run = Measurement {
            spool,
            codecs,
            pool,
            interrupt,
            progress,
            books,
            rss_before,
            seed,
            whole,
            passes,
        };
        let mismatch = run.phases(lifecycle, &mut rows)?;
        Ok((rows, mismatch))
    }
}

#[test]
fn a_lifecycle_counts_every_page_in_every_phase() {
    let spool = spool();
    for threads in [1, 2, 3, 1000] {
        let (pool, codec) = (MapPool::default(), Lz4::new());
        let setup = Setup { threads, ..Setup::new(&pool, &codec) };
        let (rows, mismatch) = setup.run(&spool, true).expect("nothing fails");
        assert_eq!(mismatch, None);
        assert_eq!(rows.iter().map(|row| row.phase).collect::<Vec<_>>(), Phase::ALL);
        for row in &rows {
            assert!(row.is_complete(), "{row:?}");
            assert_eq!(row.pages, row.stored + row.raw + row.same_filled);
            assert!(row.load_us.p50.is_some() && row.rss_delta_bytes > Some(0));
        }
        let fill = &rows[0];
        assert_eq!(
            (fill.pages, fill.same_filled, fill.raw),
            (PAGES as u64, SAME_FILLED as u64, RANDOM as u64)
        );
        assert_eq!(fill.original_bytes, spool.total_bytes());
        let encoded = spool.total_bytes() - (SAME_FILLED * PAGE) as u64;
        assert_eq!(fill.compression_ratio, Some(encoded as f64 / fill.payload_bytes as f64));
        assert_eq!(
            fill.effective_ratio,
            spool.total_bytes() as f64 / (fill.frame_bytes + 1000) as f64
        );
        assert_eq!(fill.density, 0.5);

        let churned = PAGES as u64 - fill.same_filled + REWRITES as u64 * PAGES as u64;
        let stored = pool.next.load(Ordering::Relaxed);
        assert!(
            stored <= churned && stored > churned - PAGES as u64,
            "three overwrites a page: {stored} objects"
        );
        assert_eq!(rows[1].pages, PAGES as u64);
        assert!(rows[1].store_us.p50.is_some(), "churn stores");
        // Each worker frees half of its share, rounded down.
        let halved = spool.len().div_ceil(threads);
        let expected = PAGES - PAGES / halved * (halved / 2) - PAGES % halved / 2;
        assert_eq!(rows[2].pages, expected as u64, "{threads} threads");
        assert_eq!(rows[3].pages, rows[2].pages);
        for row in &rows[2..] {
            assert_eq!(row.store_us, Percentiles::default(), "nothing was stored");
        }
    }
}

#[test]
fn the_seed_decides_the_churn() {
    let (spool, codec) = (spool(), Lz4::new());
    let payload = |seed| {
        let pool = MapPool::default();
        let setup = Setup { seed, ..Setup::new(&pool, &codec) };
        let (rows, _) = setup.run(&spool, true).expect("nothing fails");
        rows.iter().map(|row| row.payload_bytes).collect::<Vec<_>>()
    };
    assert_eq!(payload(3), payload(3));
    assert_ne!(payload(3)[1..], payload(4)[1..]);
}

#[test]
fn damage_is_a_mismatch_that_names_the_page() {
    let (spool, codec) = (spool(), Lz4::new());
    let first_text = (SAME_FILLED + RANDOM) as u64;
    for (fault, page) in [
        // Same-filled pages make no object: object k is page SAME_FILLED + k.
        (Fault::FlipsBit(3), "page 13 of pages"),
        (Fault::FlipsBit(RANDOM as u64), "page 30 of pages"),
        (Fault::Confuses(first_text), "page 40 of pages"),
        (Fault::Lengthens, " of pages"),
        (Fault::Miscounts, "the pool counts 91 objects and 90 were stored"),
        (Fault::Forgets, "the pool counts 89 objects and 90 were stored"),
    ] {
        for threads in [1, 2] {
            let pool = MapPool { fault, ..MapPool::default() };
            // Two threads fill in no fixed order, so the object's number identifies its page for one thread only.
            let page = if threads == 1 || page.contains("counts") { page } else { " of pages" };
            let setup = Setup { threads, ..Setup::new(&pool, &codec) };
            let (rows, mismatch) = setup.run(&spool, true).expect("a mismatch is no failure");
            let mismatch = mismatch.expect("the damage is found");
            assert!(
                mismatch.contains(page) && mismatch.contains("map with lz4, phase fill"),
                "{mismatch}"
            );
            assert_eq!(rows.len(), 1, "no phase follows");
            assert!(!rows[0].verified && !rows[0].is_complete());
        }
    }
}

#[test]
fn a_pool_at_its_limit_ends_the_run_and_what_it_holds_is_checked() {
    let (spool, codec) = (spool(), Lz4::new());
    for threads in [1, 2] {
        let pool = MapPool { capacity: 25, ..MapPool::default() };
        let setup = Setup { threads, ..Setup::new(&pool, &codec) };
        let (rows, mismatch) = setup.run(&spool, true).expect("a limit is no failure");
        let [fill] = rows.as_slice() else { panic!("no phase follows") };
        assert!(fill.limit_reached && fill.verified && !fill.interrupted && mismatch.is_none());
        assert_eq!(fill.stored + fill.raw, 25);
        assert!(fill.original_bytes < spool.total_bytes());
    }
}

#[test]
fn a_limit_reached_in_churn_loses_no_page() {
    let (spool, codec) = (spool(), Lz4::new());
    let pool = MapPool { capacity: PAGES - SAME_FILLED, ..MapPool::default() };
    let (rows, mismatch) =
        Setup::new(&pool, &codec).run(&spool, true).expect("a limit is no failure");
    assert_eq!((rows.len(), mismatch), (2, None));
    assert!(rows[1].limit_reached && rows[1].verified);
    assert_eq!(rows[1].pages, PAGES as u64);
}

#[test]
fn an_interrupted_run_reports_what_it_has_and_claims_no_check() {
    let spool = spool();
    for (at, phases, stored) in [(50, 1, Some(50)), (250, 2, None)] {
        let pool = MapPool::default();
        let interrupt = Interrupt::default();
        interrupt.set_reportable();
        let codec = InterruptsAt {
            at,
            calls: AtomicU64::new(0),
            interrupt: interrupt.clone(),
            inner: Lz4::new(),
        };
        let setup = Setup { interrupt, ..Setup::new(&pool, &codec) };
        let (rows, mismatch) = setup.run(&spool, true).expect("an interrupt is no failure");
        assert_eq!((rows.len(), mismatch), (phases, None));
        let last = rows.last().expect("a row");
        assert!(last.interrupted && !last.verified && last.load_us.p50.is_none(), "{last:?}");
        if let Some(stored) = stored {
            assert_eq!(
                last.stored + last.raw,
                stored,
                "the current page was finished, and no other begun"
            );
        }
    }
}

#[test]
fn a_page_that_a_pool_does_not_take_is_a_failure_with_its_name() {
    let (spool, codec) = (spool(), Lz4::new());
    let pool = MapPool { fault: Fault::Refuses, ..MapPool::default() };
    let failure = Setup::new(&pool, &codec)
        .run(&spool, false)
        .expect_err("nothing can be stored")
        .to_string();
    assert!(
        failure.contains("map did not store page 10 of pages") && failure.contains("too large"),
        "{failure}"
    );
}

#[test]
fn a_pool_that_always_promises_more_is_compacted_for_a_while_only() {
    let (spool, codec) = (spool(), Lz4::new());
    let pool = MapPool { fault: Fault::CompactsForever, ..MapPool::default() };
    let (rows, _) = Setup::new(&pool, &codec).run(&spool, true).expect("nothing fails");
    assert_eq!(rows.len(), 4);
}

/// A spool whose first half has a group for each page; its last half is one group.
fn spool_of_groups(groups: usize) -> Spool {
    let mut spool =
        Spool::new(Sampler::new(1, 1.0, Unit::Page), Room::Tighten { bytes: usize::MAX }, 0);
    spool.add_source("pages".into()).expect("the first source");
    for number in 0..2 * groups {
        if number < groups {
            spool.begin_group().expect("a few groups");
        }
        // Mappings of which no page was kept.
        if number == groups / 2 {
            spool.begin_group().expect("a few groups");
        }
        let mut page = [0; PAGE];
        page[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        spool.offer(0, number as u64, &page).expect("there is room");
    }
    spool
}

#[test]
fn shares_end_with_a_leaf() {
    let spool = spool_of(Unit::Leaf, 300);
    for threads in [1, 2, 3, 5, 64, 1000] {
        let shares = shares(&spool, threads);
        assert!(shares.len() <= threads && shares.iter().sum::<usize>() == 300, "{shares:?}");
        let (_, others) = shares.split_last().expect("there are pages");
        assert!(others.iter().all(|share| share.is_multiple_of(64)), "{shares:?}");
    }
    assert_eq!(shares(&spool_of(Unit::Page, 300), 7), [43, 43, 43, 43, 43, 43, 42]);
    assert!(shares(&spool_of(Unit::Page, 0), 3).is_empty());
}

#[test]
fn each_group_gets_its_pages_whatever_the_threads() {
    let spool = spool_of_groups(50);
    let filled = |threads: usize| {
        let (pool, codec) = (MapPool::default(), Lz4::new());
        let (interrupt, progress) = (Interrupt::default(), Progress::hidden());
        let whole = Whole { pages: spool.len() as u64, sample_max: u64::MAX };
        let mut run = Measurement {
            spool: &spool,
            codecs: Codecs::of_one(&codec),
            pool: &pool,
            interrupt: &interrupt,
            progress: &progress,
            books: Bookkeeping::new(&spool, threads),
            rss_before: Some(0),
            seed: 1,
            whole,
            passes: 0,
        };
        // Churn stores pages of other workers' groups, which are not counted.
        run.phases(true, &mut Vec::new()).expect("nothing fails");
        run.books.filled
    };
    let alone = filled(1);
    assert_eq!(alone.whole().pages(), 100);
    let pages = [0, 1, 51].map(|group| alone.part(group).pages());
    assert_eq!(pages, [0, 1, 51]);
    for threads in [2, 3, 100] {
        assert_eq!(filled(threads), alone, "{threads} threads");
    }
}

/// Pages of text in one file.
fn spool_of(unit: Unit, pages: u64) -> Spool {
    let room = Room::Tighten { bytes: usize::MAX };
    let mut spool = Spool::new(Sampler::new(1, 1.0, unit), room, 0);
    spool.add_source("pages".into()).expect("the first source");
    for number in 0..pages {
        let line = format!("line {number} of a text that repeats itself, ").into_bytes();
        let page: Vec<u8> = line.into_iter().cycle().take(PAGE).collect();
        spool.offer(0, number, &page).expect("there is room");
    }
    spool
}

fn clusters(codec: &Lz4) -> Option<ClusterCodec<'_>> {
    Some(ClusterCodec { name: "lz4", codec })
}

#[test]
fn a_fill_of_idle_pages_counts_pages_and_objects_apart() {
    let (spool, codec) = (spool_of(Unit::Leaf, 150), Lz4::new());
    for threads in [1, 2, 7] {
        let pool = MapPool { longest: 4 * PAGE, ..MapPool::default() };
        let setup = Setup { threads, clusters: clusters(&codec), ..Setup::new(&pool, &codec) };
        let (rows, mismatch) = setup.run(&spool, false).expect("nothing fails");
        let [row] = rows.as_slice() else { panic!("a fill only") };
        assert!(mismatch.is_none() && row.is_complete(), "{mismatch:?}");
        let found = row.clusters.as_ref().expect("it has clusters");
        // Leaves of 64, 64 and 22 pages.
        assert_eq!((found.clusters, found.pages, found.not_shorter), (37, 148, 0));
        assert_eq!((row.pages, row.stored, row.objects), (150, 150, 37 + 2));
        let sizes = row.sizes.expect("of a fill");
        assert_eq!(serde_json::to_value(sizes).expect("json")["counts"][0], 150);
    }
    // A pool that takes no object as long as a cluster.
    let pool = MapPool { longest: 70, ..MapPool::default() };
    let setup = Setup { clusters: clusters(&codec), ..Setup::new(&pool, &codec) };
    let (rows, _) = setup.run(&spool, false).expect("nothing fails");
    let found = rows[0].clusters.as_ref().expect("it has clusters");
    assert_eq!((found.clusters, found.too_long, found.object_bytes_max), (0, 37, 70));
}

#[test]
fn damage_to_a_cluster_is_found() {
    let (spool, codec) = (spool_of(Unit::Leaf, 64), Lz4::new());
    for fault in [Fault::FlipsBit(3), Fault::Confuses(5), Fault::Lengthens, Fault::Miscounts] {
        let pool = MapPool { fault, longest: 4 * PAGE, ..MapPool::default() };
        let setup = Setup { clusters: clusters(&codec), ..Setup::new(&pool, &codec) };
        let (rows, mismatch) = setup.run(&spool, false).expect("a mismatch is no failure");
        assert!(mismatch.is_some() && !rows[0].verified, "{fault:?}");
    }
    let pool = MapPool { capacity: 7, longest: 4 * PAGE, ..MapPool::default() };
    let setup = Setup { clusters: clusters(&codec), ..Setup::new(&pool, &codec) };
    let (rows, mismatch) = setup.run(&spool, false).expect("a limit is no failure");
    assert!(rows[0].limit_reached && mismatch.is_none());
    assert_eq!(rows[0].pages, 28, "seven clusters of whole pages");
}
