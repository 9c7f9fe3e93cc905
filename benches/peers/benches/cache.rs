//! The cache beside moka and quick_cache, each in as much resident memory.
//!
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench cache -- [--mib N] [--keys N] [--skew X] [--warm N] [--gets N]
//! [--seed N]` prints Markdown.
//!
//! Each contender runs in a fresh process. How much a cache is allowed (a limit, or a weight) is not how much it takes, so
//! it runs again with another allowance until RssAnon has grown by `--mib` to 3 % at its end, at most six times; the run
//! that came nearest is the one in the table.
//! Hit rate, gets and inserts a second (the time of these calls, without making and checking values), and how long a get takes
//! that finds something; with one thread, then with two. Every value is checked.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    process::{Command, ExitCode},
};

use pagefold_peers::{
    cached::{self, Settings},
    caches::{self, Moka, Pagefold, Quick},
    figures::Figures,
};

const PEERS: [&str; 5] =
    ["pagefold", "pagefold, lz4", "pagefold, zstd:1 with a dictionary", "moka", "quick_cache"];
/// Runs until a cache takes as much as it should.
const TRIES: usize = 6;
const NEAR: f64 = 0.03;

/// One run, in this process.
fn measure(peer: &str, allowed: u64, settings: &Settings) -> Result<Figures, Box<dyn Error>> {
    match peer {
        "pagefold" => cached::run(settings, || Pagefold::new(allowed, "", None)),
        "pagefold, lz4" => cached::run(settings, || Pagefold::new(allowed, "lz4", None)),
        "pagefold, zstd:1 with a dictionary" => {
            let dictionary = caches::dictionary(settings)?;
            cached::run(settings, || Pagefold::new(allowed, "zstd:1", dictionary.as_ref()))
        }
        "moka" => cached::run(settings, || Ok(Moka::new(allowed))),
        "quick_cache" => cached::run(settings, || Ok(Quick::new(allowed))),
        other => Err(format!("no cache is called {other}").into()),
    }
}

/// One run, in a process of its own.
fn in_child(peer: &str, allowed: f64, settings: &Settings) -> Result<Figures, Box<dyn Error>> {
    let Settings { keys, skew, warm, gets, seed } = settings;
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--child", peer, "--allowed", &(allowed as u64).to_string()]);
    for (name, value) in [
        ("--keys", keys.to_string()),
        ("--skew", skew.to_string()),
        ("--warm", warm.to_string()),
        ("--gets", gets.to_string()),
        ("--seed", seed.to_string()),
    ] {
        child.args([name, &value]);
    }
    let output = child.output()?;
    if !output.status.success() {
        return Err(format!("{peer}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.parse()?)
}

/// The run in which the cache took about `target` bytes, or came nearest to it.
fn calibrated(peer: &str, target: f64, settings: &Settings) -> Result<Figures, Box<dyn Error>> {
    let mut allowed = target * 0.9;
    let mut nearest: Option<(f64, Figures)> = None;
    for _ in 0..TRIES {
        let figures = in_child(peer, allowed, settings)?;
        let rss = figures.get("rss");
        let off = (rss / target - 1.0).abs();
        if nearest.as_ref().is_none_or(|(least, _)| off < *least) {
            nearest = Some((off, figures));
        }
        if off < NEAR {
            break;
        }
        allowed *= target / rss;
    }
    let (_, figures) = nearest.ok_or("no run")?;
    Ok(figures)
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut mib, mut child, mut allowed) = (256.0_f64, None, 0);
    let mut settings =
        Settings { keys: 1_000_000, skew: 0.9, warm: 2_000_000, gets: 2_000_000, seed: 1 };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--bench" {
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--mib" => mib = value.parse()?,
            "--keys" => settings.keys = value.parse()?,
            "--skew" => settings.skew = value.parse()?,
            "--warm" => settings.warm = value.parse()?,
            "--gets" => settings.gets = value.parse()?,
            "--seed" => settings.seed = value.parse()?,
            "--child" => child = Some(value),
            "--allowed" => allowed = value.parse()?,
            other => return Err(format!("no option is called {other}").into()),
        }
    }
    if let Some(peer) = child {
        println!("{}", measure(&peer, allowed, &settings)?);
        return Ok(());
    }
    let Settings { keys, skew, warm, gets, seed } = settings;
    println!(
        "{mib} MiB resident each; {keys} keys, Zipf {skew}; {warm} gets to warm up, {gets} measured; seed {seed}.\n"
    );
    println!(
        "| cache | MiB resident | hit rate | calls a second, 1 thread | get p50, us | p99 | calls a second, 2 threads | get p50, us | p99 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for peer in PEERS {
        let figures = calibrated(peer, mib * f64::from(1 << 20), &settings)?;
        print!(
            "| {peer} | {:.1} | {:.1} % |",
            figures.get("rss") / f64::from(1 << 20),
            figures.get("hits_1") * 100.0
        );
        for threads in [1, 2] {
            let get = |name: &str| figures.get(&format!("{name}_{threads}"));
            let (p50, p99) = (get("p50_ns") / 1000.0, get("p99_ns") / 1000.0);
            print!(" {:.0} | {p50:.2} | {p99:.2} |", get("rate"));
        }
        println!();
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cache: {error}");
            ExitCode::FAILURE
        }
    }
}
