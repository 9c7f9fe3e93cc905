//! A store in use for long: spaces and bases that come and go, limits that change, pages of another nature now and then, all tiers
//! with short intervals; memory stays flat. With a backing, ten times more data than memory; the file stays flat too.
//!
//! 3 s by default; `PAGEFOLD_SOAK_SECONDS=1200` is the long form.
#![cfg(not(loom))]

use std::{
    cmp::Ordering,
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use pagefold_pool::Allocator;
use pagefold_store::{
    BaseSource, GetError, Page, PutError, Space, SpaceConfig, Store, StoreStats,
    spill::{FileBacking, Spill},
};
use pagefold_testkit::{corpus::Mix, seed::Seed};
use rand::RngExt;

/// A quarter of it is too little for clusters, which then stay as they are.
const LIMIT: usize = 32 << 20;
const KEYS: u64 = 20_000;
/// Most calls use these; the others are idle for a while.
const HOT: u64 = KEYS / 16;

/// The cycle after which memory is as it stays.
const WARM: u64 = 2;

/// Random use of a space that lives for this long.
fn use_space(store: &Store, seed: Seed, stream: u64, pages: &[Vec<u8>], time: Duration) -> u64 {
    let mut rng = seed.rng(stream);
    let config = if stream.is_multiple_of(2) {
        SpaceConfig::ephemeral(KEYS)
    } else {
        SpaceConfig::persistent(KEYS).limit(4 << 20)
    };
    let space = store.space(config).expect("room");
    let (mut back, mut operations): (Page, u64) = ([0; 4096], 0);
    let until = Instant::now() + time;
    while Instant::now() < until {
        for _ in 0..100 {
            let keys = if rng.random_ratio(15, 16) { HOT } else { KEYS };
            let key = rng.random_range(0..keys);
            // Which page it is follows from the key, so that everybody can check it.
            let number = usize::try_from(key).expect("small") % pages.len();
            let page = pages[number].as_slice();
            match rng.random_range(0..20) {
                0..10 => match space.put_from(key, page) {
                    Ok(()) | Err(PutError::Full { .. }) => {}
                    Err(error) => panic!("{error}"),
                },
                10..17 => match space.get(key, &mut back) {
                    Ok(()) => assert!(back == page, "key {key} is another page"),
                    Err(error) => assert_eq!(error, GetError::Absent),
                },
                17..19 => _ = space.remove(key).expect("a key"),
                _ => _ = space.remove_range(key..key + 50).expect("alive"),
            }
            operations += 1;
        }
    }
    operations
}

/// The accounts once no training has its charge any more: what is resident is at most `bytes`, or two seconds have passed.
fn at_rest(store: &Store, bytes: u64) -> StoreStats {
    store.pause_workers();
    let began = Instant::now();
    let mut stats = store.stats();
    while stats.resident_bytes > bytes && began.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(5));
        stats = store.stats();
    }
    store.resume_workers();
    stats
}

/// Pages of text that no dictionary of heaps has seen.
fn records(rng: &mut impl rand::Rng, count: usize) -> Vec<Vec<u8>> {
    let mut record = || {
        format!(
            "<row key='{:x}'><cell>{}</cell><cell kind='total'>{}</cell></row>",
            rng.random_range(0..1_000_000),
            ["north", "south", "east", "west"][rng.random_range(0..4)],
            rng.random_range(0..5000),
        )
    };
    let mut page = || (0..100).map(|_| record()).collect::<String>().into_bytes()[..4096].to_vec();
    (0..count).map(|_| page()).collect()
}

#[test]
fn memory_stays_flat() {
    let seed = *Seed::for_test(0x50a4);
    let seconds = env::var("PAGEFOLD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    // A space lives for four passes and more.
    let (life, interval) = match seconds {
        Some(_) => (Duration::from_secs(5), Duration::from_secs(1)),
        None => (Duration::from_millis(400), Duration::from_millis(50)),
    };
    let builder = Store::builder().allocator(Allocator::nbud()).limit(LIMIT);
    let builder = builder.idle_interval(interval).idle_share(20);
    let store = builder.training_steps(200, 500, u32::MAX).build().expect("room");
    // The second kind of data has another mean length, and a dictionary of its own is better.
    let kinds = [Mix::PROCESS.pages(&mut seed.rng(1000), 997), records(&mut seed.rng(1001), 997)];
    let (mut baseline, mut rss_baseline, mut cycle, mut operations) = (0, 0, 0, 0);
    while Instant::now() < until || cycle < 4 {
        let pages = &kinds[usize::try_from(cycle / 2 % 2).expect("small")];
        thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|number| {
                    let (store, stream) = (&store, cycle * 3 + number);
                    scope.spawn(move || use_space(store, seed, stream, pages, life))
                })
                .collect();
            for step in 0..4_usize {
                thread::sleep(life / 5);
                let wanted = LIMIT / 4 * (1 + (step * 3) % 4);
                // What persistent spaces hold may not fit; then the old one stays.
                let _ = store.set_limit(wanted);
                assert!(store.resident() <= store.limit());
            }
            for thread in threads {
                operations += thread.join().expect("no panic");
            }
        });
        store.set_limit(LIMIT).expect("raised");
        store.shrink(usize::MAX);
        // Frees the codecs that have no page any more.
        store.maintain(0);
        store.validate().expect("valid");
        // A dictionary for clusters may come later, and one be replaced by a longer one.
        // In a short run the codec of clusters may come after the baseline.
        let more = if seconds.is_some() { 512 << 10 } else { 2 << 20 };
        let at_most = match cycle.cmp(&WARM) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => 0,
            Ordering::Greater => baseline + more,
        };
        let stats = at_rest(&store, at_most);
        assert_eq!((stats.stored, stats.payload_bytes), (0, 0), "every space is gone");
        assert_eq!((stats.idle.clusters, stats.idle.bytes, stats.staging.pages), (0, 0, 0));
        let rss = rss();
        // The first cycles warm up: codec contexts, the heap, tables, dictionaries for both kinds of data.
        if cycle == WARM {
            (baseline, rss_baseline) = (stats.resident_bytes, rss);
        }
        if cycle > WARM {
            assert!(stats.resident_bytes <= baseline + more, "cycle {cycle}: {stats:?}");
            assert!(rss <= rss_baseline + (8 << 20), "cycle {cycle}: {rss_baseline} and now {rss}");
        }
        cycle += 1;
    }
    eprintln!(
        "{cycle} cycles, {operations} operations, {baseline} bytes after cycle {WARM} and {} at the end; the kernel says \
         {rss_baseline} and {}",
        store.stats().resident_bytes,
        rss()
    );
    let stats = store.stats();
    eprintln!("{:?}\n{:?}\n{:?}", stats.staging, stats.training, stats.idle);
    assert!(stats.staging.compressed > 0, "{stats:?}");
    assert_eq!(stats.staging.worker_panics + stats.idle.failures, 0);
    // Spaces of a short run live for too short a time to be sure of these.
    if seconds.is_some() {
        assert!(stats.idle.joined > 0 && stats.training.adopted > 0, "{stats:?}");
        assert!(stats.idle.returned > 0 && stats.idle.split > 0, "{stats:?}");
        assert!(stats.training.retired > 0, "{stats:?}");
    }
}

#[cfg(target_os = "linux")]
fn rss() -> u64 {
    use pagefold_procfs::{Process, rss_anon};
    rss_anon(Process::Current).expect("Linux")
}

#[cfg(not(target_os = "linux"))]
fn rss() -> u64 {
    0
}

/// A directory of its own for the file of a backing.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("pagefold-soak-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// Bytes that the file system keeps for the files of this process in there, which have no name.
    #[cfg(target_os = "linux")]
    fn bytes(&self) -> u64 {
        let own = fs::read_dir("/proc/self/fd").expect("Linux").filter_map(Result::ok);
        let own = own.filter(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.starts_with(&self.0))
        });
        own.filter_map(|file| fs::metadata(file.path()).ok()).map(|file| file.blocks() * 512).sum()
    }

    #[cfg(not(target_os = "linux"))]
    fn bytes(&self) -> u64 {
        0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What one thread has put, by key; the keys of a thread are its own.
struct Part<'s> {
    pages: Space,
    values: Space,
    cache: Space,
    kinds: &'s [Vec<u8>],
    me: u64,
    threads: u64,
    /// The version of each page and each value; 0: there is none.
    versions: [Vec<u64>; 2],
    next: u64,
    refused: u64,
    operations: u64,
}

impl Part<'_> {
    /// The bytes of a key: of a page, or of a value of another length.
    fn bytes(&self, kind: usize, key: u64, version: u64) -> Vec<u8> {
        let number = usize::try_from(key * 31 + version).expect("small");
        let len = if kind == 0 { 4096 } else { 20 + number % 5000 };
        let mut bytes = self.kinds[number % self.kinds.len()].clone();
        bytes.extend_from_slice(&self.kinds[(number + 1) % self.kinds.len()]);
        bytes.truncate(len);
        bytes[..8].copy_from_slice(&key.to_le_bytes());
        bytes[8..16].copy_from_slice(&version.to_le_bytes());
        bytes
    }

    fn put(&mut self, kind: usize, at: usize) {
        self.next += 1;
        let key = at as u64 * self.threads + self.me;
        let bytes = self.bytes(kind, key, self.next);
        let put = if kind == 0 {
            self.pages.put_from(key, &bytes)
        } else {
            self.values.put_bytes(key, &bytes)
        };
        match put {
            Ok(()) => self.versions[kind][at] = self.next,
            // The old one stays.
            Err(PutError::Full { .. }) => self.refused += 1,
            Err(error) => panic!("{error}"),
        }
    }

    fn get(&self, kind: usize, at: usize) {
        let key = at as u64 * self.threads + self.me;
        let space = if kind == 0 { &self.pages } else { &self.values };
        let expected = self.versions[kind][at];
        match space.get_bytes(key) {
            Ok(found) => {
                let is_right = expected != 0 && found == self.bytes(kind, key, expected);
                assert!(is_right, "key {key} of kind {kind} is another one");
            }
            Err(GetError::Absent) => assert_eq!(expected, 0, "key {key} of kind {kind} is lost"),
            Err(error) => panic!("{error} of key {key} of kind {kind}"),
        }
    }

    fn take(&mut self, kind: usize, at: usize) {
        let key = at as u64 * self.threads + self.me;
        let space = if kind == 0 { &self.pages } else { &self.values };
        let expected = std::mem::take(&mut self.versions[kind][at]);
        match space.take_bytes(key) {
            Ok(found) => {
                assert!(found == self.bytes(kind, key, expected), "key {key} is another one");
            }
            Err(GetError::Absent) => assert_eq!(expected, 0, "key {key} of kind {kind} is lost"),
            Err(error) => panic!("{error} of key {key} of kind {kind}"),
        }
    }

    /// In a space that may drop what it has; the version is the key.
    fn cached(&self, key: u64) {
        match self.cache.get_bytes(key) {
            Ok(found) => assert!(found == self.bytes(0, key, key), "key {key} is another one"),
            Err(GetError::Absent) => _ = self.cache.put_from(key, &self.bytes(0, key, key)),
            Err(error) => panic!("{error} of key {key}"),
        }
    }

    fn use_until(&mut self, rng: &mut impl rand::Rng, until: Instant) {
        while Instant::now() < until {
            for _ in 0..50 {
                let kind = usize::from(rng.random_ratio(1, 8));
                let len = self.versions[kind].len();
                // Half of all calls are for a sixteenth of the keys.
                let len = if rng.random_ratio(1, 2) { len / 16 } else { len };
                let at = rng.random_range(0..len);
                match rng.random_range(0..20) {
                    0..8 => self.put(kind, at),
                    8..17 => self.get(kind, at),
                    17 => {
                        self.take(kind, at);
                        self.put(kind, at);
                    }
                    _ => self.cached(rng.random_range(0..self.versions[0].len() as u64)),
                }
                self.operations += 1;
            }
        }
    }
}

#[test]
fn memory_stays_flat_with_a_backing() {
    const THREADS: u64 = 3;
    let seed = *Seed::for_test(0x50a5);
    let seconds = env::var("PAGEFOLD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    let (limit, life) = match seconds {
        Some(_) => (24 << 20, Duration::from_secs(10)),
        None => (8 << 20, Duration::from_millis(300)),
    };
    // A quarter of the keys of values, which have 2.5 KB.
    let pages_each = limit / 4096 * 10 / usize::try_from(THREADS).expect("small");
    let values_each = 200;
    let directory = Directory::new();
    let extent = 256 << 10;
    let backing = FileBacking::new(&directory.0, extent).expect("a file");
    let spill = Spill::builder(backing).extent_bytes(extent).build().expect("sensible");
    let builder = Store::builder().limit(limit).spill(spill).training_steps(200, 500, u32::MAX);
    let store = builder.idle_interval(life / 4).idle_share(20).build().expect("room");
    let kinds = Mix::PROCESS.pages(&mut seed.rng(1000), 997);
    let space = |config| store.space(config).expect("room");
    let keys = pages_each as u64 * THREADS;
    let (pages, values) = (SpaceConfig::persistent(keys), SpaceConfig::persistent(keys));
    let (pages, values) = (space(pages.name("pages")), space(values.name("values")));
    let cache = space(SpaceConfig::ephemeral(keys).name("cache"));
    let mut parts: Vec<Part<'_>> = (0..THREADS)
        .map(|me| Part {
            pages: pages.clone(),
            values: values.clone(),
            cache: cache.clone(),
            kinds: &kinds,
            me,
            threads: THREADS,
            versions: [vec![0; pages_each], vec![0; values_each]],
            next: 0,
            refused: 0,
            operations: 0,
        })
        .collect();
    let (mut baseline, mut cycle) = ((0, 0, 0), 0);
    while Instant::now() < until || cycle < 4 {
        let end = Instant::now() + life;
        thread::scope(|scope| {
            for part in &mut parts {
                scope.spawn(move || {
                    let mut rng = seed.rng(cycle * THREADS + part.me);
                    if cycle == 0 {
                        (0..2).for_each(|kind| {
                            (0..part.versions[kind].len()).for_each(|at| part.put(kind, at));
                        });
                    }
                    part.use_until(&mut rng, end.max(Instant::now() + life / 2));
                });
            }
        });
        assert!(store.resident() <= store.limit());
        // Every byte of every key.
        parts.iter().for_each(|part| {
            (0..2).for_each(|kind| {
                (0..part.versions[kind].len()).for_each(|at| part.get(kind, at));
            });
        });
        store.validate().expect("valid");
        let stats = store.stats();
        let spill = stats.spill.as_ref().expect("a backing");
        let backing = &spill.backing;
        let now = (stats.metadata_bytes, rss(), directory.bytes());
        if seconds.is_some() || cycle < 4 {
            eprintln!(
                "cycle {cycle}: {} pages spilled, {} live bytes in {} extents, {} written, {now:?}",
                spill.pages, backing.live_bytes, backing.extents, backing.written_bytes
            );
        }
        assert_eq!((backing.corrupt, backing.read_failures, backing.timeouts), (0, 0, 0));
        let wanted = stats.limit_bytes * 9;
        assert!(stats.original_bytes > wanted, "ten times more than memory: {stats:?}");
        if cycle <= WARM {
            // The most of the first cycles: memory is fuller in some than in others.
            let most = |one: u64, other: u64| one.max(other);
            baseline = (most(baseline.0, now.0), most(baseline.1, now.1), most(baseline.2, now.2));
        }
        if cycle > WARM {
            // A training may be under way, or its dictionary come later.
            assert!(now.0 <= baseline.0 + (2 << 20), "cycle {cycle}: {baseline:?} and now {now:?}");
            assert!(now.1 <= baseline.1 + (8 << 20), "cycle {cycle}: {baseline:?} and now {now:?}");
            let more = baseline.2 / 4 + 8 * extent as u64;
            assert!(now.2 <= baseline.2 + more, "cycle {cycle}: {baseline:?} and now {now:?}");
        }
        cycle += 1;
    }
    let sum = |of: fn(&Part<'_>) -> u64| parts.iter().map(of).sum::<u64>();
    let (operations, refused) = (sum(|part| part.operations), sum(|part| part.refused));
    let stats = store.stats();
    eprintln!("{cycle} cycles, {operations} operations, {refused} puts refused");
    eprintln!("{:?}\n{:?}\n{:?}\n{:?}", stats.spill, stats.staging, stats.training, stats.idle);
    // A put waits for the spiller a bounded time; on a busy machine that may be too short.
    assert!(refused <= operations / 20, "{refused} of {operations} puts were refused");
    let spill = stats.spill.expect("a backing");
    assert!(spill.returned > 0 && spill.fetches > 0, "{spill:?}");
    drop((pages, values, cache));
    parts.clear();
    assert_eq!(store.stats().stored, 0, "every space is gone");
    assert_eq!(store.stats().spill.expect("a backing").backing.live_objects, 0);
    store.validate().expect("valid");
    drop(store);
    assert_eq!(directory.bytes(), 0, "the file is gone");
}

/// Bases of each kind come and go, with spaces on them that are used, beside each other; memory stays flat.
#[test]
fn memory_stays_flat_with_bases() {
    let seed = *Seed::for_test(0x50ba);
    let seconds = env::var("PAGEFOLD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(3));
    let life = Duration::from_millis(if seconds.is_some() { 3000 } else { 150 });
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("image");
    let image: Vec<Page> = Mix::PROCESS
        .pages(&mut seed.rng(2000), 500)
        .iter()
        .map(|page| page.as_slice().try_into().expect("a page"))
        .collect();
    fs::write(&path, image.as_flattened()).expect("room");
    let store = Store::builder().limit(LIMIT).idle_interval(Duration::from_millis(100));
    let store = store.idle_share(20).self_training(false).build().expect("room");
    let near = |key: u64, version: u64| {
        let mut page = image[usize::try_from(key % 500).expect("small")];
        page[..8].copy_from_slice(&(key << 32 | version).to_le_bytes());
        page
    };
    let (mut cycle, mut operations, mut baseline, mut rss_baseline) = (0, 0, 0, 0);
    while Instant::now() < until || cycle < 6 {
        let golden = store.space(SpaceConfig::persistent(500)).expect("room");
        for (key, page) in (0..).zip(&image) {
            golden.put(key, page).expect("room");
        }
        let base = store.base(match cycle % 4 {
            0 => BaseSource::path(&path),
            1 => BaseSource::memory(image.as_flattened()).resident(64 << 10),
            2 => BaseSource::space(&golden).resident(0),
            _ => BaseSource::path(&path).locked(),
        });
        let base = base.expect("room");
        drop(golden);
        let config = |first: u64| match first {
            0 => SpaceConfig::ephemeral(2000),
            _ => SpaceConfig::persistent(2000),
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..3)
                .map(|number| {
                    let ranges = (0..4).map(|copy| copy * 500..(copy + 1) * 500);
                    let config = ranges.fold(config(number), |config, keys| config.map(keys, 0));
                    let space = store.space(config.on(&base)).expect("room");
                    let near = &near;
                    scope.spawn(move || {
                        let mut rng = seed.rng(cycle * 3 + number);
                        let (mut back, mut done) = ([0; 4096], 0_u64);
                        let until = Instant::now() + life;
                        while Instant::now() < until {
                            let key = rng.random_range(0..2000);
                            match rng.random_range(0..20) {
                                0..10 => {
                                    let page = near(key, rng.random_range(0..1000));
                                    _ = space.put(key, &page);
                                }
                                10..19 => match space.get(key, &mut back) {
                                    Ok(()) => {
                                        let mark = u64::from_le_bytes(
                                            *back.first_chunk().expect("8 bytes"),
                                        );
                                        assert!(back == near(key, mark & 0xffff_ffff), "key {key}");
                                    }
                                    Err(error) => assert_eq!(error, GetError::Absent),
                                },
                                _ => _ = space.remove(key).expect("a key"),
                            }
                            done += 1;
                        }
                        done
                    })
                })
                .collect();
            drop(base);
            operations +=
                threads.into_iter().map(|thread| thread.join().expect("no panic")).sum::<u64>();
        });
        store.shrink(usize::MAX);
        store.validate().expect("valid");
        let stats = store.stats();
        assert_eq!((stats.stored, stats.payload_bytes, stats.bases.len()), (0, 0, 0));
        // One of each kind is over.
        match cycle.cmp(&4) {
            Ordering::Less => {}
            Ordering::Equal => (baseline, rss_baseline) = (stats.resident_bytes, rss()),
            Ordering::Greater => {
                let now = at_rest(&store, baseline + (2 << 20)).resident_bytes;
                assert!(now <= baseline + (2 << 20), "cycle {cycle}: {baseline} and now {now}");
                let now = rss();
                assert!(
                    now <= rss_baseline + (8 << 20),
                    "cycle {cycle}: {rss_baseline}, now {now}"
                );
            }
        }
        cycle += 1;
    }
    eprintln!("{cycle} cycles, {operations} operations, {baseline} bytes, then {}", rss());
}
