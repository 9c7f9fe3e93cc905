//! A child that a test interrupts must not inherit ignored signals.
//!
//! `nohup` and background jobs start programs with signals ignored, and the command keeps them so. Tests there would
//! wait for ever.

use std::{os::unix::process::CommandExt as _, process::Command};

/// Restores the default dispositions.
pub(crate) fn with_default_signals(command: &mut Command) -> &mut Command {
    let reset = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            // SAFETY: async-signal-safe, as needed between fork and exec; the default disposition is no function.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure calls `signal` alone, which is async-signal-safe; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(reset) }
}
