//! nbud: which spans and runs objects lie in, the policy of filling, sliding, and frees that are pending.

mod pending;
mod policy;
mod spans;

use pagefold_frame::HeapSource;
use pagefold_pool::{FillPolicy, Handle, NbudOptions, Pool, PoolBuilder};
use pagefold_testkit::pattern::Pattern;

fn pool(span_frames: u32, policy: FillPolicy) -> Box<dyn Pool> {
    let options = NbudOptions::new().span_frames(span_frames).fill_policy(policy);
    let builder = PoolBuilder::new(options).limit(8 << 20).source(Box::new(HeapSource::new()));
    builder.build().expect("enough for a pool")
}

fn store(pool: &dyn Pool, key: u64, len: usize) -> Handle {
    pool.store(&Pattern::new(key, 0, 0).bytes(len)).expect("room")
}

fn check(pool: &dyn Pool, handle: Handle, key: u64, len: usize) {
    let answer = pool.read(handle, &mut |slices| {
        assert_eq!(slices.len(), len);
        assert_eq!(Pattern::new(key, 0, 0).check(slices), Ok(()));
    });
    assert_eq!(answer, Ok(()));
}

fn frames(pool: &dyn Pool) -> u64 {
    pool.stats().frame_bytes / 4096
}
