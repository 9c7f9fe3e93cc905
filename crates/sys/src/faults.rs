//! The signals of page faults, `SIGBUS` and `SIGSEGV`: first a server of faults, then the handler that was there before.
//!
//! ```text
//!  signal --> of a fault? --yes--> serve(fault) --true--> return, the access is repeated
//!               | no                  | false
//!               +---------------------+--> previous handler | ignored | killed, as without this module
//! ```
//! The handler runs on the stack of the thread that faulted, with all signals blocked, and keeps `errno`. It is installed
//! without `SA_ONSTACK`: alternate stacks are often too small for a codec. So a stack that overflows ends the process with
//! `SIGSEGV`, without a message of the runtime.

use std::{
    ffi::c_void,
    io,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// Which signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultSignal {
    /// `SIGBUS`: userfaultfd.
    Bus,
    /// `SIGSEGV`: guard pages.
    Segv,
}

impl FaultSignal {
    fn number(self) -> i32 {
        match self {
            Self::Bus => libc::SIGBUS,
            Self::Segv => libc::SIGSEGV,
        }
    }

    fn of(number: i32) -> Self {
        if number == libc::SIGBUS { Self::Bus } else { Self::Segv }
    }
}

/// What the thread wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read.
    Read,
    /// To write, or the processor does not tell.
    Write,
}

/// A fault of the interrupted thread.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// The signal it came as.
    pub signal: FaultSignal,
    /// The address that was touched.
    pub address: usize,
    /// How it was touched.
    pub access: Access,
}

/// Serves a fault; false if it is not the server's. Runs in the handler: async-signal-safe, little stack.
pub type Serve = fn(&Fault) -> bool;

struct Server {
    serve: Serve,
    previous: libc::sigaction,
}

/// One of each signal; never freed, because a handler may be reading it.
static SERVERS: [AtomicPtr<Server>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

fn server(signal: FaultSignal) -> &'static AtomicPtr<Server> {
    &SERVERS[usize::from(signal == FaultSignal::Segv)]
}

fn current(signal: FaultSignal) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: changes nothing, and writes one action.
    let answer = unsafe { libc::sigaction(signal.number(), ptr::null(), action.as_mut_ptr()) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has written it.
    Ok(unsafe { action.assume_init() })
}

fn own_handler() -> libc::sighandler_t {
    (on_fault as extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void)) as libc::sighandler_t
}

/// Whether faults reach the server: `false` after a runtime has installed a handler of its own.
///
/// # Errors
/// The system's.
pub fn is_installed(signal: FaultSignal) -> io::Result<bool> {
    Ok(current(signal)?.sa_sigaction == own_handler())
}

/// Installs the handler, unless it is. What is not served goes to the handler that was there before.
///
/// # Errors
/// The system's.
///
/// # Concurrency
/// Calls for one signal take turns by the caller's lock. A handler that was replaced and now calls this one may not be
/// covered again: the two would call each other for ever.
pub fn install(signal: FaultSignal, serve: Serve) -> io::Result<()> {
    let previous = current(signal)?;
    if previous.sa_sigaction == own_handler() {
        return Ok(());
    }
    let new = Box::into_raw(Box::new(Server { serve, previous }));
    // ORDERING: Release; pairs with the Acquire in `on_fault`. Before the handler, which needs it.
    server(signal).store(new, Ordering::Release);
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = own_handler();
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: a set of the action's own.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: a valid action with a handler of the form that SA_SIGINFO asks for.
    let answer = unsafe { libc::sigaction(signal.number(), &raw const action, ptr::null_mut()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn errno() -> *mut i32 {
    // SAFETY: no arguments; the address is valid as long as the thread.
    unsafe { libc::__errno_location() }
}

extern "C" fn on_fault(number: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: errno of this thread.
    let saved = unsafe { *errno() };
    let signal = FaultSignal::of(number);
    // ORDERING: Acquire; pairs with the Release in `install`.
    let server = server(signal).load(Ordering::Acquire);
    // SAFETY: set before the handler was installed, and never freed.
    let server = unsafe { &*server };
    // SAFETY: with SA_SIGINFO the kernel passes a record, which lives until the handler returns.
    let record = unsafe { &*info };
    let code = record.si_code;
    let of_a_fault = match signal {
        FaultSignal::Bus => code == libc::BUS_ADRERR,
        FaultSignal::Segv => code == SEGV_MAPERR || code == SEGV_ACCERR,
    };
    if of_a_fault {
        // SAFETY: a record of a fault has an address.
        let address = unsafe { record.si_addr() }.addr();
        let fault = Fault { signal, address, access: access(context) };
        if (server.serve)(&fault) {
            // SAFETY: errno of this thread.
            unsafe { *errno() = saved };
            return;
        }
    }
    // SAFETY: errno of this thread.
    unsafe { *errno() = saved };
    chain(number, code, (info, context), &server.previous);
}

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;

/// From the error code of the processor.
fn access(context: *mut c_void) -> Access {
    #[cfg(target_arch = "x86_64")]
    {
        const WRITE: i64 = 1 << 1;
        let context = context.cast::<libc::ucontext_t>();
        // SAFETY: with SA_SIGINFO the kernel passes the context of the thread that it interrupted.
        let error = unsafe { (*context).uc_mcontext.gregs[libc::REG_ERR as usize] };
        if error & WRITE == 0 { Access::Read } else { Access::Write }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = context;
        Access::Write
    }
}

/// Does what would have happened without this module.
#[cold]
fn chain(
    number: i32,
    code: i32,
    (info, context): (*mut libc::siginfo_t, *mut c_void),
    previous: &libc::sigaction,
) {
    let sent_by_a_process = code <= 0;
    match previous.sa_sigaction {
        libc::SIG_IGN if sent_by_a_process => {}
        // The kernel ignores no fault: it ends the process.
        libc::SIG_DFL | libc::SIG_IGN => {
            reset(number);
            if sent_by_a_process {
                // Waits until this handler returns.
                // SAFETY: a signal to the calling thread.
                unsafe { libc::raise(number) };
            }
        }
        handler => {
            if previous.sa_flags & libc::SA_RESETHAND != 0 {
                reset(number);
            }
            let context_of = context.cast::<libc::ucontext_t>();
            // SAFETY: the kernel passes the context of the thread that it interrupted.
            let mut mask = unsafe { (*context_of).uc_sigmask };
            for other in 1..=64 {
                // SAFETY: a set of the action.
                let is_member =
                    unsafe { libc::sigismember(&raw const previous.sa_mask, other) } == 1;
                let own = other == number && previous.sa_flags & libc::SA_NODEFER == 0;
                if is_member || own {
                    // SAFETY: a set of this function's own; an unknown number changes nothing.
                    unsafe { libc::sigaddset(&raw mut mask, other) };
                }
            }
            crate::signals::mask(&mask);
            if previous.sa_flags & libc::SA_SIGINFO != 0 {
                type Informed = extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);
                // SAFETY: an action with SA_SIGINFO has a handler of this form.
                let handler =
                    unsafe { std::mem::transmute::<libc::sighandler_t, Informed>(handler) };
                handler(number, info, context);
            } else {
                // SAFETY: an action without SA_SIGINFO has a handler of this form.
                let handler = unsafe {
                    std::mem::transmute::<libc::sighandler_t, extern "C" fn(i32)>(handler)
                };
                handler(number);
            }
        }
    }
}

/// The signal kills from now on.
fn reset(number: i32) {
    // SAFETY: all zeros is a valid action: the default one.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a valid action; it fails only for a number that is no signal.
    unsafe { libc::sigaction(number, &raw const action, ptr::null_mut()) };
}

/// Ends the process with a line on stderr: a text, a number, a cause. Async-signal-safe.
pub fn die(text: &str, number: usize, cause: &str) -> ! {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    for part in [text.as_bytes(), &digits[at..], b": ", cause.as_bytes(), b"\n"] {
        // SAFETY: a slice and its length. What cannot be written is lost.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    std::process::abort()
}
