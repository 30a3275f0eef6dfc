//! The provider's severity on the host's scale, and by which rule.
//!
//! An organisation names its severities as it likes and has as many as it likes. So its own word counts first,
//! then the four documented names, then the place among its own severities. Nothing is guessed beyond that: a
//! severity that none of these knows has no priority, and the answer says so.

use crate::incidentio::payload;
use crate::model::{Mapping, Priority, Severity, SeverityOverride};

/// The documented names: <https://docs.koalr.com>, "Severity mapping".
const NAMES: [(&str, Priority); 4] = [
    ("critical", Priority::P1),
    ("major", Priority::P2),
    ("minor", Priority::P3),
    ("informational", Priority::P4),
];

fn mapping(priority: Option<Priority>, rule: &str) -> Mapping {
    Mapping { priority, rule: rule.into() }
}

/// Maps a severity. `known` are the organisation's own severities, by which a rank is placed.
pub fn map(
    severity: Option<&Severity>,
    overrides: &[SeverityOverride],
    known: &[payload::Severity],
) -> Mapping {
    let Some(severity) = severity else {
        return mapping(None, "no-severity");
    };
    if let Some(chosen) = overrides.iter().find(|chosen| is_named(severity, &chosen.severity)) {
        return mapping(Some(chosen.priority), "override");
    }
    let name = severity.name.trim_ascii();
    if let Some((_, priority)) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return mapping(Some(*priority), "name");
    }
    match by_rank(severity, known) {
        Some(priority) => mapping(Some(priority), "rank"),
        None => mapping(None, "unknown-severity"),
    }
}

fn is_named(severity: &Severity, wanted: &str) -> bool {
    severity.id.as_deref() == Some(wanted)
        || severity.name.trim_ascii().eq_ignore_ascii_case(wanted.trim_ascii())
}

/// The worst rank is P1, the next distinct one P2, then P3; whatever is below is P4.
fn by_rank(severity: &Severity, known: &[payload::Severity]) -> Option<Priority> {
    let own = known.iter().find(|other| other.id.is_some() && other.id == severity.id);
    let rank = own.and_then(|own| own.rank).or(severity.rank.map(i64::from))?;
    if !known.iter().any(|other| other.rank == Some(rank)) {
        return None;
    }
    let mut worse = 0;
    let mut above = rank;
    while let Some(next) = known.iter().filter_map(|other| other.rank).filter(|other| *other > above).min() {
        worse += 1;
        above = next;
    }
    Some(match worse {
        0 => Priority::P1,
        1 => Priority::P2,
        2 => Priority::P3,
        _ => Priority::P4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(id: &str, name: &str, rank: i32) -> Severity {
        Severity { id: Some(id.into()), name: name.into(), rank: Some(rank) }
    }

    fn known(severities: &[Severity]) -> Vec<payload::Severity> {
        let known = |s: &Severity| payload::Severity {
            id: s.id.clone(),
            name: s.name.clone(),
            rank: s.rank.map(i64::from),
        };
        severities.iter().map(known).collect()
    }

    #[test]
    fn the_documented_names_map_whatever_their_case() {
        for (name, priority) in [
            ("Critical", Priority::P1),
            ("MAJOR", Priority::P2),
            (" minor ", Priority::P3),
            ("informational", Priority::P4),
        ] {
            let got = map(Some(&severity("1", name, 0)), &[], &[]);
            assert_eq!(got, mapping(Some(priority), "name"), "{name}");
        }
    }

    #[test]
    fn other_names_map_by_their_place_among_the_organisations_own() {
        let own = [
            severity("a", "SEV-0", 50),
            severity("b", "SEV-1", 40),
            severity("b2", "SEV-1 security", 40),
            severity("c", "SEV-2", 30),
            severity("d", "SEV-3", 20),
            severity("e", "SEV-4", 10),
        ];
        let mapped: Vec<_> = own.iter().map(|s| map(Some(s), &[], &known(&own)).priority).collect();
        let expected = [Priority::P1, Priority::P2, Priority::P2, Priority::P3, Priority::P4, Priority::P4];
        assert_eq!(mapped, expected.map(Some));
        let renamed = severity("a", "was renamed", 10);
        assert_eq!(
            map(Some(&renamed), &[], &known(&own)).priority,
            Some(Priority::P1),
            "the account's rank counts"
        );
    }

    #[test]
    fn the_organisations_own_word_counts_first() {
        let chosen = [SeverityOverride { severity: "critical".into(), priority: Priority::P3 }];
        let got = map(Some(&severity("1", "Critical", 0)), &chosen, &[]);
        assert_eq!(got, mapping(Some(Priority::P3), "override"));
        let by_id = [SeverityOverride { severity: "1".into(), priority: Priority::P4 }];
        assert_eq!(map(Some(&severity("1", "x", 0)), &by_id, &[]).priority, Some(Priority::P4));
    }

    #[test]
    fn what_nobody_knows_has_no_priority() {
        assert_eq!(map(None, &[], &[]), mapping(None, "no-severity"));
        let unknown = mapping(None, "unknown-severity");
        assert_eq!(map(Some(&severity("9", "Weird", 3)), &[], &[]), unknown);
        let unranked = Severity { id: None, name: "Weird".into(), rank: None };
        assert_eq!(map(Some(&unranked), &[], &known(&[severity("a", "SEV-0", 1)])), unknown);
    }
}
