//! A moment in UTC: `2026-03-01 09:05 UTC`.

use std::time::{SystemTime, UNIX_EPOCH};

/// Days from 0000-03-01 to 1970-01-01 in the Gregorian calendar.
const EPOCH_DAY: u64 = 719_468;
/// Days in four hundred years; then the calendar repeats.
const ERA_DAYS: u64 = 146_097;

/// A moment before 1970 counts as its beginning.
pub(super) fn show(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Year, month and day of a day counted from 1970-01-01. Years start in March, so a leap day is the last.
fn civil(day: u64) -> (u64, u64, u64) {
    let (era, day) = ((day + EPOCH_DAY) / ERA_DAYS, (day + EPOCH_DAY) % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA_DAYS - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March have 31, 30, 31, 30, 31 days, repeated: 153 in five.
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_shown_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(show(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn each_day_of_two_centuries_follows_the_one_before() {
        let mut before = civil(0);
        for day in 1..73_000 {
            let (year, month, day_of_month) = civil(day);
            let next = (before.0, before.1, before.2 + 1);
            let turned = day_of_month == 1 && before.2 >= 28;
            assert!((year, month, day_of_month) == next || turned, "day {day}");
            assert!((1..=12).contains(&month) && (1..=31).contains(&day_of_month), "day {day}");
            before = (year, month, day_of_month);
        }
        assert_eq!(before, (2169, 11, 12));
    }
}
