//! `pagefold estimate --html`, tested through the binary.
//!
//! | module | holds |
//! |---|---|
//! | [`file`] | where the page goes: refused early, written whole |
//! | [`sizes`] | the histogram of compressed sizes, which the JSON has too |
//! | [`browser`] | the page in headless Chromium: what is in it, what it fetches, how wide it is, light and dark |

mod browser;
mod file;
mod sizes;
