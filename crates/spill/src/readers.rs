//! Threads that read for callers with a deadline. A backing that hangs keeps these threads, not the callers.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex as StdMutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pagefold_sys::{
    quiesce::{Gate, fork_generation},
    sync::{self, AtomicBool, Mutex, Ordering},
};

use crate::{Backing, backing::caught};

/// A read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) slot: u32,
    pub(crate) offset: u32,
    pub(crate) len: usize,
}

type Outcome = io::Result<Vec<u8>>;

/// Where a thread leaves what it read. No thread but the caller and the one that reads knows it.
#[derive(Debug, Default)]
struct Answer {
    outcome: StdMutex<Option<Outcome>>,
    given: Condvar,
}

struct Job {
    range: Range,
    answer: Arc<Answer>,
}

struct Queue {
    jobs: VecDeque<Job>,
    /// Of this process.
    threads: Vec<JoinHandle<()>>,
    resting: usize,
    process: u64,
}

pub(crate) struct Shared {
    backing: Arc<dyn Backing>,
    /// Taken only inside the gate, so that a fork finds it free.
    queue: Mutex<Queue>,
    gate: Gate,
    ends: AtomicBool,
}

pub(crate) struct Readers {
    shared: Arc<Shared>,
    threads_max: usize,
}

/// A read under way.
pub(crate) struct Pending<'a> {
    readers: &'a Readers,
    answer: Arc<Answer>,
}

impl Readers {
    pub(crate) fn new(backing: Arc<dyn Backing>, threads_max: usize) -> io::Result<Self> {
        let queue = Queue {
            jobs: VecDeque::new(),
            threads: Vec::new(),
            resting: 0,
            process: fork_generation(),
        };
        let shared = Shared {
            backing,
            queue: Mutex::new(queue),
            gate: Gate::new()?,
            ends: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), threads_max })
    }

    /// Asks for a read.
    ///
    /// # Errors
    /// If no thread could be started, or a fork left the queue unusable.
    pub(crate) fn start(&self, range: Range) -> io::Result<Pending<'_>> {
        let answer = Arc::new(Answer::default());
        let shared = &self.shared;
        {
            let _operation = shared.gate.enter().map_err(io::Error::other)?;
            let mut queue = shared.queue.lock();
            if queue.process != fork_generation() {
                // The threads and callers of these were the parent's.
                *queue = Queue {
                    jobs: VecDeque::new(),
                    threads: Vec::new(),
                    resting: 0,
                    process: fork_generation(),
                };
            }
            if queue.resting <= queue.jobs.len() && queue.threads.len() < self.threads_max {
                let own = Arc::clone(shared);
                let started = thread::Builder::new()
                    .name("pagefold-reader".to_owned())
                    .spawn(move || run(&own));
                match started {
                    Ok(thread) => queue.threads.push(thread),
                    Err(error) if queue.threads.is_empty() => return Err(error),
                    // Those that run will do it.
                    Err(_) => {}
                }
            }
            queue.jobs.push_back(Job { range, answer: Arc::clone(&answer) });
        }
        sync::wake_all(shared.key());
        Ok(Pending { readers: self, answer })
    }
}

impl Drop for Readers {
    /// Waits for threads that rest, so that the backing goes with the last owner. One that hangs in the backing ends when that
    /// answers.
    fn drop(&mut self) {
        // ORDERING: Release; pairs with the Acquire in `run`.
        self.shared.ends.store(true, Ordering::Release);
        sync::wake_all(self.shared.key());
        let Ok(operation) = self.shared.gate.enter() else { return };
        let mut queue = self.shared.queue.lock();
        let threads = std::mem::take(&mut queue.threads);
        let is_own = queue.process == fork_generation();
        drop(queue);
        drop(operation);
        if !is_own {
            // They are the parent's.
            threads.into_iter().for_each(std::mem::forget);
            return;
        }
        let began = Instant::now();
        for thread in threads {
            while !thread.is_finished() && began.elapsed() < END_WAIT {
                thread::sleep(END_PAUSE);
            }
            if thread.is_finished() {
                // A panic of the backing was caught.
                let _ = thread.join();
            }
        }
    }
}

impl Pending<'_> {
    /// `None` when there is no answer by then. Without `until` it waits for ever.
    pub(crate) fn wait(self, until: Option<Instant>) -> Option<Outcome> {
        let mut outcome = self.answer.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = outcome.take() {
                return Some(outcome);
            }
            let left = until.map_or(REST, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            let woken = self.answer.given.wait_timeout(outcome, left);
            outcome = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Pending<'_> {
    /// What no thread has taken is not read.
    fn drop(&mut self) {
        let shared = &self.readers.shared;
        if let Ok(_operation) = shared.gate.enter() {
            shared.queue.lock().jobs.retain(|job| !Arc::ptr_eq(&job.answer, &self.answer));
        }
    }
}

impl Shared {
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The next job. `Err` when the thread is to end.
    fn next(&self, was_resting: &mut bool) -> Result<Option<Job>, ()> {
        let _operation = self.gate.enter().map_err(drop)?;
        let mut queue = self.queue.lock();
        let job = queue.jobs.pop_front();
        let rests = job.is_none();
        if rests != *was_resting {
            *was_resting = rests;
            if rests { queue.resting += 1 } else { queue.resting -= 1 }
        }
        Ok(job)
    }
}

const END_WAIT: Duration = Duration::from_millis(500);
const END_PAUSE: Duration = Duration::from_micros(200);
/// The longest sleep between looks, for a wake-up that came between.
const REST: Duration = Duration::from_secs(60);

fn run(shared: &Shared) {
    let mut rests = false;
    // ORDERING: Acquire; pairs with the Release in `Readers::drop`.
    while !shared.ends.load(Ordering::Acquire) {
        let epoch = sync::epoch(shared.key());
        let job = match shared.next(&mut rests) {
            Err(()) => return,
            Ok(Some(job)) => job,
            Ok(None) => {
                if !shared.ends.load(Ordering::Acquire) {
                    sync::wait_timeout(shared.key(), epoch, REST);
                }
                continue;
            }
        };
        let Range { slot, offset, len } = job.range;
        let outcome = caught(|| {
            let mut bytes = vec![0; len];
            shared.backing.read(slot, offset, &mut bytes).map(|()| bytes)
        });
        let mut answer = job.answer.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        *answer = Some(outcome);
        drop(answer);
        job.answer.given.notify_one();
    }
}
