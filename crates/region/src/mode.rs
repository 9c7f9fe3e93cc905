//! How faults are served, and which ways this machine allows.

use std::{fmt, io, ops::Range, sync::OnceLock};

use pagefold_store::PAGE_BYTES;
use pagefold_sys::{
    memory::{self, CoreDump},
    pages::{self, MemoryFile},
    probe::{Outcome, in_child},
    userfault::{Delivery, FEATURE_WP, Userfault},
};
use serde::Serialize;

/// How a region serves faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FaultMode {
    /// The first of `Inline` and `Guard` that this process may use.
    #[default]
    Auto,
    /// userfaultfd with `SIGBUS`: the thread that touches a page serves it. The cheapest. Calls of the system on cold memory fail.
    Inline,
    /// Guard pages over a file in memory, with `SIGSEGV`: as `Inline`, where userfaultfd is refused, as in containers.
    Guard,
    /// userfaultfd with a thread that serves all faults, those of system calls too. Needs root, `CAP_SYS_PTRACE`, or
    /// `vm.unprivileged_userfaultfd = 1`.
    Thread,
}

impl FaultMode {
    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Inline => "inline",
            Self::Guard => "guard",
            Self::Thread => "thread",
        }
    }
}

impl fmt::Display for FaultMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a mode works here, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ModeReport {
    /// The mode.
    pub mode: FaultMode,
    /// Whether a region can use it.
    pub works: bool,
    /// Why, or why not; one line.
    pub reason: String,
    /// What would make it work; empty if it does.
    pub remedy: String,
}

/// Tries all modes, each in a child of its own: a filter of system calls may kill instead of refusing.
///
/// # Examples
/// ```
/// for report in pagefold_region::probe_modes() {
///     println!("{}: {} {}", report.mode, report.reason, report.remedy);
/// }
/// ```
pub fn probe_modes() -> Vec<ModeReport> {
    [FaultMode::Inline, FaultMode::Guard, FaultMode::Thread].map(probe).to_vec()
}

/// As [`probe`], once a process: a child has a copy of the parent's page tables, which takes milliseconds where there are gigabytes.
pub(crate) fn probe_once(mode: FaultMode) -> ModeReport {
    static REPORTS: [OnceLock<ModeReport>; 4] = [const { OnceLock::new() }; 4];
    let number = match mode {
        FaultMode::Auto => 0,
        FaultMode::Inline => 1,
        FaultMode::Guard => 2,
        FaultMode::Thread => 3,
    };
    REPORTS[number].get_or_init(|| probe(mode)).clone()
}

/// Tries one mode; for `Auto`, the one that it would be.
fn probe(mode: FaultMode) -> ModeReport {
    let trial: fn() -> u8 = match mode {
        FaultMode::Auto => {
            let inline = probe(FaultMode::Inline);
            if inline.works {
                return inline;
            }
            let mut guard = probe(FaultMode::Guard);
            guard.reason = format!("{}; inline: {}", guard.reason, inline.reason);
            return guard;
        }
        FaultMode::Inline => || code(try_userfault(Delivery::Signal)),
        FaultMode::Thread => || code(try_userfault(Delivery::Event)),
        FaultMode::Guard => || code(try_guards()),
    };
    // SAFETY: the trials make system calls and nothing else.
    let outcome = unsafe { in_child(trial) };
    let (works, reason) = match outcome {
        Ok(Outcome::Exited(0)) => (true, format!("{} works", what(mode))),
        Ok(Outcome::Exited(number)) => {
            let error = io::Error::from_raw_os_error(number.into());
            (false, format!("{} is refused: {error}", what(mode)))
        }
        Ok(Outcome::Killed(signal)) => {
            (false, format!("a filter kills for {} (signal {signal})", what(mode)))
        }
        Err(error) => (false, format!("no child to try {} in: {error}", what(mode))),
    };
    let remedy = if works { String::new() } else { remedy(mode).to_owned() };
    ModeReport { mode, works, reason, remedy }
}

fn what(mode: FaultMode) -> &'static str {
    match mode {
        FaultMode::Auto | FaultMode::Inline => "userfaultfd in user mode",
        FaultMode::Guard => "a memory file with guard pages",
        FaultMode::Thread => "userfaultfd for faults of the kernel",
    }
}

fn remedy(mode: FaultMode) -> &'static str {
    match mode {
        FaultMode::Auto | FaultMode::Inline => {
            "Linux 5.11 or later, and a seccomp profile that allows userfaultfd and process_vm_readv"
        }
        FaultMode::Guard => "Linux 6.15 or later, and a seccomp profile that allows madvise",
        FaultMode::Thread => {
            "run as root or with CAP_SYS_PTRACE, or set vm.unprivileged_userfaultfd = 1"
        }
    }
}

fn code(outcome: io::Result<()>) -> u8 {
    let number = |error: io::Error| error.raw_os_error().unwrap_or(libc_einval());
    outcome.map_or_else(|error| u8::try_from(number(error)).unwrap_or(u8::MAX).max(1), |()| 0)
}

fn libc_einval() -> i32 {
    22
}

/// What the backing `inline` calls.
fn try_userfault(delivery: Delivery) -> io::Result<()> {
    let userfault = Userfault::open(delivery, FEATURE_WP)?;
    let memory = memory::reserve(4 * PAGE_BYTES, PAGE_BYTES, CoreDump::Include)
        .and_then(|memory| memory::commit(&memory, 0..4 * PAGE_BYTES).map(|()| memory))
        .map_err(|_| io::Error::from_raw_os_error(12))?;
    let start = memory.base().addr().get();
    // SAFETY: a mapping of this function's own; no fault happens in it.
    unsafe { userfault.register(start, 4 * PAGE_BYTES) }?;
    let page = |number: usize| start + number * PAGE_BYTES;
    // SAFETY: a page of the mapping.
    unsafe { userfault.zero(page(0), PAGE_BYTES) }?;
    let mut content = [0_u8; 64];
    // SAFETY: no thread writes there.
    if unsafe { pages::read_self(&[page(0)], 64, &mut content) }? != 64 {
        return Err(io::Error::from_raw_os_error(1));
    }
    let part = |number: usize| -> Range<usize> { page(number)..page(number + 1) };
    // SAFETY: pages of the mapping.
    unsafe { pages::drop_all(&[part(0), part(2)]) }
}

/// What the backing `guard` calls.
fn try_guards() -> io::Result<()> {
    let file = MemoryFile::new("pagefold-probe", 2 * PAGE_BYTES as u64)?;
    let memory = pages::map_shared(&file, 2 * PAGE_BYTES)?;
    let range = memory.base().addr().get()..memory.base().addr().get() + 2 * PAGE_BYTES;
    // SAFETY: a mapping of this function's own; no fault happens in it.
    unsafe { pages::install_guards(&range) }?;
    file.write(0, &[1; 64])?;
    file.punch(0, PAGE_BYTES as u64)?;
    // SAFETY: as above.
    unsafe { pages::remove_guards(&range) }
}
