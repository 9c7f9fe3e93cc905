//! What clones take on a base, and how long puts and gets of their pages take, beside `zstd:1` alone.
//!
//! `cargo bench -p pagefold-store --bench bases -- DIR`: `DIR` has the sets of `cargo xtask corpus clones`. For each set:
//!
//! - *changed*: pages of the clones that differ from the template's page at their address. *private*: these and the pages
//!   at addresses that the template does not have. Pages equal to the template's are counted apart: they take no memory.
//! - *zstd:1*: a store with that codec and nothing else. *on a base*: a store of the default codec, the template as a base from
//!   a file, from memory, and locked in memory. Staging is off in both, so a put runs the codec.
//! - *plain*, with the base from memory: the same pages in a space without one, by the default codec of the store.
//! - *codec alone*: the mean over all changed pages, in memory, without a store. With a base: as a space on one does it, but with
//!   zstd:1 for the pages that stay plain.
//! - Times are processor time of the thread, the whole call, in turns of 256 pages; *put* is the first put of each page, and the
//!   median turn of *over* puts over these. In microseconds a page. Every page is read back and
//!   compared before the times are taken, the store validated.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables are the output")]

use std::{
    collections::HashMap,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use pagefold_codec::{CodecSpec, Deltas};
use pagefold_store::{Base, BaseSource, Space, SpaceConfig, Store};
use rustix::time::{ClockId, clock_gettime};

type Failure = Box<dyn Error>;
type Page = [u8; 4096];
type Opens<'a> = dyn Fn(&Store) -> Result<Base, Failure> + 'a;

const TURN: usize = 256;
const ROUNDS: usize = 5;

struct Image {
    bytes: Vec<u8>,
    addresses: Vec<u64>,
}

impl Image {
    fn read(directory: &Path, name: &str) -> Result<Self, Failure> {
        let bytes = fs::read(directory.join(format!("{name}.pages")))?;
        let addresses = fs::read(directory.join(format!("{name}.addresses")))?;
        let addresses: Vec<u64> =
            addresses.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        assert_eq!(bytes.len(), addresses.len() * 4096);
        Ok(Self { bytes, addresses })
    }

    fn pages(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.addresses.iter().copied().zip(self.bytes.as_chunks().0)
    }
}

/// A page of a clone, and the template's page at its address.
struct Put<'a> {
    page: &'a Page,
    of_template: Option<u64>,
}

struct Measured {
    bytes: u64,
    put_us: f64,
    over_us: f64,
    get_us: f64,
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

/// In microseconds a page.
fn timed(puts: &[Put<'_>], mut f: impl FnMut(u64, &Page)) -> f64 {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for (turn, pages) in puts.chunks(TURN).enumerate() {
            let begin = thread_time();
            for (at, put) in pages.iter().enumerate() {
                f((turn * TURN + at) as u64, put.page);
            }
            let took = thread_time().saturating_sub(begin);
            times.push(took.as_secs_f64() * 1e6 / pages.len() as f64);
        }
    }
    median(times)
}

/// Microseconds a page of the codec alone: of `encode`, and of `decode`, which gets what `encode` gave.
fn alone(
    puts: &[Put<'_>],
    mut encode: impl FnMut(&Put<'_>, &mut [u8]) -> usize,
    mut decode: impl FnMut(&Put<'_>, &[u8], &mut Page),
) -> [f64; 2] {
    let (mut encoding, mut decoding) = (Vec::new(), Vec::new());
    let (mut objects, mut lengths) = (vec![0; TURN * 4200], [0; TURN]);
    let mut back = [0; 4096];
    for pages in puts.chunks(TURN) {
        let begin = thread_time();
        for ((put, object), len) in pages.iter().zip(objects.chunks_mut(4200)).zip(&mut lengths) {
            *len = encode(put, object);
        }
        let middle = thread_time();
        for ((put, object), len) in pages.iter().zip(objects.chunks(4200)).zip(&lengths) {
            decode(put, &object[..*len], &mut back);
        }
        let end = thread_time();
        for ((put, object), len) in pages.iter().zip(objects.chunks(4200)).zip(&lengths) {
            decode(put, &object[..*len], &mut back);
            assert!(back == *put.page, "another page");
        }
        let each = |took: Duration| took.as_secs_f64() * 1e6 / pages.len() as f64;
        encoding.push(each(middle.saturating_sub(begin)));
        decoding.push(each(end.saturating_sub(middle)));
    }
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len().max(1) as f64;
    [mean(&encoding), mean(&decoding)]
}

/// The codecs alone, for changed pages.
fn codecs(puts: &[Put<'_>], template: &[Page]) -> Result<(), Failure> {
    let zstd = "zstd:1".parse::<CodecSpec>()?.build()?;
    let deltas = Deltas::new()?;
    let base = |put: &Put<'_>| {
        let of = put.of_template.and_then(|of| usize::try_from(of).ok());
        &template[of.expect("a changed page has one")]
    };
    let plain = |put: &Put<'_>, object: &mut [u8]| zstd.compress(put.page, object).expect("room");
    let restore = |object: &[u8], back: &mut Page| {
        assert_eq!(zstd.decompress(object, back).ok(), Some(4096));
    };
    let [encode, decode] = alone(puts, plain, |_, object, back| restore(object, back));
    println!("  codec alone: zstd:1          encode {encode:6.2} us  decode {decode:5.2} us");
    // As a space on a base does it; where no delta is short the page is plain, which a mark behind it says.
    let mut decided = [0_u64; 2];
    let on_base = |put: &Put<'_>, object: &mut [u8]| {
        let delta = deltas.encode(base(put), put.page, &mut object[..2800]);
        let len = match (delta, Deltas::plain_max(delta)) {
            (Some(len), None) => len,
            (delta, most) => {
                let mut other = [0; 4200];
                let len = zstd.compress(put.page, &mut other).expect("room");
                match delta {
                    Some(delta) if most < Some(len) => delta,
                    _ => {
                        decided[1] += 1;
                        object[..len].copy_from_slice(&other[..len]);
                        object[len] = 0;
                        return len + 1;
                    }
                }
            }
        };
        decided[0] += 1;
        object[len] = 1;
        len + 1
    };
    let from_base = |put: &Put<'_>, object: &[u8], back: &mut Page| match object.split_last() {
        Some((1, object)) => {
            back.copy_from_slice(base(put));
            deltas.decode(object, back).expect("its own");
        }
        Some((_, object)) => restore(object, back),
        None => panic!("no object"),
    };
    let [encode, decode] = alone(puts, on_base, from_base);
    println!(
        "  codec alone: on a base       encode {encode:6.2} us  decode {decode:5.2} us  ({} deltas, {} plain)",
        decided[0], decided[1],
    );
    Ok(())
}

fn space(store: &Store, base: Option<&Base>, puts: &[Put<'_>]) -> Result<Space, Failure> {
    let mut config = SpaceConfig::persistent(puts.len() as u64);
    if let Some(base) = base {
        config = config.on(base);
        // Runs of neighbours are one range.
        let mut run: Option<(u64, u64, u64)> = None;
        let mut ranges = Vec::new();
        for (key, put) in (0..).zip(puts) {
            match (run.as_mut(), put.of_template) {
                (Some((first, len, page)), Some(of))
                    if *first + *len == key && *page + *len == of =>
                {
                    *len += 1;
                }
                (_, of) => {
                    ranges.extend(run.take());
                    run = of.map(|of| (key, 1, of));
                }
            }
        }
        ranges.extend(run);
        // An empty range: no key is mapped by default.
        config = config.map(0..0, 0);
        for (first, len, page) in ranges {
            config = config.map(first..first + len, page);
        }
    }
    Ok(store.space(config)?)
}

fn measure(store: &Store, base: Option<&Base>, puts: &[Put<'_>]) -> Result<Measured, Failure> {
    let space = space(store, base, puts)?;
    let mut back = [0; 4096];
    let begin = thread_time();
    for (key, put) in (0..).zip(puts) {
        space.put(key, put.page)?;
    }
    let put_us = thread_time().saturating_sub(begin).as_secs_f64() * 1e6 / puts.len() as f64;
    for (key, put) in (0..).zip(puts) {
        space.get(key, &mut back)?;
        assert!(back == *put.page, "page {key} is another one");
    }
    store.validate()?;
    let bytes = space.stats().object_bytes;
    let over_us = timed(puts, |key, page| space.put(key, page).expect("room"));
    let get_us = timed(puts, |key, _| space.get(key, &mut back).expect("there"));
    for (key, put) in (0..).zip(puts) {
        space.get(key, &mut back)?;
        assert!(back == *put.page, "page {key} is another one");
    }
    Ok(Measured { bytes, put_us, over_us, get_us })
}

fn row(name: &str, pages: usize, measured: &Measured, alone: &Measured) {
    let original = pages as f64 * 4096.0;
    println!(
        "  {name:26} {:9} bytes  {:6.1}x smaller  {:5.2} of zstd:1   put {:6.2} us  over {:6.2} us  get {:5.2} us",
        measured.bytes,
        original / measured.bytes.max(1) as f64,
        measured.bytes as f64 / alone.bytes.max(1) as f64,
        measured.put_us,
        measured.over_us,
        measured.get_us,
    );
}

fn set(directory: &Path) -> Result<(), Failure> {
    let template = Image::read(directory, "template")?;
    let numbers: HashMap<u64, u64> = template.addresses.iter().copied().zip(0..).collect();
    let template_pages: &[Page] = template.bytes.as_chunks().0;
    let mut clones = Vec::new();
    for number in 1.. {
        if !directory.join(format!("clone-{number}.pages")).is_file() {
            break;
        }
        clones.push(Image::read(directory, &format!("clone-{number}"))?);
    }
    let (mut changed, mut private, mut equal, mut zeros) = (Vec::new(), Vec::new(), 0, 0);
    for (address, page) in clones.iter().flat_map(Image::pages) {
        let of_template = numbers.get(&address).copied();
        let of = of_template.map(|of| &template_pages[usize::try_from(of).expect("an index")]);
        if of == Some(page) {
            equal += 1;
            continue;
        }
        if pagefold_codec::same_filled(page).is_some() {
            // In both stores a word.
            zeros += 1;
            continue;
        }
        if of.is_some() {
            changed.push(Put { page, of_template });
        }
        private.push(Put { page, of_template });
    }
    println!(
        "{}: {} clones, {equal} pages equal to the template's, {} changed, {} new, {zeros} of one word",
        directory.display(),
        clones.len(),
        changed.len(),
        private.len() - changed.len(),
    );
    let alone = Store::builder().limit(4 << 30).staging(0).idle_share(0);
    let alone = alone.codec("zstd:1".parse()?).build()?;
    let sets = [("changed", &changed), ("private", &private)];
    let [of_changed, of_private] =
        [measure(&alone, None, &changed)?, measure(&alone, None, &private)?];
    let image = directory.join("template.pages");
    let sources: [(&str, &Opens<'_>); 4] = [
        ("file", &|store| Ok(store.base(BaseSource::path(&image))?)),
        ("file, 16 MiB resident", &|store| {
            Ok(store.base(BaseSource::path(&image).resident(16 << 20))?)
        }),
        ("file, locked", &|store| Ok(store.base(BaseSource::path(&image).locked())?)),
        ("memory, default resident", &|store| {
            Ok(store.base(BaseSource::memory(&template.bytes[..]))?)
        }),
    ];
    for ((what, puts), alone) in sets.into_iter().zip([&of_changed, &of_private]) {
        println!(" {what}: {} pages", puts.len());
        if what == "changed" {
            codecs(puts, template_pages)?;
        }
        row("zstd:1 alone", puts.len(), alone, alone);
        for (name, source) in &sources {
            // A limit of a GiB: 16 MiB of base pages in the store stay by default.
            let store = Store::builder().limit(1 << 30).staging(0).idle_share(0).build()?;
            let base = source(&store)?;
            row(name, puts.len(), &measure(&store, Some(&base), puts)?, alone);
            if name.starts_with("memory") {
                row("plain, default codec", puts.len(), &measure(&store, None, puts)?, alone);
            }
        }
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let directory = env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let directory = PathBuf::from(directory.ok_or("usage: bases -- DIR of `xtask corpus clones`")?);
    let mut sets: Vec<PathBuf> = fs::read_dir(&directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    sets.retain(|path| path.join("template.pages").is_file());
    sets.sort();
    sets.iter().try_for_each(|path| set(path))
}
