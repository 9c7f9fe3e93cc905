//! Base pages that come and go in memory beside gets.

use loom::thread;
use pagefold_store::{BaseSource, GetError, Space, SpaceConfig};

use super::{model_with, store};

/// Not of one word.
fn page(fill: u8) -> Vec<u8> {
    (0..4096_usize).map(|at| fill ^ u8::from(at % 64 == 0)).collect()
}

fn put(space: &Space, key: u64, fill: u8) {
    space.put_from(key, &page(fill)).expect("room");
}

/// Pages lie on the heap, because the stacks of a model are short.
fn get(space: &Space, key: u64) -> Result<u8, GetError> {
    let mut into = vec![0; 4096];
    space.get_into(key, &mut into)?;
    assert!(into == page(into[1]), "torn");
    Ok(into[1])
}

fn try_get(space: &Space, key: u64) -> Option<u8> {
    let mut into = vec![0; 4096];
    space.try_get_bytes(key, &mut into).ok()?;
    assert!(into == page(into[1]), "torn");
    Some(into[1])
}

/// Two base pages, and room in memory for one.
#[test]
fn base_page_evicted_beside_a_get() {
    model_with(2, || {
        let store = store();
        let image = [page(1), page(2)].concat();
        let base = store.base(BaseSource::memory(image).resident(4096)).expect("room");
        let space = store.space(SpaceConfig::persistent(2).on(&base)).expect("room");
        put(&space, 0, 1);
        put(&space, 1, 2);
        assert_eq!((space.form_of(0), space.form_of(1)), (Some("equal"), Some("equal")));
        let other = {
            let space = space.clone();
            thread::spawn(move || assert_eq!(get(&space, 1), Ok(2)))
        };
        assert_eq!(get(&space, 0), Ok(1));
        assert!(try_get(&space, 0).is_none_or(|fill| fill == 1));
        other.join().expect("no panic");
        assert_eq!(base.stats().resident_bytes, 4096);
    });
}

/// The base goes with the handle of its space, beside a get of a space on it.
#[test]
fn handles_of_a_base_and_its_space_go_beside_a_get() {
    model_with(1, || {
        let store = store();
        let golden = store.space(SpaceConfig::persistent(1)).expect("room");
        put(&golden, 0, 1);
        let base = store.base(BaseSource::space(&golden).resident(0)).expect("frozen");
        let space = store.space(SpaceConfig::persistent(1).on(&base)).expect("room");
        put(&space, 0, 1);
        let other = thread::spawn(move || {
            drop(base);
            drop(golden);
        });
        assert_eq!(get(&space, 0), Ok(1));
        other.join().expect("no panic");
        assert_eq!(get(&space, 0), Ok(1));
        drop(space);
        assert_eq!(store.stats().stored, 0);
    });
}
