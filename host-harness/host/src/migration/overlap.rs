//! Which imported incidents are known here already, from the other tool. Pure.
//!
//! An explicit link counts: the one names the other by reference, address or identifier, or by an alert of it. Without
//! one, the same title at the same time on services that do not speak against it is likely the same incident, which a
//! person has to confirm: until then both are counted, because a wrong guess would lose an incident without a word.
//!
//! A table may name an incident by its number alone, and another file or the account the same one by its identifier.
//! These are one incident if number and creation time agree, and one of the two records is counted.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::contract::{Incident, IncidentKey, Mode, Phase, Timestamp};

/// How far apart two likely the same incidents begin at most.
const APART: Timestamp = 15 * 60 * 1_000_000;
/// How far apart the creation times of two records of one incident are at most: exports leave the seconds out.
const SAME_CREATION: Timestamp = 60 * 1_000_000;
/// What the identifier of a record begins with that has none of its own; its number follows.
pub const WITHOUT_ID: &str = "tiny:";
/// From this length on, in UTF-16 units, a title of Opsgenie's may be the beginning of a longer one: it holds 130, and
/// some senders replace the last three by dots.
const MAY_BE_CUT: usize = 127;
/// Shorter words are no identifiers: a `12` in an address names nothing.
const SHORTEST_IDENTIFIER: usize = 16;

/// An imported incident, and the one that it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Pair {
    /// The imported one.
    pub imported: IncidentKey,
    /// What people call it there.
    pub imported_reference: Option<String>,
    /// Its title.
    pub title: String,
    /// When it was created there. Microseconds; as JSON, RFC 3339.
    #[serde(serialize_with = "super::rfc3339")]
    pub created_at: Option<Timestamp>,
    /// The one that stays.
    pub known: IncidentKey,
    /// What people call that one.
    pub known_reference: Option<String>,
}

/// What is known to both tools.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Overlap {
    /// By explicit links, or because a person said so. These are counted once.
    pub linked: Vec<Pair>,
    /// To be reviewed. These are counted twice until a person has decided.
    pub probable: Vec<Pair>,
    /// Imported twice, by number and by identifier. These are counted once; `known` is the one that counts.
    pub twice: Vec<Pair>,
}

impl Overlap {
    /// The imported incidents that are not to be counted.
    pub fn duplicates(&self) -> Vec<IncidentKey> {
        self.linked.iter().chain(&self.twice).map(|pair| pair.imported.clone()).collect()
    }
}

/// Finds them. `decisions` are a person's, by the imported incident's id or reference: the one that it is, by id or
/// reference, or that it is none.
pub fn find(
    imported: &[Incident],
    known: &[Incident],
    decisions: &HashMap<String, Option<String>>,
) -> Overlap {
    let known: Vec<&Incident> =
        known.iter().filter(|incident| !matches!(incident.mode, Mode::Test | Mode::Tutorial)).collect();
    let links = Links::new(imported, &known);
    let mut overlap = Overlap { twice: twice(imported), ..Overlap::default() };
    let second: HashSet<IncidentPlace<'_>> = overlap.twice.iter().map(|pair| place(&pair.imported)).collect();
    let mut rest = Vec::new();
    for incident in imported.iter().filter(|incident| !second.contains(&place(&incident.key))) {
        let names = [Some(&incident.key.id), incident.reference.as_ref()];
        let decided = names.into_iter().flatten().find_map(|name| decisions.get(name));
        match decided {
            Some(None) => {}
            Some(Some(name)) => match links.named(name) {
                Some(one) => overlap.linked.push(pair(incident, one)),
                // Decided, but about an incident that is not stored: to be decided again.
                None => rest.push(incident),
            },
            None => match links.of(incident) {
                Some(one) => overlap.linked.push(pair(incident, one)),
                None => rest.push(incident),
            },
        }
    }
    let taken: HashSet<&str> = overlap.linked.iter().map(|pair| pair.known.id.as_str()).collect();
    let free: Vec<&Incident> =
        known.into_iter().filter(|incident| !taken.contains(incident.key.id.as_str())).collect();
    overlap.probable = probable(&rest, &free);
    overlap
}

type IncidentPlace<'a> = (&'a str, &'a str);

fn place(key: &IncidentKey) -> IncidentPlace<'_> {
    (&key.source, &key.id)
}

/// Records without an identifier of their own, and the only record of the same number and creation time that has one.
fn twice(imported: &[Incident]) -> Vec<Pair> {
    let without_id = |incident: &&Incident| incident.key.id.starts_with(WITHOUT_ID);
    let mut by_number: HashMap<(&str, &str), Vec<&Incident>> = HashMap::new();
    for incident in imported.iter().filter(|incident| !without_id(incident)) {
        if let Some(reference) = &incident.reference {
            by_number.entry((&incident.key.source, reference)).or_default().push(incident);
        }
    }
    let mut pairs = Vec::new();
    for bare in imported.iter().filter(without_id) {
        let Some(reference) = &bare.reference else { continue };
        let alike = by_number.get(&(bare.key.source.as_str(), reference.as_str())).into_iter().flatten();
        let alike = alike.filter(|whole| {
            let apart = whole.created_at.zip(bare.created_at).map(|(one, other)| one.abs_diff(other));
            apart.is_some_and(|apart| apart < SAME_CREATION.unsigned_abs())
        });
        let alike: Vec<&&Incident> = alike.collect();
        if let [whole] = alike.as_slice() {
            // The whole record, unless only the other one says when it ended.
            let is_over = matches!(whole.phase, Phase::Resolved | Phase::Closed);
            let lacks_end = is_over && whole.resolved_at.is_none() && bare.resolved_at.is_some();
            pairs.push(if lacks_end { pair(whole, bare) } else { pair(bare, whole) });
        }
    }
    pairs
}

/// Same title (as far as Opsgenie can hold it), same time, services not disjoint; and only where each is the other's
/// only candidate.
fn probable(imported: &[&Incident], known: &[&Incident]) -> Vec<Pair> {
    let mut by_title: BTreeMap<String, Vec<&Incident>> = BTreeMap::new();
    for incident in known {
        by_title.entry(words(&incident.title)).or_default().push(incident);
    }
    let mut candidates: Vec<(&Incident, &Incident)> = Vec::new();
    for incident in imported {
        let title = words(&incident.title);
        if title.is_empty() {
            continue;
        }
        let may_be_cut = incident.title.encode_utf16().count() >= MAY_BE_CUT;
        let from_here_on = by_title.range(title.clone()..);
        let alike = from_here_on
            .take_while(|(other, _)| if may_be_cut { other.starts_with(&title) } else { **other == title })
            .flat_map(|(_, incidents)| incidents);
        candidates.extend(alike.filter(|one| may_be_one(incident, one)).map(|one| (*incident, *one)));
    }
    let mut times: HashMap<(&str, &str), u32> = HashMap::new();
    for (one, other) in &candidates {
        for key in [&one.key, &other.key] {
            *times.entry((&key.source, &key.id)).or_default() += 1;
        }
    }
    let only = |key: &IncidentKey| times.get(&(key.source.as_str(), key.id.as_str())) == Some(&1);
    candidates
        .iter()
        .filter(|(one, other)| only(&one.key) && only(&other.key))
        .map(|(one, other)| pair(one, other))
        .collect()
}

fn may_be_one(one: &Incident, other: &Incident) -> bool {
    let start =
        |incident: &Incident| incident.started_at.as_ref().map(|time| time.at).or(incident.created_at);
    let apart = start(one).zip(start(other)).map(|(one, other)| one.abs_diff(other));
    let close = apart.is_some_and(|apart| apart <= APART.unsigned_abs());
    let services = |incident: &Incident| -> HashSet<String> {
        let names = incident.services.iter();
        names.flat_map(|s| [s.service_id.clone(), Some(crate::port::normalised(&s.name))]).flatten().collect()
    };
    let (ones, others) = (services(one), services(other));
    close && (ones.is_empty() || others.is_empty() || !ones.is_disjoint(&others))
}

fn pair(imported: &Incident, known: &Incident) -> Pair {
    Pair {
        imported: imported.key.clone(),
        imported_reference: imported.reference.clone(),
        title: imported.title.clone(),
        created_at: imported.created_at,
        known: known.key.clone(),
        known_reference: known.reference.clone(),
    }
}

/// Lower case, and only letters and digits, a space between words.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// What each known incident is named by, and names.
struct Links<'a> {
    by_name: HashMap<String, &'a Incident>,
    /// By identifiers that it refers to.
    by_reference: HashMap<&'a str, &'a Incident>,
}

impl<'a> Links<'a> {
    fn new(imported: &'a [Incident], known: &[&'a Incident]) -> Links<'a> {
        let mut by_name = HashMap::new();
        let mut by_reference = HashMap::new();
        let wanted: HashSet<&str> = imported.iter().flat_map(identifiers).collect();
        for incident in known {
            let names = [Some(&incident.key.id), incident.reference.as_ref(), incident.permalink.as_ref()];
            for name in names.into_iter().flatten() {
                by_name.entry(plain(name)).or_insert(*incident);
            }
            for part in incident.references.iter().flat_map(|text| parts(text)) {
                if wanted.contains(part) {
                    by_reference.entry(part).or_insert(*incident);
                }
            }
        }
        Links { by_name, by_reference }
    }

    fn named(&self, name: &str) -> Option<&'a Incident> {
        self.by_name.get(&plain(name)).copied()
    }

    /// The known incident that this one is linked with, whichever of the two says so.
    fn of(&self, imported: &'a Incident) -> Option<&'a Incident> {
        let named = |text: &String| {
            self.named(text).or_else(|| {
                let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                words.filter(|word| word.len() > 4 && is_inc(word)).find_map(|word| self.named(word))
            })
        };
        let by_theirs = imported.references.iter().find_map(named);
        by_theirs.or_else(|| identifiers(imported).find_map(|part| self.by_reference.get(part).copied()))
    }
}

fn is_inc(word: &str) -> bool {
    word.split_at_checked(4).is_some_and(|(prefix, number)| {
        prefix.eq_ignore_ascii_case("INC-") && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// By what other tools know an imported incident: its own identifier, and its alerts'.
fn identifiers(incident: &Incident) -> impl Iterator<Item = &str> {
    let own = std::iter::once(incident.key.id.as_str());
    own.chain(incident.references.iter().map(String::as_str)).filter(|text| text.len() >= SHORTEST_IDENTIFIER)
}

/// The whole text, and the parts of an address.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    std::iter::once(text).chain(text.split(['/', '?', '&', '=', '#'])).filter(|part| !part.is_empty())
}

/// As names are compared: an address without its end slash and what is behind it, in lower case.
fn plain(name: &str) -> String {
    let path = name.split(['?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{AffectedService, Phase};

    const MINUTE: Timestamp = 60_000_000;

    fn incident(source: &str, id: &str, title: &str, created_at: Timestamp) -> Incident {
        Incident {
            key: IncidentKey { source: source.into(), id: id.into() },
            reference: (source == "incidentio").then(|| format!("INC-{id}")),
            title: title.into(),
            permalink: Some(format!("https://app.incident.io/acme/incidents/{id}")),
            severity: None,
            priority: None,
            priority_rule: String::new(),
            status: String::new(),
            phase: Phase::Resolved,
            mode: Mode::Standard,
            private: false,
            withheld: false,
            not_visible: false,
            created_at: Some(created_at),
            started_at: None,
            acknowledged_at: None,
            resolved_at: None,
            first_resolved_at: None,
            unknown_timestamp: None,
            reopenings: Vec::new(),
            pauses: Vec::new(),
            merged_into: None,
            responders: Vec::new(),
            services: Vec::new(),
            references: Vec::new(),
            updated_at: created_at,
        }
    }

    fn theirs(id: &str, title: &str, at: Timestamp) -> Incident {
        Incident { permalink: None, ..incident("opsgenie", id, title, at) }
    }

    fn ours(id: &str, title: &str, at: Timestamp) -> Incident {
        incident("incidentio", id, title, at)
    }

    fn referring(mut incident: Incident, to: &[&str]) -> Incident {
        incident.references = to.iter().map(ToString::to_string).collect();
        incident
    }

    fn on(mut incident: Incident, service: &str) -> Incident {
        incident.services =
            vec![AffectedService { name: service.into(), external_id: None, service_id: None }];
        incident
    }

    /// Ids of the pairs.
    fn ids(pairs: &[Pair]) -> Vec<(&str, &str)> {
        pairs.iter().map(|pair| (pair.imported.id.as_str(), pair.known.id.as_str())).collect()
    }

    const ALERT: &str = "70413a06-38d6-4c85-92b8-5ebc900d42e2-1489739250";

    #[test]
    fn an_explicit_link_of_either_side_is_enough() {
        let known = [
            ours("1", "A", 0),
            ours("2", "B", 0),
            referring(
                ours("3", "C", 0),
                &[&format!("https://acme.app.opsgenie.com/alert/detail/{ALERT}/details")],
            ),
            referring(ours("4", "D", 0), &["0a1b2c3d-incident-id-of-opsgenie"]),
            ours("5", "E", 0),
        ];
        let imported = [
            referring(theirs("a", "other", 1), &["moved to inc-1"]),
            referring(theirs("b", "other", 1), &["https://app.incident.io/acme/incidents/2/?tab=x"]),
            referring(theirs("c", "other", 1), &[ALERT]),
            theirs("0a1b2c3d-incident-id-of-opsgenie", "other", 1),
            referring(theirs("e", "other", 1), &["INC-55", "INC-9", "https://incident.io/blog"]),
        ];
        let found = find(&imported, &known, &HashMap::new());
        let expected = [("a", "1"), ("b", "2"), ("c", "3"), ("0a1b2c3d-incident-id-of-opsgenie", "4")];
        assert_eq!(ids(&found.linked), expected);
        assert!(found.probable.is_empty());
    }

    #[test]
    fn likeness_is_for_review_and_only_one_to_one() {
        let known = [
            ours("1", "Checkout is down!", 100 * MINUTE),
            ours("2", "Twice", 0),
            ours("3", "Late", 0),
            on(ours("4", "Elsewhere", 0), "search"),
            on(ours("5", "There", 0), "Payments API"),
        ];
        let imported = [
            theirs("a", "checkout  IS down", 115 * MINUTE),
            theirs("b", "Twice", 0),
            theirs("c", "Twice", MINUTE),
            theirs("d", "Late", 16 * MINUTE),
            on(theirs("e", "Elsewhere", 0), "billing"),
            on(theirs("f", "There", 0), "payments-api"),
        ];
        let found = find(&imported, &known, &HashMap::new());
        assert!(found.linked.is_empty());
        assert_eq!(ids(&found.probable), [("a", "1"), ("f", "5")]);
        assert!(found.duplicates().is_empty());
    }

    #[test]
    fn a_record_by_number_and_one_by_identifier_are_one_incident() {
        let numbered = |id: &str, at: Timestamp, end: Option<Timestamp>| {
            let mut incident = theirs(id, "Same", at);
            incident.reference = Some("#700".into());
            incident.resolved_at =
                end.map(|at| crate::contract::DerivedTime { at, rule: "file-resolved".into() });
            incident
        };
        let found = |imported: &[Incident]| {
            let found = find(imported, &[], &HashMap::new());
            let pairs = found.twice.iter().map(|pair| (pair.imported.id.clone(), pair.known.id.clone()));
            assert_eq!(found.duplicates().len(), found.twice.len());
            pairs.collect::<Vec<_>>()
        };
        let (bare, whole) = (numbered("tiny:700", 0, Some(5)), numbered("w", MINUTE - 1, Some(5)));
        let expected = [("tiny:700".to_owned(), "w".to_owned())];
        assert_eq!(found(&[bare.clone(), whole.clone()]), expected);
        assert_eq!(found(&[whole.clone(), bare.clone()]), expected, "in whatever order they came");
        // The one that can be measured counts.
        assert_eq!(found(&[bare.clone(), numbered("w", 0, None)]), [("w".to_owned(), "tiny:700".to_owned())]);
        // Another creation time, or two candidates: nothing is said.
        assert_eq!(found(&[bare.clone(), numbered("w", MINUTE, Some(5))]), []);
        assert_eq!(found(&[bare, whole, numbered("v", 0, Some(5))]), []);
        // incident.io's twin of it is found once.
        let known = [ours("1", "Same", 0)];
        let both = [numbered("tiny:700", 0, Some(5)), numbered("w", 0, Some(5))];
        let found = find(&both, &known, &HashMap::new());
        assert_eq!((ids(&found.probable), found.twice.len()), (vec![("w", "1")], 1));
    }

    #[test]
    fn a_title_that_opsgenie_cut_is_compared_as_far_as_it_goes() {
        let long =
            |end: &str| format!("{} {end}", "Checkout answers 502 for one request in three. ".repeat(3));
        let titles =
            [long("It began with the deploy"), long("Ünder 🔥 load"), "Short".to_owned(), long("Later")];
        let cut = |title: &String, most: usize| {
            let units: Vec<u16> = title.encode_utf16().take(most).collect();
            String::from_utf16_lossy(&units)
        };
        let at = |number: usize| 60 * MINUTE * i64::try_from(number).unwrap();
        let known: Vec<Incident> =
            titles.iter().enumerate().map(|(n, title)| ours(&n.to_string(), title, at(n))).collect();
        let imported = [
            theirs("cut", &cut(&titles[0], 130), at(0)),
            theirs("dots", &format!("{}...", cut(&titles[1], 127)), at(1)),
            // Not cut: it is another title that begins alike.
            theirs("brief", "Shor", at(2)),
            theirs("whole", &titles[3], at(3)),
            theirs("elsewhen", &cut(&titles[0], 130), at(9)),
        ];
        let found = find(&imported, &known, &HashMap::new());
        assert_eq!(ids(&found.probable), [("cut", "0"), ("dots", "1"), ("whole", "3")]);
    }

    #[test]
    fn a_person_decides_and_a_test_is_no_incident() {
        let mut test = ours("9", "Same", 0);
        test.mode = Mode::Test;
        let known = [ours("1", "Same", 0), ours("2", "Else", 0), test];
        let imported = [theirs("a", "Same", 0), theirs("b", "Else", 0)];
        let likely = find(&imported, &known, &HashMap::new());
        assert_eq!(ids(&likely.probable), [("a", "1"), ("b", "2")]);
        let decisions = HashMap::from([("a".to_owned(), Some("inc-1".to_owned())), ("b".to_owned(), None)]);
        let found = find(&imported, &known, &decisions);
        assert_eq!((ids(&found.linked), found.probable.len()), (vec![("a", "1")], 0));
        assert_eq!(found.duplicates(), [IncidentKey { source: "opsgenie".into(), id: "a".into() }]);
    }
}
