//! What a base would save: a sentence, a table, times.

use crate::{
    bytes,
    columns::lay_out,
    estimate::{report::table::show_time, result::base::BaseSummary},
    numbers::{count, percent},
};

pub(super) const HEADINGS: [&str; 5] = ["on the base", "pages", "share", "objects", "without it"];

/// How many times smaller.
fn ratio(pages: u64, bytes: u64) -> String {
    format!("{:.1}x", (pages * 4096) as f64 / (bytes as f64).max(1.0))
}

pub(super) fn sentence(base: &BaseSummary) -> String {
    let (on_base, alone) = (base.bytes(), base.plain_bytes_of_all());
    format!(
        "On the base {}: {} smaller, as {} instead of {} ({} without it); {} of the pages are equal to their base pages.",
        base.name,
        ratio(base.pages - base.same_filled, on_base),
        bytes::show(on_base),
        bytes::show(alone),
        ratio(base.pages - base.same_filled, alone),
        percent(base.equal, base.pages),
    )
}

/// The cells of each row; the first is its name.
pub(super) fn rows(base: &BaseSummary) -> Vec<Vec<String>> {
    let row = |name: &str, pages: u64, objects: u64, alone: u64| {
        let share = percent(pages, base.pages);
        vec![name.to_owned(), count(pages), share, bytes::show(objects), bytes::show(alone)]
    };
    vec![
        row("equal", base.equal, 0, base.equal_plain_bytes),
        row("deltas", base.deltas, base.delta_bytes, base.delta_plain_bytes),
        row("plain", base.plain, base.plain_bytes, base.plain_bytes),
        row("same-filled", base.same_filled, 0, 0),
        row("all", base.pages, base.bytes(), base.plain_bytes_of_all()),
    ]
}

pub(super) fn table(base: &BaseSummary) -> String {
    lay_out(1, HEADINGS.map(str::to_owned).to_vec(), rows(base).into_iter())
}

pub(super) fn times(base: &BaseSummary) -> String {
    let mut text = String::new();
    if base.deltas > 0 {
        text += &format!(
            "a delta is {} smaller than its page; it takes {} us to make and {} to apply, {} {} and {}\n",
            ratio(base.deltas, base.delta_bytes),
            show_time(base.delta_encode_us),
            show_time(base.delta_decode_us),
            base.codec,
            show_time(base.plain_encode_us),
            show_time(base.plain_decode_us),
        );
    }
    text + &format!(
        "objects: bytes of compressed pages; without it: the same pages by {}; plain: shorter so, or not in the base ({})",
        base.codec,
        count(base.not_in_base),
    )
}
