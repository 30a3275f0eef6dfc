//! The one reader of instants in files, whatever holds them: JSON's numbers and texts, and cells of tables.
//!
//! | written as | read as |
//! |---|---|
//! | what `--time-format` names | that, before anything else |
//! | `2024-05-01T10:00:00Z`, `…+0000`, `…+02`, `… UTC`, lower case, a space for the `T`, `,` for the point, no seconds | RFC 3339 and ISO 8601 |
//! | the same without an offset | in the zone that `--time-zone` names; without one, not |
//! | `1714557600`, `1714557600000`, … with or without a fraction, as number or text | seconds, milliseconds, microseconds or nanoseconds since 1970, by their size |
//!
//! A day without a time, a spreadsheet's day number, a rounded `1.71E+12` and days and months in an order that nobody
//! named are refused, and so is a time before 2005 or in the future: most often it was read in the wrong unit or zone.

use std::fmt;
use std::str::FromStr;

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, LocalResult, NaiveDateTime, SecondsFormat, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;

/// 2005-01-01T00:00:00Z in seconds: no incident of a tool of today is older.
pub const EARLIEST: i64 = 1_104_537_600;
/// Characters of a value that a message quotes at most.
const QUOTED: usize = 60;

/// How to read what a time does not tell by itself.
#[derive(Debug, Clone)]
pub struct Instants {
    /// The zone of times that name none.
    pub time_zone: Option<Tz>,
    /// The format of times that are written in none of the usual ways.
    pub time_format: Option<TimeFormat>,
    /// No time is later.
    pub now: DateTime<Utc>,
}

/// A format as `strftime` has it, all of which is known.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeFormat(Vec<Item<'static>>);

/// A format of which a part is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time format; write it like '%d/%m/%Y %H:%M', as strftime does")]
pub struct BadFormat(String);

impl FromStr for TimeFormat {
    type Err = BadFormat;

    fn from_str(text: &str) -> Result<TimeFormat, BadFormat> {
        let items = StrftimeItems::new(text.trim()).parse_to_owned();
        match items {
            Ok(items) if !items.is_empty() => Ok(TimeFormat(items)),
            _ => Err(BadFormat(text.to_owned())),
        }
    }
}

/// Why a value is no instant. Each begins with the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoInstant {
    /// Written in no way that is known, or in one that several orders of day and month fit.
    #[error(
        "`{0}` is no time that can be read without guessing; name its format with --time-format, as in '%d/%m/%Y %H:%M'"
    )]
    Form(Quoted),
    /// Neither number nor text.
    #[error("`{0}` is no time: it is neither a text nor a number")]
    Kind(Quoted),
    /// A day alone.
    #[error("`{0}` is a day without a time of day, and time to restore needs one")]
    Day(Quoted),
    /// As spreadsheets count days.
    #[error(
        "`{0}` looks like a spreadsheet's day number; give the column a date format and save the file again"
    )]
    Serial(Quoted),
    /// As spreadsheets show large numbers.
    #[error(
        "`{0}` was rounded by a spreadsheet; give the column a number format without exponent and export it again"
    )]
    Rounded(Quoted),
    /// Without offset and without a zone.
    #[error("`{0}` does not say in which time zone; name it with --time-zone")]
    Zone(Quoted),
    /// At the end of summer time.
    #[error("`{0}` came twice that night in {1}; write it with its offset")]
    Twice(Quoted, Tz),
    /// At its beginning.
    #[error("`{0}` did not come in {1}: the clocks were put forward")]
    Skipped(Quoted, Tz),
    /// Before 2005.
    #[error("`{0}` is {1}, before 2005; check its unit and format")]
    Early(Quoted, String),
    /// After now.
    #[error("`{0}` is {1}, which lies in the future; check its unit, format and time zone")]
    Future(Quoted, String),
}

/// A value as a message shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// The text, cut where it is long.
    pub fn new(text: &str) -> Quoted {
        match text.char_indices().nth(QUOTED) {
            Some((end, _)) => Quoted(format!("{}…", text.get(..end).unwrap_or_default())),
            None => Quoted(text.to_owned()),
        }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Instants {
    /// The usual spellings, and none after `now`, in microseconds since 1970.
    pub fn new(now: i64) -> Instants {
        let now = DateTime::from_timestamp_micros(now).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Instants { time_zone: None, time_format: None, now }
    }

    /// Of JSON; none of what says that there is none.
    pub fn of_json(&self, value: &Value) -> Result<Option<DateTime<Utc>>, NoInstant> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) if text.trim().is_empty() => Ok(None),
            Value::String(text) => self.of_text(text).map(Some),
            Value::Number(number) => {
                // Display of a float has no exponent, and of JSON's numbers it would be the number's own.
                let text = match (number.as_i64(), number.as_f64()) {
                    (Some(whole), _) => whole.to_string(),
                    (None, Some(float)) => float.to_string(),
                    (None, None) => number.to_string(),
                };
                let at = since_1970(&text).ok_or_else(|| NoInstant::Form(Quoted::new(&text)))?;
                self.plausible(&text, at).map(Some)
            }
            other => Err(NoInstant::Kind(Quoted::new(&other.to_string()))),
        }
    }

    /// Of a text, which is not empty.
    pub fn of_text(&self, text: &str) -> Result<DateTime<Utc>, NoInstant> {
        let text = text.trim();
        let at = match self.by_format(text).or_else(|| self.by_standard(text)) {
            Some(read) => read?,
            None => since_1970(text).ok_or_else(|| not_read(text))?,
        };
        self.plausible(text, at)
    }

    fn plausible(&self, text: &str, at: DateTime<Utc>) -> Result<DateTime<Utc>, NoInstant> {
        let shown = || at.to_rfc3339_opts(SecondsFormat::Secs, true);
        match () {
            () if at.timestamp() < EARLIEST && is_day_number(text) => {
                Err(NoInstant::Serial(Quoted::new(text)))
            }
            () if at.timestamp() < EARLIEST => Err(NoInstant::Early(Quoted::new(text), shown())),
            () if at > self.now => Err(NoInstant::Future(Quoted::new(text), shown())),
            () => Ok(at),
        }
    }

    /// By the format that was named; none if it is another one.
    fn by_format(&self, text: &str) -> Option<Result<DateTime<Utc>, NoInstant>> {
        let TimeFormat(items) = self.time_format.as_ref()?;
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, items.iter()).ok()?;
        if parsed.offset().is_some() {
            return Some(Ok(parsed.to_datetime().ok()?.with_timezone(&Utc)));
        }
        match parsed.to_naive_datetime_with_offset(0) {
            Ok(local) if parsed.timestamp().is_some() => Some(Ok(local.and_utc())),
            Ok(local) => Some(self.local(text, local)),
            Err(_) => parsed.to_naive_date().ok().map(|_| Err(NoInstant::Day(Quoted::new(text)))),
        }
    }

    /// RFC 3339 and what else of ISO 8601 says year, month, day and time of day.
    fn by_standard(&self, text: &str) -> Option<Result<DateTime<Utc>, NoInstant>> {
        let upper = text.to_ascii_uppercase();
        // Java names the zone behind the offset.
        let plain = upper.split_once('[').map_or(upper.as_str(), |(plain, _)| plain);
        let plain = plain
            .strip_suffix("UTC")
            .or(plain.strip_suffix("GMT"))
            .map_or_else(|| plain.to_owned(), |before| format!("{}Z", before.trim_end()));
        let plain = plain.replacen('T', " ", 1).replace(',', ".");
        for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z"] {
            if let Ok(at) = DateTime::parse_from_str(&plain, format) {
                return Some(Ok(at.with_timezone(&Utc)));
            }
        }
        for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
            if let Ok(local) = NaiveDateTime::parse_from_str(&plain, format) {
                return Some(self.local(text, local));
            }
        }
        let day = chrono::NaiveDate::parse_from_str(&plain, "%Y-%m-%d");
        day.ok().map(|_| Err(NoInstant::Day(Quoted::new(text))))
    }

    fn local(&self, text: &str, local: NaiveDateTime) -> Result<DateTime<Utc>, NoInstant> {
        let quoted = Quoted::new(text);
        let zone = self.time_zone.ok_or_else(|| NoInstant::Zone(quoted.clone()))?;
        match zone.from_local_datetime(&local) {
            LocalResult::Single(at) => Ok(at.with_timezone(&Utc)),
            LocalResult::Ambiguous(..) => Err(NoInstant::Twice(quoted, zone)),
            LocalResult::None => Err(NoInstant::Skipped(quoted, zone)),
        }
    }
}

/// What a text that is no instant looks like.
fn not_read(text: &str) -> NoInstant {
    let is_number =
        text.starts_with(|c: char| c.is_ascii_digit()) && text.replace(',', ".").parse::<f64>().is_ok();
    match text.contains(['e', 'E']) && is_number {
        true => NoInstant::Rounded(Quoted::new(text)),
        false => NoInstant::Form(Quoted::new(text)),
    }
}

/// From 1954 to 2119, as spreadsheets count.
fn is_day_number(text: &str) -> bool {
    let whole = text.split(['.', ',']).next().unwrap_or_default();
    whole.len() == 5 && whole.parse::<u32>().is_ok_and(|days| (20_000..=80_000).contains(&days))
}

/// Seconds, milliseconds, microseconds or nanoseconds: each has its number of digits from 1973 to 5138.
fn since_1970(text: &str) -> Option<DateTime<Utc>> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let point_alone = fraction.is_empty() && whole.len() != digits.len();
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || point_alone {
        return None;
    }
    let whole: i128 = whole.parse::<i64>().ok()?.into();
    let unit: i128 = match whole.to_string().len() {
        ..=11 => 1_000_000_000,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    let billionths: i128 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let nanoseconds = whole * unit + billionths * unit / 1_000_000_000;
    let microseconds = i64::try_from(nanoseconds / 1_000).ok()?;
    DateTime::from_timestamp_micros(if negative { -microseconds } else { microseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instants(zone: Option<&str>, format: Option<&str>) -> Instants {
        Instants {
            time_zone: zone.map(|zone| zone.parse().unwrap()),
            time_format: format.map(|format| format.parse().unwrap()),
            now: "2026-11-24T12:00:00Z".parse().unwrap(),
        }
    }

    #[track_caller]
    fn check(instants: &Instants, text: &str, expected: &str) {
        let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let told = match instants.of_text(text) {
            Ok(at) => shown(at),
            Err(why) => why.to_string(),
        };
        assert!(
            told == expected || (expected.starts_with('`') && told.starts_with(expected)),
            "{text}: {told}"
        );
    }

    #[test]
    fn spellings_of_rfc_3339_are_read() {
        let utc = instants(None, None);
        for text in [
            "2024-05-01T10:00:00Z",
            "2024-05-01t10:00:00z",
            "2024-05-01 10:00:00Z",
            "2024-05-01T10:00:00.000+0000",
            "2024-05-01T10:00:00+00",
            "2024-05-01T12:00:00+02:00",
            "2024-05-01 12:00:00 +0200",
            "2024-05-01T10:00Z",
            "2024-05-01 10:00:00 UTC",
            "2024-05-01 10:00:00 gmt",
            "2024-05-01T12:00:00+02:00[Europe/Berlin]",
            " 2024-05-01T10:00:00,000Z ",
        ] {
            check(&utc, text, "2024-05-01T10:00:00Z");
        }
        check(&utc, "2024-05-01T10:00:00.123456Z", "2024-05-01T10:00:00.123456Z");
        for wrong in ["2024-05-01T10:00:00+99:99", "2024-13-01T10:00:00Z", "2024-05-01T25:00:00Z", "soon"] {
            check(&utc, wrong, &format!("`{wrong}` is no time that can be read"));
        }
    }

    #[test]
    fn a_count_since_1970_is_read_by_its_size_as_number_and_as_text() {
        let utc = instants(None, None);
        for (json, expected) in [
            ("1714557600", "2024-05-01T10:00:00Z"),
            ("1714557600000", "2024-05-01T10:00:00Z"),
            ("1714557600000000", "2024-05-01T10:00:00Z"),
            ("1714557600000000000", "2024-05-01T10:00:00Z"),
            ("1714557600.25", "2024-05-01T10:00:00.250Z"),
            ("1714557600123.0", "2024-05-01T10:00:00.123Z"),
            ("1.7145576e12", "2024-05-01T10:00:00Z"),
            ("1.7145576e18", "2024-05-01T10:00:00Z"),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            let at = utc.of_json(&value).unwrap().unwrap();
            assert_eq!(at.to_rfc3339_opts(SecondsFormat::AutoSi, true), expected, "{json}");
            if !json.contains('e') {
                check(&utc, json, expected);
            }
        }
        check(&utc, "1714557600,5", "2024-05-01T10:00:00.500Z");
        assert_eq!(utc.of_json(&Value::Null), Ok(None));
        assert_eq!(utc.of_json(&Value::from(" ")), Ok(None));
        assert!(matches!(utc.of_json(&Value::from(true)), Err(NoInstant::Kind(_))));
    }

    #[test]
    fn what_a_spreadsheet_made_of_a_time_is_told_and_not_guessed() {
        let berlin = instants(Some("Europe/Berlin"), None);
        check(&berlin, "45413.4167", "`45413.4167` looks like a spreadsheet's day number");
        check(&berlin, "45413,4167", "`45413,4167` looks like a spreadsheet's day number");
        check(&berlin, "1.71456E+12", "`1.71456E+12` was rounded by a spreadsheet");
        check(&berlin, "1,71456E+12", "`1,71456E+12` was rounded by a spreadsheet");
        check(&berlin, "2024-05-01", "`2024-05-01` is a day without a time of day");
        check(&berlin, "03/02/2024 10:00", "`03/02/2024 10:00` is no time that can be read without guessing");
        check(&instants(None, Some("%d.%m.%Y")), "01.05.2024", "`01.05.2024` is a day without a time of day");
    }

    #[test]
    fn years_before_2005_and_the_future_are_refused_with_the_value() {
        let utc = instants(None, None);
        check(&utc, "1714557600000000000000", "`1714557600000000000000` is no time");
        check(&utc, "17", "`17` is 1970-01-01T00:00:17Z, before 2005");
        check(&utc, "-1714557600", "`-1714557600` is 1915-");
        check(&utc, "0001-01-01T00:00:00Z", "`0001-01-01T00:00:00Z` is 0001-01-01T00:00:00Z, before 2005");
        check(&utc, "2004-12-31T23:59:59Z", "`2004-12-31T23:59:59Z` is 2004-12-31T23:59:59Z, before 2005");
        check(&utc, "2005-01-01T00:00:00Z", "2005-01-01T00:00:00Z");
        check(&utc, "2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z");
        check(
            &utc,
            "2027-05-01T10:00:00Z",
            "`2027-05-01T10:00:00Z` is 2027-05-01T10:00:00Z, which lies in the future",
        );
        check(&utc, "20240501100000", "`20240501100000` is 2611-");
    }

    #[test]
    fn a_zone_and_a_format_are_used_as_they_are_named() {
        check(
            &instants(None, None),
            "2024-07-01 10:00:00",
            "`2024-07-01 10:00:00` does not say in which time zone",
        );
        let berlin = instants(Some("Europe/Berlin"), Some("%d/%m/%Y %H:%M"));
        check(&berlin, "03/02/2024 10:00", "2024-02-03T09:00:00Z");
        check(&berlin, "2024-07-01 10:00", "2024-07-01T08:00:00Z");
        check(&berlin, "2024-07-01T10:00:00Z", "2024-07-01T10:00:00Z");
        check(&berlin, "2024-10-27 02:30:00", "`2024-10-27 02:30:00` came twice that night in Europe/Berlin");
        check(&berlin, "2024-03-31 02:30:00", "`2024-03-31 02:30:00` did not come in Europe/Berlin");
        check(
            &instants(Some("Europe/Berlin"), Some("%Y%m%d%H%M%S")),
            "20240501100000",
            "2024-05-01T08:00:00Z",
        );
        check(&instants(Some("Europe/Berlin"), Some("%s")), "1714557600", "2024-05-01T10:00:00Z");
        check(&instants(None, Some("%d.%m.%Y %H:%M %z")), "01.05.2024 12:00 +0200", "2024-05-01T10:00:00Z");
        for wrong in ["%Q", "", "%d.%"] {
            assert_eq!(wrong.parse::<TimeFormat>(), Err(BadFormat(wrong.to_owned())));
        }
    }
}
