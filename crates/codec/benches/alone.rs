//! Each codec alone, over page files: ratio, and microseconds of thread time a page.
//!
//! ```text
//!  cargo bench -p pagefold-codec --bench alone -- CORPUS [ROUNDS [BYTES]]
//! ```
//! `CORPUS` is a directory of `cargo xtask corpus`. 1000 pages of each file are measured, same-filled ones left out.
//! Each round compresses and decompresses them with each codec, in an order that turns round; a figure is the median of
//! the rounds. Before, every page is compressed, restored and compared. A page that does not shrink by a sixteenth
//! counts in full. `BYTES` (4096) is the length of an input, for values longer than a page.
//!
//! ```text
//!  cargo bench -p pagefold-codec --bench alone -- clusters CORPUS [ROUNDS]
//! ```
//! The same of clusters of four neighbours, 250 of each file: microseconds for each page, and what the way to one page
//! takes of decoding a whole cluster, on average over its four pages; the metadata of the codec after one thread used it.
//! *trained* codecs train themselves on up to 1000 pages that are not measured; their contexts are not counted.

#![expect(clippy::print_stdout, reason = "the tables are the output")]

use std::{env, error::Error, fs, path::Path};

use pagefold_codec::{Codec, CodecSpec, Dictionary, accept_len, same_filled};
use rustix::time::{ClockId, clock_gettime};

const PAGE_BYTES: usize = 4096;
const MEASURED: usize = 1000;
const TRAINED_BYTES: usize = 8 << 10;
const CLASSES: [&str; 7] = ["node", "redis", "python", "java", "libraries", "text", "json"];
const NAMES: [&str; 8] =
    ["lz4", "zstd:-1", "zstd:1", "zstd:3", "zstd:5", "fast", "balanced", "dense"];

struct Row {
    name: String,
    codec: Box<dyn Codec>,
    stored: usize,
    encode: Vec<f64>,
    decode: Vec<f64>,
}

impl Row {
    fn new(name: impl Into<String>, codec: Box<dyn Codec>) -> Self {
        Self { name: name.into(), codec, stored: 0, encode: Vec::new(), decode: Vec::new() }
    }

    fn verify(&mut self, inputs: &[&[u8]]) {
        for input in inputs {
            let mut compressed = vec![0; accept_len(input.len())];
            let Some(len) = self.codec.compress(input, &mut compressed) else {
                self.stored += input.len();
                continue;
            };
            let mut back = vec![0; input.len()];
            let decoded = self.codec.decompress(&compressed[..len], &mut back);
            assert_eq!(decoded, Ok(input.len()), "{}", self.name);
            assert!(back == *input, "{}: other bytes came back", self.name);
            self.stored += len;
        }
    }

    fn round(&mut self, inputs: &[&[u8]]) {
        let mut outputs: Vec<_> =
            inputs.iter().map(|input| (vec![0; accept_len(input.len())], None)).collect();
        let start = thread_micros();
        for (input, (output, len)) in inputs.iter().zip(&mut outputs) {
            *len = self.codec.compress(input, output);
        }
        self.encode.push((thread_micros() - start) / inputs.len() as f64);

        let objects: Vec<_> =
            outputs.iter().filter_map(|(output, len)| len.map(|len| &output[..len])).collect();
        let mut back = vec![0; inputs[0].len()];
        let start = thread_micros();
        for object in &objects {
            self.codec.decompress(object, &mut back).expect("it was verified");
        }
        self.decode.push((thread_micros() - start) / objects.len().max(1) as f64);
    }
}

const CLUSTER_PAGES: usize = 4;
const CLUSTERS: usize = 250;
const CLUSTER_NAMES: [&str; 14] = [
    "lz4", "zstd:1", "zstd:2", "zstd:3", "zstd:4", "zstd:5", "zstd:6", "zstd:7", "zstd:9",
    "zstd:12", "zstd:15", "zstd:19", "balanced", "dense",
];

struct ClusterRow {
    row: Row,
    /// Microseconds to each page, for each round.
    to_page: [Vec<f64>; CLUSTER_PAGES],
}

impl ClusterRow {
    fn new(name: impl Into<String>, codec: Box<dyn Codec>) -> Self {
        Self { row: Row::new(name, codec), to_page: Default::default() }
    }

    fn round(&mut self, clusters: &[&[u8]]) {
        self.row.round(clusters);
        let mut scratch = vec![0; clusters[0].len()];
        let codec = &self.row.codec;
        let object = |cluster: &&[u8]| {
            codec.compress(cluster, &mut scratch).map(|len| scratch[..len].to_vec())
        };
        let objects: Vec<_> = clusters.iter().map(object).collect();
        let mut back = vec![0; clusters[0].len()];
        for (page, times) in self.to_page.iter_mut().enumerate() {
            let wanted = (page + 1) * PAGE_BYTES;
            let start = thread_micros();
            for object in objects.iter().flatten() {
                codec.decompress_start(object, &mut back, wanted).expect("it was verified");
            }
            times.push((thread_micros() - start) / objects.len() as f64);
        }
    }
}

fn measure_clusters(path: &Path, class: &str, rounds: usize) -> Result<(), Box<dyn Error>> {
    let file = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let useful: Vec<u8> = file
        .chunks_exact(PAGE_BYTES)
        .filter(|page| same_filled(page).is_none())
        .flatten()
        .copied()
        .collect();
    let clusters: Vec<&[u8]> = useful.chunks_exact(CLUSTER_PAGES * PAGE_BYTES).collect();
    let step = clusters.len().div_ceil(CLUSTERS).max(2);
    let of = |part: usize| clusters.iter().skip(part).step_by(step).copied().collect::<Vec<_>>();
    let (inputs, others) = (of(0), of(1));
    let pages: Vec<&[u8]> =
        others.iter().flat_map(|cluster| cluster.chunks_exact(PAGE_BYTES)).collect();
    let mut rows = Vec::new();
    for name in CLUSTER_NAMES {
        rows.push(ClusterRow::new(name, name.parse::<CodecSpec>()?.build_for_clusters()?));
    }
    for spec in [CodecSpec::Balanced, CodecSpec::Dense] {
        let start = thread_micros();
        let trained = spec.build_for_clusters()?.train(&pages);
        let millis = (thread_micros() - start) / 1e3;
        println!(
            "{class}, clusters: {spec} takes {millis:.0} ms to train on {} pages",
            pages.len()
        );
        rows.extend(trained.map(|codec| ClusterRow::new(format!("{spec}, trained"), codec)));
    }
    rows.iter_mut().for_each(|row| row.row.verify(&inputs));
    let measured: Vec<&[u8]> =
        inputs.iter().flat_map(|cluster| cluster.chunks_exact(PAGE_BYTES)).collect();
    for name in ["lz4", "zstd:1", "balanced"] {
        let mut row = Row::new(name, name.parse::<CodecSpec>()?.build()?);
        row.verify(&measured);
        let ratio = (measured.len() * PAGE_BYTES) as f64 / row.stored as f64;
        println!("{class}, the same as single pages: {name} {ratio:.3}");
    }
    for round in 0..rounds {
        let count = rows.len();
        for at in 0..count {
            rows[if round % 2 == 0 { at } else { count - 1 - at }].round(&inputs);
        }
    }
    println!(
        "\n| {class}, clusters | ratio | encode us | decode us | to one page | KiB |\n|---|---|---|---|---|---|"
    );
    for ClusterRow { row, to_page } in &mut rows {
        let ratio = (inputs.len() * inputs[0].len()) as f64 / row.stored as f64;
        let pages = CLUSTER_PAGES as f64;
        let (encode, decode) = (median(&mut row.encode) / pages, median(&mut row.decode) / pages);
        let to_page = to_page.each_mut().map(|times| median(times));
        let share = to_page.iter().sum::<f64>() / pages / to_page[CLUSTER_PAGES - 1];
        let kib = row.codec.metadata_bytes() >> 10;
        println!("| {} | {ratio:.2} | {encode:.1} | {decode:.1} | {share:.2} | {kib} |", row.name);
    }
    println!();
    Ok(())
}

fn thread_micros() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn rows(class: &str, others: &[&[u8]]) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for name in NAMES {
        rows.push(Row::new(name, name.parse::<CodecSpec>()?.build()?));
    }
    let fastest: CodecSpec = "zstd:-1".parse()?;
    let with = fastest.build_with_dictionary(&Dictionary::built_in())?;
    rows.push(Row::new("zstd:-1, built-in dictionary", with));
    let start = thread_micros();
    let own = Dictionary::train_for(CodecSpec::Balanced, others.iter().copied(), TRAINED_BYTES)?;
    let millis = (thread_micros() - start) / 1e3;
    let name = match &own {
        Some(own) => format!("balanced, trained: {} bytes", own.as_bytes().len()),
        None => "balanced, trained: none is better".to_owned(),
    };
    let own = own.unwrap_or_else(Dictionary::built_in);
    rows.push(Row::new(name, CodecSpec::Balanced.build_with_dictionary(&own)?));
    println!("{class}: {millis:.0} ms to train on {} pages", others.len());
    for spec in [CodecSpec::Balanced, CodecSpec::Dense] {
        let base = spec.build()?;
        let start = thread_micros();
        let trained = base.train(others);
        println!("{class}: {spec} trains itself in {:.0} ms", (thread_micros() - start) / 1e3);
        rows.extend(trained.map(|codec| Row::new(format!("{spec}, trained by itself"), codec)));
    }
    println!();
    Ok(rows)
}

fn measure(path: &Path, class: &str, rounds: usize, bytes: usize) -> Result<(), Box<dyn Error>> {
    let file = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let useful: Vec<&[u8]> =
        file.chunks_exact(bytes).filter(|input| same_filled(input).is_none()).collect();
    let step = useful.len().div_ceil(MEASURED).max(2);
    let of = |part: usize| useful.iter().skip(part).step_by(step).copied().collect::<Vec<_>>();
    let (inputs, others) = (of(0), of(1));
    let mut rows = rows(class, &others)?;
    rows.iter_mut().for_each(|row| row.verify(&inputs));
    for round in 0..rounds {
        let count = rows.len();
        for at in 0..count {
            let at = if round % 2 == 0 { at } else { count - 1 - at };
            rows[at].round(&inputs);
        }
    }
    println!("| {class} | ratio | encode us | decode us |\n|---|---|---|---|");
    for row in &mut rows {
        let ratio = (inputs.len() * bytes) as f64 / row.stored as f64;
        let (encode, decode) = (median(&mut row.encode), median(&mut row.decode));
        println!("| {} | {ratio:.2} | {encode:.1} | {decode:.1} |", row.name);
    }
    println!();
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let mut arguments: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let are_clusters = arguments.first().is_some_and(|word| word == "clusters");
    arguments.drain(..usize::from(are_clusters));
    let Some(corpus) = arguments.first() else {
        println!(
            "no corpus: cargo bench -p pagefold-codec --bench alone -- [clusters] CORPUS [ROUNDS [BYTES]]"
        );
        return Ok(());
    };
    let number =
        |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse::<usize>());
    let (rounds, bytes) = (number(1, 7)?.max(1), number(2, PAGE_BYTES)?.max(1));
    for class in CLASSES {
        let path = Path::new(corpus).join(format!("{class}.pages"));
        if path.is_file() && are_clusters {
            measure_clusters(&path, class, rounds)?;
        } else if path.is_file() {
            measure(&path, class, rounds, bytes)?;
        }
    }
    Ok(())
}
