//! Signals that are not the region's, and faults in signal handlers.

use std::{
    cell::Cell,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use pagefold_region::{Advice, FaultMode};

use crate::{
    common::{PAGE, fill, mix, modes, region, word},
    parts,
};

fn set(signal: i32, handler: libc::sighandler_t) {
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: a valid action.
    let answer = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
}

/// A `SIGBUS` that is no region's: a mapped file that was cut off.
fn touch_beyond_a_file() {
    use std::os::fd::AsRawFd as _;
    let file = tempfile::tempfile().expect("a file");
    touch(map(libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd()));
}

/// A page of a new mapping.
fn map(protection: i32, flags: i32, file: i32) -> *const u8 {
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, flags, file, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start.cast()
}

fn touch(address: *const u8) {
    // SAFETY: a fault, which is what is tested.
    std::hint::black_box(unsafe { address.read_volatile() });
}

fn touch_nothing() {
    touch(map(libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1));
}

extern "C" fn exit_with_43(number: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a record.
    let record = unsafe { &*info };
    // SAFETY: `_exit` is for handlers.
    unsafe { libc::_exit(if record.si_signo == number { 43 } else { 1 }) };
}

fn handler(f: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void)) -> libc::sighandler_t {
    f as libc::sighandler_t
}

/// What a part does, by the name of the case.
fn part(case: &str) {
    let Some(mode) = parts::mode() else { return };
    let before = match case {
        "handled" => handler(exit_with_43),
        "ignored" => libc::SIG_IGN,
        _ => libc::SIG_DFL,
    };
    set(libc::SIGBUS, before);
    set(libc::SIGSEGV, before);
    let mut region = region(mode, 1024, 256);
    region.as_mut_slice().fill(3);
    assert!(region.check_handler().expect("a signal"));
    // A sent signal that is ignored stays so.
    if case == "ignored" {
        for signal in [libc::SIGBUS, libc::SIGSEGV] {
            // SAFETY: a signal to this process.
            unsafe { libc::raise(signal) };
        }
    }
    assert!(region.as_slice().iter().all(|&byte| byte == 3));
    match std::env::var("PAGEFOLD_REGION_TOUCH").as_deref() {
        Ok("bus") => touch_beyond_a_file(),
        Ok("segv") => touch_nothing(),
        Ok("sent") => {
            // SAFETY: a signal to this process.
            unsafe { libc::raise(libc::SIGBUS) };
        }
        _ => {}
    }
}

#[test]
#[ignore = "run by what_is_not_the_regions"]
fn part_handled() {
    part("handled");
}

#[test]
#[ignore = "run by what_is_not_the_regions"]
fn part_ignored() {
    part("ignored");
}

#[test]
#[ignore = "run by what_is_not_the_regions"]
fn part_default() {
    part("default");
}

#[test]
fn what_is_not_the_regions() {
    for mode in modes() {
        let run = |name: &str, touch: &str| {
            eprintln!("{mode} {name} {touch}");
            parts::wait(parts::command(name, mode).env("PAGEFOLD_REGION_TOUCH", touch))
        };
        for touch in ["bus", "segv", "sent"] {
            let signal = if touch == "segv" { libc::SIGSEGV } else { libc::SIGBUS };
            let handled = run("signals::part_handled", touch);
            assert_eq!(handled.output.status.code(), Some(43), "{handled:?}");
            run("signals::part_default", touch).assert_killed(signal);
            let ignored = run("signals::part_ignored", touch);
            if touch == "sent" {
                ignored.assert_passed();
            } else {
                // The kernel ignores no fault.
                ignored.assert_killed(signal);
            }
        }
    }
}

#[test]
fn a_replaced_handler_is_noticed() {
    for mode in modes().into_iter().filter(|mode| *mode != FaultMode::Thread) {
        parts::run("signals::part_replaced", mode).assert_passed();
    }
}

#[test]
#[ignore = "run by a_replaced_handler_is_noticed"]
fn part_replaced() {
    let Some(mode) = parts::mode() else { return };
    let region = region(mode, 1024, 256);
    assert!(region.check_handler().expect("a signal"));
    let signal = if mode == FaultMode::Guard { libc::SIGSEGV } else { libc::SIGBUS };
    set(signal, libc::SIG_DFL);
    assert!(!region.check_handler().expect("a signal"));
}

thread_local! {
    /// What the thread that a signal interrupts is inside of.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

static REGION: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static HITS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static WRONG: AtomicU64 = AtomicU64::new(0);
static NEXT: AtomicUsize = AtomicUsize::new(1);
const PAGES: usize = 2048;
/// Of the handler's own.
const FIRST: usize = 1024;

extern "C" fn touch_some(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let page = FIRST + usize::try_from(mix(number as u64)).unwrap_or(0) % (PAGES - FIRST);
    for at in [2, 3, 511] {
        let address = REGION.load(Ordering::Relaxed).cast::<u64>().wrapping_add(page * 512 + at);
        // SAFETY: a word of the region, in a page that no thread writes.
        let found = unsafe { address.read_volatile() };
        if found != word(page, 1, at) {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
    }
    HITS[INSIDE.get()].fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_faults_while_it_interrupts_our_code() {
    for mode in modes() {
        let part = parts::run("signals::part_interrupted", mode);
        eprintln!("{mode}: {}", part.stderr());
        part.assert_passed();
    }
}

#[test]
#[ignore = "run by a_handler_faults_while_it_interrupts_our_code"]
fn part_interrupted() {
    let Some(mode) = parts::mode() else { return };
    let mut region = region(mode, PAGES, 256);
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
        fill(page, number, 1);
    }
    REGION.store(region.as_mut_ptr(), Ordering::Relaxed);
    set(libc::SIGALRM, handler(touch_some));
    let every = libc::timeval { tv_sec: 0, tv_usec: 150 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: a valid timer.
    let armed =
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(armed, 0);
    let inside = |number: usize, f: &mut dyn FnMut()| {
        INSIDE.set(number);
        f();
        INSIDE.set(0);
    };
    let until = Instant::now() + Duration::from_secs(2);
    let mut page = 0;
    while Instant::now() < until {
        page = (page + 37) % (FIRST - 16);
        let range = page * PAGE..(page + 16) * PAGE;
        inside(1, &mut || region.advise(range.clone(), Advice::Cold).expect("a range"));
        inside(2, &mut || drop(region.pin(range.clone()).expect("room")));
        inside(3, &mut || region.discard(range.clone()).expect("a range"));
        region.as_mut_slice()[range].fill(9);
    }
    let never = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval { tv_sec: 0, tv_usec: 0 },
    };
    // SAFETY: as above.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const never, std::ptr::null_mut()) };
    let hits = HITS.each_ref().map(|hits| hits.load(Ordering::Relaxed));
    eprintln!("signals in the program, advise, pin, discard: {hits:?}");
    assert_eq!(WRONG.load(Ordering::Relaxed), 0);
    assert!(hits.iter().all(|&hits| hits > 10), "{hits:?}");
}
