//! A child that is to be interrupted: it must not inherit that signals are ignored.
//!
//! `nohup`, and a shell that starts a job in the background, start their programs with signals ignored, and the command leaves
//! what is ignored as it is. Tests that run in such a job would wait for ever for a child that ignores them.

use std::{os::unix::process::CommandExt as _, process::Command};

/// Starts the command with the default dispositions of the signals that interrupt it.
pub(crate) fn with_default_signals(command: &mut Command) -> &mut Command {
    let reset = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            // SAFETY: async-signal-safe, as is needed between fork and exec, and the default disposition is no function.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure calls `signal` alone, which is async-signal-safe; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(reset) }
}
