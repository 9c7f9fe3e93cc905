//! The order of the page, and its text.

use crate::{
    bytes,
    estimate::{
        report::{
            base,
            html::{charts, figure::Table, markup::Markup, processes, settings::Settings},
            skipped,
            table::show_time,
            verdict,
        },
        result::{
            input::InputSummary, percentiles::Percentiles, report::EstimateReport, row::Row,
            skipped::Skipped,
        },
    },
    numbers::{count, percent},
};

/// JSON lists all.
const SKIPPED_SHOWN: usize = 200;

/// Forbids scripts and foreign content.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("style.css");

pub(super) fn page(report: &EstimateReport, settings: &Settings) -> Markup {
    let headline = headline(report);
    let mut page = Markup::new();
    page.within("html", &[("lang", "en")], |html| {
        html.within("head", &[], |head| write_head(&headline, head));
        html.within("body", &[], |body| {
            body.within("header", &[], |header| write_header(report, &headline, header));
            body.within("main", &[], |main| {
                write_charts(report, main);
                write_base(report, main);
                processes::write(&report.input, main);
                write_results(&report.rows, main);
                write_skipped(&report.input.skipped, main);
                write_settings(settings, main);
            });
            body.element(
                "footer",
                &[],
                "Memory is what the pool holds; RssAnon is what the kernel counts. Every page was compressed, stored in a pool, read back, and compared by a 128-bit hash.",
            );
        });
    });
    page
}

/// The verdict; the first line is the headline.
fn headline(report: &EstimateReport) -> Vec<String> {
    let savings = verdict::savings(report);
    let lines = savings.iter().flat_map(|sentence| sentence.lines());
    // A terminal may not have the letter; a page has.
    let mut lines: Vec<_> = lines.map(|line| line.replace(" us ", " µs ")).collect();
    if lines.is_empty() {
        lines.push("No run came to its end, so there is no verdict.".to_owned());
    }
    lines
}

fn write_head(headline: &[String], head: &mut Markup) {
    head.leaf("meta", &[("charset", "utf-8")]);
    head.leaf("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    head.leaf("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    head.leaf("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    // Without an icon a browser requests one from the page's server.
    head.leaf("link", &[("rel", "icon"), ("href", "data:,")]);
    let title = headline.first().map_or("", String::as_str);
    head.element("title", &[], &format!("pagefold: {title}"));
    head.style(STYLE);
}

fn write_header(report: &EstimateReport, headline: &[String], header: &mut Markup) {
    header.element("p", &[("class", "brand")], "pagefold estimate");
    if let Some((first, others)) = headline.split_first() {
        header.element("h1", &[], first);
        for sentence in others {
            header.element("p", &[("class", "lede")], sentence);
        }
    }
    if let Some(answer) = charts::answer(report) {
        header.append(&answer);
    }
    header.element("p", &[("class", "input")], &verdict::input(&report.input));
    for (class, notice) in notices(report) {
        header.element("p", &[("class", class)], &notice);
    }
    write_tiles(report, header);
}

/// Warnings, the gravest first.
fn notices(report: &EstimateReport) -> Vec<(&'static str, String)> {
    let mut notices = Vec::new();
    if let Some(mismatch) = &report.mismatch {
        notices.push(("notice grave", format!("Verification failed: {mismatch}")));
    }
    if let Some(failure) = &report.failure {
        notices.push(("notice grave", format!("The runs ended early: {failure}")));
    }
    if report.interrupted {
        notices
            .push(("notice", "Interrupted: the page holds what was measured by then.".to_owned()));
    }
    notices.extend(verdict::stops(report).map(|stop| ("notice", stop)));
    if report.input.is_sampled() {
        let text = verdict::sampling(&report.input).replace('\n', " ");
        notices.push(("notice", text));
    }
    notices.extend(verdict::confidence(report).map(|text| ("notice", text)));
    let like = report.input.like.as_ref().map(|like| like.describe().replace('\n', " "));
    notices.extend(like.map(|text| ("notice", text)));
    notices.extend(verdict::tiers(report).map(|text| ("notice", text)));
    notices.extend(verdict::dictionaries(&report.input).map(|text| ("notice", text)));
    let failed = report.input.skipped.iter().filter(|skipped| skipped.failed).count();
    if failed > 0 {
        notices
            .push(("notice", format!("{} could not be read; the list is below.", inputs(failed))));
    }
    notices
}

fn write_tiles(report: &EstimateReport, header: &mut Markup) {
    let Some(row) = verdict::densest(report) else { return };
    let input: &InputSummary = &report.input;
    let time = |times: Percentiles| {
        times.p50.map_or_else(|| "–".to_owned(), |micros| format!("{} µs", show_time(micros)))
    };
    let tiles = [
        (
            "effective ratio",
            format!("{:.2}×", row.best_ratio()),
            "pages' bytes over memory".to_owned(),
        ),
        ("density", format!("{:.3}", row.density), "payload over frames".to_owned()),
        (
            "same-filled",
            percent(row.same_filled, row.pages),
            format!("of {} pages", count(input.pages)),
        ),
        ("incompressible", percent(row.raw, row.pages), "kept as they are".to_owned()),
        ("store a page", time(row.store_us), "median".to_owned()),
        ("load a page", time(row.load_us), "median, random order".to_owned()),
    ];
    header.within("dl", &[("class", "tiles")], |list| {
        for (name, figure, remark) in tiles {
            list.within("div", &[], |tile| {
                tile.element("dt", &[], name);
                tile.element("dd", &[("class", "big")], &figure);
                tile.element("dd", &[], &remark);
            });
        }
    });
}

fn write_charts(report: &EstimateReport, main: &mut Markup) {
    if report.rows.is_empty() {
        return;
    }
    charts::ratio(report).write(main);
    charts::sizes(report).write(main);
    charts::latency(report).write(main);
    if let Some(lifecycle) = charts::lifecycle(report) {
        lifecycle.write(main);
    }
    if let Some(compacted) = charts::compacted(report) {
        compacted.write(main);
    }
}

fn write_base(report: &EstimateReport, main: &mut Markup) {
    let Some(summary) = &report.base else { return };
    main.within("section", &[("class", "card"), ("id", "base")], |section| {
        section.element("h2", &[], "On a base");
        section.element("p", &[], &base::sentence(summary));
        let mut table = Table::new(1, &base::HEADINGS);
        table.rows = base::rows(summary);
        table.write("On a base", section);
        section.element(
            "p",
            &[],
            &base::times(summary).replace(" us ", " µs ").replace('\n', "; "),
        );
    });
}

type Column = (&'static str, fn(&Row) -> String);

/// Every row and figure, in tables that fit a desktop window.
fn write_results(rows: &[Row], main: &mut Markup) {
    if rows.is_empty() {
        return;
    }
    main.within("section", &[("class", "card"), ("id", "results")], |section| {
        section.element("h2", &[], "All figures");
        section.element("p", &[], "Ratio leaves same-filled pages out; effective ratio counts them. Memory is frames, metadata, and the dictionary if there is one; resident counts idle frames as well. Times are microseconds a page.");
        for (title, columns) in [("Pages", PAGES), ("Memory", MEMORY), ("Times", TIMES)] {
            let mut table = Table::new(NAMES.len(), &[]);
            let all = || NAMES.iter().chain(columns);
            table.headings.extend(all().map(|(heading, _)| (*heading).to_owned()));
            table.rows.extend(rows.iter().map(|row| all().map(|(_, cell)| cell(row)).collect()));
            section.element("h3", &[], title);
            table.write(&format!("All figures: {title}"), section);
        }
    });
}

const NAMES: &[Column] = &[
    ("codec", |row| row.codec.clone()),
    ("allocator", |row| row.allocator.clone()),
    ("phase", |row| row.phase.name().to_owned()),
];

const PAGES: &[Column] = &[
    ("verified", |row| if row.verified { "yes" } else { "no" }.to_owned()),
    ("pages", |row| count(row.pages)),
    ("compressed", |row| count(row.stored)),
    ("raw", |row| count(row.raw)),
    ("same-filled", |row| count(row.same_filled)),
    ("bytes", |row| bytes::show(row.original_bytes)),
    ("ratio", |row| {
        row.compression_ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
    }),
    ("eff. ratio", |row| format!("{:.2}", row.best_ratio())),
];

const MEMORY: &[Column] = &[
    ("density", |row| format!("{:.3}", row.density)),
    ("payload", |row| bytes::show(row.payload_bytes)),
    ("frames", |row| bytes::show(row.frame_bytes)),
    ("metadata", |row| bytes::show(row.metadata_bytes)),
    ("memory", |row| bytes::show(row.taken_bytes())),
    ("resident", |row| bytes::show(row.resident_bytes)),
    ("RssAnon", |row| bytes::show_change(row.rss_delta_bytes)),
];

const TIMES: &[Column] = &[
    ("store p50", |row| time(row.store_us.p50)),
    ("p99", |row| time(row.store_us.p99)),
    ("mean", |row| time(row.store_us.mean)),
    ("load p50", |row| time(row.load_us.p50)),
    ("p99", |row| time(row.load_us.p99)),
    ("mean", |row| time(row.load_us.mean)),
    ("duration", |row| format!("{} ms", count(row.elapsed_ms))),
];

fn time(micros: Option<f64>) -> String {
    micros.map_or_else(|| "–".to_owned(), show_time)
}

/// Failures first.
fn write_skipped(skipped: &[Skipped], main: &mut Markup) {
    if skipped.is_empty() {
        return;
    }
    main.within("section", &[("class", "card"), ("id", "skipped")], |section| {
        section.element("h2", &[], &format!("Skipped: {}", inputs(skipped.len())));
        section.element("p", &[], &skipped::reasons_in_words(skipped));
        section.within("ul", &[("class", "skipped")], |list| {
            let failed = skipped.iter().filter(|skipped| skipped.failed);
            let ordinary = skipped.iter().filter(|skipped| !skipped.failed);
            for skipped in failed.chain(ordinary).take(SKIPPED_SHOWN) {
                list.within("li", &[], |item| {
                    item.element("code", &[], &skipped.what);
                    item.text(": ");
                    item.text(&skipped.why);
                });
            }
        });
        if skipped.len() > SKIPPED_SHOWN {
            let more = format!(
                "and {} more; --json lists all",
                count((skipped.len() - SKIPPED_SHOWN) as u64)
            );
            section.element("p", &[], &more);
        }
    });
}

fn inputs(number: usize) -> String {
    format!("{} input{}", count(number as u64), if number == 1 { "" } else { "s" })
}

fn write_settings(settings: &Settings, main: &mut Markup) {
    main.within("section", &[("class", "card"), ("id", "settings")], |section| {
        section.element("h2", &[], "How it was measured");
        section.within("pre", &[("class", "scroll"), ("tabindex", "0")], |command| {
            command.element("code", &[], &settings.command);
        });
        section.within("dl", &[("class", "options")], |list| {
            for (name, value) in &settings.options {
                list.within("div", &[], |option| {
                    option.element("dt", &[], name);
                    option.element("dd", &[], value);
                });
            }
        });
    });
}
