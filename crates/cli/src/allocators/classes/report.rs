//! The table as text and JSON.

use std::{fmt::Write as _, io};

use pagefold_pool::classes::{ClassTable, Expectation};
use serde::Serialize;

use crate::{
    allocators::classes::documented,
    columns::lay_out,
    console::{self, OutputError},
    numbers::count,
    printable::printable,
};

#[derive(Debug)]
pub(super) struct ClassesReport {
    pub(super) table: ClassTable,
    /// In words.
    pub(super) lengths: String,
    pub(super) expected: Expectation,
}

/// Keys may be added, never renamed or removed.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    frame_bytes: usize,
    smallest_bytes: usize,
    step_bytes: usize,
    chain_max_frames: u32,
    header_bytes: usize,
    sizes: usize,
    lengths: &'a str,
    objects: u64,
    too_long: u64,
    payload_bytes: u64,
    density: Option<f64>,
    spanning: f64,
    huge_above_bytes: usize,
    documented_rule: documented::Outcome,
    classes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    size_min_bytes: usize,
    size_bytes: usize,
    frames: u32,
    objects_a_zspage: u32,
    waste_bytes: usize,
    spanning_a_zspage: u32,
    huge: bool,
    objects: u64,
    density: Option<f64>,
}

pub(super) fn print(report: &ClassesReport, json: bool) -> Result<(), OutputError> {
    let document = document(report);
    let text = if json {
        let mut text = serde_json::to_string_pretty(&document).map_err(io::Error::from)?;
        text.push('\n');
        text
    } else {
        text(&document)
    };
    console::print(text.as_bytes())
}

fn document(report: &ClassesReport) -> Document<'_> {
    let (config, expected) = (report.table.config(), &report.expected);
    let frame = config.frame_bytes;
    let line = |class: &pagefold_pool::classes::ClassExpectation| Line {
        size_min_bytes: class.class.size_min,
        size_bytes: class.class.size,
        frames: class.class.frames,
        objects_a_zspage: class.class.objects,
        waste_bytes: class.class.waste(frame),
        spanning_a_zspage: class.class.spanning(frame),
        huge: class.class.is_huge(),
        objects: class.objects,
        density: class.density(),
    };
    Document {
        version: VERSION,
        frame_bytes: frame,
        smallest_bytes: config.smallest,
        step_bytes: config.step,
        chain_max_frames: config.chain_max,
        header_bytes: config.header_bytes,
        sizes: report.table.sizes(),
        lengths: &report.lengths,
        objects: expected.objects(),
        too_long: expected.too_long,
        payload_bytes: expected.payload_bytes(),
        density: expected.density(),
        spanning: expected.spanning,
        huge_above_bytes: huge_above(report),
        documented_rule: documented::outcome(config),
        classes: expected.classes.iter().map(line).collect(),
    }
}

/// The largest size that shares frames; 0 if none.
fn huge_above(report: &ClassesReport) -> usize {
    let shared = report.table.classes().iter().rev().find(|class| !class.is_huge());
    shared.map_or(0, |class| class.size)
}

fn text(document: &Document<'_>) -> String {
    let show = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.3}"));
    let header = ["size", "from", "frames", "objects", "waste", "across", "stored", "density"];
    let header = header.into_iter().map(str::to_owned).collect();
    let rows = document.classes.iter().map(|class| {
        let size = class.size_bytes.to_string();
        vec![
            if class.huge { format!("{size} huge") } else { size },
            class.size_min_bytes.to_string(),
            class.frames.to_string(),
            class.objects_a_zspage.to_string(),
            class.waste_bytes.to_string(),
            class.spanning_a_zspage.to_string(),
            count(class.objects),
            show(class.density),
        ]
    });
    let mut text = lay_out(0, header, rows);
    let _ = write!(
        text,
        "\n\n\
        size, from: bytes of a place, and the least size merged into the class\n\
        frames, objects, waste, across: of a zspage; across: objects in two frames\n\
        stored, density: objects of the given lengths, and payload / frames of them\n\n\
        {} sizes in {} classes; frames of {} bytes, sizes from {} by {}, chains of up to {},\n\
        headers of {} bytes; sizes above {} have a frame to themselves.\n\
        By the rule of the kernel's documentation: {} classes, huge above {}.\n\
        Lengths: {}; {} objects.\n\
        Density {}; {:.3} of the objects lie in two frames.\n",
        document.sizes,
        document.classes.len(),
        document.frame_bytes,
        document.smallest_bytes,
        document.step_bytes,
        document.chain_max_frames,
        document.header_bytes,
        document.huge_above_bytes,
        document.documented_rule.classes,
        document.documented_rule.huge_above_bytes,
        printable(document.lengths),
        count(document.objects),
        show(document.density),
        document.spanning,
    );
    if document.too_long > 0 {
        let _ = writeln!(
            text,
            "{} objects are longer than a frame; they are in no class and not counted.",
            count(document.too_long)
        );
    }
    text
}
