//! What a rule knows of a packing.

use std::sync::Arc;

use pagefold_frame::HeapSource;
use pagefold_pool::{Allocator, Handle, HandleError, Pool, PoolBuilder};

use crate::{read, store};

/// An object of equal bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object {
    pub handle: Handle,
    pub fill: u8,
    pub len: usize,
}

impl Object {
    pub(crate) fn store(pool: &dyn Pool, fill: u8, len: usize) -> Self {
        Self { handle: store(pool, fill, len).expect("room"), fill, len }
    }

    pub(crate) fn free(self, pool: &dyn Pool) {
        pool.free(self.handle).expect("lives");
    }

    pub(crate) fn read(self, pool: &dyn Pool) -> Result<u8, HandleError> {
        read(pool, self.handle, self.len)
    }

    pub(crate) fn check(self, pool: &dyn Pool) {
        assert_eq!(self.read(pool), Ok(self.fill));
    }

    /// Reads beside a free of the object: it is there, whole, or it is gone.
    pub(crate) fn check_or_stale(self, pool: &dyn Pool) {
        match self.read(pool) {
            Ok(fill) => assert_eq!(fill, self.fill),
            Err(error) => assert_eq!(error, HandleError::Stale),
        }
    }

    pub(crate) fn check_stale(self, pool: &dyn Pool) {
        assert_eq!(self.read(pool), Err(HandleError::Stale));
    }
}

/// A pool that compaction has work in.
pub(crate) struct Sparse {
    pub pool: Arc<dyn Pool>,
    /// Objects that compaction may move. Rules use the last one.
    pub movable: Vec<Object>,
    /// Objects that stay where they are.
    pub fixed: Vec<Object>,
    /// Frames that remain after the last movable object was freed and compaction ended.
    pub frames_left: u64,
}

impl Sparse {
    pub(crate) fn target(&self) -> Object {
        *self.movable.last().expect("one at least")
    }

    /// Checks all objects but the target.
    pub(crate) fn check_others(&self) {
        let others = &self.movable[..self.movable.len() - 1];
        others.iter().chain(&self.fixed).for_each(|object| object.check(&*self.pool));
    }
}

/// A packing as the rules see it: a column of the table.
pub(crate) struct Shape {
    pub pool: fn() -> Arc<dyn Pool>,
    /// A pool with one index that lives twice.
    pub one_index: fn() -> Arc<dyn Pool>,
    /// Lengths of two objects that share a unit (a span, a frame, a zspage): one that stays, and one that goes.
    pub pair: [usize; 2],
    /// Length of an object that has its frames for itself.
    pub alone: usize,
    pub sparse: fn() -> Sparse,
    /// Frames of an empty pool: a unit that stays open for the next object.
    pub frames_kept: u64,
}

impl Shape {
    /// A pool with two objects in one unit, of fills 1 and 2.
    pub(crate) fn pair(&self) -> (Arc<dyn Pool>, Object, Object) {
        let pool = (self.pool)();
        let stays = Object::store(&*pool, 1, self.pair[0]);
        let goes = Object::store(&*pool, 2, self.pair[1]);
        (pool, stays, goes)
    }
}

pub(crate) fn build(allocator: Allocator) -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(allocator).limit(4 << 20);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}

pub(crate) fn build_with_one_index(allocator: Allocator) -> Arc<dyn Pool> {
    let builder = PoolBuilder::new(allocator).limit(4 << 20).handle_table(1, 1);
    builder.source(Box::new(HeapSource::new())).build().expect("room").into()
}
