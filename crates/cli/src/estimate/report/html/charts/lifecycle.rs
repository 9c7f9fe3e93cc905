//! The pool's memory and density in each phase, and after compaction.

use crate::{
    bytes,
    estimate::{
        report::html::{
            charts::{BAR, LABEL, PITCH, height_of, name},
            figure::{Figure, KeyEntry, Table},
            markup::Markup,
            plot::{Anchor, Mark, Plot, Scale},
        },
        result::{
            report::EstimateReport,
            row::{Phase, Row},
        },
    },
};

/// `None` if no run went past its fill.
pub(crate) fn lifecycle(report: &EstimateReport) -> Option<Figure> {
    if report.rows.iter().all(|row| row.phase == Phase::Fill) {
        return None;
    }
    // Idle pages have no life.
    let runs: Vec<&[Row]> = report
        .rows
        .chunk_by(|a, b| (&a.codec, &a.allocator) == (&b.codec, &b.allocator))
        .filter(|run| run[0].clusters.is_none())
        .collect();
    let rows = || runs.iter().copied().flatten();
    let resident =
        Scale::bytes_up_to(rows().map(|row| resident(row).max(kernel(row))).fold(1.0, f64::max));
    let least = rows().map(|row| row.density).fold(1.0, f64::min);
    let density = Scale::between(((least * 20.0).floor() / 20.0).clamp(0.0, 0.9), 1.0);

    let mut charts = Markup::new();
    for (index, run) in runs.iter().enumerate() {
        charts.element("h3", &[], &run.first().map_or_else(String::new, name));
        charts.within("div", &[("class", "pair wide")], |pair| {
            let rows: Vec<_> = run.iter().map(|row| (title(row.phase).to_owned(), row)).collect();
            let (id, about) = (format!("resident-{index}"), "Resident bytes by phase");
            pair.append(&resident_chart(&id, about, &rows, &resident));
            pair.append(&density_chart(index, run, &density));
        });
    }
    Some(Figure {
        id: "lifecycle",
        title: "The pool through its life",
        about: "What the pool holds after it was filled, after pages were overwritten at random, after half of them were freed, and after compaction. Density is payload over frames; its axis does not begin at 0.".into(),
        charts,
        key: resident_key()
            .into_iter()
            .chain([KeyEntry {
                path: Some(Mark::Dot.path()),
                class: "packed",
                meaning: "density",
            }])
            .collect(),
        table: table(report),
    })
}

/// The memory after compaction; `None` if no run compacted.
pub(crate) fn compacted(report: &EstimateReport) -> Option<Figure> {
    let compacted = report.rows.iter().filter(|row| row.phase == Phase::Compacted);
    let rows: Vec<_> = compacted.map(|row| (name(row), row)).collect();
    if rows.is_empty() {
        return None;
    }
    let most = rows.iter().map(|(_, row)| resident(row).max(kernel(row))).fold(1.0, f64::max);
    let scale = Scale::bytes_up_to(most);
    let headings = [
        "codec · allocator",
        "payload",
        "frames",
        "idle frames",
        "metadata",
        "resident",
        "RssAnon",
    ];
    let mut table = Table::new(1, &headings);
    for (name, row) in &rows {
        table.rows.push(vec![
            name.clone(),
            bytes::show(row.payload_bytes),
            bytes::show(row.frame_bytes),
            bytes::show(row.idle_frame_bytes),
            bytes::show(row.metadata_bytes),
            bytes::show(row.resident_bytes),
            bytes::show_change(row.rss_delta_bytes),
        ]);
    }
    let about = "Resident bytes after compaction, by codec and allocator";
    Some(Figure {
        id: "compacted",
        title: "Resident after compaction",
        about: "What each pool may hold when half of its pages were freed, it was compacted until nothing more could be won, and trimmed. The tick is the growth of the whole process's RssAnon since before the pool was built.".into(),
        charts: resident_chart("compacted-chart", about, &rows, &scale),
        key: resident_key(),
        table,
    })
}

fn resident_key() -> Vec<KeyEntry> {
    vec![
        KeyEntry { path: None, class: "packed", meaning: "payload" },
        KeyEntry { path: None, class: "raw", meaning: "rest of the frames: directories and holes" },
        KeyEntry { path: None, class: "same", meaning: "metadata" },
        KeyEntry { path: None, class: "neutral", meaning: "idle frames" },
        KeyEntry {
            path: Some(Mark::Tick.path()),
            class: "mean",
            meaning: "growth of RssAnon, by the kernel",
        },
    ]
}

fn resident(row: &Row) -> f64 {
    row.resident_bytes as f64
}

fn kernel(row: &Row) -> f64 {
    row.rss_delta_bytes.unwrap_or(0).max(0) as f64
}

fn resident_chart(id: &str, about: &str, rows: &[(String, &Row)], scale: &Scale) -> Markup {
    let mut plot = Plot::new(height_of(rows.len(), PITCH));
    let bottom = rows.len() as f64 * PITCH;
    plot.axis(scale, 4.0, bottom, |tick| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only shown")]
        bytes::show(tick as u64).replace(".0 ", " ")
    });
    for (line, (label, row)) in rows.iter().enumerate() {
        let y = line as f64 * PITCH;
        plot.text(scale.at(0.0), y + LABEL, Anchor::Start, "label halo", label);
        let shown = bytes::show(row.resident_bytes);
        plot.text(scale.at(f64::MAX), y + LABEL, Anchor::End, "value halo", &shown);
        let mut sum = 0;
        for (part, class, what) in [
            (row.payload_bytes, "packed", "payload"),
            (row.frame_bytes.saturating_sub(row.payload_bytes), "raw", "rest of the frames"),
            (row.metadata_bytes, "same", "metadata"),
            (row.idle_frame_bytes, "neutral", "idle frames"),
        ] {
            let ends = (scale.at(sum as f64), scale.at((sum + part) as f64));
            sum += part;
            if part > 0 {
                let tip = format!("{what}: {}", bytes::show(part));
                plot.bar(ends, (y + BAR.0, y + BAR.0 + BAR.1), class, &tip);
            }
        }
        if row.rss_delta_bytes.is_some() {
            let tip = format!("RssAnon: {}", bytes::show_change(row.rss_delta_bytes));
            plot.mark(scale.at(kernel(row)), y + BAR.0 + BAR.1 / 2.0, Mark::Tick, "mean", &tip);
        }
    }
    let description = "In each row a bar of payload, the rest of the frames, metadata and idle frames, and a tick for the growth of RssAnon. The table below has every figure.";
    plot.finish(id, about, description)
}

fn density_chart(index: usize, run: &[Row], scale: &Scale) -> Markup {
    let bottom = run.len() as f64 * PITCH;
    let mut plot = Plot::new(height_of(run.len(), PITCH));
    plot.axis(scale, 4.0, bottom, |tick| format!("{tick:.2}"));
    for (line, row) in run.iter().enumerate() {
        let y = line as f64 * PITCH;
        let middle = y + BAR.0 + BAR.1 / 2.0;
        plot.text(scale.at(0.0), y + LABEL, Anchor::Start, "label halo", title(row.phase));
        plot.text(
            scale.at(f64::MAX),
            y + LABEL,
            Anchor::End,
            "value halo",
            &format!("density {:.3}", row.density),
        );
        plot.line((scale.at(0.0), scale.at(1.0)), (middle, middle), "rail");
        let tip = format!("{}: density {:.3}", title(row.phase), row.density);
        plot.mark(scale.at(row.density), middle, Mark::Dot, "packed", &tip);
    }
    let description =
        "For each phase a dot at payload over frames. The table below has every figure.";
    plot.finish(&format!("density-{index}"), "Density by phase", description)
}

fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Fill => "filled",
        Phase::Churn => "churned",
        Phase::HalfFreed => "half freed",
        Phase::Compacted => "compacted",
    }
}

fn table(report: &EstimateReport) -> Table {
    let headings = [
        "codec · allocator",
        "phase",
        "pages",
        "payload",
        "frames",
        "metadata",
        "idle",
        "resident",
        "RssAnon",
        "density",
        "moved",
    ];
    let mut table = Table::new(2, &headings);
    for row in report.rows.iter().filter(|row| row.clusters.is_none()) {
        table.rows.push(vec![
            name(row),
            title(row.phase).to_owned(),
            crate::numbers::count(row.pages),
            bytes::show(row.payload_bytes),
            bytes::show(row.frame_bytes),
            bytes::show(row.metadata_bytes),
            bytes::show(row.idle_frame_bytes),
            bytes::show(row.resident_bytes),
            bytes::show_change(row.rss_delta_bytes),
            format!("{:.3}", row.density),
            bytes::show(row.moved_bytes),
        ]);
    }
    table
}
