//! The packings: where an object lies.
//!
//! - `nbud`: in a span, back to back with its neighbours
//! - `zbud`: at one end of a frame
//! - `xcfmalloc`: in one block or several, anywhere
//! - `zsmalloc`: in a slot of its size class, in a chain of frames

pub(crate) mod nbud;
pub(crate) mod xcfmalloc;
pub(crate) mod zbud;
pub(crate) mod zsmalloc;
