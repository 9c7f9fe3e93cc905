//! The report as JSON or a table.

use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::{
    allocators::trace::replay::{Account, ReplayFigures},
    bytes,
    console::{self, Output, OutputError},
    printable::printable,
};

pub(super) const VERSION: u32 = 1;

#[derive(Serialize)]
pub(super) struct Document {
    pub(super) version: u32,
    pub(super) trace: String,
    pub(super) steps: usize,
    pub(super) limit_bytes: usize,
    pub(super) runs: Vec<ReplayFigures>,
}

pub(super) fn print(document: &Document, output: Output) -> Result<(), OutputError> {
    let mut text = Vec::new();
    if output.json {
        json(document, &mut text)?;
    } else {
        table(document, &mut text)?;
    }
    console::print(&text)
}

fn json(document: &Document, out: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

fn table(document: &Document, out: &mut Vec<u8>) -> io::Result<()> {
    let Document { trace, steps, limit_bytes, runs, .. } = document;
    let (trace, limit) = (printable(trace), bytes::show(*limit_bytes as u64));
    writeln!(out, "{trace}: {steps} steps, limit {limit}\n")?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let figure = |figure: Option<f64>| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.0}"))
    };
    let mut row = |words: &str, cell: &dyn Fn(&ReplayFigures) -> String| {
        let cells = runs.iter().map(|run| right(cell(run)));
        table.add_row(std::iter::once(Cell::new(words)).chain(cells));
    };
    row("", &|run| run.allocator.clone());
    row("refused", &|run| run.refused.to_string());
    let per_object = |account: &Account| {
        account
            .metadata_bytes_per_object
            .map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.1}"))
    };
    for (when, account) in [
        ("at its fullest", (|run| &run.fullest) as fn(&ReplayFigures) -> &Account),
        ("at the end", |run| &run.end),
    ] {
        row(&format!("payload {when}"), &|run| bytes::show(account(run).payload_bytes));
        row(&format!("density {when}"), &|run| format!("{:.3}", account(run).density));
        row(&format!("metadata, B an object, {when}"), &|run| per_object(account(run)));
    }
    row("store, ns", &|run| figure(run.store_ns));
    row("write, ns", &|run| figure(run.write_ns));
    row("read, ns", &|run| figure(run.read_ns));
    row("free, ns", &|run| figure(run.free_ns));
    writeln!(out, "{table}")?;
    let left_out = runs.iter().map(|run| run.left_out).max().unwrap_or(0);
    writeln!(out, "\n{left_out} steps left out: of other kinds, or on objects that were refused")
}
