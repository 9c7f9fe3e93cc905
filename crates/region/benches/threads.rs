//! Two threads that fault, against one, and against the bare mechanism: `SIGBUS` and `UFFDIO_COPY` of a fixed page.
//!
//! `cargo bench -p pagefold-region --bench threads -- PAGES-FILE [PAGES [ROUNDS]]`. The bare mechanism runs in a process of its own, because
//! a process has one handler. Two figures: how much faster two threads are than one, and the processor time of all threads for a fault, page-out
//! included (a limit of half of the pages).

use std::{
    env, fs,
    process::Command,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use pagefold_region::{Advice, FaultMode, Region};
use pagefold_sys::userfault::{Delivery, FEATURE_WP, Protection, Userfault};

const PAGE: usize = 4096;

fn cpu_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for a time; the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Each of the threads touches its share of the pages, in an order of its own; microseconds, elapsed and of processors, a page.
fn touch(
    start: usize,
    pages: usize,
    threads: usize,
    check: &(dyn Fn(usize, u64) + Sync),
) -> (f64, f64) {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|me| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let share = pages / threads;
                    barrier.wait();
                    for step in 0..share {
                        // 7919 is prime, so each page of the share comes once.
                        let page = me * share + step * 7919 % share;
                        let word = std::ptr::with_exposed_provenance::<u64>(start + page * PAGE);
                        // SAFETY: within the memory.
                        check(page, unsafe { word.read_volatile() });
                    }
                })
            })
            .collect();
        let cpu = cpu_us();
        barrier.wait();
        let began = Instant::now();
        workers.into_iter().for_each(|worker| worker.join().expect("no panic"));
        let pages = pages as f64;
        (began.elapsed().as_secs_f64() * 1e6 / pages, (cpu_us() - cpu) / pages)
    })
}

static BARE: AtomicUsize = AtomicUsize::new(0);
static CONTENT: [u8; PAGE] = [7; PAGE];

extern "C" fn copy(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let userfault = std::ptr::with_exposed_provenance::<Userfault>(BARE.load(Ordering::Acquire));
    // SAFETY: with SA_SIGINFO the kernel passes a record.
    let record = unsafe { &*info };
    // SAFETY: a record of a fault has an address.
    let address = unsafe { record.si_addr() }.addr();
    // SAFETY: set before the first fault, and never dropped.
    let userfault = unsafe { &*userfault };
    // SAFETY: a page of the registered memory.
    let copied = unsafe { userfault.copy(address & !(PAGE - 1), &CONTENT, Protection::Writable) };
    assert!(copied.is_ok());
}

/// Prints the best times of one and two threads.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn bare(pages: usize, rounds: usize) {
    let userfault =
        Box::leak(Box::new(Userfault::open(Delivery::Signal, FEATURE_WP).expect("Linux")));
    BARE.store(std::ptr::from_ref(userfault).expose_provenance(), Ordering::Release);
    // SAFETY: all zeros is a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = (copy as extern "C" fn(_, _, _)) as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: a valid action.
    unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
    let memory =
        pagefold_sys::memory::reserve(pages * PAGE, PAGE, Default::default()).expect("room");
    pagefold_sys::memory::commit(&memory, 0..pages * PAGE).expect("room");
    let start = memory.base().as_ptr().expose_provenance();
    // SAFETY: a mapping of this function's own.
    unsafe { userfault.register(start, pages * PAGE) }.expect("Linux");
    let mut best = [f64::MAX; 2];
    for _ in 0..rounds {
        for threads in [1, 2] {
            let range = start..start + pages * PAGE;
            // SAFETY: pages of that mapping.
            unsafe { pagefold_sys::pages::drop_all(&[range]) }.expect("Linux");
            let check = |_, word| assert_eq!(word, u64::from_ne_bytes([7; 8]));
            best[threads - 1] = best[threads - 1].min(touch(start, pages, threads, &check).0);
        }
    }
    println!("{} {}", best[0], best[1]);
}

#[expect(clippy::print_stdout, reason = "the table is the output")]
fn main() {
    let arguments: Vec<String> =
        env::args().skip(1).filter(|one| !one.starts_with("--bench")).collect();
    let number = |at: usize, default| {
        arguments.get(at).map_or(default, |one| one.parse().expect("a number"))
    };
    let (pages, rounds) = (number(1, 20_000), number(2, 7));
    match arguments.first().map(String::as_str) {
        None => return eprintln!("no file of pages was given: nothing is measured"),
        Some("--bare") => return bare(pages, rounds),
        Some(_) => {}
    }
    let mut source = fs::read(&arguments[0]).expect("the file can be read");
    source.truncate(pages * PAGE);
    let pages = source.len() / PAGE / 2 * 2;
    let first = |page: usize| {
        u64::from_ne_bytes(source[page * PAGE..page * PAGE + 8].try_into().expect("8 bytes"))
    };
    let check = |page: usize, word: u64| assert_eq!(word, first(page), "page {page}");

    let program = env::current_exe().expect("this program");
    let output =
        Command::new(program).args(["--bare", &pages.to_string(), &rounds.to_string()]).output();
    let output = String::from_utf8(output.expect("this program runs").stdout).expect("numbers");
    let bare: Vec<f64> =
        output.split_whitespace().map(|one| one.parse().expect("a number")).collect();
    println!("{pages} pages of {}, the best of {rounds} rounds; us a page", arguments[0]);
    println!("| | one thread | two threads | faster by |\n|---|---|---|---|");
    let row = |name: &str, one: f64, two: f64| {
        println!("| {name} | {one:.2} | {two:.2} | {:.2} |", one / two);
    };
    row("bare SIGBUS and COPY", bare[0], bare[1]);
    for mode in [FaultMode::Inline, FaultMode::Guard] {
        let build = |limit: usize| {
            Region::builder(pages * PAGE)
                .fault_mode(mode)
                .resident_limit(limit * PAGE)
                .codec("lz4".parse().expect("a codec"))
                .clean_copies(usize::MAX)
                .build()
        };
        let (Ok(mut region), Ok(mut half)) = (build(2 * pages), build(pages / 2)) else {
            println!("| {mode} does not work here | | | |");
            continue;
        };
        region.as_mut_slice()[..pages * PAGE].copy_from_slice(&source[..pages * PAGE]);
        half.as_mut_slice()[..pages * PAGE].copy_from_slice(&source[..pages * PAGE]);
        let mut best = [f64::MAX; 2];
        let mut cpu = [f64::MAX; 2];
        for _ in 0..rounds {
            for threads in [1, 2] {
                region.advise(0..pages * PAGE, Advice::Cold).expect("a range");
                let start = region.as_ptr().expose_provenance();
                best[threads - 1] = best[threads - 1].min(touch(start, pages, threads, &check).0);
                // Dirty, so that page-out compresses.
                for page in (0..pages).step_by(2) {
                    half.as_mut_slice()[page * PAGE + 100] ^= 1;
                }
                let start = half.as_ptr().expose_provenance();
                cpu[threads - 1] = cpu[threads - 1].min(touch(start, pages, threads, &check).1);
            }
        }
        row(&format!("{mode}: faults"), best[0], best[1]);
        row(
            &format!("{mode}: processor time a touch, limit of half, page-out included"),
            cpu[0],
            cpu[1],
        );
    }
}
