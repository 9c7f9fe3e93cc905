//! nbud through the conformance suite: every span size, every placement, both sources of memory.
#![cfg(not(loom))]

use pagefold_frame::HeapSource;
use pagefold_pool::{Allocator, Placement, Pool, PoolBuilder};
use pagefold_testkit::conformance::Expectations;

fn nbud(limit: usize) -> PoolBuilder {
    PoolBuilder::new(Allocator::Nbud).limit(limit)
}

fn build(builder: PoolBuilder) -> Box<dyn Pool> {
    builder.build().expect("the suite's limits are large enough")
}

/// What spans of several frames hold.
fn dense() -> Expectations {
    Expectations { fill_min: 0.8, compacted_density_min: 0.95, ..Expectations::default() }
}

/// In a span of one frame nothing above half a frame finds company.
fn single() -> Expectations {
    Expectations { fill_min: 0.5, compacted_density_min: 0.6, ..Expectations::default() }
}

mod spans_of_1_frame {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(nbud(limit).span_frames(1)), single());
}

mod spans_of_2_frames {
    use super::*;

    pagefold_testkit::conformance!(
        |limit| build(nbud(limit).span_frames(2)),
        Expectations { fill_min: 0.7, compacted_density_min: 0.85, ..Expectations::default() }
    );
}

mod spans_of_4_frames {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(nbud(limit).span_frames(4)), dense());
}

mod spans_of_8_frames {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(nbud(limit).span_frames(8)), dense());
}

mod spans_of_16_frames {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(nbud(limit).span_frames(16)), dense());
}

mod tight {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(nbud(limit).placement(Placement::Tight)), dense());
}

mod append {
    use super::*;

    pagefold_testkit::conformance!(
        |limit| build(nbud(limit).placement(Placement::Append)),
        dense()
    );
}

mod heap {
    use super::*;

    pagefold_testkit::conformance!(
        |limit| build(nbud(limit).source(Box::new(HeapSource::new()))),
        dense()
    );
}
