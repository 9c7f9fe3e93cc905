//! One printed number from which all randomness of a test follows. Threads and phases use independent *streams*.

use std::{env, fmt, num::ParseIntError, ops::Deref, str::FromStr, thread};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

/// The source of a test's randomness.
///
/// # Examples
/// ```
/// use pagefold_testkit::seed::Seed;
/// use rand::RngExt;
///
/// let seed: Seed = "0x2a".parse()?;
/// assert_eq!(seed.value(), 42);
/// assert_eq!(seed.rng(1).random::<u64>(), seed.rng(1).random::<u64>());
/// assert_ne!(seed.rng(1).random::<u64>(), seed.rng(2).random::<u64>());
/// # Ok::<(), pagefold_testkit::seed::InvalidSeed>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

/// A text that is no seed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no seed: give a number below 2^64, decimal or with 0x")]
pub struct InvalidSeed {
    /// The text given.
    pub text: String,
    source: ParseIntError,
}

impl Seed {
    /// Overrides a test's own seed.
    pub const ENV: &'static str = "PAGEFOLD_SEED";

    /// This seed.
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// A seed from the operating system.
    pub fn fresh() -> Self {
        Self(rand::random())
    }

    /// `PAGEFOLD_SEED` if set, otherwise `default`. Keep the guard until the test ends.
    ///
    /// # Panics
    /// If `PAGEFOLD_SEED` is no seed.
    pub fn for_test(default: u64) -> TestSeed {
        let seed = match env::var(Self::ENV) {
            Ok(text) => text.parse().unwrap_or_else(|error| panic!("{}: {error}", Self::ENV)),
            Err(_) => Self(default),
        };
        TestSeed(seed)
    }

    /// The number.
    pub fn value(self) -> u64 {
        self.0
    }

    /// One stream's generator, the same on every machine.
    pub fn rng(self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream(stream);
        rng
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for Seed {
    type Err = InvalidSeed;

    fn from_str(text: &str) -> Result<Self, InvalidSeed> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|source| InvalidSeed { text: text.to_owned(), source })
    }
}

/// A test's seed, printed on panic.
#[derive(Debug)]
pub struct TestSeed(Seed);

impl Deref for TestSeed {
    type Target = Seed;

    fn deref(&self) -> &Seed {
        &self.0
    }
}

impl Drop for TestSeed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("failed with {}={}", Seed::ENV, self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn text_round_trips() {
        for value in [0, 1, u64::MAX] {
            let seed = Seed::new(value);
            assert_eq!(seed.to_string().parse(), Ok(seed));
            assert_eq!(value.to_string().parse(), Ok(seed));
        }
        for text in ["", "x", "-1", "0x", "18446744073709551616"] {
            assert!(text.parse::<Seed>().is_err(), "{text}");
        }
    }

    /// Seeds must mean the same on all machines and generator versions.
    #[test]
    fn the_stream_is_pinned() {
        assert_eq!(Seed::new(42).rng(7).random::<u64>(), 2_370_525_664_269_707_216);
    }
}
