//! The charts, and the rows each shows.
//!
//! A label stands above its bar, because a name may be long and a phone is narrow.

mod lifecycle;
mod sizes;

pub(super) use self::{
    lifecycle::{compacted, lifecycle},
    sizes::sizes,
};

use crate::{
    bytes,
    estimate::{
        report::{
            html::{
                figure::{Figure, KeyEntry, Table},
                markup::Markup,
                plot::{Anchor, Mark, Plot, Scale},
            },
            table::show_time,
            verdict,
        },
        result::{
            percentiles::Percentiles,
            report::EstimateReport,
            row::{Phase, Row},
        },
    },
};

/// From one row to the next.
const PITCH: f64 = 44.0;
/// From a row's top to its label's base line.
const LABEL: f64 = 14.0;
/// From a row's top to its bar; the bar's thickness.
const BAR: (f64, f64) = (21.0, 14.0);
/// A line of text.
const LINE: f64 = 18.0;
/// The longest name that has room beside two times at 360 pixels.
const NAME_CHARS: usize = 20;
/// The axis and its labels.
const AXIS: f64 = 26.0;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few rows of a few pixels"
)]
fn height_of(rows: usize, pitch: f64) -> u32 {
    (rows as f64 * pitch + AXIS) as u32
}

/// Codec and allocator, with a remark if the row does not stand for the whole input.
fn name(row: &Row) -> String {
    let remark = if !row.verified && !row.interrupted {
        " (not verified)"
    } else if row.interrupted {
        " (interrupted)"
    } else if row.limit_reached {
        " (limit reached)"
    } else {
        ""
    };
    format!("{} · {}{remark}", row.codec, row.allocator)
}

/// `text`, if a run took all pages as idle.
fn remark(report: &EstimateReport, text: &'static str) -> &'static str {
    if report.rows.iter().any(|row| row.clusters.is_some()) { text } else { "" }
}

fn fills(report: &EstimateReport) -> Vec<&Row> {
    report.rows.iter().filter(|row| row.phase == Phase::Fill).collect()
}

/// The input beside its smallest result. The sentence above has the same figures, so there is no table.
pub(super) fn answer(report: &EstimateReport) -> Option<Markup> {
    let densest = verdict::densest(report)?;
    let (original, taken) = (densest.original_bytes, densest.taken_bytes());
    let scale = Scale::between(0.0, original.max(taken) as f64);
    let mut plot = Plot::new(2 * 40 + 4);
    for (row, (label, size, class)) in [
        ("As it is".to_owned(), original, "neutral"),
        (format!("Compressed: {}", name(densest)), taken, "packed"),
    ]
    .into_iter()
    .enumerate()
    {
        let top = row as f64 * 42.0;
        plot.text(0.0, top + 13.0, Anchor::Start, "label", &label);
        plot.text(100.0, top + 13.0, Anchor::End, "value", &bytes::show(size));
        plot.bar((0.0, scale.at(size as f64)), (top + 20.0, top + 36.0), class, "");
    }
    let description = format!(
        "{} take {} of memory with {}.",
        bytes::show(original),
        bytes::show(taken),
        name(densest)
    );
    Some(plot.finish("answer", "The input, and what it would take", &description))
}

pub(super) fn ratio(report: &EstimateReport) -> Figure {
    let rows = fills(report);
    let best = verdict::densest(report);
    let top = rows.iter().map(|row| row.best_ratio()).fold(1.0, f64::max);
    let scale = Scale::up_to(top);
    let mut plot = Plot::new(height_of(rows.len(), PITCH));
    let bottom = rows.len() as f64 * PITCH;
    plot.axis(&scale, 4.0, bottom, |tick| format!("{}×", trim(tick)));
    // Below the labels, which the line would cross at large ratios.
    plot.line((scale.at(1.0), scale.at(1.0)), (4.0, bottom), "threshold");
    let mut table =
        Table::new(1, &["codec · allocator", "effective ratio", "pages' bytes", "memory"]);
    for (index, row) in rows.iter().enumerate() {
        let y = index as f64 * PITCH;
        let is_best = best.is_some_and(|best| std::ptr::eq(best, *row));
        let (figure, class) =
            (show_ratio(row.best_ratio()), if is_best { "packed" } else { "packed other" });
        plot.text(scale.at(0.0), y + LABEL, Anchor::Start, "label halo", &name(row));
        plot.text(scale.at(f64::MAX), y + LABEL, Anchor::End, "value halo", &figure);
        let (original, taken) = (bytes::show(row.original_bytes), bytes::show(row.taken_bytes()));
        let tip = format!("{}: {original} in {taken}, {figure}", name(row));
        let ends = (scale.at(0.0), scale.at(row.best_ratio()));
        plot.bar(ends, (y + BAR.0, y + BAR.0 + BAR.1), class, &tip);
        table.rows.push(vec![name(row), figure, original, taken]);
    }
    let best = best.map_or_else(String::new, |row| {
        format!(" The best is {} with {}.", name(row), show_ratio(row.best_ratio()))
    });
    let description =
        format!("Bars, one for each codec and allocator.{best} The table below has every figure.");
    Figure {
        id: "ratio",
        title: "Effective ratio",
        about: format!(
            "Bytes of the pages, same-filled ones included, over all the memory that the pool takes for them: frames and metadata. At 1× (dashed) nothing is saved.{}",
            remark(
                report,
                " A bar of +idle shows what a store would take if every page were idle: four neighbours in a cluster where that is shorter."
            )
        ),
        charts: plot.finish("ratio-chart", "Effective ratio by codec and allocator", &description),
        key: Vec::new(),
        table,
    }
}

pub(super) fn latency(report: &EstimateReport) -> Figure {
    let rows = fills(report);
    let times = |row: &Row| [row.store_us, row.load_us];
    let all = || {
        rows.iter()
            .flat_map(|row| times(row))
            .flat_map(|times| [times.p50, times.p99, times.mean])
            .flatten()
    };
    let scale =
        Scale::log(all().fold(f64::INFINITY, f64::min).min(1e6), all().fold(1e-3, f64::max));
    let mut charts = Markup::new();
    charts.within("div", &[("class", "pair")], |pair| {
        for (id, title, which) in [("store", "Store a page", 0), ("load", "Load a page", 1)] {
            pair.within("div", &[], |half| {
                half.element("h3", &[], title);
                let rows = rows.iter().map(|row| (name(row), times(row)[which]));
                half.append(&times_chart(id, title, &scale, &rows.collect::<Vec<_>>()));
            });
        }
    });
    let headings = [
        "codec · allocator",
        "store p50",
        "store p99",
        "store mean",
        "load p50",
        "load p99",
        "load mean",
    ];
    let mut table = Table::new(1, &headings);
    for row in &rows {
        let figures = times(row).into_iter().flat_map(|times| [times.p50, times.p99, times.mean]);
        table.rows.push(std::iter::once(name(row)).chain(figures.map(show_micros)).collect());
    }
    Figure {
        id: "latency",
        title: "Time to store and to load a page",
        about: format!(
            "In microseconds of wall-clock time, from the fill: compression and the pool's store; the pool's read, in random order, and decompression. The axis is logarithmic.{}",
            remark(
                report,
                " With +idle, a store is that of the page alone and a quarter of its cluster's; a load decompresses a cluster up to the page."
            )
        ),
        charts,
        key: vec![
            KeyEntry {
                path: Some(Mark::Dot.path()),
                class: "packed",
                meaning: "p50: half of the pages are faster",
            },
            KeyEntry { path: Some(Mark::Diamond.path()), class: "mean", meaning: "mean" },
            KeyEntry {
                path: Some(Mark::Tick.path()),
                class: "raw",
                meaning: "p99: one page in a hundred is slower",
            },
        ],
        table,
    }
}

/// How far a value stands below its label: a line, if a name is too long for both on a phone.
fn value_below<'a>(mut names: impl Iterator<Item = &'a str>) -> f64 {
    if names.any(|name| name.chars().count() > NAME_CHARS) { LINE } else { 0.0 }
}

fn times_chart(id: &str, title: &str, scale: &Scale, rows: &[(String, Percentiles)]) -> Markup {
    let below = value_below(rows.iter().map(|(name, _)| name.as_str()));
    let pitch = PITCH + below;
    let mut plot = Plot::new(height_of(rows.len(), pitch));
    plot.axis(scale, 4.0, rows.len() as f64 * pitch, |tick| format!("{} µs", trim(tick)));
    for (index, (name, times)) in rows.iter().enumerate() {
        let label = index as f64 * pitch;
        let y = label + below;
        let middle = y + BAR.0 + BAR.1 / 2.0;
        plot.text(scale.at(0.0), label + LABEL, Anchor::Start, "label halo", name);
        let (Some(p50), Some(p99), Some(mean)) = (times.p50, times.p99, times.mean) else {
            plot.text(scale.at(f64::MAX), y + LABEL, Anchor::End, "value", "not measured");
            continue;
        };
        let figure = show_pair(p50, p99);
        plot.text(scale.at(f64::MAX), y + LABEL, Anchor::End, "value halo", &figure);
        plot.line((scale.at(p50), scale.at(p99)), (middle, middle), "range");
        plot.mark(
            scale.at(p99),
            middle,
            Mark::Tick,
            "raw",
            &format!("{name}: p99 {} µs", show_time(p99)),
        );
        plot.mark(
            scale.at(p50),
            middle,
            Mark::Dot,
            "packed",
            &format!("{name}: p50 {} µs", show_time(p50)),
        );
        plot.mark(
            scale.at(mean),
            middle,
            Mark::Diamond,
            "mean",
            &format!("{name}: mean {} µs", show_time(mean)),
        );
    }
    let description = "For each codec and allocator a line from the median (p50, circle) to the 99th percentile (p99, tick), and the mean (diamond). The table below has every figure.";
    plot.finish(&format!("latency-{id}"), &format!("{title}: microseconds"), description)
}

fn show_micros(micros: Option<f64>) -> String {
    micros.map_or_else(|| "–".to_owned(), |micros| format!("{} µs", show_time(micros)))
}

/// Both times in the unit of the longer one. Three digits, or two in a wider unit, fit a phone.
fn show_pair(p50: f64, p99: f64) -> String {
    let (unit, divisor, two_decimals, one_decimal) = match p50.max(p99) {
        longest if longest < 999.5 => ("µs", 1.0, 9.995, 99.95),
        longest if longest < 999.5e3 => ("ms", 1e3, 0.095, 9.95),
        _ => ("s", 1e6, 0.095, 9.95),
    };
    let digits = |micros: f64| match micros / divisor {
        number if number < two_decimals => format!("{number:.2}"),
        number if number < one_decimal => format!("{number:.1}"),
        number => format!("{number:.0}"),
    };
    format!("p50 {} · p99 {} {unit}", digits(p50), digits(p99))
}

fn show_ratio(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.2}×") } else { format!("{ratio:.0}×") }
}

fn trim(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_below_a_long_name() {
        assert_eq!(value_below(["balanced+idle · nbud", "lz4 · zsmalloc"].into_iter()), 0.0);
        assert_eq!(value_below(["lz4 · nbud", "zstd:1+idle · zsmalloc"].into_iter()), LINE);
    }

    #[test]
    fn times_leave_room_for_the_label_beside_them_whatever_they_are() {
        let cases = [
            ((8.891, 65.04), "p50 8.89 · p99 65.0 µs"),
            ((9.996, 999.4), "p50 10.0 · p99 999 µs"),
            ((91.2, 999.7), "p50 0.09 · p99 1.0 ms"),
            ((148.0, 12_345.0), "p50 0.1 · p99 12 ms"),
            ((2012.0, 1_500_000.0), "p50 0.00 · p99 1.5 s"),
        ];
        for ((p50, p99), expected) in cases {
            assert_eq!(show_pair(p50, p99), expected);
            assert!(expected.chars().count() <= 22, "what 360 pixels have room for: {expected}");
        }
    }
}
