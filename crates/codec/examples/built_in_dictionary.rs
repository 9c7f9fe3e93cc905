//! Trains the dictionary that is built in: `built_in_dictionary CORPUS FILE`.
//!
//! ```text
//!  cargo xtask corpus --out CORPUS --megabytes 16 --seed 77 --only python node redis java
//!  cargo run --release -p pagefold-codec --example built_in_dictionary -- CORPUS crates/codec/src/built_in.dictionary
//! ```
//! The same page files give the same dictionary. Another dictionary cannot decode what was compressed with the present
//! one, and a test pins its checksum. Look at `strings FILE` before a commit: the heaps are those of live processes.

use std::{env, error::Error, fs, path::Path};

use pagefold_codec::{Dictionary, same_filled};

const PAGE_BYTES: usize = 4096;
const DICTIONARY_BYTES: usize = 2 << 10;
const PAGES_EACH: usize = 250;
/// Python counts twice: its symbols differ most from the others', and with equal parts its ratio falls by 4.4 %.
const CLASSES: [&str; 5] = ["python", "node", "redis", "java", "python"];

/// The pages of one class; `part` distinguishes two parts of the same class.
fn pages(corpus: &Path, class: &str, part: usize) -> Result<Vec<[u8; PAGE_BYTES]>, Box<dyn Error>> {
    let path = corpus.join(format!("{class}.pages"));
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (pages, _) = bytes.as_chunks::<PAGE_BYTES>();
    let useful: Vec<_> = pages.iter().filter(|page| same_filled(&page[..]).is_none()).collect();
    if useful.len() < PAGES_EACH * CLASSES.len() {
        return Err(format!("{}: {} pages are too few", path.display(), useful.len()).into());
    }
    let step = useful.len() / PAGES_EACH;
    Ok(useful.into_iter().skip(part).step_by(step).take(PAGES_EACH).copied().collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [corpus, file] = &arguments[..] else {
        return Err("usage: built_in_dictionary CORPUS FILE".into());
    };
    let parts = CLASSES.iter().enumerate();
    let parts = parts.map(|(part, class)| pages(Path::new(corpus), class, part));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let mixed = (0..PAGES_EACH).flat_map(|at| parts.iter().map(move |pages| &pages[at][..]));
    let dictionary = Dictionary::train(mixed, DICTIONARY_BYTES)?;
    fs::write(file, dictionary.as_bytes())?;
    Ok(())
}
