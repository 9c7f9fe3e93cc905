//! Object lengths from a file, with optional counts.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

use thiserror::Error;

/// In bytes: two numbers and white space.
const LINE_MAX: u64 = 256;

#[derive(Debug, Error)]
pub(crate) enum SizesError {
    #[error("{path}: {error}")]
    Io { path: String, error: io::Error },
    #[error("{path}, line {line}: {reason}; a line is LENGTH or LENGTH COUNT, both whole numbers")]
    Line { path: String, line: u64, reason: String },
    #[error("{path} has no lengths; write one on a line: LENGTH or LENGTH COUNT")]
    Empty { path: String },
}

/// Counts by length. Memory grows only with the number of different lengths.
///
/// # Errors
/// [`SizesError`], with the line.
pub(super) fn read(path: &Path) -> Result<BTreeMap<usize, u64>, SizesError> {
    let name = || path.display().to_string();
    let failed = |error| SizesError::Io { path: name(), error };
    let source: Box<dyn io::Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(failed)?),
    };
    let mut source = BufReader::new(source);
    let mut lengths = BTreeMap::new();
    for line in 1.. {
        let mut text = Vec::new();
        source.by_ref().take(LINE_MAX + 1).read_until(b'\n', &mut text).map_err(failed)?;
        if text.is_empty() {
            break;
        }
        let wrong = |reason| SizesError::Line { path: name(), line, reason };
        if text.len() as u64 > LINE_MAX {
            return Err(wrong(format!("longer than {LINE_MAX} bytes")));
        }
        let text = String::from_utf8(text).map_err(|_| wrong("not text".to_owned()))?;
        let Some((len, count)) = parse(&text).map_err(wrong)? else { continue };
        let sum = lengths.entry(len).or_insert(0_u64);
        *sum = sum.checked_add(count).ok_or_else(|| SizesError::Line {
            path: name(),
            line,
            reason: "the counts do not add up".to_owned(),
        })?;
    }
    if lengths.is_empty() {
        return Err(SizesError::Empty { path: name() });
    }
    Ok(lengths)
}

/// `None` for a comment or an empty line.
fn parse(line: &str) -> Result<Option<(usize, u64)>, String> {
    let mut words = line.split_whitespace();
    let first = match words.next() {
        Some(word) if !word.starts_with('#') => word,
        _ => return Ok(None),
    };
    let len = first.parse().map_err(|error| format!("`{first}` is no length ({error})"))?;
    if len == 0 {
        return Err("an object has at least one byte".to_owned());
    }
    let count = match words.next() {
        Some(word) => word.parse().map_err(|error| format!("`{word}` is no count ({error})"))?,
        None => 1,
    };
    // The sums are not exact for more objects.
    if count > 1 << 48 {
        return Err(format!("{count} objects are too many; at most 2^48"));
    }
    match words.next() {
        Some(more) => Err(format!("`{more}` is too much")),
        None => Ok(Some((len, count))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_length_and_perhaps_a_count() {
        assert_eq!(parse("100\n"), Ok(Some((100, 1))));
        assert_eq!(parse("  100\t7 \r\n"), Ok(Some((100, 7))));
        for nothing in ["\n", "", "   ", "# 100 7", "#100"] {
            assert_eq!(parse(nothing), Ok(None), "{nothing:?}");
        }
        for wrong in ["x", "0", "-1", "1.5", "100 x", "100 -1", "100 1 1", "99999999999999999999"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse(&format!("1 {}", u64::MAX)).is_err());
    }
}
