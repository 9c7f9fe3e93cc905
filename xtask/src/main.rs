//! The developer commands of pagefold.

fn main() {}
