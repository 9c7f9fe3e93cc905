//! The tables of processes, core files and their mappings.

use crate::{
    bytes,
    estimate::{
        report::{
            html::{figure::Table, markup::Markup},
            mappings, parts,
        },
        result::{
            input::InputSummary,
            interval::Interval,
            process::{MappingSummary, PartResult, ProcessSummary},
        },
    },
    numbers::{count, percent},
};

/// JSON lists all.
const PROCESSES_SHOWN: usize = 500;
const MAPPINGS_SHOWN: usize = 200;

const NONE: &str = "–";

/// The largest processes first; nothing without processes.
pub(super) fn write(input: &InputSummary, main: &mut Markup) {
    if input.processes.is_empty() {
        return;
    }
    let mut all: Vec<_> = input.processes.iter().collect();
    all.sort_by_key(|process| std::cmp::Reverse(process.bytes));
    main.within("section", &[("class", "card"), ("id", "processes")], |section| {
        section.element("h2", &[], "Processes");
        section.element("p", &[], "Private memory is what was measured; shared memory, files and swap are left out. A codec's column is the effective ratio of the part, with the interval of 95 % confidence where the input was sampled.");
        processes(&all).write("Processes", section);
        more(all.len(), PROCESSES_SHOWN, section);
        for note in parts::notes(input) {
            section.element("p", &[], &note.replace('\n', "; "));
        }
        if input.maps {
            let mapped = all.iter().filter(|process| !process.mappings.is_empty());
            for process in mapped.take(PROCESSES_SHOWN) {
                write_mappings(process, section);
            }
        }
    });
}

fn processes(all: &[&ProcessSummary]) -> Table {
    let mut table = Table::new(
        1,
        &["process", "private", "shared", "files", "swap", "vanished pages", "read to its end"],
    );
    let codecs = parts::codecs(all.first().map_or(&[], |process| &process.shares));
    table.headings.extend(codecs.iter().cloned());
    for process in all.iter().take(PROCESSES_SHOWN) {
        let mut cells = vec![process.title(), bytes::show(process.bytes)];
        let left_out = parts::left_out(process);
        cells.extend(left_out.map(|part| part.map_or_else(|| NONE.to_owned(), bytes::show)));
        cells.push(count(process.vanished_pages));
        cells.push(if process.complete { "yes" } else { "no" }.to_owned());
        cells.extend((0..codecs.len()).map(|codec| ratio(parts::of_codec(&process.shares, codec))));
        table.rows.push(cells);
    }
    table
}

fn write_mappings(process: &ProcessSummary, section: &mut Markup) {
    let mut all: Vec<_> = process.mappings.iter().collect();
    all.sort_by_key(|mapping| std::cmp::Reverse(mapping.bytes));
    let title = format!("Mappings of {}", process.title());
    section.within("details", &[], |details| {
        details.element("summary", &[], &title);
        kinds(process).write(&format!("{title} by kind"), details);
        mappings(process, &all).write(&title, details);
        more(all.len(), MAPPINGS_SHOWN, details);
    });
}

fn kinds(process: &ProcessSummary) -> Table {
    let codecs = parts::codecs(&process.shares);
    let mut table =
        Table::new(1, &["kind", "mappings", "private", "same-filled", "incompressible"]);
    table.headings.extend(codecs.iter().cloned());
    for (kind, mappings) in mappings::by_kind(process) {
        let mut cells = vec![kind.label().to_owned(), count(mappings.len() as u64)];
        cells.extend(mappings::figures(&mappings, codecs.len()));
        table.rows.push(cells);
    }
    table
}

fn mappings(process: &ProcessSummary, all: &[&MappingSummary]) -> Table {
    let codecs = parts::codecs(&process.shares);
    let mut table = Table::new(3, &["address", "kind", "name", "private", "same-filled", "raw"]);
    table.paths = Some(2);
    table.headings.extend(codecs.iter().cloned());
    for mapping in all.iter().take(MAPPINGS_SHOWN) {
        let share = mapping.shares.first();
        let part = |number: fn(&PartResult) -> u64| {
            share.map_or_else(
                || NONE.to_owned(),
                |share| percent(number(share), share.tally.pages()),
            )
        };
        let mut cells = vec![
            format!("{:#x}", mapping.start),
            mapping.kind.label().to_owned(),
            mapping.name.clone().unwrap_or_default(),
            bytes::show(mapping.bytes),
            part(|share| share.tally.sums.same_filled),
            part(|share| share.tally.sums.raw),
        ];
        cells.extend((0..codecs.len()).map(|codec| ratio(parts::of_codec(&mapping.shares, codec))));
        table.rows.push(cells);
    }
    table
}

/// `3.21 (3.10 to 3.33)`, or without the interval.
fn ratio(share: Option<&PartResult>) -> String {
    let ratio = parts::ratio(share);
    let Some(Interval { low, high }) = share.and_then(|share| share.effective_ratio_95) else {
        return ratio;
    };
    let high = high.map_or_else(|| "?".to_owned(), |high| format!("{high:.2}"));
    format!("{ratio} ({low:.2} to {high})")
}

fn more(all: usize, shown: usize, to: &mut Markup) {
    if all > shown {
        to.element(
            "p",
            &[],
            &format!("and {} more; --json lists all", count((all - shown) as u64)),
        );
    }
}
