//! The tables of a process's mappings: totals by kind, and the largest mappings.

use crate::{
    bytes,
    columns::lay_out,
    estimate::{
        report::parts::{self, NONE, ratio_of},
        result::{
            mapping_kind::MappingKind,
            process::{MappingSummary, PartResult, ProcessSummary},
        },
    },
    numbers::{count, percent},
    printable::printable,
};

/// JSON lists all.
const MAPPINGS_SHOWN: usize = 12;

/// With four codecs.
const NAME_WIDTH: usize = 25;

pub(super) const HEADINGS: [&str; 4] = ["mapping", "private", "same", "raw"];
const KIND_HEADINGS: [&str; 5] = ["kind", "mappings", "private", "same", "raw"];

/// The kinds, if a kind has several mappings, and the largest mappings.
pub(super) fn tables(process: &ProcessSummary) -> String {
    let title = printable(&process.title());
    let kinds = by_kind(process);
    let largest = largest(process);
    if kinds.len() == process.mappings.len() {
        return format!("Mappings of {title}:\n{largest}");
    }
    let mut header = KIND_HEADINGS.map(str::to_owned).to_vec();
    header.extend(parts::headings(&process.shares));
    let codecs = header.len() - KIND_HEADINGS.len();
    let lines = kinds.into_iter().map(|(kind, mappings)| {
        let mut line = vec![kind.label().to_owned(), count(mappings.len() as u64)];
        line.extend(figures(&mappings, codecs));
        line
    });
    let kinds = lay_out(1, header, lines);
    format!("Mappings of {title} by kind:\n{kinds}\n\nThe largest of them:\n{largest}")
}

/// The kind with the most private memory first.
pub(super) fn by_kind(process: &ProcessSummary) -> Vec<(MappingKind, Vec<&MappingSummary>)> {
    let mut kinds: Vec<(MappingKind, Vec<&MappingSummary>)> = Vec::new();
    for mapping in &process.mappings {
        match kinds.iter_mut().find(|(kind, _)| *kind == mapping.kind) {
            Some((_, mappings)) => mappings.push(mapping),
            None => kinds.push((mapping.kind, vec![mapping])),
        }
    }
    kinds.sort_by_key(|(_, mappings)| std::cmp::Reverse(private_bytes(mappings)));
    kinds
}

fn private_bytes(mappings: &[&MappingSummary]) -> u64 {
    mappings.iter().map(|mapping| mapping.bytes).sum()
}

/// Private bytes, shares of same-filled and raw pages, a ratio for each codec.
pub(super) fn figures(mappings: &[&MappingSummary], codecs: usize) -> Vec<String> {
    let shares =
        |codec| mappings.iter().filter_map(move |mapping| parts::of_codec(&mapping.shares, codec));
    let pages: u64 = shares(0).map(|share| share.tally.pages()).sum();
    let part = |number: fn(&PartResult) -> u64| match pages {
        // The sample contains none of them.
        0 => NONE.to_owned(),
        pages => percent(shares(0).map(number).sum(), pages),
    };
    let mut line = vec![bytes::show(private_bytes(mappings))];
    line.push(part(|share| share.tally.sums.same_filled));
    line.push(part(|share| share.tally.sums.raw));
    line.extend((0..codecs).map(|codec| ratio_of(shares(codec))));
    line
}

fn largest(process: &ProcessSummary) -> String {
    let mut all: Vec<_> = process.mappings.iter().collect();
    all.sort_by_key(|mapping| std::cmp::Reverse(mapping.bytes));
    let mut header = HEADINGS.map(str::to_owned).to_vec();
    header.extend(parts::headings(&process.shares));
    let codecs = header.len() - HEADINGS.len();
    let width = parts::name_width(NAME_WIDTH, codecs.saturating_sub(4));
    let line = |name: String, mappings: &[&MappingSummary]| {
        let mut line = vec![parts::shorten(&name, width)];
        line.extend(figures(mappings, codecs));
        line
    };
    let shown = &all[..all.len().min(MAPPINGS_SHOWN)];
    let mut lines: Vec<_> = shown.iter().map(|mapping| line(label(mapping), &[mapping])).collect();
    if let rest @ [_, ..] = &all[shown.len()..] {
        lines.push(line(format!("{} others", count(rest.len() as u64)), rest));
    }
    lay_out(1, header, lines.into_iter())
}

/// The mapping's name, with its address if only that is unique.
fn label(mapping: &MappingSummary) -> String {
    let kind = mapping.kind.label();
    match &mapping.name {
        Some(path) if path.starts_with('/') => {
            path.rsplit('/').next().unwrap_or(path.as_str()).to_owned()
        }
        Some(name) => format!("{kind} {name}"),
        None if matches!(mapping.kind, MappingKind::Heap | MappingKind::Stack) => kind.to_owned(),
        None => format!("{kind} {:x}", mapping.start),
    }
}
