//! The kernel's zram swap, as a peer: a device of the bench's own, and for each figure a process in a memory cgroup.
//!
//! The limit of the cgroup is that of the region, and [`OWN_BYTES`] for what the process has beside the data: program, stack, page
//! tables. Compressed pages are not counted, as those of a region are not.

use std::{
    env,
    io::{BufWriter, Read as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use pagefold_testkit::{memory_cgroup::MemoryCgroup, zram::ZramSwap};

use signal_hook::consts::SIGKILL;
use thiserror::Error;

use super::{config::Share, place::Ran, report::Outcome, workload::Workload};
use crate::interrupt::Interrupt;

/// What a process has beside its data, at most.
const OWN_BYTES: usize = 1 << 20;
/// How often a process is asked whether it has ended.
const NAP: Duration = Duration::from_millis(20);

/// How often a process is started that the kernel kills.
const TRIES_MAX: u32 = 5;

/// Why a process has no figures.
#[derive(Debug, Error)]
enum Failure {
    /// In a cgroup of a few MiB the kernel's reclaim sometimes finds nothing that it would take.
    #[error("the kernel killed the process for its limit, {TRIES_MAX} times")]
    Killed,
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Other(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// What must be gone before the command ends, in this order.
#[derive(Default)]
struct Held {
    child: Option<Child>,
    cgroup: Option<MemoryCgroup>,
    zram: Option<ZramSwap>,
}

impl Held {
    fn end_child(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.cgroup = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end_child();
        self.zram = None;
    }
}

/// The device, or why there is none.
pub(super) struct Peer {
    held: Arc<Mutex<Held>>,
    missing: Option<String>,
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The interrupt has the other reference.
        drop(std::mem::take(&mut *lock(&self.held)));
    }
}

impl Peer {
    /// A swap device for `bytes` of data; it is taken away when this is dropped, and when an interrupt ends the process.
    pub(super) fn new(algorithm: Option<&str>, bytes: u64, interrupt: &Interrupt) -> Self {
        let held = Arc::new(Mutex::new(Held::default()));
        let at_end = Arc::clone(&held);
        interrupt.before_exit(move || drop(std::mem::take(&mut *lock(&at_end))));
        let made = match algorithm {
            None => Err("not asked for".to_owned()),
            // Twice the data: pages that come back keep their slot for a while.
            Some(algorithm) => {
                ZramSwap::new(algorithm, bytes * 2 + (16 << 20)).map_err(|error| error.to_string())
            }
        };
        let missing = match made {
            Ok(zram) => {
                lock(&held).zram = Some(zram);
                None
            }
            Err(why) => Some(why),
        };
        Self { held, missing }
    }

    /// Why nothing is measured; `None` if there is a device.
    pub(super) fn missing(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// The memory that the device holds, in bytes.
    pub(super) fn held_bytes(&self) -> Option<u64> {
        lock(&self.held).zram.as_ref()?.held_bytes().ok()
    }

    /// A workload in a process whose memory is limited.
    pub(super) fn run(
        &self,
        workload: &Workload,
        data: &[u64],
        share: Share,
        busy: bool,
        interrupt: &Interrupt,
    ) -> Outcome {
        if let Some(why) = &self.missing {
            return Outcome::Skipped(why.clone());
        }
        let mut killed = 0;
        loop {
            let ran = self.try_run(workload, data, share, busy, interrupt);
            lock(&self.held).end_child();
            match ran {
                Ok(ran) => return Outcome::Ran(ran, killed),
                Err(Failure::Killed) if killed + 1 < TRIES_MAX => killed += 1,
                Err(failure) => return Outcome::Skipped(failure.to_string()),
            }
        }
    }

    fn try_run(
        &self,
        workload: &Workload,
        data: &[u64],
        share: Share,
        busy: bool,
        interrupt: &Interrupt,
    ) -> Result<Ran, Failure> {
        let limit = share.bytes(size_of_val(data)) + OWN_BYTES;
        let cgroup = MemoryCgroup::new("pagefold-bench", limit as u64)
            .map_err(|error| format!("no memory cgroup: {error}"))?;
        let program = env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["bench", "swapped", workload.name, &data.len().to_string()]);
        if busy {
            command.arg("--busy");
        }
        // A group of its own: Ctrl-C at a terminal is for the bench, which ends it.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|error| format!("no process: {error}"))?;
        let (stdin, id) = (child.stdin.take(), child.id());
        {
            let mut held = lock(&self.held);
            (held.child, held.cgroup) = (Some(child), Some(cgroup));
            // It waits for its input.
            let moved = held.cgroup.as_ref().map_or(Ok(()), |cgroup| cgroup.add(id));
            moved.map_err(|error| format!("the memory cgroup takes no process: {error}"))?;
        }
        let written = stdin.map_or(Ok(()), |stdin| {
            let mut stdin = BufWriter::new(stdin);
            data.iter().try_for_each(|word| stdin.write_all(&word.to_ne_bytes()))?;
            stdin.flush()
        });
        let status = loop {
            if interrupt.is_requested() {
                return Err(Failure::Interrupted);
            }
            match lock(&self.held).child.as_mut().map(Child::try_wait) {
                Some(Ok(None)) => {}
                Some(Ok(Some(status))) => break status,
                Some(Err(error)) => return Err(Failure::Other(error.to_string())),
                None => return Err(Failure::Interrupted),
            }
            thread::sleep(NAP);
        };
        let mut held = lock(&self.held);
        let (mut printed, mut said) = (String::new(), String::new());
        if let Some(child) = held.child.as_mut() {
            // What cannot be read is not there.
            let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut printed));
            let _ = child.stderr.take().map(|mut out| out.read_to_string(&mut said));
        }
        if status.signal() == Some(SIGKILL) {
            return Err(Failure::Killed);
        }
        if !status.success() {
            let said = said.trim();
            return Err(format!(
                "the process ended with {status}{}{said}",
                if said.is_empty() { "" } else { ": " }
            )
            .into());
        }
        written.map_err(|error| format!("the process took no data: {error}"))?;
        let peak = held.cgroup.as_ref().and_then(MemoryCgroup::peak_bytes);
        if let Some(peak) = peak.filter(|&peak| peak > limit as u64) {
            return Err(format!("the cgroup let it have {peak} bytes, of {limit}").into());
        }
        serde_json::from_str(&printed).map_err(|error| error.to_string().into())
    }
}
