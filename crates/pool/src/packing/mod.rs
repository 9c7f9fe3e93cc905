//! The packings: where objects lie in frames.
//!
//! | module | an object lies |
//! |---|---|
//! | `nbud` | in a span, back to back with others |
//! | `zbud` | at one end of a frame, with one other at most |
//! | `xcfmalloc` | in one block or several, anywhere |
//! | `zsmalloc` | in a place of its size class, in a chain of frames |

pub(crate) mod nbud;
pub(crate) mod xcfmalloc;
pub(crate) mod zbud;
pub(crate) mod zsmalloc;
