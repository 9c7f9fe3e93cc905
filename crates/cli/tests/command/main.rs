//! The `pagefold` command, tested through the binary; one program, to link once.
//!
//! | module | holds |
//! |---|---|
//! | [`estimate`] | files |
//! | [`process`] | processes and core files |
//! | [`html`] | the page with charts |
//! | [`classes`], [`torture`] | allocators |
//! | [`bench`] | workloads in regions |
//! | [`spill`] | the program for services |
//! | [`shell`] | help, completions, the manual page |
//! | [`common`], [`child_signals`] | driving the binary |

mod bench;
mod child_signals;
mod classes;
mod common;
mod estimate;
#[cfg(feature = "html")]
mod html;
#[cfg(not(feature = "html"))]
mod no_html;
mod process;
mod shell;
mod spill;
mod torture;
