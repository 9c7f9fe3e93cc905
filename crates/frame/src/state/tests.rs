use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::*;

/// After this a reader counts as deadlocked.
const DEADLOCK_AFTER: Duration = Duration::from_secs(60);

const PLACE: FrameRange = FrameRange { start: FrameNo(7), frames: FrameCount::ONE };

fn written() -> Arc<StateWord> {
    let word = StateWord(AtomicU64::new(0));
    word.publish(PLACE);
    Arc::new(word)
}

/// The result of a reader that waits until `end`.
fn waits_while(word: &Arc<StateWord>, end: impl FnOnce(&StateWord)) -> Option<FrameRange> {
    let (send, receive) = mpsc::channel();
    let reader = Arc::clone(word);
    thread::spawn(move || send.send(reader.read()));
    // The mark comes before the sleep.
    while word.0.load(Ordering::Relaxed) & WAITERS == 0 {
        thread::yield_now();
    }
    end(word);
    receive.recv_timeout(DEADLOCK_AFTER).expect("the reader was woken")
}

#[test]
fn a_reader_that_waits_is_woken_by_the_end_of_the_write() {
    let seen = waits_while(&written(), |word| assert!(!word.unlock_write()));
    assert_eq!(seen, Some(PLACE));
}

#[test]
fn a_reader_that_waits_is_woken_by_the_end_of_the_life() {
    let seen = waits_while(&written(), |word| assert_eq!(word.retire(), Reap::Now(PLACE)));
    assert_eq!(seen, None);
    let isolated = written();
    assert_eq!(isolated.isolate(), Ok(PLACE));
    let seen = waits_while(&isolated, |word| assert_eq!(word.retire(), Reap::Later));
    assert_eq!(seen, None);
    assert!(isolated.putback(), "its frames are still to be freed");
    assert_eq!(isolated.reap_dying(), Some(PLACE));
}

/// A thread may take the deferred work while the mover prevents writing, so the mover defers it again.
#[test]
fn a_mover_reports_pending_work_again_and_a_writer_takes_it_over() {
    let word = written();
    assert!(!word.unlock_write(), "nothing is pending");
    assert!(word.note_pending(), "no guard locks it");
    assert_eq!(word.try_write_for_move(), Ok(PLACE));
    assert_eq!(word.try_write(), Err(LockError::Busy), "the thread that took the report");
    assert!(word.unlock_write(), "it is reported again");
    assert_eq!(word.try_write(), Ok(PLACE));
    assert!(!word.unlock_write(), "the work was this writer's");
}
