//! The `pagefold` command, tested through the binary. One test program, because each has to be linked.
//!
//! | module | holds |
//! |---|---|
//! | [`estimate`] | files: what is found, what is refused, how it is shown |
//! | [`process`] | processes and core files |
//! | [`html`] | the page with charts |
//! | [`classes`], [`torture`] | the commands about allocators |
//! | [`shell`] | help, completions, the manual page |
//! | [`common`], [`child_signals`] | driving the binary |

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
mod torture;
