//! The results, as values: nothing here reads or measures.
//!
//! | module | contains |
//! |---|---|
//! | [`report`] | all results |
//! | [`input`], [`skipped`], [`process`], [`mapping_kind`] | what was read, and what was not |
//! | [`row`], [`sizes`], [`percentiles`], [`kept`] | the measurements of one phase of a run |
//! | [`tally`], [`cost`], [`interval`] | the memory of a group of pages, and a sample's uncertainty |
//! | [`dictionary_note`] | the outcome of a dictionary |

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
