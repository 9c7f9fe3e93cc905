//! Pools that cannot be built, and the edges of those that can. Misuse of handles is in the conformance suite.

use pagefold_pool::{
    Allocator, BuildError, NbudOptions, PoolBuilder, XcfmallocOptions, ZsmallocOptions,
};

fn nbud() -> PoolBuilder {
    PoolBuilder::new(Allocator::nbud())
}

fn spans(frames: u32) -> PoolBuilder {
    PoolBuilder::new(NbudOptions::new().span_frames(frames))
}

fn blocks(most: u32) -> PoolBuilder {
    PoolBuilder::new(XcfmallocOptions::new().max_blocks(most))
}

#[test]
fn an_unknown_allocator_is_named_beside_the_known_ones() {
    let error = "nbut".parse::<Allocator>().expect_err("no such allocator");
    assert_eq!(error.name, "nbut");
    for known in Allocator::ALL {
        assert!(error.to_string().contains(known.name()), "{error}");
        assert_eq!(known.to_string().parse(), Ok(*known));
    }
}

#[test]
fn a_span_has_a_power_of_two_of_frames() {
    for frames in [0, 3, 5, 12, 17, 32, u32::MAX] {
        match spans(frames).build() {
            Err(BuildError::SpanFrames { frames: said }) => assert_eq!(said, frames),
            other => panic!("{frames} frames: {:?}", other.err()),
        }
    }
}

#[test]
fn an_object_has_1_to_8_blocks() {
    for most in [0, 9, 64, u32::MAX] {
        match blocks(most).build() {
            Err(BuildError::MaxBlocks { blocks: said }) => assert_eq!(said, most),
            other => panic!("{most} blocks: {:?}", other.err()),
        }
    }
}

#[test]
fn classes_have_a_step_that_leads_to_a_frame_and_chains_of_1_to_8_frames() {
    let zsmalloc = ZsmallocOptions::new();
    let build = |options| PoolBuilder::new(options).limit(8 << 20).build();
    for frames in [0, 9, 64, u32::MAX] {
        match build(zsmalloc.chain_limit(frames)) {
            Err(BuildError::ChainLimit { frames: said }) => assert_eq!(said, frames),
            other => panic!("{frames} frames: {:?}", other.err()),
        }
    }
    // Divisors of what there is, but no multiples of 8, and numbers that do not lead to a frame.
    for step in [0, 1, 2, 4, 254, 508, 24, 48, 64, 4096, usize::MAX] {
        match build(zsmalloc.class_step(step)) {
            Err(BuildError::ClassStep { step: said }) => assert_eq!(said, step),
            other => panic!("a step of {step}: {:?}", other.err()),
        }
    }
    for step in [8, 16, 32, 1016, 2032, 4064] {
        assert!(build(zsmalloc.class_step(step)).is_ok(), "the error names {step}");
    }
}

/// The least limit that the error names is one, and a pool with it holds the longest object.
fn least_limit_holds_the_longest_object(what: &str, builder: &dyn Fn() -> PoolBuilder) {
    let least = match builder().limit(0).build() {
        Err(BuildError::LimitTooSmall { limit: 0, min, .. }) => min,
        other => panic!("{what}, a limit of 0 bytes: {:?}", other.err()),
    };
    assert!(builder().limit(least - 1).build().is_err(), "{what}: one byte less");
    let pool = builder().limit(least).build().expect("the least limit");
    let bytes = vec![5; pool.max_len()];
    let handle = pool.store(&bytes).expect("the longest object");
    pool.write(handle, &bytes).expect("no read is open");
    assert_eq!(pool.len(handle), Ok(bytes.len()));
    pool.free(handle).expect("alive");
    for len in [1, 100, 4090, 4096, bytes.len()] {
        let stored = pool.store(&bytes[..len]);
        let handle = stored.unwrap_or_else(|error| panic!("{len} bytes alone, {what}: {error}"));
        let mut written = Ok(());
        pool.read(handle, &mut |_| written = pool.write(handle, &bytes[..len])).expect("alive");
        assert_eq!(written, Ok(()), "{len} bytes beside a reader, {what}");
        pool.free(handle).expect("alive");
    }
    assert!(pool.stats().resident_bytes() <= pool.stats().limit_bytes);
    pool.validate().expect("valid");
}

#[test]
fn the_least_limit_holds_the_longest_object() {
    for frames in [1, 2, 4, 8, 16] {
        let what = format!("nbud with spans of {frames} frames");
        least_limit_holds_the_longest_object(&what, &|| spans(frames));
    }
    least_limit_holds_the_longest_object("zbud", &|| PoolBuilder::new(Allocator::zbud()));
    for most in 1..=8 {
        let what = format!("xcfmalloc with up to {most} blocks");
        least_limit_holds_the_longest_object(&what, &|| blocks(most));
    }
    for (step, frames) in [(16, 8), (8, 4), (32, 1), (4064, 8)] {
        let what = format!("zsmalloc by {step} bytes with chains of up to {frames}");
        let options = ZsmallocOptions::new().class_step(step).chain_limit(frames);
        least_limit_holds_the_longest_object(&what, &|| PoolBuilder::new(options));
    }
}

/// A handle has 16 bits for the pool's number, so numbers must come back when pools are dropped.
#[test]
fn pools_can_be_built_and_dropped_without_end() {
    for round in 0..66_000_u32 {
        let pool = nbud().limit(1 << 20).build();
        let pool = pool.unwrap_or_else(|error| panic!("pool {round}: {error}"));
        if round % 1000 == 0 {
            let handle = pool.store(&round.to_le_bytes()).expect("there is room");
            pool.free(handle).expect("alive");
        }
    }
}
