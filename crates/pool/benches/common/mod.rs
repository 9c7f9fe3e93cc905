//! What the benchmarks share: object sizes, pools in the states that are measured, and the peers.

use std::time::Instant;

use pagefold_pool::{FillPolicy, Handle, NbudOptions, Pool, PoolBuilder};

/// xorshift64*: fast, seeded, and the same sequence for every contender.
#[derive(Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 16).expect("48 bits") % bound
    }
}

/// Lengths like those of compressed heap pages: one in ten does not compress, the others spread widely around 1.4 KB.
pub(crate) fn object_len(rng: &mut Rng) -> usize {
    match rng.below(10) {
        0 => 4096,
        1..=3 => 200 + rng.below(800),
        _ => 600 + rng.below(2000),
    }
}

/// The byte that fills an object: below 128, so that a benchmark can make one read depend on the last.
pub(crate) fn fill_of(number: usize) -> u8 {
    u8::try_from(number % 127).expect("below 127")
}

/// What a pool has been through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum History {
    /// Filled once.
    Fresh,
    /// Filled, then every object rewritten three times on average.
    Churned,
    /// Churned, and filled again until 98.5 % of the limit is frames with objects.
    NearlyFull,
}

/// A pool with objects, and what is needed to check them.
pub(crate) struct Filled {
    pub(crate) pool: Box<dyn Pool>,
    pub(crate) objects: Vec<(Handle, u8)>,
    pub(crate) rng: Rng,
}

pub(crate) fn builder(limit: usize, span_frames: u32, fill: FillPolicy) -> Box<dyn Pool> {
    let options = NbudOptions::new().span_frames(span_frames).fill_policy(fill);
    PoolBuilder::new(options).limit(limit).build().expect("a pool of this size")
}

/// A pool with `bytes` of payload and this history.
pub(crate) fn filled(bytes: usize, span_frames: u32, fill: FillPolicy, history: History) -> Filled {
    let limit = bytes + bytes / 16 + (2 << 20);
    let mut filled =
        Filled { pool: builder(limit, span_frames, fill), objects: Vec::new(), rng: Rng::new(7) };
    let source = source();
    let mut stored = 0;
    while stored < bytes - 4096 {
        let len = object_len(&mut filled.rng);
        let fill = fill_of(filled.objects.len());
        let handle = filled.pool.store(&source[usize::from(fill)][..len]).expect("below the limit");
        filled.objects.push((handle, fill));
        stored += len;
    }
    if history != History::Fresh {
        for _ in 0..3 * filled.objects.len() {
            filled.rewrite_one(&source);
        }
    }
    if history == History::NearlyFull {
        while filled.pool.stats().frame_bytes * 1000 < limit as u64 * 950 {
            let len = object_len(&mut filled.rng);
            let fill = fill_of(filled.objects.len());
            let Ok(handle) = filled.pool.store(&source[usize::from(fill)][..len]) else { break };
            filled.objects.push((handle, fill));
        }
    }
    filled
}

impl Filled {
    /// Frees a random object and stores another in its stead; returns how long the store took, in ns.
    pub(crate) fn rewrite_one(&mut self, source: &[Vec<u8>]) -> (u64, u64) {
        let at = self.rng.below(self.objects.len());
        let len = object_len(&mut self.rng);
        let (handle, fill) = self.objects[at];
        let begin = Instant::now();
        self.pool.free(handle).expect("lives");
        let freed = begin.elapsed();
        let begin = Instant::now();
        let stored = self.pool.store(&source[usize::from(fill)][..len]);
        let took = begin.elapsed();
        // At the limit a long object may not fit: a short one then does.
        let handle =
            stored.or_else(|_| self.pool.store(&source[usize::from(fill)][..64])).expect("room");
        self.objects[at] = (handle, fill);
        (
            u64::try_from(took.as_nanos()).expect("short"),
            u64::try_from(freed.as_nanos()).expect("short"),
        )
    }

    /// Reads every object whole and compares; the benchmark is void otherwise.
    pub(crate) fn verify(&self) {
        for &(handle, fill) in &self.objects {
            self.pool
                .read(handle, &mut |slices| {
                    assert!(
                        slices.contiguous().expect("one piece").iter().all(|&byte| byte == fill)
                    );
                })
                .expect("lives");
        }
        self.pool.validate().expect("valid");
    }
}

/// One buffer for each fill.
pub(crate) fn source() -> Vec<Vec<u8>> {
    (0..128_u8).map(|fill| vec![fill; 4096]).collect()
}

/// The first byte of an object, as a number to add to the next index: 0, but only the read can tell.
#[inline]
pub(crate) fn first_byte(pool: &dyn Pool, handle: Handle) -> u8 {
    let mut first = 0;
    pool.read(handle, &mut |slices| first = slices.parts()[0][0]).expect("lives");
    first
}
