//! The mapping file: what a person says about names and incidents of Opsgenie's.
//!
//! A table of three columns. `person,old@example.com,new@example.com` and `service,Payments API,payments` say whom
//! and what of the host's directory a name stands for, and `priority,3 - Moderate,P3` what a word for a priority does;
//! `same,#12,INC-34` says that two incidents are one, and `distinct,#12,` that they are not.

use crate::table::Table;

/// What the file says, before the directory is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Addresses, and the address or id of the host's user.
    pub people: Vec<Line>,
    /// Names of services, and the name or id of the catalog's entry.
    pub services: Vec<Line>,
    /// Words for priorities, and the priority.
    pub priorities: Vec<Line>,
    /// Incidents of Opsgenie's, by id or `#` and number, and the one of incident.io's that they are, if any.
    pub incidents: Vec<(String, Option<String>)>,
}

/// A name, what it stands for, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The number of the line in the file, from 1.
    pub number: u64,
    /// The name in Opsgenie.
    pub from: String,
    /// What the name stands for here.
    pub to: String,
}

/// Why the file cannot be used. A half-read mapping would be worse than none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the mapping: {what}")]
pub struct MappingError {
    line: u64,
    what: String,
}

impl MappingError {
    /// What is wrong with a line.
    pub fn new(line: u64, what: impl Into<String>) -> MappingError {
        MappingError { line, what: what.into() }
    }
}

/// Reads the file. A first line `kind,opsgenie,here`, or a comment that begins with `#`, is passed over.
pub fn read(text: &str) -> Result<Mapping, MappingError> {
    let mut mapping = Mapping::default();
    for row in Table::without_header(text, Some('#')) {
        let row = row.map_err(|fault| MappingError::new(fault.place.line, fault.reason))?;
        let number = row.line;
        let field = |at: usize| row.cell(at).unwrap_or_default().to_owned();
        let (kind, from, to) = (field(0), field(1), field(2));
        if kind == "kind" {
            continue;
        }
        if from.is_empty() || (to.is_empty() && kind != "distinct") {
            return Err(MappingError::new(number, "a line is `kind,name in Opsgenie,name here`"));
        }
        match kind.as_str() {
            "person" => mapping.people.push(Line { number, from, to }),
            "service" => mapping.services.push(Line { number, from, to }),
            "priority" => {
                let to = to.to_uppercase();
                if !PRIORITIES.contains(&to.as_str()) {
                    return Err(MappingError::new(
                        number,
                        format!("`{to}` is no priority; there are P1, P2, P3 and P4"),
                    ));
                }
                mapping.priorities.push(Line { number, from, to });
            }
            "same" => mapping.incidents.push((from, Some(to))),
            "distinct" => mapping.incidents.push((from, None)),
            other => {
                let kinds = "person, service, priority, same and distinct";
                return Err(MappingError::new(number, format!("`{other}` is no kind; there are {kinds}")));
            }
        }
    }
    Ok(mapping)
}

const PRIORITIES: [&str; 4] = ["P1", "P2", "P3", "P4"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_who_and_what_and_which() {
        let read = read(
            "kind,opsgenie,here\n# people\nperson, Old@example.com ,new@example.com\n\
             service,\"Payments, API\",payments\nsame,#12,INC-34\ndistinct,#13\n\
             priority,3 - Moderate,p3\n",
        );
        let line = |number, from: &str, to: &str| Line { number, from: from.into(), to: to.into() };
        let expected = Mapping {
            people: vec![line(3, "Old@example.com", "new@example.com")],
            services: vec![line(4, "Payments, API", "payments")],
            priorities: vec![line(7, "3 - Moderate", "P3")],
            incidents: vec![("#12".into(), Some("INC-34".into())), ("#13".into(), None)],
        };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn a_mapping_is_read_like_any_other_table() {
        let excel = super::read("sep=;\nservice;Payments, API;payments\n;;\n").unwrap();
        let line = Line { number: 2, from: "Payments, API".into(), to: "payments".into() };
        assert_eq!(excel.services, [line]);
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_nothing_is_taken() {
        for (text, expected) in [
            (
                "person,a@example.com,b@example.com\nperson,c@example.com\n",
                "line 2 of the mapping: a line is",
            ),
            ("team,a,b\n", "line 1 of the mapping: `team` is no kind"),
            ("\npriority,Blocker,P0\n", "line 2 of the mapping: `P0` is no priority"),
            ("person,a@b.c,\"d@e.f\nsame,#1,INC-2\n", "line 1 of the mapping: a quote opens"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
