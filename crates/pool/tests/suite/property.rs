//! Sequences of operations, generated and shrunk, against the naive model, with `validate()` after every operation.

use std::num::NonZeroU64;

use pagefold_frame::HeapSource;
use pagefold_pool::{
    Allocator, BlockSelection, FillPolicy, NbudOptions, Pool, PoolBuilder, XcfmallocOptions,
    ZsmallocOptions,
};
use pagefold_testkit::{
    corpus::PAGE_BYTES,
    model::{Checked, Depth, Op},
    seed::Seed,
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use rand::Rng;

/// The pool of one case.
#[derive(Debug, Clone, Copy)]
struct Shape {
    allocator: Allocator,
    limit: usize,
}

impl Shape {
    fn build(self) -> Box<dyn Pool> {
        let builder = PoolBuilder::new(self.allocator).limit(self.limit);
        let builder = match self.allocator {
            // From the heap, where a frame that is used after it was given back reads as something else.
            Allocator::Xcfmalloc(_) | Allocator::Zsmalloc(_) => {
                builder.source(Box::new(HeapSource::new()))
            }
            _ => builder,
        };
        builder.build().expect("enough for a pool")
    }
}

/// nbud with spans and a policy of the case's choice.
#[derive(Debug, Clone, Copy)]
struct NbudShape {
    span_frames: u32,
    fill: FillPolicy,
    limit: usize,
}

impl NbudShape {
    fn shape(self) -> Shape {
        let options = NbudOptions::new().span_frames(self.span_frames).fill_policy(self.fill);
        Shape { allocator: options.into(), limit: self.limit }
    }

    fn span_bytes(self) -> usize {
        self.span_frames as usize * PAGE_BYTES
    }
}

/// A packing with any of its options, and a limit.
fn shapes() -> impl Strategy<Value = Shape> {
    let selections =
        vec![BlockSelection::Standard, BlockSelection::Standard, BlockSelection::Inverted];
    let blocks = (select(vec![1_u32, 2, 3, 4, 8]), select(selections));
    let xcfmalloc = blocks.prop_map(|(blocks, selection)| {
        Allocator::from(XcfmallocOptions::new().max_blocks(blocks).selection(selection))
    });
    let classes = (select(vec![8_usize, 16, 32, 1016]), 1..=8_u32, any::<bool>());
    let zsmalloc = classes.prop_map(|(step, chain, lending)| {
        let options = ZsmallocOptions::new().class_step(step).chain_limit(chain);
        Allocator::from(options.class_lending(lending))
    });
    let others = prop_oneof![1 => Just(Allocator::zbud()), 3 => xcfmalloc, 4 => zsmalloc];
    prop_oneof![
        3 => nbud_shapes().prop_map(NbudShape::shape),
        8 => (others, limits()).prop_map(|(allocator, limit)| Shape { allocator, limit }),
    ]
}

/// The least leaves room for a handful of large objects, so that most cases reach the limit.
fn limits() -> impl Strategy<Value = usize> {
    select(vec![1_usize << 20, 2 << 20, 16 << 20])
}

fn nbud_shapes() -> impl Strategy<Value = NbudShape> {
    let policies = vec![FillPolicy::Auto, FillPolicy::Tight, FillPolicy::Append];
    (select(vec![1_u32, 2, 4, 8, 16]), select(policies), limits())
        .prop_map(|(span_frames, fill, limit)| NbudShape { span_frames, fill, limit })
}

/// Short ones, all of a frame, borders of frames and half spans, anything.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1..=300_usize,
        4 => 1..=PAGE_BYTES,
        3 => (1..=32_usize, 0..=40_usize).prop_map(|(halves, offset)| halves * (PAGE_BYTES / 2) + offset - 20),
        1 => 0..=(65_usize << 10),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    let number = any::<u64>;
    prop_oneof![
        8 => (lengths(), number()).prop_map(|(len, key)| Op::Store { len, key }),
        2 => lengths().prop_map(|len| Op::Alloc { len }),
        5 => number().prop_map(|object| Op::Free { object }),
        1 => Just(Op::FreeLast),
        3 => (number(), number()).prop_map(|(object, key)| Op::Write { object, key }),
        1 => (number(), lengths()).prop_map(|(object, len)| Op::WriteLength { object, len }),
        2 => (number(), 0..=(65_usize << 10)).prop_map(|(object, capacity)| Op::Read { object, capacity }),
        2 => (number(), number()).prop_map(|(object, victim)| Op::FreeDuringRead { object, victim }),
        1 => number().prop_map(|object| Op::FreeDuringRead { object, victim: object }),
        2 => (number(), number(), number()).prop_map(|(object, target, key)| Op::WriteDuringRead { object, target, key }),
        1 => (number(), number()).prop_map(|(object, key)| Op::WriteDuringRead { object, target: object, key }),
        2 => (number(), lengths(), number()).prop_map(|(object, len, key)| Op::WorkDuringRead { object, len, key }),
        1 => number().prop_map(|object| Op::Dead { object }),
        1 => any::<NonZeroU64>().prop_map(|word| Op::Forged { word }),
        2 => (0..=(128_usize << 10)).prop_map(|budget| Op::Compact { budget }),
        1 => Just(Op::Trim),
        1 => (0..=(4_usize << 20)).prop_map(|bytes| Op::SetLimit { bytes }),
        1 => Just(Op::CheckAll),
    ]
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
    check(0x5e90, 2400, (shapes(), vec(ops(), 1..150)), |(shape, ops)| {
        let pool = shape.build();
        let mut on = Checked::new(&*pool, Depth::Validate);
        for (step, op) in ops.iter().enumerate() {
            op.apply(&mut on)
                .map_err(|mismatch| format!("operation {step}, {op:?}: {mismatch}"))?;
        }
        on.check_all(100).and_then(|()| on.free_all()).map_err(|mismatch| mismatch.to_string())?;
        let left = pool.stats();
        if (left.objects, left.payload_bytes) == (0, 0) {
            Ok(())
        } else {
            Err(format!("something is left: {left:?}"))
        }
    });
}

/// An object's slot in the directory of its span.
const SLOT_BYTES: usize = 8;
/// Spans that one thread may have open, and the one that it was about to open.
const OPEN_SPANS_MAX: usize = 2;

/// What a pool without frees may take at most. Both bounds must hold.
#[derive(Debug, Default)]
struct Bound {
    /// Objects with a run of their own.
    run_bytes: usize,
    /// All others, with slots.
    shared_bytes: usize,
    shared_len_max: usize,
    /// Each object rounded up to frames.
    rounded_bytes: usize,
}

impl Bound {
    fn add(&mut self, len: usize, span_bytes: usize) {
        let alone = len.next_multiple_of(PAGE_BYTES);
        let shared = len.next_multiple_of(4) + SLOT_BYTES;
        self.rounded_bytes += alone;
        if shared > span_bytes / 2 || shared > alone {
            self.run_bytes += alone;
        } else {
            self.shared_bytes += shared;
            self.shared_len_max = self.shared_len_max.max(shared);
        }
    }

    /// Every object rounded up to frames, and one span for each bucket in use.
    fn by_buckets(&self, span_bytes: usize, lists_in_use: usize) -> usize {
        self.rounded_bytes + (lists_in_use + OPEN_SPANS_MAX) * span_bytes
    }

    /// A span is left for another when the next object does not fit, so less than the longest one stays empty; and
    /// holes that together are below the density target are not looked for.
    fn by_longest(&self, span_bytes: usize) -> usize {
        let filled = span_bytes - self.shared_len_max;
        let spans = self.shared_bytes.div_ceil(filled) + OPEN_SPANS_MAX;
        self.run_bytes + (spans + spans / 20) * span_bytes
    }
}

#[test]
fn without_frees_frames_are_bounded_by_the_payload() {
    let lens = prop_oneof![
        vec(lengths(), 1..400),
        vec(1..=3000_usize, 1..3000),
        vec(3000..=9000_usize, 1..1000)
    ];
    check(0xb0d, 150, (nbud_shapes(), lens), |(shape, lens)| {
        // Appending is allowed to leave the end of each span empty.
        let fill = if shape.fill == FillPolicy::Append { FillPolicy::Auto } else { shape.fill };
        let pool = NbudShape { limit: 64 << 20, fill, ..shape }.shape().build();
        let (mut bound, span_bytes) = (Bound::default(), shape.span_bytes());
        for len in lens {
            if pool.store(&vec![7; len]).is_err() {
                continue;
            }
            bound.add(len, span_bytes);
            let stats = pool.stats();
            let taken = usize::try_from(stats.frame_bytes).map_err(|error| error.to_string())?;
            let lists = usize::try_from(stats.lists_in_use).map_err(|error| error.to_string())?;
            let most = bound.by_longest(span_bytes).min(bound.by_buckets(span_bytes, lists));
            if taken > most {
                return Err(format!(
                    "{taken} bytes of frames; allowed are {most} by {bound:?}: {stats:?}"
                ));
            }
        }
        pool.validate().map_err(|violation| violation.to_string())
    });
}
