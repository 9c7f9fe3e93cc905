//! The columns of the table.

pub(crate) mod nbud;
pub(crate) mod plain;
pub(crate) mod xcfmalloc;
pub(crate) mod zbud;
pub(crate) mod zsmalloc;

use pagefold_pool::Allocator;

use crate::shape::{Object, Sparse, build};

/// Two spans, or two frames of zbud, with a hole each: compaction empties one into the other.
fn two_halves(allocator: Allocator) -> Sparse {
    let pool = build(allocator);
    let mut objects: Vec<Object> = (1..=4).map(|fill| Object::store(&*pool, fill, 1900)).collect();
    objects.drain(1..3).for_each(|object| object.free(&*pool));
    Sparse { pool, movable: objects, fixed: Vec::new(), frames_left: 1 }
}
