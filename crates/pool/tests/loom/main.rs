//! Models of handle look-up against free, overwriting and compaction, on the real pool.
//!
//! `cargo xtask loom` runs them. Tables are short, there is one shard, caches are small; the code is the same. A file a
//! packing, and one for what holds of handles in all of them.
#![cfg(loom)]

mod handles;
mod nbud;
mod xcfmalloc;
mod zbud;
mod zsmalloc;

use std::sync::Arc;

use loom::thread;
use pagefold_pool::{AllocError, Handle, HandleError, Pool};

/// Explores all interleavings with up to two preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
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
        let bytes = slices.contiguous().expect("one piece");
        assert_eq!(bytes.len(), len);
        assert!(bytes.iter().all(|&byte| byte == bytes[0]));
        fill = bytes[0];
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

/// As [`read`], of an object in any number of pieces.
fn read_pieces(pool: &dyn Pool, handle: Handle, len: usize) -> Result<u8, HandleError> {
    let mut fill = 0;
    pool.read(handle, &mut |slices| {
        assert_eq!(slices.len(), len);
        fill = slices.parts()[0][0];
        assert!(slices.parts().iter().all(|part| part.iter().all(|&byte| byte == fill)));
    })?;
    Ok(fill)
}

/// Two spans with a hole each, so that compaction empties one into the other.
fn two_sparse_spans(pool: &dyn Pool) -> Vec<Handle> {
    let mut handles: Vec<Handle> =
        (1..=4).map(|fill| store(pool, fill, 1900).expect("room")).collect();
    pool.free(handles.remove(1)).expect("lives");
    pool.free(handles.remove(1)).expect("lives");
    handles
}
