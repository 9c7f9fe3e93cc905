//! Compression and decompression of 4 KiB pages, one at a time, by each codec that is in the build.
//!
//! The pages are a generated mix and, where the environment variable `PAGEFOLD_CORPUS` names a directory, those of each
//! file in it. Before anything is measured every page of a corpus makes its round trip, and the ratio is printed:
//! pages that do not shrink by a sixteenth count as they are, same-filled pages are left out.
//!
//! The criterion groups are `compress/CORPUS` and `decompress/CORPUS`; one iteration is one page, the next of the
//! corpus each time.

use std::{env, fs, hint::black_box, path::Path, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use pagefold_codec::{Codec, CodecSpec, Encoded, accept_len, decode, encode, same_filled};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const PAGE: usize = 4096;
/// 16 MiB of each file: more than a cache holds, little enough to go through many times.
const PAGES_MAX: usize = 4096;

type Page = [u8; PAGE];

struct Corpus {
    name: String,
    pages: Vec<Page>,
}

/// Pages of words, of pointers, of records with counters, and of noise, 256 in all and always the same.
fn generated() -> Corpus {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let vocabulary: Vec<Vec<u8>> = (0..512)
        .map(|_| {
            (0..rng.random_range(2..10))
                .map(|_| rng.random_range(b'a'..=b'z'))
                .chain([b' '])
                .collect()
        })
        .collect();
    let mut page = |kind: usize| {
        let mut bytes = Vec::with_capacity(PAGE + 128);
        while bytes.len() < PAGE {
            match kind {
                0 => bytes.extend_from_slice(&vocabulary[rng.random_range(0..vocabulary.len())]),
                1 if rng.random_bool(0.4) => {
                    bytes.extend_from_slice(&rng.random_range(0..256_u64).to_le_bytes());
                }
                1 => bytes.extend_from_slice(
                    &(0x7F3A_0000_0000 + rng.random_range(0..1_u64 << 18) * 16).to_le_bytes(),
                ),
                2 => {
                    let (id, value) = (rng.random_range(0..100_000), rng.random_range(0..1000));
                    bytes.extend_from_slice(
                        format!("{{\"id\":{id},\"value\":{value},\"unit\":\"us\"}},").as_bytes(),
                    );
                }
                _ => bytes.extend_from_slice(&rng.next_u64().to_le_bytes()),
            }
        }
        *bytes.first_chunk().expect("filled to a page at least")
    };
    let pages = (0..256).map(|index| page(if index % 16 == 15 { 3 } else { index % 3 })).collect();
    Corpus { name: "generated".to_owned(), pages }
}

/// The pages of one file that are not same-filled, evenly spread if there are more than `PAGES_MAX`.
fn read_corpus(path: &Path) -> Option<Corpus> {
    let bytes = fs::read(path).ok()?;
    let (pages, _) = bytes.as_chunks::<PAGE>();
    let step = pages.len().div_ceil(PAGES_MAX).max(1);
    let pages: Vec<_> = pages
        .iter()
        .step_by(step)
        .filter(|page| same_filled(&page[..]).is_none())
        .copied()
        .collect();
    (!pages.is_empty()).then(|| Corpus {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        pages,
    })
}

fn corpora() -> Vec<Corpus> {
    let mut all = vec![generated()];
    if let Some(directory) = env::var_os("PAGEFOLD_CORPUS") {
        let entries = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("PAGEFOLD_CORPUS: {}: {error}", directory.display()));
        let mut paths: Vec<_> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        paths.sort();
        all.extend(paths.iter().filter_map(|path| read_corpus(path)));
    }
    all
}

fn codecs() -> Vec<(&'static str, Box<dyn Codec>)> {
    let named = ["lz4", "zstd:-1", "zstd:1", "zstd:3"].into_iter().filter_map(|name| {
        let spec: CodecSpec = name.parse().expect("a name from the list above");
        Some((name, spec.build().ok()?))
    });
    #[cfg(feature = "pure-rust")]
    let named =
        named.chain([("lz4_flex", Box::new(pagefold_codec::Lz4Pure::new()) as Box<dyn Codec>)]);
    named.collect()
}

/// Takes every page there and back and returns the compressed forms of those that shrank.
fn verified(name: &str, codec: &dyn Codec, corpus: &Corpus) -> Vec<Vec<u8>> {
    let mut scratch = [0; accept_len(PAGE)];
    let mut objects = Vec::new();
    let mut kept = 0;
    for page in &corpus.pages {
        let encoded = encode(codec, page, &mut scratch);
        let mut back = [0; PAGE];
        decode(codec, encoded, &mut back)
            .unwrap_or_else(|error| panic!("{name}, {}: {error}", corpus.name));
        assert!(back == *page, "{name}, {}: other bytes came back", corpus.name);
        match encoded {
            Encoded::Compressed(bytes) => {
                kept += bytes.len();
                objects.push(bytes.to_vec());
            }
            _ => kept += PAGE,
        }
    }
    let ratio = (corpus.pages.len() * PAGE) as f64 / kept as f64;
    eprintln!(
        "{}: {name}: {} pages, {} shrink, ratio {ratio:.2}",
        corpus.name,
        corpus.pages.len(),
        objects.len()
    );
    objects
}

fn measure(criterion: &mut Criterion) {
    let codecs = codecs();
    for corpus in corpora() {
        let objects: Vec<_> =
            codecs.iter().map(|(name, codec)| verified(name, &**codec, &corpus)).collect();

        let mut group = criterion.benchmark_group(format!("compress/{}", corpus.name));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for (name, codec) in &codecs {
            let mut pages = corpus.pages.iter().cycle();
            let mut scratch = [0; accept_len(PAGE)];
            group.bench_function(*name, |bencher| {
                bencher.iter(|| {
                    codec.compress(
                        black_box(pages.next().expect("a cycle has no end")),
                        &mut scratch,
                    )
                });
            });
        }
        group.finish();

        let mut group = criterion.benchmark_group(format!("decompress/{}", corpus.name));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
        for ((name, codec), objects) in codecs.iter().zip(&objects) {
            if objects.is_empty() {
                continue;
            }
            let mut objects = objects.iter().cycle();
            let mut page = [0; PAGE];
            group.bench_function(*name, |bencher| {
                bencher.iter(|| {
                    let result = codec.decompress(
                        black_box(objects.next().expect("a cycle has no end")),
                        &mut page,
                    );
                    assert_eq!(result, Ok(PAGE));
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, measure);
criterion_main!(benches);
