//! The pages of the sample against those of a base, as a store keeps them.
//!
//! A page of one repeated word needs no base. Otherwise it is equal to its base page, or a delta, or plain, by the rule of
//! [`Deltas::plain_max`]. Every delta is made a page again and compared. The plain codec is `balanced`, without a
//! dictionary of the store's own.

use std::time::Duration;

use pagefold_codec::{Codec, CodecSpec, Deltas, accept_len, checked_compress, same_filled};
use pagefold_sys::clock::thread_time;

use crate::estimate::{
    config::PAGE,
    error::EstimateError,
    read::{base::BasePages, spool::Spool},
    result::base::BaseSummary,
};

type Page = [u8; PAGE];

#[derive(Default)]
struct Times {
    delta_encode: Duration,
    delta_decode: Duration,
    plain_encode: Duration,
    plain_decode: Duration,
}

pub(crate) fn measure(base: &BasePages, spool: &Spool) -> Result<BaseSummary, EstimateError> {
    let (deltas, codec) = (Deltas::new()?, CodecSpec::Balanced.build()?);
    let mut summary =
        BaseSummary { name: base.name.clone(), codec: "balanced", ..BaseSummary::default() };
    let mut times = Times::default();
    for index in 0..spool.len() {
        let page = spool.page(index);
        summary.pages += 1;
        if same_filled(page).is_some() {
            summary.same_filled += 1;
            continue;
        }
        let of = base.page(spool.page_no(index));
        match (<&Page>::try_from(page), of) {
            (Ok(page), Some(of)) => {
                let described = || spool.describe(index);
                compare(page, of, (&deltas, &*codec), &mut summary, &mut times)
                    .map_err(|()| EstimateError::Mismatch { page: described() })?;
            }
            _ => {
                summary.not_in_base += 1;
                summary.plain += 1;
                summary.plain_bytes += plain_len(&*codec, page) as u64;
            }
        }
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / (summary.deltas as f64).max(1.0);
    summary.delta_encode_us = each(times.delta_encode);
    summary.delta_decode_us = each(times.delta_decode);
    summary.plain_encode_us = each(times.plain_encode);
    summary.plain_decode_us = each(times.plain_decode);
    Ok(summary)
}

/// As a store keeps it: raw where it does not shrink.
fn plain_len(codec: &dyn Codec, page: &[u8]) -> usize {
    let mut output = [0; accept_len(PAGE)];
    let room = accept_len(page.len());
    checked_compress(codec, page, &mut output[..room]).unwrap_or(page.len())
}

/// An error if a delta does not restore the page.
fn compare(
    page: &Page,
    of: &Page,
    (deltas, codec): (&Deltas, &dyn Codec),
    summary: &mut BaseSummary,
    times: &mut Times,
) -> Result<(), ()> {
    if page == of {
        summary.equal += 1;
        summary.equal_plain_bytes += plain_len(codec, page) as u64;
        return Ok(());
    }
    let (mut object, mut plain) = ([0; accept_len(PAGE)], [0; accept_len(PAGE)]);
    let began = thread_time();
    let delta = deltas.encode(of, page, &mut object);
    let encoded = thread_time();
    let plain_len = checked_compress(codec, page, &mut plain);
    let compressed = thread_time();
    let kept = match Deltas::plain_max(delta) {
        Some(most) if plain_len.unwrap_or(PAGE) <= most => None,
        _ => delta,
    };
    let Some(len) = kept else {
        summary.plain += 1;
        summary.plain_bytes += plain_len.unwrap_or(PAGE) as u64;
        return Ok(());
    };
    let mut back = *of;
    let begin = thread_time();
    let decoded = deltas.decode(&object[..len], &mut back);
    let end = thread_time();
    if decoded.is_err() || back != *page {
        return Err(());
    }
    if let Some(len) = plain_len {
        let begin = thread_time();
        let decoded = codec.decompress(&plain[..len], &mut back);
        times.plain_decode += thread_time().saturating_sub(begin);
        if decoded != Ok(PAGE) || back != *page {
            return Err(());
        }
    }
    times.delta_encode += encoded.saturating_sub(began);
    times.plain_encode += compressed.saturating_sub(encoded);
    times.delta_decode += end.saturating_sub(begin);
    summary.deltas += 1;
    summary.delta_bytes += len as u64;
    summary.delta_plain_bytes += plain_len.unwrap_or(PAGE) as u64;
    Ok(())
}
