//! From bytes to objects and back: what a put makes of a page or a value, and what a get makes of an object.
//!
//! Input is copied before a codec looks at it, because user memory may fault and the fault may be served by a store. What
//! the codec makes lies on the stack of the put: a put that makes room calls what programs give it (eviction listeners,
//! orders), and those may put in turn, so it holds no slot for which another put could wait. A value that is compressed has two bytes before the codec's own: its length
//! less 1.
//!
//! The way back runs in signal handlers as well: nothing is allocated, and in its form without waiting nothing is
//! waited for. An object that an allocator keeps in several pieces is gathered in a slot first.

use pagefold_codec::{
    Codec, CodecError, TryCodecError, accept_len, checked_compress, checked_metadata_bytes_max,
    fill,
};
use pagefold_pool::{HandleError, Pool, Slices, TryReadError};
use pagefold_sys::sync::{SlotArray, default_slot_count};

use crate::{
    PAGE_BYTES, Page,
    word::{CodecId, Entry, Short, page_len, value_len},
};

/// The longest value.
pub(crate) const VALUE_MAX: usize = 64 << 10;
/// What a value longer than a page is worked on in: a copy of it, and what the codec makes.
pub(crate) const SCRATCH_BYTES: usize = 2 * VALUE_MAX;
/// Contexts of the codec that a store begins with: one, and one for a read that interrupts it. More are charged when calls
/// have waited for one.
const CONTEXTS: usize = 2;
/// Buffers for objects in pieces, of a page each.
const GATHER_SLOTS_MAX: usize = 8;
/// Bytes before a compressed value: its length less 1.
const PREFIX: usize = 2;

/// What a store needs to encode and decode.
pub(crate) struct Encoder {
    pub(crate) codec: Box<dyn Codec>,
    /// For gets: an object that lies in pieces.
    gather: SlotArray<Box<Page>>,
    /// For a put of a value longer than a page when the limit has no room for scratch of its own. Made at its first use.
    scratch: SlotArray<Option<Box<[u8]>>>,
}

/// An object to be stored, and what the index is to say of it. Its bytes are a copy, never user memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) bytes: &'a [u8],
    kind: Encoding,
    /// The length of what it stands for.
    pub(crate) original: usize,
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Pattern,
    Compressed,
    Raw,
    Value(Option<CodecId>),
}

impl Object<'_> {
    pub(crate) fn pattern(bytes: &[u8; 8]) -> Object<'_> {
        Object { bytes, kind: Encoding::Pattern, original: PAGE_BYTES }
    }

    /// What the index says once the object is stored.
    pub(crate) fn entry(&self, at: Short) -> Entry {
        match self.kind {
            Encoding::Pattern => Entry::Pattern(at),
            Encoding::Compressed => {
                Entry::Page { at, codec: CodecId::FIRST, len: page_len(self.bytes.len()) }
            }
            Encoding::Raw => Entry::Raw(at),
            Encoding::Value(codec) => Entry::Value { at, codec, len: value_len(self.bytes.len()) },
        }
    }
}

/// How a read goes about what others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Waits for a writer or a context.
    Allowed,
    /// Never waits.
    Never,
}

/// Why an object was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The object is gone: the index says something else by now.
    Stale,
    /// What is kept has this length, and the destination another.
    Length(usize),
    Corrupt,
    /// Only with [`Wait::Never`].
    WouldBlock,
}

impl From<TryCodecError> for ReadError {
    fn from(error: TryCodecError) -> Self {
        match error {
            TryCodecError::WouldBlock => Self::WouldBlock,
            TryCodecError::Codec(_) => Self::Corrupt,
        }
    }
}

impl From<CodecError> for ReadError {
    fn from(_: CodecError) -> Self {
        Self::Corrupt
    }
}

impl Encoder {
    pub(crate) fn new(codec: Box<dyn Codec>) -> Self {
        let count = if cfg!(loom) { 2 } else { default_slot_count().min(GATHER_SLOTS_MAX) };
        codec.limit_contexts(CONTEXTS);
        Self {
            codec,
            gather: SlotArray::from_fn(count, |_| Box::new([0; PAGE_BYTES])),
            scratch: SlotArray::from_fn(1, |_| None),
        }
    }

    fn codec_bytes_max(&self, len: usize) -> usize {
        checked_metadata_bytes_max(&*self.codec, len).unwrap_or(usize::MAX)
    }

    /// Whether the codec's word on its memory can be true.
    pub(crate) fn is_plausible(&self) -> bool {
        [PAGE_BYTES, VALUE_MAX].iter().all(|&len| {
            let context = self.codec.context_bytes_max(len);
            checked_metadata_bytes_max(&*self.codec, len).is_some()
                && isize::try_from(context).is_ok()
        })
    }

    /// Bytes of slots and contexts, when nothing longer than a page is compressed.
    pub(crate) fn fixed_bytes(&self) -> usize {
        let slots =
            self.gather.array_bytes() + self.gather.len() * PAGE_BYTES + self.scratch.array_bytes();
        slots.saturating_add(self.codec_bytes_max(PAGE_BYTES))
    }

    /// What contexts may yet grow by, of what was charged for them: with `long`, for values of any length.
    pub(crate) fn reserved_bytes(&self, long: bool) -> usize {
        let len = if long { VALUE_MAX } else { PAGE_BYTES };
        let contexts = self.codec_bytes_max(len).saturating_sub(self.codec.metadata_bytes());
        // A thread that is at work in the scratch has made it.
        let is_made =
            || self.scratch.try_acquire().is_none_or(|mut slot| slot.with(|slot| slot.is_some()));
        contexts.saturating_add(if long && !is_made() { SCRATCH_BYTES } else { 0 })
    }

    /// What the contexts may grow by once the longest value is compressed, and the store's own scratch.
    pub(crate) fn growth_of_long(&self) -> usize {
        let page = self.codec_bytes_max(PAGE_BYTES);
        let contexts = self.codec_bytes_max(VALUE_MAX).saturating_sub(page);
        contexts.saturating_add(SCRATCH_BYTES)
    }

    /// The store's own scratch, of [`SCRATCH_BYTES`].
    pub(crate) fn scratch(&self) -> &SlotArray<Option<Box<[u8]>>> {
        &self.scratch
    }

    /// Calls `f` with the object to store for a page that is not same-filled.
    pub(crate) fn with_page<R>(&self, page: &Page, f: impl FnOnce(Object<'_>) -> R) -> R {
        let page = *page;
        let mut output = [0; accept_len(PAGE_BYTES)];
        let (bytes, kind) = match checked_compress(&*self.codec, &page, &mut output) {
            Some(len) => (&output[..len], Encoding::Compressed),
            None => (&page[..], Encoding::Raw),
        };
        f(Object { bytes, kind, original: PAGE_BYTES })
    }

    /// Calls `f` with the object to store for a value of 1 to 64 KiB that is not as long as a page. A value that is
    /// longer than a page is worked on in `scratch`, which is twice as long.
    pub(crate) fn with_value<R>(
        &self,
        value: &[u8],
        scratch: &mut [u8],
        f: impl FnOnce(Object<'_>) -> R,
    ) -> R {
        if value.len() > PAGE_BYTES {
            let (input, output) = scratch.split_at_mut(value.len());
            input.copy_from_slice(value);
            return self.encode_value(input, output, f);
        }
        let mut input = [0; PAGE_BYTES];
        let input = &mut input[..value.len()];
        input.copy_from_slice(value);
        let mut output = [0; PAGE_BYTES];
        self.encode_value(input, &mut output, f)
    }

    /// `input` is a copy of the value.
    fn encode_value<R>(
        &self,
        input: &[u8],
        output: &mut [u8],
        f: impl FnOnce(Object<'_>) -> R,
    ) -> R {
        let accepted = accept_len(input.len());
        let compressed = (accepted > PREFIX)
            .then(|| checked_compress(&*self.codec, input, &mut output[PREFIX..accepted]))
            .flatten();
        let (bytes, codec) = match compressed {
            Some(len) => {
                let less_1 = u16::try_from(input.len() - 1).expect("at most 64 KiB");
                output[..PREFIX].copy_from_slice(&less_1.to_le_bytes());
                (&output[..PREFIX + len], Some(CodecId::FIRST))
            }
            None => (input, None),
        };
        f(Object { bytes, kind: Encoding::Value(codec), original: input.len() })
    }

    /// Reads what the index says is kept into a destination of exactly its length.
    pub(crate) fn read(
        &self,
        source: &Source<'_>,
        entry: Entry,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        let given = into.len();
        match entry {
            Entry::Empty => Err(ReadError::Stale),
            Entry::Nil if given == 0 => Ok(()),
            Entry::Nil => Err(ReadError::Length(0)),
            Entry::Same(_) | Entry::Pattern(_) | Entry::Page { .. } | Entry::Raw(_)
                if given != PAGE_BYTES =>
            {
                Err(ReadError::Length(PAGE_BYTES))
            }
            Entry::Same(pattern) => {
                fill(pattern, into);
                Ok(())
            }
            Entry::Pattern(at) => source.with(at, wait, |slices| {
                let mut pattern = [0; 8];
                (slices.copy_to(&mut pattern) == Some(8))
                    .then_some(())
                    .ok_or(ReadError::Corrupt)?;
                fill(u64::from_ne_bytes(pattern), into);
                Ok(())
            }),
            Entry::Page { at, .. } => source.with(at, wait, |slices| {
                let decoded = match slices.contiguous() {
                    Some(bytes) => self.decompress(bytes, into, wait)?,
                    None => {
                        self.gathered(slices, wait, |bytes| self.decompress(bytes, into, wait))?
                    }
                };
                if decoded == given { Ok(()) } else { Err(ReadError::Corrupt) }
            }),
            Entry::Raw(at) => source.with(at, wait, |slices| {
                let whole = slices.len() == given && slices.copy_to(into).is_some();
                whole.then_some(()).ok_or(ReadError::Corrupt)
            }),
            Entry::Value { at, codec: None, .. } => source.with(at, wait, |slices| {
                let whole = slices.len() == given && slices.copy_to(into).is_some();
                whole.then_some(()).ok_or(ReadError::Length(slices.len()))
            }),
            Entry::Value { at, codec: Some(_), .. } => source.with(at, wait, |slices| {
                let len = prefixed_len(slices)?;
                if len != given {
                    return Err(ReadError::Length(len));
                }
                let decoded = match slices.contiguous() {
                    Some(bytes) => self.decompress(&bytes[PREFIX..], into, wait)?,
                    None if slices.len() <= PAGE_BYTES => self.gathered(slices, wait, |bytes| {
                        self.decompress(&bytes[PREFIX..], into, wait)
                    })?,
                    // There is nothing to gather it in without allocating; see `Space::try_get_bytes`.
                    None if wait == Wait::Never => return Err(ReadError::WouldBlock),
                    None => {
                        let mut bytes = vec![0; slices.len()];
                        slices.copy_to(&mut bytes);
                        self.decompress(&bytes[PREFIX..], into, wait)?
                    }
                };
                if decoded == given { Ok(()) } else { Err(ReadError::Corrupt) }
            }),
        }
    }

    /// The length of what is kept.
    pub(crate) fn len(
        &self,
        source: &Source<'_>,
        entry: Entry,
        wait: Wait,
    ) -> Result<usize, ReadError> {
        match entry {
            Entry::Empty => Err(ReadError::Stale),
            Entry::Nil => Ok(0),
            Entry::Same(_) | Entry::Pattern(_) | Entry::Page { .. } | Entry::Raw(_) => {
                Ok(PAGE_BYTES)
            }
            Entry::Value { at, codec: None, .. } => {
                source.with(at, wait, |slices| Ok(slices.len()))
            }
            Entry::Value { at, codec: Some(_), .. } => source.with(at, wait, prefixed_len),
        }
    }

    fn decompress(&self, bytes: &[u8], into: &mut [u8], wait: Wait) -> Result<usize, ReadError> {
        match wait {
            Wait::Allowed => Ok(self.codec.decompress(bytes, into)?),
            Wait::Never => Ok(self.codec.try_decompress(bytes, into)?),
        }
    }

    fn gathered(
        &self,
        slices: Slices<'_>,
        wait: Wait,
        f: impl FnOnce(&[u8]) -> Result<usize, ReadError>,
    ) -> Result<usize, ReadError> {
        let mut slot = match wait {
            Wait::Allowed => self.gather.acquire(),
            Wait::Never => self.gather.try_acquire().ok_or(ReadError::WouldBlock)?,
        };
        slot.with(|page| {
            let len = slices.copy_to(&mut page[..]).ok_or(ReadError::Corrupt)?;
            f(&page[..len])
        })
    }
}

/// The length that a compressed value says it has.
fn prefixed_len(slices: Slices<'_>) -> Result<usize, ReadError> {
    let mut bytes = slices.parts().iter().flat_map(|part| part.iter().copied());
    match (bytes.next(), bytes.next()) {
        (Some(low), Some(high)) => Ok(usize::from(u16::from_le_bytes([low, high])) + 1),
        _ => Err(ReadError::Corrupt),
    }
}

/// Where objects are read from.
pub(crate) struct Source<'a> {
    pub(crate) pool: &'a dyn Pool,
    pub(crate) pool_id: pagefold_pool::PoolId,
}

impl Source<'_> {
    fn with<R>(
        &self,
        at: Short,
        wait: Wait,
        f: impl FnOnce(Slices<'_>) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        let handle = self.pool_id.handle(at.0);
        let mut outcome = Err(ReadError::Stale);
        let mut f = Some(f);
        let mut once = |slices: Slices<'_>| {
            if let Some(f) = f.take() {
                outcome = f(slices);
            }
        };
        let read = match wait {
            Wait::Allowed => self.pool.read(handle, &mut once).map_err(TryReadError::Handle),
            Wait::Never => self.pool.try_read(handle, &mut once),
        };
        match read {
            Ok(()) => outcome,
            Err(TryReadError::Handle(HandleError::Stale | HandleError::Foreign)) => {
                Err(ReadError::Stale)
            }
            Err(TryReadError::WouldBlock) => Err(ReadError::WouldBlock),
        }
    }
}
