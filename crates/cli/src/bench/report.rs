//! The report: a table for one thread and one beside a busy thread, or JSON.

use std::{fmt::Write as _, io};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    config::BenchConfig,
    out_and_back::{Figures, OutAndBack},
    peer::Peer,
    place::Ran,
};
use crate::{
    bytes,
    console::{self, Output, OutputError},
};

/// A figure: its name, and where it is.
type Named = (&'static str, fn(&Figures) -> f64);

const VERSION: u32 = 1;

/// A figure of the peer, or why there is none.
#[derive(Debug)]
pub(super) enum Outcome {
    /// And how often the kernel killed the process before one finished.
    Ran(Ran, u32),
    Skipped(String),
}

#[derive(Serialize)]
struct RanAndKilled<'r> {
    #[serde(flatten)]
    ran: &'r Ran,
    killed: u32,
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ran(ran, killed) => RanAndKilled { ran, killed: *killed }.serialize(serializer),
            Self::Skipped(why) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("skipped", why)?;
                map.end()
            }
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) workload: &'static str,
    pub(super) memory: Ran,
    /// One for each share that was reached.
    pub(super) region: Vec<Ran>,
    pub(super) zram: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) busy: bool,
    pub(super) out_and_back: Vec<OutAndBack>,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    data: String,
    bytes: usize,
    mode: &'static str,
    /// Of regions.
    codec: String,
    shares: Vec<String>,
    /// The peer's algorithm; `None` where it is skipped.
    zram: Option<String>,
    zram_skipped: Option<String>,
    pub(super) interrupted: bool,
    pub(super) tables: Vec<Table>,
}

impl Report {
    pub(super) fn new(config: &BenchConfig, mode: &'static str, bytes: usize, peer: &Peer) -> Self {
        let files: Vec<String> =
            config.files.iter().map(|file| file.display().to_string()).collect();
        Self {
            version: VERSION,
            data: if files.is_empty() {
                "the generated corpus".to_owned()
            } else {
                files.join(", ")
            },
            bytes,
            mode,
            codec: config.codec.map_or_else(|| "balanced".to_owned(), |codec| codec.to_string()),
            shares: config.shares.iter().map(ToString::to_string).collect(),
            zram: config.zram.clone().filter(|_| peer.missing().is_none()),
            zram_skipped: peer.missing().map(ToOwned::to_owned),
            interrupted: false,
            tables: Vec::new(),
        }
    }

    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn print(&self, output: Output) -> Result<(), OutputError> {
        let text = if output.json {
            let mut text = serde_json::to_string_pretty(self).map_err(io::Error::from)?;
            text.push('\n');
            text
        } else {
            self.text()
        };
        console::print(text.as_bytes())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} of {}; regions: mode {}, {}; every answer, and the data that each run left, is compared\n",
            bytes::show(self.bytes as u64),
            self.data,
            self.mode,
            self.codec
        );
        match (&self.zram, &self.zram_skipped) {
            (Some(algorithm), _) => {
                let _ = writeln!(
                    text,
                    "zram swap: {algorithm}, page-cluster 0; memory held to the same limit by a cgroup"
                );
            }
            (None, Some(why)) => {
                let _ = writeln!(text, "zram swap: skipped: {why}");
            }
            (None, None) => {}
        }
        for table in &self.tables {
            self.table(table, &mut text);
        }
        if self.interrupted {
            text.push_str("\ninterrupted; these are the figures until then\n");
        }
        text
    }

    fn table(&self, table: &Table, text: &mut String) {
        let beside = if table.busy { "beside a busy thread" } else { "one thread" };
        let rows: [Named; 5] = [
            ("page out, dirty", |one| one.out_dirty_us),
            ("touch, random", |one| one.touch_random_us),
            ("page out, clean", |one| one.out_clean_us),
            ("touch, sequential", |one| one.touch_sequential_us),
            ("bytes before / bytes held", |one| one.ratio),
        ];
        let _ = write!(text, "\n{beside}: microseconds a page\n{:26}", "");
        for place in &table.out_and_back {
            let _ = write!(text, " {:>12}", place.place);
        }
        for (name, of) in rows {
            let _ = write!(text, "\n{name:26}");
            for place in &table.out_and_back {
                let cell = place.figures.as_ref().map(|figures| format!("{:.2}", of(figures)));
                let _ = write!(text, " {:>12}", cell.as_deref().unwrap_or("skipped"));
            }
        }
        text.push('\n');
        // The reason for all is at the top.
        let skipped = table
            .out_and_back
            .iter()
            .filter_map(|place| Some((place.place, place.skipped.as_ref()?)));
        for (place, why) in skipped.filter(|_| self.zram_skipped.is_none()) {
            let _ = writeln!(text, "{place}: skipped: {why}");
        }
        let _ = write!(
            text,
            "\n{beside}: seconds (times memory, faults)\n{:20} {:10} {:>9}",
            "", "", "memory"
        );
        for share in &self.shares {
            let _ = write!(text, " {share:>24}");
        }
        text.push('\n');
        let mut notes = Vec::new();
        for row in &table.rows {
            let _ = write!(text, "{:20} {:10} {:9.3}", row.workload, "region", row.memory.seconds);
            for ran in &row.region {
                let _ = write!(text, " {:>24}", cell(ran, &row.memory));
            }
            text.push('\n');
            if self.zram_skipped.is_some() {
                continue;
            }
            let _ = write!(text, "{:20} {:10} {:9}", "", "zram swap", "");
            for outcome in &row.zram {
                let shown = match outcome {
                    Outcome::Ran(ran, killed) => {
                        if *killed > 0 {
                            notes.push(format!(
                                "{}: zram swap: {killed} tries before were killed for their limit",
                                row.workload
                            ));
                        }
                        cell(ran, &row.memory)
                    }
                    Outcome::Skipped(why) => {
                        notes.push(format!("{}: zram swap: skipped: {why}", row.workload));
                        "skipped".to_owned()
                    }
                };
                let _ = write!(text, " {shown:>24}");
            }
            text.push('\n');
        }
        for note in notes {
            let _ = writeln!(text, "{note}");
        }
    }
}

fn cell(ran: &Ran, memory: &Ran) -> String {
    let times = ran.seconds / memory.seconds;
    format!("{:.3} ({times:.1}x, {})", ran.seconds, ran.faults)
}
