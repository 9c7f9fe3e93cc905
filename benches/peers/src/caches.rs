//! The caches that are compared, each as its documents say, with the weight of a value as its length and what an entry
//! costs beside it.

use std::{error::Error, sync::Arc};

use pagefold_codec::{CodecSpec, Dictionary};
use pagefold_store::{Cache, CacheConfig, Store};

use crate::{
    cached::{Settings, value_of},
    peer::Peer,
};

/// What an entry costs beside its value, roughly; what is left is found by measuring the process.
const ENTRY_BYTES: u64 = 64;

/// A dictionary for zstd:1 from the 1000 values that are asked for most; `None` where none would win.
///
/// # Errors
/// When the training fails.
pub fn dictionary(settings: &Settings) -> Result<Option<Dictionary>, Box<dyn Error>> {
    let samples: Vec<Vec<u8>> = (0..1000).map(|rank| value_of(settings.key_of(rank))).collect();
    let samples = samples.iter().map(|value| &value[..]);
    Ok(Dictionary::train_for("zstd:1".parse()?, samples, Dictionary::BYTES_MAX)?)
}

/// The cache of pagefold; its store holds nothing else.
#[derive(Debug)]
pub struct Pagefold(Cache<u64, Vec<u8>>);

impl Pagefold {
    /// With a limit of so many bytes. `codec` is a name, or empty for the default.
    ///
    /// # Errors
    /// When the store cannot be built.
    pub fn new(
        limit: u64,
        codec: &str,
        dictionary: Option<&Dictionary>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut builder = Store::builder().limit(usize::try_from(limit)?);
        if !codec.is_empty() {
            builder = builder.codec(codec.parse()?);
        }
        if let Some(dictionary) = dictionary {
            builder =
                builder.codec_with(codec.parse::<CodecSpec>()?.build_with_dictionary(dictionary)?);
        }
        Ok(Self(Cache::new(&builder.build()?, CacheConfig::new())?))
    }
}

impl Peer for Pagefold {
    type Value = Vec<u8>;

    fn get(&self, key: u64) -> Option<Vec<u8>> {
        self.0.get(&key)
    }

    fn insert(&self, key: u64, value: Vec<u8>) {
        // A refusal is counted as what it is: a miss of the next get.
        let _ = self.0.insert(&key, &value);
    }
}

/// moka.
#[derive(Debug)]
pub struct Moka(moka::sync::Cache<u64, Arc<[u8]>>);

impl Moka {
    /// With values and entries of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let weigher = |_: &u64, value: &Arc<[u8]>| {
            u32::try_from(value.len() as u64 + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self(moka::sync::Cache::builder().max_capacity(bytes).weigher(weigher).build())
    }
}

impl Peer for Moka {
    type Value = Arc<[u8]>;

    fn get(&self, key: u64) -> Option<Arc<[u8]>> {
        self.0.get(&key)
    }

    fn insert(&self, key: u64, value: Vec<u8>) {
        self.0.insert(key, value.into());
    }
}

/// quick_cache.
#[derive(Debug)]
pub struct Quick(quick_cache::sync::Cache<u64, Arc<[u8]>, Lengths>);

/// Weighs by length.
#[derive(Debug, Clone)]
pub struct Lengths;

impl quick_cache::Weighter<u64, Arc<[u8]>> for Lengths {
    fn weight(&self, _: &u64, value: &Arc<[u8]>) -> u64 {
        value.len() as u64 + ENTRY_BYTES
    }
}

impl Quick {
    /// With values and entries of so many bytes, of about 2 KiB each.
    pub fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / 2048).unwrap_or(usize::MAX);
        Self(quick_cache::sync::Cache::with_weighter(items, bytes, Lengths))
    }
}

impl Peer for Quick {
    type Value = Arc<[u8]>;

    fn get(&self, key: u64) -> Option<Arc<[u8]>> {
        self.0.get(&key)
    }

    fn insert(&self, key: u64, value: Vec<u8>) {
        self.0.insert(key, value.into());
    }
}
