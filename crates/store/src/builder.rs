//! Building a store: allocator, codec, limit, thresholds, shrinker, source of the limit.

use std::sync::Arc;

use pagefold_codec::{Codec, CodecSpec};
use pagefold_frame::{FRAME_BYTES, FrameSource};
use pagefold_pool::{Allocator, PoolBuilder};

use crate::{
    Store, StoreBuildError,
    form::Forms,
    gate::Gate,
    inner::{Inner, Watermarks},
    limit::LimitSource,
    shared::Shared,
    shrinker,
};

/// What a store is to leave beside its fixed structures: the first pages of every table, an index and a few pages.
const SPARE_FRAMES: usize = 80;

/// Configures and builds a [`Store`].
#[derive(Debug)]
pub struct StoreBuilder {
    pool: PoolBuilder,
    codec: Choice,
    limit: usize,
    accept_percent: u8,
    marks: Watermarks,
    shrinker: bool,
    limit_source: Option<Box<dyn LimitSource>>,
}

enum Choice {
    Named(CodecSpec),
    Own(Box<dyn Codec>),
}

impl std::fmt::Debug for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Named(_) => "Named",
            Self::Own(_) => "Own",
        })
    }
}

/// `zstd:-1`, measured as the best balance; where it is not in the build, the best that is.
fn default_codec() -> CodecSpec {
    let name = match (cfg!(feature = "c-codecs"), cfg!(feature = "pure-rust")) {
        (true, _) => "zstd:-1",
        (false, true) => "lz4",
        (false, false) => "raw",
    };
    name.parse().expect("a codec's name")
}

impl Default for StoreBuilder {
    fn default() -> Self {
        Self {
            pool: PoolBuilder::new(Allocator::Nbud),
            codec: Choice::Named(default_codec()),
            limit: 1 << 30,
            accept_percent: 95,
            marks: Watermarks { low: 90, high: 95 },
            shrinker: true,
            limit_source: None,
        }
    }
}

impl StoreBuilder {
    /// The allocator that packs the objects; nbud by default.
    pub fn allocator(mut self, allocator: Allocator) -> Self {
        self.pool = PoolBuilder::new(allocator);
        self
    }

    /// A pool with settings of its own. Its limit is the store's.
    pub fn pool(mut self, pool: PoolBuilder) -> Self {
        self.pool = pool;
        self
    }

    /// Where memory comes from; see [`PoolBuilder::source`].
    pub fn source(mut self, source: Box<dyn FrameSource>) -> Self {
        self.pool = self.pool.source(source);
        self
    }

    /// The codec; `zstd:-1` by default, and `lz4` or `raw` in builds without it.
    pub fn codec(mut self, codec: CodecSpec) -> Self {
        self.codec = Choice::Named(codec);
        self
    }

    /// A codec of one's own, or one that fits the pages: with a dictionary a store holds up to two fifths more than without.
    ///
    /// # Examples
    /// ```
    /// use pagefold_codec::CodecSpec;
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// // Some hundred pages, of those that are to come.
    /// let record = |number: u32| {
    ///     let text = format!("{{\"id\": {number}, \"owner\": \"user {}\"}}\n", number % 770).repeat(160);
    ///     <[u8; 4096]>::try_from(&text.as_bytes()[..4096])
    /// };
    /// let seen = (0..300).map(record).collect::<Result<Vec<_>, _>>()?;
    ///
    /// let codec = "zstd:1".parse::<CodecSpec>()?.build_for(seen.iter().map(|page| &page[..]))?;
    /// let store = Store::builder().codec_with(codec).limit(16 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(1000))?;
    /// space.put(7, &record(1007)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn codec_with(mut self, codec: Box<dyn Codec>) -> Self {
        self.codec = Choice::Own(codec);
        self
    }

    /// The hard limit in bytes on everything that may be resident: frames, idle frames, and all metadata, the indices and
    /// the codec's contexts too. 1 GiB by default.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// After a persistent space was full: the share in percent below which use must fall before new pages are taken
    /// again. 95 by default; 100 tries every put.
    pub fn accept_threshold(mut self, percent: u8) -> Self {
        self.accept_percent = percent;
        self
    }

    /// Whether a thread makes room in the background; on by default. Without it puts do so themselves, at the limit.
    pub fn shrinker(mut self, on: bool) -> Self {
        self.shrinker = on;
        self
    }

    /// The shares of the limit in percent above which the shrinker begins, and below which it stops; 90 and 95 by
    /// default.
    pub fn watermarks(mut self, low: u8, high: u8) -> Self {
        self.marks = Watermarks { low, high };
        self
    }

    /// Who says what the limit should be, once a second. Needs the shrinker.
    pub fn limit_source(mut self, source: Box<dyn LimitSource>) -> Self {
        self.limit_source = Some(source);
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    /// [`StoreBuildError`]; a limit of 0 is too small like any other.
    pub fn build(self) -> Result<Store, StoreBuildError> {
        self.check()?;
        let codec = match self.codec {
            Choice::Named(spec) => spec.build()?,
            Choice::Own(codec) => codec,
        };
        let forms = Forms::new(codec);
        let (pool, memory) = self.pool.limit(self.limit).build_with_account()?;
        let too_small = |fixed: usize| StoreBuildError::LimitTooSmall {
            limit: self.limit,
            min: fixed + (memory.used() + memory.reserve() + SPARE_FRAMES) * FRAME_BYTES,
        };
        let fixed = size_of::<Inner>() + forms.fixed_bytes();
        let charge = memory.charge_beside(fixed).map_err(|_| too_small(fixed))?;
        if memory.used() + memory.reserve() + SPARE_FRAMES > memory.limit() {
            return Err(too_small(0));
        }
        // Any handle of the pool stands for the pool in every other one.
        let any = pool.store(&[0]).map_err(|_| too_small(0))?;
        pool.free(any).expect("nobody else knows the handle");
        let gate = Gate::new(self.accept_percent);
        let inner = Inner::new(pool, Arc::clone(&memory), any, forms, gate, self.marks, charge);
        let inner = Arc::new(inner);
        let thread = self
            .shrinker
            .then(|| shrinker::start(Arc::clone(&inner), self.limit_source))
            .transpose()
            .map_err(StoreBuildError::Thread)?;
        Ok(Store::new(Shared::new(inner, thread)))
    }

    fn check(&self) -> Result<(), StoreBuildError> {
        let share = |what, percent, expected| StoreBuildError::Share { what, percent, expected };
        if !(1..=100).contains(&self.accept_percent) {
            return Err(share("an accept threshold", self.accept_percent, "1 to 100"));
        }
        let Watermarks { low, high } = self.marks;
        if !(1..=100).contains(&high) {
            return Err(share("a high watermark", high, "1 to 100"));
        }
        if low == 0 || low > high {
            return Err(share("a low watermark", low, "1 to the high one"));
        }
        if self.limit_source.is_some() && !self.shrinker {
            return Err(StoreBuildError::LimitSourceWithoutShrinker);
        }
        Ok(())
    }
}
