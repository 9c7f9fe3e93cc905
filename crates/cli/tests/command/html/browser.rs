//! The page in a browser; skipped, with a message, where none is installed.
//!
//! A second page shows the report in frames of several widths and writes its findings; Chromium prints it. With
//! `PAGEFOLD_SCREENSHOTS=DIR` pictures stay in `DIR`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::common::{Outcome, Sleeper, pagefold, sample_dir};
use serde_json::Value;

/// Telephones and desktop windows.
const WIDTHS: [u32; 4] = [360, 390, 1100, 1200];

/// The least that shows every table in full.
const DESK: u32 = 1200;

/// A browser that takes longer is stuck.
const TIME_MAX: Duration = Duration::from_secs(120);

/// An element if not escaped.
const HOSTILE: &str = "<img src=x onerror=document.title='owned'>&\"";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    Light,
    Dark,
}

impl Theme {
    fn flag(self) -> &'static str {
        match self {
            Self::Dark => "--blink-settings=preferredColorScheme=0",
            Self::Light => "--blink-settings=preferredColorScheme=1",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

fn browser() -> Option<&'static str> {
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let tried = Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("SKIPPED: no Chromium here; the package is called chromium");
    }
    found
}

/// Returns what the browser printed.
fn run(browser: &str, dir: &Path, theme: Theme, flags: &[String], page: &Path) -> String {
    let profile = tempfile::tempdir_in(dir).expect("a temporary directory");
    let printed = profile.path().join("stdout");
    let mut child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        // The observing page is a file like the report.
        .arg("--allow-file-access-from-files")
        .arg(theme.flag())
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(flags)
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(fs::File::create(&printed).expect("it is ours"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser runs");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if begun.elapsed() > TIME_MAX {
            child.kill().expect("it is our child");
            panic!("the browser hangs");
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
    fs::read_to_string(printed).expect("the browser writes text")
}

/// A report with everything: a lifecycle, two codecs, idle pages, a skipped input.
fn report(dir: &Path) -> PathBuf {
    let (input, page) = (sample_dir(), dir.join("report.html"));
    std::os::unix::fs::symlink("nowhere", input.path().join(HOSTILE)).expect("a symbolic link");
    let outcome: Outcome = pagefold()
        .args([
            "estimate",
            "--lifecycle",
            "--tiers",
            "--codec",
            "lz4",
            "--codec",
            "zstd:1",
            "--html",
        ])
        .arg(&page)
        .arg(input.path())
        .output()
        .expect("the binary runs")
        .into();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    page
}

/// Writes the page that inspects the report.
fn observer(dir: &Path) -> PathBuf {
    let frames: String = WIDTHS
        .iter()
        .map(|width| format!("<iframe src=\"report.html\" style=\"border:0;width:{width}px;height:4000px\"></iframe>"))
        .collect();
    let script = r##"
        onload = () => {
            const found = [...document.querySelectorAll("iframe")].map(frame => {
                const page = frame.contentDocument, view = frame.contentWindow, root = page.documentElement;
                const count = what => page.querySelectorAll(what).length;
                const text = what => page.querySelector(what).textContent;
                const outside = [...page.querySelectorAll("body *")].filter(element =>
                    !element.closest(".scroll") && element.getBoundingClientRect().right > root.clientWidth + 1);
                const rows = [...page.querySelectorAll("svg.chart")].filter(svg => !svg.parentElement.closest("svg"));
                const clash = rows.flatMap(svg => {
                    const texts = [...svg.querySelectorAll("text.label, text.value, text.tick")].map(t => [t.getBoundingClientRect(), t.textContent]);
                    return texts.flatMap(([a, one], i) => texts.slice(i + 1).filter(([b]) =>
                        a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3)
                        .map(([, other]) => one + " on " + other));
                });
                page.querySelectorAll("details").forEach(details => details.open = true);
                const cut = [...page.querySelectorAll("div.scroll")].filter(box => box.scrollWidth > box.clientWidth);
                const small = [...page.querySelectorAll("svg text")].filter(t => parseFloat(view.getComputedStyle(t).fontSize) < 12);
                return {
                    cut: cut.map(box => box.getAttribute("aria-label")), small: small.length,
                    width: root.clientWidth, scrollWidth: root.scrollWidth, outside: outside.map(e => e.outerHTML.slice(0, 90)),
                    clash, title: page.title, h1: text("h1"), ground: view.getComputedStyle(page.body).backgroundColor,
                    ink: view.getComputedStyle(page.body).color, fill: view.getComputedStyle(page.querySelector("rect.packed")).fill,
                    figures: count("figure"), mapped: count("td.path"), charts: rows.length, tables: count("table"), bars: count("rect"), marks: count("path"),
                    scripts: count("script"), images: count("img"), skipped: page.querySelector("#skipped li code")?.textContent,
                    command: text("#settings code"), fetched: view.performance.getEntriesByType("resource").map(e => e.name),
                };
            });
            document.body.textContent = JSON.stringify(found);
        };"##;
    let page = dir.join("observer.html");
    let head = "<meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">";
    fs::write(&page, format!("<!DOCTYPE html>{head}<body>{frames}<script>{script}</script>"))
        .expect("it is ours");
    page
}

fn observe(browser: &str, dir: &Path, theme: Theme) -> Vec<Value> {
    let dom = run(browser, dir, theme, &["--dump-dom".into()], &observer(dir));
    let body = dom.split_once("<body>").expect("a body").1.split_once("</body>").expect("a body").0;
    // The browser escapes printed text.
    let json = body.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn the_page_has_everything_fetches_nothing_and_fits_a_telephone_in_both_themes() {
    let Some(browser) = browser() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    report(dir.path());
    let light = observe(browser, dir.path(), Theme::Light);
    let dark = observe(browser, dir.path(), Theme::Dark);
    for (width, seen) in WIDTHS.iter().cycle().zip(light.iter().chain(&dark)) {
        assert_eq!(seen["width"], *width, "{seen}");
        assert_eq!(seen["scrollWidth"], *width, "it scrolls sideways: {seen}");
        assert_eq!(seen["outside"].as_array().map(Vec::len), Some(0), "{seen}");
        let clashes = seen["clash"].as_array().map(Vec::len);
        assert_eq!(clashes, Some(0), "labels lie on each other: {}", seen["clash"]);

        assert_eq!(seen["small"], 0, "letters too small to read: {seen}");
        if *width >= DESK {
            assert_eq!(seen["cut"].as_array().map(Vec::len), Some(0), "a table is cut off: {seen}");
        }

        assert_eq!((&seen["figures"], &seen["tables"]), (&5.into(), &8.into()), "{seen}");
        // Two codecs with each allocator have a pair of charts through life; with idle pages, a histogram each as well.
        let through_life = 2 * 2 * pagefold_pool::Allocator::ALL.len();
        assert_eq!(seen["charts"], 1 + 1 + 4 + 2 + through_life + 1, "{seen}");
        assert!(seen["bars"].as_u64() > Some(30) && seen["marks"].as_u64() > Some(12), "{seen}");
        let headline = seen["h1"].as_str().expect("a text");
        assert!(headline.contains(" would "), "{seen}");
        assert!(seen["title"].as_str().expect("a text").contains(headline), "{seen}");
        assert!(
            seen["command"].as_str().expect("a text").starts_with("pagefold estimate --lifecycle")
        );

        assert_eq!((&seen["scripts"], &seen["images"]), (&0.into(), &0.into()), "{seen}");
        assert_eq!(seen["fetched"].as_array().map(Vec::len), Some(0), "{seen}");
        assert!(seen["skipped"].as_str().expect("a text").ends_with(HOSTILE), "as it is: {seen}");
    }
    for key in ["ground", "ink", "fill"] {
        assert_ne!(light[0][key], dark[0][key], "{key} is the same by day and by night");
    }
}

#[test]
fn the_mappings_of_a_process_are_seen_whole_on_a_desk() {
    let Some(browser) = browser() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sleeper = Sleeper(Command::new("sleep").arg("600").spawn().expect("every system has it"));
    let outcome: Outcome = pagefold()
        .args(["estimate", "--maps", "--pid", &sleeper.0.id().to_string(), "--html"])
        .arg(dir.path().join("report.html"))
        .output()
        .expect("the binary runs")
        .into();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for (width, seen) in WIDTHS.iter().zip(observe(browser, dir.path(), Theme::Light)) {
        assert_eq!(seen["scrollWidth"], *width, "it scrolls sideways: {seen}");
        assert!(seen["mapped"].as_u64() > Some(2), "{seen}");
        if *width >= DESK {
            assert_eq!(seen["cut"].as_array().map(Vec::len), Some(0), "a table is cut off: {seen}");
        }
    }
}

#[test]
fn the_page_can_be_looked_at() {
    let Some(browser) = browser() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let page = report(dir.path());
    let kept = std::env::var_os("PAGEFOLD_SCREENSHOTS").map(PathBuf::from);
    let target = kept.as_deref().unwrap_or(dir.path());
    for theme in [Theme::Light, Theme::Dark] {
        let picture = target.join(format!("{}.png", theme.name()));
        let flags =
            [format!("--screenshot={}", picture.display()), "--window-size=1100,3400".into()];
        run(browser, dir.path(), theme, &flags, &page);
        let bytes = fs::read(&picture).expect("the browser wrote it");
        // A picture of one colour is a few kilobytes.
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 50_000, "{} bytes", bytes.len());
    }
    let paper = target.join("paper.pdf");
    let flags = [format!("--print-to-pdf={}", paper.display()), "--no-pdf-header-footer".into()];
    // Dark pages too are printed on white paper.
    run(browser, dir.path(), Theme::Dark, &flags, &page);
    assert!(fs::read(&paper).expect("the browser wrote it").starts_with(b"%PDF"));
}
