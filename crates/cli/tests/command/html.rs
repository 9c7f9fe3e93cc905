//! `pagefold estimate --html`, tested through the binary.
//!
//! | module | holds |
//! |---|---|
//! | [`file`] | the path: refused early, written entirely |
//! | [`sizes`] | the histogram of compressed sizes, also in the JSON |
//! | [`browser`] | the page in headless Chromium |

mod browser;
mod file;
mod sizes;
