//! Tries in a child what a filter may kill for.
//!
//! A seccomp filter may refuse a call, or end the process. The child is a raw `clone`: no handlers of forks run, other
//! threads' locks may be taken, and no `SIGCHLD` is sent.

use std::io;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With this code.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

/// Runs `trial` in a child; its answer is the exit code.
///
/// # Errors
/// The system's, if it makes no child.
///
/// # Safety
/// `trial` is async-signal-safe: it allocates nothing and takes no lock.
pub unsafe fn in_child(trial: fn() -> u8) -> io::Result<Outcome> {
    // SAFETY: without CLONE_VM the child has a copy of everything, and ends below; no other code of it runs.
    let child =
        unsafe { libc::syscall(libc::SYS_clone, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize) };
    if child == 0 {
        let code = trial();
        // SAFETY: ends the child, without handlers of the exit.
        unsafe { libc::_exit(i32::from(code)) };
    }
    let child = i32::try_from(child).ok().filter(|child| *child > 0);
    let child = child.ok_or_else(io::Error::last_os_error)?;
    let mut status = 0;
    loop {
        // SAFETY: a child of this process, and room for its status.
        let answer = unsafe { libc::waitpid(child, &raw mut status, libc::__WALL) };
        let error = io::Error::last_os_error();
        match answer {
            -1 if error.kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(error),
            _ => break,
        }
    }
    Ok(if libc::WIFSIGNALED(status) {
        Outcome::Killed(libc::WTERMSIG(status))
    } else {
        Outcome::Exited(u8::try_from(libc::WEXITSTATUS(status) & 0xff).unwrap_or(u8::MAX))
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_child_answers_or_is_killed() {
        // SAFETY: returns a number.
        assert_eq!(unsafe { in_child(|| 7) }.expect("a child"), Outcome::Exited(7));
        let killed = || {
            // SAFETY: no arguments.
            let own = unsafe { libc::getpid() };
            // SAFETY: a signal to the calling process.
            unsafe { libc::kill(own, libc::SIGKILL) };
            0
        };
        // SAFETY: one system call.
        let outcome = unsafe { in_child(killed) }.expect("a child");
        assert_eq!(outcome, Outcome::Killed(libc::SIGKILL));
    }
}
