//! Byte sizes for people: `64MiB` in, `64.0 MiB` out.
//!
//! Output uses powers of 1024. Input follows GNU tools: `M` and `MiB` are 1024 * 1024, `MB` is 1000 * 1000.

const UNITS: [(&str, u32); 5] = [("B", 0), ("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// The address space of a 64-bit process.
const ADDRESSABLE: u64 = 1 << 47;

/// More decimals do not change a size below 128 TiB by a byte.
const DECIMALS_MAX: usize = 15;

/// Parses a number with an optional unit in either case; decimals need a unit. Rounds down to whole bytes.
pub(crate) fn parse(text: &str) -> Result<usize, String> {
    let wrong = || {
        "not a size in bytes; write a number with K, M, G or T (powers of 1024) or KB, MB, GB or TB (powers of \
         1000), such as 64MiB or 1.5G"
            .to_owned()
    };
    let too_large = || format!("more than a process can address, which is {}", show(ADDRESSABLE));
    let end = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(end);
    let unit = unit_bytes(unit.trim_start()).ok_or_else(wrong)?;
    let (whole, decimals) = match number.split_once('.') {
        // Half a byte is invalid, as is a point without digits on both sides.
        Some((whole, decimals)) if unit > 1 && !whole.is_empty() && !decimals.is_empty() => {
            (whole, decimals)
        }
        Some(_) => return Err(wrong()),
        None => (number, ""),
    };
    if whole.is_empty() || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    // Only digits, so the only possible error is the size.
    let whole = whole.parse::<u64>().map_err(|_| too_large())?;
    let decimals = &decimals[..decimals.len().min(DECIMALS_MAX)];
    let parts = decimals.parse::<u128>().unwrap_or(0);
    let scale = decimals.bytes().fold(1_u128, |scale, _| scale * 10);
    let bytes = u128::from(whole) * u128::from(unit) + parts * u128::from(unit) / scale;
    if bytes > u128::from(ADDRESSABLE) {
        return Err(too_large());
    }
    usize::try_from(bytes).map_err(|_| too_large())
}

fn unit_bytes(given: &str) -> Option<u64> {
    if given.is_empty() {
        return Some(1);
    }
    let mut thousands = 1_u64;
    for (name, shift) in UNITS {
        let letter = &name[..1];
        if given.eq_ignore_ascii_case(name) || given.eq_ignore_ascii_case(letter) {
            return Some(1 << shift);
        }
        if given.eq_ignore_ascii_case(&format!("{letter}B")) {
            return Some(thousands);
        }
        thousands = thousands.saturating_mul(1000);
    }
    None
}

/// One decimal, in the unit that leaves 1 to 1023 before the point; whole bytes below 1 KiB.
pub(crate) fn show(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    // 1023.95 would round to `1024.0`.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS[unit].0;
    if unit == 0 { format!("{bytes} {name}") } else { format!("{value:.1} {name}") }
}

/// `+1.0 MiB`, `-12 B`.
pub(crate) fn show_signed(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", show(bytes.unsigned_abs()))
}

/// As [`show_signed`]; a dash if unknown.
pub(crate) fn show_change(bytes: Option<i64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), show_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_gnu_in_either_case() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10B", 10),
            ("2k", 2048),
            ("2KiB", 2048),
            ("2kB", 2000),
            ("64 MiB", 64 << 20),
            ("64m", 64 << 20),
            ("64MB", 64_000_000),
            ("3GIB", 3 << 30),
            ("1TB", 1_000_000_000_000),
            ("128T", 1 << 47),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn decimals_are_rounded_down_to_bytes() {
        for (text, bytes) in [
            ("1.5G", 3 << 29),
            ("0.5 KiB", 512),
            ("1.1K", 1126),
            ("2.25MB", 2_250_000),
            ("1.00000000000000000000000000009M", 1 << 20),
            ("127.99999999999999999999T", (1 << 47) - 1),
        ] {
            assert!(
                parse(text).is_ok_and(|got| got.abs_diff(bytes) <= 1),
                "{text}: {:?}",
                parse(text)
            );
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5",
            "1.5B",
            ".5G",
            "5.G",
            "1.2.3G",
            "1,5G",
            "12 parsecs",
            "1KBB",
            "0x10",
            "129T",
            "128.001T",
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
