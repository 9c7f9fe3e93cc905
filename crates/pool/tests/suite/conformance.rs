//! Every allocator through the conformance suite: nbud with every span size and placement, the others with theirs, from
//! both sources of memory.

use pagefold_frame::HeapSource;
use pagefold_pool::{Allocator, FillPolicy, NbudOptions, Pool, PoolBuilder};
use pagefold_testkit::conformance::Expectations;

fn nbud(options: NbudOptions) -> PoolBuilder {
    PoolBuilder::new(options)
}

fn fill(policy: FillPolicy) -> PoolBuilder {
    nbud(NbudOptions::new().fill_policy(policy))
}

fn spans(frames: u32) -> PoolBuilder {
    nbud(NbudOptions::new().span_frames(frames))
}

fn build(builder: PoolBuilder) -> Box<dyn Pool> {
    builder.build().expect("the suite's limits are large enough")
}

/// Half of the usual limit, which takes half of the time, for allocators with many shapes.
fn half() -> Expectations {
    let usual = Expectations::default();
    Expectations { limit_bytes: usual.limit_bytes / 2, ..usual }
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

    pagefold_testkit::conformance!(|limit| build(spans(1).limit(limit)), single());
}

mod spans_of_2_frames {
    use super::*;

    pagefold_testkit::conformance!(
        |limit| build(spans(2).limit(limit)),
        Expectations { fill_min: 0.7, compacted_density_min: 0.85, ..Expectations::default() }
    );
}

mod spans_of_4_frames {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(spans(4).limit(limit)), dense());
}

mod spans_of_8_frames {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(spans(8).limit(limit)), dense());
}

mod spans_of_16_frames {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(spans(16).limit(limit)), dense());
}

mod tight {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(fill(FillPolicy::Tight).limit(limit)), dense());
}

mod append {
    use super::*;

    pagefold_testkit::conformance!(|limit| build(fill(FillPolicy::Append).limit(limit)), dense());
}

mod heap {
    use super::*;

    pagefold_testkit::conformance!(
        |limit| build(nbud(NbudOptions::new()).limit(limit).source(Box::new(HeapSource::new()))),
        dense()
    );
}

/// zbud through the same suite, from both sources of memory.
mod zbud {
    use super::*;

    /// What two objects in a frame hold.
    fn two_a_frame() -> Expectations {
        Expectations { fill_min: 0.55, compacted_density_min: 0.56, ..Expectations::default() }
    }

    fn zbud(limit: usize) -> PoolBuilder {
        PoolBuilder::new(Allocator::zbud()).limit(limit)
    }

    mod mapped {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(zbud(limit)), two_a_frame());
    }

    mod heap {
        use super::*;

        pagefold_testkit::conformance!(
            |limit| build(zbud(limit).source(Box::new(HeapSource::new()))),
            two_a_frame()
        );
    }
}

/// xcfmalloc through the same suite, with objects of 1 to 8 blocks, from both sources of memory.
mod xcfmalloc {
    use pagefold_pool::{BlockSelection, XcfmallocOptions};

    use super::*;

    fn xcfmalloc(limit: usize, blocks: u32) -> PoolBuilder {
        PoolBuilder::new(XcfmallocOptions::new().max_blocks(blocks)).limit(limit)
    }

    fn inverted(limit: usize) -> PoolBuilder {
        let options = XcfmallocOptions::new().max_blocks(2).selection(BlockSelection::Inverted);
        PoolBuilder::new(options).limit(limit)
    }

    /// What objects hold that any two holes are a place for.
    fn scattered() -> Expectations {
        Expectations { fill_min: 0.85, compacted_density_min: 0.93, ..half() }
    }

    /// An object of more than half a frame that must lie in one piece finds little company.
    fn unsplit() -> Expectations {
        Expectations { fill_min: 0.5, compacted_density_min: 0.6, ..half() }
    }

    mod of_1_block {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(xcfmalloc(limit, 1)), unsplit());
    }

    mod of_2_blocks {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(xcfmalloc(limit, 2)), scattered());
    }

    mod of_4_blocks {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(xcfmalloc(limit, 4)), scattered());
    }

    mod of_8_blocks {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(xcfmalloc(limit, 8)), scattered());
    }

    mod inverted {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(inverted(limit)), unsplit());
    }

    mod heap {
        use super::*;

        pagefold_testkit::conformance!(
            |limit| build(xcfmalloc(limit, 2).source(Box::new(HeapSource::new()))),
            scattered()
        );
    }
}

/// zsmalloc through the same suite, with several steps and chain limits, from both sources of memory.
mod zsmalloc {
    use pagefold_pool::ZsmallocOptions;

    use super::*;

    fn zsmalloc(step: usize, chain: u32) -> PoolBuilder {
        PoolBuilder::new(ZsmallocOptions::new().class_step(step).chain_limit(chain))
    }

    fn without_lending() -> PoolBuilder {
        PoolBuilder::new(ZsmallocOptions::new().class_lending(false))
    }

    /// What long chains hold of objects of many lengths, with a zspage or less lost in each class.
    fn chained() -> Expectations {
        Expectations { fill_min: 0.8, compacted_density_min: 0.9, ..half() }
    }

    /// Single frames have no place for two objects of more than half a frame.
    fn unchained() -> Expectations {
        Expectations { fill_min: 0.6, compacted_density_min: 0.6, ..half() }
    }

    /// Up to a zspage of each class is lost when classes do not lend, which is much of a pool of 16 MiB.
    fn alone() -> Expectations {
        Expectations { fill_min: 0.8, compacted_density_min: 0.7, ..Expectations::default() }
    }

    mod step_16_chain_8 {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(zsmalloc(16, 8).limit(limit)), chained());
    }

    mod step_16_chain_4 {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(zsmalloc(16, 4).limit(limit)), chained());
    }

    mod step_32_chain_8 {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(zsmalloc(32, 8).limit(limit)), chained());
    }

    mod chain_1 {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(zsmalloc(16, 1).limit(limit)), unchained());
    }

    mod within_classes {
        use super::*;

        pagefold_testkit::conformance!(|limit| build(without_lending().limit(limit)), alone());
    }

    mod heap {
        use super::*;

        pagefold_testkit::conformance!(
            |limit| build(zsmalloc(16, 8).limit(limit).source(Box::new(HeapSource::new()))),
            chained()
        );
    }
}

/// Handles at their end: every index lives 64 times, so that all that is said of handles is said of the last ones too.
mod short_lives {
    use pagefold_testkit::conformance::{CHECKS, PoolUnderTest};

    use super::*;

    fn passes(allocator: Allocator) {
        let make =
            |limit| build(PoolBuilder::new(allocator).limit(limit).handle_table(usize::MAX, 6));
        let under_test = PoolUnderTest { make: &make, expect: Expectations::default() };
        for name in [
            "an_old_handle_never_finds_its_successor",
            "forged_words_name_nothing",
            "near_misses_of_live_handles_name_nothing",
            "generations_never_come_round",
            "exactly_one_of_two_racing_frees_succeeds",
        ] {
            let check = CHECKS.iter().find(|check| check.name == name).expect("a check");
            (check.run)(&under_test);
        }
    }

    #[test]
    fn of_nbud() {
        passes(Allocator::nbud());
    }

    #[test]
    fn of_zbud() {
        passes(Allocator::zbud());
    }

    #[test]
    fn of_xcfmalloc() {
        passes(Allocator::xcfmalloc());
    }

    #[test]
    fn of_zsmalloc() {
        passes(Allocator::zsmalloc());
    }
}
