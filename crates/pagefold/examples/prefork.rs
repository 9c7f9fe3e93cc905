//! The workers of a Python server that forks: their private pages in a store, with the server as their base, and without one.
//!
//! `cargo run --release -p pagefold --example prefork [WORKERS]`: Linux, with `python3`.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
};

use pagefold::{BaseSource, Page, SpaceConfig, Store};

/// Loads records, forks, and each worker serves from them.
const SERVER: &str = r#"
import json, os, random, sys, time
rng = random.Random(1)
words = "account amount archive balance billing branch cache catalog channel client column company".split()
rows = [json.loads(json.dumps({"id": n, "tags": rng.sample(words, 3), "note": " ".join(rng.choices(words, k=12)),
        "balance": rng.random()})) for n in range(60000)]
at, done = os.pipe()
pids = []
for worker in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        rng.seed(worker)
        sessions = {}
        for request in range(3000):
            found = rng.sample(rows, 8)
            found[0]["balance"] += 1
            sessions[rng.randrange(500)] = json.dumps(found[:2])
        os.write(done, b"d")
        while True:
            time.sleep(100)
    pids.append(pid)
for pid in pids:
    os.read(at, 1)
print(os.getpid(), *pids, flush=True)
sys.stdin.read()
for pid in pids:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"#;

const PRESENT: u64 = 1 << 63;
const OF_FILE_OR_SHARED: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;

/// Resident anonymous pages by address; of a worker only those that it alone has.
fn pages(pid: &str, exclusive: bool) -> Result<Vec<(u64, Page)>, Box<dyn Error>> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
    let mut pages = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let (range, rest) = line.split_once(' ').ok_or("a line of the kernel's")?;
        let (start, end) = range.split_once('-').ok_or("a range")?;
        if !rest.starts_with('r') || line.contains("[v") {
            continue;
        }
        let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
        for number in start / 4096..end / 4096 {
            let mut entry = [0; 8];
            pagemap.read_exact_at(&mut entry, number * 8)?;
            let entry = u64::from_le_bytes(entry);
            let is_wanted = entry & PRESENT != 0
                && entry & OF_FILE_OR_SHARED == 0
                && (!exclusive || entry & EXCLUSIVE != 0);
            let mut page = [0; 4096];
            if is_wanted && memory.read_exact_at(&mut page, number * 4096).is_ok() {
                pages.push((number, page));
            }
        }
    }
    Ok(pages)
}

/// What the workers take of a store, in bytes of objects; every page is read back.
fn put(
    store: &Store,
    config: impl Fn() -> SpaceConfig,
    workers: &[Vec<(u64, Page)>],
) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for pages in workers {
        let space = store.space(config())?;
        for (number, page) in pages {
            space.put(*number, page)?;
        }
        store.flush();
        for (number, page) in pages {
            let mut back = [0; 4096];
            space.get(*number, &mut back)?;
            if back != *page {
                return Err(format!("page {number:#x} is another one").into());
            }
        }
        bytes += space.stats().object_bytes;
    }
    Ok(bytes)
}

#[expect(clippy::print_stdout, reason = "it is the program's output")]
fn main() -> Result<(), Box<dyn Error>> {
    let workers = std::env::args().nth(1).unwrap_or_else(|| "4".to_owned());
    let mut command = Command::new("python3");
    let command =
        command.args(["-c", SERVER, &workers]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = command.spawn()?;
    let mut line = String::new();
    let output = server.stdout.take().ok_or("a pipe")?;
    BufReader::new(output).read_line(&mut line)?;
    let mut pids = line.split_whitespace();
    let template = pages(pids.next().ok_or("the server has ended")?, false)?;
    let clones = pids.map(|pid| pages(pid, true)).collect::<Result<Vec<_>, _>>()?;
    // The end of its input ends the server, and it its workers.
    drop(server.stdin.take());
    server.wait()?;

    let store = Store::builder().limit(2 << 30).build()?;
    let image: Vec<u8> = template.iter().flat_map(|(_, page)| *page).collect();
    let base = store.base(BaseSource::memory(image).name("server"))?;
    let on_base = || {
        // Key: the number of a page in the address space.
        let config = SpaceConfig::persistent(1 << 52).on(&base);
        let mut at = 0;
        // A range for each run of neighbours.
        template.chunk_by(|one, next| one.0 + 1 == next.0).fold(config, |config, run| {
            let first = at;
            at += run.len() as u64;
            config.map(run[0].0..run[0].0 + run.len() as u64, first)
        })
    };
    let with = put(&store, on_base, &clones)?;
    let without = put(&store, || SpaceConfig::persistent(1 << 52), &clones)?;
    let pages: usize = clones.iter().map(Vec::len).sum();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "a server of {:.0} MiB, {} workers with {:.0} MiB of their own",
        mib(template.len() as u64 * 4096),
        clones.len(),
        mib(pages as u64 * 4096)
    );
    println!(
        "compressed: {:.1} MiB, {:.1}x smaller",
        mib(without),
        (pages * 4096) as f64 / without.max(1) as f64
    );
    println!(
        "on the server as base: {:.2} MiB, {:.1}x smaller",
        mib(with),
        (pages * 4096) as f64 / with.max(1) as f64
    );
    Ok(())
}
