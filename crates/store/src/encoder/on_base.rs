//! Pages on a base: what differs from their base pages, and back.

use pagefold_codec::{Codec, Deltas, checked_compress};
use pagefold_pool::Slices;

use super::{
    Encoder,
    decode::{Objects, ReadError, Wait},
    object::{Encoding, Object},
    output::with_output,
};
use crate::{
    page::{PAGE_BYTES, Page},
    word::{CodecId, Short},
};

/// What a page is against its base page.
pub(crate) enum OnBase<'b> {
    Equal,
    Object(Object<'b>),
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
            Some(bytes) => self.patch(bytes, into, wait),
            None => {
                let patch = |bytes: &[u8]| self.patch(bytes, into, wait).map(|()| 0);
                self.gathered(slices, wait, patch).map(drop)
            }
        })
    }

    /// Makes the page of a delta from the base page in `into`. Any bytes may be given.
    pub(crate) fn patch(
        &self,
        object: &[u8],
        into: &mut [u8],
        wait: Wait,
    ) -> Result<(), ReadError> {
        let into: &mut Page = into.try_into().map_err(|_| ReadError::Length(PAGE_BYTES))?;
        Ok(self.deltas.patch(object, into, wait == Wait::Allowed)?)
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
        let len = self.deltas.forms()?.encode_near(base, page, room)?;
        Some(OnBase::Object(of_delta(&room[..len])))
    }

    /// As [`encode_page`](Self::encode_page), in the shortest form, which may be a delta.
    pub(crate) fn encode_page_on<'b>(&self, page: &'b mut Page, base: &Page) -> OnBase<'b> {
        if page == base {
            return OnBase::Equal;
        }
        let (len, encoding) = with_output(|output| {
            let forms = self.deltas.forms();
            let delta = forms.and_then(|forms| forms.encode(base, page, output));
            if let Some(most) = Deltas::plain_max(delta)
                && let Some((len, id)) = self.encode_within(page, most)
            {
                return (len, Encoding::Compressed(id));
            }
            match delta {
                Some(len) => {
                    page[..len].copy_from_slice(&output[..len]);
                    (len, Encoding::Delta)
                }
                None => (PAGE_BYTES, Encoding::Raw),
            }
        });
        OnBase::Object(Object { bytes: &page[..len], encoding, original: PAGE_BYTES })
    }

    /// In place, with the current codec, to at most so many bytes.
    fn encode_within(&self, page: &mut Page, most: usize) -> Option<(usize, CodecId)> {
        let id = self.trained.current();
        with_output(|output| {
            let room = most.min(output.len());
            let output = &mut output[..room];
            let compress = |codec: &dyn Codec| checked_compress(codec, page, output);
            let len = self.with_codec(id, Wait::Allowed, compress).ok()??;
            page[..len].copy_from_slice(&output[..len]);
            Some((len, id))
        })
    }

    /// What the current codec would make of the page; a page's length if it does not shrink.
    pub(crate) fn plain_len(&self, page: &Page) -> usize {
        let mut copy = *page;
        self.encode_within(&mut copy, PAGE_BYTES).map_or(PAGE_BYTES, |(len, _)| len)
    }
}

fn of_delta(bytes: &[u8]) -> Object<'_> {
    Object { bytes, encoding: Encoding::Delta, original: PAGE_BYTES }
}
