//! The results of a measurement, as values: this module neither reads nor measures.
//!
//! | module | holds |
//! |---|---|
//! | [`report`] | everything |
//! | [`input`], [`skipped`], [`process`], [`mapping_kind`] | what was read, and what was not |
//! | [`row`], [`sizes`], [`percentiles`], [`kept`] | what was measured in one phase of a run |
//! | [`clusters`] | what became of idle pages |
//! | [`tally`], [`cost`], [`interval`] | what a group of pages came to, and how sure a sample makes of it |
//! | [`dictionary_note`] | what became of a dictionary |

pub(crate) mod base;
pub(crate) mod clusters;
pub(crate) mod cost;
pub(crate) mod dictionary_note;
pub(crate) mod input;
pub(crate) mod interval;
pub(crate) mod kept;
pub(crate) mod mapping_kind;
pub(crate) mod percentiles;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod sizes;
pub(crate) mod skipped;
pub(crate) mod tally;
