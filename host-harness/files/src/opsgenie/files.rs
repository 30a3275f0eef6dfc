//! Saved records of Opsgenie's as pieces for the component: answers of its API, one record a line, or a table.
//!
//! A record that cannot be read is told with its line and column, and whether the rest is imported is the caller's
//! choice. Nothing is guessed; see the [crate]. Descriptions and notes are dropped here and never reach the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::instant::{Instants, NoInstant};
use crate::table::{Row, Table, folded, listed};
use crate::{NotText, Place, Places, decode, item_name, list};

/// How to read what a file does not tell by itself.
#[derive(Debug, Clone)]
pub struct Reading {
    /// How times are read.
    pub instants: Instants,
    /// Header of the column that a field is in, where it is none of the usual ones.
    pub columns: BTreeMap<String, String>,
    /// Whether alerts are wanted, and records that do not tell are such.
    pub alerts: bool,
    /// Priorities by the words that stand for them, in lower case.
    pub priorities: BTreeMap<String, String>,
}

impl Reading {
    /// The usual ways, and no time after `now`, in microseconds since 1970.
    pub fn new(now: i64) -> Reading {
        Reading {
            instants: Instants::new(now),
            columns: BTreeMap::new(),
            alerts: false,
            priorities: BTreeMap::new(),
        }
    }
}

/// Files of which nothing can be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not text.
    #[error("{file} {why}")]
    Text {
        /// The file.
        file: String,
        /// Why not.
        why: NotText,
    },
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// A header that cannot be read.
    #[error("{0}")]
    Header(BadRow),
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
    /// Two columns that a field may be in.
    #[error("{file} has several columns `{column}` ({places}); rename those that do not count")]
    Twice {
        /// The file.
        file: String,
        /// The columns' name.
        column: String,
        /// Their numbers.
        places: String,
    },
    /// A mapped field that does not exist.
    #[error("there is no field `{0}` to name a column for; the fields are: {1}")]
    Field(String, String),
    /// Alerts, which nobody asked for.
    #[error(
        "{files}: these are alerts, not incidents ({count} of them; an alert has an alias, and is acknowledged or snoozed). \
         To import them in place of incidents, as a source of their own, say so: --alerts, or the box of that name in \
         the console"
    )]
    Alerts {
        /// The files' names.
        files: String,
        /// How many.
        count: usize,
    },
    /// Users, services, or other documents.
    #[error("the files hold no incident and no alert")]
    Nothing,
}

/// A part of a file that is not imported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BadRow {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// Of JSON the character, of a table the field; from 1.
    pub column: Option<u64>,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
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
    /// What was passed over, in sentences.
    pub notes: Vec<String>,
}

/// Reads files that belong together. Of records that stand in them more than once, the newest is taken.
pub fn read_all<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    reading: &Reading,
) -> Result<Saved, FileError> {
    let mut saved = Saved::default();
    let mut names = Vec::new();
    for (file, bytes) in files {
        names.push(file);
        saved.merge(read(file, bytes, reading)?);
    }
    if !reading.alerts && !saved.alerts.is_empty() {
        let (files, count) = (names.join(", "), saved.alerts.len());
        if saved.incidents.is_empty() {
            return Err(FileError::Alerts { files, count });
        }
        saved.alerts.clear();
        let alerts = if count == 1 { "1 alert is".to_owned() } else { format!("{count} alerts are") };
        saved.notes.push(format!("{files}: {alerts} left out; alerts are no incidents"));
    }
    let (incidents, alerts) = (newest(&mut saved.incidents), newest(&mut saved.alerts));
    for differing in [incidents, alerts] {
        if let Some(example) = differing.first() {
            let which = match differing.len() {
                1 => format!("`{example}` stands"),
                count => format!("{count} identifiers (`{example}` is one) stand"),
            };
            saved.notes.push(format!(
                "{which} more than once in the files with different content; the newest is taken"
            ));
        }
    }
    match saved.incidents.len() + saved.alerts.len() + saved.bad.len() {
        0 => Err(FileError::Nothing),
        _ => Ok(saved),
    }
}

/// Keeps the newest record of each identifier, by its last update, else by its place. Answers the identifiers of
/// which records differed.
fn newest(records: &mut Vec<Value>) -> BTreeSet<String> {
    let mut differing = BTreeSet::new();
    let mut kept: Vec<Value> = Vec::with_capacity(records.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for record in records.drain(..) {
        let Some(id) = record.get("id").and_then(Value::as_str).map(str::to_owned) else {
            continue;
        };
        let place = *places.entry(id.clone()).or_insert(kept.len());
        match kept.get_mut(place) {
            None => kept.push(record),
            Some(known) if *known == record => {}
            Some(known) => {
                // Written alike by then, so that texts compare as instants do.
                let updated =
                    |record: &Value| record.get("updatedAt").and_then(Value::as_str).map(str::to_owned);
                if updated(known) <= updated(&record) {
                    *known = record;
                }
                differing.insert(id);
            }
        }
    }
    *records = kept;
    differing
}

/// Reads one file.
pub fn read(file: &str, bytes: &[u8], reading: &Reading) -> Result<Saved, FileError> {
    let text = decode(bytes).map_err(|why| FileError::Text { file: file.to_owned(), why })?;
    let start = text.trim_start();
    if start.is_empty() {
        return Err(FileError::Empty(file.to_owned()));
    }
    let mut saved = Saved::default();
    let source = Source { file, places: Places::new(&text), reading };
    match form(file, start) {
        Form::Documents => documents(&source, &text, &mut saved),
        Form::Lines => lines(&source, &text, &mut saved),
        Form::Table => table(&source, &text, &mut saved)?,
    }
    Ok(saved)
}

/// A file that is read, and how.
struct Source<'a> {
    file: &'a str,
    places: Places<'a>,
    reading: &'a Reading,
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

fn documents<'a>(source: &Source<'a>, text: &'a str, saved: &mut Saved) {
    for document in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        match document {
            Ok(document) => saved.take(source, document.get(), 0),
            Err(error) => {
                let place = Place { line: error.line() as u64, column: Some(error.column() as u64) };
                return saved.bad(
                    source,
                    place,
                    format!("{}; what stands before it was read", plain(&error)),
                );
            }
        }
    }
}

fn lines<'a>(source: &Source<'a>, text: &'a str, saved: &mut Saved) {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<&RawValue>(line) {
            Ok(record) => saved.take(source, record.get(), 0),
            Err(error) => {
                let place = Place { column: Some(error.column() as u64), ..source.places.of(line) };
                saved.bad(source, place, plain(&error));
            }
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
/// Times of a record.
const INSTANTS: [&str; 5] = ["createdAt", "updatedAt", "impactStartDate", "impactEndDate", "resolvedAt"];
/// Lists within lists that are followed; answers have two.
const DEPTH: usize = 16;

impl Saved {
    fn bad(&mut self, source: &Source<'_>, place: Place, reason: impl Into<String>) {
        let Place { line, column } = place;
        self.bad.push(BadRow { file: source.file.to_owned(), line, column, reason: reason.into() });
    }

    /// A record, an answer that holds one or many, or a list of any of these: a slice of the file.
    fn take(&mut self, source: &Source<'_>, part: &str, depth: usize) {
        let place = source.places.of(part);
        if depth > DEPTH {
            return self.bad(source, place, "lists stand in lists too deep here");
        }
        if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(part) {
            return items.into_iter().for_each(|item| self.take(source, item.get(), depth + 1));
        }
        let fields = match serde_json::from_str::<BTreeMap<String, &RawValue>>(part) {
            Ok(fields) => fields,
            Err(error) if part.starts_with('{') => return self.bad(source, place, plain(&error)),
            Err(_) => return self.bad(source, place, "this is no record; a record is a JSON object"),
        };
        if let Some(data) = fields.get("data").filter(|data| data.get().starts_with(['[', '{'])) {
            return self.take(source, data.get(), depth + 1);
        }
        match serde_json::from_str(part) {
            Ok(record) => {
                let of = |field: &str| fields.get(field).map_or(place, |value| source.places.of(value.get()));
                self.entity(source, record, &of);
            }
            Err(error) => self.bad(source, place, plain(&error)),
        }
    }

    /// An object of the API: a user, a service, or a record.
    fn entity(&mut self, source: &Source<'_>, entity: Map<String, Value>, place: &dyn Fn(&str) -> Place) {
        let has = |name: &str| entity.contains_key(name);
        if !has("message") && has("username") {
            return self.users.push(entity.into());
        }
        if !has("message") && has("name") {
            return self.services.push(entity.into());
        }
        self.record(source, entity, place);
    }

    /// An incident or an alert, whose fields stand at these places; the record itself at that of the field "".
    fn record(&mut self, source: &Source<'_>, record: Map<String, Value>, place: &dyn Fn(&str) -> Place) {
        let has = |name: &str| record.contains_key(name);
        let alert = has("report")
            || has("alias")
            || has("acknowledged")
            || (source.reading.alerts && !has("impactStartDate"));
        match normal(record, source.reading) {
            Ok(record) if alert => self.alerts.push(record.into()),
            Ok(record) => self.incidents.push(record.into()),
            Err((field, reason)) => self.bad(source, place(field), reason),
        }
    }

    /// Adds what another file holds.
    fn merge(&mut self, other: Saved) {
        self.users.extend(other.users);
        self.services.extend(other.services);
        self.incidents.extend(other.incidents);
        self.alerts.extend(other.alerts);
        self.bad.extend(other.bad);
        self.notes.extend(other.notes);
    }

    /// How many incidents and alerts.
    pub fn records(&self) -> usize {
        self.incidents.len() + self.alerts.len()
    }

    /// Pieces of about so many bytes at most: whom and what records name first, then the records.
    pub fn pieces(&self, most: usize) -> Vec<Vec<u8>> {
        let lists = [
            ("users", &self.users),
            ("services", &self.services),
            ("incidents", &self.incidents),
            ("alerts", &self.alerts),
        ];
        let mut pieces = Vec::new();
        for (name, records) in lists {
            let mut piece = String::new();
            for record in records {
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

/// A record as the component expects it: texts where it reads texts, times as RFC 3339, lists of names as lists. Else
/// the field that cannot be read, and why.
fn normal(
    mut record: Map<String, Value>,
    reading: &Reading,
) -> Result<Map<String, Value>, (&'static str, String)> {
    for name in DROPPED {
        record.remove(name);
    }
    for name in ["id", "tinyId", "message", "status", "priority"] {
        if let Some(value) = record.get_mut(name) {
            let text = match &*value {
                Value::String(text) => text.trim().to_owned(),
                Value::Number(number) => number.to_string(),
                _ => String::new(),
            };
            *value = text.into();
        }
    }
    if let Some(Value::String(status)) = record.get_mut("status") {
        *status = status.to_lowercase();
    }
    // What pandas makes of whole numbers when one is missing.
    if let Some(whole) = text(&record, "tinyId").strip_suffix(".0").map(str::to_owned) {
        record.insert("tinyId".to_owned(), whole.into());
    }
    if let Some(said) = reading.priorities.get(&text(&record, "priority").to_lowercase()) {
        record.insert("priority".to_owned(), said.clone().into());
    }
    if text(&record, "id").is_empty() {
        let tiny = text(&record, "tinyId");
        if tiny.is_empty() {
            return Err(("", "the record has no identifier".to_owned()));
        }
        // The number is all that people see; the component asks for an identifier.
        let id = format!("{WITHOUT_ID}{tiny}");
        record.insert("id".to_owned(), id.into());
    }
    for name in INSTANTS {
        if let Some(value) = record.get_mut(name) {
            *value = instant(value, reading).map_err(|why| (name, why.to_string()))?;
        }
    }
    if record.get("createdAt").is_none_or(Value::is_null) {
        return Err(("createdAt", "the record has no creation time".to_owned()));
    }
    if let Some(entries) = record.remove("timelines").or_else(|| record.get("timeline").cloned())
        && entries.is_array()
    {
        record.insert("timeline".to_owned(), json!({ "entries": entries }));
    }
    let entries = record.get_mut("timeline").and_then(|timeline| timeline.get_mut("entries"));
    for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(value) = entry.get_mut("eventTime") {
            *value = instant(value, reading).map_err(|why| ("timeline", why.to_string()))?;
        }
    }
    for name in ["impactedServices", "tags"] {
        if let Some(value) = record.get_mut(name) {
            let names = match &*value {
                Value::String(cell) => list(cell),
                Value::Array(items) => items.iter().filter_map(item_name).collect(),
                _ => Vec::new(),
            };
            *value = names.into();
        }
    }
    Ok(record)
}

/// What stands before the number of an incident of which nothing else is known; see `migration::overlap`.
pub const WITHOUT_ID: &str = "tiny:";

fn instant(value: &Value, reading: &Reading) -> Result<Value, NoInstant> {
    let at = reading.instants.of_json(value)?;
    let text = at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    Ok(text.into())
}

fn text<'a>(record: &'a Map<String, Value>, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Fields of a table, what the API calls them, and what their columns are usually called; see [`folded`].
const FIELDS: [(&str, &str, &[&str]); 13] = [
    ("id", "id", &["id", "incidentid"]),
    ("tinyId", "tinyId", &["tinyid"]),
    ("title", "message", &["message", "title", "name"]),
    ("status", "status", &["status"]),
    ("priority", "priority", &["priority"]),
    ("created", "createdAt", &["createdat", "created"]),
    ("started", "impactStartDate", &["impactstartdate", "startedat", "started"]),
    ("resolved", "resolvedAt", &["impactenddate", "resolvedat", "resolved"]),
    ("services", "impactedServices", &["impactedservices", "services"]),
    ("responders", "responders", &["responders"]),
    ("tags", "tags", &["tags"]),
    ("url", "links", &["url"]),
    ("alias", "alias", &["alias"]),
];
/// Columns that tables of alerts have and those of incidents lack.
const OF_ALERTS: [&str; 5] = ["alias", "acknowledged", "snoozed", "seen", "lastoccurredat"];

/// Which column each field is in, by the API's name.
struct Columns(BTreeMap<&'static str, usize>);

impl Columns {
    fn find(source: &Source<'_>, table: &Table<'_>) -> Result<Columns, FileError> {
        let reading = source.reading;
        let file = || source.file.to_owned();
        let known = FIELDS.map(|(field, ..)| field);
        if let Some(unknown) = reading.columns.keys().find(|field| !known.contains(&field.as_str())) {
            return Err(FileError::Field(unknown.clone(), known.join(", ")));
        }
        let mut columns = BTreeMap::new();
        for (field, there, usual) in FIELDS {
            let named = reading.columns.get(field).map(String::as_str);
            let wanted = named.as_ref().map_or(usual, std::slice::from_ref);
            let found = table.column(wanted).map_err(|twice| FileError::Twice {
                file: file(),
                column: twice.name,
                places: twice.columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            })?;
            match (found, named) {
                (Some(at), _) => drop(columns.insert(there, at)),
                (None, Some(column)) => {
                    let (column, header) = (column.to_owned(), table.listed());
                    return Err(FileError::Mapped { file: file(), column, header });
                }
                (None, None) => {}
            }
        }
        let missing = |field| !columns.contains_key(field);
        let lacking = match () {
            () if missing("id") && missing("tinyId") => Some("id"),
            () if missing("createdAt") => Some("created"),
            () if missing("status") => Some("status"),
            () => None,
        };
        match lacking {
            Some(field) => {
                let usual =
                    FIELDS.iter().find(|(known, ..)| *known == field).map(|(.., usual)| usual.join(", "));
                let wanted = usual.unwrap_or_default();
                Err(FileError::Column { file: file(), field, wanted, header: table.listed() })
            }
            None => Ok(Columns(columns)),
        }
    }

    /// A row as the API would say it.
    fn record(&self, row: &Row) -> Map<String, Value> {
        let mut record = Map::new();
        for (name, column) in &self.0 {
            let Some(cell) = row.cell(*column) else { continue };
            let value = match *name {
                "responders" => list(cell).into_iter().map(responder).collect(),
                "links" => json!({ "web": cell }),
                _ => cell.into(),
            };
            record.insert((*name).to_owned(), value);
        }
        record
    }
}

fn responder(name: String) -> Value {
    let key = if name.contains('@') { "username" } else { "name" };
    json!({"type": "user", key: name})
}

fn table(source: &Source<'_>, text: &str, saved: &mut Saved) -> Result<(), FileError> {
    let row = |place: Place, reason: String| BadRow {
        file: source.file.to_owned(),
        line: place.line,
        column: place.column,
        reason,
    };
    let mut table = match Table::with_header(text) {
        None => return Err(FileError::Empty(source.file.to_owned())),
        Some(Err(fault)) => return Err(FileError::Header(row(fault.place, fault.reason))),
        Some(Ok(table)) => table,
    };
    let columns = Columns::find(source, &table)?;
    let header = table.header();
    let unused = header
        .iter()
        .enumerate()
        .filter(|(at, name)| !name.is_empty() && !columns.0.values().any(|used| used == at));
    let unused: Vec<&str> = unused.map(|(_, name)| name.as_str()).collect();
    if !unused.is_empty() {
        let unused = listed(unused.into_iter());
        saved.notes.push(format!("{}: nothing is read from the columns {unused}", source.file));
    }
    let of_alerts = header.iter().filter(|name| OF_ALERTS.contains(&folded(name).as_str())).count() > 1;
    for read in table.by_ref() {
        let read = match read {
            Ok(read) => read,
            Err(fault) => {
                saved.bad.push(row(fault.place, fault.reason));
                continue;
            }
        };
        let mut record = columns.record(&read);
        if of_alerts {
            record.entry("alias").or_insert_with(|| "".into());
        } else if !source.reading.alerts {
            record.remove("alias");
        }
        let place = |field: &str| {
            let field = if field.is_empty() { "id" } else { field };
            let column = columns.0.get(field).or_else(|| columns.0.get("tinyId"));
            Place { line: read.line, column: column.map(|at| *at as u64 + 1) }
        };
        saved.record(source, record, &place);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading::new(1_795_521_600_000_000)
    }

    fn in_zone(zone: &str, format: Option<&str>) -> Reading {
        let mut reading = reading();
        reading.instants.time_zone = Some(zone.parse().unwrap());
        reading.instants.time_format = format.map(|format| format.parse().unwrap());
        reading
    }

    fn read_as(file: &str, text: &str) -> Saved {
        read(file, text.as_bytes(), &reading()).unwrap()
    }

    fn bad(saved: &Saved) -> Vec<String> {
        saved.bad.iter().map(ToString::to_string).collect()
    }

    /// A file of the cases in tests/fixtures/files.
    macro_rules! case {
        ($name:literal) => {
            ($name, include_bytes!(concat!("../../../../tests/fixtures/files/", $name)).as_slice())
        };
    }

    /// Start, end and what else of each incident.
    fn told(saved: &Saved, fields: &[&str]) -> Vec<String> {
        let one = |record: &Value| {
            let cells: Vec<String> = fields
                .iter()
                .map(|field| match &record[*field] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
                .collect();
            cells.join(" ")
        };
        saved.incidents.iter().map(one).collect()
    }

    const INCIDENT: &str = r#"{"id":"i1","message":"m","status":"open","createdAt":"2024-01-01T00:00:00Z","description":"secret"}"#;

    #[test]
    fn every_form_of_saved_answer_gives_its_records() {
        let user = r#"{"id":"u1","username":"a@example.com","fullName":"A"}"#;
        let service = r#"{"id":"s1","name":"checkout"}"#;
        let alert =
            r#"{"id":"a1","message":"x","alias":"y","status":"open","createdAt":"2024-01-01T00:00:00Z"}"#;
        let list = format!(r#"{{"totalCount":2,"data":[{INCIDENT},{alert}],"took":1}}"#);
        let single = format!(r#"{{"data":{INCIDENT}}}"#);
        let all = format!("{list}\n{single} [{user},\n{service}]");
        let with_alerts = Reading { alerts: true, ..reading() };
        let saved = read("x.json", all.as_bytes(), &reading()).unwrap();
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
        let incident =
            INCIDENT.replace("createdAt", "impactStartDate\":\"2024-01-01T00:00:00Z\",\"createdAt");
        let all = format!("{list} [{user},{service}] {incident} {incident}").replacen(INCIDENT, &incident, 1);
        let saved = read_all([("x.json", all.as_bytes())], &with_alerts).unwrap();
        let pieces = saved.pieces(1_000_000);
        let texts: Vec<&str> = pieces.iter().map(|piece| std::str::from_utf8(piece).unwrap()).collect();
        assert!(texts[0].starts_with(r#"{"users""#) && texts[1].starts_with(r#"{"services""#));
        assert_eq!(texts[2].matches("i1").count(), 1, "the same record once");
        assert_eq!((saved.pieces(10).len(), saved.notes), (4, vec![]));
        let told =
            read_as("x.json", r#"{"id":"i","message":"m","createdAt":1714557600,"timelines":[{"id":"e"}]}"#);
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
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(bad(&read_as("x.json", &deep)), ["x.json:1:18: lists stand in lists too deep here"]);
    }

    #[test]
    fn a_creation_time_that_cannot_be_read_is_told_with_value_line_and_column() {
        let json = "{\"data\": [\n  {\"id\": \"a\", \"message\": \"m\", \"createdAt\": \"yesterday\"},\n  {\"id\": \"b\", \
                    \"message\": \"m\"},\n  {\"message\": \"m\"}\n]}";
        let saved = read_as("x.json", json);
        let told = bad(&saved);
        assert!(told[0].starts_with("x.json:2:44: `yesterday` is no time that can be read"), "{told:?}");
        assert_eq!(
            told[1..],
            ["x.json:3:3: the record has no creation time", "x.json:4:3: the record has no identifier"]
        );
        let one = r#"{"id":"a","message":"m","status":"closed","createdAt":"2024-05-01T10:00:00Z","impactEndDate":"later"}"#;
        assert!(bad(&read_as("x.ndjson", one))[0].starts_with("x.ndjson:1:94: `later` is no time"));
        let late = r#"{"id":"a","message":"m","createdAt":"2024-05-01T10:00:00Z","timeline":{"entries":[{"eventTime":17}]}}"#;
        assert_eq!(
            bad(&read_as("x.json", late)),
            ["x.json:1:71: `17` is 1970-01-01T00:00:17Z, before 2005; check its unit and format"]
        );
    }

    #[test]
    fn counts_since_1970_in_json_are_read_by_their_size() {
        let (name, bytes) = case!("json-epoch-milliseconds.json");
        let saved = read(name, bytes, &reading()).unwrap();
        assert_eq!(
            told(&saved, &["createdAt", "impactEndDate"]),
            [
                "2024-05-01T10:00:00.000000Z 2024-05-01T11:00:00.000000Z",
                "2024-06-01T10:00:00.000000Z 2024-06-01T11:00:00.000000Z"
            ]
        );
        let entry = r#"{"id":"a","message":"m","createdAt":1714557600000,"timeline":{"entries":[{"eventTime":1714561200000}]}}"#;
        let saved = read_as("x.json", entry);
        assert_eq!(saved.incidents[0]["timeline"]["entries"][0]["eventTime"], "2024-05-01T11:00:00.000000Z");
    }

    #[test]
    fn zone_and_format_count_for_json_too() {
        let (name, bytes) = case!("json-time-without-zone.json");
        let saved = read(name, bytes, &in_zone("Europe/Berlin", None)).unwrap();
        assert_eq!(
            told(&saved, &["createdAt", "impactEndDate"]),
            ["2024-05-01T08:00:00.000000Z 2024-05-01T09:00:00.000000Z"]
        );
        let saved = read(name, bytes, &reading()).unwrap();
        assert!(
            bad(&saved)[0].contains("`2024-05-01 10:00:00` does not say in which time zone"),
            "{:?}",
            bad(&saved)
        );
        let (name, bytes) = case!("json-offset-without-colon.json");
        assert_eq!(
            told(&read(name, bytes, &reading()).unwrap(), &["createdAt", "impactEndDate"]),
            ["2024-05-01T10:00:00.000000Z 2024-05-01T11:00:00.000000Z"]
        );
        let german = r#"{"id":"a","message":"m","createdAt":"01.05.2024 10:00"}"#;
        let saved =
            read("x.ndjson", german.as_bytes(), &in_zone("Europe/Berlin", Some("%d.%m.%Y %H:%M"))).unwrap();
        assert_eq!(told(&saved, &["createdAt"]), ["2024-05-01T08:00:00.000000Z"]);
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
        assert_eq!(saved.notes, ["x.csv: nothing is read from the columns updatedAt"]);
        let told = bad(&saved);
        assert_eq!((saved.incidents.len(), told.len()), (1, 3));
        assert!(told[0].starts_with("x.csv:4:2: `yesterday` is no time"), "{told:?}");
        assert!(told[1].starts_with("x.csv:5:3: the line has 3 fields and the header 8"), "{told:?}");
        assert_eq!(told[2], "x.csv:6:1: the record has no identifier");
    }

    #[test]
    fn several_services_in_a_cell_are_several() {
        let (name, bytes) = case!("several-services-in-a-cell.csv");
        let saved = read(name, bytes, &in_zone("Europe/Berlin", Some("%d.%m.%Y %H:%M"))).unwrap();
        assert_eq!(bad(&saved), [""; 0]);
        assert_eq!(
            told(&saved, &["id", "status", "createdAt", "impactedServices"]),
            [
                r#"i-bom-1 closed 2024-05-01T08:00:00.000000Z ["checkout","payments"]"#,
                r#"i-bom-2 resolved 2024-05-01T08:00:00.000000Z ["checkout","payments"]"#
            ]
        );
    }

    #[test]
    fn a_table_of_alerts_is_recognised_and_asked_about() {
        let (name, bytes) = case!("alerts-table.csv");
        let error = read_all([(name, bytes)], &reading()).unwrap_err().to_string();
        assert!(
            error.contains("these are alerts, not incidents (2 of them") && error.contains("--alerts"),
            "{error}"
        );
        let saved = read_all([(name, bytes)], &Reading { alerts: true, ..reading() }).unwrap();
        assert_eq!((saved.incidents.len(), saved.alerts.len()), (0, 2));
        assert_eq!(saved.alerts[0]["id"], "tiny:901", "the column without a name is passed over");
        assert_eq!(saved.alerts[0]["tags"], json!(["infra", "INC-1"]));
        assert!(
            saved.notes[0].contains("nothing is read from the columns Description, Acknowledged"),
            "{:?}",
            saved.notes
        );
        // Beside incidents they are left out, and that is said; a column of that name alone does not make a table one
        // of alerts.
        let incidents = b"id,status,created,alias\na,open,2024-05-01T10:00:00Z,x\n".as_slice();
        let saved = read_all([(name, bytes), ("y.csv", incidents)], &reading()).unwrap();
        assert_eq!((saved.incidents.len(), saved.alerts.len()), (1, 0));
        assert!(saved.notes.iter().any(|note| note.contains("2 alerts are left out")), "{:?}", saved.notes);
    }

    #[test]
    fn a_record_that_stands_twice_is_taken_once_by_its_last_update() {
        let record = |title: &str, updated: &str| {
            format!(
                r#"{{"id":"dup","message":"{title}","status":"open","createdAt":"2024-05-01T10:00:00Z","updatedAt":"{updated}"}}"#
            )
        };
        let (old, new) = (record("old", "2024-05-01T10:00:00+0000"), record("new", "2024-05-01T12:00:00.5Z"));
        for text in [format!("[{old},{new}]"), format!("[{new},{old},{new}]")] {
            let saved = read_all([("x.json", text.as_bytes())], &reading()).unwrap();
            assert_eq!(told(&saved, &["message"]), ["new"], "{text}");
            assert!(
                saved.notes[0].starts_with("`dup` stands more than once in the files with different content"),
                "{:?}",
                saved.notes
            );
        }
    }

    #[test]
    fn numbers_for_names_and_words_for_priorities_are_read_as_they_are_meant() {
        let json =
            r#"{"id":7,"tinyId":700,"message":"m","status":"Closed ","priority":1,"createdAt":1714557600}"#;
        assert_eq!(
            told(&read_as("x.json", json), &["id", "tinyId", "status", "priority"]),
            ["7 700 closed 1"]
        );
        let table = "tinyId,status,created,priority\n700.0,open,1714557600,3 - Moderate\n";
        let said = BTreeMap::from([("3 - moderate".to_owned(), "P2".to_owned())]);
        let saved = read("x.csv", table.as_bytes(), &Reading { priorities: said, ..reading() }).unwrap();
        assert_eq!(told(&saved, &["id", "tinyId", "priority"]), ["tiny:700 700 P2"]);
    }

    #[test]
    fn a_table_that_lacks_a_column_says_which_and_a_column_can_be_named() {
        let table = "key,when,status\nk1,2024-05-01T00:00:00Z,open\n";
        let error = read("x.csv", table.as_bytes(), &reading()).unwrap_err().to_string();
        assert!(
            error.contains("no column for `id` (looked for id, incidentid)")
                && error.contains("key, when, status")
        );
        let named = |pairs: &[(&str, &str)]| Reading {
            columns: pairs.iter().map(|(field, column)| ((*field).into(), (*column).into())).collect(),
            ..reading()
        };
        let saved = read("x.csv", table.as_bytes(), &named(&[("id", "Key"), ("created", "when")])).unwrap();
        assert_eq!(saved.incidents[0]["id"], "k1");
        for wrong in [[("id", "nothing")], [("colour", "key")]] {
            assert!(read("x.csv", table.as_bytes(), &named(&wrong)).is_err());
        }
        let twice = read("x.csv", b"id,created,status,Created\n", &reading()).unwrap_err().to_string();
        assert_eq!(twice, "x.csv has several columns `created` (2, 4); rename those that do not count");
        for empty in ["", " \n", "\u{feff}"] {
            assert!(matches!(read("x.csv", empty.as_bytes(), &reading()), Err(FileError::Empty(_))));
        }
        assert!(matches!(read("x", b"\xe4", &reading()), Err(FileError::Text { .. })));
        assert!(matches!(read_all([("x.json", b"[]".as_slice())], &reading()), Err(FileError::Nothing)));
    }
}
