//! The packing of `examples/plain.rs`: each object alone in its frames, in an engine from outside of the crate.

#[path = "../../../examples/plain.rs"]
#[expect(dead_code, reason = "its `main` is the example's")]
mod packing;

use std::sync::Arc;

use pagefold_frame::HeapSource;
use pagefold_pool::engine::{Engine, PoolConfig};

use self::packing::Plain;
use crate::shape::Shape;

pub(crate) const SHAPE: Shape = Shape {
    pool: || {
        let config = PoolConfig::new(4 << 20, Box::new(HeapSource::new()));
        Arc::new(Engine::new(Plain::new(config).expect("room")).expect("room"))
    },
    one_index: || unreachable!("the builder alone makes short tables"),
    pair: [100, 100],
    alone: 4096,
    sparse: || unreachable!("nothing is shared"),
    frames_kept: 0,
};
