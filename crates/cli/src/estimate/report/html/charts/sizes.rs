//! The shares of same-filled and raw pages under each codec, and the compressed lengths.

use crate::{
    estimate::{
        config::PAGE,
        report::html::{
            charts::{fills, remark},
            figure::{Figure, KeyEntry, Table},
            markup::Markup,
            plot::{Anchor, Plot, Scale},
        },
        result::{
            report::EstimateReport,
            row::Row,
            sizes::{BUCKET_BYTES, Sizes},
        },
    },
    numbers::{count, percent},
};

/// Top and bottom of the strip of shares.
const STRIP: (f64, f64) = (0.0, 20.0);
/// The base line of its labels.
const SHARES: f64 = 37.0;
/// The bars: the highest top and the base line.
const BARS: (f64, f64) = (62.0, 186.0);
const HEIGHT: u32 = 210;

/// A histogram for each codec, with the other pages' shares above. The allocator does not change a length, so the first
/// row of each codec suffices.
pub(crate) fn sizes(report: &EstimateReport) -> Figure {
    let mut rows: Vec<(&Row, &Sizes)> = Vec::new();
    for row in fills(report) {
        if let Some(sizes) = &row.sizes
            && rows.iter().all(|(seen, _)| seen.codec != row.codec)
        {
            rows.push((row, sizes));
        }
    }
    // One scale, for comparison.
    let top = rows
        .iter()
        .flat_map(|(row, sizes)| sizes.counts().iter().map(|&count| share(count, row.pages)))
        .fold(0.01, f64::max);
    let mut charts = Markup::new();
    charts.within("div", &[("class", "grid")], |grid| {
        for (index, (row, sizes)) in rows.iter().enumerate() {
            grid.within("div", &[], |cell| {
                cell.element("h3", &[], &row.codec);
                cell.append(&histogram(index, row, sizes, top));
            });
        }
    });
    Figure {
        id: "sizes",
        title: "How far the pages shrink",
        about: format!(
            "The strip shows what became of all pages. The bars below show the pages that were compressed, by their new size: each bar is {BUCKET_BYTES} bytes wide, its height the share of all pages.{}",
            remark(report, " A page of a cluster counts with a quarter of it.")
        ),
        charts,
        key: vec![
            KeyEntry {
                path: None,
                class: "same",
                meaning: "same-filled: one repeated word, no memory",
            },
            KeyEntry { path: None, class: "packed", meaning: "compressed" },
            KeyEntry { path: None, class: "raw", meaning: "incompressible, kept as they are" },
        ],
        table: table(&rows),
    }
}

fn histogram(index: usize, row: &Row, sizes: &Sizes, top: f64) -> Markup {
    let mut plot = Plot::new(HEIGHT);
    strip(&mut plot, row);

    let (high, low) = BARS;
    let heights = Scale::up_to(top);
    let y = |share: f64| low - (low - high) * share / (top * 1.02);
    for tick in heights.ticks().into_iter().skip(1) {
        plot.line((0.0, 100.0), (y(tick), y(tick)), "grid");
    }
    let x = |bytes: usize| bytes as f64 / PAGE as f64 * 100.0;
    for (bucket, &pages) in sizes.counts().iter().enumerate() {
        if pages > 0 {
            let (from, to) = (bucket * BUCKET_BYTES, (bucket + 1) * BUCKET_BYTES);
            let tip = format!(
                "{} to {to} bytes: {} ({} pages)",
                from + 1,
                percent(pages, row.pages),
                count(pages)
            );
            // A gap between the bars; at least a line for a bucket that is not empty.
            let height = y(share(pages, row.pages)).min(low - 1.0);
            plot.bar((x(from) + 0.35, x(to) - 0.35), (height, low), "packed", &tip);
        }
    }
    plot.line((0.0, 100.0), (low, low), "base");
    // At the right end, where no bar is high: nearly full-size pages are stored raw.
    for tick in heights.ticks().into_iter().skip(1) {
        plot.text(
            100.0,
            y(tick) - 4.0,
            Anchor::End,
            "tick halo",
            &format!("{} %", super::trim(tick * 100.0)),
        );
    }
    for bytes in [0, 1024, 2048, 3072, 4096] {
        let label = if bytes == 0 { "0".into() } else { format!("{} KiB", bytes / 1024) };
        plot.text(x(bytes), low + 17.0, Anchor::inside(x(bytes)), "tick", &label);
    }
    let description = format!(
        "{} same-filled, {} compressed, {} incompressible; bars for the sizes of the compressed pages. The table below has every figure.",
        percent(row.same_filled, row.pages),
        percent(row.stored, row.pages),
        percent(row.raw, row.pages)
    );
    plot.finish(
        &format!("sizes-{index}"),
        &format!("Sizes of the pages with {}", row.codec),
        &description,
    )
}

/// The three shares side by side, labelled in the middle and below both ends.
fn strip(plot: &mut Plot, row: &Row) {
    let mut left = 0.0;
    for (pages, class, what) in [
        (row.same_filled, "same", "same-filled"),
        (row.stored, "packed", "compressed"),
        (row.raw, "raw", "incompressible"),
    ] {
        let width = share(pages, row.pages) * 100.0;
        if pages > 0 {
            let shown = percent(pages, row.pages);
            let tip = format!("{what}: {shown} ({} pages)", count(pages));
            plot.bar((left, left + (width - 0.4).max(0.3)), STRIP, class, &tip);
            if class == "packed" && width > 20.0 {
                plot.text(left + width / 2.0, STRIP.1 - 5.5, Anchor::Middle, "onbar", &shown);
            }
        }
        left += width;
    }
    let label = |pages, what| format!("{} {what}", percent(pages, row.pages));
    plot.text(0.0, SHARES, Anchor::Start, "tick", &label(row.same_filled, "same-filled"));
    plot.text(100.0, SHARES, Anchor::End, "tick", &label(row.raw, "incompressible"));
}

fn table(rows: &[(&Row, &Sizes)]) -> Table {
    let mut table = Table::new(1, &["size in bytes"]);
    table.headings.extend(rows.iter().map(|(row, _)| format!("{}, pages", row.codec)));
    let mut line = |name: String, pages: &dyn Fn(&Row, &Sizes) -> u64| {
        let cell = |(row, sizes): &(&Row, &Sizes)| {
            let pages = pages(row, sizes);
            format!("{} ({})", count(pages), percent(pages, row.pages))
        };
        table.rows.push(std::iter::once(name).chain(rows.iter().map(cell)).collect());
    };
    line("same-filled".into(), &|row, _| row.same_filled);
    let last = rows
        .iter()
        .filter_map(|(_, sizes)| sizes.counts().iter().rposition(|&count| count > 0))
        .max();
    for bucket in 0..last.map_or(0, |last| last + 1) {
        let name = format!("{} to {}", bucket * BUCKET_BYTES + 1, (bucket + 1) * BUCKET_BYTES);
        line(name, &|_, sizes| sizes.counts()[bucket]);
    }
    line("incompressible".into(), &|row, _| row.raw);
    table
}

fn share(pages: u64, of: u64) -> f64 {
    pages as f64 / of.max(1) as f64
}
