//! Clusters: the pages of a cluster, compressed together as one object.
//!
//! ```text
//!  object   id of the codec (1 byte) | its output for the pages, one behind the other
//! ```
//! A codec with blocks of a page restores only those up to the wanted one. The codec and all working memory are made, and
//! charged, when the first cluster is tried, and not in a store that never makes one. The store trains the codec of
//! clusters as it does that of single pages, on clusters.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use pagefold_codec::{Codec, CodecSpec, checked_compress, checked_metadata_bytes_max};
use pagefold_frame::{Charge, MemoryBudget, OutOfFrames};
use pagefold_pool::Slices;
use pagefold_sys::sync::{AtomicBool, Mutex, Ordering, SlotArray};

use super::{
    decode::{ReadError, Wait},
    trained::Trained,
};
use crate::{
    page::PAGE_BYTES,
    training::{Steps, Training},
    word::{CLUSTER_PAGES, CodecId},
};

pub(crate) const CLUSTER_BYTES: usize = CLUSTER_PAGES * PAGE_BYTES;
/// Of the least store that makes clusters, eight times what building the codec takes for a moment.
pub(crate) const LIMIT_MIN: usize = if cfg!(loom) { 0 } else { 8 * BUILD_BYTES };
const BUILD_BYTES: usize = if cfg!(loom) { 0 } else { 2 << 20 };
/// As of the codec of single pages. Each read takes one, and a buffer.
const CONTEXTS: usize = 2;
const ID_BYTES: usize = 1;

type Buffer = [u8; CLUSTER_BYTES];

const fn zeros() -> Buffer {
    [0; CLUSTER_BYTES]
}

/// Where the codec comes from.
pub(crate) enum Source {
    Named(CodecSpec),
    Own(Box<dyn Codec>),
}

pub(crate) struct Clusters {
    name: String,
    source: Mutex<Option<Source>>,
    // For the training, which comes with the codec.
    trains: bool,
    by_callers: bool,
    steps: Steps,
    /// Whether idle pages join clusters; before, they are samples for the first training.
    joins: AtomicBool,
    made: OnceLock<Made>,
}

struct Made {
    codec: Box<dyn Codec>,
    trained: Trained,
    training: Training,
    read: SlotArray<Box<Read>>,
    /// One cluster is made at a time.
    make: SlotArray<Option<Box<Making>>>,
    /// The bytes charged for the codec.
    contexts: usize,
    _charge: Charge,
}

/// For a read.
struct Read {
    /// An object in several pieces, put together.
    object: Buffer,
    pages: Buffer,
}

/// For making a cluster.
pub(crate) struct Making {
    pub(crate) pages: Buffer,
    object: Buffer,
    restored: Buffer,
}

/// Why pages are not made into a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCluster {
    /// It would not be shorter than asked.
    Long,
    /// The codec did not restore what it compressed.
    Damaged,
}

impl Clusters {
    pub(crate) fn new(source: Source, trains: bool, by_callers: bool, steps: Steps) -> Self {
        let name = match &source {
            Source::Named(spec) => spec.to_string(),
            Source::Own(codec) => codec.name().to_owned(),
        };
        Self {
            name,
            source: Mutex::new(Some(source)),
            trains,
            by_callers,
            steps,
            joins: AtomicBool::new(!trains),
            made: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The samples of the first training.
    pub(crate) fn first_samples(&self) -> usize {
        self.steps.samples
    }

    // ORDERING of `joins`: Relaxed; a page more or less among the samples does not matter.

    pub(crate) fn joins(&self) -> bool {
        self.joins.load(Ordering::Relaxed)
    }

    /// Whether this call began it.
    pub(crate) fn begin_joining(&self) -> bool {
        !self.joins.swap(true, Ordering::Relaxed)
    }

    /// Makes codec and working memory, once.
    pub(crate) fn prepare(&self, memory: &Arc<MemoryBudget>) -> Result<(), OutOfFrames> {
        if self.made.get().is_some() {
            return Ok(());
        }
        let building = memory.charge_beside(BUILD_BYTES)?;
        let mut source = self.source.lock();
        let spec = match *source {
            Some(Source::Named(spec)) => Some(spec),
            _ => None,
        };
        let codec = match source.take() {
            // Another thread was faster, or it failed before.
            None if self.made.get().is_some() => return Ok(()),
            None => return Err(OutOfFrames),
            Some(Source::Own(codec)) => codec,
            Some(Source::Named(spec)) => match spec.build_for_clusters() {
                Ok(codec) => codec,
                Err(error) => {
                    tracing::error!(%error, "the codec of clusters cannot be built; idle pages stay single");
                    return Err(OutOfFrames);
                }
            },
        };
        let asked = catch_unwind(AssertUnwindSafe(|| {
            codec.limit_contexts(CONTEXTS);
            (codec.trains(), checked_metadata_bytes_max(&*codec, CLUSTER_BYTES))
        }));
        let Ok((trains, contexts)) = asked else {
            tracing::error!(
                "the codec of clusters panicked at its first use; idle pages stay single"
            );
            return Err(OutOfFrames);
        };
        let trains = self.trains && trains;
        let trained = Trained::new(trains);
        let training = Training::new(trains, self.by_callers, self.steps);
        let contexts = contexts.unwrap_or(usize::MAX);
        let buffers = CONTEXTS * size_of::<Read>()
            + size_of::<Making>()
            + trained.fixed_bytes()
            + training.fixed_bytes();
        drop(building);
        let Ok(charge) = memory.charge_beside(contexts.saturating_add(buffers)) else {
            // What was built here goes, because it is not charged; a caller's own codec is the caller's.
            *source = Some(spec.map_or_else(|| Source::Own(codec), Source::Named));
            return Err(OutOfFrames);
        };
        if !trained.is_on() {
            self.begin_joining();
        }
        let made = Made {
            codec,
            trained,
            training,
            read: SlotArray::from_fn(CONTEXTS, |_| {
                Box::new(Read { object: zeros(), pages: zeros() })
            }),
            make: SlotArray::from_fn(1, |_| None),
            contexts,
            _charge: charge,
        };
        assert!(self.made.set(made).is_ok(), "one thread has the source");
        Ok(())
    }

    /// Charged bytes not resident.
    pub(crate) fn reserved_bytes(&self) -> usize {
        let Some(made) = self.made.get() else { return 0 };
        let mut making = 0;
        made.make.visit_free(|slot| making = if slot.is_none() { size_of::<Making>() } else { 0 });
        made.contexts
            .saturating_sub(made.codec.metadata_bytes())
            .saturating_add(made.trained.reserved_bytes(CLUSTER_BYTES))
            .saturating_add(made.training.reserved_bytes())
            .saturating_add(making)
    }

    /// Frees what only the making of clusters needs, until the next one is made. Inside an operation.
    pub(super) fn rest(&self) {
        if let Some(made) = self.made.get() {
            made.codec.release_contexts();
            made.trained.rest();
            made.make.visit_free(|slot| *slot = None);
        }
    }

    /// The base codec; `None` before [`prepare`](Self::prepare).
    pub(crate) fn codec(&self) -> Option<&dyn Codec> {
        self.made.get().map(|made| &*made.codec)
    }

    /// `None` before [`prepare`](Self::prepare).
    pub(crate) fn training(&self) -> Option<&Training> {
        self.made.get().map(|made| &made.training)
    }

    /// `None` before [`prepare`](Self::prepare).
    pub(crate) fn trained(&self) -> Option<&Trained> {
        self.made.get().map(|made| &made.trained)
    }

    /// Compresses the pages in `making` to less than `below` bytes, restores them and compares.
    pub(crate) fn encode<'m>(
        &self,
        making: &'m mut Making,
        below: usize,
    ) -> Result<&'m [u8], NoCluster> {
        let made = self.made.get().ok_or(NoCluster::Long)?;
        let Making { pages, object, restored } = making;
        let room = below.saturating_sub(1).min(object.len());
        let id = made.trained.current();
        let (first, output) = object.split_at_mut(ID_BYTES);
        let output = output.get_mut(..room.saturating_sub(ID_BYTES)).ok_or(NoCluster::Long)?;
        first[0] = id.0;
        let encoded = made.trained.with_codec(&*made.codec, id, Wait::Allowed, |codec| {
            let len = checked_compress(codec, pages, output).ok_or(NoCluster::Long)?;
            match codec.decompress(&output[..len], restored) {
                Ok(CLUSTER_BYTES) if restored == pages => Ok(len),
                _ => Err(NoCluster::Damaged),
            }
        });
        let len = encoded.map_err(|_| NoCluster::Damaged)??;
        Ok(&object[..ID_BYTES + len])
    }

    /// `f` with the memory for making a cluster; `None` before [`prepare`](Self::prepare).
    pub(crate) fn making<R>(&self, f: impl FnOnce(&mut Making) -> R) -> Option<R> {
        let made = self.made.get()?;
        let new = || Box::new(Making { pages: zeros(), object: zeros(), restored: zeros() });
        Some(made.make.acquire().with(|making| f(making.get_or_insert_with(new))))
    }

    /// Restores one page. Any bytes may be given.
    pub(crate) fn read(
        &self,
        slices: Slices<'_>,
        slot: u8,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        let made = self.made.get().ok_or(ReadError::Corrupt)?;
        let mut turn = match wait {
            Wait::Allowed => made.read.acquire(),
            Wait::Never => made.read.try_acquire().ok_or(ReadError::WouldBlock)?,
        };
        turn.with(|read| {
            let Read { object, pages } = &mut **read;
            let bytes = match slices.contiguous() {
                Some(bytes) => bytes,
                None => {
                    let len = slices.copy_to(object).ok_or(ReadError::Corrupt)?;
                    &object[..len]
                }
            };
            let (&id, bytes) = bytes.split_first().ok_or(ReadError::Corrupt)?;
            let start = usize::from(slot) * PAGE_BYTES;
            let wanted = start + PAGE_BYTES;
            let restore = |codec: &dyn Codec| match wait {
                Wait::Allowed => Ok(codec.decompress_start(bytes, pages, wanted)?),
                Wait::Never => Ok(codec.try_decompress_start(bytes, pages, wanted)?),
            };
            let trained = &made.trained;
            let restored: Result<usize, ReadError> =
                trained.with_codec(&*made.codec, CodecId(id), wait, restore)?;
            match pages.get(start..wanted) {
                Some(page) if restored? >= wanted => {
                    into.copy_from_slice(page);
                    Ok(())
                }
                _ => Err(ReadError::Corrupt),
            }
        })
    }

    /// The id of the codec that made an object.
    pub(crate) fn id_of(slices: Slices<'_>) -> Option<CodecId> {
        slices.parts().iter().flat_map(|part| part.first()).next().copied().map(CodecId)
    }
}
