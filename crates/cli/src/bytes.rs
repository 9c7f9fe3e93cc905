//! Byte sizes as people write and read them: `64MiB` in, `64.0 MiB` out. All units are powers of 1024.

use std::num::IntErrorKind;

const UNITS: [(&str, u32); 5] = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// What a 64-bit process can map: 128 TiB.
const ADDRESSABLE: u64 = 1 << 47;

/// Reads a size: a whole number with an optional unit, `K`, `KiB`, `M`, `MiB`, `G`, `GiB`, `T`, `TiB` or `B`, in either case.
///
/// # Errors
/// A sentence that says what is wrong and what is accepted.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let shift = UNITS
        .iter()
        .find(|(name, _)| unit.is_empty() || is_unit(unit, name))
        .map(|&(_, shift)| shift);
    let Some(shift) = shift.filter(|_| !number.is_empty()) else {
        return Err(
            "not a size in bytes; write a whole number with K, M, G or T, such as 64MiB".to_owned()
        );
    };
    let too_large = || format!("more than a process can address, which is {}", show(ADDRESSABLE));
    let number = number.parse::<u64>().map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow => too_large(),
        _ => format!("not a size in bytes: {error}"),
    })?;
    let bytes = number.checked_mul(1 << shift).filter(|&bytes| bytes <= ADDRESSABLE);
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(too_large)
}

/// `k` and `kib` are `KiB`; `b` is `B`.
fn is_unit(given: &str, name: &str) -> bool {
    given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(&name[..1])
}

/// Writes a size with one decimal in the unit that leaves 1 to 1023 before the point; whole bytes below 1 KiB.
pub(crate) fn show(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    // 1023.95 would be rounded to `1024.0`.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS[unit].0;
    if unit == 0 { format!("{bytes} {name}") } else { format!("{value:.1} {name}") }
}

/// As [`show`], with a sign: `+1.0 MiB`, `-12 B`.
pub(crate) fn show_signed(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", show(bytes.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024_in_either_case() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10B", 10),
            ("2k", 2048),
            ("2KiB", 2048),
            ("64 MiB", 64 << 20),
            ("64m", 64 << 20),
            ("3GIB", 3 << 30),
            ("128T", 1 << 47),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5G",
            "12 parsecs",
            "1KB",
            "0x10",
            "129T",
            "18446744073709551616",
            "99999999999T",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_one_decimal() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 20, "1.0 MiB"),
            (1_288_490_189, "1.2 GiB"),
            (5 << 50, "5120.0 TiB"),
        ] {
            assert_eq!(show(bytes), text);
        }
        assert_eq!(show_signed(-2048), "-2.0 KiB");
        assert_eq!(show_signed(0), "+0 B");
    }
}
