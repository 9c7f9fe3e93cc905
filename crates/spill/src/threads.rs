//! Threads that call the backing for others: a read with a deadline, a write beside the next one. A backing that does not answer keeps these threads, not a
//! reader.

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

/// What a thread does with the backing.
pub(crate) trait Call: Send + 'static {
    type Outcome: Send + 'static;

    /// Does not panic.
    fn run(self, backing: &dyn Backing) -> Self::Outcome;
}

/// A read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) slot: u32,
    pub(crate) offset: u32,
    pub(crate) len: usize,
}

impl Call for Range {
    type Outcome = io::Result<Vec<u8>>;

    fn run(self, backing: &dyn Backing) -> Self::Outcome {
        let Self { slot, offset, len } = self;
        caught(|| {
            let mut bytes = vec![0; len];
            backing.read(slot, offset, &mut bytes).map(|()| bytes)
        })
    }
}

/// See [`Backing::start_flush`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flush {
    pub(crate) slot: u32,
    pub(crate) bytes: usize,
}

impl Call for Flush {
    type Outcome = ();

    fn run(self, backing: &dyn Backing) {
        // A panic of the backing is the end of this hint.
        _ = caught(|| {
            backing.start_flush(self.slot, self.bytes);
            Ok(())
        });
    }
}

/// Where a thread leaves the outcome. No thread but the caller and the one that calls the backing knows it.
struct Answer<T> {
    outcome: StdMutex<Option<T>>,
    given: Condvar,
}

struct Job<C: Call> {
    call: C,
    answer: Arc<Answer<C::Outcome>>,
}

struct Queue<C: Call> {
    jobs: VecDeque<Job<C>>,
    /// Of this process.
    threads: Vec<JoinHandle<()>>,
    resting: usize,
    process: u64,
}

struct Shared<C: Call> {
    backing: Arc<dyn Backing>,
    /// Taken only inside the gate, so that a fork finds it free.
    queue: Mutex<Queue<C>>,
    gate: Gate,
    ends: AtomicBool,
}

pub(crate) struct Threads<C: Call> {
    shared: Arc<Shared<C>>,
    threads_max: usize,
    name: &'static str,
}

/// A call under way.
pub(crate) struct Pending<'a, C: Call> {
    threads: &'a Threads<C>,
    answer: Arc<Answer<C::Outcome>>,
}

impl<C: Call> Queue<C> {
    fn new() -> Self {
        let (jobs, threads) = (VecDeque::new(), Vec::new());
        Self { jobs, threads, resting: 0, process: fork_generation() }
    }
}

impl<C: Call> Threads<C> {
    /// Starts none before a call needs it.
    pub(crate) fn new(
        backing: Arc<dyn Backing>,
        threads_max: usize,
        name: &'static str,
    ) -> io::Result<Self> {
        let shared = Shared {
            backing,
            queue: Mutex::new(Queue::new()),
            gate: Gate::new()?,
            ends: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), threads_max, name })
    }

    /// Asks for a call.
    ///
    /// # Errors
    /// If no thread could be started, or a fork left the queue unusable; the call comes back.
    pub(crate) fn start(&self, call: C) -> Result<Pending<'_, C>, (C, io::Error)> {
        self.push(call, usize::MAX).map(|answer| Pending { threads: self, answer })
    }

    /// Asks for a call whose outcome no caller needs, unless `others` wait already.
    pub(crate) fn offer(&self, call: C, others: usize) {
        // Without a thread it is left out too.
        _ = self.push(call, others);
    }

    /// At most `others` may wait before it.
    fn push(&self, call: C, others: usize) -> Result<Arc<Answer<C::Outcome>>, (C, io::Error)> {
        let answer = Arc::new(Answer { outcome: StdMutex::new(None), given: Condvar::new() });
        let shared = &self.shared;
        {
            let _operation = match shared.gate.enter() {
                Ok(operation) => operation,
                Err(error) => return Err((call, io::Error::other(error))),
            };
            let mut queue = shared.queue.lock();
            if queue.process != fork_generation() {
                // The threads and callers of these were the parent's.
                *queue = Queue::new();
            }
            if queue.jobs.len() > others {
                return Err((call, io::ErrorKind::WouldBlock.into()));
            }
            if queue.resting <= queue.jobs.len() && queue.threads.len() < self.threads_max {
                let own = Arc::clone(shared);
                let started =
                    thread::Builder::new().name(self.name.to_owned()).spawn(move || run(&own));
                match started {
                    Ok(thread) => queue.threads.push(thread),
                    Err(error) if queue.threads.is_empty() => return Err((call, error)),
                    // Those that run will do it.
                    Err(_) => {}
                }
            }
            queue.jobs.push_back(Job { call, answer: Arc::clone(&answer) });
        }
        sync::wake_all(shared.key());
        Ok(answer)
    }
}

impl<C: Call> Drop for Threads<C> {
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

impl<C: Call> Pending<'_, C> {
    /// `None` when there is no answer by then. Without `until` it waits for ever.
    pub(crate) fn wait(&self, until: Option<Instant>) -> Option<C::Outcome> {
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

impl<C: Call> Drop for Pending<'_, C> {
    /// What no thread has taken is not done.
    fn drop(&mut self) {
        let shared = &self.threads.shared;
        if let Ok(_operation) = shared.gate.enter() {
            shared.queue.lock().jobs.retain(|job| !Arc::ptr_eq(&job.answer, &self.answer));
        }
    }
}

impl<C: Call> Shared<C> {
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The next job. `Err` when the thread is to end.
    fn next(&self, was_resting: &mut bool) -> Result<Option<Job<C>>, ()> {
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

fn run<C: Call>(shared: &Shared<C>) {
    let mut rests = false;
    // ORDERING: Acquire; pairs with the Release in `Threads::drop`.
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
        let outcome = job.call.run(&*shared.backing);
        let mut answer = job.answer.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        *answer = Some(outcome);
        drop(answer);
        job.answer.given.notify_one();
    }
}
