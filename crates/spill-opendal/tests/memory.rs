//! A service in memory, which can list.

use std::time::Duration;

use pagefold_spill::{EXTENT_BYTES_MIN, Label, Owner, Spill};
use pagefold_spill_opendal::{
    OpendalBacking, Options, collect,
    opendal::{Operator, services::Memory},
};

fn keys(operator: &Operator) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let listed = runtime.block_on(async { operator.list_with("pagefold/").recursive(true).await });
    listed.expect("it can list").iter().filter(|entry| !entry.path().ends_with('/')).count()
}

#[test]
fn a_store_that_died_is_collected_and_one_that_lives_is_not() {
    let operator = Operator::new(Memory::default()).expect("sensible");
    let backing = OpendalBacking::new(operator.clone(), "/pagefold/", Options::default());
    let backing = backing.expect("memory");
    assert!(backing.prefix().starts_with("pagefold/"));
    let spill = Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
    let mut batch = spill.batch().expect("memory");
    batch.push(Owner(0, 0), Label::NONE, &[7; 1000]).expect("room");
    let place = spill.write(&mut batch).expect("room").keep(0);
    assert_eq!(spill.read_object(place).expect("there").1, [7; 1000]);
    assert_eq!(keys(&operator), 2, "an extent and a lease");

    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for (path, text) in [("pagefold/0123/lease", "1700000000"), ("pagefold/0123/slot-0", "old")] {
        runtime.block_on(operator.write(path, text)).expect("room");
    }
    let old = Duration::from_secs(1);
    let found = collect(operator.clone(), "pagefold", old, Options::default()).expect("it lists");
    assert_eq!((found.alive, found.removed), (1, 1));
    assert_eq!((keys(&operator), spill.read_object(place).expect("there").1.len()), (2, 1000));
    drop(spill);
    assert_eq!(keys(&operator), 0);
}
