//! A child has no region: never zeros, never the parent's pages. With snapshots it has its own, as it was at the fork.

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use pagefold_region::{
    Advice, BuildRegionError, FaultMode, ForkPolicy, RangeError, Region, RegionBuilder,
};
use pagefold_store::{
    Store,
    spill::{EXTENT_BYTES, FileBacking, Spill},
};
use pagefold_sys::quiesce::{Gate, set_fork_wait};

use crate::{
    common::{PAGE, builder, check, fill, modes, region, resident_pages, word},
    parts,
};

fn exit_of_child(child: impl FnOnce()) -> i32 {
    // SAFETY: the child only runs the closure, which touches memory, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and room for its status.
    let ended = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(ended, pid);
    status
}

#[test]
fn a_child_that_touches_a_region_is_killed() {
    for mode in modes() {
        parts::run("fork::part_child", mode).assert_passed();
    }
}

#[test]
#[ignore = "run by a_child_that_touches_a_region_is_killed"]
fn part_child() {
    let Some(mode) = parts::mode() else { return };
    let mut region = region(mode, 1024, 256);
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
        fill(page, number, 1);
    }
    region.advise(0..8 * PAGE, Advice::Cold).expect("a range");
    std::hint::black_box(region.as_slice()[1023 * PAGE]);
    // Cold, in memory, and never touched.
    for page in [0, 1023] {
        let address = region.as_ptr().wrapping_add(page * PAGE);
        let status = exit_of_child(|| {
            // SAFETY: an address of a region, which is not there in the child.
            std::hint::black_box(unsafe { address.read_volatile() });
        });
        assert!(libc::WIFSIGNALED(status), "page {page}: {status}");
        assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV, "page {page}");
    }
    // A child may drop it.
    let mut region = Some(region);
    let status = exit_of_child(|| drop(region.take()));
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    let region = region.expect("the parent's");
    for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
        check(page, number, 1);
    }
}

#[test]
fn children_while_threads_fault_harm_nothing() {
    for mode in modes() {
        let mut region = region(mode, 2048, 256);
        let (first, second) = region.as_mut_slice().split_at_mut(1024 * PAGE);
        std::thread::scope(|scope| {
            for (half, number) in [(first, 0), (second, 1)] {
                scope.spawn(move || {
                    for version in 1..4 {
                        for (at, page) in half.chunks_mut(PAGE).enumerate() {
                            fill(page, number * 1024 + at, version);
                        }
                        for (at, page) in half.chunks(PAGE).enumerate() {
                            check(page, number * 1024 + at, version);
                        }
                    }
                });
            }
            for _ in 0..20 {
                let status = exit_of_child(|| {});
                assert_eq!(status, 0);
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
    }
}

/// Runs it in a child, which must end well within a minute. What it says when it panics goes to stderr, past the capture of tests.
pub(crate) fn fork(child: impl FnOnce()) -> Child {
    // SAFETY: the child runs code of this library, which is what is tested, and ends below.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let fine = catch_unwind(AssertUnwindSafe(child));
        if let Err(cause) = &fine {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or(cause.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let _ = writeln!(std::io::stderr(), "in a child: {text}");
        }
        // SAFETY: ends the child, without the destructors of the parent's.
        unsafe { libc::_exit(i32::from(fine.is_err())) };
    }
    assert!(pid > 0, "{}", std::io::Error::last_os_error());
    Child(pid)
}

/// A child that is waited for.
pub(crate) struct Child(i32);

impl Child {
    pub(crate) fn status(self) -> i32 {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut status = 0;
            // SAFETY: a child of this process, and room for its status.
            let ended = unsafe { libc::waitpid(self.0, &raw mut status, libc::WNOHANG) };
            if ended == self.0 {
                return status;
            }
            assert_eq!(ended, 0, "{}", std::io::Error::last_os_error());
            if Instant::now() > until {
                // SAFETY: a child that was not waited for.
                unsafe { libc::kill(self.0, libc::SIGKILL) };
                panic!("a child hangs");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn assert_fine(self) {
        let status = self.status();
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
    }

    fn assert_killed(self) {
        let status = self.status();
        assert!(libc::WIFSIGNALED(status), "{status:#x}");
        assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
    }
}

/// The modes that have snapshots.
fn each_with_snapshots(part: &str) {
    for mode in modes().into_iter().filter(|mode| *mode != FaultMode::Guard) {
        parts::run(part, mode).assert_passed();
    }
}

const PAGES: usize = 2048;
const RESIDENT: usize = 512;
/// The last pages are never touched before a fork.
const USED: usize = 1900;

fn with_snapshots(mode: FaultMode) -> RegionBuilder {
    builder(mode, PAGES, RESIDENT)
        .fork_policy(ForkPolicy::Snapshot)
        .limbo(RESIDENT / 4 * PAGE)
        .neighbours(0)
}

/// Pages in every state, each of version 1 if it was touched.
fn in_all_states(mode: FaultMode) -> Region {
    // For a machine that has no time for this process.
    set_fork_wait(Duration::from_secs(40));
    let mut region = with_snapshots(mode).build().expect("a mode that works");
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).take(USED).enumerate() {
        fill(page, number, 1);
    }
    let until = Instant::now() + Duration::from_secs(30);
    for round in 0.. {
        // Clean: brought by a read. The others make evictors choose.
        for number in (0..RESIDENT / 4).map(|at| (at * 3 + round * 7) % USED) {
            check(&region.as_slice()[number * PAGE..(number + 1) * PAGE], number, 1);
        }
        let pages = region.stats().pages;
        let counts = [pages.untouched, pages.resident, pages.limbo, pages.clean, pages.compressed];
        if counts.iter().all(|&count| count > 0) {
            eprintln!("untouched, resident, limbo, clean, compressed: {counts:?}");
            return region;
        }
        assert!(Instant::now() < until, "not every state: {pages:?}");
        let number = round * 31 % USED;
        fill(&mut region.as_mut_slice()[number * PAGE..(number + 1) * PAGE], number, 1);
    }
    unreachable!("rounds do not end")
}

fn verify(region: &Region, version: impl Fn(usize) -> u64) {
    for (number, page) in region.as_slice().chunks(PAGE).enumerate() {
        match version(number) {
            0 => assert!(page.iter().all(|&byte| byte == 0), "page {number} is zeros"),
            version => check(page, number, version),
        }
        if number.is_multiple_of(64) {
            assert!(resident_pages(region.as_ptr().addr(), PAGES) <= RESIDENT, "the limit");
        }
    }
}

/// Writes each `every`th page, lets pages go and come, and verifies that it sees its own writes and the old pages.
fn live_on(region: &mut Region, before: impl Fn(usize) -> u64, every: usize, version: u64) {
    verify(region, &before);
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate().step_by(every) {
        fill(page, number, version);
    }
    let now = |number: usize| if number.is_multiple_of(every) { version } else { before(number) };
    verify(region, now);
    region.advise(0..PAGES * PAGE, Advice::Cold).expect("a range");
    verify(region, now);
    credits_agree(region);
    region.store().validate().expect("valid");
}

/// Once no evictor is between two steps.
fn credits_agree(region: &Region) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let stats = region.stats();
        let there = stats.pages.resident + stats.pages.limbo + stats.pages.clean;
        let mapped = resident_pages(region.as_ptr().addr(), PAGES) as u64;
        if there * PAGE as u64 == stats.resident_bytes && mapped == there {
            return;
        }
        assert!(Instant::now() < until, "{mapped} pages mapped, {there} by words: {stats:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn at_the_fork(number: usize) -> u64 {
    u64::from(number < USED)
}

#[test]
fn parent_and_child_have_the_pages_of_the_fork_and_their_own_writes() {
    each_with_snapshots("fork::part_snapshot");
}

#[test]
#[ignore = "run by parent_and_child_have_the_pages_of_the_fork_and_their_own_writes"]
fn part_snapshot() {
    let Some(mode) = parts::mode() else { return };
    let mut region = in_all_states(mode);
    let child = fork(|| live_on(&mut region, at_the_fork, 2, 2));
    live_on(&mut region, at_the_fork, 3, 3);
    child.assert_fine();
    // Another one, of what the parent has now; and pages of the parent that children have had.
    let now = |number: usize| if number.is_multiple_of(3) { 3 } else { at_the_fork(number) };
    let child = fork(|| live_on(&mut region, now, 5, 4));
    child.assert_fine();
    verify(&region, now);
}

/// The first thing that a child does is to write what was in memory: clean pages, and pages that had been chosen to go, most of all.
/// Without a fault for such a write the page would leave as its old copy.
#[test]
fn what_a_child_writes_at_once_stays() {
    each_with_snapshots("fork::part_at_once");
}

#[test]
#[ignore = "run by what_a_child_writes_at_once_stays"]
fn part_at_once() {
    let Some(mode) = parts::mode() else { return };
    for version in [2, 3] {
        let mut region = in_all_states(mode);
        let there: Vec<bool> = (0..PAGES)
            .map(|page| resident_pages(region.as_ptr().addr() + page * PAGE, 1) == 1)
            .collect();
        let now = |number: usize| if there[number] { version } else { at_the_fork(number) };
        let write = |region: &mut Region| {
            for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
                if there[number] {
                    fill(page, number, version);
                }
            }
            region.advise(0..PAGES * PAGE, Advice::Cold).expect("a range");
            verify(region, now);
        };
        let child = fork(|| write(&mut region));
        // The parent's protection is as it was.
        write(&mut region);
        child.assert_fine();
        assert!(there.iter().filter(|&&there| there).count() > RESIDENT / 2);
    }
}

#[test]
fn a_child_has_children() {
    each_with_snapshots("fork::part_generations");
}

#[test]
#[ignore = "run by a_child_has_children"]
fn part_generations() {
    let Some(mode) = parts::mode() else { return };
    let mut region = in_all_states(mode);
    fork(|| {
        live_on(&mut region, at_the_fork, 2, 2);
        let of_child =
            |number: usize| if number.is_multiple_of(2) { 2 } else { at_the_fork(number) };
        let grandchild = fork(|| {
            live_on(&mut region, of_child, 3, 3);
            let own = |number: usize| if number.is_multiple_of(3) { 3 } else { of_child(number) };
            fork(|| live_on(&mut region, own, 5, 4)).assert_fine();
            verify(&region, own);
        });
        verify(&region, of_child);
        grandchild.assert_fine();
    })
    .assert_fine();
    verify(&region, at_the_fork);
}

fn threads_here() -> usize {
    std::fs::read_dir("/proc/self/task").expect("Linux").count()
}

fn is_mapped(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    maps.lines().any(|line| {
        let (start, rest) = line.split_once('-').expect("a range");
        let end = rest.split_once(' ').expect("a range").0;
        let number = |text| usize::from_str_radix(text, 16).expect("an address");
        (number(start)..number(end)).contains(&address)
    })
}

fn userfaults() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").expect("Linux");
    let target =
        |one: std::io::Result<std::fs::DirEntry>| std::fs::read_link(one.ok()?.path()).ok();
    all.filter_map(target).filter(|path| path.to_string_lossy().contains("userfaultfd")).count()
}

#[test]
fn a_child_drops_its_region_and_may_end_in_any_way() {
    each_with_snapshots("fork::part_ends");
}

#[test]
#[ignore = "run by a_child_drops_its_region_and_may_end_in_any_way"]
fn part_ends() {
    let Some(mode) = parts::mode() else { return };
    let mut region = Some(in_all_states(mode));
    let start = region.as_ref().expect("there").as_ptr().addr();
    fork(|| {
        assert!(threads_here() >= 3, "this thread, an evictor, one that brings pages");
        assert_eq!(userfaults(), 1);
        drop(region.take());
        assert_eq!(threads_here(), 1);
        assert_eq!(userfaults(), 0);
        assert!(!is_mapped(start), "its memory is given back");
        // And has room for another.
        let mut another = with_snapshots(mode).build().expect("room");
        live_on(&mut another, |_| 0, 1, 7);
    })
    .assert_fine();
    // With the exit handlers of the C library, and the region as it is.
    fork(|| {
        verify(region.as_ref().expect("there"), at_the_fork);
        // SAFETY: ends the child.
        unsafe { libc::exit(0) };
    })
    .assert_fine();
    // The parent has dropped it, the child has it.
    let wait = std::io::pipe().expect("a pipe");
    let child = fork(|| {
        let mut byte = [0];
        std::io::Read::read_exact(&mut &wait.0, &mut byte).expect("the parent's word");
        live_on(region.as_mut().expect("there"), at_the_fork, 2, 2);
    });
    let kept = region.take().expect("there");
    verify(&kept, at_the_fork);
    drop(kept);
    (&wait.1).write_all(&[1]).expect("a pipe");
    child.assert_fine();
    assert!(!is_mapped(start) && userfaults() == 0);
}

/// Threads end also after a panic.
pub(crate) struct Stops<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn forks_beside_faults_advice_pins_and_other_gates() {
    each_with_snapshots("fork::part_beside");
}

#[test]
#[ignore = "run by forks_beside_faults_advice_pins_and_other_gates"]
fn part_beside() {
    const QUIET: usize = 256;
    const WHILE: Duration = Duration::from_secs(20);
    let Some(mode) = parts::mode() else { return };
    let mut region = with_snapshots(mode).build().expect("a mode that works");
    for (number, page) in region.as_mut_slice().chunks_mut(PAGE).enumerate() {
        fill(page, number, 1);
    }
    let start = region.as_mut_ptr().expose_provenance();
    let page_of = |number: usize| {
        let address = std::ptr::with_exposed_provenance_mut::<u8>(start + number * PAGE);
        // SAFETY: within the region; each page has one thread that writes it, and none reads it meanwhile.
        unsafe { std::slice::from_raw_parts_mut(address, PAGE) }
    };
    // For a machine that has no time for this process.
    set_fork_wait(Duration::from_secs(40));
    let stop = AtomicBool::new(false);
    let other = Gate::new().expect("memory");
    std::thread::scope(|scope| {
        for me in 0..3 {
            let (region, stop, other) = (&region, &stop, &other);
            scope.spawn(move || {
                let own: Vec<usize> = (QUIET + me..PAGES).step_by(3).collect();
                let mut version = 1;
                while !stop.load(Ordering::Relaxed) {
                    for pages in own.chunks(40) {
                        // An operation of another gate, which a fork waits for and which waits for evictors.
                        let _entered = (me == 0).then(|| other.enter().expect("not abandoned"));
                        for &number in pages {
                            check(page_of(number), number, version);
                            fill(page_of(number), number, version + 1);
                        }
                        let first = pages[0];
                        let range = first * PAGE..(first + 20).min(PAGES) * PAGE;
                        region.advise(range, Advice::Cold).expect("a range");
                        drop(region.pin(first * PAGE..(first + 1) * PAGE).expect("few"));
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    version += 1;
                }
            });
        }
        let _stops = Stops(&stop);
        let (first, mut longest) = (Instant::now(), Duration::ZERO);
        // On a busy machine fewer.
        for round in (0..25).take_while(|round| *round < 3 || first.elapsed() < WHILE) {
            let began = Instant::now();
            let child = fork(|| {
                // Pages that no thread writes, half of them cold.
                (0..QUIET).for_each(|number| check(page_of(number), number, 1));
                for number in QUIET..PAGES {
                    // A page that was being written may be half of it, but is no other one's.
                    let of_page = |version| word(number, version, 2).to_ne_bytes();
                    let found = &page_of(number)[16..24];
                    assert!((0..20_000).any(|version| found == of_page(version)), "page {number}");
                }
                for number in 0..PAGES {
                    fill(page_of(number), number, 1000 + round);
                }
                (0..PAGES).for_each(|number| check(page_of(number), number, 1000 + round));
            });
            longest = longest.max(began.elapsed());
            child.assert_fine();
        }
        eprintln!("{mode}: a fork took {longest:?} at most");
    });
    (0..QUIET).for_each(|number| check(page_of(number), number, 1));
    credits_agree(&region);
}

#[test]
fn a_child_that_was_not_waited_for_has_no_region() {
    each_with_snapshots("fork::part_deadline");
}

#[test]
#[ignore = "run by a_child_that_was_not_waited_for_has_no_region"]
fn part_deadline() {
    let Some(mode) = parts::mode() else { return };
    let mut region = Some(in_all_states(mode));
    let gate = Gate::new().expect("memory");
    set_fork_wait(Duration::from_millis(50));
    let (inside, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = gate.enter().expect("not abandoned");
            inside.wait();
            done.wait();
        });
        inside.wait();
        for page in [0, USED / 2, PAGES - 1] {
            let address = region.as_ref().expect("there").as_ptr().wrapping_add(page * PAGE);
            // SAFETY: an address of a region, which is not there in the child.
            fork(|| assert_ne!(std::hint::black_box(unsafe { address.read_volatile() }), 1))
                .assert_killed();
        }
        fork(|| {
            let own = region.as_mut().expect("there");
            assert_eq!(own.advise(0..PAGE, Advice::Cold), Err(RangeError::Unmapped));
            assert_eq!(own.discard(0..PAGE), Err(RangeError::Unmapped));
            assert_eq!(own.pin(0..PAGE).err(), Some(RangeError::Unmapped));
            drop(region.take());
        })
        .assert_fine();
        done.wait();
    });
    set_fork_wait(Duration::from_secs(5));
    let region = region.as_mut().expect("the parent's");
    fork(|| live_on(region, at_the_fork, 2, 2)).assert_fine();
    verify(region, at_the_fork);
}

#[test]
fn a_child_without_a_descriptor_or_a_handler_has_no_region() {
    each_with_snapshots("fork::part_hidden");
}

#[test]
#[ignore = "run by a_child_without_a_descriptor_or_a_handler_has_no_region"]
fn part_hidden() {
    let Some(mode) = parts::mode() else { return };
    let region = in_all_states(mode);
    let cold = region.as_ptr();
    // SAFETY: an address of a region, which is not there in the child.
    let touch = || assert_ne!(std::hint::black_box(unsafe { cold.read_volatile() }), 1);
    // SAFETY: without flags: as `fork`, without handlers.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        touch();
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    Child(i32::try_from(pid).expect("a child")).assert_killed();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for a limit.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let none = libc::rlimit { rlim_cur: 0, ..limit };
    // SAFETY: a valid limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) };
    let child = fork(touch);
    // SAFETY: a valid limit.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    child.assert_killed();
    fork(|| verify(&region, at_the_fork)).assert_fine();
    verify(&region, at_the_fork);
}

#[test]
fn snapshots_are_refused_with_guards_and_with_a_backing() {
    let refused = |builder: RegionBuilder| {
        let error = builder.fork_policy(ForkPolicy::Snapshot).build().expect_err("refused");
        assert!(matches!(error, BuildRegionError::Snapshots { .. }), "{error}");
        error.to_string()
    };
    for mode in modes() {
        let directory = tempfile::tempdir().expect("a directory");
        let backing = FileBacking::new(directory.path(), EXTENT_BYTES).expect("a directory");
        let spill = Spill::builder(backing).limit(256 << 20).build().expect("a limit");
        let store = Store::builder().limit(32 << 20).spill(spill);
        let text = refused(builder(mode, PAGES, RESIDENT).store(store));
        let cause = if mode == FaultMode::Guard { "guard" } else { "backing" };
        assert!(text.contains(cause), "{text}");
        if mode == FaultMode::Guard {
            let text = refused(builder(mode, PAGES, RESIDENT));
            assert!(text.contains("fault mode guard"), "{text}");
        }
    }
}
