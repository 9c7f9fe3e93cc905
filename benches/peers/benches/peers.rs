//! Runs each contender in processes of its own and prints two tables in Markdown: times, and resident memory.
#![forbid(unsafe_code)]

use std::{
    fs,
    process::{Command, ExitCode, Stdio},
};

use pagefold_peers::figures::Figures;

/// Names, and the programs built with this one.
const CONTENDERS: [(&str, &str); 4] = [
    ("nbud", env!("CARGO_BIN_EXE_nbud")),
    ("system", env!("CARGO_BIN_EXE_system")),
    ("mimalloc", env!("CARGO_BIN_EXE_mimalloc")),
    ("jemalloc", env!("CARGO_BIN_EXE_jemalloc")),
];

/// Operations, and what stands over their column.
const OPERATIONS: [(&str, &str); 5] = [
    ("fill_ns", "store"),
    ("churn_ns", "free + store"),
    ("free_ns", "free"),
    ("read_first_ns", "read, first byte"),
    ("read_all_ns", "read, all bytes"),
];

const PHASES: [(&str, &str); 4] = [
    ("fill", "filled"),
    ("churn", "churned"),
    ("half_freed", "half freed"),
    ("given_back", "given back"),
];

struct Options {
    mib: u64,
    rounds: usize,
    seed: u64,
}

fn main() -> ExitCode {
    match options().and_then(|options| measure(&options).map(|found| print(&options, &found))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { mib: 256, rounds: 5, seed: 7 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        // `cargo bench` adds it to every benchmark.
        if word == "--bench" {
            continue;
        }
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let value = match word.as_str() {
            "--mib" | "--rounds" | "--seed" => number(),
            _ => {
                return Err(format!("unknown option {word}; known: --mib N, --rounds N, --seed N"));
            }
        };
        let value =
            value.filter(|&value| value > 0).ok_or(format!("{word} needs a number above 0"))?;
        match word.as_str() {
            "--mib" => options.mib = value,
            "--rounds" => {
                options.rounds = usize::try_from(value).map_err(|error| error.to_string())?
            }
            _ => options.seed = value,
        }
    }
    Ok(options)
}

/// The figures of each contender, round by round.
fn measure(options: &Options) -> Result<Vec<Vec<Figures>>, String> {
    let mut found = vec![Vec::new(); CONTENDERS.len()];
    for round in 0..options.rounds {
        for (index, (name, program)) in CONTENDERS.iter().enumerate() {
            eprintln!("round {} of {}: {name}", round + 1, options.rounds);
            let ran = Command::new(program)
                .args([options.mib.to_string(), options.seed.to_string()])
                .stderr(Stdio::inherit())
                .output()
                .map_err(|error| format!("{name}: {error}"))?;
            if !ran.status.success() {
                return Err(format!("{name} failed: {}", ran.status));
            }
            let figures = String::from_utf8_lossy(&ran.stdout)
                .parse::<Figures>()
                .map_err(|word| format!("{name} printed `{word}`"))?;
            found[index].push(figures);
        }
    }
    // The same trace: otherwise nothing can be compared.
    for (phase, _) in PHASES {
        let payload = |figures: &Figures| figures.get(&format!("{phase}_payload"));
        let mut all = found.iter().flatten().map(payload);
        let first = all.next().unwrap_or_default();
        if all.any(|other| other != first) {
            return Err(format!("the contenders hold different payloads after {phase}"));
        }
    }
    Ok(found)
}

fn print(options: &Options, found: &[Vec<Figures>]) {
    let Options { mib, rounds, seed } = options;
    let huge =
        fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    println!(
        "{mib} MiB of objects, {rounds} rounds, seed {seed}, one thread; huge pages: {}\n",
        huge.trim()
    );
    println!("Nanoseconds an operation: median of the rounds (least to greatest)\n");
    row("", OPERATIONS.map(|(_, heading)| heading.to_owned()));
    row("---", OPERATIONS.map(|_| "---:".to_owned()));
    for ((name, _), rounds) in CONTENDERS.iter().zip(found) {
        row(name, OPERATIONS.map(|(key, _)| spread(rounds, key)));
    }
    println!("\nPayload / growth of RssAnon: median of the rounds (MiB resident)\n");
    row("", PHASES.map(|(_, heading)| heading.to_owned()));
    row("---", PHASES.map(|_| "---:".to_owned()));
    for ((name, _), rounds) in CONTENDERS.iter().zip(found) {
        row(name, PHASES.map(|(phase, _)| efficiency(rounds, phase)));
    }
    let payload =
        PHASES.map(|(phase, _)| mebibytes(median(found[0].iter(), &format!("{phase}_payload"))));
    row("payload, MiB", payload);
}

fn row<const N: usize>(name: &str, cells: [String; N]) {
    println!("| {name} | {} |", cells.join(" | "));
}

fn spread(rounds: &[Figures], key: &str) -> String {
    let values = || rounds.iter().map(|figures| figures.get(key));
    let (least, greatest) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    format!("{:.0} ({least:.0} to {greatest:.0})", median(rounds.iter(), key))
}

fn efficiency(rounds: &[Figures], phase: &str) -> String {
    let payload = median(rounds.iter(), &format!("{phase}_payload"));
    let rss = median(rounds.iter(), &format!("{phase}_rss"));
    format!("{:.3} ({})", payload / rss.max(1.0), mebibytes(rss))
}

fn mebibytes(bytes: f64) -> String {
    format!("{:.1}", bytes / f64::from(1 << 20))
}

fn median<'a>(rounds: impl Iterator<Item = &'a Figures>, key: &str) -> f64 {
    let mut values: Vec<_> = rounds.map(|figures| figures.get(key)).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}
