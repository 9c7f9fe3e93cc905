//! The programs in `src/bin`: one for each contender.

use crate::{boxed::Boxed, pooled::Pooled, trace};

/// The payload and the seed that the driver gave this program.
fn arguments() -> (usize, u64) {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse::<u64>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(mebibytes)), Some(Ok(seed))) if mebibytes > 0 => {
            (usize::try_from(mebibytes << 20).expect("it fits into memory"), seed)
        }
        _ => {
            panic!("two arguments: the payload in MiB and a seed; or run the driver, see README.md")
        }
    }
}

/// The whole of a program whose global allocator is the contender.
pub fn main_of_boxed(give_back: fn()) {
    let (payload, seed) = arguments();
    println!("{}", trace::run(|| Boxed::new(give_back), payload, seed));
}

/// The whole of the program whose contender is the pool.
pub fn main_of_pool() {
    let (payload, seed) = arguments();
    println!("{}", trace::run(|| Pooled::new(payload), payload, seed));
}
