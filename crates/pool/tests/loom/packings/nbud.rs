//! nbud: spans of one frame, and runs.

use pagefold_pool::{Allocator, NbudOptions};

use super::two_halves;
use crate::shape::{Shape, build, build_with_one_index};

pub(crate) const SHAPE: Shape = Shape {
    pool: || build(nbud()),
    one_index: || build_with_one_index(nbud()),
    pair: [100, 100],
    alone: 4096,
    sparse: || two_halves(nbud()),
    frames_kept: 1,
};

fn nbud() -> Allocator {
    NbudOptions::new().span_frames(1).into()
}
