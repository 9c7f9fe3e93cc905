//! Faults while a page is decoded: of a handler in another thread, of a handler in the same thread, of the codec itself.
//!
//! A decode runs with all signals blocked: in the handler of the fault, in the region's own threads, and in calls of the program. So
//! no handler interrupts a decode in its own thread; its signal waits until the fault is served. What is left is a codec that touches
//! memory of a region itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use pagefold_codec::{Codec, CodecError, CodecSpec};
use pagefold_region::{Advice, FaultMode, Region};
use pagefold_store::Store;

use crate::{
    common::{PAGE, builder, check, fill, modes, word},
    parts,
};

const PAGES: usize = 1024;
/// Decoding this page waits.
const SLOW: usize = 10;
/// What handlers touch.
const COLD: [usize; 2] = [400, 800];

/// A codec that runs `before` ahead of each decode.
struct Hooked {
    inner: Box<dyn Codec>,
    before: fn(),
}

impl Codec for Hooked {
    fn name(&self) -> &'static str {
        "hooked"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        self.inner.compress(src, dst)
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        (self.before)();
        self.inner.decompress(src, dst)
    }

    fn metadata_bytes(&self) -> usize {
        self.inner.metadata_bytes()
    }
}

/// All pages are cold.
fn cold_region(mode: FaultMode, before: fn()) -> Region {
    let inner = "lz4".parse::<CodecSpec>().expect("a codec").build().expect("a codec");
    let store = Store::builder().codec_with(Box::new(Hooked { inner, before }));
    let store = store.limit(32 << 20).idle_share(0);
    let region = builder(mode, PAGES, 256).store(store).build();
    let mut region = region.expect("a mode that works");
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
        fill(page, number, 1);
    }
    region.advise(0..PAGES * PAGE, Advice::Cold).expect("a range");
    region
}

static REGION: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
/// The thread whose decode waits, as the system numbers it; 0: none.
static WAITS: AtomicU64 = AtomicU64::new(0);
/// 1: a decode waits; 2: it may go on.
static STAGE: AtomicUsize = AtomicUsize::new(0);
/// Handlers that have run, by what they found: as written, something else.
static FOUND: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

fn me() -> u64 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::pthread_self() }
}

fn wait_if_chosen() {
    if WAITS.load(Ordering::Acquire) == me() && STAGE.load(Ordering::Acquire) == 0 {
        STAGE.store(1, Ordering::Release);
        while STAGE.load(Ordering::Acquire) == 1 {
            thread::yield_now();
        }
    }
}

extern "C" fn touch_cold(_: i32) {
    let turn = FOUND[0].load(Ordering::Relaxed) + FOUND[1].load(Ordering::Relaxed);
    let page = COLD[turn % COLD.len()];
    let address = REGION.load(Ordering::Relaxed).cast::<u64>().wrapping_add(page * 512 + 7);
    // SAFETY: a word of the region, in a page that no thread writes.
    let found = unsafe { address.read_volatile() };
    FOUND[usize::from(found != word(page, 1, 7))].fetch_add(1, Ordering::Release);
}

fn on_usr1() {
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = touch_cold as extern "C" fn(i32) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a valid action.
    let set = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(set, 0);
}

fn send(thread: u64) {
    // SAFETY: a thread that lives until the scope ends.
    assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) }, 0);
}

/// One thread decodes; a handler in another one faults meanwhile and is served. A signal for the thread that decodes waits, and its
/// handler faults after the decode.
#[test]
fn handlers_fault_while_a_page_is_decoded() {
    // By events, decodes run in the region's thread, and others wait for it.
    for mode in modes().into_iter().filter(|mode| *mode != FaultMode::Thread) {
        parts::run("nested::part_handlers", mode).assert_passed();
    }
}

#[test]
#[ignore = "run by handlers_fault_while_a_page_is_decoded"]
fn part_handlers() {
    let Some(mode) = parts::mode() else { return };
    let mut region = cold_region(mode, wait_if_chosen);
    REGION.store(region.as_mut_ptr(), Ordering::Relaxed);
    on_usr1();
    let ended = |count: usize| {
        while FOUND[0].load(Ordering::Acquire) + FOUND[1].load(Ordering::Acquire) < count {
            thread::yield_now();
        }
    };
    let bytes = region.as_slice();
    thread::scope(|scope| {
        scope.spawn(|| {
            WAITS.store(me(), Ordering::Release);
            check(&bytes[SLOW * PAGE..][..PAGE], SLOW, 1);
        });
        while STAGE.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        // The handler in this thread touches a cold page: another buffer, another context.
        send(me());
        ended(1);
        assert_eq!(STAGE.load(Ordering::Acquire), 1, "the first decode still waits");
        // A signal for the thread that decodes: it is pending, so its handler does not run.
        send(WAITS.load(Ordering::Acquire));
        // Faults of this thread are served meanwhile.
        check(&bytes[600 * PAGE..][..PAGE], 600, 1);
        assert_eq!(FOUND[0].load(Ordering::Acquire), 1, "it waits for the decode");
        STAGE.store(2, Ordering::Release);
        ended(2);
    });
    assert_eq!(FOUND.each_ref().map(|found| found.load(Ordering::Acquire)), [2, 0]);
}

fn touch_other_region() {
    let address = REGION.load(Ordering::Relaxed);
    if !address.is_null() {
        let cold = address.cast::<u64>().wrapping_add(COLD[0] * 512 + 7);
        // SAFETY: a word of the other region.
        let found = unsafe { cold.read_volatile() };
        assert_eq!(found, word(COLD[0], 1, 7));
    }
}

/// A codec that touches a cold page of another region: a fault whose signal is blocked, for which the kernel ends the process. By
/// events there is no signal, and the other region serves it.
#[test]
fn a_codec_that_touches_a_region_ends_the_process() {
    for mode in modes() {
        let ended = parts::run("nested::part_codec", mode);
        match mode {
            FaultMode::Inline => ended.assert_killed(libc::SIGBUS),
            FaultMode::Guard => ended.assert_killed(libc::SIGSEGV),
            _ => ended.assert_passed(),
        }
    }
}

#[test]
#[ignore = "run by a_codec_that_touches_a_region_ends_the_process"]
fn part_codec() {
    let Some(mode) = parts::mode() else { return };
    let mut other = cold_region(mode, || {});
    let region = Arc::new(cold_region(mode, touch_other_region));
    REGION.store(other.as_mut_ptr(), Ordering::Relaxed);
    check(&region.as_slice()[..PAGE], 0, 1);
}
