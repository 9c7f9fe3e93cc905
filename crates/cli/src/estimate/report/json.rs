//! The JSON that `docs/ESTIMATE.md` documents. A version may gain keys; none is renamed or removed.

use std::io::{self, Write};

use serde::Serialize;

use crate::estimate::{
    like::Algorithms,
    report::parts_json::{CompressedSwap, Process, processes},
    result::{
        base::BaseSummary, dictionary_note::DictionaryNote, report::EstimateReport, row::Row,
        skipped::Skipped,
    },
};

const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    input: Input<'a>,
    runs: &'a [Row],
    base: Option<&'a BaseSummary>,
    interrupted: bool,
}

#[derive(Serialize)]
struct Input<'a> {
    bytes: u64,
    pages: u64,
    same_filled: u64,
    skipped: &'a [Skipped],
    files: u64,
    total_bytes: u64,
    total_pages: u64,
    hole_bytes: u64,
    sampled: bool,
    seed: u64,
    processes: Vec<Process<'a>>,
    compressed_swap: Option<CompressedSwap<'a>>,
    like: Option<&'a Algorithms>,
    dictionaries: &'a [DictionaryNote],
}

pub(super) fn write(report: &EstimateReport, mut out: impl Write) -> io::Result<()> {
    let input = &report.input;
    let document = Document {
        version: VERSION,
        input: Input {
            bytes: input.bytes,
            pages: input.pages,
            same_filled: input.same_filled,
            skipped: &input.skipped,
            files: input.files,
            total_bytes: input.total_bytes,
            total_pages: input.total_pages,
            hole_bytes: input.hole_bytes,
            sampled: input.is_sampled(),
            seed: input.seed,
            processes: processes(input),
            compressed_swap: input.compressed_swap.as_ref().map(CompressedSwap::from),
            like: input.like.as_ref(),
            dictionaries: &input.dictionaries,
        },
        runs: &report.rows,
        base: report.base.as_ref(),
        interrupted: report.interrupted,
    };
    serde_json::to_writer_pretty(&mut out, &document)?;
    writeln!(out)
}
