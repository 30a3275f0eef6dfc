//! The mapping file: what a person says about names and incidents of Opsgenie's.
//!
//! A table of three columns. `person,old@example.com,new@example.com` and `service,Payments API,payments` say whom
//! and what of the host's directory a name stands for; `same,#12,INC-34` says that two incidents are one, and
//! `distinct,#12,` that they are not.

use super::Lines;
use koalr_host::contract::ServiceName;
use koalr_host::id::OrgId;
use koalr_host::port::{Alias, AliasKind, Directory, StoreError};

/// What the file says, before the directory is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Addresses, and the address or id of the host's user.
    pub(crate) people: Vec<Line>,
    /// Names of services, and the name or id of the catalog's entry.
    pub(crate) services: Vec<Line>,
    /// Incidents of Opsgenie's, by id or `#` and number, and the one of incident.io's that they are, if any.
    pub(crate) incidents: Vec<(String, Option<String>)>,
}

/// A name, what it stands for, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// Why the file cannot be used. A half-read mapping would be worse than none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the mapping: {what}")]
pub(crate) struct MappingError {
    line: u64,
    what: String,
}

fn error(line: u64, what: impl Into<String>) -> MappingError {
    MappingError { line, what: what.into() }
}

/// Reads the file. A first line `kind,opsgenie,here`, or a comment that begins with `#`, is passed over.
pub(crate) fn read(text: &str) -> Result<Mapping, MappingError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let mut mapping = Mapping::default();
    let mut lines = Lines::new(text, '#');
    for row in reader.records() {
        let row = row.map_err(|problem| {
            error(lines.of(problem.position()).unwrap_or_default(), problem.to_string())
        })?;
        let number = lines.of(row.position()).unwrap_or_default();
        let field = |at: usize| row.get(at).unwrap_or_default().to_owned();
        let (kind, from, to) = (field(0), field(1), field(2));
        if kind.is_empty() && from.is_empty() || kind == "kind" {
            continue;
        }
        if from.is_empty() || (to.is_empty() && kind != "distinct") {
            return Err(error(number, "a line is `kind,name in Opsgenie,name here`"));
        }
        match kind.as_str() {
            "person" => mapping.people.push(Line { number, from, to }),
            "service" => mapping.services.push(Line { number, from, to }),
            "same" => mapping.incidents.push((from, Some(to))),
            "distinct" => mapping.incidents.push((from, None)),
            other => {
                let what = format!("`{other}` is no kind; there are person, service, same and distinct");
                return Err(error(number, what));
            }
        }
    }
    Ok(mapping)
}

/// Why a mapping cannot be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// It names whom or what nobody knows.
    #[error(transparent)]
    Unknown(#[from] MappingError),
    /// The directory cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The names with whom and what they stand for, which the host's directory must know.
pub(crate) async fn resolve(
    mapping: &Mapping,
    org: &OrgId,
    directory: &dyn Directory,
) -> Result<Vec<Alias>, ResolveError> {
    let addresses: Vec<String> = mapping.people.iter().map(|line| line.to.clone()).collect();
    let people = directory.users_by_email(org, &addresses).await?;
    let name = |line: &Line| ServiceName { name: line.to.clone(), external_id: None, aliases: Vec::new() };
    let names: Vec<ServiceName> = mapping.services.iter().map(name).collect();
    let services = directory.services_by_name(org, &names).await?;
    let people = mapping.people.iter().zip(people).map(|(line, found)| (AliasKind::Person, line, found));
    let services =
        mapping.services.iter().zip(services).map(|(line, found)| (AliasKind::Service, line, found));
    let mut aliases = Vec::new();
    for (kind, line, found) in people.chain(services) {
        let what = match kind {
            AliasKind::Person => "user has the address",
            AliasKind::Service => "service is called",
        };
        let verb = if kind == AliasKind::Person { "users" } else { "services" };
        let unknown =
            || error(line.number, format!("no {what} `{}`; import {verb} first (`{verb} import`)", line.to));
        aliases.push(Alias { kind, name: line.from.clone(), target: found.ok_or_else(unknown)? });
    }
    Ok(aliases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_who_and_what_and_which() {
        let read = read(
            "kind,opsgenie,here\n# people\nperson, Old@example.com ,new@example.com\n\
             service,\"Payments, API\",payments\nsame,#12,INC-34\ndistinct,#13\n",
        );
        let line = |number, from: &str, to: &str| Line { number, from: from.into(), to: to.into() };
        let expected = Mapping {
            people: vec![line(3, "Old@example.com", "new@example.com")],
            services: vec![line(4, "Payments, API", "payments")],
            incidents: vec![("#12".into(), Some("INC-34".into())), ("#13".into(), None)],
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_nothing_is_taken() {
        for (text, expected) in [
            (
                "person,a@example.com,b@example.com\nperson,c@example.com\n",
                "line 2 of the mapping: a line is",
            ),
            ("team,a,b\n", "line 1 of the mapping: `team` is no kind"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
