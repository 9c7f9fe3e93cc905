//! The tables of memory and time, each within 80 columns. Several allocators with several phases get a pair each; the
//! table of memory after compaction compares them.

use crate::{
    bytes,
    columns::lay_out,
    estimate::result::{
        percentiles::Percentiles,
        row::{Phase, Row},
    },
    numbers::count,
};

const NONE: &str = "-";

pub(super) const LEGEND: &str = "\
same: same-filled, one repeated word; raw: incompressible, kept as it is
ratio: compression, same-filled pages left out; density: payload / frames
eff. ratio: original bytes / memory, which is frames + metadata + dictionary
us: microseconds a page, loads in random order; RssAnon: growth, by the kernel";

pub(super) const IDLE_LEGEND: &str = "\
+idle: if every page were idle, four neighbours in a cluster where that is
shorter; store: a page alone and a quarter of its cluster, load: up to the page";

pub(super) const SPACE: [&str; 7] =
    ["pages", "same", "raw", "ratio", "eff. ratio", "density", "memory"];
pub(super) const TIME: [&str; 7] =
    ["store us p50", "p99", "mean", "load us p50", "p99", "mean", "RssAnon"];
pub(super) const RESIDENT: [&str; 6] =
    ["payload", "frames", "idle", "metadata", "resident", "RssAnon"];

pub(super) const RESIDENT_LEGEND: &str = "\
resident: frames + idle + metadata, all that the pool may hold after compaction
here, RssAnon is that of the whole process, less what it was before the pool";

/// Rows that share a pair of tables, with titles if several.
pub(super) fn groups(rows: &[Row]) -> Vec<(Option<String>, Vec<Row>)> {
    let mut allocators: Vec<&str> = Vec::new();
    for row in rows {
        if !allocators.contains(&row.allocator.as_str()) {
            allocators.push(&row.allocator);
        }
    }
    let has_phases = rows.iter().any(|row| row.phase != Phase::Fill);
    let has_idle = rows.iter().any(|row| row.clusters.is_some());
    let several = allocators.len() > 1;
    if !has_phases && (!several || !has_idle) {
        return vec![(None, rows.to_vec())];
    }
    let mut groups = Vec::new();
    for allocator in if several { allocators } else { vec![""] } {
        let its = rows.iter().filter(|row| !several || row.allocator == allocator);
        // A phase and the name of an idle row do not fit beside each other.
        let (idle, others) = its.cloned().partition(|row| has_phases && row.clusters.is_some());
        let title = |idle: bool| match (several, idle) {
            (true, false) => Some(format!("Allocator {allocator}:")),
            (true, true) => Some(format!("Allocator {allocator}, if every page were idle:")),
            (false, false) => None,
            (false, true) => Some("If every page were idle:".to_owned()),
        };
        groups.extend([(title(false), others), (title(true), idle)]);
    }
    groups.retain(|(_, rows): &(_, Vec<Row>)| !rows.is_empty());
    groups
}

/// `None` if no run compacted.
pub(super) fn resident(rows: &[Row]) -> Option<String> {
    let rows: Vec<Row> = rows.iter().filter(|row| row.phase == Phase::Compacted).cloned().collect();
    let table = || {
        build(&rows, &RESIDENT, |row| {
            vec![
                bytes::show(row.payload_bytes),
                bytes::show(row.frame_bytes),
                bytes::show(row.idle_frame_bytes),
                bytes::show(row.metadata_bytes),
                bytes::show(row.resident_bytes),
                bytes::show_change(row.rss_delta_bytes),
            ]
        })
    };
    (!rows.is_empty()).then(|| format!("Resident after compaction:\n{}", table()))
}

/// Counts, ratios, bytes.
pub(super) fn space(rows: &[Row]) -> String {
    build(rows, &SPACE, |row| {
        vec![
            count(row.pages),
            count(row.same_filled),
            count(row.raw),
            row.compression_ratio.map_or_else(|| NONE.to_owned(), |ratio| format!("{ratio:.2}")),
            format!("{:.2}", row.best_ratio()),
            format!("{:.3}", row.density),
            bytes::show(row.taken_bytes()),
        ]
    })
}

/// Microseconds per page, and the process's RssAnon.
pub(super) fn time(rows: &[Row]) -> String {
    build(rows, &TIME, |row| {
        let mut cells = Vec::from(times(row.store_us));
        cells.extend(times(row.load_us));
        cells.push(bytes::show_change(row.rss_delta_bytes));
        cells
    })
}

fn times(percentiles: Percentiles) -> [String; 3] {
    [percentiles.p50, percentiles.p99, percentiles.mean]
        .map(|time| time.map_or_else(|| NONE.to_owned(), show_time))
}

pub(super) fn show_time(micros: f64) -> String {
    if micros < 100.0 { format!("{micros:.2}") } else { format!("{micros:.0}") }
}

/// A heading and its cell.
type Column = (&'static str, fn(&Row) -> String);

/// The columns that tell the rows apart, then `cells`.
fn build(rows: &[Row], headings: &[&str], cells: impl Fn(&Row) -> Vec<String>) -> String {
    let differs =
        |key: fn(&Row) -> String| rows.windows(2).any(|pair| key(&pair[0]) != key(&pair[1]));
    let mut keys: Vec<Column> = vec![("codec", |row| row.codec.clone())];
    if differs(|row| row.allocator.clone()) {
        keys.push(("allocator", |row| row.allocator.clone()));
    }
    if differs(|row| row.phase.name().to_owned()) {
        keys.push(("phase", |row| row.phase.name().to_owned()));
    }

    let names = keys.iter().map(|&(name, _)| name.to_owned());
    let header = names.chain(headings.iter().map(|&heading| heading.to_owned())).collect();
    let line = |row| keys.iter().map(|&(_, key)| key(row)).chain(cells(row)).collect();
    lay_out(keys.len(), header, rows.iter().map(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::result::{
        clusters::{Clusters, Groups},
        row::{Phase, test_row},
    };

    fn lifecycle() -> Vec<Row> {
        let mut rows = Vec::new();
        for codec in ["lz4", "zstd:-1"] {
            for phase in Phase::ALL {
                let mut row = test_row(codec, 260, 12.34);
                row.phase = phase;
                row.same_filled = 12_345;
                row.raw = 123_456;
                row.rss_delta_bytes = Some(-(900 << 20));
                rows.push(row);
            }
        }
        rows
    }

    #[test]
    fn a_gibibyte_with_a_lifecycle_fits_into_80_columns() {
        for text in [space(&lifecycle()), time(&lifecycle())] {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "\n{text}");
            assert_eq!(text.lines().count(), 9, "a heading and eight rows\n{text}");
        }
    }

    #[test]
    fn several_allocators_fit_into_80_columns_with_a_pair_of_tables_each() {
        let mut rows = lifecycle();
        rows.extend(lifecycle().into_iter().map(|mut row| {
            row.allocator = "xcfmalloc".to_owned();
            row
        }));
        let groups = groups(&rows);
        let titles: Vec<_> = groups.iter().filter_map(|(title, _)| title.as_deref()).collect();
        assert_eq!(titles, ["Allocator nbud:", "Allocator xcfmalloc:"]);
        let tables = groups.iter().flat_map(|(_, rows)| [space(rows), time(rows)]);
        for text in tables.chain(resident(&rows)) {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "\n{text}");
        }
        let text = resident(&rows).expect("both were compacted");
        assert_eq!(text.lines().count(), 2 + 4, "two codecs by two allocators\n{text}");
    }

    fn idle(allocator: &str) -> Row {
        let mut idle = test_row("balanced+idle", 260, 12.34);
        (idle.same_filled, idle.raw) = (12_345, 123_456);
        idle.rss_delta_bytes = Some(-(900 << 20));
        idle.allocator = allocator.to_owned();
        idle.clusters = Some(Clusters::new("dense", Groups::default(), 1 << 16));
        idle
    }

    #[test]
    fn idle_rows_stand_beside_the_others_where_they_fit() {
        let fills = [test_row("lz4", 260, 1.0), idle("nbud")];
        assert_eq!(groups(&fills).len(), 1, "one table");
        let titles = |rows: &[Row]| {
            let groups = groups(rows);
            for (_, rows) in &groups {
                for text in [space(rows), time(rows)] {
                    assert!(text.lines().all(|line| line.chars().count() <= 80), "\n{text}");
                }
            }
            let titles = groups.into_iter().map(|(title, _)| title.unwrap_or_default());
            titles.collect::<Vec<_>>()
        };
        let mut rows = lifecycle();
        rows.push(idle("nbud"));
        assert_eq!(titles(&rows), ["", "If every page were idle:"]);
        rows.push(idle("xcfmalloc"));
        assert_eq!(
            titles(&rows),
            [
                "Allocator nbud:",
                "Allocator nbud, if every page were idle:",
                "Allocator xcfmalloc, if every page were idle:"
            ]
        );
        let rows = [test_row("lz4", 260, 1.0), idle("xcfmalloc")];
        assert_eq!(titles(&rows), ["Allocator nbud:", "Allocator xcfmalloc:"]);
    }

    #[test]
    fn without_a_lifecycle_nothing_is_resident_after_it() {
        let rows = [test_row("lz4", 260, 1.0)];
        assert_eq!((resident(&rows), groups(&rows).len()), (None, 1));
    }

    #[test]
    fn columns_that_tell_nothing_apart_are_left_out() {
        let rows = [test_row("lz4", 260, 1.0), test_row("zstd:1", 200, 2.0)];
        let text = space(&rows);
        assert!(
            text.starts_with("codec") && !text.contains("allocator") && !text.contains("phase"),
            "\n{text}"
        );
        assert!(space(&lifecycle()).contains("half_freed"));
    }

    #[test]
    fn a_figure_that_does_not_exist_is_a_dash() {
        let mut row = test_row("lz4", 0, 1.0);
        row.compression_ratio = None;
        row.store_us = Percentiles::default();
        assert!(space(&[row.clone()]).contains(" - "));
        assert!(time(&[row]).contains(" - "));
    }
}
