//! Pages against other pages, in the shorter of two forms.
//!
//! ```text
//!  object   1 | the difference, word by word           2 | output of zstd with the base page as prefix
//! ```

use pagefold_sys::sync::{SlotArray, default_slot_count};

#[cfg(feature = "c-codecs")]
use crate::prefixed::Prefixed;
use crate::{
    BuildCodecError, CodecError, TryCodecError,
    delta::{DELTA_PAGE_BYTES, apply_delta, delta},
};

const XOR_FORM: u8 = 1;
const PREFIX_FORM: u8 = 2;
/// A difference of at most so many bytes is taken as it is: with zstd the rest would win a hundredth, in twice the time (record
/// 2026-11-27-bases).
const XOR_SHORT: usize = 320;
/// A longer difference is given up.
const XOR_MAX: usize = 1024;
/// A delta of at most so many bytes is taken without a look at plain.
const DELTA_SHORT: usize = 512;
/// A delta is to be shorter than plain by one in so many bytes.
const WORTH: usize = 8;
const INVALID: CodecError = CodecError::Invalid { codec: "delta", capacity: DELTA_PAGE_BYTES };

type Page = [u8; DELTA_PAGE_BYTES];

/// Makes pages short that are nearly copies of others.
///
/// # Concurrency
/// As of a [`Codec`](crate::Codec): a call waits only while every context is in use. [`encode_near`](Self::encode_near) has
/// none.
///
/// # Examples
/// ```
/// use pagefold_codec::Deltas;
///
/// let deltas = Deltas::new()?;
/// let base = [7; 4096];
/// let mut page = base;
/// page[100] = 8;
/// let mut object = [0; 100];
/// let len = deltas.encode(&base, &page, &mut object).ok_or("it is short")?;
/// assert_eq!(len, 12);
///
/// let mut back = base;
/// deltas.decode(&object[..len], &mut back)?;
/// assert_eq!(back, page);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Deltas {
    #[cfg(feature = "c-codecs")]
    prefixed: Option<Prefixed>,
    /// Base pages, while a page is made over them.
    bases: SlotArray<Box<Page>>,
}

impl Deltas {
    /// With both forms, or with the first in builds without zstd.
    ///
    /// # Errors
    /// As of zstd.
    pub fn new() -> Result<Self, BuildCodecError> {
        let deltas = Self::without_zstd(default_slot_count());
        #[cfg(feature = "c-codecs")]
        let deltas = Self { prefixed: Some(Prefixed::new()?), ..deltas };
        Ok(deltas)
    }

    /// With the first form only.
    pub fn without_zstd(slots: usize) -> Self {
        Self {
            #[cfg(feature = "c-codecs")]
            prefixed: None,
            bases: SlotArray::from_fn(slots, |_| Box::new([0; DELTA_PAGE_BYTES])),
        }
    }

    /// Writes the object of a page that differs little from `base`; returns its length. `None` if it is longer than
    /// `object`, or than what [`encode`](Self::encode) would look at twice.
    pub fn encode_near(&self, base: &Page, page: &Page, object: &mut [u8]) -> Option<usize> {
        let (form, room) = object.split_first_mut()?;
        *form = XOR_FORM;
        let room_len = room.len().min(XOR_SHORT);
        Some(1 + delta(base, page, &mut room[..room_len])?)
    }

    /// Writes the shortest object of a page; returns its length. `None` if it is longer than `object`, or longer than is
    /// sensible. The second form needs some 64 bytes of room more.
    pub fn encode(&self, base: &Page, page: &Page, object: &mut [u8]) -> Option<usize> {
        let room = object.len().min(1 + XOR_MAX);
        let (form, room) = object[..room].split_first_mut()?;
        *form = XOR_FORM;
        let len = delta(base, page, room).map(|len| 1 + len);
        match len {
            Some(len) if len <= 1 + XOR_SHORT => Some(len),
            len => self.with_prefix(base, page, object, len),
        }
    }

    /// `len`: of the first form, which lies in `object`, if it has one.
    #[cfg(feature = "c-codecs")]
    fn with_prefix(
        &self,
        base: &Page,
        page: &Page,
        object: &mut [u8],
        len: Option<usize>,
    ) -> Option<usize> {
        let Some(prefixed) = &self.prefixed else { return len };
        // The first form is at most so long, and may be the shorter one after all.
        let mut kept = [0; 1 + XOR_MAX];
        if let Some(len) = len {
            kept[..len].copy_from_slice(&object[..len]);
        }
        let below = len.unwrap_or(usize::MAX).min(object.len());
        let (form, room) = object[..below].split_first_mut()?;
        *form = PREFIX_FORM;
        match prefixed.compress(base, page, room) {
            Some(compressed) => Some(1 + compressed),
            None => {
                let len = len?;
                object[..len].copy_from_slice(&kept[..len]);
                Some(len)
            }
        }
    }

    #[cfg(not(feature = "c-codecs"))]
    fn with_prefix(
        &self,
        _base: &Page,
        _page: &Page,
        _object: &mut [u8],
        len: Option<usize>,
    ) -> Option<usize> {
        len
    }

    /// The longest plain object that is taken in place of a delta of so many bytes, or of none; `None` where plain need not be
    /// tried. A plain page needs no other one, and may join a cluster, so it wins unless it is an eighth longer.
    ///
    /// # Examples
    /// ```
    /// use pagefold_codec::Deltas;
    ///
    /// assert_eq!(Deltas::plain_max(Some(100)), None, "it is short");
    /// assert_eq!(Deltas::plain_max(Some(800)), Some(899));
    /// assert_eq!(Deltas::plain_max(None), Some(4096));
    /// ```
    pub fn plain_max(delta: Option<usize>) -> Option<usize> {
        match delta {
            Some(len) if len <= DELTA_SHORT => None,
            Some(len) => Some(len + len / WORTH - 1),
            None => Some(DELTA_PAGE_BYTES),
        }
    }

    /// Makes the page from its base page, in place. Allocates nothing.
    ///
    /// # Errors
    /// [`CodecError::Invalid`]; `page` is then unspecified.
    pub fn decode(&self, object: &[u8], page: &mut Page) -> Result<(), CodecError> {
        match self.decode_with(object, page, true) {
            Ok(()) => Ok(()),
            Err(TryCodecError::Codec(error)) => Err(error),
            Err(TryCodecError::WouldBlock) => unreachable!("it waited"),
        }
    }

    /// As [`decode`](Self::decode), without waiting: a signal handler may call it.
    ///
    /// # Errors
    /// [`TryCodecError::WouldBlock`] when every context is in use; `page` is then unspecified.
    pub fn try_decode(&self, object: &[u8], page: &mut Page) -> Result<(), TryCodecError> {
        self.decode_with(object, page, false)
    }

    fn decode_with(
        &self,
        object: &[u8],
        page: &mut Page,
        waits: bool,
    ) -> Result<(), TryCodecError> {
        match object.split_first() {
            Some((&XOR_FORM, delta)) => Ok(apply_delta(delta, page)?),
            Some((&PREFIX_FORM, bytes)) => {
                let mut slot = if waits {
                    self.bases.acquire()
                } else {
                    self.bases.try_acquire().ok_or(TryCodecError::WouldBlock)?
                };
                slot.with(|base| {
                    base.copy_from_slice(page);
                    let len = self.restore(base, bytes, page, waits)?;
                    if len == page.len() { Ok(()) } else { Err(INVALID.into()) }
                })
            }
            _ => Err(INVALID.into()),
        }
    }

    #[cfg(feature = "c-codecs")]
    fn restore(
        &self,
        base: &Page,
        bytes: &[u8],
        page: &mut Page,
        waits: bool,
    ) -> Result<usize, TryCodecError> {
        let prefixed = self.prefixed.as_ref().ok_or(INVALID)?;
        if waits {
            Ok(prefixed.decompress(base, bytes, page)?)
        } else {
            prefixed.try_decompress(base, bytes, page)
        }
    }

    #[cfg(not(feature = "c-codecs"))]
    fn restore(
        &self,
        _base: &Page,
        _bytes: &[u8],
        _page: &mut Page,
        _waits: bool,
    ) -> Result<usize, TryCodecError> {
        Err(INVALID.into())
    }

    fn slot_bytes(&self) -> usize {
        self.bases.array_bytes() + self.bases.len() * DELTA_PAGE_BYTES
    }

    /// Bytes that may be resident now.
    pub fn metadata_bytes(&self) -> usize {
        let slots = self.slot_bytes();
        #[cfg(feature = "c-codecs")]
        let slots = slots + self.prefixed.as_ref().map_or(0, Prefixed::metadata_bytes);
        slots
    }

    /// The most of [`metadata_bytes`](Self::metadata_bytes).
    pub fn metadata_bytes_max(&self) -> usize {
        let slots = self.slot_bytes();
        #[cfg(feature = "c-codecs")]
        let most = |prefixed: &Prefixed| prefixed.metadata_bytes_max(DELTA_PAGE_BYTES);
        #[cfg(feature = "c-codecs")]
        let slots = slots + self.prefixed.as_ref().map_or(0, most);
        slots
    }

    /// As [`Codec::limit_contexts`](crate::Codec::limit_contexts).
    pub fn limit_contexts(&self, count: usize) {
        #[cfg(feature = "c-codecs")]
        self.prefixed.iter().for_each(|prefixed| prefixed.limit_contexts(count));
        self.bases.limit(count);
    }

    /// As [`Codec::release_contexts`](crate::Codec::release_contexts).
    pub fn release_contexts(&self) {
        #[cfg(feature = "c-codecs")]
        self.prefixed.iter().for_each(Prefixed::release_contexts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(seed: u64) -> Page {
        let mut state = seed;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56).to_le_bytes()[0]
        })
    }

    fn changed(base: &Page, words: usize) -> Page {
        let mut page = *base;
        (0..words).for_each(|word| page[word * 8 % 4096] ^= 0x55);
        page
    }

    #[test]
    fn the_shorter_form_wins_and_comes_back() {
        let deltas = Deltas::new().expect("built");
        let base = page(1);
        let mut moved = base;
        moved.copy_within(0..3000, 1000);
        let mut moved_and_changed = changed(&base, 120);
        moved_and_changed.copy_within(2000..2300, 2100);
        for (other, form) in [
            (base, Some(XOR_FORM)),
            (changed(&base, 1), Some(XOR_FORM)),
            (changed(&base, 100), Some(XOR_FORM)),
            (moved, cfg!(feature = "c-codecs").then_some(PREFIX_FORM)),
            (page(2), None),
        ] {
            let mut object = [0; 3000];
            let len = deltas.encode(&base, &other, &mut object);
            assert_eq!(len.map(|_| object[0]), form);
            let Some(len) = len else { continue };
            let mut back = base;
            deltas.decode(&object[..len], &mut back).expect("its own");
            assert!(back == other);
            let mut back = base;
            deltas.try_decode(&object[..len], &mut back).expect("its own");
            assert!(back == other);
            // In exactly the room, and in less; zstd writes headers first, which it then leaves out.
            let headers = if object[0] == PREFIX_FORM { 64 } else { 0 };
            let mut exact = vec![0; len + headers];
            assert_eq!(deltas.encode(&base, &other, &mut exact), Some(len));
            let less = deltas.encode(&base, &other, &mut exact[..len - 1]);
            assert!(less.is_none_or(|less| less < len));
            let near = deltas.encode_near(&base, &other, &mut object);
            assert_eq!(near.is_some(), len <= 1 + XOR_SHORT && form == Some(XOR_FORM));
        }
        assert_eq!(deltas.encode(&base, &page(2), &mut []), None);
        for bad in [&[][..], &[0], &[3, 1, 1], &[PREFIX_FORM], &[PREFIX_FORM, 1, 2, 3]] {
            assert!(deltas.decode(bad, &mut base.clone()).is_err(), "{bad:?}");
        }
        assert!(deltas.metadata_bytes() <= deltas.metadata_bytes_max());
    }
}
