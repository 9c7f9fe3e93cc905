//! From a page or a value to an object, by way of the thread's output, in the put's buffer.
//!
//! The caller owns the buffer: a put that makes room calls listeners, which may put too, so it must hold nothing that
//! they wait for. Decision 0056.

use pagefold_codec::{Codec, accept_len, checked_compress};

use super::{
    Encoder, PREFIX,
    decode::Wait,
    object::{Encoding, Object},
    output::with_output,
};
use crate::{
    page::{PAGE_BYTES, Page},
    word::CodecId,
};

impl Encoder {
    /// With the current codec; inside an operation, which ends after the object was stored.
    pub(crate) fn encode_page<'b>(&self, page: &'b mut Page) -> Object<'b> {
        let id = self.trained.current();
        let compressed = with_output(|output| {
            let compress = |codec: &dyn Codec| checked_compress(codec, page, output);
            let len = self.with_codec(id, Wait::Allowed, compress).ok()??;
            page[..len].copy_from_slice(&output[..len]);
            Some(len)
        });
        let (bytes, encoding) = match compressed {
            Some(len) => (&page[..len], Encoding::Compressed(id)),
            None => (&page[..], Encoding::Raw),
        };
        Object { bytes, encoding, original: PAGE_BYTES }
    }

    /// In place, a value of 1 to 4095 bytes.
    pub(crate) fn encode_value<'b>(&self, buffer: &'b mut Page, len: usize) -> Object<'b> {
        let accepted = accept_len(len);
        let compressed = (accepted > PREFIX)
            .then(|| {
                with_output(|output| {
                    let output = &mut output[..accepted - PREFIX];
                    let compressed = checked_compress(&*self.codec, &buffer[..len], output)?;
                    buffer[PREFIX..PREFIX + compressed].copy_from_slice(&output[..compressed]);
                    Some(compressed)
                })
            })
            .flatten();
        match compressed {
            Some(compressed) => {
                buffer[..PREFIX].copy_from_slice(&prefix(len));
                compressed_value(&buffer[..PREFIX + compressed], len)
            }
            None => raw_value(&buffer[..len]),
        }
    }

    /// `scratch` is twice as long as the value.
    pub(crate) fn encode_long<'b>(&self, value: &[u8], scratch: &'b mut [u8]) -> Object<'b> {
        let len = value.len();
        let (input, output) = scratch.split_at_mut(len);
        input.copy_from_slice(value);
        match checked_compress(&*self.codec, input, &mut output[PREFIX..accept_len(len)]) {
            Some(compressed) => {
                output[..PREFIX].copy_from_slice(&prefix(len));
                compressed_value(&output[..PREFIX + compressed], len)
            }
            None => raw_value(input),
        }
    }
}

fn prefix(len: usize) -> [u8; PREFIX] {
    u16::try_from(len - 1).expect("at most 64 KiB").to_le_bytes()
}

fn compressed_value(bytes: &[u8], original: usize) -> Object<'_> {
    Object { bytes, encoding: Encoding::Value(Some(CodecId::FIRST)), original }
}

fn raw_value(bytes: &[u8]) -> Object<'_> {
    Object { bytes, encoding: Encoding::Value(None), original: bytes.len() }
}
