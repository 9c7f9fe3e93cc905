//! Why a measurement gives no report, or no complete one; and the exit code for each cause.

use std::io;

use pagefold_codec::BuildCodecError;
use pagefold_pool::{AllocError, BuildError, HandleError};
use thiserror::Error;

#[cfg(feature = "html")]
use super::html_error::HtmlError;
use crate::{bytes, console::OutputError, exit::Exit, interrupt::InterruptError};

pub(crate) const OUT_OF_MEMORY_ADVICE: &str = "use a smaller --sample or fewer --threads, or raise the limit (ulimit -v, ulimit -d, the cgroup's)";

#[derive(Debug, Error)]
pub(crate) enum EstimateError {
    /// Every input was skipped; the first reason stands for all.
    #[error("{first}{}", and_more(*more))]
    NothingReadable { first: String, more: usize },
    #[error("nothing to measure: the input is empty")]
    EmptyInput,
    #[error("nothing to measure: the input is {} of holes, and no data", bytes::show(*bytes))]
    OnlyHoles { bytes: u64 },
    #[error("--maps needs a process (--pid, --all) or a core file; the input is neither")]
    NoMappings,
    /// The sampled fraction of the input has no page.
    #[error("nothing to measure: no page of {pages} was sampled; raise --sample or change --seed")]
    EmptySample { pages: u64 },
    /// The sample, with a pool of it, needs more memory than there is.
    #[error("the sample of {} is larger than the {} for which there is room, with a pool of it, in the memory that {bound} leaves; {advice}", bytes::show(*.wanted), bytes::show(*.cap))]
    SampleTooLarge { wanted: u64, cap: u64, bound: String, advice: String },
    #[error("there is no address space for a pool; raise `ulimit -v`")]
    AddressSpace,
    #[error("out of memory: no room for {} of {what}; {OUT_OF_MEMORY_ADVICE}", bytes::show(*.bytes))]
    OutOfMemory { bytes: u64, what: &'static str },
    #[error("more than {} pages are sampled; use a smaller --sample", u32::MAX)]
    TooManyPages,
    /// No pool can be built with the given limit.
    #[error("{0}")]
    Limit(BuildError),
    #[error("{0}; {OUT_OF_MEMORY_ADVICE}")]
    Build(#[from] BuildError),
    #[error(transparent)]
    Codec(#[from] BuildCodecError),
    /// A pool refused a page for another reason than its limit.
    #[error("{allocator} did not store page {page}: {reason}")]
    Store { allocator: &'static str, page: String, reason: AllocError },
    /// A pool did not know a handle that it gave out.
    #[error("{allocator} did not free page {page}: {reason}")]
    Free { allocator: &'static str, page: String, reason: HandleError },
    #[error("the available memory could not be read from /proc/meminfo: {0}")]
    AvailableMemory(String),
    #[error(transparent)]
    Interrupt(#[from] InterruptError),
    #[error(
        "a thread could not be started: {0}; use fewer --threads, or raise the limit (ulimit -u, ulimit -v)"
    )]
    Thread(io::Error),
    /// The page with charts has no valid path, or could not be written.
    #[cfg(feature = "html")]
    #[error(transparent)]
    Html(#[from] HtmlError),
    #[cfg(not(feature = "html"))]
    #[error(
        "--html: this build of pagefold has no HTML report; install it with the cargo feature `html`, or use --json"
    )]
    NoHtml,
    #[error("verification failed: page {page} did not come back from its base page")]
    Mismatch { page: String },
    /// Nothing can be compared.
    #[error("the base {name} cannot be used: {why}")]
    Base { name: String, why: String },
    #[error(transparent)]
    List(#[from] ListError),
    #[error(transparent)]
    Output(#[from] OutputError),
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more inputs could not be read)") }
}

impl From<&EstimateError> for Exit {
    fn from(error: &EstimateError) -> Self {
        match error {
            EstimateError::Limit(_)
            | EstimateError::NoMappings
            | EstimateError::Codec(BuildCodecError::NotInThisBuild { .. }) => Self::Usage,
            #[cfg(feature = "html")]
            EstimateError::Html(error) if error.is_early() => Self::Usage,
            #[cfg(not(feature = "html"))]
            EstimateError::NoHtml => Self::Usage,
            _ => Self::Failed,
        }
    }
}

#[derive(Debug, Error)]
pub(crate) enum ListError {
    #[error("{list}: {error}")]
    Io { list: String, error: io::Error },
    #[error("{list} lists no file; write names that end in a zero byte, as find -print0 does")]
    Empty { list: String },
    #[error(
        "{list}: name {number} is empty; names end in a zero byte, as find -print0 writes them"
    )]
    EmptyName { list: String, number: usize },
}
