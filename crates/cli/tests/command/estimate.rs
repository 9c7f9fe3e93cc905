//! `pagefold estimate`, tested through the binary.
//!
//! | module | holds |
//! |---|---|
//! | [`kernel`] | what the kernel's own compressed memory has; dictionaries |
//! | [`measure`] | what is found on inputs of known content, and the JSON |
//! | [`coverage`] | how often a sample's interval holds the truth |
//! | [`holes`] | sparse files |
//! | [`limits`] | little memory |
//! | [`bad_input`] | what is refused or skipped, exit codes, texts |
//! | [`selection`] | which files are read, and what is said of the others |
//! | [`signals`] | signals, limits of files, control characters |
//! | [`terminal`] | tables, colours, pipes, signals |

mod bad_input;
mod coverage;
mod holes;
mod kernel;
mod limits;
mod measure;
mod selection;
mod signals;
mod terminal;
