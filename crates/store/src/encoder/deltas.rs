//! Pages against their base pages. `docs/BASES.md` has the forms.
//!
//! ```text
//!  object   1 | the difference, word by word           2 | output of zstd with the base page as prefix
//! ```
//! Contexts and buffers are made, and charged, with the first base of a store.

use std::sync::{Arc, OnceLock};

#[cfg(feature = "c-codecs")]
use pagefold_codec::Prefixed;
use pagefold_codec::{Codec, TryCodecError, apply_delta, checked_compress, delta};
use pagefold_frame::{Charge, MemoryBudget, OutOfFrames};
use pagefold_pool::Slices;
use pagefold_sys::sync::SlotArray;

use super::{
    Encoder,
    decode::{Objects, ReadError, Wait},
    encode::with_output,
    object::{Encoding, Object},
};
use crate::{
    page::{PAGE_BYTES, Page},
    word::Short,
};

const XOR_FORM: u8 = 1;
const PREFIX_FORM: u8 = 2;
/// A difference of at most so many bytes is taken as it is (record 2026-11-27-bases).
const XOR_SHORT: usize = 320;
/// A longer difference is given up.
const XOR_MAX: usize = 1024;
/// Where the best delta is longer, the plain codec is tried.
const DELTA_SHORT: usize = 512;
/// A delta is to be shorter than plain by one in so many bytes.
const WORTH: usize = 8;
/// As of the codec of single pages.
const CONTEXTS: usize = 2;

#[cfg(not(feature = "c-codecs"))]
type Prefixed = std::convert::Infallible;

/// What deltas need.
#[derive(Default)]
pub(crate) struct Deltas {
    made: OnceLock<Made>,
}

struct Made {
    /// `None` in builds without zstd, and in a model.
    prefixed: Option<Prefixed>,
    /// Base pages, for prefixes.
    bases: SlotArray<Box<Page>>,
    /// Of contexts.
    charged: usize,
    _charge: Charge,
}

/// What a page is against its base page.
pub(crate) enum OnBase<'b> {
    Equal,
    Object(Object<'b>),
}

impl Deltas {
    /// Makes contexts and buffers, once.
    pub(crate) fn prepare(&self, memory: &Arc<MemoryBudget>) -> Result<(), OutOfFrames> {
        if self.made.get().is_some() {
            return Ok(());
        }
        let prefixed = prefixed()?;
        let contexts = prefixed.as_ref().map_or(0, contexts_max);
        let bases = SlotArray::from_fn(CONTEXTS, |_| Box::new([0; PAGE_BYTES]));
        let buffers = bases.array_bytes() + CONTEXTS * PAGE_BYTES;
        let charge = memory.charge_beside(contexts + buffers)?;
        // Another thread may have been faster: then this one's goes.
        _ = self.made.set(Made { prefixed, bases, charged: contexts, _charge: charge });
        Ok(())
    }

    /// Charged bytes not resident.
    pub(super) fn reserved_bytes(&self) -> usize {
        let Some(made) = self.made.get() else { return 0 };
        made.charged.saturating_sub(made.prefixed.as_ref().map_or(0, contexts_now))
    }

    /// Frees what only encoding needs, until the next page comes.
    pub(super) fn rest(&self) {
        #[cfg(feature = "c-codecs")]
        if let Some(prefixed) = self.made.get().and_then(|made| made.prefixed.as_ref()) {
            prefixed.release_contexts();
        }
    }

    fn prefixed(&self) -> Option<&Prefixed> {
        self.made.get()?.prefixed.as_ref()
    }

    /// Makes the page from the base page in `into`. Any bytes may be given.
    pub(crate) fn patch(
        &self,
        object: &[u8],
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        let into: &mut Page = into.try_into().map_err(|_| ReadError::Length(PAGE_BYTES))?;
        match object.split_first() {
            Some((&XOR_FORM, delta)) => Ok(apply_delta(delta, into)?),
            Some((&PREFIX_FORM, bytes)) => {
                let made = self.made.get().ok_or(ReadError::Corrupt)?;
                let prefixed = made.prefixed.as_ref().ok_or(ReadError::Corrupt)?;
                let mut slot = match wait {
                    Wait::Allowed => made.bases.acquire(),
                    Wait::Never => made.bases.try_acquire().ok_or(ReadError::WouldBlock)?,
                };
                slot.with(|base| {
                    base.copy_from_slice(into);
                    let decoded = restore(prefixed, base, bytes, into, wait)?;
                    if decoded == PAGE_BYTES { Ok(()) } else { Err(ReadError::Corrupt) }
                })
            }
            _ => Err(ReadError::Corrupt),
        }
    }
}

impl Encoder {
    /// Makes the page of a delta from the base page in `into`, of a page's length.
    pub(crate) fn read_delta(
        &self,
        objects: &Objects<'_>,
        at: Short,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        objects.with(at, wait, |slices: Slices<'_>| match slices.contiguous() {
            Some(bytes) => self.deltas.patch(bytes, into, wait),
            None => {
                let patch = |bytes: &[u8]| self.deltas.patch(bytes, into, wait).map(|()| 0);
                self.gathered(slices, wait, patch).map(drop)
            }
        })
    }

    /// If the page is equal to its base page, or nearly so. `room` is for the object.
    pub(crate) fn encode_near<'b>(
        &self,
        page: &Page,
        base: &Page,
        room: &'b mut Page,
    ) -> Option<OnBase<'b>> {
        if page == base {
            return Some(OnBase::Equal);
        }
        room[0] = XOR_FORM;
        let len = delta(base, page, &mut room[1..=XOR_SHORT])?;
        Some(OnBase::Object(of_delta(&room[..=len])))
    }

    /// As [`encode_page`](Self::encode_page), in the shortest form, which may be a delta.
    pub(crate) fn encode_page_on<'b>(&self, page: &'b mut Page, base: &Page) -> OnBase<'b> {
        if page == base {
            return OnBase::Equal;
        }
        let id = self.trained.current();
        let (len, encoding) = with_output(|output| {
            let (xor, other) = output.split_at_mut(1 + XOR_MAX);
            (xor[0], other[0]) = (XOR_FORM, PREFIX_FORM);
            let xor_len = delta(base, page, &mut xor[1..]).map(|len| 1 + len);
            let mut best: Option<&[u8]> = xor_len.map(|len| &xor[..len]);
            if xor_len.is_none_or(|len| len > XOR_SHORT) {
                let below = xor_len.unwrap_or(usize::MAX).min(other.len());
                let len = self
                    .deltas
                    .prefixed()
                    .and_then(|prefixed| shorten(prefixed, base, page, &mut other[1..below]));
                if let Some(len) = len {
                    best = Some(&other[..=len]);
                }
            }
            if best.is_none_or(|delta| delta.len() > DELTA_SHORT) {
                // A plain page needs no other one, and may join a cluster.
                let below = best.map_or(usize::MAX, |delta| delta.len() + delta.len() / WORTH);
                let plain = with_output(|output| {
                    let room = (below - 1).min(output.len());
                    let output = &mut output[..room];
                    let compress = |codec: &dyn Codec| checked_compress(codec, page, output);
                    let len = self.with_codec(id, Wait::Allowed, compress).ok()??;
                    page[..len].copy_from_slice(&output[..len]);
                    Some(len)
                });
                if let Some(len) = plain {
                    return (len, Encoding::Compressed(id));
                }
            }
            match best {
                Some(delta) => {
                    page[..delta.len()].copy_from_slice(delta);
                    (delta.len(), Encoding::Delta)
                }
                None => (PAGE_BYTES, Encoding::Raw),
            }
        });
        OnBase::Object(Object { bytes: &page[..len], encoding, original: PAGE_BYTES })
    }

    /// What the current codec would make of the page; a page's length if it does not shrink.
    pub(crate) fn plain_len(&self, page: &Page) -> usize {
        let id = self.trained.current();
        let len = with_output(|output| {
            let compress = |codec: &dyn Codec| checked_compress(codec, page, output);
            self.with_codec(id, Wait::Allowed, compress).ok().flatten()
        });
        len.unwrap_or(PAGE_BYTES)
    }
}

fn of_delta(bytes: &[u8]) -> Object<'_> {
    Object { bytes, encoding: Encoding::Delta, original: PAGE_BYTES }
}

#[cfg(feature = "c-codecs")]
fn prefixed() -> Result<Option<Prefixed>, OutOfFrames> {
    if cfg!(loom) {
        return Ok(None);
    }
    let prefixed = Prefixed::new().map_err(|_| OutOfFrames)?;
    prefixed.limit_contexts(CONTEXTS);
    Ok(Some(prefixed))
}

#[cfg(feature = "c-codecs")]
fn contexts_max(prefixed: &Prefixed) -> usize {
    prefixed.metadata_bytes_max(PAGE_BYTES)
}

#[cfg(feature = "c-codecs")]
fn contexts_now(prefixed: &Prefixed) -> usize {
    prefixed.metadata_bytes()
}

#[cfg(feature = "c-codecs")]
fn shorten(prefixed: &Prefixed, base: &Page, page: &Page, output: &mut [u8]) -> Option<usize> {
    prefixed.compress(base, page, output).filter(|len| *len <= output.len())
}

#[cfg(feature = "c-codecs")]
fn restore(
    prefixed: &Prefixed,
    base: &Page,
    bytes: &[u8],
    into: &mut Page,
    wait: Wait,
) -> Result<usize, ReadError> {
    match wait {
        Wait::Allowed => Ok(prefixed.decompress(base, bytes, into)?),
        Wait::Never => {
            let restored: Result<usize, TryCodecError> = prefixed.try_decompress(base, bytes, into);
            Ok(restored?)
        }
    }
}

#[cfg(not(feature = "c-codecs"))]
mod without_zstd {
    use super::{OutOfFrames, Page, Prefixed, ReadError, Wait};

    pub(super) fn prefixed() -> Result<Option<Prefixed>, OutOfFrames> {
        Ok(None)
    }

    pub(super) fn contexts_max(prefixed: &Prefixed) -> usize {
        match *prefixed {}
    }

    pub(super) fn contexts_now(prefixed: &Prefixed) -> usize {
        match *prefixed {}
    }

    pub(super) fn shorten(
        prefixed: &Prefixed,
        _base: &Page,
        _page: &Page,
        _output: &mut [u8],
    ) -> Option<usize> {
        match *prefixed {}
    }

    pub(super) fn restore(
        prefixed: &Prefixed,
        _base: &Page,
        _bytes: &[u8],
        _into: &mut Page,
        _wait: Wait,
    ) -> Result<usize, ReadError> {
        match *prefixed {}
    }
}
#[cfg(not(feature = "c-codecs"))]
use without_zstd::{contexts_max, contexts_now, prefixed, restore, shorten};
