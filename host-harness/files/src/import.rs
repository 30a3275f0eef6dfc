//! Files of users and services: CSV, JSON, and for services a Backstage catalog.
//!
//! A file is read as a whole before anything of it is stored, and an error names the record that it is about.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

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
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Ok(Format::Csv),
        Some("json") => Ok(Format::Json),
        Some("yaml" | "yml") => Ok(Format::Yaml),
        _ => bail!("{}: the file's name must end in .csv, .json, .yaml or .yml", path.display()),
    }
}

fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    // Spreadsheets put a byte order mark before the first column's name.
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), String::from))
}

fn rows<T: for<'de> Deserialize<'de>>(text: &str, needed: &[&str]) -> Result<Vec<T>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns = reader.headers().context("the CSV cannot be read")?;
    for column in needed {
        ensure!(columns.iter().any(|known| known == *column), "the CSV has no column `{column}`");
    }
    reader.deserialize().collect::<Result<_, _>>().context("the CSV cannot be read")
}

/// The users in a file.
pub fn users(path: &Path) -> Result<Vec<User>> {
    let text = read(path)?;
    let users: Vec<User> = match format(path)? {
        Format::Csv => rows(&text, &["id", "email"])?,
        Format::Json => {
            serde_json::from_str(&text).context("expected a list of objects with id, email and name")?
        }
        Format::Yaml => bail!("users are imported from CSV or JSON"),
    };
    ensure!(!users.is_empty(), "{} holds no user", path.display());
    for (number, user) in (1..).zip(&users) {
        ensure!(!user.id.is_empty(), "user {number} has no id");
        ensure!(
            user.email.contains('@'),
            "user {number} ({}): `{}` is no e-mail address",
            user.id,
            user.email
        );
    }
    Ok(users)
}

#[derive(Deserialize)]
struct ServiceRow {
    id: String,
    name: String,
    #[serde(default)]
    external_ids: String,
    #[serde(default)]
    aliases: String,
}

/// The services in a file.
pub fn services(path: &Path) -> Result<Vec<Service>> {
    let text = read(path)?;
    let services: Vec<Service> = match format(path)? {
        Format::Csv => rows::<ServiceRow>(&text, &["id", "name"])?.into_iter().map(Service::from).collect(),
        Format::Json => serde_json::from_str(&text)
            .context("expected a list of objects with id, name, external_ids and aliases")?,
        Format::Yaml => backstage(&text)?,
    };
    ensure!(!services.is_empty(), "{} holds no service", path.display());
    for (number, service) in (1..).zip(&services) {
        ensure!(!service.id.is_empty() && !service.name.is_empty(), "service {number} lacks an id or a name");
    }
    Ok(services)
}

impl From<ServiceRow> for Service {
    fn from(row: ServiceRow) -> Self {
        let list =
            |text: &str| text.split(';').map(str::trim).filter(|t| !t.is_empty()).map(String::from).collect();
        Service {
            external_ids: list(&row.external_ids),
            aliases: list(&row.aliases),
            id: row.id,
            name: row.name,
        }
    }
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
fn backstage(text: &str) -> Result<Vec<Service>> {
    let mut services = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = serde_yaml_ng::Value::deserialize(document).context("the YAML cannot be read")?;
        if value.is_null() {
            continue;
        }
        let entity: Entity = serde_yaml_ng::from_value(value).context("expected Backstage entities")?;
        if !entity.kind.eq_ignore_ascii_case("component") {
            continue;
        }
        let Metadata { name, namespace, title } = entity.metadata;
        let reference = format!("component:{}/{name}", namespace.as_deref().unwrap_or("default"));
        let aliases = title.iter().map(|_| name.clone()).collect();
        let external_ids = vec![reference.clone(), name.clone()];
        services.push(Service { id: reference, name: title.unwrap_or(name), external_ids, aliases });
    }
    ensure!(!services.is_empty(), "the catalog holds no entity of kind Component");
    Ok(services)
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

    #[test]
    fn users_are_read_from_csv_and_json_alike() {
        let (_a, csv) =
            file("users.csv", "\u{feff}id, email, name\nu1, Ana@example.com, Ana\nu2,bo@example.com,\n");
        let (_b, json) = file(
            "users.json",
            r#"[{"id":"u1","email":"Ana@example.com","name":"Ana"},{"id":"u2","email":"bo@example.com"}]"#,
        );
        assert_eq!(users(&csv).unwrap(), users(&json).unwrap());
        let (_d, other) = file("users.csv", "number,mail\n");
        assert!(users(&other).unwrap_err().to_string().contains("no column `id`"));
        let (_e, empty) = file("users.csv", "id,email\n");
        assert!(users(&empty).unwrap_err().to_string().contains("holds no user"));
        let (_c, bad) = file("users.csv", "id,email\nu1,nobody\n");
        assert!(users(&bad).unwrap_err().to_string().contains("user 1 (u1)"));
    }

    #[test]
    fn services_are_read_from_csv_json_and_a_backstage_catalog() {
        let (_a, csv) =
            file("s.csv", "id,name,external_ids,aliases\ns1,Payments,ext-1;ext-2,pay; checkout\n");
        let service = services(&csv).unwrap().remove(0);
        assert_eq!(service.external_ids, ["ext-1", "ext-2"]);
        assert_eq!(service.aliases, ["pay", "checkout"]);
        let (_b, json) = file(
            "s.json",
            r#"[{"id":"s1","name":"Payments","external_ids":["ext-1","ext-2"],"aliases":["pay","checkout"]}]"#,
        );
        assert_eq!(services(&json).unwrap(), [service]);
        let yaml = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: payments-api\n  title: Payments API\nspec:\n  type: service\n---\nkind: System\nmetadata:\n  name: money\n";
        let (_c, catalog) = file("catalog-info.yaml", yaml);
        let found = services(&catalog).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].id.as_str(), found[0].name.as_str()),
            ("component:default/payments-api", "Payments API")
        );
        assert_eq!(found[0].external_ids, ["component:default/payments-api", "payments-api"]);
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let (_a, path) = file("users.txt", "");
        assert!(users(&path).unwrap_err().to_string().contains(".csv"));
    }
}
