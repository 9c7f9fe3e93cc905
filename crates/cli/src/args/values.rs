//! Typed values of single options; a refusal says what is accepted.

use std::num::NonZeroUsize;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use pagefold_pool::Allocator;
use pagefold_testkit::seed::Seed;

/// A typing error should not start a million.
const THREADS_MAX: usize = 1024;

/// The largest `pid_max` of the kernel.
const PROCESS_ID_MAX: u32 = 1 << 22;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProcessChoice {
    Number(u32),
    Name(String),
}

/// Help, completions and the manual page list these names.
pub(super) fn allocator() -> impl TypedValueParser<Value = Allocator> {
    let names = Allocator::ALL.iter().map(|allocator| allocator.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Allocator>())
}

pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fraction) if fraction > 0.0 && fraction <= 1.0 => Ok(fraction),
        _ => Err("a sample is a fraction above 0 and at most 1, such as 0.05".to_owned()),
    }
}

/// A number is a process, anything else a name.
pub(super) fn process(text: &str) -> Result<ProcessChoice, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(number) if (1..=PROCESS_ID_MAX).contains(&number) => Ok(ProcessChoice::Number(number)),
        Err(_) if !is_number && !text.contains('/') => Ok(ProcessChoice::Name(text.to_owned())),
        _ => Err(format!(
            "a process has a whole number from 1 to {PROCESS_ID_MAX}, or a name without a path, such as redis-server"
        )),
    }
}

pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= THREADS_MAX => Ok(threads),
        _ => Err(format!("the number of threads is 1 to {THREADS_MAX}")),
    }
}

/// Decimal, or hexadecimal after `0x`, as printed.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    text.parse::<Seed>().map(Seed::value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_a_number_in_range_or_a_name() {
        for (text, number) in [("1", 1), ("4194304", 1 << 22)] {
            assert_eq!(process(text), Ok(ProcessChoice::Number(number)));
        }
        for name in ["redis-server", "self", "0x7", "1.5", "(sd-pam)", "a b", "7z"] {
            assert_eq!(process(name), Ok(ProcessChoice::Name(name.to_owned())));
        }
        for wrong in
            ["0", "-1", "4194305", "4294967297", "99999999999999999999", "", "-", "/bin/sh"]
        {
            assert!(process(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_seed_may_be_hexadecimal() {
        assert_eq!((seed("16"), seed("0x10")), (Ok(16), Ok(16)));
        assert_eq!(seed("0xffffffffffffffff"), Ok(u64::MAX));
        for wrong in ["", "0x", "-1", "1.5", "x", "18446744073709551616", "10h"] {
            assert!(seed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sample_lies_above_0_and_at_most_at_1() {
        for text in ["0", "-0.0", "-0.5", "1.0000001", "NaN", "inf", "", "half"] {
            assert!(fraction(text).is_err(), "{text}");
        }
        assert_eq!(fraction("1"), Ok(1.0));
        assert_eq!(fraction("1e-9"), Ok(1e-9));
    }
}
