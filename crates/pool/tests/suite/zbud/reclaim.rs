//! zbud's reclaim: its outcomes, the order of use, and evictors that refuse, panic, free other objects or reclaim again.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    thread,
    time::Duration,
};

use pagefold_frame::HeapSource;
use pagefold_pool::{
    Allocator, Evict, Handle, HandleError, NotEvicted, Pool, PoolBuilder, ReclaimError, Reclaimed,
};
use pagefold_testkit::{pattern::Pattern, watchdog};

/// So long that only a deadlock exceeds it.
const DEADLOCK_AFTER: Duration = Duration::from_secs(60);
/// A length of which two share a frame, and one of which they do not.
const HALF: usize = 2000;
const MOST: usize = 3000;

fn pool() -> Box<dyn Pool> {
    let builder = PoolBuilder::new(Allocator::zbud()).limit(4 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("enough for a pool")
}

fn store(pool: &dyn Pool, number: u64, len: usize) -> Handle {
    pool.store(&Pattern::new(1, number, 0).bytes(len)).expect("room")
}

fn store_each<const N: usize>(pool: &dyn Pool, len: usize) -> [Handle; N] {
    std::array::from_fn(|number| store(pool, number as u64, len))
}

/// The object is there, with the bytes it was stored with.
fn check(pool: &dyn Pool, handle: Handle, number: u64) {
    let whole = |slices: pagefold_pool::Slices<'_>| {
        assert_eq!(Pattern::new(1, number, 0).check(slices), Ok(()), "object {number}");
    };
    pool.read(handle, &mut { whole }).unwrap_or_else(|error| panic!("object {number}: {error}"));
}

fn frames(pool: &dyn Pool) -> u64 {
    pool.stats().frame_bytes / 4096
}

/// Whom one frame's reclaim asks for; all stay, and the frame goes to the front.
fn asks_for(pool: &dyn Pool, retries: u32) -> Vec<Handle> {
    let mut asked = Vec::new();
    let answer = pool.reclaim(retries, &mut |handle| {
        asked.push(handle);
        Err(NotEvicted)
    });
    assert_eq!(answer, Err(ReclaimError::Again { tried: retries }));
    asked
}

/// An evictor that frees what it is asked for.
fn freeing(pool: &dyn Pool) -> impl FnMut(Handle) -> Result<(), NotEvicted> + '_ {
    |handle| pool.free(handle).map_err(|_| NotEvicted)
}

const ONE: Reclaimed = Reclaimed { frames: 1, kept: 0, deferred: false };

#[test]
fn without_retries_nothing_is_evicted() {
    let pool = pool();
    let unasked: &mut Evict<'_> = &mut |victim| panic!("it evicts {victim:?}");
    assert_eq!(pool.reclaim(0, unasked), Err(ReclaimError::NothingToReclaim));
    let handle = store(&*pool, 0, HALF);
    assert_eq!(pool.reclaim(0, unasked), Err(ReclaimError::Again { tried: 0 }));
    assert_eq!(pool.len(handle), Ok(HALF));
}

#[test]
fn an_empty_pool_has_nothing_to_reclaim() {
    let pool = pool();
    let unasked: &mut Evict<'_> = &mut |_| panic!("there is no victim");
    for retries in [0, 1, 9] {
        assert_eq!(pool.reclaim(retries, unasked), Err(ReclaimError::NothingToReclaim));
    }
    let handle = store(&*pool, 0, HALF);
    assert_eq!(pool.reclaim(0, unasked), Err(ReclaimError::Again { tried: 0 }));
    pool.free(handle).expect("alive");
    assert_eq!(pool.reclaim(9, unasked), Err(ReclaimError::NothingToReclaim));
}

#[test]
fn frames_are_reclaimed_in_the_order_of_filling() {
    let pool = pool();
    let handles: [Handle; 6] = store_each(&*pool, MOST);
    let mut asked = Vec::new();
    for _ in 0..6 {
        let answer = pool.reclaim(1, &mut |handle| {
            asked.push(handle);
            pool.free(handle).map_err(|_| NotEvicted)
        });
        assert_eq!(answer, Ok(ONE));
        pool.validate().expect("valid");
    }
    assert_eq!(asked, handles);
    assert_eq!((frames(&*pool), pool.stats().objects), (0, 0));
}

/// Two objects are added to a frame at different times; the second makes it the one filled last.
#[test]
fn adding_an_object_counts_as_use_and_nothing_else_does() {
    let pool = pool();
    let [first, second] = store_each(&*pool, 2500);
    let buddy = store(&*pool, 2, 1000);
    // The tightest is the frame with the lowest id of two alike: the older one.
    assert_eq!(
        asks_for(&*pool, 1),
        [second],
        "the older frame got an object, so it is younger now"
    );
    assert_eq!(asks_for(&*pool, 1), [first]);
    check(&*pool, second, 1);
    pool.write(second, &Pattern::new(1, 1, 0).bytes(2500)).expect("no read is open");
    pool.free(buddy).expect("alive");
    assert_eq!(asks_for(&*pool, 1), [second], "neither reading nor writing nor freeing is use");
    assert_eq!(asks_for(&*pool, 1), [first]);
}

#[test]
fn an_evictor_that_frees_wins_a_frame() {
    let pool = pool();
    let [a, b, c, d] = store_each(&*pool, HALF);
    assert_eq!(frames(&*pool), 2);
    assert_eq!(pool.reclaim(1, &mut freeing(&*pool)), Ok(ONE));
    assert_eq!(frames(&*pool), 1);
    for gone in [a, b] {
        assert_eq!(pool.len(gone), Err(HandleError::Stale));
    }
    check(&*pool, c, 2);
    check(&*pool, d, 3);
    pool.validate().expect("valid");
}

#[test]
fn an_evictor_that_frees_twice_gets_an_error_and_the_frame() {
    let pool = pool();
    let _: [Handle; 2] = store_each(&*pool, HALF);
    let answer = pool.reclaim(1, &mut |handle| {
        assert_eq!(pool.free(handle), Ok(()));
        assert_eq!(pool.free(handle), Err(HandleError::Stale));
        Ok(())
    });
    assert_eq!(answer, Ok(ONE));
    assert_eq!((frames(&*pool), pool.stats().objects), (0, 0));
    pool.validate().expect("valid");
}

#[test]
fn an_evictor_that_fails_is_not_asked_for_the_buddy_and_nothing_is_lost() {
    let pool = pool();
    let handles: [Handle; 6] = store_each(&*pool, HALF);
    // Three frames: each is tried once, its first object refused, and goes to the front.
    assert_eq!(asks_for(&*pool, 3), [handles[0], handles[2], handles[4]]);
    assert_eq!(
        asks_for(&*pool, 2),
        [handles[0], handles[2]],
        "a full turn: the order is as it was"
    );
    assert_eq!(asks_for(&*pool, 1), [handles[4]]);
    (0..).zip(handles).for_each(|(number, handle)| check(&*pool, handle, number));
    assert_eq!(frames(&*pool), 3);
    pool.validate().expect("valid");
}

#[test]
fn frames_that_stay_are_counted_beside_the_one_that_was_won() {
    let pool = pool();
    let handles: [Handle; 5] = store_each(&*pool, MOST);
    let evict: &mut Evict<'_> = &mut |handle| match handle == handles[3] {
        true => pool.free(handle).map_err(|_| NotEvicted),
        false => Err(NotEvicted),
    };
    assert_eq!(pool.reclaim(3, evict), Err(ReclaimError::Again { tried: 3 }));
    assert_eq!(pool.reclaim(9, evict), Ok(ONE));
    assert_eq!(asks_for(&*pool, 4), [4, 0, 1, 2].map(|number| handles[number]));
    let third: &mut Evict<'_> = &mut |handle| match handle == handles[1] {
        true => pool.free(handle).map_err(|_| NotEvicted),
        false => Err(NotEvicted),
    };
    assert_eq!(pool.reclaim(9, third), Ok(Reclaimed { kept: 2, ..ONE }));
    assert_eq!(frames(&*pool), 3);
    pool.validate().expect("valid");
}

#[test]
fn an_evictor_that_says_yes_and_does_nothing_wins_nothing() {
    let pool = pool();
    let handles: [Handle; 2] = store_each(&*pool, HALF);
    let mut asked = Vec::new();
    let answer = pool.reclaim(1, &mut |handle| {
        asked.push(handle);
        Ok(())
    });
    assert_eq!((answer, &asked[..]), (Err(ReclaimError::Again { tried: 1 }), &handles[..]));
    (0..).zip(handles).for_each(|(number, handle)| check(&*pool, handle, number));
}

#[test]
fn an_evictor_that_frees_and_says_no_wins_the_frame_all_the_same() {
    let pool = pool();
    let handles: [Handle; 2] = store_each(&*pool, HALF);
    let answer = pool.reclaim(1, &mut |_| {
        handles.iter().for_each(|handle| pool.free(*handle).expect("alive"));
        Err(NotEvicted)
    });
    assert_eq!(answer, Ok(ONE));
    assert_eq!(frames(&*pool), 0);
}

/// The panic comes after so many objects of the frame were freed.
fn panicking_after(freed: usize) {
    let pool = pool();
    let handles: [Handle; 4] = store_each(&*pool, HALF);
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        pool.reclaim(1, &mut |_| {
            for handle in &handles[..freed] {
                pool.free(*handle).expect("alive");
            }
            panic!("the evictor panics")
        })
    }));
    assert!(caught.is_err());
    pool.validate().unwrap_or_else(|violation| panic!("after {freed} were freed: {violation}"));
    for (number, handle) in (0..).zip(handles).skip(freed) {
        check(&*pool, handle, number);
    }
    let left = if freed == 2 { 1 } else { 2 };
    assert_eq!(frames(&*pool), left, "{freed} freed");
    assert_eq!(asks_for(&*pool, 1), [handles[2]], "the other frame is the oldest now");
    if freed < 2 {
        assert_eq!(asks_for(&*pool, 1), [handles[freed]]);
    }
    // A frame that is lone by it is filled again.
    store(&*pool, 9, HALF);
    assert_eq!(frames(&*pool), left + u64::from(freed != 1));
    pool.validate().expect("valid");
}

#[test]
fn an_evictor_that_panics_leaves_the_frame_where_it_belongs() {
    (0..=2).for_each(panicking_after);
}

#[test]
fn an_evictor_may_call_everything() {
    watchdog::within(DEADLOCK_AFTER, "every method inside evict", || {
        let pool = pool();
        let handles: [Handle; 8] = store_each(&*pool, HALF);
        let mut rounds = 0;
        let answer = pool.reclaim(1, &mut |handle| {
            let (number, before) = (rounds, pool.stats().objects);
            rounds += 1;
            check(&*pool, handle, number);
            pool.read(handle, &mut |_| check(&*pool, handle, number)).expect("alive");
            let made = pool.alloc(100).expect("room");
            let other = store(&*pool, 50, MOST);
            pool.write(handle, &Pattern::new(1, number, 0).bytes(HALF)).expect("room");
            check(&*pool, handle, number);
            pool.compact(usize::MAX);
            pool.trim();
            pool.migrate(handle).expect("no read is open");
            drop(pool.alloc_contiguous(4, 4).expect("there is room"));
            pool.set_limit(3 << 20).expect("it fits");
            pool.set_limit(4 << 20).expect("it fits");
            assert_eq!(pool.stats().objects, before + 2);
            let nested = pool.reclaim(1, &mut freeing(&*pool));
            assert!(matches!(nested, Ok(Reclaimed { frames: 1, .. })), "{nested:?}");
            for handle in [made, other] {
                // They may have been evicted by the nested reclaim.
                pool.free(handle).ok();
            }
            pool.free(handle).map_err(|_| NotEvicted)
        });
        assert_eq!((answer, rounds), (Ok(ONE), 2));
        for gone in &handles[..2] {
            assert_eq!(pool.len(*gone), Err(HandleError::Stale));
        }
        pool.validate().expect("valid");
    });
}

#[test]
fn a_nested_reclaim_has_frames_of_its_own() {
    let pool = pool();
    let handles: [Handle; 3] = store_each(&*pool, MOST);
    let asked = RefCell::new(Vec::new());
    let deepest = Cell::new(None);
    let answer = pool.reclaim(1, &mut |outer| {
        asked.borrow_mut().push(outer);
        let middle = pool.reclaim(1, &mut |middle| {
            asked.borrow_mut().push(middle);
            let inner = pool.reclaim(1, &mut |inner| {
                asked.borrow_mut().push(inner);
                // All three frames are being reclaimed.
                deepest.set(Some(pool.reclaim(1, &mut freeing(&*pool))));
                Err(NotEvicted)
            });
            assert_eq!(inner, Err(ReclaimError::Again { tried: 1 }));
            pool.free(middle).map_err(|_| NotEvicted)
        });
        assert_eq!(middle, Ok(ONE));
        Err(NotEvicted)
    });
    assert_eq!(answer, Err(ReclaimError::Again { tried: 1 }));
    assert_eq!(deepest.get(), Some(Err(ReclaimError::NothingToReclaim)));
    assert_eq!(asked.into_inner(), handles);
    assert_eq!(asks_for(&*pool, 2), [handles[2], handles[0]], "in the order they were put back");
    pool.validate().expect("valid");
}

#[test]
fn an_evictor_that_frees_another_object_wins_nothing() {
    let pool = pool();
    let handles: [Handle; 4] = store_each(&*pool, HALF);
    let mut victims = handles[2..].iter();
    let answer = pool.reclaim(1, &mut |_| {
        let victim = victims.next().expect("two objects are asked for");
        pool.free(*victim).map_err(|_| NotEvicted)
    });
    assert_eq!(answer, Err(ReclaimError::Again { tried: 1 }));
    assert_eq!(frames(&*pool), 1, "the other frame is gone");
    for (number, handle) in (0..).zip(handles).take(2) {
        check(&*pool, handle, number);
    }
    pool.validate().expect("valid");
}

#[test]
fn a_free_that_arrives_during_reclaim_only_empties_its_side() {
    watchdog::within(DEADLOCK_AFTER, "a free during reclaim", || {
        let pool = pool();
        let handles: [Handle; 2] = store_each(&*pool, HALF);
        let mut asked = 0;
        let answer = pool.reclaim(1, &mut |_| {
            asked += 1;
            thread::scope(|scope| {
                let free = |handle: Handle| assert_eq!(pool.free(handle), Ok(()));
                for handle in handles {
                    scope.spawn(move || free(handle));
                }
            });
            assert_eq!(frames(&*pool), 1, "the frame is the reclaimer's to free");
            // No store fills the frame, although all of it is empty.
            let other = store(&*pool, 7, 64);
            assert_eq!(frames(&*pool), 2);
            assert_eq!(pool.compact(usize::MAX).moved_objects, 0);
            pool.free(other).expect("alive");
            Ok(())
        });
        assert_eq!(
            (answer, asked),
            (Ok(ONE), 1),
            "the second object is gone: the evictor is not asked for it"
        );
        assert_eq!(frames(&*pool), 0);
        pool.validate().expect("valid");
    });
}

#[test]
fn an_object_that_is_overwritten_during_reclaim_leaves_its_frame() {
    let pool = pool();
    let handle = store(&*pool, 0, HALF);
    let new = Pattern::new(1, 1, 0);
    let answer = pool.read(handle, &mut |open| {
        let answer = pool.reclaim(1, &mut |victim| {
            // The reader is in the way, so the new bytes go to another frame.
            pool.write(victim, &new.bytes(HALF)).expect("room");
            Ok(())
        });
        assert_eq!(answer, Ok(Reclaimed { deferred: true, ..ONE }));
        assert_eq!(Pattern::new(1, 0, 0).check(open), Ok(()), "the open read's bytes stay");
    });
    assert_eq!(answer, Ok(()));
    check(&*pool, handle, 1);
    assert_eq!(frames(&*pool), 1);
    pool.validate().expect("valid");
}

#[test]
fn a_frame_that_is_read_is_given_back_when_the_read_ends() {
    let pool = pool();
    let handles: [Handle; 4] = store_each(&*pool, HALF);
    let answer = pool.read(handles[0], &mut |open| {
        let answer = pool.reclaim(1, &mut freeing(&*pool));
        assert_eq!(answer, Ok(Reclaimed { deferred: true, ..ONE }));
        assert_eq!(frames(&*pool), 2, "the reader still has it");
        for number in 10..40 {
            store(&*pool, number, HALF);
        }
        assert_eq!(Pattern::new(1, 0, 0).check(open), Ok(()), "no store used its bytes");
    });
    assert_eq!(answer, Ok(()));
    assert_eq!(frames(&*pool), 1 + 15);
    assert_eq!(pool.len(handles[0]), Err(HandleError::Stale));
    check(&*pool, handles[2], 2);
    pool.validate().expect("valid");
}
