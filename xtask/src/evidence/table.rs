//! The targets, the results, and their markdown.

use std::fmt::Write;

use super::estimate::{Phase, Report, Run};

/// Least payload bytes / frame bytes by phase.
const DENSITY_MIN: &[(Phase, f64)] =
    &[(Phase::Fill, 0.97), (Phase::Churn, 0.96), (Phase::Compacted, 0.97)];
/// Most metadata bytes for each object, while all objects live: tables keep their capacity after frees.
const METADATA_MAX: f64 = 24.0;
const METADATA_PHASES: &[Phase] = &[Phase::Fill, Phase::Churn];

/// A class with a codec and an allocator, through all phases.
#[derive(Debug)]
pub(super) struct Line {
    class: String,
    codec: String,
    allocator: String,
    runs: Vec<Run>,
}

impl Line {
    pub(super) fn of_report(class: &str, report: &Report) -> Vec<Self> {
        let mut lines: Vec<Self> = Vec::new();
        for run in &report.runs {
            match lines
                .iter_mut()
                .find(|line| line.codec == run.codec && line.allocator == run.allocator)
            {
                Some(line) => line.runs.push(run.clone()),
                None => lines.push(Self {
                    class: class.to_owned(),
                    codec: run.codec.clone(),
                    allocator: run.allocator.clone(),
                    runs: vec![run.clone()],
                }),
            }
        }
        lines
    }

    pub(super) fn passes(&self) -> bool {
        self.misses().is_empty()
    }

    fn run(&self, phase: Phase) -> Option<&Run> {
        self.runs.iter().find(|run| run.phase == phase)
    }

    fn misses(&self) -> Vec<String> {
        let mut misses = Vec::new();
        for &(phase, minimum) in DENSITY_MIN {
            match self.run(phase) {
                None => misses.push(format!("no {} in the report", name(phase))),
                Some(run) if run.objects() > 0 && run.density < minimum => {
                    misses.push(format!(
                        "density {:.4} < {minimum} after {}",
                        run.density,
                        name(phase)
                    ));
                }
                Some(_) => {}
            }
        }
        for run in &self.runs {
            let phase = name(run.phase);
            match run.metadata_per_object() {
                Some(metadata)
                    if METADATA_PHASES.contains(&run.phase) && metadata > METADATA_MAX =>
                {
                    misses.push(format!(
                        "{metadata:.1} metadata bytes > {METADATA_MAX} after {phase}"
                    ));
                }
                _ => {}
            }
            if !run.verified {
                misses.push(format!("not verified after {phase}"));
            }
            if run.limit_reached {
                misses.push(format!("limit reached in {phase}"));
            }
        }
        misses
    }

    fn cells(&self) -> [String; 15] {
        const ALL: [Phase; 4] = [Phase::Fill, Phase::Churn, Phase::HalfFreed, Phase::Compacted];
        let density = ALL.map(|phase| number(self.run(phase).map(|run| run.density), 4));
        let metadata =
            ALL.map(|phase| number(self.run(phase).and_then(Run::metadata_per_object), 1));
        let resident = [Phase::Fill, Phase::Churn, Phase::Compacted]
            .map(|phase| number(self.run(phase).and_then(Run::resident_over_accounted), 3));
        let misses = self.misses();
        let verdict = if misses.is_empty() {
            "pass".to_owned()
        } else {
            format!("**missed**: {}", misses.join("; "))
        };
        let head = [self.class.clone(), self.codec.clone(), self.allocator.clone()];
        let cells =
            head.into_iter().chain(density).chain(metadata).chain(resident).chain([verdict]);
        cells.collect::<Vec<_>>().try_into().expect("3 + 4 + 4 + 3 + 1 cells")
    }
}

pub(super) fn markdown(lines: &[Line]) -> String {
    const HEAD: [&str; 15] = [
        "class",
        "codec",
        "allocator",
        "density: fill",
        "churn",
        "half freed",
        "compacted",
        "metadata/object: fill",
        "churn",
        "half freed",
        "compacted",
        "RssAnon/accounted: fill",
        "churn",
        "compacted",
        "verdict",
    ];
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut row = |cells: &[&str]| _ = writeln!(text, "| {} |", cells.join(" | "));
    row(&HEAD);
    let rules: Vec<&str> = (0..HEAD.len())
        .map(|column| if (3..14).contains(&column) { "---:" } else { "---" })
        .collect();
    row(&rules);
    for line in lines {
        row(&line.cells().each_ref().map(String::as_str));
    }
    let asked: Vec<_> = DENSITY_MIN
        .iter()
        .map(|(phase, least)| format!("{least} after {}", name(*phase)))
        .collect();
    let judged: Vec<_> = METADATA_PHASES.iter().map(|phase| name(*phase)).collect();
    let passed = lines.iter().filter(|line| line.passes()).count();
    let _ = write!(
        text,
        "\nAsked for: density at least {}; at most {METADATA_MAX} metadata bytes for each object after {}; every page \
         read back intact.\n{passed} of {} rows pass.\n",
        asked.join(", "),
        judged.join(" and "),
        lines.len(),
    );
    text
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Fill => "fill",
        Phase::Churn => "churn",
        Phase::HalfFreed => "half freed",
        Phase::Compacted => "compacted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(phase: Phase, density: f64) -> Run {
        Run {
            codec: "lz4".into(),
            allocator: "nbud".into(),
            phase,
            pages: 100,
            same_filled: 20,
            frame_bytes: 40_960,
            metadata_bytes: 1600,
            idle_frame_bytes: 0,
            density,
            rss_delta_bytes: 42_560,
            verified: true,
            limit_reached: false,
        }
    }

    fn lifecycle(densities: [f64; 4]) -> Vec<Run> {
        let phases = [Phase::Fill, Phase::Churn, Phase::HalfFreed, Phase::Compacted];
        phases.into_iter().zip(densities).map(|(phase, density)| run(phase, density)).collect()
    }

    fn line(runs: Vec<Run>) -> Line {
        let mut lines = Line::of_report("json", &Report { runs });
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    #[test]
    fn a_row_that_meets_everything_passes() {
        let line = line(lifecycle([0.97, 0.96, 0.5, 0.97]));
        assert!(line.passes(), "{:?}", line.misses());
        let text = markdown(&[line]);
        let row = "| json | lz4 | nbud | 0.9700 | 0.9600 | 0.5000 | 0.9700 | 20.0 | 20.0 | 20.0 | 20.0 | 1.000 | 1.000 \
                   | 1.000 | pass |";
        assert_eq!(text.lines().nth(2), Some(row));
        assert!(text.ends_with("1 of 1 rows pass.\n"), "{text}");
        let widths: Vec<_> = text.lines().take(3).map(|line| line.matches('|').count()).collect();
        assert_eq!(widths, [16, 16, 16]);
    }

    #[test]
    fn each_miss_is_named() {
        assert_eq!(
            line(lifecycle([0.9699, 0.96, 0.5, 0.97])).misses(),
            ["density 0.9699 < 0.97 after fill"]
        );
        assert_eq!(
            line(lifecycle([0.97, 0.95, 0.5, 0.97])).misses(),
            ["density 0.9500 < 0.96 after churn"]
        );
        assert_eq!(
            line(lifecycle([0.97, 0.96, 0.5, 0.9])).misses(),
            ["density 0.9000 < 0.97 after compacted"]
        );
        assert_eq!(
            line(lifecycle([0.97, 0.96, 0.5, 0.97])[..3].to_vec()).misses(),
            ["no compacted in the report"]
        );

        let changed = |change: fn(&mut Run)| {
            let mut runs = lifecycle([0.97, 0.96, 0.5, 0.97]);
            change(&mut runs[1]);
            line(runs).misses()
        };
        assert_eq!(
            changed(|run| run.metadata_bytes = 80 * 25),
            ["25.0 metadata bytes > 24 after churn"]
        );
        assert_eq!(changed(|run| run.verified = false), ["not verified after churn"]);
        assert_eq!(changed(|run| run.limit_reached = true), ["limit reached in churn"]);
        assert_eq!(
            changed(|run| (run.same_filled, run.density) = (100, 0.0)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn codecs_and_allocators_have_rows_of_their_own() {
        let mut runs = lifecycle([0.97, 0.96, 0.5, 0.97]);
        runs.push(Run { codec: "zstd:1".into(), ..run(Phase::Fill, 0.97) });
        let lines = Line::of_report("all", &Report { runs });
        assert_eq!(
            lines.iter().map(|line| (line.codec.as_str(), line.runs.len())).collect::<Vec<_>>(),
            [("lz4", 4), ("zstd:1", 1)]
        );
        assert!(markdown(&lines).ends_with("1 of 2 rows pass.\n"));
    }
}
