//! The conclusion from the figures, in sentences.

use crate::{
    bytes,
    estimate::{
        report::terminal::TIE,
        result::{
            dictionary_note::{Origin, Trial},
            input::InputSummary,
            report::EstimateReport,
            row::{Phase, Row},
        },
    },
    numbers::{count, percent, plural},
};

/// Below this ratio compression is not worthwhile.
const WORTHWHILE: f64 = 1.05;

/// A lower density comes from few objects in each kind of frame, not from the packing.
const HALF_FULL: f64 = 0.5;

pub(super) fn input(input: &InputSummary) -> String {
    let pages = plural(input.pages, "page");
    let same = percent(input.same_filled, input.pages);
    let (size, same_filled) = (bytes::show(input.bytes), count(input.same_filled));
    let sources = sources(input);
    format!("{size} in {pages} of {sources}; {same_filled} of them same-filled ({same}).")
}

/// `3 files`, `1 process`, `3 files and 1 core file`.
fn sources(input: &InputSummary) -> String {
    let cores = input.processes.iter().filter(|process| process.core.is_some()).count() as u64;
    let live = input.processes.iter().filter(|process| process.process_id.is_some());
    let live = live.filter(|process| process.core.is_none()).count() as u64;
    let processes = match live {
        1 => "1 process".to_owned(),
        processes => format!("{} processes", count(processes)),
    };
    let parts = [
        (input.files, plural(input.files, "file")),
        (cores, plural(cores, "core file")),
        (live, processes),
    ];
    let parts: Vec<_> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    parts.join(" and ")
}

pub(super) fn dictionaries(input: &InputSummary) -> impl Iterator<Item = String> {
    input.dictionaries.iter().map(|note| {
        let (codec, pages) = (&note.codec, plural(note.trained_pages, "page"));
        let len = bytes::show(note.bytes.unwrap_or(0));
        let why = note.why_none.as_deref().unwrap_or("there is none");
        let trial = note.trial.as_ref().map(trial).unwrap_or_default();
        match (note.dictionary, &note.trial) {
            (Some(Origin::Trained), Some(_)) => format!(
                "{codec}: the store's own dictionary, trained on {pages} ({trial}), counted with {len}; the first pages keep the built-in one."
            ),
            (Some(Origin::Trained), None) => format!(
                "{codec}: a dictionary of {len} from {pages}, held once and counted in the memory."
            ),
            (Some(Origin::BuiltIn), Some(_)) => format!(
                "{codec}: the built-in dictionary; one of the store's own, trained on {pages}, would not be adopted ({trial})."
            ),
            (Some(Origin::BuiltIn), None) => format!("{codec}: the built-in dictionary; {why}."),
            (None, _) => format!("{codec}: not measured, {why}."),
        }
    })
}

fn trial(trial: &Trial) -> String {
    let pages = plural(trial.pages, "other page");
    format!(
        "on {pages} {:.1} % of the length in {:.0} % of the time",
        trial.length * 100.0,
        trial.time * 100.0
    )
}

/// What became of the pages in each run as if all were idle.
pub(super) fn tiers(report: &EstimateReport) -> impl Iterator<Item = String> {
    report.rows.iter().filter_map(|row| {
        let clusters = row.clusters.as_ref()?;
        let (pages, all) = (count(clusters.pages), plural(row.pages, "page"));
        let (name, number) = (name(row), plural(clusters.clusters, "cluster"));
        let mut text = format!(
            "{name}: as if every page were idle. {pages} of {all} in {number} of four, with {}",
            clusters.codec
        );
        if clusters.not_shorter > 0 {
            let groups = plural(clusters.not_shorter, "group");
            text += &format!("; {groups} of four would save too little");
        }
        if clusters.too_long > 0 {
            let groups = plural(clusters.too_long, "group");
            let most = bytes::show(clusters.object_bytes_max);
            text += &format!(
                "; {groups} of four would be longer than {most}, the longest object of {}",
                row.allocator
            );
        }
        let alone = row.pages > clusters.pages + row.same_filled;
        Some(text + if alone { ". The others stay alone." } else { "." })
    })
}

/// The whole input's interval, for each complete fill.
pub(super) fn confidence(report: &EstimateReport) -> Option<String> {
    let several = fills(report).any(|row| row.allocator != report.rows[0].allocator);
    let intervals: Vec<_> = fills(report)
        .filter_map(|row| {
            let interval = row.effective_ratio_95?;
            let high = interval.high.map_or_else(|| "?".to_owned(), |high| format!("{high:.2}"));
            let codec = &row.codec;
            let who =
                if several { format!("{codec} with {}", row.allocator) } else { codec.clone() };
            // An interval broken over two lines is hard to find.
            Some(format!("{who} {:.2} to {high}", interval.low).replace(' ', &TIE.to_string()))
        })
        .collect();
    let list = intervals.join(", ");
    (!intervals.is_empty())
        .then(|| format!("Effective ratio of the whole, with 95 % confidence: {list}."))
}

/// The sampled share.
pub(super) fn sampling(input: &InputSummary) -> String {
    let (share, whole) = (percent(input.bytes, input.total_bytes), bytes::show(input.total_bytes));
    let why = if input.sample_asked {
        String::new()
    } else {
        let most = bytes::show(input.sample_max);
        let bound = input.sample_bound.as_ref();
        let bound = bound.map(|bound| format!(", for which {bound} leaves room"));
        format!(".\nWithout --sample, at most {most} is measured{}", bound.unwrap_or_default())
    };
    format!(
        "This is a sample: {share} of the input's {whole}, chosen with seed {}{why}.\nEffective ratios are those of a pool of the whole.",
        input.seed
    )
}

pub(super) fn stops(report: &EstimateReport) -> impl Iterator<Item = String> {
    report.rows.iter().filter_map(|row| {
        let who = format!("{} with {}, {}", row.codec, row.allocator, row.phase.name());
        let held = format!("{} ({})", plural(row.pages, "page"), bytes::show(row.original_bytes));
        if row.limit_reached {
            let (limit, of) = (bytes::show(row.limit_bytes), bytes::show(report.input.bytes));
            Some(format!("{who}: the limit of {limit} was reached; it holds {held} of {of}."))
        } else if row.interrupted {
            Some(format!("{who}: interrupted with {held} stored; not all of them were checked."))
        } else {
            None
        }
    })
}

/// The savings of the densest fill, the fill with the fastest loads, and what idle pages would take. A stopped or
/// unchecked run gives none.
pub(super) fn savings(report: &EstimateReport) -> Vec<String> {
    let densest = densest(report);
    let mut sentences: Vec<_> =
        densest.iter().map(|densest| saving(&report.input, densest)).collect();
    let load = |row: &&Row| row.load_us.mean.unwrap_or(f64::INFINITY);
    if let Some(fastest) = resident(report).min_by(|a, b| load(a).total_cmp(&load(b)))
        && densest.is_some_and(|densest| !std::ptr::eq(fastest, densest))
        && let Some(p50) = fastest.load_us.p50
    {
        let (name, size) = (name(fastest), bytes::show(fastest.taken_bytes()));
        sentences.push(format!("Fastest to load: {name}, {p50:.1} us a page (p50), in {size}."));
    }
    let idle = fills(report).filter(|row| row.clusters.is_some());
    sentences.extend(by_ratio(idle).map(|row| idle_saving(&report.input, row)));
    sentences
}

/// The fill with the least memory that stands for the whole input, whatever its pages are used for.
pub(super) fn densest(report: &EstimateReport) -> Option<&Row> {
    by_ratio(resident(report))
}

fn by_ratio<'a>(rows: impl Iterator<Item = &'a Row>) -> Option<&'a Row> {
    rows.max_by(|a, b| a.best_ratio().total_cmp(&b.best_ratio()))
}

/// The fills that do not take pages as idle.
fn resident(report: &EstimateReport) -> impl Iterator<Item = &Row> {
    fills(report).filter(|row| row.clusters.is_none())
}

fn fills(report: &EstimateReport) -> impl Iterator<Item = &Row> {
    report.rows.iter().filter(|row| row.phase == Phase::Fill && row.is_complete())
}

fn saving(input: &InputSummary, row: &Row) -> String {
    let (original, taken, name) =
        (bytes::show(row.original_bytes), bytes::show(row.taken_bytes()), name(row));
    let ratio = row.best_ratio();
    let mostly_fixed = row.metadata_bytes > row.frame_bytes || row.density < HALF_FULL;
    // A sample's ratio is the whole's, which counts the fixed parts once.
    if ratio < WORTHWHILE && mostly_fixed && !input.is_sampled() {
        return format!(
            "{original} would take {taken} ({name}), most of it the pool's tables and frames that are not full yet: too small an input to judge by."
        );
    }
    if ratio < WORTHWHILE {
        return format!(
            "{original} would take {taken} ({name}): compression would not save memory on this input."
        );
    }
    let less = show_ratio(ratio);
    if !input.is_sampled() {
        return format!("{original} would fit in {taken} ({name}): {less}x smaller.");
    }
    let projected = bytes::show(projected(input, ratio));
    let whole = bytes::show(input.total_bytes);
    format!(
        "The whole {whole} would fit in about {projected} ({name}): {less}x smaller.\nThe sample of {original} fits in {taken}."
    )
}

fn idle_saving(input: &InputSummary, row: &Row) -> String {
    let ratio = row.best_ratio();
    let (taken, about) = if input.is_sampled() {
        (projected(input, ratio), "about ")
    } else {
        (row.taken_bytes(), "")
    };
    let (taken, name) = (bytes::show(taken), name(row));
    let less = if ratio < WORTHWHILE {
        String::new()
    } else {
        format!(", {}x smaller", show_ratio(ratio))
    };
    format!("If every page were idle: {about}{taken} ({name}){less}.")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only shown")]
fn projected(input: &InputSummary, ratio: f64) -> u64 {
    (input.total_bytes as f64 / ratio) as u64
}

fn name(row: &Row) -> String {
    format!("{}, {}", row.codec, row.allocator)
}

fn show_ratio(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.1}") } else { format!("{ratio:.0}") }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
