//! The model agrees with the reference pool and not with mutants.

use rand::Rng;

use std::collections::HashSet;

use pagefold_pool::Handle;

use super::*;
use crate::{
    reference::{MapPool, Mutant},
    seed::Seed,
};

fn run(pool: &MapPool, seed: Seed, count: usize) -> Result<(), Mismatch> {
    let mut rng = seed.rng(0);
    let mut checked = Checked::new(pool, Depth::Validate);
    for _ in 0..count {
        Op::random(&mut rng, 9000).apply(&mut checked)?;
    }
    checked.check_all(100)?;
    checked.free_all()
}

#[test]
fn a_correct_pool_agrees() {
    let seed = Seed::for_test(21);
    run(&MapPool::new(1 << 20), *seed, 5000).expect("the reference pool is right");
}

#[test]
fn each_mutant_that_one_thread_can_see_is_a_mismatch() {
    let seed = Seed::for_test(22);
    for mutant in Mutant::ALL.into_iter().filter(|mutant| mutant.shows_in_any_traffic()) {
        let outcome = run(&MapPool::mutant(1 << 20, mutant), *seed, 20_000);
        assert!(outcome.is_err(), "{mutant:?} went unnoticed");
    }
}

#[test]
fn any_bytes_are_operations_of_every_kind() {
    let seed = Seed::for_test(23);
    let mut bytes = vec![0; 20_000];
    seed.rng(0).fill_bytes(&mut bytes);
    let ops: Vec<Op> = operations(&bytes).collect();
    let kinds: HashSet<_> = ops.iter().map(std::mem::discriminant).collect();
    // All operations.
    assert_eq!(kinds.len(), 24, "of {} operations", ops.len());
    for len in 0..50 {
        let ops = operations(&bytes[..len]).count();
        assert!(ops <= len && (ops > 0) == (len > 0), "{len} bytes are {ops} operations");
    }
    let pool = MapPool::new(1 << 20);
    let mut on = Checked::new(&pool, Depth::Validate);
    for op in ops {
        op.apply(&mut on).expect("the reference pool is right");
    }
}

#[test]
fn the_model_keeps_its_own_books() {
    let handle = |raw| Handle::from_raw(raw).expect("not 0");
    let mut model = Model::default();
    for raw in 1..=5_u8 {
        model.insert(handle(raw.into()), vec![raw; raw.into()]).expect("new");
    }
    assert!(model.insert(handle(3), vec![0]).is_err(), "3 is alive");
    model.remove(handle(2));
    model.remove(handle(5));
    model.replace(handle(4), &[9; 4]);
    assert!(model.insert(handle(2), vec![0]).is_err(), "2 was buried");
    assert_eq!(
        (model.payload_bytes(), model.objects().len(), model.dead().len()),
        (1 + 3 + 4, 3, 2)
    );
    assert_eq!(model.get(handle(4)), Some([9; 4].as_slice()));
    assert_eq!(model.get(handle(1)), Some([1].as_slice()));
    assert_eq!(model.get(handle(5)), None);
}

#[test]
fn what_a_read_kept_must_be_uncounted_once_no_read_is_open() {
    let leaks = |pool: MapPool| {
        let mut on = Checked::new(&pool, Depth::Result);
        let mut store = || on.store(&[7; 100]).expect("agreed").expect("there is room");
        let (freed, read) = (store(), store());
        _ = on.during_read(freed, &mut |on| on.free(freed).map(|_| ()))?;
        // The pool may not yet have freed it.
        _ = on.during_read(read, &mut |on| on.stats().map(|_| ()))?;
        Ok::<bool, Mismatch>(on.stats().is_err())
    };
    assert_eq!(leaks(MapPool::new(1 << 20)), Ok(false));
    assert_eq!(leaks(MapPool::mutant(1 << 20, Mutant::PayloadLeaks)), Ok(true));
}
