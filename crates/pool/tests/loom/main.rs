//! Models of the real pool: every interleaving of two threads with a few preemptions.
//!
//! ```text
//! table      rule x packing: which rule runs on which packing, and why a cell is empty
//! rules/     what must hold, a function a rule, told by the operation that runs beside another
//! shape      what a rule knows of a packing: its pools, two objects that share a unit, objects that compaction moves
//! packings/  a column each: the packing's shape, and rules about what it alone has
//! ```
//! `cargo xtask loom` runs them. Tables are short, there is one shard, caches are small; the code is the same.
#![cfg(loom)]

mod packings;
mod rules;
mod shape;
mod table;

use std::sync::Arc;

use loom::thread;
use pagefold_pool::{AllocError, Handle, HandleError, Pool};

/// Explores all interleavings with up to `preemptions`, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 100_000;
    builder.check(f);
}

fn store(pool: &dyn Pool, fill: u8, len: usize) -> Result<Handle, AllocError> {
    pool.store(&vec![fill; len])
}

/// The object's fill, all of whose bytes must be the same and as many as expected.
fn read(pool: &dyn Pool, handle: Handle, len: usize) -> Result<u8, HandleError> {
    let mut fill = 0;
    pool.read(handle, &mut |slices| {
        assert_eq!(slices.len(), len);
        fill = slices.parts()[0][0];
        assert!(slices.parts().iter().all(|part| part.iter().all(|&byte| byte == fill)));
    })?;
    Ok(fill)
}

/// Runs `f` in a thread of its own.
fn beside<R: 'static>(
    pool: &Arc<dyn Pool>,
    f: impl FnOnce(&dyn Pool) -> R + 'static,
) -> thread::JoinHandle<R> {
    let pool = Arc::clone(pool);
    thread::spawn(move || f(&*pool))
}
