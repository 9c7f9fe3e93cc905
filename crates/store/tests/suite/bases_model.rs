//! A map as oracle over spaces on bases: random operations with memory refused, a codec that fails, a backing that fails, and
//! a base file that changes. What was accepted comes back or is an error that the fault explains, and no other bytes.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use pagefold_codec::{Codec, CodecError, CodecSpec};
use pagefold_frame::HeapSource;
use pagefold_store::{
    Base, BaseFault, BaseSource, GetError, Page, PutError, Space, SpaceConfig, Store, TryGetError,
    spill::{EXTENT_BYTES_MIN, Spill},
};
use pagefold_testkit::{
    backing::{FaultyBacking, READ_FAULTS, ReadFault, WRITE_FAULTS},
    corpus::PageKind,
    faulty::{FaultPlan, FaultySource},
    seed::Seed,
};
use rand::{Rng, RngExt, seq::IndexedRandom as _};
use tempfile::TempDir;

use super::model::Calls;

const PAGES: u64 = 96;
/// Those above `PAGES` have no base page.
const KEYS: u64 = 128;

struct Failing {
    inner: Box<dyn Codec>,
    plan: Arc<(Calls, Calls)>,
}

impl Codec for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        if self.plan.0.fails() { None } else { self.inner.compress(src, dst) }
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        if self.plan.1.fails() {
            return Err(CodecError::Invalid { codec: "failing", capacity: dst.len() });
        }
        self.inner.decompress(src, dst)
    }

    fn metadata_bytes(&self) -> usize {
        self.inner.metadata_bytes()
    }
}

#[derive(Debug, Clone, Copy)]
enum From {
    File,
    Locked,
    Memory,
    Space,
}

const SOURCES: [From; 4] = [From::File, From::Locked, From::Memory, From::Space];

struct World {
    plan: Arc<FaultPlan>,
    codec: Arc<(Calls, Calls)>,
    backing: Arc<FaultyBacking>,
    template: Vec<Page>,
    /// Of the base file.
    file: File,
    damaged: HashSet<u64>,
    store: Store,
    base: Option<Base>,
    space: Space,
    map: HashMap<u64, Vec<u8>>,
    from: From,
    _directory: TempDir,
}

fn template(rng: &mut impl Rng) -> Vec<Page> {
    let page = |_| {
        let mut page = [0; 4096];
        let kind = PageKind::ALL[rng.random_range(0..PageKind::ALL.len())];
        kind.fill(rng, &mut page);
        page
    };
    (0..PAGES).map(page).collect()
}

impl World {
    fn new(from: From, ephemeral: bool, staging: bool, rng: &mut impl Rng) -> Self {
        let (plan, codec) = (FaultPlan::new(), Arc::new((Calls::default(), Calls::default())));
        let backing = Arc::new(FaultyBacking::new(rng.random()));
        let template = template(rng);
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("image");
        fs::write(&path, template.as_flattened()).expect("room");
        let file = OpenOptions::new().write(true).open(&path).expect("there");

        let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(&plan));
        let spill = Spill::builder(Arc::clone(&backing)).extent_bytes(EXTENT_BYTES_MIN);
        let inner = "lz4".parse::<CodecSpec>().expect("a codec").build().expect("in the build");
        let builder = Store::builder()
            .source(Box::new(source))
            .codec_with(Box::new(Failing { inner, plan: Arc::clone(&codec) }))
            .limit(4 << 20)
            .shrinker(false)
            .workers(0)
            .idle_share(0)
            .spill(spill.build().expect("sensible"))
            .without_spiller();
        let builder = if staging { builder.staging(64 << 10) } else { builder.staging(0) };
        let store = builder.build().expect("nothing fails while the store is built");
        let golden = store.space(SpaceConfig::persistent(PAGES)).expect("room");
        for (key, page) in (0..).zip(&template) {
            golden.put(key, page).expect("room");
        }
        let base = store.base(match from {
            From::File => BaseSource::path(&path).resident(16 << 10),
            From::Locked => BaseSource::path(&path).locked(),
            From::Memory => BaseSource::memory(template.as_flattened()).resident(16 << 10),
            From::Space => BaseSource::space(&golden).resident(0),
        });
        let base = base.expect("room");
        let config = match ephemeral {
            true => SpaceConfig::ephemeral(KEYS),
            false => SpaceConfig::persistent(KEYS),
        };
        let space = store.space(config.on(&base)).expect("room");
        let (map, damaged) = (HashMap::new(), HashSet::new());
        let base = Some(base);
        Self {
            plan,
            codec,
            backing,
            template,
            file,
            damaged,
            store,
            base,
            space,
            map,
            from,
            _directory: directory,
        }
    }

    fn content(&self, key: u64, rng: &mut impl Rng) -> Vec<u8> {
        let of_base = usize::try_from(key % PAGES).expect("small");
        let mut page = self.template[of_base];
        match rng.random_range(0..12) {
            0 | 1 => {}
            2 => page.fill(rng.random()),
            3 => page.rotate_left(rng.random_range(1..4096)),
            4 => PageKind::Random.fill(rng, &mut page),
            5 => page = self.template[(of_base + 1) % self.template.len()],
            6 => return page[..rng.random_range(0..4096)].to_vec(),
            7 => page[..2000].fill(9),
            _ => {
                let changes = [1, 3, 20, 90, 400][rng.random_range(0..5)];
                (0..changes).for_each(|_| page[rng.random_range(0..4096)] = rng.random());
            }
        }
        page.to_vec()
    }

    /// What may have gone wrong, by the faults that are on.
    fn explains(&self, error: &GetError, key: u64, faulty: bool) -> bool {
        match error {
            GetError::Base { page, fault: BaseFault::Changed | BaseFault::Truncated, .. }
                if matches!(self.from, From::File) =>
            {
                *page == key && self.damaged.contains(&key)
            }
            GetError::Base { page, .. } => *page == key && faulty,
            GetError::Corrupt | GetError::Io(_) | GetError::Timeout => faulty,
            _ => false,
        }
    }

    fn check(&mut self, key: u64, faulty: bool) {
        let is_ephemeral = self.space.stats().kind == pagefold_store::SpaceKind::Ephemeral;
        let got = self.space.get_bytes(key);
        match (&got, self.map.get(&key)) {
            (Ok(bytes), Some(expected)) => assert!(bytes == expected, "key {key}: other bytes"),
            (Ok(_), None) => panic!("key {key} came from nowhere"),
            (Err(GetError::Absent), None) => {}
            (Err(GetError::Absent), Some(_)) => {
                assert!(is_ephemeral, "key {key} is lost");
                self.map.remove(&key);
            }
            (Err(error), known) => {
                assert!(known.is_some() && self.explains(error, key, faulty), "key {key}: {error}");
            }
        }
        let mut page = [0; 4096];
        match (self.space.try_get(key, &mut page), self.map.get(&key)) {
            (Ok(()), Some(expected)) => assert!(page[..] == expected[..], "key {key}: other bytes"),
            (Ok(()), None) => panic!("key {key} came from nowhere"),
            (Err(TryGetError::WouldBlock), _) => {}
            (Err(TryGetError::Get(GetError::Absent)), known) => {
                assert!(known.is_none() || is_ephemeral);
                if known.is_some() {
                    self.map.remove(&key);
                }
            }
            (Err(TryGetError::Get(GetError::WrongLength { len, .. })), Some(expected)) => {
                assert_eq!(len, expected.len());
            }
            (Err(TryGetError::Get(error)), _) => {
                assert!(self.explains(&error, key, faulty), "key {key}: {error}");
            }
        }
    }

    fn damage(&mut self, rng: &mut impl Rng) {
        let key = rng.random_range(0..PAGES);
        if self.damaged.remove(&key) {
            let page = self.template[usize::try_from(key).expect("small")];
            self.file.write_all_at(&page, key * 4096).expect("room");
        } else {
            self.damaged.insert(key);
            let mut page = self.template[usize::try_from(key).expect("small")];
            page[rng.random_range(0..4096)] ^= 1 << rng.random_range(0..8);
            self.file.write_all_at(&page, key * 4096).expect("room");
        }
    }

    fn repair(&mut self) {
        self.file.write_all_at(self.template.as_flattened(), 0).expect("room");
        self.damaged.clear();
        self.plan.heal();
        self.codec.0.heal();
        self.codec.1.heal();
        self.backing.disarm();
    }

    fn step(&mut self, rng: &mut impl Rng, faulty: bool) {
        let key = rng.random_range(0..KEYS);
        match rng.random_range(0..100) {
            0..40 => {
                let bytes = self.content(key, rng);
                match self.space.put_bytes(key, &bytes) {
                    Ok(()) => _ = self.map.insert(key, bytes),
                    Err(PutError::Full { .. }) => {
                        if self.space.contains(key) == Ok(false) {
                            self.map.remove(&key);
                        }
                    }
                    Err(error) => panic!("key {key}: {error}"),
                }
            }
            40..75 => self.check(key, faulty),
            75..82 => {
                let there = self.space.remove(key).expect("a key");
                let known = self.map.remove(&key).is_some();
                assert!(there <= known, "{key}");
            }
            82..88 => match self.space.take_bytes(key) {
                Ok(bytes) => assert!(self.map.remove(&key).expect("known") == bytes, "{key}"),
                Err(_) => self.check(key, faulty),
            },
            88..92 => {
                let changed = self.space.update_bytes(key, |bytes| {
                    if let Some(byte) = bytes.first_mut() {
                        *byte ^= 1;
                    }
                });
                match (changed, self.map.get_mut(&key)) {
                    (Ok(true), Some(bytes)) => {
                        if let Some(byte) = bytes.first_mut() {
                            *byte ^= 1;
                        }
                    }
                    (Ok(true), None) => panic!("key {key} came from nowhere"),
                    _ => self.check(key, faulty),
                }
            }
            92..94 => _ = self.store.compact(64 << 10),
            94..96 => _ = self.store.maintain(16 << 10),
            96..98 => _ = self.store.spill_extent(),
            98 => _ = self.store.clean_extent(),
            _ => {
                // A handle less; the space has the base.
                if rng.random_range(0..20) == 0 {
                    self.base = None;
                }
            }
        }
    }

    fn check_all(&mut self) {
        (0..KEYS).for_each(|key| self.check(key, false));
        self.store.validate().expect("valid");
    }
}

/// `run` also gets a number that no other world has.
fn worlds(seed: Seed, mut run: impl FnMut(World, u64)) {
    let mut stream = 0;
    for from in SOURCES {
        for ephemeral in [false, true] {
            for staging in [false, true] {
                let mut rng = seed.rng(stream);
                stream += 1;
                let world = World::new(from, ephemeral, staging, &mut rng);
                run(world, 1000 + stream);
            }
        }
    }
}

#[test]
fn spaces_on_bases_and_a_map_agree() {
    let seed = *Seed::for_test(0xba5e);
    worlds(seed, |mut world, stream| {
        let rng = &mut seed.rng(stream);
        for _ in 0..4000 {
            world.step(rng, false);
        }
        world.check_all();
    });
}

#[test]
fn faults_of_every_kind_lose_nothing_and_give_no_other_bytes() {
    let seed = *Seed::for_test(0xba5e);
    worlds(seed, |mut world, stream| {
        let rng = &mut seed.rng(stream);
        for _ in 0..60 {
            for _ in 0..rng.random_range(1..4) {
                match rng.random_range(0..5) {
                    0 => world.plan.fail(rng.random_range(0..20), rng.random_range(1..30)),
                    1 => world.codec.0.fail(rng.random_range(0..20), rng.random_range(1..30)),
                    2 => world.codec.1.fail(rng.random_range(0..20), rng.random_range(1..30)),
                    3 => {
                        let faults =
                            READ_FAULTS.iter().filter(|fault| **fault != ReadFault::Panics);
                        let faults: Vec<_> = faults.copied().collect();
                        world.backing.fail_read(*faults.choose(rng).expect("some"));
                    }
                    _ => (0..8).for_each(|_| world.damage(rng)),
                }
            }
            for _ in 0..60 {
                world.step(rng, true);
            }
            world.repair();
            world.check_all();
        }
        // What a backing lost stays lost: it is asked last.
        world.backing.fail_write(*WRITE_FAULTS.choose(rng).expect("some"));
        world.store.spill_extent();
        world.store.validate().expect("valid");
    });
}

#[test]
fn each_refusal_of_memory_while_a_base_is_made_leaves_nothing_behind() {
    let (template, directory) = (template(&mut Seed::new(1).rng(0)), TempDir::new().expect("one"));
    let path = directory.path().join("image");
    fs::write(&path, template.as_flattened()).expect("room");
    for from in SOURCES {
        let (mut k, mut failures) = (0, 0);
        loop {
            let plan = FaultPlan::new();
            let source = FaultySource::new(Box::new(HeapSource::new()), Arc::clone(&plan));
            let builder = Store::builder().source(Box::new(source)).limit(8 << 20).staging(0);
            let store = builder.shrinker(false).idle_share(0).build().expect("room");
            let golden = store.space(SpaceConfig::persistent(PAGES)).expect("room");
            for (key, page) in (0..).zip(&template) {
                golden.put(key, page).expect("room");
            }
            let before = plan.allocations();
            plan.fail(k, u64::MAX);
            let base = store.base(match from {
                From::File => BaseSource::path(&path),
                From::Locked => BaseSource::path(&path).locked(),
                From::Memory => BaseSource::memory(template.as_flattened()),
                From::Space => BaseSource::space(&golden),
            });
            let asked = plan.allocations() - before;
            plan.heal();
            match base {
                Ok(base) => {
                    let space = store.space(SpaceConfig::persistent(PAGES).on(&base));
                    let space = space.expect("nothing is refused any more");
                    for (key, page) in (0..).zip(&template) {
                        space.put(key, page).expect("room");
                        assert_eq!(space.get_bytes(key).as_deref(), Ok(&page[..]));
                    }
                    assert!(space.stats().deltas == 0 && space.stats().compressed == 0);
                }
                Err(error) => {
                    failures += 1;
                    assert!(matches!(error, pagefold_store::BaseError::Full), "{error}");
                    assert_eq!(store.stats().bases.len(), 0);
                    assert_eq!(golden.remove(0), Ok(true), "not frozen");
                }
            }
            store.validate().expect("valid");
            if asked <= k {
                break;
            }
            k += 1;
        }
        assert!(failures > 0 || k < 2, "{from:?}: {k}");
    }
}
