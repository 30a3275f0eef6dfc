//! Saved records of Opsgenie's as pieces for the component: answers of its API, one record a line, or a table.
//!
//! A line that cannot be read is told with its number and column, and whether the rest is imported is the caller's
//! choice. Nothing is guessed: a time without a zone needs a stated one, and days and months stand in the order of the
//! format that a person names. Descriptions and notes are dropped here and never reach the store.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, LocalResult, NaiveDateTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::Lines;

/// How to read what a file does not tell by itself.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The zone of times that name none.
    pub time_zone: Option<Tz>,
    /// `strftime` format of times that are neither RFC 3339 nor seconds or milliseconds since 1970.
    pub time_format: Option<String>,
    /// Header of the column that a field is in, where it is none of the usual ones.
    pub columns: BTreeMap<String, String>,
    /// Whether records that do not tell are alerts.
    pub alerts: bool,
}

/// A file of which nothing can be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not text.
    #[error("{0} is not UTF-8 text; save it as UTF-8")]
    Encoding(String),
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// A table without a necessary column.
    #[error(
        "{file} has no column for `{field}` (looked for {wanted}); its header is: {header}. Name the column with \
         --column {field}=HEADER"
    )]
    Column {
        /// The file.
        file: String,
        /// What is missing.
        field: &'static str,
        /// Headers that would do.
        wanted: String,
        /// Headers that are there.
        header: String,
    },
    /// A mapped column that is not there.
    #[error("{file} has no column `{column}`; its header is: {header}")]
    Mapped {
        /// The file.
        file: String,
        /// The column that was named.
        column: String,
        /// Headers that are there.
        header: String,
    },
    /// A mapped field that does not exist.
    #[error("there is no field `{0}` to name a column for; the fields are: {1}")]
    Field(String, String),
}

/// A part of a file that is not imported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BadRow {
    /// The file.
    pub file: String,
    /// From 1; none within a JSON document that could be read.
    pub line: Option<u64>,
    /// Of JSON the character, of a table the field; from 1.
    pub column: Option<u64>,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// What was read: objects in the shapes of Opsgenie's API.
#[derive(Debug, Default, PartialEq)]
pub struct Saved {
    /// Users, whom records name.
    pub users: Vec<Value>,
    /// Services, which records name.
    pub services: Vec<Value>,
    /// Incidents.
    pub incidents: Vec<Value>,
    /// Alerts.
    pub alerts: Vec<Value>,
    /// What is not imported.
    pub bad: Vec<BadRow>,
    /// Of each table, the columns that nothing is read from.
    pub unused: Vec<String>,
}

/// Reads one file.
pub fn read(file: &str, bytes: &[u8], reading: &Reading) -> Result<Saved, FileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| FileError::Encoding(file.to_owned()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start();
    if start.is_empty() {
        return Err(FileError::Empty(file.to_owned()));
    }
    let mut saved = Saved::default();
    match form(file, start) {
        Form::Documents => documents(file, text, reading, &mut saved),
        Form::Lines => lines(file, text, reading, &mut saved),
        Form::Table => table(file, text, reading, &mut saved)?,
    }
    Ok(saved)
}

enum Form {
    Documents,
    Lines,
    Table,
}

/// By the name's end, else by what the text looks like.
fn form(file: &str, start: &str) -> Form {
    let name = file.to_ascii_lowercase();
    let json = start.starts_with(['{', '[']);
    let whole_line = || serde_json::from_str::<Value>(start.lines().next().unwrap_or_default()).is_ok();
    match () {
        () if name.ends_with(".ndjson") || name.ends_with(".jsonl") => Form::Lines,
        () if name.ends_with(".csv") || name.ends_with(".tsv") => Form::Table,
        () if name.ends_with(".json") => Form::Documents,
        () if json && start.trim_end().lines().count() > 1 && whole_line() => Form::Lines,
        () if json => Form::Documents,
        () => Form::Table,
    }
}

fn documents(file: &str, text: &str, reading: &Reading, saved: &mut Saved) {
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match document {
            Ok(document) => saved.take(file, None, document, reading),
            Err(error) => {
                let reason = format!("{}; what stands before it was read", plain(&error));
                return saved.bad(file, Some(error.line() as u64), Some(error.column() as u64), reason);
            }
        }
    }
}

fn lines(file: &str, text: &str, reading: &Reading, saved: &mut Saved) {
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(line) {
            Ok(record) => saved.take(file, Some(number), record, reading),
            Err(error) => saved.bad(file, Some(number), Some(error.column() as u64), plain(&error)),
        }
    }
}

/// Without the place, which is told in its own way.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// What must not be stored, and is of no use.
const DROPPED: [&str; 5] = ["description", "notes", "note", "logs", "details"];

impl Saved {
    fn bad(&mut self, file: &str, line: Option<u64>, column: Option<u64>, reason: String) {
        self.bad.push(BadRow { file: file.to_owned(), line, column, reason });
    }

    /// A record, an answer that holds one or many, or a list of any of these.
    fn take(&mut self, file: &str, line: Option<u64>, value: Value, reading: &Reading) {
        match value {
            Value::Array(items) => items.into_iter().for_each(|item| self.take(file, line, item, reading)),
            Value::Object(mut object) => match object.remove("data") {
                Some(data @ (Value::Array(_) | Value::Object(_))) => self.take(file, line, data, reading),
                _ => self.record(file, line, object, reading),
            },
            _ => self.bad(file, line, Some(1), "this is no record; a record is a JSON object".to_owned()),
        }
    }

    fn record(&mut self, file: &str, line: Option<u64>, mut record: Map<String, Value>, reading: &Reading) {
        DROPPED.into_iter().for_each(|name| {
            record.remove(name);
        });
        let has = |name: &str| record.contains_key(name);
        if !has("message") && has("username") {
            return self.users.push(record.into());
        }
        if !has("message") && has("name") {
            return self.services.push(record.into());
        }
        let alert = has("report")
            || has("alias")
            || has("acknowledged")
            || (reading.alerts && !has("impactStartDate"));
        if let Some(entries) = record.remove("timelines").or_else(|| record.get("timeline").cloned())
            && entries.is_array()
        {
            record.insert("timeline".to_owned(), json!({ "entries": entries }));
        }
        // The part of an address that names an incident here; the component asks for an identifier.
        if text(&record, "id").is_empty()
            && let Some(tiny) = Some(text(&record, "tinyId")).filter(|tiny| !tiny.is_empty())
        {
            record.insert("id".to_owned(), format!("tiny:{tiny}").into());
        }
        let instant = |name: &str| DateTime::parse_from_rfc3339(text(&record, name)).ok();
        let start = instant("impactStartDate").or_else(|| instant("createdAt"));
        let end = instant("impactEndDate").or_else(|| instant("resolvedAt"));
        if start.zip(end).is_some_and(|(start, end)| end < start) {
            let reason =
                format!("incident {} ends before it begins; correct one of the two", text(&record, "id"));
            return self.bad(file, line, None, reason);
        }
        if alert { self.alerts.push(record.into()) } else { self.incidents.push(record.into()) }
    }

    /// Adds what another file holds.
    pub fn merge(&mut self, other: Saved) {
        self.users.extend(other.users);
        self.services.extend(other.services);
        self.incidents.extend(other.incidents);
        self.alerts.extend(other.alerts);
        self.bad.extend(other.bad);
        self.unused.extend(other.unused);
    }

    /// How many incidents and alerts.
    pub fn records(&self) -> usize {
        self.incidents.len() + self.alerts.len()
    }

    /// Pieces of about so many bytes at most: whom and what records name first, then the records. Of those that have
    /// an identifier in common, the last.
    pub fn pieces(&self, most: usize) -> Vec<Vec<u8>> {
        let lists = [
            ("users", &self.users),
            ("services", &self.services),
            ("incidents", &self.incidents),
            ("alerts", &self.alerts),
        ];
        let mut pieces = Vec::new();
        for (name, records) in lists {
            let mut latest = HashMap::new();
            for (at, record) in records.iter().enumerate() {
                if let Some(id) = record.get("id").and_then(Value::as_str) {
                    latest.insert(id, at);
                }
            }
            let is_latest = |at: &usize, record: &Value| {
                record.get("id").and_then(Value::as_str).is_none_or(|id| latest.get(id) == Some(at))
            };
            let mut piece = String::new();
            for (_, record) in records.iter().enumerate().filter(|(at, record)| is_latest(at, record)) {
                let record = record.to_string();
                if !piece.is_empty() && piece.len() + record.len() > most {
                    pieces.push(format!("{{\"{name}\":[{piece}]}}").into_bytes());
                    piece.clear();
                }
                if !piece.is_empty() {
                    piece.push(',');
                }
                piece.push_str(&record);
            }
            if !piece.is_empty() {
                pieces.push(format!("{{\"{name}\":[{piece}]}}").into_bytes());
            }
        }
        pieces
    }
}

fn text<'a>(record: &'a Map<String, Value>, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Fields of a table, and what their columns are usually called, compared without case, spaces and `_`.
const FIELDS: [(&str, &[&str]); 12] = [
    ("id", &["id", "incidentid"]),
    ("tinyId", &["tinyid"]),
    ("title", &["message", "title", "name"]),
    ("status", &["status"]),
    ("priority", &["priority"]),
    ("created", &["createdat", "created"]),
    ("started", &["impactstartdate", "startedat", "started"]),
    ("resolved", &["impactenddate", "resolvedat", "resolved"]),
    ("services", &["impactedservices", "services"]),
    ("responders", &["responders"]),
    ("tags", &["tags"]),
    ("url", &["url"]),
];

/// Which column each field is in.
struct Columns(BTreeMap<&'static str, usize>);

impl Columns {
    fn find(file: &str, header: &csv::StringRecord, reading: &Reading) -> Result<Columns, FileError> {
        let folded = |name: &str| -> String {
            name.chars().filter(|c| !c.is_whitespace() && *c != '_').flat_map(char::to_lowercase).collect()
        };
        let names = || header.iter().collect::<Vec<_>>().join(", ");
        let known = FIELDS.map(|(field, _)| field);
        if let Some(unknown) = reading.columns.keys().find(|field| !known.contains(&field.as_str())) {
            return Err(FileError::Field(unknown.clone(), known.join(", ")));
        }
        let mut columns = BTreeMap::new();
        for (field, usual) in FIELDS {
            let at = match reading.columns.get(field) {
                Some(named) => {
                    let at = header.iter().position(|name| folded(name) == folded(named));
                    Some(at.ok_or_else(|| FileError::Mapped {
                        file: file.to_owned(),
                        column: named.clone(),
                        header: names(),
                    })?)
                }
                None => usual.iter().find_map(|name| header.iter().position(|there| folded(there) == *name)),
            };
            columns.extend(at.map(|at| (field, at)));
        }
        let missing = |field| !columns.contains_key(field);
        let lacking = match () {
            () if missing("id") && missing("tinyId") => Some("id"),
            () if missing("created") => Some("created"),
            () if missing("status") => Some("status"),
            () => None,
        };
        match lacking {
            Some(field) => {
                let wanted =
                    FIELDS.iter().find(|(known, _)| *known == field).map(|(_, usual)| usual.join(", "));
                let (file, wanted) = (file.to_owned(), wanted.unwrap_or_default());
                Err(FileError::Column { file, field, wanted, header: names() })
            }
            None => Ok(Columns(columns)),
        }
    }

    /// The field's text, and the number of its column; none if it is empty.
    fn get<'a>(&self, row: &'a csv::StringRecord, field: &str) -> Option<(&'a str, u64)> {
        let at = *self.0.get(field)?;
        let text = row.get(at)?.trim();
        (!text.is_empty()).then_some((text, at as u64 + 1))
    }
}

fn table(file: &str, text: &str, reading: &Reading, saved: &mut Saved) -> Result<(), FileError> {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: &u8| header.bytes().filter(|byte| byte == delimiter).count();
    let delimiter = [b',', b';', b'\t'].into_iter().rev().max_by_key(count).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let columns = match reader.headers() {
        Ok(header) => Columns::find(file, &header.clone(), reading)?,
        Err(_) => return Err(FileError::Empty(file.to_owned())),
    };
    let header = reader.headers().cloned().unwrap_or_default();
    let wide = header.len();
    let unused = header.iter().enumerate().filter(|(at, _)| !columns.0.values().any(|used| used == at));
    let unused: Vec<&str> = unused.map(|(_, name)| name).collect();
    if !unused.is_empty() {
        saved.unused.push(format!("{file}: nothing is read from the columns {}", unused.join(", ")));
    }
    // These tables have no comments.
    let mut lines = Lines::new(text, '\0');
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let line = lines.of(error.position());
                saved.bad(file, line, None, error.to_string());
                continue;
            }
        };
        let line = lines.of(row.position());
        if row.len() != wide {
            let reason = format!("the line has {} fields and the header {wide}; check its quotes", row.len());
            saved.bad(file, line, Some(row.len() as u64), reason);
            continue;
        }
        match record(&row, &columns, reading) {
            Ok(record) => saved.record(file, line, record, reading),
            Err((column, reason)) => saved.bad(file, line, column, reason),
        }
    }
    Ok(())
}

/// A line as the API would say it, or what is wrong in which field.
fn record(
    row: &csv::StringRecord,
    columns: &Columns,
    reading: &Reading,
) -> Result<Map<String, Value>, (Option<u64>, String)> {
    let mut record = Map::new();
    let mut put = |name: &str, value: Value| {
        record.insert(name.to_owned(), value);
    };
    let field = |name: &str| columns.get(row, name);
    let place = |name: &str| columns.0.get(name).map(|at| *at as u64 + 1);
    if field("id").or(field("tinyId")).is_none() {
        return Err((place("id").or(place("tinyId")), "the line has no identifier".to_owned()));
    }
    for (name, there) in [
        ("id", "id"),
        ("tinyId", "tinyId"),
        ("title", "message"),
        ("status", "status"),
        ("priority", "priority"),
    ] {
        if let Some((text, _)) = field(name) {
            let text = if name == "status" { text.to_lowercase() } else { text.to_owned() };
            put(there, text.into());
        }
    }
    for (name, there) in
        [("created", "createdAt"), ("started", "impactStartDate"), ("resolved", "resolvedAt")]
    {
        match field(name) {
            Some((text, column)) => {
                let at = instant(text, reading).map_err(|reason| (Some(column), reason))?;
                put(there, at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
            }
            None if name == "created" => {
                return Err((place("created"), "the line has no creation time".to_owned()));
            }
            None => {}
        }
    }
    let parts = |name: &str| -> Vec<&str> {
        let text = field(name).map(|(text, _)| text).unwrap_or_default();
        text.split([';', '|']).map(str::trim).filter(|part| !part.is_empty()).collect()
    };
    put("impactedServices", json!(parts("services")));
    put("tags", json!(parts("tags")));
    let responder = |name: &str| {
        let key = if name.contains('@') { "username" } else { "name" };
        json!({"type": "user", key: name})
    };
    put("responders", parts("responders").into_iter().map(responder).collect());
    if let Some((url, _)) = field("url") {
        put("links", json!({ "web": url }));
    }
    Ok(record)
}

/// RFC 3339; seconds or milliseconds since 1970, by their size; else the format that was named.
fn instant(text: &str, reading: &Reading) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.with_timezone(&Utc));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse::<i64>().ok();
        let at = match text.len() {
            9 | 10 => number.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            12 | 13 => number.and_then(DateTime::from_timestamp_millis),
            _ => None,
        };
        return at.ok_or_else(|| format!("`{text}` is neither seconds nor milliseconds since 1970"));
    }
    if let Some(format) = &reading.time_format
        && let Ok(at) = DateTime::parse_from_str(text, format)
    {
        return Ok(at.with_timezone(&Utc));
    }
    let iso = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let mut formats = reading.time_format.as_deref().into_iter().chain(iso);
    let Some(local) = formats.find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()) else {
        return Err(format!(
            "`{text}` is no time that can be read without guessing; name its format with --time-format, as in \
             '%d/%m/%Y %H:%M'"
        ));
    };
    let Some(zone) = reading.time_zone else {
        return Err(format!("`{text}` does not say in which time zone; name it with --time-zone"));
    };
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => Ok(at.with_timezone(&Utc)),
        LocalResult::Ambiguous(..) => {
            Err(format!("`{text}` came twice that night in {zone}; write it with its offset"))
        }
        LocalResult::None => Err(format!("`{text}` did not come in {zone}: the clocks were put forward")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(file: &str, text: &str) -> Saved {
        read(file, text.as_bytes(), &Reading::default()).unwrap()
    }

    fn bad(saved: &Saved) -> Vec<String> {
        saved.bad.iter().map(ToString::to_string).collect()
    }

    const INCIDENT: &str = r#"{"id":"i1","message":"m","status":"open","createdAt":"2024-01-01T00:00:00Z","description":"secret"}"#;

    #[test]
    fn every_form_of_saved_answer_gives_its_records() {
        let user = r#"{"id":"u1","username":"a@example.com","fullName":"A"}"#;
        let service = r#"{"id":"s1","name":"checkout"}"#;
        let alert = r#"{"id":"a1","message":"x","alias":"y","status":"open"}"#;
        let list = format!(r#"{{"totalCount":2,"data":[{INCIDENT},{alert}],"took":1}}"#);
        let single = format!(r#"{{"data":{INCIDENT}}}"#);
        let all = format!("{list}\n{single} [{user},\n{service}]");
        let saved = read_as("x.json", &all);
        assert_eq!(
            (
                saved.users.len(),
                saved.services.len(),
                saved.incidents.len(),
                saved.alerts.len(),
                saved.bad.len()
            ),
            (1, 1, 2, 1, 0)
        );
        assert_eq!(
            saved.incidents[0].get("description"),
            None,
            "what is not to be stored is not even passed on"
        );
        let pieces = saved.pieces(1_000_000);
        let texts: Vec<&str> = pieces.iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        assert!(texts[0].starts_with(r#"{"users""#) && texts[1].starts_with(r#"{"services""#));
        assert_eq!(texts[2].matches("i1").count(), 1, "the same record once");
        assert_eq!(saved.pieces(10).len(), 4);
        let told = read_as("x.json", r#"{"id":"i","message":"m","timelines":[{"id":"e"}]}"#);
        assert_eq!(told.incidents[0]["timeline"]["entries"][0]["id"], "e");
    }

    #[test]
    fn a_bad_line_is_told_by_line_and_column_and_the_others_are_read() {
        let saved = read_as("x.ndjson", &format!("{INCIDENT}\n\n{{\"id\": oops}}\n7\n{INCIDENT}\n"));
        assert_eq!(saved.incidents.len(), 2);
        assert_eq!(
            bad(&saved),
            ["x.ndjson:3:8: expected value", "x.ndjson:4:1: this is no record; a record is a JSON object"]
        );
        let saved = read_as("x.json", &format!("{INCIDENT}\n{INCIDENT}\n  {{\"id\": "));
        assert_eq!(
            (saved.incidents.len(), bad(&saved)[0].starts_with("x.json:3:")),
            (2, true),
            "{:?}",
            bad(&saved)
        );
        let saved = read_as(
            "x.json",
            r#"{"id":"i","message":"m","createdAt":"2024-01-02T00:00:00Z","impactEndDate":"2024-01-01T00:00:00Z"}"#,
        );
        assert_eq!(bad(&saved), ["x.json: incident i ends before it begins; correct one of the two"]);
    }

    #[test]
    fn a_table_is_read_by_its_header() {
        let table = "\u{feff}Incident ID;Created_At;Status;Title;resolvedAt;services;Responders;updatedAt\r\n\
             i1;1700000000;Closed;\"two\nlines; and \"\"quotes\"\"\";1700003600000;a | b;x@example.com;2030-01-01T00:00:00Z\r\n\
             i2;yesterday;open;;;;;\r\n\
             i3;2024-05-01T00:00:00Z;open\r\n\
             ;2024-05-01T00:00:00Z;open;;;;;\r\n";
        let saved = read_as("x.csv", table);
        let one = &saved.incidents[0];
        assert_eq!(
            (&one["createdAt"], &one["resolvedAt"]),
            (&json!("2023-11-14T22:13:20.000000Z"), &json!("2023-11-14T23:13:20.000000Z"))
        );
        assert_eq!(
            (&one["message"], &one["status"]),
            (&json!("two\nlines; and \"quotes\""), &json!("closed"))
        );
        assert_eq!(one["impactedServices"], json!(["a", "b"]));
        assert_eq!(one["responders"], json!([{"type": "user", "username": "x@example.com"}]));
        assert_eq!(one.get("updatedAt"), None);
        assert_eq!(saved.unused, ["x.csv: nothing is read from the columns updatedAt"]);
        let told = bad(&saved);
        assert_eq!((saved.incidents.len(), told.len()), (1, 3));
        assert!(told[0].starts_with("x.csv:4:2: `yesterday` is no time"), "{told:?}");
        assert!(told[1].starts_with("x.csv:5:3: the line has 3 fields and the header 8"), "{told:?}");
        assert_eq!(told[2], "x.csv:6:1: the line has no identifier");
    }

    #[test]
    fn times_are_never_guessed() {
        let zone: Tz = "Europe/Berlin".parse().unwrap();
        let with = |format: Option<&str>, zone: Option<Tz>, text: &str| {
            let reading =
                Reading { time_zone: zone, time_format: format.map(Into::into), ..Reading::default() };
            instant(text, &reading).map(|at| at.to_rfc3339())
        };
        let day_first = Some("%d/%m/%Y %H:%M");
        assert_eq!(with(day_first, Some(zone), "03/02/2024 10:00").unwrap(), "2024-02-03T09:00:00+00:00");
        assert_eq!(with(None, Some(zone), "2024-07-01 10:00:00").unwrap(), "2024-07-01T08:00:00+00:00");
        assert!(with(None, None, "2024-07-01 10:00:00").unwrap_err().contains("--time-zone"));
        assert!(with(None, Some(zone), "03/02/2024 10:00").unwrap_err().contains("--time-format"));
        assert!(with(None, Some(zone), "2024-10-27 02:30:00").unwrap_err().contains("twice"));
        assert!(with(None, Some(zone), "2024-03-31 02:30:00").unwrap_err().contains("forward"));
        assert!(with(None, None, "17").is_err());
    }

    #[test]
    fn a_table_that_lacks_a_column_says_which_and_a_column_can_be_named() {
        let table = "key,when,status\nk1,2024-05-01T00:00:00Z,open\n";
        let error = read("x.csv", table.as_bytes(), &Reading::default()).unwrap_err().to_string();
        assert!(
            error.contains("no column for `id` (looked for id, incidentid)")
                && error.contains("key, when, status")
        );
        let named = |pairs: &[(&str, &str)]| Reading {
            columns: pairs.iter().map(|(field, column)| ((*field).into(), (*column).into())).collect(),
            ..Reading::default()
        };
        let saved = read("x.csv", table.as_bytes(), &named(&[("id", "Key"), ("created", "when")])).unwrap();
        assert_eq!(saved.incidents[0]["id"], "k1");
        for wrong in [[("id", "nothing")], [("colour", "key")]] {
            assert!(read("x.csv", table.as_bytes(), &named(&wrong)).is_err());
        }
        for empty in ["", " \n", "\u{feff}"] {
            assert!(matches!(read("x.csv", empty.as_bytes(), &Reading::default()), Err(FileError::Empty(_))));
        }
        assert!(matches!(read("x", &[0xff, 0xfe], &Reading::default()), Err(FileError::Encoding(_))));
    }
}
