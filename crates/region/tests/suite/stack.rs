//! How much stack a fault takes, by painting; and that faults do not wait for each other's decoding.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use pagefold_codec::{Codec, CodecError};
use pagefold_region::{Advice, FaultMode, Region};

use crate::common::{PAGE, fill, modes};

/// Painted below the function that faults.
const DEPTH: usize = 48 << 10;
const PAINT: u8 = 0xa5;

/// Calls `f` over a painted stack; the bytes that were used.
#[inline(never)]
fn painted(f: &dyn Fn()) -> usize {
    let mut here = 0_u8;
    let top = (&raw mut here).expose_provenance() - 512;
    for at in (top - DEPTH..top).rev() {
        // SAFETY: the free stack of this thread, which has 1 MiB; no live value lies there.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(at).write_volatile(PAINT) };
    }
    f();
    let untouched = (top - DEPTH..top).take_while(|&at| {
        // SAFETY: as above.
        unsafe { std::ptr::with_exposed_provenance::<u8>(at).read_volatile() == PAINT }
    });
    DEPTH - untouched.count()
}

extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

#[test]
fn a_fault_takes_at_most_two_kibibytes_of_stack() {
    for mode in modes().into_iter().filter(|mode| *mode != FaultMode::Thread) {
        let run = move || {
            // What the kernel puts there, and a handler that does nothing.
            // SAFETY: all zeros is a valid action.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = (nothing as extern "C" fn(_, _, _)) as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO;
            // SAFETY: a valid action, for a signal that no other test uses.
            unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()) };
            let frame = painted(&|| {
                // SAFETY: a signal to this thread.
                unsafe { libc::raise(libc::SIGUSR2) };
            });
            // Without a codec, whose stack is its own.
            let mut region = Region::builder(1024 * PAGE)
                .fault_mode(mode)
                .resident_limit(512 * PAGE)
                .codec("raw".parse().expect("a codec"))
                .build()
                .expect("a mode that works");
            for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
                fill(page, number, 1);
            }
            region.advise(0..1024 * PAGE, Advice::Cold).expect("a range");
            let base = region.as_ptr();
            let touch = |page: usize| {
                // SAFETY: a page of the region.
                std::hint::black_box(unsafe { base.wrapping_add(page * PAGE).read_volatile() });
            };
            // Alone; in order, so that neighbours come along; and one that is written while it is clean.
            let alone = painted(&|| touch(900));
            let stream = (0..20).map(|page| painted(&|| touch(page))).max().expect("some");
            let base = region.as_mut_ptr();
            let written = painted(&|| {
                // SAFETY: a page of the region.
                unsafe { base.wrapping_add(900 * PAGE).write_volatile(1) };
            });
            let own = alone.max(stream).max(written) - frame;
            eprintln!(
                "{mode}: frame {frame}; alone {alone}, stream {stream}, written {written}; own {own}"
            );
            own
        };
        let thread = thread::Builder::new().stack_size(1 << 20).spawn(run).expect("a thread");
        let own = thread.join().expect("no panic");
        assert!(own <= 2048, "{mode}: {own} bytes");
    }
}

/// Decodes the first page only after the second was decoded by another thread.
struct Waits {
    decoded: Arc<AtomicUsize>,
}

fn pattern(at: usize) -> u8 {
    u8::try_from(at / 100).expect("below 4096")
}

impl Codec for Waits {
    fn name(&self) -> &'static str {
        "waits"
    }

    fn compress(&self, src: &[u8], dst: &mut [u8]) -> Option<usize> {
        dst.get_mut(..1)?.copy_from_slice(&src[..1]);
        Some(1)
    }

    fn decompress(&self, src: &[u8], dst: &mut [u8]) -> Result<usize, CodecError> {
        if src[0] == 1 {
            while self.decoded.load(Ordering::Acquire) == 0 {
                std::hint::spin_loop();
            }
        }
        for (at, byte) in dst.iter_mut().enumerate() {
            *byte = if at < 2 { src[0] } else { pattern(at) };
        }
        if src[0] == 2 {
            self.decoded.store(1, Ordering::Release);
        }
        Ok(dst.len())
    }

    fn metadata_bytes(&self) -> usize {
        0
    }
}

#[test]
fn a_fault_during_a_decode_takes_another_slot() {
    for mode in modes().into_iter().filter(|mode| *mode != FaultMode::Thread) {
        let decoded = Arc::new(AtomicUsize::new(0));
        let codec = Box::new(Waits { decoded: Arc::clone(&decoded) });
        let store =
            pagefold_store::Store::builder().codec_with(codec).limit(32 << 20).idle_share(0);
        let region = Region::builder(1024 * PAGE).fault_mode(mode).store(store).build();
        let mut region = region.expect("a mode that works");
        for (page, first) in [(10, 1), (500, 2)] {
            for (at, byte) in region.as_mut_slice()[page * PAGE..][..PAGE].iter_mut().enumerate() {
                *byte = if at < 2 { first } else { pattern(at) };
            }
        }
        region.advise(0..1024 * PAGE, Advice::Cold).expect("a range");
        let bytes = region.as_slice();
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(bytes[10 * PAGE], 1));
            thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(bytes[500 * PAGE], 2, "{mode}");
        });
        assert_eq!(decoded.load(Ordering::Relaxed), 1);
        assert_eq!(bytes[10 * PAGE + 4000], 40);
    }
}
