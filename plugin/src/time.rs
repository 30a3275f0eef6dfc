//! RFC 3339 and HTTP dates to microseconds and back. Knows no clock and no time zone but UTC.
//!
//! The calendar is chrono's; the two fixed layouts are read here, because chrono's general parser would be a
//! tenth of the component.

use alloc::string::{String, ToString};

use chrono::NaiveDate;

use crate::model::{DAY, SECOND, Timestamp};

/// An RFC 3339 instant with 0 to 9 fraction digits; finer than a microsecond is cut off. None if it is not one.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(zone)?;
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let micros = micros(fraction)?;
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let seconds = Timestamp::from(number(hours, 2)? * 3_600 + number(minutes, 2)? * 60);
            if sign == "-" { -seconds } else { seconds }
        }
    };
    let at = instant(year, month, day, clock).filter(|_| parts.next().is_none())?;
    Some(at - offset * SECOND + micros)
}

/// An HTTP date such as `Thu, 17 Apr 2025 11:17:18 GMT`; `UTC` in place of `GMT` is accepted, because
/// incident.io has sent it.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, month, year) = (number(words.next()?, 2)?, words.next()?, number(words.next()?, 4)?);
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = (1..).zip(months).find(|(_, name)| *name == month)?.0;
    let at = instant(year, month, day, words.next()?)?;
    matches!(words.next()?, "GMT" | "UTC").then_some(at)
}

/// The UTC calendar day that holds an instant, as `2026-11-23`.
pub fn day(at: Timestamp) -> String {
    let days = i32::try_from(at.div_euclid(DAY)).unwrap_or(0);
    NaiveDate::from_epoch_days(days).map(|date| date.to_string()).unwrap_or_default()
}

fn instant(year: u32, month: u32, day: u32, clock: &str) -> Option<Timestamp> {
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    // A leap second is taken as the second after it, as POSIX time does.
    let in_range = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|_| in_range)?;
    let seconds = Timestamp::from(hour * 3_600 + minute * 60 + second);
    Some(Timestamp::from(date.to_epoch_days()) * DAY + seconds * SECOND)
}

/// Exactly so many digits.
fn number(digits: &str, width: usize) -> Option<u32> {
    let valid = digits.len() == width && digits.bytes().all(|b| b.is_ascii_digit());
    if valid { digits.parse().ok() } else { None }
}

/// The fraction of a second, in microseconds.
fn micros(digits: &str) -> Option<Timestamp> {
    let valid = (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let digits = digits.bytes().chain(core::iter::repeat(b'0')).take(6);
    valid.then(|| digits.fold(0, |sum, digit| sum * 10 + Timestamp::from(digit - b'0')))
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
            "ä",
            "2021-08-17T13:28:57ä",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_http_date_may_say_utc() {
        let expected = parse_rfc3339("2025-04-17T11:17:18Z");
        assert_eq!(parse_http_date("Thu, 17 Apr 2025 11:17:18 GMT"), expected);
        assert_eq!(parse_http_date("Thu, 17 Apr 2025 11:17:18 UTC"), expected);
        for bad in [
            "17 Apr 2025",
            "Thu, 17 Apr 2025 11:17:18",
            "Thu, 17 Foo 2025 11:17:18 GMT",
            "Thu, 31 Apr 2025 11:17:18 GMT",
        ] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
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
        }

        #[test]
        fn no_text_is_too_odd(text in ".{0,40}") {
            let _ = (super::parse_rfc3339(&text), super::parse_http_date(&text));
        }
    }
}
