//! From an object to the page or value that was put.

use pagefold_codec::{Codec, CodecError, TryCodecError, fill};
use pagefold_pool::{HandleError, Pool, PoolId, Slices, TryReadError};
use pagefold_spill::Label;

use super::{Encoder, PREFIX};
use crate::{
    page::PAGE_BYTES,
    word::{CodecId, Entry, Part, Short},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Allowed,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    Stale,
    Length(usize),
    Corrupt,
    /// Only with [`Wait::Never`].
    WouldBlock,
    /// It lies in the backing; see `state::spill`.
    Spilled,
    /// Its base page is not at hand; see `space::on_base`.
    Base,
}

/// What a spilled object is, as its label says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpilledForm {
    Raw,
    Page(CodecId),
    /// By which codec of clusters.
    Cluster(CodecId),
    /// Uncompressed.
    RawValue,
    /// By the base codec, from so many bytes.
    Value(usize),
    /// Against the base page of its key.
    Delta,
}

const DELTA_LABEL: u8 = 1;
/// In the two upper bits of a label; the four below have the codec.
const PAGE_LABEL: u8 = 1 << 4;
const CLUSTER_LABEL: u8 = 2 << 4;
/// Without a codec it is uncompressed; otherwise the note has the length, less 1.
const VALUE_LABEL: u8 = 3 << 4;

impl SpilledForm {
    pub(crate) fn label(self) -> Label {
        Label::new(match self {
            Self::Raw => 0,
            Self::Delta => DELTA_LABEL,
            Self::Page(CodecId(id)) => PAGE_LABEL | id & 15,
            Self::Cluster(CodecId(id)) => CLUSTER_LABEL | id & 15,
            Self::RawValue => VALUE_LABEL,
            Self::Value(_) => VALUE_LABEL | CodecId::FIRST.0,
        })
        .with_note(match self {
            Self::Value(len) => u16::try_from(len.saturating_sub(1)).unwrap_or(u16::MAX),
            _ => 0,
        })
    }

    pub(crate) fn of(label: Label) -> Self {
        let id = CodecId(label.get() & 15);
        match label.get() & !15 {
            PAGE_LABEL => Self::Page(id),
            CLUSTER_LABEL => Self::Cluster(id),
            VALUE_LABEL if id.0 == 0 => Self::RawValue,
            VALUE_LABEL => Self::Value(usize::from(label.note()) + 1),
            _ if id.0 == DELTA_LABEL => Self::Delta,
            _ => Self::Raw,
        }
    }

    /// The bytes that a get copies, from an object of `len`.
    pub(crate) fn original(self, len: usize) -> usize {
        match self {
            Self::Raw | Self::Page(_) | Self::Cluster(_) | Self::Delta => PAGE_BYTES,
            Self::RawValue => len,
            Self::Value(original) => original,
        }
    }
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
    /// `into` must have the entry's length.
    pub(crate) fn read(
        &self,
        objects: &Objects<'_>,
        entry: Entry,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        let given = into.len();
        match entry {
            Entry::Empty => Err(ReadError::Stale),
            Entry::Nil if given == 0 => Ok(()),
            Entry::Nil => Err(ReadError::Length(0)),
            Entry::Same(_)
            | Entry::Pattern(_)
            | Entry::Page { .. }
            | Entry::Raw(_)
            | Entry::Fresh(_)
            | Entry::Member { .. }
            | Entry::Equal
            | Entry::Delta { .. }
            | Entry::Spilled { part: Part::Page | Part::Member(_) | Part::Delta, .. }
                if given != PAGE_BYTES =>
            {
                Err(ReadError::Length(PAGE_BYTES))
            }
            Entry::Same(pattern) => {
                fill(pattern, into);
                Ok(())
            }
            Entry::Pattern(at) => objects.with(at, wait, |slices| {
                let mut pattern = [0; 8];
                (slices.copy_to(&mut pattern) == Some(8))
                    .then_some(())
                    .ok_or(ReadError::Corrupt)?;
                fill(u64::from_ne_bytes(pattern), into);
                Ok(())
            }),
            Entry::Page { at, codec, .. } => objects.with(at, wait, |slices| {
                let decoded =
                    self.with_codec(codec, wait, |codec| match slices.contiguous() {
                        Some(bytes) => decompress(codec, bytes, into, wait),
                        None => self
                            .gathered(slices, wait, |bytes| decompress(codec, bytes, into, wait)),
                    })??;
                if decoded == given { Ok(()) } else { Err(ReadError::Corrupt) }
            }),
            Entry::Raw(at) | Entry::Fresh(at) => objects.with(at, wait, |slices| {
                let whole = slices.len() == given && slices.copy_to(into).is_some();
                whole.then_some(()).ok_or(ReadError::Corrupt)
            }),
            Entry::Member { at, slot, .. } => objects.with(at, wait, |slices| {
                let clusters = self.clusters.as_ref().ok_or(ReadError::Corrupt)?;
                clusters.read(slices, slot, into, wait)
            }),
            Entry::Spilled { .. } => Err(ReadError::Spilled),
            Entry::Equal | Entry::Delta { .. } => Err(ReadError::Base),
            Entry::Value { at, codec: None, .. } => objects.with(at, wait, |slices| {
                let whole = slices.len() == given && slices.copy_to(into).is_some();
                whole.then_some(()).ok_or(ReadError::Length(slices.len()))
            }),
            Entry::Value { at, codec: Some(_), .. } => objects.with(at, wait, |slices| {
                let len = prefixed_len(slices)?;
                if len != given {
                    return Err(ReadError::Length(len));
                }
                let decoded = match slices.contiguous() {
                    Some(bytes) => decompress(&*self.codec, &bytes[PREFIX..], into, wait)?,
                    None if slices.len() <= PAGE_BYTES => self.gathered(slices, wait, |bytes| {
                        decompress(&*self.codec, &bytes[PREFIX..], into, wait)
                    })?,
                    // Gathering would allocate; see `Space::try_get_bytes`.
                    None if wait == Wait::Never => return Err(ReadError::WouldBlock),
                    None => {
                        let mut bytes = vec![0; slices.len()];
                        slices.copy_to(&mut bytes);
                        decompress(&*self.codec, &bytes[PREFIX..], into, wait)?
                    }
                };
                if decoded == given { Ok(()) } else { Err(ReadError::Corrupt) }
            }),
        }
    }

    /// From a spilled object.
    pub(crate) fn read_spilled(
        &self,
        object: &[u8],
        form: SpilledForm,
        part: Part,
        into: &mut [u8],
    ) -> Result<(), ReadError> {
        let (given, len) = (into.len(), form.original(object.len()));
        if given != len {
            return Err(ReadError::Length(len));
        }
        match (form, part) {
            (SpilledForm::Page(id), Part::Page) => {
                let decode = |codec: &dyn Codec| decompress(codec, object, into, Wait::Allowed);
                let decoded = self.with_codec(id, Wait::Allowed, decode)??;
                if decoded == PAGE_BYTES { Ok(()) } else { Err(ReadError::Corrupt) }
            }
            (SpilledForm::Raw, Part::Page) | (SpilledForm::RawValue, Part::Value)
                if object.len() == given =>
            {
                into.copy_from_slice(object);
                Ok(())
            }
            (SpilledForm::Value(_), Part::Value) => {
                let bytes = object.get(PREFIX..).ok_or(ReadError::Corrupt)?;
                let decoded = decompress(&*self.codec, bytes, into, Wait::Allowed)?;
                if decoded == given { Ok(()) } else { Err(ReadError::Corrupt) }
            }
            (SpilledForm::Cluster(_), Part::Member(slot)) => {
                let clusters = self.clusters.as_ref().ok_or(ReadError::Corrupt)?;
                clusters.read(Slices::new(&[object]), slot, into, Wait::Allowed)
            }
            _ => Err(ReadError::Corrupt),
        }
    }

    pub(crate) fn len(
        &self,
        objects: &Objects<'_>,
        entry: Entry,
        wait: Wait,
    ) -> Result<usize, ReadError> {
        match entry {
            Entry::Empty => Err(ReadError::Stale),
            Entry::Nil => Ok(0),
            Entry::Same(_)
            | Entry::Pattern(_)
            | Entry::Page { .. }
            | Entry::Raw(_)
            | Entry::Fresh(_)
            | Entry::Member { .. }
            | Entry::Equal
            | Entry::Delta { .. }
            | Entry::Spilled { part: Part::Page | Part::Member(_) | Part::Delta, .. } => {
                Ok(PAGE_BYTES)
            }
            Entry::Spilled { part: Part::Value, .. } => Err(ReadError::Spilled),
            Entry::Value { at, codec: None, .. } => {
                objects.with(at, wait, |slices| Ok(slices.len()))
            }
            Entry::Value { at, codec: Some(_), .. } => objects.with(at, wait, prefixed_len),
        }
    }

    /// Calls `f` with the codec of an id, which must be that of a word, or the current one (I-CODEC).
    #[inline]
    pub(super) fn with_codec<R>(
        &self,
        id: CodecId,
        wait: Wait,
        f: impl FnOnce(&dyn Codec) -> R,
    ) -> Result<R, ReadError> {
        self.trained.with_codec(&*self.codec, id, wait, f)
    }

    pub(super) fn gathered(
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

fn decompress(
    codec: &dyn Codec,
    bytes: &[u8],
    into: &mut [u8],
    wait: Wait,
) -> Result<usize, ReadError> {
    match wait {
        Wait::Allowed => Ok(codec.decompress(bytes, into)?),
        Wait::Never => Ok(codec.try_decompress(bytes, into)?),
    }
}

/// What a value was before its codec.
pub(crate) fn prefixed_len(slices: Slices<'_>) -> Result<usize, ReadError> {
    let mut bytes = slices.parts().iter().flat_map(|part| part.iter().copied());
    match (bytes.next(), bytes.next()) {
        (Some(low), Some(high)) => Ok(usize::from(u16::from_le_bytes([low, high])) + 1),
        _ => Err(ReadError::Corrupt),
    }
}

pub(crate) struct Objects<'a> {
    pub(crate) pool: &'a dyn Pool,
    pub(crate) pool_id: PoolId,
}

impl Objects<'_> {
    pub(super) fn with<R>(
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
