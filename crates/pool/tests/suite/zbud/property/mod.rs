//! zbud against a naive model that knows each object's frame and the order in which frames were filled, with
//! `validate()` after every operation.
//!
//! The model predicts the number of frames, what `compact` joins, whom `reclaim` asks for and what it wins; so the
//! bounds that are checked on the model hold for the pool:
//! - frames never exceed objects (except those that an open read or a reclaim holds);
//! - a store takes a new frame only if no lone frame has room and is neither read nor under reclaim;
//! - after `compact` no two lone objects fit together.

mod model;

use std::{collections::BTreeMap, collections::VecDeque};

use pagefold_frame::HeapSource;
use pagefold_pool::{
    Allocator, Handle, NotEvicted, Pool, PoolBuilder, ReclaimError, Reclaimed, Slices,
};
use pagefold_testkit::{pattern::Pattern, seed::Seed};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use rand::Rng;

use self::model::{Model, ObjectNo};

/// One operation; objects are chosen by a number modulo how many there are.
#[derive(Debug, Clone)]
enum Op {
    Store {
        len: usize,
    },
    Free {
        object: usize,
    },
    Write {
        object: usize,
    },
    Compact,
    Migrate {
        object: usize,
    },
    Trim,
    Reclaim {
        answers: Vec<Answer>,
    },
    /// The others inside a read of one object.
    Reading {
        object: usize,
        ops: Vec<Op>,
    },
}

/// What the evictor does when it is asked for an object.
#[derive(Debug, Clone)]
enum Answer {
    Evict,
    Refuse,
    /// Says that it evicted, and did not.
    Lie,
    /// Works, and then evicts.
    Work(Vec<Op>),
}

fn lens() -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => 1..=4096_usize,
        2 => (1..=64_usize, 0..=2_usize).prop_map(|(chunks, more)| (chunks * 64 + more - 1).min(4096)),
        2 => 1..=2048_usize,
    ]
}

fn quiet_op() -> BoxedStrategy<Op> {
    let object = any::<usize>;
    prop_oneof![
        8 => lens().prop_map(|len| Op::Store { len }),
        5 => object().prop_map(|object| Op::Free { object }),
        2 => object().prop_map(|object| Op::Write { object }),
        1 => Just(Op::Compact),
        1 => object().prop_map(|object| Op::Migrate { object }),
        1 => Just(Op::Trim),
    ]
    .boxed()
}

fn reclaim() -> impl Strategy<Value = Op> {
    let answer = prop_oneof![
        5 => Just(Answer::Evict),
        2 => Just(Answer::Refuse),
        1 => Just(Answer::Lie),
        2 => vec(quiet_op(), 1..4).prop_map(Answer::Work),
    ];
    vec(answer, 2).prop_map(|answers| Op::Reclaim { answers })
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let flat = prop_oneof![10 => quiet_op(), 2 => reclaim()];
    let reading = (any::<usize>(), vec(prop_oneof![5 => quiet_op(), 1 => reclaim()], 1..12))
        .prop_map(|(object, ops)| Op::Reading { object, ops });
    vec(prop_oneof![12 => flat, 1 => reading], 1..160)
}

/// The pool beside its model.
struct Driver<'p> {
    pool: &'p dyn Pool,
    model: Model,
    /// Handles, lengths and versions of the contents of live objects.
    objects: BTreeMap<ObjectNo, (Handle, usize, u64)>,
    numbers: BTreeMap<Handle, ObjectNo>,
    next: ObjectNo,
}

/// `Err(text)` unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

fn pattern(object: ObjectNo, version: u64) -> Pattern {
    Pattern::new(3, object as u64, version)
}

impl<'p> Driver<'p> {
    fn new(pool: &'p dyn Pool) -> Self {
        let (objects, numbers) = (BTreeMap::new(), BTreeMap::new());
        Self { pool, model: Model::default(), objects, numbers, next: 0 }
    }

    fn pick(&self, number: usize) -> Option<ObjectNo> {
        self.objects.keys().nth(number % self.objects.len().max(1)).copied()
    }

    fn apply(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Store { len } => self.store(*len)?,
            Op::Free { object } => {
                if let Some(object) = self.pick(*object) {
                    self.free(object)?;
                }
            }
            Op::Write { object } => {
                if let Some(object) = self.pick(*object) {
                    let (handle, len, version) = self.objects[&object];
                    let written = self.pool.write(handle, &pattern(object, version + 1).bytes(len));
                    ensure!(written == Ok(()), "write of object {object}: {written:?}");
                    self.objects.insert(object, (handle, len, version + 1));
                    self.model.write(object);
                }
            }
            Op::Compact => {
                let (report, joined) = (self.pool.compact(usize::MAX), self.model.compact());
                ensure!(
                    report.moved_objects == joined as u64 && report.freed_frames == joined as u64,
                    "{report:?}, and {joined} objects could be joined"
                );
                let left = self.model.could_join();
                ensure!(left.is_none(), "after compaction frames {left:?} could be one");
            }
            Op::Migrate { object } => {
                if let Some(object) = self.pick(*object) {
                    // Refused while the frame is read; no answer changes what the model knows.
                    self.pool.migrate(self.objects[&object].0).ok();
                }
            }
            Op::Trim => _ = self.pool.trim(),
            Op::Reclaim { answers } => self.reclaim(answers)?,
            Op::Reading { object, ops } => {
                if let Some(object) = self.pick(*object) {
                    self.read_while(object, ops)?;
                }
            }
        }
        self.compare().map_err(|error| format!("{op:?}: {error}"))
    }

    fn store(&mut self, len: usize) -> Result<(), String> {
        let object = self.next;
        self.next += 1;
        let stored = self.pool.store(&pattern(object, 0).bytes(len));
        let handle = stored.map_err(|error| format!("store of {len} bytes: {error}"))?;
        self.model.store(object, len);
        self.objects.insert(object, (handle, len, 0));
        self.numbers.insert(handle, object);
        Ok(())
    }

    fn free(&mut self, object: ObjectNo) -> Result<(), String> {
        let (handle, ..) = self.objects.remove(&object).ok_or("freed twice by the test")?;
        let freed = self.pool.free(handle);
        ensure!(freed == Ok(()), "free of object {object}: {freed:?}");
        self.model.remove(object);
        Ok(())
    }

    /// Reclaims one frame; the model says which, and whom it asks for.
    fn reclaim(&mut self, answers: &[Answer]) -> Result<(), String> {
        let seized = self.model.seize();
        let mut expected: VecDeque<ObjectNo> =
            seized.iter().flat_map(|(_, objects)| objects).copied().collect();
        let mut answers = answers.iter();
        let (pool, mut outcome, mut refused) = (self.pool, Ok(()), false);
        let answer = pool.reclaim(1, &mut |handle| {
            let answer = self.evict(handle, &mut expected, answers.next());
            refused = answer != Ok(true);
            outcome = answer.map(|_| ());
            if refused { Err(NotEvicted) } else { Ok(()) }
        });
        outcome?;
        expected.retain(|object| self.model.is_live(*object));
        ensure!(expected.is_empty() || refused, "objects {expected:?} were not asked for");
        let right = match seized.map(|(frame, _)| self.model.put_back(frame)) {
            None => Err(ReclaimError::NothingToReclaim),
            Some(None) => Err(ReclaimError::Again { tried: 1 }),
            Some(Some(deferred)) => Ok(Reclaimed { frames: 1, kept: 0, deferred }),
        };
        ensure!(answer == right, "reclaim answers {answer:?} instead of {right:?}");
        Ok(())
    }

    /// Whether the object that was asked for is said to be evicted.
    fn evict(
        &mut self,
        handle: Handle,
        expected: &mut VecDeque<ObjectNo>,
        answer: Option<&Answer>,
    ) -> Result<bool, String> {
        expected.retain(|object| self.model.is_live(*object));
        let (asked, right) = (self.numbers.get(&handle), expected.pop_front());
        ensure!(asked == right.as_ref(), "asked for {asked:?} instead of {right:?}");
        let object = right.ok_or("asked for an unknown object")?;
        match answer.ok_or("asked for more than two objects")? {
            Answer::Refuse => return Ok(false),
            Answer::Lie => return Ok(true),
            Answer::Evict => {}
            Answer::Work(ops) => ops.iter().try_for_each(|op| self.apply(op))?,
        }
        if self.model.is_live(object) {
            self.free(object)?;
        }
        Ok(true)
    }

    fn read_while(&mut self, object: ObjectNo, ops: &[Op]) -> Result<(), String> {
        let (handle, _, version) = self.objects[&object];
        let (pool, mut outcome) = (self.pool, Ok(()));
        let open = |slices: Slices<'_>| {
            self.model.begin_read(object);
            outcome = ops.iter().try_for_each(|op| self.apply(op));
            if let (Ok(()), Err(difference)) = (&outcome, pattern(object, version).check(slices)) {
                outcome = Err(format!("the open read of object {object}: {difference:?}"));
            }
        };
        let read = pool.read(handle, &mut { open });
        ensure!(read == Ok(()), "read of object {object}: {read:?}");
        self.model.end_read();
        outcome
    }

    /// Compares what can be seen from outside, with the bounds.
    fn compare(&self) -> Result<(), String> {
        let (stats, frames) = (self.pool.stats(), self.model.frames());
        ensure!(
            stats.frame_bytes == frames as u64 * 4096,
            "{} bytes of frames, and the model has {frames} frames: {:?}",
            stats.frame_bytes,
            self.model
        );
        ensure!(
            frames <= self.model.objects() + self.model.excess(),
            "{frames} frames for {} objects",
            self.model.objects()
        );
        Ok(())
    }

    fn check_bytes(&self) -> Result<(), String> {
        for (object, (handle, len, version)) in &self.objects {
            let mut seen = Err(String::new());
            let read = self.pool.read(*handle, &mut |slices| {
                let checked = pattern(*object, *version).check(slices);
                seen = checked.map_err(|difference| format!("object {object}: {difference:?}"));
            });
            ensure!(read == Ok(()), "read of object {object}: {read:?}");
            ensure!(self.pool.len(*handle) == Ok(*len), "len of object {object}");
            seen?;
        }
        Ok(())
    }
}

fn pool() -> Box<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::zbud()).limit(16 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("enough for a pool")
}

/// Runs a property with randomness that follows from one printed seed.
fn check<S: Strategy>(
    default_seed: u64,
    cases: u32,
    strategy: S,
    property: impl Fn(S::Value) -> Result<(), String>,
) {
    let seed = Seed::for_test(default_seed);
    let mut words = [0; 32];
    seed.rng(0).fill_bytes(&mut words);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &words));
    let outcome = runner.run(&strategy, |value| property(value).map_err(TestCaseError::fail));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn any_sequence_agrees_with_the_model() {
    check(0x2bd, 600, ops(), |ops| {
        let pool = pool();
        let mut on = Driver::new(&*pool);
        for (step, op) in ops.iter().enumerate() {
            on.apply(op)
                .and_then(|()| on.pool.validate().map_err(|violation| violation.to_string()))
                .and_then(|()| on.check_bytes())
                .map_err(|error| format!("operation {step}, {op:?}: {error}"))?;
        }
        for object in on.objects.keys().copied().collect::<Vec<_>>() {
            on.free(object)?;
        }
        let left = pool.stats();
        ensure!((left.objects, left.frame_bytes) == (0, 0), "something is left: {left:?}");
        pool.validate().map_err(|violation| violation.to_string())
    });
}

/// What `stats()` says that compaction could free is what it frees, and afterwards there is nothing.
#[test]
fn what_is_reclaimable_is_what_compaction_frees() {
    let lens_and_frees = (vec(lens(), 1..600), vec(any::<bool>(), 600));
    check(0x9a17, 150, lens_and_frees, |(lens, frees)| {
        let pool = pool();
        let mut on = Driver::new(&*pool);
        lens.iter().try_for_each(|len| on.store(*len))?;
        for (object, _) in frees.iter().enumerate().filter(|(_, free)| **free) {
            if on.model.is_live(object) {
                on.free(object)?;
            }
        }
        let before = pool.stats();
        on.apply(&Op::Compact)?;
        let after = pool.stats();
        ensure!(
            before.frame_bytes - after.frame_bytes == before.reclaimable_bytes,
            "{} bytes are reclaimable, {} were freed",
            before.reclaimable_bytes,
            before.frame_bytes - after.frame_bytes
        );
        ensure!(after.reclaimable_bytes == 0, "{} bytes are left", after.reclaimable_bytes);
        on.check_bytes()
    });
}
