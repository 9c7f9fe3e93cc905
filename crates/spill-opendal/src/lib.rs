//! Spilled pages in what [Apache OpenDAL](https://opendal.apache.org) reaches: Redis or Valkey, S3-compatible stores, and others.
//!
//! ```text
//!  PREFIX/ID/slot-7    an extent; it tells nothing, see pagefold_spill
//!  PREFIX/ID/lease     when this store was last alive, in seconds of the Unix epoch
//! ```
//! `ID` is random, so stores share a service without knowing each other. Dropping a [`OpendalBacking`] removes what is under its
//! prefix; [`collect`] removes what stores left behind that died.
//!
//! Each call goes through OpenDAL's layers for retries, timeouts and concurrency, see [`Options`]. A call that is out of time is
//! `TimedOut`; what the service has lost is `NotFound`.
//!
//! ```
//! use pagefold_spill::{Owner, Label, Spill};
//! use pagefold_spill_opendal::{OpendalBacking, Options, opendal::{Operator, services::Memory}};
//!
//! let operator = Operator::new(Memory::default())?;
//! let backing = OpendalBacking::new(operator, "pagefold", Options::default())?;
//! let spill = Spill::builder(backing).build()?;
//! let mut batch = spill.batch()?;
//! batch.push(Owner(0, 7), Label::NONE, b"cold").expect("an extent is longer");
//! let place = spill.write(&mut batch)?.keep(0);
//! assert_eq!(spill.read_object(place)?.1, b"cold");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opendal::{
    Buffer, ErrorKind, Operator,
    layers::{ConcurrentLimitLayer, RetryLayer, TimeoutLayer},
    options::ReadOptions,
};
use pagefold_spill::Backing;
use pagefold_sys::{quiesce::fork_generation, secret::fill_random};
use thiserror::Error;
use tokio::runtime::Runtime;

pub use opendal;

const LEASE: &str = "lease";
/// How often a living store says so.
const LEASE_INTERVAL: Duration = Duration::from_secs(30);
const THREADS: usize = 2;

/// How calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Options {
    retries: usize,
    timeout: Duration,
    concurrency: usize,
}

impl Options {
    /// A call is tried again so many times; 2 by default. Each try waits longer, from 50 ms on.
    pub fn retries(self, retries: usize) -> Self {
        Self { retries, ..self }
    }

    /// For each try; 1 s by default. The reads of a store have a deadline of their own.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Calls at once; 16 by default, at least 1.
    pub fn concurrency(self, calls: usize) -> Self {
        Self { concurrency: calls.max(1), ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { retries: 2, timeout: Duration::from_secs(1), concurrency: 16 }
    }
}

/// The backing could not be made, or the service could not be cleaned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpendalError {
    /// The service's error.
    #[error("the service does not answer: {0}")]
    Service(#[from] opendal::Error),
    /// No threads for calls, or no random bytes.
    #[error("calls of the service cannot be made")]
    System(#[source] io::Error),
}

/// Extents in a service, under a random prefix.
///
/// # Concurrency
/// Calls block their thread; they may be made from any thread that is no worker of an asynchronous runtime.
///
/// # Fork
/// The child of a fork has no threads for calls: they are `Unsupported` there, and dropping it removes nothing.
pub struct OpendalBacking {
    operator: Operator,
    /// With a slash at its end.
    prefix: String,
    /// `None` only while it is dropped.
    runtime: Option<Arc<Runtime>>,
    process: u64,
    /// Slots below this may have an extent.
    slots: AtomicU32,
}

impl fmt::Debug for OpendalBacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpendalBacking")
            .field("service", &self.operator.info().scheme())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl OpendalBacking {
    /// Under a new random prefix below `prefix`. Writes there once, to say that the store lives.
    ///
    /// # Errors
    /// [`OpendalError`]; nothing is left in the service then.
    pub fn new(operator: Operator, prefix: &str, options: Options) -> Result<Self, OpendalError> {
        let mut id = [0; 16];
        fill_random(&mut id).map_err(OpendalError::System)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let prefix = format!("{}/{id}/", prefix.trim_matches('/'));
        let operator = layered(operator, options);
        let runtime = Arc::new(runtime().map_err(OpendalError::System)?);
        let backing = Self { operator, prefix, runtime: Some(runtime), process: fork_generation(), slots: AtomicU32::new(0) };
        backing.begin_lease()?;
        Ok(backing)
    }

    /// Where its extents lie.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn begin_lease(&self) -> Result<(), OpendalError> {
        let (operator, path) = (self.operator.clone(), format!("{}{LEASE}", self.prefix));
        let runtime = self.runtime().map_err(OpendalError::System)?;
        runtime.block_on(operator.write(&path, now_text()))?;
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(LEASE_INTERVAL).await;
                if let Err(error) = operator.write(&path, now_text()).await {
                    tracing::warn!(%error, path, "the lease of the spilled pages was not renewed");
                }
            }
        });
        Ok(())
    }

    fn runtime(&self) -> io::Result<&Runtime> {
        match &self.runtime {
            Some(runtime) if self.process == fork_generation() => Ok(runtime),
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the child of a fork cannot call the service",
            )),
        }
    }

    fn path(&self, slot: u32) -> String {
        format!("{}slot-{slot}", self.prefix)
    }
}

fn layered(operator: Operator, options: Options) -> Operator {
    let retry = RetryLayer::new()
        .with_max_times(options.retries)
        .with_min_delay(Duration::from_millis(50))
        .with_jitter();
    let timeout =
        TimeoutLayer::new().with_timeout(options.timeout).with_io_timeout(options.timeout);
    operator.layer(timeout).layer(retry).layer(ConcurrentLimitLayer::new(options.concurrency))
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("pagefold-opendal")
        .enable_all()
        .build()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn now_text() -> String {
    now().to_string()
}

fn io_error(error: opendal::Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => io::ErrorKind::NotFound,
        ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
        // The layer of timeouts says so in words.
        _ if error.to_string().contains("timeout") => io::ErrorKind::TimedOut,
        ErrorKind::RateLimited => io::ErrorKind::QuotaExceeded,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Backing for OpendalBacking {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        let runtime = self.runtime()?;
        // ORDERING: Relaxed; the drop that reads it comes after all calls.
        self.slots.fetch_max(slot.saturating_add(1), Ordering::Relaxed);
        let bytes = Buffer::from(bytes.to_vec());
        let written = runtime.block_on(self.operator.write(&self.path(slot), bytes));
        written.map(drop).map_err(io_error)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        let runtime = self.runtime()?;
        let start = u64::from(offset);
        let range = (start..start + into.len() as u64).into();
        let options = ReadOptions { range, ..ReadOptions::default() };
        let path = self.path(slot);
        let read = runtime.block_on(self.operator.read_options(&path, options));
        let bytes = read.map_err(io_error)?;
        if bytes.len() != into.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = 0;
        for part in bytes {
            into[at..at + part.len()].copy_from_slice(&part);
            at += part.len();
        }
        Ok(())
    }

    fn discard(&self, slot: u32) -> io::Result<()> {
        let runtime = self.runtime()?;
        runtime.block_on(self.operator.delete(&self.path(slot))).map_err(io_error)
    }
}

impl Drop for OpendalBacking {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.process != fork_generation() {
            // Its threads are the parent's.
            std::mem::forget(runtime);
            return;
        }
        let (operator, prefix) = (self.operator.clone(), std::mem::take(&mut self.prefix));
        // A thread of its own, because the caller's may belong to another runtime.
        let slots = *self.slots.get_mut();
        let cleaner = std::thread::Builder::new().spawn(move || {
            let removed = runtime.block_on(remove(&operator, &prefix, slots));
            if let Err(error) = removed {
                tracing::warn!(%error, prefix, "spilled pages stay in the service; `collect` removes them");
            }
            if let Some(runtime) = Arc::into_inner(runtime) {
                runtime.shutdown_background();
            }
        });
        if let Ok(cleaner) = cleaner {
            let _ = cleaner.join();
        }
    }
}

/// Removes what a store has there. Not every service can list.
async fn remove(operator: &Operator, prefix: &str, slots: u32) -> opendal::Result<()> {
    if operator.info().capability().list {
        return operator.delete_with(prefix).recursive(true).await;
    }
    for slot in 0..slots {
        operator.delete(&format!("{prefix}slot-{slot}")).await?;
    }
    operator.delete(&format!("{prefix}{LEASE}")).await
}

/// What [`collect`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Stores that live.
    pub alive: u64,
    /// Stores whose extents were removed.
    pub removed: u64,
}

/// Removes what stores left behind below `prefix` that gave no sign of life for `older_than`: at least two minutes, because a living store
/// gives one each 30 s. Clocks of machines must agree to that.
///
/// # Errors
/// [`OpendalError::Service`], also for a service that cannot list, such as Redis (`redis-cli --scan` can); what was removed before
/// stays removed.
pub fn collect(
    operator: Operator,
    prefix: &str,
    older_than: Duration,
    options: Options,
) -> Result<Collected, OpendalError> {
    let operator = layered(operator, options);
    let runtime = runtime().map_err(OpendalError::System)?;
    let older_than = older_than.max(4 * LEASE_INTERVAL).as_secs();
    let top = format!("{}/", prefix.trim_matches('/'));
    runtime.block_on(async {
        let mut collected = Collected::default();
        for entry in operator.list_with(&top).recursive(true).await? {
            let Some(store) = entry.path().strip_suffix(LEASE) else { continue };
            let seen = operator.read(entry.path()).await;
            let seen = seen
                .ok()
                .and_then(|text| String::from_utf8(text.to_vec()).ok()?.parse::<u64>().ok());
            if seen.is_some_and(|seen| seen.saturating_add(older_than) > now()) {
                collected.alive += 1;
            } else {
                operator.delete_with(store).recursive(true).await?;
                collected.removed += 1;
            }
        }
        Ok(collected)
    })
}
