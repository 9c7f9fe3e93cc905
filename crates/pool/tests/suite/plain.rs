//! The packing that `examples/plain.rs` writes outside of the crate: the engine makes a whole pool of it.

#[path = "../../examples/plain.rs"]
#[expect(dead_code, reason = "its `main` is the example's")]
mod packing;

use pagefold_frame::HeapSource;
use pagefold_pool::{
    Pool,
    engine::{Engine, PoolConfig},
};
use pagefold_testkit::{
    conformance::Expectations,
    model::{Checked, Depth, Op},
    seed::Seed,
};

use self::packing::Plain;

fn plain(limit: usize) -> Box<dyn Pool> {
    let config = PoolConfig::new(limit, Box::new(HeapSource::new()));
    let packing = Plain::new(config).expect("the suite's limits are large enough");
    Box::new(Engine::new(packing).expect("the suite's limits are large enough"))
}

/// What a frame for each object of a compressed page holds.
fn alone() -> Expectations {
    let (fill_min, compacted_density_min) = (0.2, 0.2);
    let usual = Expectations::default();
    Expectations { fill_min, compacted_density_min, moves_objects: false, ..usual }
}

mod conformance {
    use super::*;

    pagefold_testkit::conformance!(plain, alone());
}

#[test]
fn random_operations_agree_with_the_model() {
    let seed = Seed::for_test(0x91a1);
    for round in 0..20 {
        let pool = plain(2 << 20);
        let mut on = Checked::new(&*pool, Depth::Validate);
        let mut rng = seed.rng(round);
        for step in 0..300 {
            let op = Op::random(&mut rng, pool.max_len());
            if let Err(mismatch) = op.apply(&mut on) {
                panic!("round {round}, operation {step}, {op:?}: {mismatch}");
            }
        }
        on.check_all(100).and_then(|()| on.free_all()).expect("agrees");
    }
}
