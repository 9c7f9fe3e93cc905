//! What page files take in a store of default settings: as they were put, and after idle passes, beside the kernel's zram.
//! And what a get costs, by the form of the page.
//!
//! `cargo bench -p pagefold-store --bench tiers -- CORPUS [/dev/zramN]`: `CORPUS` is a directory of `cargo xtask corpus`.
//! The device is prepared by the caller (`comp_algorithm`, `disksize` of at least the largest file); its old content is
//! lost, and root is needed. For each file:
//!
//! - *first*: all pages are put, as fast as the store takes them, and staging is flushed; many went through the codec before
//!   the store had trained its own. *put*: all pages are put twice more. *idle*: then two passes, so
//!   that no page was used between them. Each is counted as original bytes over bytes of frames and metadata
//!   ([`StoreStats::effective_ratio`]); zram as `orig_data_size` over `mem_used_total` of its `mm_stat`.
//! - *get*: of every page that is no repeated word, in an order that is mixed; median and 99th percentile, by form.
//!
//! Every page is read back and compared in each state, and the store validated. The geometric mean is over all files but
//! `incompressible`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are the output")]

use std::{
    env,
    error::Error,
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use pagefold_codec::same_filled;
use pagefold_procfs::{Process, rss_anon};
use pagefold_store::{Space, SpaceConfig, Store, StoreStats};
use pagefold_testkit::seed::Seed;
use rand::seq::SliceRandom as _;

type Failure = Box<dyn Error>;

const PAGE_BYTES: usize = 4096;

struct Row {
    name: String,
    first: f64,
    put: f64,
    idle: f64,
    zram: Option<f64>,
    clustered: f64,
    pass: Duration,
    gets: Vec<(&'static str, [f64; 2])>,
}

fn pages(file: &[u8]) -> impl Iterator<Item = (u64, &[u8; PAGE_BYTES])> {
    (0..).zip(file.as_chunks::<PAGE_BYTES>().0)
}

fn check(space: &Space, file: &[u8]) {
    let mut back = [0; PAGE_BYTES];
    for (key, page) in pages(file) {
        space.get(key, &mut back).expect("there");
        assert!(back == *page, "page {key} is another one");
    }
}

/// In microseconds: median and 99th percentile of gets.
fn gets(space: &Space, keys: &[u64]) -> [f64; 2] {
    let mut back = [0; PAGE_BYTES];
    let mut times: Vec<f64> = keys
        .iter()
        .map(|&key| {
            let begin = Instant::now();
            space.get(key, &mut back).expect("there");
            begin.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

/// Waits until a training that the pages made due is over.
fn rest(store: &Store) {
    let mut last = store.stats().training;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = store.stats().training;
        if now == last {
            return;
        }
        last = now;
    }
}

fn measure(path: &Path, device: Option<&Device>) -> Result<Row, Failure> {
    let file = fs::read(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let count = file.len() / PAGE_BYTES;
    let mut keys: Vec<u64> = pages(&file)
        .filter(|(_, page)| same_filled(&page[..]).is_none())
        .map(|(key, _)| key)
        .collect();
    keys.shuffle(&mut Seed::new(1).rng(0));
    let resident = rss_anon(Process::Current)?;
    let store = Store::builder().limit(1 << 30).build()?;
    let space = store.space(SpaceConfig::persistent(count as u64))?;
    let put_all = || {
        for (key, page) in pages(&file) {
            space.put(key, page)?;
        }
        store.flush();
        Ok::<(), Failure>(())
    };
    let compacted = || {
        while store.compact(1 << 20).more {}
        store.shrink(0);
    };
    put_all()?;
    rest(&store);
    compacted();
    let first = store.stats();
    for _ in 0..2 {
        put_all()?;
        rest(&store);
    }
    compacted();
    let ratio = |stats: &StoreStats| stats.effective_ratio();
    let put = store.stats();
    let single = gets(&space, &keys);
    check(&space, &file);
    store.validate()?;

    store.pause_workers();
    store.idle_pass();
    let begin = Instant::now();
    let report = store.idle_pass();
    let pass = begin.elapsed();
    let idle = store.stats();
    let grown = rss_anon(Process::Current)?.saturating_sub(resident);
    let clustered = gets(&space, &keys);
    check(&space, &file);
    store.validate()?;
    println!("{name}, idle: {grown} bytes more are resident in the process than before the store");
    for (state, stats) in [("put", &put), ("idle", &idle), ("idle, read", &store.stats())] {
        println!(
            "{name}, {state}: bytes of objects {}, frames {}, metadata {}, reserved {}",
            stats.payload_bytes, stats.pool_bytes, stats.metadata_bytes, stats.reserved_bytes
        );
    }
    println!(
        "{name}: {count} pages; training of pages {:?}; of clusters {:?}; pass {report:?}",
        (put.training.adopted, put.training.current),
        (idle.idle.training.adopted, idle.idle.training.current),
    );
    Ok(Row {
        zram: device.map(|device| device.ratio(&file)).transpose()?,
        name,
        first: ratio(&first),
        put: ratio(&put),
        idle: ratio(&idle),
        clustered: idle.idle.pages as f64 / count as f64,
        pass,
        gets: vec![("single", single), ("cluster", clustered)],
    })
}

struct Device {
    file: File,
    stat: PathBuf,
}

#[repr(align(4096))]
struct Aligned([u8; 64 << 10]);

impl Device {
    fn open(path: &str) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_DIRECT);
        let name = Path::new(path).file_name().ok_or("a device")?;
        let stat = Path::new("/sys/block").join(name).join("mm_stat");
        Ok(Self { file: options.open(path)?, stat })
    }

    /// `orig_data_size` and `mem_used_total`.
    fn used(&self) -> Result<[f64; 2], Failure> {
        let stat = fs::read_to_string(&self.stat)?;
        let mut fields = stat.split_whitespace().map(str::parse::<f64>);
        let (original, used) = (fields.next().ok_or("orig")??, fields.nth(1).ok_or("used")??);
        Ok([original, used])
    }

    /// The device is emptied first, by a discard of what was there.
    fn ratio(&self, file: &[u8]) -> Result<f64, Failure> {
        let done = std::process::Command::new("blkdiscard").arg(self.path()?).status()?;
        if !done.success() {
            return Err("blkdiscard failed".into());
        }
        let [before, _] = self.used()?;
        assert_eq!(before, 0.0, "the device is empty");
        let mut buffer = Box::new(Aligned([0; 64 << 10]));
        let len = file.len() / PAGE_BYTES * PAGE_BYTES;
        for (at, piece) in (0..).step_by(64 << 10).zip(file[..len].chunks(64 << 10)) {
            buffer.0[..piece.len()].copy_from_slice(piece);
            self.file.write_all_at(&buffer.0[..piece.len()], at)?;
        }
        let [original, used] = self.used()?;
        assert_eq!(original, len as f64, "every page was written");
        Ok(original / used)
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        let name = self.stat.parent().and_then(Path::file_name).ok_or("a device")?;
        Ok(Path::new("/dev").join(name))
    }
}

fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len().max(1) as f64).exp()
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> =
        env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some(corpus) = arguments.first() else {
        println!("no corpus given: nothing is measured");
        return Ok(());
    };
    let device = arguments.get(1).map(|path| Device::open(path)).transpose()?;
    let mut paths: Vec<PathBuf> =
        fs::read_dir(corpus)?.map(|entry| Ok(entry?.path())).collect::<Result<_, Failure>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pages"));
    paths.sort();
    let rows = paths
        .iter()
        .map(|path| measure(path, device.as_ref()))
        .collect::<Result<Vec<Row>, Failure>>()?;
    println!(
        "\n| file | first | put | idle | zram | first over zram | put over zram | idle over zram | clustered | pass s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let (mut firsts, mut puts, mut idles) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let over = |ratio: f64| row.zram.map(|zram| ratio / zram);
        if row.name != "incompressible" {
            firsts.extend(over(row.first));
            puts.extend(over(row.put));
            idles.extend(over(row.idle));
        }
        let text = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} | {:.2} | {:.1} |",
            row.name,
            row.first,
            row.put,
            row.idle,
            text(row.zram),
            text(over(row.first)),
            text(over(row.put)),
            text(over(row.idle)),
            row.clustered,
            row.pass.as_secs_f64(),
        );
    }
    if !puts.is_empty() {
        println!(
            "| geometric mean | | | | | {:.3} | {:.3} | {:.3} | | |",
            geometric_mean(&firsts),
            geometric_mean(&puts),
            geometric_mean(&idles)
        );
    }
    println!("\n| file | form | get us, median | p99 |\n|---|---|---|---|");
    for row in &rows {
        for (form, [median, high]) in &row.gets {
            println!("| {} | {form} | {median:.2} | {high:.2} |", row.name);
        }
    }
    Ok(())
}
