//! Extents in a service.

use std::{fmt, io, sync::Arc};

use opendal::{Buffer, Operator, options::ReadOptions};
use pagefold_spill::Backing;
use pagefold_sys::quiesce::fork_generation;
use tokio::{runtime::Runtime, task::JoinHandle};

use crate::{
    error::{OpendalError, io_error},
    home::Home,
    options::{Calls, Options},
    prefix,
};

const THREADS: usize = 2;

/// Extents in a service, under a random prefix.
///
/// # Concurrency
/// Calls block their thread; they may be made from any thread that is no worker of an asynchronous runtime.
///
/// # Fork
/// The child of a fork has no threads for calls: they are `Unsupported` there, and dropping it removes nothing.
pub struct OpendalBacking {
    home: Arc<Home>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    /// Renews the lease; `None` as above.
    life: Option<JoinHandle<()>>,
    process: u64,
}

impl fmt::Debug for OpendalBacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpendalBacking")
            .field("service", &self.home.operator().info().scheme())
            .field("prefix", &self.home.path)
            .finish_non_exhaustive()
    }
}

pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("pagefold-opendal")
        .enable_all()
        .build()
}

impl OpendalBacking {
    /// Under a new random prefix below `prefix`. Writes there once, to say that the store lives.
    ///
    /// # Errors
    /// [`OpendalError`]; nothing is left in the service then, if that still answers.
    pub fn new(operator: Operator, prefix: &str, options: Options) -> Result<Self, OpendalError> {
        let top = prefix::top(prefix)?;
        let id = prefix::new_id().map_err(OpendalError::System)?;
        let runtime = runtime().map_err(OpendalError::System)?;
        let home = Arc::new(Home::new(Calls::new(operator, options), top, id));
        if let Err(error) = runtime.block_on(home.begin()) {
            let _ = runtime.block_on(home.end());
            return Err(error.into());
        }
        let own = Arc::clone(&home);
        let life = Some(runtime.spawn(async move { own.live().await }));
        Ok(Self { home, runtime: Some(runtime), life, process: fork_generation() })
    }

    /// Where its extents lie.
    pub fn prefix(&self) -> &str {
        &self.home.path
    }

    /// Ends without cleaning, as a process that is killed: for tests.
    #[doc(hidden)]
    pub fn crash(mut self) {
        if let (Some(runtime), Some(life)) = (self.runtime.take(), self.life.take()) {
            life.abort();
            let _ = runtime.block_on(life);
        }
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
}

impl Backing for OpendalBacking {
    fn write(&self, slot: u32, bytes: &[u8]) -> io::Result<()> {
        let bytes = Buffer::from(bytes.to_vec());
        self.runtime()?.block_on(self.home.write(slot, bytes)).map_err(io_error)
    }

    fn read(&self, slot: u32, offset: u32, into: &mut [u8]) -> io::Result<()> {
        let runtime = self.runtime()?;
        let start = u64::from(offset);
        let range = (start..start + into.len() as u64).into();
        let options = ReadOptions { range, ..ReadOptions::default() };
        let path = self.home.path_of_slot(slot);
        let read = runtime.block_on(self.home.operator().read_options(&path, options));
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
        self.runtime()?.block_on(self.home.discard(slot)).map_err(io_error)
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
        let (home, life) = (Arc::clone(&self.home), self.life.take());
        // A thread of its own, because the caller's may belong to another runtime.
        let cleaner = std::thread::Builder::new().spawn(move || {
            if let Some(life) = life {
                // Or it would write another lease.
                life.abort();
                let _ = runtime.block_on(life);
            }
            if let Err(error) = runtime.block_on(home.end()) {
                tracing::warn!(%error, path = home.path, "spilled pages stay in the service; `collect` removes them");
            }
            runtime.shutdown_background();
        });
        if let Ok(cleaner) = cleaner {
            let _ = cleaner.join();
        }
    }
}
