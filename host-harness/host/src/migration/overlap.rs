//! Which imported incidents are known here already, from the other tool. Pure.
//!
//! An explicit link counts: the one names the other by reference, address or identifier, or by an alert of it. Without
//! one, the same title at the same time on services that do not speak against it is likely the same incident, which a
//! person has to confirm: until then both are counted, because a wrong guess would lose an incident without a word.
//!
//! A table may name an incident by its number alone, and another file or the account the same one by its identifier.
//! These are one incident if number and creation time agree, and one of the two records is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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

/// What is compared of an incident: a small part of its record.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    key: IncidentKey,
    reference: Option<String>,
    title: String,
    permalink: Option<String>,
    created_at: Option<Timestamp>,
    /// When it started, else when it was created.
    began_at: Option<Timestamp>,
    is_over: bool,
    has_end: bool,
    is_test: bool,
    /// Identifiers and normalised names.
    services: HashSet<String>,
    references: Vec<String>,
}

impl From<Incident> for Compared {
    fn from(incident: Incident) -> Compared {
        let services = incident.services.into_iter();
        let names = services.flat_map(|s| [s.service_id, Some(crate::port::normalised(&s.name))]);
        Compared {
            began_at: incident.started_at.map(|time| time.at).or(incident.created_at),
            is_over: matches!(incident.phase, Phase::Resolved | Phase::Closed),
            has_end: incident.resolved_at.is_some(),
            is_test: matches!(incident.mode, Mode::Test | Mode::Tutorial),
            services: names.flatten().collect(),
            key: incident.key,
            reference: incident.reference,
            title: incident.title,
            permalink: incident.permalink,
            created_at: incident.created_at,
            references: incident.references,
        }
    }
}

/// By creation, the order in which they are compared.
pub fn in_order(incidents: &mut [Compared]) {
    incidents
        .sort_by(|one, other| (one.created_at, place(&one.key)).cmp(&(other.created_at, place(&other.key))));
}

/// Tells which incidents can be one with an imported one, so that of all the others none has to be kept.
pub struct Sieve<'a> {
    /// What the imported incidents and the decisions name.
    names: HashSet<String>,
    identifiers: HashSet<&'a str>,
    /// When the imported incidents of each title began, in order.
    titles: HashMap<String, Vec<Timestamp>>,
    /// The same of titles that may be the beginning of a longer one.
    cut: HashMap<String, Vec<Timestamp>>,
    /// How long these are, in bytes.
    lengths: BTreeSet<usize>,
}

impl<'a> Sieve<'a> {
    /// For these imported incidents, and what a person decided about them.
    pub fn new(imported: &'a [Compared], decisions: &HashMap<String, Option<String>>) -> Sieve<'a> {
        let named = imported.iter().flat_map(|incident| &incident.references).flat_map(|text| named_by(text));
        let decided = decisions.values().flatten().map(String::as_str);
        let (mut titles, mut cut) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        for incident in imported {
            let of = if may_be_cut(incident) { &mut cut } else { &mut titles };
            of.entry(words(&incident.title)).or_default().extend(incident.began_at);
        }
        for times in titles.values_mut().chain(cut.values_mut()) {
            times.sort_unstable();
        }
        Sieve {
            names: named.chain(decided).map(plain).collect(),
            identifiers: imported.iter().flat_map(identifiers).collect(),
            lengths: cut.keys().map(String::len).collect(),
            titles,
            cut,
        }
    }

    /// Whether this one of incident.io's can be one of them.
    pub fn holds(&self, known: &Compared) -> bool {
        !known.is_test && (self.is_linked(known) || self.is_alike(known))
    }

    fn is_linked(&self, known: &Compared) -> bool {
        names(known).any(|name| self.names.contains(&plain(name)))
            || known
                .references
                .iter()
                .flat_map(|text| parts(text))
                .any(|part| self.identifiers.contains(part))
    }

    fn is_alike(&self, known: &Compared) -> bool {
        let Some(began) = known.began_at else { return false };
        let title = words(&known.title);
        let beginnings = self.lengths.iter().filter_map(|length| self.cut.get(title.get(..*length)?));
        beginnings.chain(self.titles.get(&title)).any(|times| {
            let (from, until) = around(began);
            let first = times.partition_point(|at| *at < from);
            times.get(first).is_some_and(|at| *at <= until)
        })
    }
}

/// Finds them. `decisions` are a person's, by the imported incident's id or reference: the one that it is, by id or
/// reference, or that it is none.
pub fn find(
    imported: &[Compared],
    known: &[Compared],
    decisions: &HashMap<String, Option<String>>,
) -> Overlap {
    let known: Vec<&Compared> = known.iter().filter(|incident| !incident.is_test).collect();
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
    let free: Vec<&Compared> =
        known.into_iter().filter(|incident| !taken.contains(incident.key.id.as_str())).collect();
    overlap.probable = probable(&rest, &free);
    overlap
}

type IncidentPlace<'a> = (&'a str, &'a str);

fn place(key: &IncidentKey) -> IncidentPlace<'_> {
    (&key.source, &key.id)
}

/// Records without an identifier of their own, and the only record of the same number and creation time that has one.
fn twice(imported: &[Compared]) -> Vec<Pair> {
    let without_id = |incident: &&Compared| incident.key.id.starts_with(WITHOUT_ID);
    let mut by_number: HashMap<(&str, &str), Vec<&Compared>> = HashMap::new();
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
        let alike: Vec<&&Compared> = alike.collect();
        if let [whole] = alike.as_slice() {
            // The whole record, unless only the other one says when it ended.
            let lacks_end = whole.is_over && !whole.has_end && bare.has_end;
            pairs.push(if lacks_end { pair(whole, bare) } else { pair(bare, whole) });
        }
    }
    pairs
}

/// Same title (as far as Opsgenie can hold it), same time, services not disjoint; and only where each is the other's
/// only candidate.
fn probable(imported: &[&Compared], known: &[&Compared]) -> Vec<Pair> {
    // By title, then by when they began.
    let mut by_title: BTreeMap<String, BTreeMap<Timestamp, Vec<&Compared>>> = BTreeMap::new();
    for incident in known {
        if let Some(began) = incident.began_at {
            by_title.entry(words(&incident.title)).or_default().entry(began).or_default().push(incident);
        }
    }
    let mut times: HashMap<IncidentPlace<'_>, u32> = HashMap::new();
    let mut only_ones: Vec<(&Compared, &Compared)> = Vec::new();
    for incident in imported {
        let title = words(&incident.title);
        let Some(began) = incident.began_at.filter(|_| !title.is_empty()) else { continue };
        let (cut, (from, until)) = (may_be_cut(incident), around(began));
        let from_here_on = by_title.range(title.clone()..);
        let alike = from_here_on
            .take_while(|(other, _)| if cut { other.starts_with(&title) } else { **other == title })
            .flat_map(|(_, incidents)| incidents.range(from..=until))
            .flat_map(|(_, incidents)| incidents);
        let (mut first, mut candidates) = (None, 0_u32);
        for one in alike.filter(|one| may_share_services(incident, one)) {
            *times.entry(place(&one.key)).or_default() += 1;
            first.get_or_insert(*one);
            candidates = candidates.saturating_add(1);
        }
        only_ones.extend(first.filter(|_| candidates == 1).map(|one| (*incident, one)));
    }
    only_ones.retain(|(_, one)| times.get(&place(&one.key)) == Some(&1));
    only_ones.into_iter().map(|(one, other)| pair(one, other)).collect()
}

/// The instants at which the same incident may have begun.
fn around(began: Timestamp) -> (Timestamp, Timestamp) {
    (began.saturating_sub(APART), began.saturating_add(APART))
}

fn may_be_cut(incident: &Compared) -> bool {
    incident.title.encode_utf16().count() >= MAY_BE_CUT
}

fn may_share_services(one: &Compared, other: &Compared) -> bool {
    one.services.is_empty() || other.services.is_empty() || !one.services.is_disjoint(&other.services)
}

fn pair(imported: &Compared, known: &Compared) -> Pair {
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
    by_name: HashMap<String, &'a Compared>,
    /// By identifiers that it refers to.
    by_reference: HashMap<&'a str, &'a Compared>,
}

impl<'a> Links<'a> {
    fn new(imported: &'a [Compared], known: &[&'a Compared]) -> Links<'a> {
        let mut by_name = HashMap::new();
        let mut by_reference = HashMap::new();
        let wanted: HashSet<&str> = imported.iter().flat_map(identifiers).collect();
        for incident in known {
            for name in names(incident) {
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

    fn named(&self, name: &str) -> Option<&'a Compared> {
        self.by_name.get(&plain(name)).copied()
    }

    /// The known incident that this one is linked with, whichever of the two says so.
    fn of(&self, imported: &'a Compared) -> Option<&'a Compared> {
        let named = |text: &String| named_by(text).find_map(|name| self.named(name));
        let by_theirs = imported.references.iter().find_map(named);
        by_theirs.or_else(|| identifiers(imported).find_map(|part| self.by_reference.get(part).copied()))
    }
}

/// By what people name an incident of incident.io.
fn names(known: &Compared) -> impl Iterator<Item = &str> {
    let names = [Some(&known.key.id), known.reference.as_ref(), known.permalink.as_ref()];
    names.into_iter().flatten().map(String::as_str)
}

/// What a text may name: all of it, or words such as `INC-12`.
fn named_by(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    std::iter::once(text).chain(words.filter(|word| word.len() > 4 && is_inc(word)))
}

fn is_inc(word: &str) -> bool {
    word.split_at_checked(4).is_some_and(|(prefix, number)| {
        prefix.eq_ignore_ascii_case("INC-") && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// By what other tools know an imported incident: its own identifier, and its alerts'.
fn identifiers(incident: &Compared) -> impl Iterator<Item = &str> {
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

    /// The answer for all that is stored, which has to be the same for what the sieve holds of it.
    fn find(
        imported: &[Incident],
        known: &[Incident],
        decisions: &HashMap<String, Option<String>>,
    ) -> Overlap {
        let of = |incidents: &[Incident]| -> Vec<Compared> {
            incidents.iter().cloned().map(Compared::from).collect()
        };
        let (imported, known) = (of(imported), of(known));
        let all = super::find(&imported, &known, decisions);
        let sieve = Sieve::new(&imported, decisions);
        let held: Vec<Compared> = known.into_iter().filter(|one| sieve.holds(one)).collect();
        assert_eq!(super::find(&imported, &held, decisions), all);
        all
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

    #[test]
    fn what_cannot_be_one_with_an_imported_incident_is_not_kept_and_changes_no_answer() {
        let mut draw = fastrand::Rng::with_seed(23);
        let long = "Checkout answers 502 for one request in three. ".repeat(3);
        let titles =
            ["Disk full", "disk  FULL!", "Checkout is down", "Ünder load", "-", "", &long, &long[..130]];
        let references =
            ["INC-7", "see inc-40", "https://app.incident.io/acme/incidents/12/", ALERT, "INC-9999", "#3"];
        let mut any = |source: &str, number: usize| {
            let at = 5 * MINUTE * draw.i64(0..4_000);
            let title = match draw.u8(0..4) {
                0 => format!("Of its own {number}"),
                _ => (*draw.choice(&titles).unwrap()).to_owned(),
            };
            let mut one = incident(source, &number.to_string(), &title, at);
            one.created_at = one.created_at.filter(|_| draw.u8(0..10) > 0);
            one.mode = if draw.u8(0..10) == 0 { Mode::Test } else { Mode::Standard };
            if draw.u8(0..10) == 0 {
                one = referring(one, &[draw.choice(references).unwrap()]);
            }
            if draw.u8(0..2) == 0 { on(one, draw.choice(["search", "billing"]).unwrap()) } else { one }
        };
        let known: Vec<Incident> = (0..3_000).map(|number| any("incidentio", number)).collect();
        let mut imported: Vec<Incident> = (0..300).map(|number| any("opsgenie", 10_000 + number)).collect();
        imported.iter_mut().for_each(|one| one.permalink = None);
        let decisions = HashMap::from([
            ("10001".to_owned(), Some("INC-77".to_owned())),
            ("10002".to_owned(), None),
            ("10003".to_owned(), Some("INC-99999".to_owned())),
        ]);
        let found = find(&imported, &known, &decisions);
        assert!(found.linked.len() > 10 && found.probable.len() > 10);
        let imported: Vec<Compared> = imported.into_iter().map(Compared::from).collect();
        let sieve = Sieve::new(&imported, &decisions);
        let held = known.into_iter().map(Compared::from).filter(|one| sieve.holds(one)).count();
        assert!((1..2_000).contains(&held), "{held} of 3000");
    }
}
