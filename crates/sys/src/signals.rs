//! Which signals were ignored when this program began; signals that wait.
//!
//! `nohup` and shells start programs with ignored signals; a handler would override that choice.

use std::{io, marker::PhantomData, mem::MaybeUninit, ptr};

/// All signals of this thread wait until it is dropped. A fault meanwhile ends the process.
#[derive(Debug)]
#[must_use = "signals wait until the guard is dropped"]
pub struct Blocked {
    before: libc::sigset_t,
    of_this_thread: PhantomData<*const ()>,
}

impl Blocked {
    /// From now on.
    pub fn new() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: room for one set, which the call fills.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: filled by the call above, which does not fail.
        let all = unsafe { all.assume_init() };
        Self { before: mask(&all), of_this_thread: PhantomData }
    }
}

impl Default for Blocked {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        mask(&self.before);
    }
}

/// Sets this thread's mask; returns the one before. Async-signal-safe.
pub(crate) fn mask(set: &libc::sigset_t) -> libc::sigset_t {
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a valid set, and room for the old one; it fails only for an unknown first argument.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, before.as_mut_ptr()) };
    // SAFETY: the call has filled it, and zeros are a set too.
    unsafe { before.assume_init() }
}

/// Whether this process ignores the signal (`SIG_IGN`).
///
/// # Errors
/// The system's; `EINVAL` for a number that is not a signal.
///
/// # Examples
/// ```
// Rust's own start-up code ignores this one, so that a closed pipe is an error and not the end.
/// assert!(pagefold_sys::signals::is_ignored(13)?);
/// assert!(!pagefold_sys::signals::is_ignored(15)?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null new action changes nothing; the call writes one `sigaction` to the other pointer, which has room
    // for one.
    let answer = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it has written the action.
    let action = unsafe { action.assume_init() };
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_no_signal_is_an_error() {
        for wrong in [0, -1, 1000] {
            assert_eq!(
                is_ignored(wrong).unwrap_err().raw_os_error(),
                Some(libc::EINVAL),
                "{wrong}"
            );
        }
    }

    #[test]
    fn ignored_and_default_are_told_apart() {
        assert!(is_ignored(libc::SIGPIPE).unwrap());
        assert!(!is_ignored(libc::SIGTERM).unwrap());
    }
}
