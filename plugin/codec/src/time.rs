//! RFC 3339 and HTTP dates to microseconds and back. Knows no clock and no time zone but UTC.
//!
//! Two fixed layouts and the Gregorian calendar, and nothing of chrono, whose tables and general formats the
//! component has no room for; chrono is the judge in the tests.

use alloc::format;
use alloc::string::String;

use crate::{DAY, SECOND, Timestamp};

/// A decimal number of at most eighteen digits, with or without a minus.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    Some(sign * Scan(digits).number(digits.len()).filter(|_| (1..=18).contains(&digits.len()))?)
}

/// An RFC 3339 instant with 0 to 9 fraction digits, its offset with or without a colon; finer than a microsecond is cut off. None if it is not one.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let mut text = Scan(text.trim_ascii().as_bytes());
    let year = text.number(4)?;
    text.one_of(b"-")?;
    let month = text.number(2)?;
    text.one_of(b"-")?;
    let midnight = midnight(year, month, text.number(2)?)?;
    text.one_of(b"Tt ")?;
    let clock = text.clock()?;
    let fraction = if text.one_of(b".").is_some() { text.fraction()? } else { 0 };
    let offset = match text.one_of(b"Zz+-")? {
        b'Z' | b'z' => 0,
        sign => {
            let hours = text.number(2)?;
            // ISO 8601 also writes offsets without it.
            text.one_of(b":");
            let minutes = text.number(2)?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
    };
    text.0.is_empty().then_some(midnight + (clock - offset) * SECOND + fraction)
}

/// The UTC calendar day that holds an instant, as `2026-11-23`.
pub fn day(at: Timestamp) -> String {
    // Howard Hinnant's civil_from_days, by eras of 400 years that begin in March:
    // <https://howardhinnant.github.io/date_algorithms.html>.
    let days = at.div_euclid(DAY) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The first instant of a day; none if the calendar has no such day.
fn midnight(year: i64, month: i64, day: i64) -> Option<Timestamp> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // The inverse of the above: days_from_civil.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    Some((era * 146_097 + of_era - 719_468) * DAY)
}

/// What is left of a text of fixed layout.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !allowed.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    /// Exactly so many digits.
    fn number(&mut self, width: usize) -> Option<i64> {
        let mut number = 0;
        for digit in self.bytes(width)? {
            if !digit.is_ascii_digit() {
                return None;
            }
            number = i64::wrapping_add(i64::wrapping_mul(number, 10), i64::from(digit - b'0'));
        }
        Some(number)
    }

    /// `11:17:18` in seconds. A leap second is taken as the second after it, as POSIX time does.
    fn clock(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        self.one_of(b":")?;
        let second = self.number(2)?;
        (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3_600 + minute * 60 + second)
    }

    /// One to nine digits after the point, in microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if !(1..=9).contains(&count) {
            return None;
        }
        let mut nanoseconds = self.number(count)?;
        for _ in count..9 {
            nanoseconds *= 10;
        }
        Some(nanoseconds / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_of_any_length_are_read() {
        let whole = parse_rfc3339("2021-08-17T13:28:57Z");
        assert_eq!(whole, Some(1_629_206_937_000_000));
        assert_eq!(parse_rfc3339("2021-08-17T13:28:57.8Z"), Some(1_629_206_937_800_000));
        assert_eq!(parse_rfc3339("2021-08-17T13:28:57.801578Z"), Some(1_629_206_937_801_578));
        assert_eq!(parse_rfc3339("2021-08-17T13:28:57.801578999Z"), Some(1_629_206_937_801_578));
        assert_eq!(parse_rfc3339("2021-08-17T15:28:57+02:00"), whole);
        for bad in [
            "yesterday",
            "2021-08-17",
            "2021-13-17T13:28:57Z",
            "2021-02-30T13:28:57Z",
            "2021-08-17T13:28:57",
            "2021-08-17T24:28:57Z",
            "2021-08-17T13:28Z",
            "2021-08-17T13:28:57.Z",
            "2021-8-17T13:28:57Z",
            "2021-08-17T13:28:57.1234567890Z",
            "+021-08-17T13:28:57Z",
            "2021-08-17-1T13:28:57Z",
            "2021-08-17T13:28:57+99:99",
            "2021-08-17T13:28:57+24:00",
            "2021-08-17T13:28:57-01:60",
            "ä",
            "2021-08-17T13:28:57ä",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_integer_is_digits_and_perhaps_a_minus() {
        assert_eq!(integer(b"0"), Some(0));
        assert_eq!(integer(b"-42"), Some(-42));
        assert_eq!(integer(b"999999999999999999"), Some(999_999_999_999_999_999));
        for bad in ["", "-", "+1", "1.5", "1e3", " 1", "1000000000000000000", "99999999999999999999999"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_day_is_the_utc_day() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(-1), "1969-12-31");
        assert_eq!(parse_rfc3339("2026-11-23T23:59:59.9Z").map(day).as_deref(), Some("2026-11-23"));
    }
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reading_agrees_with_chrono(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000, offset in -23_i32..=23) {
            let at = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            let zone = chrono::FixedOffset::east_opt(offset * 3_600 + 60 * offset.signum()).unwrap();
            let text = at.with_timezone(&zone).to_rfc3339();
            prop_assert_eq!(super::parse_rfc3339(&text), Some(micros), "{}", text);
            prop_assert_eq!(super::parse_rfc3339(&at.to_rfc3339()), Some(micros));
            prop_assert_eq!(super::day(micros), at.date_naive().to_string());
        }

        #[test]
        fn only_days_of_the_calendar_are_days(year in 0_i32..=9_999, month in 0_u32..=13, day in 0_u32..=32) {
            let judged = chrono::NaiveDate::from_ymd_opt(year, month, day).map(|date| date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros());
            prop_assert_eq!(super::parse_rfc3339(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z")), judged);
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,40}") {
            let _ = super::parse_rfc3339(&text);
        }
    }
}
