//! [`StoreBuilder`]; the settings of tiers are in `tiers`, those of the backing in `spill`.

mod spill;
mod tiers;

use std::{sync::Arc, time::Duration};

use pagefold_codec::{BuildCodecError, Codec, CodecSpec};
use pagefold_frame::{FRAME_BYTES, FrameSource};
use pagefold_pool::{Allocator, NbudOptions, PoolBuilder};
use pagefold_spill::Spill;
use pagefold_sys::quiesce::Gate;

use crate::{
    Store, StoreBuildError,
    encoder::{
        Encoder,
        clusters::{self, Clusters, Source},
    },
    idle::Idle,
    limit::LimitSource,
    policy::SpillSettings,
    shrinker,
    staging::Staging,
    state::{
        AcceptThreshold, SpaceState, StoreState, Watermarks,
        handle::StoreHandle,
        parts::{Parts, PartsError, least_limit},
        spill::{Spilling, start as start_spiller},
    },
    training::{Steps, Training},
    worker,
};

/// Builds a [`Store`].
#[derive(Debug)]
pub struct StoreBuilder {
    /// `None`: nbud, with spans that clusters fit into if the store makes any.
    allocator: Option<Allocator>,
    codec: Choice,
    source: Option<Box<dyn FrameSource>>,
    kept_from_children: bool,
    limit: usize,
    max_limit: Option<usize>,
    accept_percent: u8,
    watermarks: Watermarks,
    shrinker: bool,
    limit_source: Option<Box<dyn LimitSource>>,
    handle_table: Option<(usize, u32)>,
    staging: Option<usize>,
    workers: u8,
    idle: IdleSettings,
    self_training: bool,
    training_steps: Steps,
    spill: Option<Box<Spill>>,
    spill_settings: SpillSettings,
    spiller: bool,
}

#[derive(Debug)]
struct IdleSettings {
    /// In percent of a processor; 0: off.
    share: u8,
    interval: Duration,
    codec: Choice,
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

/// Half of so long a span is more than a cluster: nbud gives longer objects frames of their own (record 2026-11-27-tiers).
const CLUSTER_SPAN_FRAMES: u32 = 8;
/// The default size of staging: this share of the limit, and at least so many pages.
const STAGING_SHARE: usize = 64;
const STAGING_PAGES_MIN: usize = 64;

impl Default for StoreBuilder {
    fn default() -> Self {
        Self {
            allocator: None,
            codec: Choice::Named(CodecSpec::Balanced),
            source: None,
            kept_from_children: false,
            limit: 1 << 30,
            max_limit: None,
            accept_percent: 95,
            watermarks: Watermarks { low: 90, high: 95 },
            shrinker: true,
            limit_source: None,
            handle_table: None,
            // A model has no threads but its own.
            staging: cfg!(loom).then_some(0),
            workers: u8::from(!cfg!(loom)),
            idle: IdleSettings {
                share: if cfg!(loom) { 0 } else { 5 },
                interval: Duration::from_secs(30),
                codec: Choice::Named(CodecSpec::for_idle_pages()),
            },
            self_training: !cfg!(loom),
            training_steps: Steps::default(),
            spill: None,
            spill_settings: SpillSettings::default(),
            spiller: !cfg!(loom),
        }
    }
}

impl StoreBuilder {
    /// The allocator, or its options; by default nbud, with spans of 32 KiB in a store that makes clusters of idle pages.
    ///
    /// # Examples
    /// ```
    /// use pagefold_pool::NbudOptions;
    /// use pagefold_store::Store;
    ///
    /// let options = NbudOptions::new().span_frames(8);
    /// let store = Store::builder().allocator(options).limit(16 << 20).build()?;
    /// # drop(store);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allocator(mut self, allocator: impl Into<Allocator>) -> Self {
        self.allocator = Some(allocator.into());
        self
    }

    /// See [`PoolBuilder::handle_table`].
    #[doc(hidden)]
    pub fn handle_table(mut self, indices: usize, generation_bits: u32) -> Self {
        self.handle_table = Some((indices, generation_bits));
        self
    }

    /// The memory source; see [`PoolBuilder::source`].
    pub fn source(mut self, source: Box<dyn FrameSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// The child of a fork does not get the store's memory; see [`PoolBuilder::keep_from_children`].
    pub fn keep_from_children(mut self) -> Self {
        self.kept_from_children = true;
        self
    }

    /// The codec; by default `balanced`: `zstd:1` with a built-in dictionary, in builds without it `lz4` or `raw`.
    pub fn codec(mut self, codec: CodecSpec) -> Self {
        self.codec = Choice::Named(codec);
        self
    }

    /// Your own or a trained codec; a dictionary stores up to two fifths more.
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

    /// The hard limit on all resident bytes, metadata included; 1 GiB by default.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The highest possible limit, in bytes; address space is reserved for it. For memory mapped from the system, at
    /// least four times the limit by default.
    pub fn max_limit(mut self, bytes: usize) -> Self {
        self.max_limit = Some(bytes);
        self
    }

    /// Once full, persistent spaces take new pages only below this percentage of the limit; 95 by default, 100 tries
    /// every put.
    pub fn accept_threshold(mut self, percent: u8) -> Self {
        self.accept_percent = percent;
        self
    }

    /// Makes room in a background thread; on by default.
    pub fn shrinker(mut self, on: bool) -> Self {
        self.shrinker = on;
        self
    }

    /// The shrinker starts above `high` percent of the limit (95), stops below `low` (90).
    pub fn watermarks(mut self, low: u8, high: u8) -> Self {
        self.watermarks = Watermarks { low, high };
        self
    }

    /// The shrinker asks it once a second.
    pub fn limit_source(mut self, source: Box<dyn LimitSource>) -> Self {
        self.limit_source = Some(source);
        self
    }

    /// Builds the store.
    ///
    /// # Errors
    /// [`StoreBuildError`].
    pub fn build(self) -> Result<Store, StoreBuildError> {
        self.check()?;
        let staging = self.staging_pages();
        let codec = match self.codec {
            Choice::Named(spec) => spec.build()?,
            Choice::Own(codec) => codec,
        };
        let has_ages = self.idle.share > 0;
        let clusters = has_ages.then(|| {
            let (trains, source) = match self.idle.codec {
                // Built with the first cluster; here only to know that it can be.
                Choice::Named(spec) if spec != CodecSpec::for_idle_pages() => {
                    (spec.build_for_clusters()?.trains(), Source::Named(spec))
                }
                Choice::Named(spec) => (true, Source::Named(spec)),
                Choice::Own(codec) => (codec.trains(), Source::Own(codec)),
            };
            let trains = trains && self.self_training;
            let steps = self.training_steps.of_clusters();
            Ok::<_, BuildCodecError>(Clusters::new(source, trains, self.workers == 0, steps))
        });
        let trains = self.self_training && codec.trains();
        let training = Training::new(trains, self.workers == 0, self.training_steps);
        let encoder = Encoder::new(codec, clusters.transpose()?, trains);
        if !encoder.is_plausible() {
            return Err(StoreBuildError::CodecMemory { codec: encoder.codec.name().to_owned() });
        }
        let fixed = size_of::<StoreState>()
            .saturating_add(encoder.fixed_bytes())
            .saturating_add(training.fixed_bytes())
            .saturating_add(Staging::<SpaceState>::fixed_bytes(staging))
            .saturating_add(if has_ages { Idle::fixed_bytes() } else { 0 });
        let fixed = fixed.saturating_add(
            self.spill.as_ref().map_or(0, |spill| Spilling::fixed_bytes(spill, self.limit)),
        );
        let spans = if has_ages && self.limit >= clusters::LIMIT_MIN {
            NbudOptions::new().span_frames(CLUSTER_SPAN_FRAMES)
        } else {
            NbudOptions::new()
        };
        let allocator = self.allocator.unwrap_or_else(|| spans.into());
        let handle_table = self.handle_table;
        let settings = |limit| {
            let pool = PoolBuilder::new(allocator).limit(limit);
            match handle_table {
                Some((indices, bits)) => pool.handle_table(indices, bits),
                None => pool,
            }
        };
        let mut pool = settings(self.limit);
        if let Some(bytes) = self.max_limit {
            pool = pool.max_limit(bytes);
        }
        if let Some(source) = self.source {
            pool = pool.source(source);
        }
        if self.kept_from_children {
            pool = pool.keep_from_children();
        }
        let parts = Parts::build(pool, fixed, has_ages).map_err(|error| match error {
            PartsError::TooSmall { .. } => {
                let min = least_limit(&settings, fixed, has_ages);
                StoreBuildError::LimitTooSmall { limit: self.limit, min }
            }
            PartsError::Other(error) => error,
        })?;
        let settings = self.spill_settings;
        let spilling = self
            .spill
            .map(|spill| Spilling::new(*spill, settings, self.limit).map(Box::new))
            .transpose();
        let spilling = spilling.map_err(|error| {
            let error = pagefold_frame::SourceError::from(error);
            StoreBuildError::Pool(pagefold_pool::BuildError::Source(error))
        })?;
        let accept = AcceptThreshold::new(self.accept_percent);
        let operations = Gate::new().map_err(StoreBuildError::Fork)?;
        let store = Arc::new(StoreState::new(
            parts,
            encoder,
            accept,
            self.watermarks,
            (Staging::new(staging), training),
            (Idle::new(self.idle.interval, self.idle.share), spilling),
            operations,
        ));
        let thread = self
            .shrinker
            .then(|| shrinker::start(Arc::clone(&store), self.limit_source))
            .transpose()
            .map_err(StoreBuildError::Thread)?;
        let mut handle = StoreHandle::new(Arc::clone(&store), thread);
        handle.workers = worker::start(&store, self.workers).map_err(StoreBuildError::Thread)?;
        if self.spiller {
            handle.spiller = start_spiller(&store).map_err(StoreBuildError::Thread)?;
        }
        Ok(Store::new(handle))
    }

    /// In pages.
    fn staging_pages(&self) -> usize {
        match self.staging {
            Some(0) => 0,
            Some(bytes) => (bytes / FRAME_BYTES).max(1),
            None => (self.limit / STAGING_SHARE / FRAME_BYTES).max(STAGING_PAGES_MIN),
        }
    }

    fn check(&self) -> Result<(), StoreBuildError> {
        let share = |what, percent, expected| StoreBuildError::Share { what, percent, expected };
        if !(1..=100).contains(&self.accept_percent) {
            return Err(share("an accept threshold", self.accept_percent, "1 to 100"));
        }
        let Watermarks { low, high } = self.watermarks;
        if !(1..=100).contains(&high) {
            return Err(share("a high watermark", high, "1 to 100"));
        }
        if low == 0 || low > high {
            return Err(share("a low watermark", low, "1 to the high one"));
        }
        if self.idle.share > 100 {
            return Err(share("a share for idle pages", self.idle.share, "0 to 100"));
        }
        let min = clusters::LIMIT_MIN;
        let has_passes = self.idle.share > 0 && self.limit >= min;
        if self.spill.is_some() && self.spill_settings.policy.is_idle_only() && !has_passes {
            return Err(StoreBuildError::IdleOnlyWithoutPasses { min });
        }
        if let Some(bytes) = self.staging
            && bytes > self.limit
        {
            return Err(StoreBuildError::Staging { bytes, limit: self.limit });
        }
        if self.limit_source.is_some() && !self.shrinker {
            return Err(StoreBuildError::LimitSourceWithoutShrinker);
        }
        Ok(())
    }
}
