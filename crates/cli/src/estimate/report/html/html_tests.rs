//! Tests of the whole page as text: well formed, complete, self-contained, safe, readable.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

use crate::estimate::{
    error::EstimateError,
    report::test_report,
    result::{
        percentiles::Percentiles,
        row::{Phase, Row, test_row},
        skipped::Skipped,
    },
};

const STYLE: &str = include_str!("style.css");

fn settings() -> Settings {
    Settings { command: "pagefold estimate .".into(), options: vec![("Seed", "1".into())] }
}

fn lifecycle() -> EstimateReport {
    let mut rows = Vec::new();
    for (codec, mebibytes) in [("lz4", 400), ("zstd:1", 300)] {
        for phase in Phase::ALL {
            let mut row = test_row(codec, mebibytes, 3.25);
            row.phase = phase;
            if phase != Phase::Fill {
                row.sizes = None;
            }
            if matches!(phase, Phase::HalfFreed | Phase::Compacted) {
                row.store_us = Percentiles::default();
            }
            rows.push(row);
        }
    }
    test_report(rows, 1200, 1200)
}

/// The tags with their attributes, in order; panics if they are not well nested.
fn tags(page: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").expect("a document type");
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "well nested");
            continue;
        }
        let (tag, is_leaf) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let pairs = attributes.split("\" ").filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once("=\"").expect("attributes are quoted");
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        found.push((name.to_owned(), pairs.collect()));
        if !is_leaf {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    found
}

#[test]
fn a_page_is_well_nested_and_every_chart_has_a_name_and_a_table() {
    let page = render(&lifecycle(), &settings());
    let tags = tags(&page);
    let count = |name: &str| tags.iter().filter(|(tag, _)| tag == name).count();
    assert_eq!((count("h1"), count("main"), count("figure")), (1, 1, 5));
    assert_eq!(count("details"), count("figure"), "each with its figures as a table");
    assert_eq!(count("table"), count("figure") + 3, "and all figures in three");

    let mut ids = BTreeSet::new();
    for id in tags.iter().filter_map(|(_, attributes)| attributes.get("id")) {
        assert!(ids.insert(id.as_str()), "{id} twice");
    }
    let charts = tags.iter().filter(|(tag, attributes)| {
        tag == "svg" && attributes.get("class").is_some_and(|class| class == "chart")
    });
    let mut seen = 0;
    for (_, attributes) in charts {
        assert_eq!(attributes["role"], "img");
        for id in attributes["aria-labelledby"].split(' ') {
            assert!(ids.contains(id), "{id} is nowhere");
        }
        seen += 1;
    }
    assert_eq!(seen, 1 + 1 + 2 + 2 + 4 + 1, "answer, ratio, sizes, latency, lifecycle, compacted");
    let scrolls =
        tags.iter().filter(|(_, at)| at.get("class").is_some_and(|class| class == "scroll"));
    for (_, attributes) in scrolls {
        assert_eq!(attributes["tabindex"], "0", "a box that scrolls is reached by the keyboard");
    }
}

#[test]
fn the_page_says_what_was_found() {
    let page = render(&lifecycle(), &settings());
    for text in [
        "1.2 GiB would fit in 300.0 MiB (zstd:1, nbud): 4.0x smaller.",
        "Effective ratio",
        "3.00×",
        "4.00×",
        "How far the pages shrink",
        "p50 3.25 · p99 3.25 µs",
        "half_freed",
        "compacted",
        "density 0.980",
        "pagefold estimate .",
        "Seed",
    ] {
        assert!(page.contains(text), "`{text}` is missing");
    }
}

#[test]
fn phases_are_left_out_where_there_was_only_a_fill() {
    let page = render(&test_report(vec![test_row("lz4", 400, 1.0)], 1200, 1200), &settings());
    assert!(!page.contains("id=\"lifecycle\"") && page.contains("id=\"latency\""));
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = render(&lifecycle(), &settings());
    for foreign in
        ["://", "url(", "@import", "<script", "<iframe", "<img", "javascript:", " src=", " on"]
    {
        let found = page
            .find(foreign)
            .map(|at| page[at.saturating_sub(40)..].chars().take(80).collect::<String>());
        // ` on` may also be in a sentence: only tags count.
        if foreign == " on" {
            for (tag, attributes) in tags(&page) {
                assert!(attributes.keys().all(|name| !name.starts_with("on")), "{tag}");
            }
        } else {
            assert_eq!(found, None, "{foreign}");
        }
    }
    assert!(page.contains("default-src &#39;none&#39;"), "a browser is told so");
}

#[test]
fn names_of_files_and_words_of_the_command_are_shown_and_not_obeyed() {
    let hostile = "</code></li><script>alert(1)</script><b onclick=\"x\">'&amp;\u{202e}";
    let mut report = lifecycle();
    report.input.skipped =
        vec![Skipped { what: hostile.into(), why: hostile.into(), failed: true }];
    report.mismatch = Some(hostile.into());
    for row in &mut report.rows {
        row.codec = hostile.to_owned();
    }
    let settings = Settings { command: hostile.into(), options: vec![("Input", hostile.into())] };
    let page = render(&report, &settings);
    assert!(!page.contains("<script") && !page.contains("<b ") && !page.contains('\u{202e}'));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("&amp;amp;"), "what looks like an escape is text too");
    tags(&page);
}

#[test]
fn what_went_wrong_stands_above_the_figures() {
    let mut report = lifecycle();
    report.mismatch = Some("page 3 of a".into());
    report.failure = Some(EstimateError::EmptyInput);
    report.interrupted = true;
    for row in &mut report.rows {
        row.limit_reached = true;
    }
    report.input.skipped = vec![Skipped { what: "a".into(), why: "gone".into(), failed: true }];
    let page = render(&report, &settings());
    let tiles = page.find("id=\"ratio\"").expect("the charts are there");
    for text in [
        "no verdict",
        "Verification failed: page 3 of a",
        "ended early",
        "Interrupted",
        "limit of",
        "1 input could not be read",
    ] {
        let at = page.find(text).unwrap_or_else(|| panic!("`{text}` is missing"));
        assert!(at < tiles, "{text}");
    }
}

#[test]
fn a_report_without_rows_and_figures_without_numbers_still_make_a_page() {
    let empty = render(&test_report(Vec::new(), 1, 1), &settings());
    assert!(tags(&empty).iter().all(|(tag, _)| tag != "figure"));

    let mut row: Row = test_row("lz4", 0, 1.0);
    (row.pages, row.density, row.effective_ratio) = (0, f64::NAN, f64::INFINITY);
    (row.store_us, row.load_us) = (Percentiles::default(), Percentiles::default());
    (row.compression_ratio, row.sizes, row.rss_delta_bytes) = (None, None, Some(i64::MIN));
    let page = render(&test_report(vec![row], 1, 1), &settings());
    let drawn = tags(&page)
        .into_iter()
        .filter(|(tag, _)| matches!(tag.as_str(), "rect" | "line" | "text" | "svg"));
    for (tag, attributes) in drawn {
        for name in ["x", "y", "x1", "x2", "y1", "y2", "width", "height"] {
            let Some(value) = attributes.get(name) else { continue };
            let number = value.trim_end_matches('%').parse::<f64>();
            assert!(number.is_ok_and(f64::is_finite), "{tag} {name}={value}");
        }
    }
}

#[test]
fn the_first_two_hundred_skipped_inputs_are_listed_and_the_rest_is_counted() {
    let mut report = lifecycle();
    report.input.skipped = (0..250)
        .map(|number| Skipped {
            what: format!("f{number}."),
            why: "a FIFO".into(),
            failed: number == 249,
        })
        .collect();
    let page = render(&report, &settings());
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("`{text}` is missing"));
    assert!(place("f249.") < place("f0."), "failures first");
    assert!(page.contains("f198.") && !page.contains("f199."));
    assert!(page.contains("and 50 more"));
}

fn colours(block: &str) -> BTreeMap<&str, [f64; 3]> {
    let body = block.split_once('{').and_then(|(_, body)| body.split_once('}')).expect("a block").0;
    body.lines()
        .filter_map(|line| line.trim().strip_prefix("--")?.strip_suffix(';')?.split_once(": #"))
        .map(|(name, hex)| {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("six digits");
            (name, [0, 2, 4].map(|at| f64::from(byte(at)) / 255.0))
        })
        .collect()
}

/// The contrast by WCAG: 1 to 21.
fn contrast(one: [f64; 3], two: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let linear = colour.map(|part| {
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (one, two) = (luminance(one), luminance(two));
    (one.max(two) + 0.05) / (one.min(two) + 0.05)
}

#[test]
fn text_and_marks_have_the_contrast_of_wcag_aa_by_day_by_night_and_on_paper() {
    let blocks: Vec<_> =
        STYLE.match_indices(":root {").map(|(at, _)| colours(&STYLE[at..])).collect();
    assert_eq!(blocks.len(), 3, "light, dark, print");
    for (theme, colours) in ["light", "dark", "print"].into_iter().zip(blocks) {
        let pairs = [
            ("ink", "ground", 4.5),
            ("ink", "card", 4.5),
            ("soft", "ground", 4.5),
            ("soft", "card", 4.5),
            ("ink", "notice-ground", 4.5),
            ("grave", "grave-ground", 4.5),
            ("onbar", "packed", 4.5),
            ("packed", "card", 3.0),
            ("other", "card", 3.0),
            ("same", "card", 3.0),
            ("raw", "card", 3.0),
            ("neutral", "card", 3.0),
            ("neutral", "ground", 3.0),
            ("packed", "ground", 3.0),
            ("mean", "card", 3.0),
        ];
        for (front, back, least) in pairs {
            let found = contrast(colours[front], colours[back]);
            assert!(found >= least, "{theme}: {front} on {back} is {found:.2}, below {least}");
        }
    }
}

/// A colour without red or green receptors: the matrices of Viénot, Brettel and Mollon (1999).
fn without(receptor: &str, colour: [f64; 3]) -> [f64; 3] {
    let [red, green, blue] = colour.map(|part| part.powf(2.2));
    let seen = match receptor {
        "red" => [
            0.112_38 * red + 0.887_62 * green,
            0.112_38 * red + 0.887_62 * green,
            0.004_01 * red - 0.004_01 * green + blue,
        ],
        _ => [
            0.292_75 * red + 0.707_25 * green,
            0.292_75 * red + 0.707_25 * green,
            -0.022_34 * red + 0.022_34 * green + blue,
        ],
    };
    seen.map(|part| part.clamp(0.0, 1.0).powf(1.0 / 2.2))
}

#[test]
fn series_are_told_apart_without_red_or_green_receptors() {
    for at in STYLE.match_indices(":root {").map(|(at, _)| at) {
        let colours = colours(&STYLE[at..]);
        let series = ["packed", "same", "raw"];
        for receptor in ["red", "green"] {
            for (index, one) in series.iter().enumerate() {
                for two in &series[index + 1..] {
                    let (a, b) = (without(receptor, colours[one]), without(receptor, colours[two]));
                    let distance =
                        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                    assert!(distance > 0.2, "{one} and {two} without {receptor}: {distance:.2}");
                }
            }
        }
    }
}
