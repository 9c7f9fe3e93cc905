//! Which signals were ignored when this program began.
//!
//! `nohup` and shells start programs with ignored signals; a handler would override that choice.

use std::{io, ptr};

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
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
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
