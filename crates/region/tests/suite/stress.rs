//! Threads that read, write, pin and advise, each byte verified; the limits held at all times.
//!
//! `PAGEFOLD_REGION_SECONDS` makes it longer than 3 s for each mode; `PAGEFOLD_REGION_MODE` names one.

use std::{
    env,
    sync::{
        RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_region::{Advice, FaultMode, ForkPolicy, Region};
use pagefold_sys::quiesce::set_fork_wait;
use pagefold_testkit::seed::Seed;
use rand::RngExt;

use crate::common::{PAGE, builder, check, fill, modes, resident_pages, word};
use crate::{
    fork::{Stops, fork},
    parts,
};

const PAGES: usize = 8192;
const RESIDENT: usize = 1024;
const THREADS: usize = 3;

/// What threads share: the region's address, and the version of each page.
struct Scene<'a> {
    region: &'a Region,
    start: usize,
    versions: Vec<AtomicU64>,
    stop: AtomicBool,
    operations: AtomicU64,
    /// Held by each operation: pages come into memory only then, so that a look at all of them, which takes milliseconds, counts none
    /// twice.
    running: RwLock<()>,
}

impl Scene<'_> {
    /// # Safety
    /// This thread owns the page.
    #[expect(clippy::mut_from_ref, reason = "pages have owners")]
    unsafe fn page_mut(&self, page: usize) -> &mut [u8] {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(self.start + page * PAGE);
        // SAFETY: within the region; by this function's contract no other thread touches it.
        unsafe { std::slice::from_raw_parts_mut(start, PAGE) }
    }
}

/// Pages whose number leaves `me` are this thread's, to read and write.
fn work(scene: &Scene<'_>, me: usize, seed: u64) {
    let mut rng = Seed::new(seed).rng(me as u64);
    let own = |page: usize| (page / THREADS * THREADS + me).min(PAGES - 1) / THREADS * THREADS + me;
    let own = |page: usize| if own(page) < PAGES { own(page) } else { me };
    // Without a lock, so no thread but the owner relies on it.
    let version = |page: usize| scene.versions[page].load(Ordering::Relaxed);
    let verify = |page: usize, bytes: &[u8]| match version(page) {
        0 => assert!(bytes.iter().all(|&byte| byte == 0), "page {page} was never written"),
        version => check(bytes, page, version),
    };
    while !scene.stop.load(Ordering::Relaxed) {
        let _running = scene.running.read().expect("no panic");
        let hot = rng.random_range(0..PAGES / 10);
        let anywhere = rng.random_range(0..PAGES);
        let page = own(if rng.random_ratio(2, 3) { hot } else { anywhere });
        // SAFETY: this thread's page.
        let bytes = unsafe { scene.page_mut(page) };
        match rng.random_range(0..1000) {
            0..450 => verify(page, bytes),
            450..800 => {
                let next = version(page) + 1;
                fill(bytes, page, next);
                scene.versions[page].store(next, Ordering::Relaxed);
            }
            800..900 => {
                // One word, after a look at another: a clean page is written.
                verify(page, bytes);
                let next = version(page) + 1;
                fill(bytes, page, next);
                scene.versions[page].store(next, Ordering::Relaxed);
                let at = rng.random_range(0..PAGE / 8);
                let found = &bytes[at * 8..at * 8 + 8];
                assert_eq!(found, word(page, next, at).to_ne_bytes(), "page {page}");
            }
            900..960 => {
                // In order, as neighbours are brought.
                let first = page;
                for page in (0..24).map(|step| first + step * THREADS).filter(|&page| page < PAGES)
                {
                    // SAFETY: this thread's page.
                    verify(page, unsafe { scene.page_mut(page) });
                }
            }
            960..985 => {
                let advice = [Advice::Cold, Advice::WillNeed, Advice::Sequential, Advice::Random];
                let advice = advice[rng.random_range(0..4)];
                let end = (page + rng.random_range(1..100)).min(PAGES);
                scene.region.advise(page * PAGE..end * PAGE, advice).expect("a range");
            }
            _ => {
                let pinned = scene.region.pin(page * PAGE..(page + 1) * PAGE).expect("few pins");
                verify(page, &pinned);
                assert_eq!(resident_pages(pinned.as_ptr().addr(), 1), 1, "a pinned page");
            }
        }
        scene.operations.fetch_add(1, Ordering::Relaxed);
    }
}

/// Pages of the memory files of this process: of the region, and of none but it.
fn pages_of_files() -> usize {
    use std::os::unix::fs::MetadataExt as _;
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let of_region = descriptors.filter_map(|one| {
        let path = one.ok()?.path();
        let target = std::fs::read_link(&path).ok()?;
        let is_regions = target.to_string_lossy().contains("memfd:pagefold-region");
        is_regions.then(|| std::fs::metadata(path).map_or(0, |metadata| metadata.blocks() / 8))
    });
    usize::try_from(of_region.sum::<u64>()).expect("few")
}

/// What a child has of some pages: its own from then on. With `paused` no thread was writing.
fn sample(scene: &Scene<'_>, rng: &mut impl rand::Rng, paused: bool) {
    const SAMPLE: usize = 300;
    // The copies of pages and versions are of different moments, if threads were writing.
    const APART: u64 = 40;
    let first = rng.random_range(0..PAGES);
    let pages = || (0..SAMPLE).map(|step| (first + step * 13) % PAGES);
    for page in pages() {
        // SAFETY: the child has one thread that touches pages.
        let bytes = unsafe { scene.page_mut(page) };
        let version = scene.versions[page].load(Ordering::Relaxed);
        match version {
            0 if paused => assert!(bytes.iter().all(|&byte| byte == 0), "page {page}"),
            version if paused => check(bytes, page, version),
            version => {
                // A page that was being written is of two versions; each word is of one of them.
                let of = |at: usize, version: u64| match version {
                    0 => 0_u64.to_ne_bytes(),
                    version => word(page, version, at).to_ne_bytes(),
                };
                let versions = version.saturating_sub(APART)..version + APART;
                for at in 2..PAGE / 8 {
                    let found = &bytes[at * 8..at * 8 + 8];
                    let is_one = versions.clone().any(|version| found == of(at, version));
                    assert!(is_one, "page {page}, version {version}, word {at}: {found:?}");
                }
            }
        }
        fill(bytes, page, u64::MAX / 2);
    }
    for page in pages() {
        // SAFETY: as above.
        check(unsafe { scene.page_mut(page) }, page, u64::MAX / 2);
    }
    let mapped = resident_pages(scene.start, PAGES);
    assert!(mapped <= RESIDENT, "{mapped} pages in memory of a child");
}

fn stress(mode: FaultMode, time: Duration) {
    let seed = Seed::fresh();
    eprintln!("{mode}: seed {}", seed.value());
    let snapshots = mode != FaultMode::Guard;
    let policy = if snapshots { ForkPolicy::Snapshot } else { ForkPolicy::Hide };
    let region = builder(mode, PAGES, RESIDENT)
        .fork_policy(policy)
        .store(
            pagefold_store::Store::builder().codec("lz4".parse().expect("a codec")).limit(32 << 20),
        )
        .build()
        .expect("a mode that works");
    // For a machine that has no time for this process.
    set_fork_wait(Duration::from_secs(60));
    let scene = Scene {
        region: &region,
        start: region.as_ptr().expose_provenance(),
        versions: (0..PAGES).map(|_| AtomicU64::new(0)).collect(),
        stop: AtomicBool::new(false),
        operations: AtomicU64::new(0),
        running: RwLock::new(()),
    };
    let (mut most, mut children) = (0, [0; 2]);
    thread::scope(|scope| {
        for me in 0..THREADS {
            let scene = &scene;
            scope.spawn(move || work(scene, me, seed.value()));
        }
        let _stops = Stops(&scene.stop);
        let (until, mut rng) = (Instant::now() + time, seed.rng(THREADS as u64));
        while Instant::now() < until {
            {
                let _paused = scene.running.write().expect("no panic");
                let mapped = resident_pages(scene.start, PAGES);
                // Those of a file in memory that are not mapped count too.
                most = most.max(mapped).max(pages_of_files());
            }
            let stats = region.stats();
            assert!(stats.resident_bytes <= stats.resident_limit_bytes, "credits");
            assert!(stats.store.resident_bytes <= stats.store.limit_bytes, "the store's limit");
            if rng.random_ratio(1, 20) {
                let paused: bool = rng.random();
                let child = {
                    let _paused = paused.then(|| scene.running.write().expect("no panic"));
                    fork(|| {
                        if snapshots {
                            sample(&scene, &mut rng, paused);
                        }
                    })
                };
                child.assert_fine();
                children[usize::from(paused)] += 1;
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(most <= RESIDENT, "{most} pages in memory");
    for page in 0..PAGES {
        let version = scene.versions[page].load(Ordering::Relaxed);
        let bytes = &region.as_slice()[page * PAGE..(page + 1) * PAGE];
        match version {
            0 => assert!(bytes.iter().all(|&byte| byte == 0), "page {page}"),
            version => check(bytes, page, version),
        }
    }
    let stats = region.stats();
    let faults: Vec<_> = stats.faults.iter().map(|one| (one.from.name(), one.count)).collect();
    eprintln!(
        "{mode}: {} operations, at most {most} of {RESIDENT} pages in memory; faults {faults:?}; neighbours {}, waits {}, dropped {} (clean {}), refused {}; children {children:?} (snapshots: {snapshots})",
        scene.operations.load(Ordering::Relaxed),
        stats.neighbours,
        stats.credit_waits,
        stats.dropped,
        stats.dropped_clean,
        stats.refused,
    );
    assert_eq!(stats.refused, 0);
    region.store().validate().expect("valid");
}

fn time() -> Duration {
    let seconds = env::var("PAGEFOLD_REGION_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// In processes of their own, so that the memory files of other tests are not counted.
#[test]
fn every_byte_in_each_mode() {
    let only = env::var("PAGEFOLD_REGION_MODE").ok();
    let is_wanted = |mode: &FaultMode| only.as_ref().is_none_or(|only| only == mode.name());
    for mode in modes().into_iter().filter(is_wanted) {
        let most = time() * 2 + Duration::from_secs(100);
        let ended = parts::wait_for(&mut parts::command("stress::part_stress", mode), most);
        eprintln!("{}", ended.stderr());
        ended.assert_passed();
    }
}

#[test]
#[ignore = "run by every_byte_in_each_mode"]
fn part_stress() {
    let Some(mode) = parts::mode() else { return };
    stress(mode, time());
}
