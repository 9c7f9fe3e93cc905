//! Clocks.

use std::time::Duration;

/// The processor time that the calling thread has used.
pub fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_work() {
        let began = thread_time();
        while thread_time() - began < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
    }
}
