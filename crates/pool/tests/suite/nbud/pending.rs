//! Objects that are freed while their span is read: the reader sees them to its end, then their room comes back.

use pagefold_pool::{FillPolicy, HandleError};

use super::{check, frames, pool, store};

const HALF: usize = 1900;

#[test]
fn room_that_a_reader_holds_is_used_after_the_read() {
    let pool = pool(1, FillPolicy::Tight);
    let goes = store(&*pool, 1, HALF);
    let stays = store(&*pool, 2, HALF);
    let mut beside = None;
    let answer = pool.read(goes, &mut |slices| {
        let before = slices.parts().concat();
        pool.free(goes).expect("alive");
        assert_eq!(pool.free(goes), Err(HandleError::Stale));
        beside = Some(store(&*pool, 3, HALF));
        assert_eq!(frames(&*pool), 2, "not in the place that is read");
        assert_eq!(slices.parts().concat(), before);
    });
    assert_eq!(answer, Ok(()));
    let stats = pool.stats();
    assert_eq!((stats.objects, stats.payload_bytes), (2, 2 * HALF as u64));
    let after = [store(&*pool, 4, HALF), store(&*pool, 5, HALF)];
    assert_eq!(frames(&*pool), 2, "the room came back");
    check(&*pool, stays, 2, HALF);
    check(&*pool, beside.expect("stored"), 3, HALF);
    (4..).zip(after).for_each(|(key, handle)| check(&*pool, handle, key, HALF));
    assert_eq!(pool.validate(), Ok(()));
}

#[test]
fn a_span_or_run_that_is_empty_when_its_read_ends_goes_back() {
    for len in [HALF, 4096, 9000] {
        let pool = pool(1, FillPolicy::Tight);
        let only = store(&*pool, 1, len);
        let answer = pool.read(only, &mut |slices| {
            pool.free(only).expect("alive");
            assert_eq!(pool.trim().frame_bytes, 0, "the reader holds it");
            assert_eq!(slices.len(), len);
        });
        assert_eq!(answer, Ok(()));
        pool.trim();
        assert_eq!(frames(&*pool), 0, "{len} bytes");
        assert_eq!(pool.validate(), Ok(()));
    }
}

#[test]
fn frees_of_many_objects_of_a_span_are_all_done_when_the_read_ends() {
    let pool = pool(4, FillPolicy::Tight);
    let handles: Vec<_> = (0..100).map(|key| store(&*pool, key, 150)).collect();
    let answer = pool.read(handles[50], &mut |_| {
        handles.iter().for_each(|handle| pool.free(*handle).expect("alive"));
        assert_eq!(pool.stats().objects, 0);
    });
    assert_eq!(answer, Ok(()));
    let stats = pool.stats();
    assert_eq!((stats.objects, stats.payload_bytes), (0, 0));
    pool.trim();
    assert_eq!(frames(&*pool), 0);
    assert_eq!(pool.validate(), Ok(()));
}

#[test]
fn an_overwrite_beside_its_reader_lies_elsewhere() {
    let pool = pool(1, FillPolicy::Tight);
    let handle = store(&*pool, 1, HALF);
    let answer = pool.read(handle, &mut |slices| {
        pool.write(handle, &[9; HALF]).expect("room");
        assert!(slices.parts().concat() != [9; HALF], "the open bytes stay");
        pool.read(handle, &mut |inner| assert_eq!(inner.parts().concat(), [9; HALF]))
            .expect("alive");
    });
    assert_eq!(answer, Ok(()));
    assert_eq!(pool.stats().payload_bytes, HALF as u64);
    assert_eq!(pool.validate(), Ok(()));
}
