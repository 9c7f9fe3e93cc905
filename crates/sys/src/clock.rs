//! Clocks.

use std::time::Duration;

/// The processor time that the calling thread has used.
pub fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

/// The processor time that all threads of the process have used.
pub fn process_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn they_grow_with_work() {
        let (began, process) = (thread_time(), process_time());
        while thread_time() - began < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        assert!(process_time() > process);
    }
}
