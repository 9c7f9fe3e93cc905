//! The settings of tiers: staging, workers, idle pages, self-training.

use std::time::Duration;

use pagefold_codec::{Codec, CodecSpec};

use super::{Choice, StoreBuilder};
use crate::training::Steps;

impl StoreBuilder {
    /// The bytes of pages that may wait for their codec: [`Space::put`](crate::Space::put) stores a page raw and returns,
    /// and a worker compresses it later. By default 1/64 of the limit, at least 64 pages; 0 turns it off.
    ///
    /// A page that waits is charged in full, so `Ok` and the limit mean the same as without. Puts that find staging full
    /// compress a few pages themselves; near the limit a put compresses its own page. A page that is overwritten or
    /// removed before its turn costs no codec.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// let store = Store::builder().limit(64 << 20).staging(1 << 20).build()?;
    /// let space = store.space(SpaceConfig::persistent(100))?;
    /// for key in 0..100 {
    ///     let page: [u8; 4096] = std::array::from_fn(|at| (at / 64) as u8 ^ key as u8);
    ///     space.put(key, &page)?;
    /// }
    /// store.flush();
    /// let stats = store.stats();
    /// assert_eq!((stats.staging.pages, stats.spaces[0].compressed), (0, 100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn staging(mut self, bytes: usize) -> Self {
        self.staging = Some(bytes);
        self
    }

    /// The threads that compress staged pages; 1 by default. With 0, puts do it when staging is full, and
    /// [`Store::maintain`](crate::Store::maintain) and [`Store::flush`](crate::Store::flush) when they are called.
    pub fn workers(mut self, count: u8) -> Self {
        self.workers = count;
        self
    }

    /// The share of one processor, in percent, that workers may take to make idle pages denser; 5 by default, at most
    /// 100. With 0 idle pages stay as they are.
    ///
    /// A page is idle when no call read or put it between two passes, one [`idle_interval`](Self::idle_interval) apart.
    /// Four idle pages whose keys lie in the same 64 are compressed together, if that saves at least a thirty-second. A
    /// page that is read twice between two passes gets an object of its own again. A get of one in a cluster decodes the
    /// pages before it too.
    ///
    /// The bytes of a page that is removed from a cluster, or overwritten, come back when the cluster is split or its last
    /// page goes. Working memory is charged with the first cluster, and stores with less than eight times that have none.
    ///
    /// # Examples
    /// ```
    /// use pagefold_store::{SpaceConfig, Store};
    ///
    /// // Workers would share the passes.
    /// let store = Store::builder().limit(64 << 20).workers(0).build()?;
    /// let space = store.space(SpaceConfig::persistent(64))?;
    /// let word = |key: u64, at: u64| (key / 8 * 512 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    /// for key in 0..64 {
    ///     let page: Vec<u8> = (0..512).flat_map(|at| word(key, at).to_le_bytes()).collect();
    ///     space.put_from(key, &page)?;
    /// }
    /// store.flush();
    /// // The first pass sees the pages, the second one that no call used them since.
    /// store.idle_pass();
    /// let report = store.idle_pass();
    /// assert_eq!((report.joined, store.stats().idle.clusters), (64, 16));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn idle_share(mut self, percent: u8) -> Self {
        self.idle.share = percent;
        self
    }

    /// The time from the beginning of one pass over all pages to the next; 30 seconds by default.
    pub fn idle_interval(mut self, interval: Duration) -> Self {
        self.idle.interval = interval;
        self
    }

    /// The codec of idle pages; by default [`CodecSpec::for_idle_pages`].
    pub fn idle_codec(mut self, codec: CodecSpec) -> Self {
        self.idle.codec = Choice::Named(codec);
        self
    }

    /// As [`idle_codec`](Self::idle_codec), your own, for inputs of 16 KiB. One that restores only as much as is wanted
    /// ([`Codec::decompress_start`]) saves reads half of their time.
    pub fn idle_codec_with(mut self, codec: Box<dyn Codec>) -> Self {
        self.idle.codec = Choice::Own(codec);
        self
    }

    /// Trains dictionaries on the store's own pages, and adopts what is denser at nearly the same time; on by default. It
    /// has no effect with a codec that cannot be trained: `lz4`, `raw`, or a plain `zstd:LEVEL`.
    ///
    /// A worker trains when no page waits in staging, after some 1000 pages and when their mean length has changed by a
    /// twentieth, in 0.1 to 0.25 s of its processor time; without workers [`Store::maintain`](crate::Store::maintain)
    /// does it. A training needs some MiB of the limit for that time. It drops nothing for them and is put off without. A
    /// put of a persistent space that finds no room meanwhile waits for them, at most a second; one of an ephemeral space
    /// drops pages.
    pub fn self_training(mut self, on: bool) -> Self {
        self.self_training = on;
        self
    }

    /// The pages that a training reads, those of a window of the mean, and the percent of the present codec's time that a
    /// better one may take. For tests.
    #[doc(hidden)]
    pub fn training_steps(mut self, samples: usize, window: u64, time_percent: u32) -> Self {
        self.training_steps =
            Steps { samples: samples.max(2), window: window.max(1), time_percent, growth: 0 };
        self
    }
}
