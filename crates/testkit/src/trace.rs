//! Operations and sizes as a text.
//!
//! # Format
//! Settings come in any order. Empty lines and lines that begin with `#` mean nothing.
//! ```text
//! pagefold-trace 1
//! seed 0x1f                   contents follow from it, object and version
//! limit 67108864              bytes
//! faults frame=0.001          as in --faults, beside those of steps
//! allocator nbud              recorded on this one
//! steps
//! store 0 1234                object, bytes
//! alloc 1 77                  as zeros
//! write 0 1                   object, version
//! read 0
//! hold 0 3                    the next 3 steps happen during the read
//! free 0
//! stale 0                     a dead handle is used
//! migrate 1
//! compact 4096                bytes to move
//! reclaim 4 0x3 0x0           retries; bits of refused victims, and of panics
//! alloc-contiguous 0 12 8     range, frames, alignment
//! free-contiguous 0
//! trim
//! limit 33554432              bytes
//! stats
//! check
//! ```
//! A step whose object the pool refused does nothing. A line has at most [`LINE_MAX`] bytes, a trace at most
//! [`STEPS_MAX`] steps.

use std::{
    fmt,
    io::{self, BufRead, Write},
};

use thiserror::Error;

use crate::{seed::Seed, torture::Faults};

const MAGIC: &str = "pagefold-trace 1";
/// The longest line.
pub const LINE_MAX: usize = 256;
/// The most steps.
pub const STEPS_MAX: usize = 5_000_000;
/// The longest object in a trace.
pub const LEN_MAX: u32 = 1 << 20;

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are explained in the format, above")]
pub enum Step {
    /// Stores an object.
    Store { object: u32, len: u32 },
    /// Allocates zeros.
    Alloc { object: u32, len: u32 },
    /// Replaces bytes.
    Write { object: u32, version: u32 },
    /// Reads an object.
    Read { object: u32 },
    /// Keeps reading during the next steps.
    Hold { object: u32, steps: u32 },
    /// Frees an object.
    Free { object: u32 },
    /// Uses a dead handle.
    Stale { object: u32 },
    /// Moves an object's frames.
    Migrate { object: u32 },
    /// Compacts.
    Compact { bytes: u64 },
    /// Reclaims; bits select refused victims and panics.
    Reclaim { retries: u32, refused: u64, panics: u64 },
    /// Allocates a range.
    AllocContiguous { range: u32, frames: u32, align: u32 },
    /// Frees a range.
    FreeContiguous { range: u32 },
    /// Trims.
    Trim,
    /// Sets the limit.
    Limit { bytes: u64 },
    /// Compares the accounts.
    Stats,
    /// Compares everything.
    Check,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { object, len } => write!(f, "store {object} {len}"),
            Self::Alloc { object, len } => write!(f, "alloc {object} {len}"),
            Self::Write { object, version } => write!(f, "write {object} {version}"),
            Self::Read { object } => write!(f, "read {object}"),
            Self::Hold { object, steps } => write!(f, "hold {object} {steps}"),
            Self::Free { object } => write!(f, "free {object}"),
            Self::Stale { object } => write!(f, "stale {object}"),
            Self::Migrate { object } => write!(f, "migrate {object}"),
            Self::Compact { bytes } => write!(f, "compact {bytes}"),
            Self::Reclaim { retries, refused, panics } => {
                write!(f, "reclaim {retries} {refused:#x} {panics:#x}")
            }
            Self::AllocContiguous { range, frames, align } => {
                write!(f, "alloc-contiguous {range} {frames} {align}")
            }
            Self::FreeContiguous { range } => write!(f, "free-contiguous {range}"),
            Self::Trim => write!(f, "trim"),
            Self::Limit { bytes } => write!(f, "limit {bytes}"),
            Self::Stats => write!(f, "stats"),
            Self::Check => write!(f, "check"),
        }
    }
}

/// A trace's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Seed of the contents.
    pub seed: Seed,
    /// The limit in bytes.
    pub limit: usize,
    /// Faults of the source.
    pub faults: Faults,
    /// The allocator recorded.
    pub allocator: Option<String>,
}

/// A recorded sequence.
///
/// # Examples
/// ```
/// use pagefold_testkit::trace::{Step, Trace};
///
/// let text = "pagefold-trace 1\nseed 7\nlimit 4194304\nsteps\nstore 0 100\nfree 0\n";
/// let trace = Trace::read(&mut text.as_bytes())?;
/// assert_eq!(trace.steps, [Step::Store { object: 0, len: 100 }, Step::Free { object: 0 }]);
/// assert!(Trace::read(&mut &b"pagefold-trace 1\nsteps\nfly 7"[..]).is_err());
/// # Ok::<(), pagefold_testkit::trace::TraceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Its settings.
    pub header: Header,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// Why a text is no trace.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Reading failed.
    #[error("line {line}: {source}")]
    Io {
        /// The line, from 1.
        line: usize,
        /// The cause.
        source: io::Error,
    },
    /// An invalid line.
    #[error("line {line}: {what}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// The mistake.
        what: String,
    },
    /// A missing setting.
    #[error("the trace has no `{what}`")]
    Missing {
        /// The setting.
        what: &'static str,
    },
}

impl Header {
    /// Writes everything up to the steps.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{MAGIC}\nseed {}\nlimit {}\nfaults {}", self.seed, self.limit, self.faults)?;
        if let Some(allocator) = &self.allocator {
            writeln!(out, "allocator {allocator}")?;
        }
        writeln!(out, "steps")
    }
}

impl Trace {
    /// Writes the trace.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.header.write(out)?;
        self.steps.iter().try_for_each(|step| writeln!(out, "{step}"))
    }

    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn read(input: &mut dyn BufRead) -> Result<Self, TraceError> {
        let mut lines = Lines { input, line: 0, text: Vec::new() };
        let first = lines.next()?.unwrap_or_default().to_owned();
        if first != MAGIC {
            let what = format!("this is no trace; the first line must be `{MAGIC}`");
            return Err(lines.wrong(what));
        }
        let (mut seed, mut limit, mut allocator) = (None, None, None);
        let mut faults = Faults::NONE;
        loop {
            let Some(line) = lines.next()?.map(str::to_owned) else {
                return Err(TraceError::Missing { what: "steps" });
            };
            let (name, value) = line.split_once(' ').unwrap_or((&line, ""));
            match name {
                "steps" if value.is_empty() => break,
                "seed" => {
                    let parsed: Result<Seed, _> = value.parse();
                    seed = Some(parsed.map_err(|error| lines.wrong(error.to_string()))?);
                }
                "limit" => limit = Some(lines.number(value, usize::MAX as u64)?),
                "faults" => {
                    let parsed: Result<Faults, _> = value.parse();
                    faults = parsed.map_err(|error| lines.wrong(error.to_string()))?;
                }
                "allocator" => allocator = Some(value.to_owned()),
                _ => return Err(lines.wrong(format!("no setting is called `{name}`"))),
            }
        }
        let seed = seed.ok_or(TraceError::Missing { what: "seed" })?;
        let limit = limit.ok_or(TraceError::Missing { what: "limit" })?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut steps = Vec::new();
        while let Some(line) = lines.next()?.map(str::to_owned) {
            if steps.len() == STEPS_MAX {
                return Err(lines.wrong(format!("a trace has at most {STEPS_MAX} steps")));
            }
            steps.push(lines.step(&line)?);
        }
        Ok(Self { header: Header { seed, limit, faults, allocator }, steps })
    }
}

struct Lines<'a> {
    input: &'a mut dyn BufRead,
    line: usize,
    text: Vec<u8>,
}

impl Lines<'_> {
    fn wrong(&self, what: String) -> TraceError {
        TraceError::Line { line: self.line, what }
    }

    fn next(&mut self) -> Result<Option<&str>, TraceError> {
        loop {
            self.line += 1;
            self.text.clear();
            // One byte more, to recognise a longer line.
            let mut limited = io::Read::take(&mut *self.input, LINE_MAX as u64 + 1);
            let read = limited.read_until(b'\n', &mut self.text);
            let read = read.map_err(|source| TraceError::Io { line: self.line, source })?;
            if read == 0 {
                return Ok(None);
            }
            if self.text.len() > LINE_MAX {
                return Err(self.wrong(format!("longer than {LINE_MAX} bytes")));
            }
            let blank = self.text.iter().all(u8::is_ascii_whitespace);
            if !blank && self.text[0] != b'#' {
                break;
            }
        }
        match std::str::from_utf8(&self.text) {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(TraceError::Line { line: self.line, what: "this is no text".to_owned() }),
        }
    }

    fn number(&self, word: &str, max: u64) -> Result<u64, TraceError> {
        let parsed = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        };
        parsed
            .filter(|number| *number <= max)
            .ok_or_else(|| self.wrong(format!("`{word}` is no number up to {max}")))
    }

    fn step(&self, line: &str) -> Result<Step, TraceError> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        let mut next = |max: u64| match words.next() {
            Some(word) => self.number(word, max),
            None => Err(self.wrong(format!("`{name}` needs more numbers"))),
        };
        let mut small =
            |max: u32| next(max.into()).map(|number| u32::try_from(number).unwrap_or(max));
        let any = u32::MAX;
        let step = match name {
            "store" => Step::Store { object: small(any)?, len: small(LEN_MAX)? },
            "alloc" => Step::Alloc { object: small(any)?, len: small(LEN_MAX)? },
            "write" => Step::Write { object: small(any)?, version: small(any)? },
            "read" => Step::Read { object: small(any)? },
            "hold" => Step::Hold { object: small(any)?, steps: small(any)? },
            "free" => Step::Free { object: small(any)? },
            "stale" => Step::Stale { object: small(any)? },
            "migrate" => Step::Migrate { object: small(any)? },
            "compact" => Step::Compact { bytes: next(u64::MAX)? },
            "reclaim" => Step::Reclaim {
                retries: small(1 << 16)?,
                refused: next(u64::MAX)?,
                panics: next(u64::MAX)?,
            },
            "alloc-contiguous" => Step::AllocContiguous {
                range: small(any)?,
                frames: small(any)?,
                align: small(any)?,
            },
            "free-contiguous" => Step::FreeContiguous { range: small(any)? },
            "trim" => Step::Trim,
            "limit" => Step::Limit { bytes: next(u64::MAX)? },
            "stats" => Step::Stats,
            "check" => Step::Check,
            _ => return Err(self.wrong(format!("no step is called `{name}`"))),
        };
        match words.next() {
            None => Ok(step),
            Some(word) => Err(self.wrong(format!("`{word}` is too much for `{name}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Trace, TraceError> {
        Trace::read(&mut text.as_bytes())
    }

    #[test]
    fn every_step_round_trips() {
        let steps = vec![
            Step::Store { object: 0, len: LEN_MAX },
            Step::Alloc { object: u32::MAX, len: 1 },
            Step::Write { object: 0, version: 1 },
            Step::Read { object: 0 },
            Step::Hold { object: 0, steps: 2 },
            Step::Free { object: 0 },
            Step::Stale { object: 0 },
            Step::Migrate { object: 1 },
            Step::Compact { bytes: u64::MAX },
            Step::Reclaim { retries: 4, refused: 3, panics: u64::MAX },
            Step::AllocContiguous { range: 0, frames: 12, align: 8 },
            Step::FreeContiguous { range: 0 },
            Step::Trim,
            Step::Limit { bytes: 1 << 20 },
            Step::Stats,
            Step::Check,
        ];
        let faults = "frame=0.001,frame@7".parse().expect("faults");
        let header =
            Header { seed: Seed::new(31), limit: 1 << 26, faults, allocator: Some("nbud".into()) };
        let trace = Trace { header, steps };
        let mut text = Vec::new();
        trace.write(&mut text).expect("memory takes it");
        assert_eq!(Trace::read(&mut text.as_slice()).expect("what was just written"), trace);
    }

    #[test]
    fn remarks_and_empty_lines_mean_nothing() {
        let text = "pagefold-trace 1\n\n# a remark\nseed 1\nlimit 9\nsteps\n\n  trim  \r\n#\ntrim";
        assert_eq!(read(text).expect("a trace").steps, [Step::Trim, Step::Trim]);
    }

    #[test]
    fn each_mistake_names_its_line() {
        let head = "pagefold-trace 1\nseed 1\nlimit 9\nsteps\n";
        let long = format!("{head}trim{}", " ".repeat(LINE_MAX));
        for (text, words) in [
            ("", "line 1: this is no trace"),
            ("hello", "line 1: this is no trace"),
            ("pagefold-trace 2\n", "line 1: this is no trace"),
            ("pagefold-trace 1\nseed x\n", "line 2: `x` is no seed"),
            ("pagefold-trace 1\nlimit -1\n", "line 2: `-1` is no number"),
            ("pagefold-trace 1\nfaults disk=1\n", "line 2: no fault is called"),
            ("pagefold-trace 1\nfly 1\n", "line 2: no setting is called `fly`"),
            ("pagefold-trace 1\nseed 1\nlimit 9\n", "has no `steps`"),
            ("pagefold-trace 1\nlimit 9\nsteps\n", "has no `seed`"),
            ("pagefold-trace 1\nseed 1\nsteps\n", "has no `limit`"),
            (&format!("{head}fly"), "line 5: no step is called `fly`"),
            (&format!("{head}trim\nstore 1"), "line 6: `store` needs more numbers"),
            (&format!("{head}store 1 1048577"), "line 5: `1048577` is no number up to 1048576"),
            (&format!("{head}free 4294967296"), "line 5: `4294967296`"),
            (&format!("{head}trim 1"), "line 5: `1` is too much"),
            (&long, "line 5: longer than 256 bytes"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let error = Trace::read(&mut &b"pagefold-trace 1\n\xff\n"[..]).expect_err("no text");
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
