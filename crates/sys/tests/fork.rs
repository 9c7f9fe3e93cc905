//! Real forks beside busy threads: the child can use what the gates guard, or gets an error, and never hangs.
#![cfg(unix)]

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pagefold_sys::quiesce::{
    Abandoned, ForkHooks, Gate, fork_generation, set_fork_hooks, set_fork_wait,
};

/// What a hang is: no test depends on being faster.
const WATCHDOG: Duration = Duration::from_secs(180);

/// A gate, and what operations hold inside of it.
struct Guarded {
    gate: Gate,
    lock: Mutex<(u64, u64)>,
}

impl Guarded {
    fn new() -> Self {
        Self { gate: Gate::new().expect("memory for the handlers"), lock: Mutex::new((0, 0)) }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, u64)> {
        self.lock.lock().expect("no panic inside")
    }

    /// An operation: changes two numbers that agree outside of it.
    fn change(&self) -> Result<(), Abandoned> {
        let _entered = self.gate.enter()?;
        self.lock().0 += 1;
        self.lock().1 += 1;
        Ok(())
    }

    fn agrees(&self) -> bool {
        let both = self.lock();
        both.0 == both.1
    }
}

/// Tests that fork run one after another: each would wait for the operations of the others.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `child` in a child process, which must say true.
fn fork(child: impl FnOnce() -> bool) {
    // SAFETY: the child calls Rust code and the allocator, which Linux and its C libraries keep usable after a fork; locks that
    // other threads may hold are behind gates, which is what is tested. It ends with `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let fine = catch_unwind(AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the child without handlers and destructors of the parent's.
        unsafe { libc::_exit(i32::from(!fine)) };
    }
    assert!(pid > 0, "{}", io::Error::last_os_error());
    let begun = Instant::now();
    let mut status = 0;
    loop {
        // SAFETY: the process is our child and was not waited for; the status is ours to write.
        let ended = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
        if ended == pid {
            break;
        }
        if begun.elapsed() > WATCHDOG {
            // SAFETY: the process is our child and was not waited for, so the number is still its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            panic!("a child hangs");
        }
        thread::yield_now();
    }
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "a child failed: {status:#x}"
    );
}

#[test]
fn every_child_finds_all_gates_free_and_what_they_guard_whole() {
    let _alone = alone();
    set_fork_wait(WATCHDOG);
    let guarded: Vec<Guarded> = (0..4).map(|_| Guarded::new()).collect();
    let late: Vec<OnceLock<Guarded>> = (0..600).map(|_| OnceLock::new()).collect();
    let (done, operations) = (AtomicBool::new(false), AtomicUsize::new(0));
    let generation = fork_generation();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (guarded, done, operations) = (&guarded, &done, &operations);
            scope.spawn(move || {
                for round in worker.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let of = &guarded[round % guarded.len()];
                    of.change().expect("a parent's gates are never abandoned");
                    // As a callback does, in both orders.
                    let _entered = of.gate.enter().expect("not abandoned");
                    guarded[(round + worker + 1) % guarded.len()].change().expect("not abandoned");
                    operations.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Gates are made and used at once, also while a fork waits.
        scope.spawn(|| {
            for place in &late {
                let of = place.get_or_init(Guarded::new);
                let before = operations.load(Ordering::Relaxed);
                while operations.load(Ordering::Relaxed) == before && !done.load(Ordering::Relaxed)
                {
                    of.change().expect("not abandoned");
                }
            }
        });
        // Gates come and go, and some close.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let short = Guarded::new();
                short.change().expect("not abandoned");
                if let Some(_quiet) = guarded[1].gate.quiesce(Duration::from_millis(5)) {
                    assert!(guarded[1].agrees());
                }
            }
        });
        let result = catch_unwind(AssertUnwindSafe(|| {
            for round in 0..500 {
                let before = operations.load(Ordering::Relaxed);
                // Some from inside a gate, as from a callback.
                let entered = (round % 3 == 0).then(|| guarded[0].gate.enter());
                fork(|| {
                    assert_eq!(fork_generation(), generation + 1);
                    drop(entered);
                    let last_made = late.iter().map_while(OnceLock::get).last();
                    guarded.iter().chain(last_made).all(|of| {
                        let whole = of.agrees();
                        of.change().expect("the fork waited");
                        let quiet = of.gate.quiesce(Duration::ZERO).is_some();
                        whole && quiet && of.agrees()
                    }) && Guarded::new().change().is_ok()
                });
                // The threads go on between two forks.
                while operations.load(Ordering::Relaxed) == before {
                    thread::yield_now();
                }
            }
        }));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(fork_generation(), generation, "the parent is no child");
    assert!(guarded.iter().all(|of| of.agrees() && of.gate.quiesce(Duration::ZERO).is_some()));
}

#[test]
fn a_fork_beside_a_blocked_operation_abandons_the_gates_of_the_child() {
    let _alone = alone();
    let (blocked, free) = (Guarded::new(), Guarded::new());
    let (is_inside, may_leave) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = blocked.gate.enter().expect("not abandoned");
            is_inside.store(true, Ordering::SeqCst);
            while !may_leave.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
        while !is_inside.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        set_fork_wait(Duration::from_millis(20));
        let own = free.gate.enter().expect("not abandoned");
        fork(|| {
            for of in [&blocked, &free] {
                assert_eq!(of.change(), Err(Abandoned));
                assert!(of.gate.is_abandoned() && of.gate.try_enter().is_none());
                assert!(of.gate.quiesce(Duration::MAX).is_none());
            }
            // A gate of the child's own is not concerned, and a fork of the child does not wait for the dead.
            let later = Guarded::new();
            later.change().expect("made after the fork");
            set_fork_wait(Duration::MAX);
            fork(|| later.change().is_ok() && blocked.change() == Err(Abandoned));
            drop(own);
            fork(|| later.gate.quiesce(Duration::ZERO).is_some());
            drop((blocked.gate.enter(), later));
            true
        });
        assert!(!blocked.gate.is_abandoned(), "the parent goes on");
        free.change().expect("the parent goes on");
        may_leave.store(true, Ordering::SeqCst);
    });
    set_fork_wait(WATCHDOG);
    fork(|| blocked.change().is_ok());
}

#[test]
fn a_thread_may_fork_with_a_quiet_gate() {
    let _alone = alone();
    set_fork_wait(WATCHDOG);
    let (first, second) = (Guarded::new(), Guarded::new());
    let mut quiet = first.gate.quiesce(Duration::ZERO);
    assert!(quiet.is_some());
    fork(|| {
        assert!(first.gate.try_enter().is_none(), "the gate opened at the fork");
        drop(quiet.take());
        first.change().is_ok() && second.change().is_ok()
    });
    assert!(first.gate.try_enter().is_none(), "the gate opened at the fork");
    drop(quiet);
    assert!(first.change().is_ok() && second.change().is_ok());
}

#[test]
fn threads_that_fork_at_once_take_turns() {
    let _alone = alone();
    set_fork_wait(WATCHDOG);
    let guarded = Guarded::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    guarded.change().expect("not abandoned");
                    fork(|| guarded.agrees() && guarded.change().is_ok());
                }
            });
        }
    });
    assert!(guarded.agrees());
}

static PREPARED: AtomicUsize = AtomicUsize::new(0);
static IN_PARENT: AtomicUsize = AtomicUsize::new(0);
static IN_CHILD: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

fn count(one: &AtomicUsize) {
    one.fetch_add(1, Ordering::SeqCst);
}

fn hooks_seen() -> [usize; 4] {
    [&PREPARED, &IN_PARENT, &IN_CHILD[0], &IN_CHILD[1]].map(|one| one.load(Ordering::SeqCst))
}

#[test]
fn hooks_run_around_a_fork_that_waited_and_in_the_child_of_any() {
    let _alone = alone();
    set_fork_wait(WATCHDOG);
    let hooks = ForkHooks {
        prepare: || count(&PREPARED),
        parent: || count(&IN_PARENT),
        child: |ready| count(&IN_CHILD[usize::from(ready)]),
    };
    assert!(set_fork_hooks(hooks));
    assert!(!set_fork_hooks(hooks), "the first stay");
    let gate = Gate::new().expect("memory for the handlers");
    fork(|| hooks_seen() == [1, 0, 0, 1]);
    assert_eq!(hooks_seen(), [1, 1, 0, 0]);
    let (is_inside, may_leave) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = gate.enter().expect("not abandoned");
            is_inside.store(true, Ordering::SeqCst);
            while !may_leave.load(Ordering::SeqCst) {
                thread::yield_now();
            }
        });
        while !is_inside.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        set_fork_wait(Duration::from_millis(20));
        fork(|| hooks_seen() == [1, 1, 1, 0]);
        assert_eq!(hooks_seen(), [1, 1, 0, 0]);
        may_leave.store(true, Ordering::SeqCst);
    });
    set_fork_wait(WATCHDOG);
}
