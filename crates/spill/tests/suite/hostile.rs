//! Random bytes for what the fuzz target `spill_open` does with found ones.

use pagefold_testkit::{
    hostile::{Opened, open_hostile},
    seed::Seed,
};
use rand::{Rng as _, RngExt as _};

#[test]
fn objects_of_changed_extents_have_their_own_length_or_are_errors() {
    let mut rng = Seed::for_test(0x54).rng(0);
    let mut all = [0; 3];
    for _ in 0..2000 {
        let mut input = vec![0; rng.random_range(0..400)];
        rng.fill_bytes(&mut input);
        let Opened { right, forged, errors } = open_hostile(&input);
        all.iter_mut().zip([right, forged, errors]).for_each(|(sum, count)| *sum += count);
    }
    assert!(all.iter().all(|count| *count > 500), "right, forged, errors: {all:?}");
}
