//! `pagefold estimate`, tested through the binary.
//!
//! | module | holds |
//! |---|---|
//! | [`kernel`] | the kernel's codecs; dictionaries |
//! | [`measure`] | inputs of known content, and the JSON |
//! | [`coverage`] | how often a sample's interval is true |
//! | [`holes`] | sparse files |
//! | [`limits`] | little memory |
//! | [`bad_input`] | refusals, skipped inputs, exit codes |
//! | [`base`] | what pages would be on a base |
//! | [`selection`] | selected and skipped files |
//! | [`signals`] | signals, file limits, control characters |
//! | [`tiers`] | idle pages in clusters; the dictionary of a store's own |
//! | [`terminal`] | tables, colours, pipes, signals |

mod bad_input;
mod base;
mod coverage;
mod holes;
mod kernel;
mod limits;
mod measure;
mod selection;
mod signals;
mod terminal;
mod tiers;
