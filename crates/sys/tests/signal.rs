//! `try_enter` in a signal handler that interrupts all other methods of the same gate in the same thread.
#![cfg(unix)]

use std::{
    os::unix::thread::JoinHandleExt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use pagefold_sys::quiesce::Gate;

static GATE: OnceLock<Gate> = OnceLock::new();
static ENTERED: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_signal: libc::c_int) {
    let gate = GATE.get().expect("made before the first signal");
    let outer = gate.try_enter();
    let nested = gate.try_enter();
    let counter = if outer.is_some() && nested.is_some() { &ENTERED } else { &REFUSED };
    counter.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_enters_or_is_refused_and_never_waits_nor_miscounts() {
    let gate = GATE.get_or_init(|| Gate::new().expect("memory for the handlers"));
    // SAFETY: the handler has the signature of one without further information, and calls what is documented to be
    // async-signal-safe.
    let old = unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
    assert_ne!(old, libc::SIG_ERR);
    static DONE: AtomicBool = AtomicBool::new(false);
    let target = thread::spawn(|| {
        let gate = GATE.get().expect("made above");
        while !DONE.load(Ordering::Relaxed) {
            let first = gate.enter().expect("not abandoned");
            let second = gate.enter().expect("not abandoned");
            drop(first);
            drop(second);
            if let Some(_quiet) = gate.quiesce(Duration::MAX) {
                drop(gate.enter());
            }
        }
    });
    let signals = |wanted: &AtomicUsize| {
        while wanted.load(Ordering::Relaxed) < 2000 {
            // SAFETY: the thread was not joined yet, so its handle is valid.
            let sent = unsafe { libc::pthread_kill(target.as_pthread_t(), libc::SIGUSR1) };
            assert_eq!(sent, 0);
            // And another thread that closes the gate.
            drop(gate.quiesce(Duration::from_millis(1)));
        }
    };
    signals(&ENTERED);
    signals(&REFUSED);
    DONE.store(true, Ordering::Relaxed);
    target.join().expect("no panic");
    assert!(gate.quiesce(Duration::ZERO).is_some(), "an operation was counted wrongly");
}
