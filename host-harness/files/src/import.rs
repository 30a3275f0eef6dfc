//! Files of users and services: CSV, JSON, and for services a Backstage catalog.
//!
//! What cannot be read is left out and told by its line; the rest is imported. A file of which nothing can be read is
//! the caller's to refuse.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::table::{Row, Table, Twice};
use crate::{Places, decode, list};

/// What a file holds.
#[derive(Debug, PartialEq)]
pub struct Entries<T> {
    /// What can be imported.
    pub entries: Vec<T>,
    /// What cannot.
    pub left_out: Vec<LeftOut>,
}

/// A part of a file that is not imported.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// From 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The host's id.
    pub id: String,
    /// The address, as it is written.
    pub email: String,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
}

/// An entry of the host's service catalog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// The host's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Identifiers that other systems know it by.
    #[serde(default)]
    pub external_ids: Vec<String>,
    /// Other names.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// By the file's extension.
enum Format {
    Csv,
    Json,
    Yaml,
}

fn format(path: &Path) -> Result<Format> {
    match path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("csv" | "tsv") => Ok(Format::Csv),
        Some("json") => Ok(Format::Json),
        Some("yaml" | "yml") => Ok(Format::Yaml),
        _ => bail!("{}: the file's name must end in .csv, .json, .yaml or .yml", path.display()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<Cow<'a, str>> {
    decode(bytes).map_err(|why| anyhow!("{} {why}", path.display()))
}

/// The users in a file.
pub fn users(path: &Path) -> Result<Entries<User>> {
    users_of(path, &read(path)?)
}

/// The users in the bytes of a file of this name.
pub fn users_of(path: &Path, bytes: &[u8]) -> Result<Entries<User>> {
    let text = text(path, bytes)?;
    let users = match format(path)? {
        Format::Csv => rows(&text, &["id", "email", "name"], 2, |[id, email, name]| User {
            id: id.unwrap_or_default().to_owned(),
            email: email.unwrap_or_default().to_owned(),
            name: name.map(str::to_owned),
        })?,
        Format::Json => objects(&text)?,
        Format::Yaml => bail!("users are imported from CSV or JSON"),
    };
    let users = users.checked(|user| match () {
        () if user.id.is_empty() => Some("the user has no id".to_owned()),
        () if user.email.is_empty() => Some(format!("user {} has no e-mail address", user.id)),
        () if !user.email.contains('@') => {
            Some(format!("user {}: `{}` is no e-mail address", user.id, user.email))
        }
        () => None,
    });
    let users = users.last_of_each(|user| &user.id);
    ensure!(users.found_any(), "{} holds no user", path.display());
    Ok(users.finish())
}

/// The services in a file.
pub fn services(path: &Path) -> Result<Entries<Service>> {
    services_of(path, &read(path)?)
}

/// The services in the bytes of a file of this name.
pub fn services_of(path: &Path, bytes: &[u8]) -> Result<Entries<Service>> {
    let text = text(path, bytes)?;
    let services = match format(path)? {
        Format::Csv => rows(
            &text,
            &["id", "name", "external_ids", "aliases"],
            2,
            |[id, name, external_ids, aliases]| Service {
                id: id.unwrap_or_default().to_owned(),
                name: name.unwrap_or_default().to_owned(),
                external_ids: external_ids.map(list).unwrap_or_default(),
                aliases: aliases.map(list).unwrap_or_default(),
            },
        )?,
        Format::Json => objects(&text)?,
        Format::Yaml => backstage(&text),
    };
    let services = services.checked(|service| {
        (service.id.is_empty() || service.name.is_empty())
            .then(|| "the service lacks an id or a name".to_owned())
    });
    let services = services.last_of_each(|service| &service.id);
    ensure!(services.found_any(), "{} holds no service", path.display());
    Ok(services.finish())
}

/// What was found so far, with the line of each.
struct Found<T> {
    entries: Vec<(u64, T)>,
    left_out: Vec<LeftOut>,
}

impl<T> Default for Found<T> {
    fn default() -> Found<T> {
        Found { entries: Vec::new(), left_out: Vec::new() }
    }
}

impl<T: PartialEq> Found<T> {
    fn leave_out(&mut self, line: u64, reason: String) {
        self.left_out.push(LeftOut { line, reason });
    }

    fn found_any(&self) -> bool {
        !self.entries.is_empty() || !self.left_out.is_empty()
    }

    /// Leaves out what something is wrong with.
    fn checked(mut self, wrong: impl Fn(&T) -> Option<String>) -> Found<T> {
        for (line, entry) in std::mem::take(&mut self.entries) {
            match wrong(&entry) {
                None => self.entries.push((line, entry)),
                Some(reason) => self.leave_out(line, reason),
            }
        }
        self
    }

    /// Of several entries of an id, the last.
    fn last_of_each(mut self, id: impl Fn(&T) -> &String) -> Found<T> {
        let mut last: HashMap<String, u64> = HashMap::new();
        let mut kept = Vec::with_capacity(self.entries.len());
        for (line, entry) in std::mem::take(&mut self.entries).into_iter().rev() {
            match last.get(id(&entry)) {
                None => {
                    last.insert(id(&entry).clone(), line);
                    kept.push((line, entry));
                }
                Some(later) => {
                    let reason = format!("`{}` stands on line {later} again, and that is taken", id(&entry));
                    self.leave_out(line, reason);
                }
            }
        }
        kept.reverse();
        self.entries = kept;
        self
    }

    fn finish(mut self) -> Entries<T> {
        self.left_out.sort_by_key(|left_out| left_out.line);
        Entries {
            entries: self.entries.into_iter().map(|(_, entry)| entry).collect(),
            left_out: self.left_out,
        }
    }
}

/// A table's rows, made of the cells of these columns, of which the first few must be there.
fn rows<T: PartialEq, const N: usize>(
    text: &str,
    names: &[&str; N],
    needed: usize,
    make: impl Fn([Option<&str>; N]) -> T,
) -> Result<Found<T>> {
    let mut found = Found::default();
    let mut table = match Table::with_header(text) {
        None => return Ok(found),
        Some(Err(fault)) => bail!("line {}: {}", fault.place.line, fault.reason),
        Some(Ok(table)) => table,
    };
    let mut columns = [None; N];
    for (number, (column, name)) in columns.iter_mut().zip(names).enumerate() {
        *column = table.column(&[name]).map_err(|Twice { name, columns }| {
            anyhow!(
                "the CSV has the column `{name}` several times ({columns:?}); rename those that do not count"
            )
        })?;
        ensure!(
            column.is_some() || number >= needed,
            "the CSV has no column `{name}`; its header is: {}",
            table.listed()
        );
    }
    for row in table.by_ref() {
        match row {
            Ok(row) => found.entries.push((row.line, make(cells(&row, columns)))),
            Err(fault) => found.leave_out(fault.place.line, fault.reason),
        }
    }
    Ok(found)
}

fn cells<const N: usize>(row: &Row, columns: [Option<usize>; N]) -> [Option<&str>; N] {
    columns.map(|column| column.and_then(|column| row.cell(column)))
}

/// The objects of a JSON list.
fn objects<T: PartialEq + for<'de> Deserialize<'de>>(text: &str) -> Result<Found<T>> {
    let mut found = Found::default();
    let items: Vec<&RawValue> = serde_json::from_str(text).context("expected a JSON list of objects")?;
    let places = Places::new(text);
    for item in items {
        let line = places.of(item.get()).line;
        match serde_json::from_str(item.get()) {
            Ok(entry) => found.entries.push((line, entry)),
            Err(error) => found.leave_out(line, error.to_string()),
        }
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Entity {
    kind: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    title: Option<String>,
}

/// Components of a Backstage catalog: <https://backstage.io/docs/features/software-catalog/descriptor-format>.
/// Importers of catalogs use the entity reference or the bare name as the external id, so both are kept.
fn backstage(text: &str) -> Found<Service> {
    let mut found = Found::default();
    for (number, (line, document)) in (1..).zip(documents(text)) {
        let mut leave_out =
            |line: u64, why: String| found.leave_out(line, format!("document {number}: {why}"));
        let value: serde_yaml_ng::Value = match serde_yaml_ng::from_str(document) {
            Ok(value) => value,
            Err(error) => {
                let within = error.location().map_or(0, |place| place.line().saturating_sub(1));
                leave_out(line + within as u64, format!("the YAML cannot be read: {error}"));
                continue;
            }
        };
        if value.is_null() {
            continue;
        }
        let entity: Entity = match serde_yaml_ng::from_value(value) {
            Ok(entity) => entity,
            Err(error) => {
                leave_out(line, format!("this is no Backstage entity: {error}"));
                continue;
            }
        };
        if !entity.kind.eq_ignore_ascii_case("component") {
            continue;
        }
        let Metadata { name, namespace, title } = entity.metadata;
        let namespace = namespace.as_deref().unwrap_or("default");
        if [name.as_str(), namespace].into_iter().chain(title.as_deref()).any(|text| text.contains("{{")) {
            leave_out(line, format!("`{name}` is a placeholder of a template, not a service"));
            continue;
        }
        if ![name.as_str(), namespace].into_iter().all(is_entity_name) {
            leave_out(line, format!("`{namespace}/{name}` is no name of an entity"));
            continue;
        }
        // As Backstage compares references: without regard to case.
        let reference = format!("component:{namespace}/{name}").to_lowercase();
        let aliases = title.iter().map(|_| name.clone()).collect();
        let external_ids = vec![reference.clone(), name.clone()];
        let service = Service { id: reference, name: title.unwrap_or(name), external_ids, aliases };
        found.entries.push((line, service));
    }
    found
}

/// Letters and digits, with `-`, `_` and `.` between them.
fn is_entity_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The documents of a YAML stream, each with the line that it begins on. A line that begins with `---` separates them
/// wherever it stands, so that one that cannot be read costs no other.
fn documents(text: &str) -> Vec<(u64, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut first, mut at) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let marker = line.trim_end();
        if marker == "---" || marker.starts_with("--- ") {
            documents.extend(text.get(begin..at).map(|document| (first, document)));
            (begin, first) = (at, number);
        }
        at += line.len();
    }
    documents.extend(text.get(begin..).map(|document| (first, document)));
    documents.retain(|(_, document)| {
        document
            .lines()
            .any(|line| !line.trim().is_empty() && line.trim_end() != "---" && !line.starts_with('#'))
    });
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/files").join(name)
    }

    fn told<T>(read: &Entries<T>) -> Vec<String> {
        read.left_out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn users_are_read_from_csv_and_json_alike() {
        let (_a, csv) =
            file("users.csv", "\u{feff}id, email, name\nu1, Ana@example.com, Ana\nu2,bo@example.com,\n");
        let (_b, json) = file(
            "users.json",
            r#"[{"id":"u1","email":"Ana@example.com","name":"Ana"},{"id":"u2","email":"bo@example.com"}]"#,
        );
        assert_eq!(users(&csv).unwrap(), users(&json).unwrap());
        assert_eq!(users(&csv).unwrap().entries.len(), 2);
        let (_d, other) = file("users.csv", "number,mail\n");
        assert!(
            users(&other).unwrap_err().to_string().contains("no column `id`; its header is: number, mail")
        );
        let (_e, empty) = file("users.csv", "id,email\n");
        assert!(users(&empty).unwrap_err().to_string().contains("holds no user"));
        let (_f, twice) = file("users.csv", "id,email,ID\n");
        assert!(users(&twice).unwrap_err().to_string().contains("`id` several times ([1, 3])"));
    }

    #[test]
    fn a_header_in_any_case_and_a_table_with_semicolons_are_read() {
        let ann = User { id: "u1".into(), email: "ann@example.com".into(), name: Some("Ann".into()) };
        assert_eq!(users(&fixture("users-header-case.csv")).unwrap().entries, std::slice::from_ref(&ann));
        let (_a, semicolons) = file("users.csv", "sep=;\r\nID;E-Mail;Name;\r\nu1;ann@example.com;Ann;\r\n");
        assert_eq!(users(&semicolons).unwrap(), Entries { entries: vec![ann], left_out: vec![] });
    }

    #[test]
    fn blank_rows_are_passed_over_and_a_row_without_address_is_told_by_its_line() {
        let read = users(&fixture("users-blank-row.csv")).unwrap();
        assert_eq!(read.entries.iter().map(|user| user.id.as_str()).collect::<Vec<_>>(), ["u1"]);
        assert_eq!(told(&read), ["line 5: user u2 has no e-mail address"]);
        let (_a, bad) = file("users.csv", "id,email\nu1,nobody\n,x@example.com\nu2\nu3,a@b.c\nu3,d@e.f\n");
        let read = users(&bad).unwrap();
        assert_eq!(read.entries.len(), 1);
        assert_eq!(
            told(&read),
            [
                "line 2: user u1: `nobody` is no e-mail address",
                "line 3: the user has no id",
                "line 4: the line has 1 fields and the header 2; check its quotes",
                "line 5: `u3` stands on line 6 again, and that is taken",
            ]
        );
        let (_b, json) = file("users.json", "[\n{\"id\":\"u1\",\"email\":\"a@b.c\"},\n{\"id\":\"u2\"}]");
        assert!(told(&users(&json).unwrap())[0].starts_with("line 3: missing field `email`"));
    }

    #[test]
    fn services_are_read_from_csv_json_and_a_backstage_catalog() {
        let (_a, csv) =
            file("s.csv", "id,name,external_ids,aliases\ns1,Payments,ext-1;ext-2,pay; checkout\n");
        let service = services(&csv).unwrap().entries.remove(0);
        assert_eq!(service.external_ids, ["ext-1", "ext-2"]);
        assert_eq!(service.aliases, ["pay", "checkout"]);
        let (_b, json) = file(
            "s.json",
            r#"[{"id":"s1","name":"Payments","external_ids":["ext-1","ext-2"],"aliases":["pay","checkout"]}]"#,
        );
        assert_eq!(services(&json).unwrap().entries, [service]);
        let yaml = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: payments-api\n  title: Payments API\nspec:\n  type: service\n---\nkind: System\nmetadata:\n  name: money\n";
        let (_c, catalog) = file("catalog-info.yaml", yaml);
        let read = services(&catalog).unwrap();
        assert_eq!((read.entries.len(), told(&read)), (1, vec![]));
        let found = &read.entries[0];
        assert_eq!(
            (found.id.as_str(), found.name.as_str()),
            ("component:default/payments-api", "Payments API")
        );
        assert_eq!(found.external_ids, ["component:default/payments-api", "payments-api"]);
    }

    #[test]
    fn a_placeholder_of_a_template_is_no_service_and_is_told() {
        let read = services(&fixture("catalog-template.yaml")).unwrap();
        assert_eq!(read.entries, []);
        let told = told(&read);
        assert!(
            told[0].starts_with("line 1: document 1: `${{ values.name | dump }}` is a placeholder"),
            "{told:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_of_a_catalog_is_told_by_document_and_line_and_costs_nothing_else() {
        let yaml = "# ours\n---\nkind: Component\nmetadata:\n  name: one\n---\nkind: Component\nmetadata:\n  name: [\n--- # third\nkind: Component\n\
                    ---\nkind: Component\nmetadata:\n  name: has space\n---\nkind: Component\nmetadata:\n  name: Two\n  namespace: Payments\n";
        let (_a, catalog) = file("catalog.YML", yaml);
        let read = services(&catalog).unwrap();
        let ids: Vec<&str> = read.entries.iter().map(|service| service.id.as_str()).collect();
        assert_eq!(ids, ["component:default/one", "component:payments/two"]);
        let told = told(&read);
        assert!(told[0].contains("document 2: the YAML cannot be read"), "{told:?}");
        assert!(told[0].starts_with("line 9:") || told[0].starts_with("line 10:"), "{told:?}");
        assert!(
            told[1].starts_with("line 10: document 3: this is no Backstage entity: missing field"),
            "{told:?}"
        );
        assert!(told[2].starts_with("line 12: document 4: `default/has space` is no name"), "{told:?}");
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let (_a, path) = file("users.txt", "");
        assert!(users(&path).unwrap_err().to_string().contains(".csv"));
    }
}
