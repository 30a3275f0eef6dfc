//! The query of an incident list: filters, their defaults, order and page.
//!
//! | filter | operators | left out of the query |
//! |---|---|---|
//! | `status_category` | `one_of`, `not_in` | declined, canceled and merged do not show |
//! | `mode` | `one_of` | test and tutorial do not show |
//! | `created_at`, `updated_at` | one of `gte`, `lte`, `date_range` | – |
//! | `status`, `incident_type` | `one_of`, `not_in` | – |
//! | `severity` | `one_of`, `not_in`, `gte`, `lte` | – |
//! | `incident_role[id]`, `custom_field[id]` | `one_of`, `not_in`, `is_blank` | – |
//!
//! Dates are calendar days in UTC with both ends included; a time of day is accepted and ignored. Two date
//! operators on one field contradict each other and are refused, as the live API refuses them. A value that no
//! status has simply matches nothing: whether the live API refuses it is unknown.

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    model::{Incident, Mode},
    settings::Settings,
};

/// What the vendor cuts a larger page to.
pub(crate) const MAX_PAGE: usize = 250;

/// A refused parameter: its name and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) field: String,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Invalid {
    pub(crate) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), code: "invalid_value", message: message.into() }
    }

    pub(crate) fn required(field: &str) -> Self {
        Self { field: field.to_owned(), code: "is_required", message: format!("{field} is required") }
    }
}

/// Decoded pairs of a query string.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == key && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn required(&self, key: &str) -> Result<&str, Invalid> {
        self.get(key).ok_or_else(|| Invalid::required(key))
    }

    /// 25 unless told; a larger page than allowed is cut without a word.
    pub(crate) fn page_size(&self, max: usize) -> Result<usize, Invalid> {
        let Some(text) = self.get("page_size") else {
            return Ok(25);
        };
        match text.parse::<usize>() {
            Ok(size) if size > 0 => Ok(size.min(max)),
            _ => Err(Invalid::new("page_size", "page_size must be a positive integer")),
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut ahead = rest.clone();
                let digits = (ahead.next().and_then(hex), ahead.next().and_then(hex));
                if let (Some(high), Some(low)) = digits {
                    rest = ahead;
                    high * 16 + low
                } else {
                    byte
                }
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Which way the list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

/// A list query, understood.
#[derive(Debug)]
pub(crate) struct ListQuery {
    pub(crate) order: Order,
    pub(crate) page_size: usize,
    pub(crate) after: Option<String>,
    named: Vec<Filter>,
    any: bool,
    category_named: bool,
    mode_named: bool,
}

#[derive(Debug)]
enum Filter {
    Category { values: Vec<String>, within: bool },
    Status { ids: Vec<String>, within: bool },
    Type { ids: Vec<String>, within: bool },
    Mode(Vec<Mode>),
    Severity { ids: Vec<String>, within: bool },
    SeverityRank { rank: usize, at_least: bool },
    Days { field: DateField, from: NaiveDate, to: NaiveDate },
    Role { id: String, test: Among },
    Field { id: String, test: Among },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DateField {
    Created,
    Updated,
}

#[derive(Debug)]
enum Among {
    OneOf(Vec<String>),
    NotIn(Vec<String>),
    Blank(bool),
}

impl Among {
    fn holds(&self, ids: &[&str]) -> bool {
        match self {
            Self::OneOf(wanted) => ids.iter().any(|id| wanted.iter().any(|one| one == id)),
            Self::NotIn(unwanted) => !ids.iter().any(|id| unwanted.iter().any(|one| one == id)),
            Self::Blank(blank) => ids.is_empty() == *blank,
        }
    }
}

impl ListQuery {
    pub(crate) fn parse(query: &Query, settings: &Settings) -> Result<Self, Invalid> {
        let order = match query.get("sort_by") {
            None | Some("created_at_newest_first") => Order::NewestFirst,
            Some("created_at_oldest_first") => Order::OldestFirst,
            Some(_) => {
                return Err(Invalid::new("sort_by", "sort_by must be one of the documented orders"));
            }
        };
        let any = match query.get("filter_mode") {
            None | Some("all") => false,
            Some("any") => true,
            Some(_) => return Err(Invalid::new("filter_mode", "filter_mode must be all or any")),
        };
        let operations = Operations::group(query);
        let mut list = Self {
            order,
            page_size: query.page_size(MAX_PAGE)?,
            after: query.get("after").map(str::to_owned),
            named: Vec::new(),
            any,
            category_named: false,
            mode_named: false,
        };
        for (field, operator, values) in &operations.0 {
            let (name, inner) = field.split_once('[').unwrap_or((field, ""));
            let inner = inner.trim_end_matches(']');
            list.category_named |= name == "status_category";
            list.mode_named |= name == "mode";
            let filter = understand(name, inner, operator, values, settings)?;
            if let Filter::Days { field, .. } = filter {
                let taken =
                    |known: &Filter| matches!(known, Filter::Days { field: other, .. } if *other == field);
                if list.named.iter().any(taken) {
                    return Err(Invalid::new(
                        name,
                        format!("{name} accepts one operator at a time; use date_range for a range"),
                    ));
                }
            }
            list.named.push(filter);
        }
        Ok(list)
    }

    /// What it asks for, whatever the page and the order.
    pub(crate) fn filters(&self) -> String {
        format!("{:?} {} {} {}", self.named, self.any, self.category_named, self.mode_named)
    }

    pub(crate) fn matches(&self, incident: &Incident, settings: &Settings) -> bool {
        let by_default = (self.category_named || !incident.stage.hidden_by_default())
            && (self.mode_named || !incident.mode.hidden_by_default());
        let mut named = self.named.iter().map(|filter| filter.holds(incident, settings));
        by_default
            && if self.any && !self.named.is_empty() {
                named.any(|held| held)
            } else {
                named.all(|held| held)
            }
    }
}

/// The bracketed parameters, values of one operator together.
struct Operations(Vec<(String, String, Vec<String>)>);

impl Operations {
    fn group(query: &Query) -> Self {
        let mut grouped: Vec<(String, String, Vec<String>)> = Vec::new();
        for (key, value) in &query.0 {
            let Some((field, operator)) = key.strip_suffix(']').and_then(|key| key.rsplit_once('[')) else {
                continue;
            };
            let known = grouped.iter_mut().find(|(one, other, _)| one == field && other == operator);
            match known {
                Some((_, _, values)) => values.push(value.clone()),
                None => grouped.push((field.to_owned(), operator.to_owned(), vec![value.clone()])),
            }
        }
        Self(grouped)
    }
}

fn understand(
    name: &str,
    inner: &str,
    operator: &str,
    values: &[String],
    settings: &Settings,
) -> Result<Filter, Invalid> {
    let refused = || Invalid::new(name, format!("{operator} is not an operator of {name}"));
    let within = match operator {
        "one_of" => Some(true),
        "not_in" => Some(false),
        _ => None,
    };
    let ids = values.to_vec();
    match name {
        "status_category" => Ok(Filter::Category { values: ids, within: within.ok_or_else(refused)? }),
        "status" => Ok(Filter::Status { ids, within: within.ok_or_else(refused)? }),
        "incident_type" => Ok(Filter::Type { ids, within: within.ok_or_else(refused)? }),
        "mode" if within == Some(true) => {
            let parse = |text: &String| {
                Mode::parse(text).ok_or_else(|| Invalid::new(name, format!("no mode {text}")))
            };
            Ok(Filter::Mode(values.iter().map(parse).collect::<Result<_, _>>()?))
        }
        "severity" => match (within, operator) {
            (Some(within), _) => Ok(Filter::Severity { ids, within }),
            (None, "gte" | "lte") => {
                let known = settings.severities.iter().find(|severity| Some(&severity.id) == values.first());
                let rank = known.ok_or_else(|| Invalid::new(name, "no such severity"))?.rank;
                Ok(Filter::SeverityRank { rank, at_least: operator == "gte" })
            }
            _ => Err(refused()),
        },
        "created_at" => days(name, DateField::Created, operator, values),
        "updated_at" => days(name, DateField::Updated, operator, values),
        "incident_role" | "custom_field" => {
            let test = match (within, operator, values.first().map(String::as_str)) {
                (Some(true), ..) => Among::OneOf(ids),
                (Some(false), ..) => Among::NotIn(ids),
                (None, "is_blank", Some("true")) => Among::Blank(true),
                (None, "is_blank", Some("false")) => Among::Blank(false),
                _ => return Err(refused()),
            };
            let id = inner.to_owned();
            Ok(if name == "incident_role" { Filter::Role { id, test } } else { Filter::Field { id, test } })
        }
        _ => Err(refused()),
    }
}

fn days(name: &str, field: DateField, operator: &str, values: &[String]) -> Result<Filter, Invalid> {
    let [value] = values else {
        return Err(Invalid::new(name, format!("{name} accepts one value")));
    };
    let day = |text: &str| parse_day(text).ok_or_else(|| Invalid::new(name, format!("{text} is not a date")));
    let (from, to) = match operator {
        "gte" => (day(value)?, NaiveDate::MAX),
        "lte" => (NaiveDate::MIN, day(value)?),
        "date_range" => {
            let (from, to) = value.split_once('~').ok_or_else(|| {
                Invalid::new(name, "date_range must be two dates with a tilde between them")
            })?;
            (day(from)?, day(to)?)
        }
        _ => {
            return Err(Invalid::new(name, format!("{operator} is not an operator of {name}")));
        }
    };
    if from > to {
        return Err(Invalid::new(name, "the range ends before it begins"));
    }
    Ok(Filter::Days { field, from, to })
}

fn parse_day(text: &str) -> Option<NaiveDate> {
    let date = text.parse::<NaiveDate>().ok();
    date.or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc).date_naive()))
}

impl Filter {
    fn holds(&self, incident: &Incident, settings: &Settings) -> bool {
        match self {
            Self::Category { values, within } => {
                values.iter().any(|value| value == incident.stage.category()) == *within
            }
            Self::Status { ids, within } => {
                let id = settings.statuses.iter().find(|(stage, _)| *stage == incident.stage);
                id.is_some_and(|(_, part)| ids.contains(&part.id)) == *within
            }
            Self::Type { ids, within } => ids.contains(&incident.kind.id) == *within,
            Self::Mode(modes) => modes.contains(&incident.mode),
            Self::Severity { ids, within } => {
                incident.severity.as_ref().is_some_and(|severity| ids.contains(&severity.id)) == *within
            }
            Self::SeverityRank { rank, at_least } => incident.severity.as_ref().is_some_and(|severity| {
                if *at_least { severity.rank >= *rank } else { severity.rank <= *rank }
            }),
            Self::Days { field, from, to } => {
                let at = match field {
                    DateField::Created => incident.created_at,
                    DateField::Updated => incident.updated_at,
                };
                (*from..=*to).contains(&at.date_naive())
            }
            Self::Role { id, test } => {
                let roles = [
                    (&settings.lead, &incident.lead),
                    (&settings.reporter, &incident.reporter),
                    (&settings.communications, &incident.communications),
                ];
                let holders: Vec<&str> = roles
                    .into_iter()
                    .filter(|(role, _)| role.id == *id)
                    .filter_map(|(_, user)| user.as_ref().map(|user| user.id.as_str()))
                    .collect();
                test.holds(&holders)
            }
            Self::Field { id, test } => test.holds(&field_values(id, incident, settings)),
        }
    }
}

/// The ids selected in one custom field; numbers and texts have none.
fn field_values<'a>(id: &str, incident: &'a Incident, settings: &'a Settings) -> Vec<&'a str> {
    let fields = &settings.fields;
    if id == fields.services.id {
        incident.services.iter().map(|service| service.id.as_str()).collect()
    } else if id == fields.teams.id {
        incident.services.iter().map(|service| service.team.id.as_str()).collect()
    } else if id == fields.impact.id {
        let option = incident.impact.and_then(|position| fields.impact_options.get(position));
        option.map(|option| option.id.as_str()).into_iter().collect()
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<ListQuery, Invalid> {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let settings = Settings::generate(&mut fastrand::Rng::with_seed(1), now);
        ListQuery::parse(&Query::parse(raw), &settings)
    }

    #[test]
    fn brackets_may_be_encoded_and_operators_repeat() {
        let list = parse("mode%5Bone_of%5D=test&mode[one_of]=tutorial").unwrap();
        assert!(matches!(list.named.as_slice(), [Filter::Mode(modes)] if modes.len() == 2));
    }

    #[test]
    fn contradictions_and_unknown_operators_are_refused() {
        for raw in [
            "updated_at[gte]=2026-01-01&updated_at[lte]=2026-02-01",
            "updated_at[gte]=2026-01-01&updated_at[date_range]=2026-01-01~2026-02-01",
            "updated_at[gte]=2026-01-01&updated_at[gte]=2026-01-02",
            "created_at[date_range]=2026-02-01~2026-01-01",
            "created_at[date_range]=2026-02-01",
            "created_at[gte]=yesterday",
            "mode[not_in]=test",
            "mode[one_of]=stream",
            "severity[gte]=nothing",
            "page_size=0",
            "sort_by=updated_at",
        ] {
            assert!(parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn dates_of_different_fields_combine() {
        assert!(parse("created_at[gte]=2026-01-01&updated_at[lte]=2026-02-01").is_ok());
    }

    #[test]
    fn a_page_is_25_unless_told_and_never_above_250() {
        assert_eq!(parse("").unwrap().page_size, 25);
        assert_eq!(parse("page_size=500").unwrap().page_size, 250);
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        assert_eq!(decoded("a%5Bb%zz%4"), "a[b%zz%4");
    }
}
