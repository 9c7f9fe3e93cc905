//! `pagefold estimate`, tested through the binary.
//!
//! | module | holds |
//! |---|---|
//! | [`measure`] | what is found on inputs of known content, and the JSON |
//! | [`coverage`] | how often a sample's interval holds the truth |
//! | [`holes`] | sparse files |
//! | [`limits`] | little memory |
//! | [`bad_input`] | what is refused or skipped, exit codes, texts |
//! | [`terminal`] | tables, colours, pipes, signals |
//! | [`common`] | driving the binary |

mod bad_input;
mod common;
mod coverage;
mod holes;
mod limits;
mod measure;
mod terminal;
