//! How the command ends: exit codes, and failures as one line on stderr. `docs/ESTIMATE.md` and
//! `docs/TORTURE.md` document the codes.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use pagefold_codec::BuildCodecError;
use pagefold_pool::{AllocError, BuildError, HandleError};
use pagefold_procfs::ProcfsError;
use pagefold_testkit::trace::TraceError;
use thiserror::Error;

use crate::{
    bytes, classes::SizesError, files0::ListError, printable::printable, report::html::HtmlError,
};

/// How a command ended. What a code means depends on the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done and is right.
    Success,
    /// Nothing could be measured, or the run failed. Of torture: something was wrong, as a canary wants it.
    Failed,
    /// Invalid arguments.
    Usage,
    /// The report is complete but for inputs that are missing or could not be read.
    Partial,
    /// A page did not read back as it was stored.
    Mismatch,
    /// Nothing was finished for a long time.
    Stalled,
    /// A planted fault was not caught.
    Missed,
    /// Stopped by Ctrl-C or a request to terminate; the report holds what there was.
    Interrupted,
}

impl Exit {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partial | Self::Stalled => 3,
            Self::Mismatch | Self::Missed => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What to do where there is no memory.
pub(crate) const OUT_OF_MEMORY_ADVICE: &str = "use a smaller --sample or fewer --threads, or raise the limit (ulimit -v, ulimit -d, the cgroup's)";

/// Why there is no report, or no complete one.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// Every input was skipped; the first reason stands for all.
    #[error("{first}{}", and_more(*more))]
    NothingReadable { first: String, more: usize },
    /// There were inputs, and no byte in them.
    #[error("nothing to measure: the input is empty")]
    EmptyInput,
    /// There were inputs, and nothing but holes in them.
    #[error("nothing to measure: the input is {} of holes, and no data", bytes::show(*bytes))]
    OnlyHoles { bytes: u64 },
    /// Mappings were asked for, and nothing in the input has any.
    #[error("--maps needs a process (--pid, --all) or a core file; the input is neither")]
    NoMappings,
    /// The whole input is larger than the sampled fraction can show.
    #[error("nothing to measure: no page of {pages} was sampled; raise --sample or change --seed")]
    EmptySample { pages: u64 },
    /// The pages to keep, and a pool of them, would take more memory than there is.
    #[error("the sample of {} is larger than the {} for which there is room, with a pool of it, in the memory that {bound} leaves; {advice}", bytes::show(*.wanted), bytes::show(*.cap))]
    SampleTooLarge { wanted: u64, cap: u64, bound: String, advice: String },
    /// Not even a small pool finds address space.
    #[error("there is no address space for a pool; raise `ulimit -v`")]
    AddressSpace,
    /// An allocation that can be done without failed.
    #[error("out of memory: no room for {} of {what}; {OUT_OF_MEMORY_ADVICE}", bytes::show(*.bytes))]
    OutOfMemory { bytes: u64, what: &'static str },
    /// More pages than a page number holds.
    #[error("more than {} pages are sampled; use a smaller --sample", u32::MAX)]
    TooManyPages,
    /// No pool can be built with the limit that was given.
    #[error("{0}")]
    Limit(BuildError),
    /// A pool could not be built.
    #[error("{0}; {OUT_OF_MEMORY_ADVICE}")]
    Build(#[from] BuildError),
    /// A codec refused its configuration.
    #[error(transparent)]
    Codec(#[from] BuildCodecError),
    /// A pool refused a page for another reason than its limit.
    #[error("{allocator} did not store page {page}: {reason}")]
    Store { allocator: &'static str, page: String, reason: AllocError },
    /// A pool did not know a handle that it gave out.
    #[error("{allocator} did not free page {page}: {reason}")]
    Free { allocator: &'static str, page: String, reason: HandleError },
    /// The kernel's figures could not be read.
    #[error("the memory figures of this process could not be read: {0}")]
    MemoryFigures(#[from] ProcfsError),
    /// How much memory there is could not be found out.
    #[error("the available memory could not be read from /proc/meminfo: {0}")]
    AvailableMemory(String),
    /// Ctrl-C cannot be caught.
    #[error("the handler for Ctrl-C could not be set: {0}")]
    Interrupt(String),
    /// A thread could not be started.
    #[error(
        "a thread could not be started: {0}; use fewer --threads, or raise the limit (ulimit -u, ulimit -v)"
    )]
    Thread(io::Error),
    /// The page with charts has no place, or could not be written there.
    #[error(transparent)]
    Html(#[from] HtmlError),
    /// The lengths for a table of size classes could not be read.
    #[error(transparent)]
    Sizes(#[from] SizesError),
    /// The list of inputs could not be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// A trace could not be used.
    #[error("{}: {source}", path.display())]
    Trace { path: PathBuf, source: TraceError },
    /// A trace has no place.
    #[error("{}: {source}", path.display())]
    Record { path: PathBuf, source: io::Error },
    /// The report could not be written.
    #[error("the report could not be written: {0}")]
    Output(io::Error),
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more inputs could not be read)") }
}

impl Failure {
    /// The code that goes with this failure.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Limit(_)
            | Self::NoMappings
            | Self::Trace { .. }
            | Self::Record { .. }
            | Self::Codec(BuildCodecError::NotInThisBuild { .. }) => Exit::Usage,
            Self::Html(error) if error.is_early() => Exit::Usage,
            _ => Exit::Failed,
        }
    }

    /// Prints the failure as one line on stderr.
    pub(crate) fn print(self) -> Exit {
        complain(&self.to_string());
        self.exit()
    }
}

/// Writes a text to stdout, whole. A reader that closes the pipe early has seen what it wanted.
///
/// # Errors
/// [`Failure::Output`].
pub(crate) fn print_text(text: &[u8]) -> Result<Exit, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(Exit::Success),
    }
}

/// Writes one line to stderr, without control characters: it may hold a file's name or an argument. If even that fails
/// there is nothing left to do.
pub(crate) fn complain(message: &str) {
    let line: String = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "pagefold: {}", printable(&line));
}
