//! The provider's severity on the host's scale, and by which rule.
//!
//! An organisation names its severities as it likes and has as many as it likes. So its own word counts first,
//! then the four documented names, then the place among its own severities. Nothing is guessed beyond that: a
//! severity that none of these knows has no priority, and the answer says so.

use crate::model::{Priority, Severity, SeverityOverride};

/// The documented names: <https://docs.koalr.com>, "Severity mapping".
const NAMES: [(&str, Priority); 4] = [
    ("critical", Priority::P1),
    ("major", Priority::P2),
    ("minor", Priority::P3),
    ("informational", Priority::P4),
];

/// A priority, or none, and the name of the rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// On the host's scale.
    pub priority: Option<Priority>,
    /// `override`, `name`, `rank`, or, without a priority, `no-severity` or `unknown-severity`.
    pub rule: &'static str,
}

/// Maps a severity. `known` are the organisation's own severities, by which a rank is placed.
pub fn map(severity: Option<&Severity>, overrides: &[SeverityOverride], known: &[Severity]) -> Mapping {
    let Some(severity) = severity else {
        return Mapping { priority: None, rule: "no-severity" };
    };
    if let Some(chosen) = overrides.iter().find(|chosen| is_named(severity, &chosen.severity)) {
        return Mapping { priority: Some(chosen.priority), rule: "override" };
    }
    let name = severity.name.trim();
    if let Some((_, priority)) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Mapping { priority: Some(*priority), rule: "name" };
    }
    match by_rank(severity, known) {
        Some(priority) => Mapping { priority: Some(priority), rule: "rank" },
        None => Mapping { priority: None, rule: "unknown-severity" },
    }
}

fn is_named(severity: &Severity, wanted: &str) -> bool {
    severity.id.as_deref() == Some(wanted) || severity.name.trim().eq_ignore_ascii_case(wanted.trim())
}

/// The worst rank is P1, the next distinct one P2, then P3; whatever is below is P4.
fn by_rank(severity: &Severity, known: &[Severity]) -> Option<Priority> {
    let own = known.iter().find(|other| other.id.is_some() && other.id == severity.id);
    let rank = own.and_then(|own| own.rank).or(severity.rank)?;
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

    #[test]
    fn the_documented_names_map_whatever_their_case() {
        for (name, priority) in [
            ("Critical", Priority::P1),
            ("MAJOR", Priority::P2),
            (" minor ", Priority::P3),
            ("informational", Priority::P4),
        ] {
            let mapping = map(Some(&severity("1", name, 0)), &[], &[]);
            assert_eq!(mapping, Mapping { priority: Some(priority), rule: "name" }, "{name}");
        }
    }

    #[test]
    fn other_names_map_by_their_place_among_the_organisations_own() {
        let known = [
            severity("a", "SEV-0", 50),
            severity("b", "SEV-1", 40),
            severity("b2", "SEV-1 security", 40),
            severity("c", "SEV-2", 30),
            severity("d", "SEV-3", 20),
            severity("e", "SEV-4", 10),
        ];
        let mapped: Vec<_> = known.iter().map(|s| map(Some(s), &[], &known).priority).collect();
        let expected = [Priority::P1, Priority::P2, Priority::P2, Priority::P3, Priority::P4, Priority::P4];
        assert_eq!(mapped, expected.map(Some));
        let renamed = severity("a", "was renamed", 10);
        assert_eq!(
            map(Some(&renamed), &[], &known).priority,
            Some(Priority::P1),
            "the account's rank counts"
        );
    }

    #[test]
    fn the_organisations_own_word_counts_first() {
        let chosen = [SeverityOverride { severity: "critical".into(), priority: Priority::P3 }];
        let mapping = map(Some(&severity("1", "Critical", 0)), &chosen, &[]);
        assert_eq!(mapping, Mapping { priority: Some(Priority::P3), rule: "override" });
        let by_id = [SeverityOverride { severity: "1".into(), priority: Priority::P4 }];
        assert_eq!(map(Some(&severity("1", "x", 0)), &by_id, &[]).priority, Some(Priority::P4));
    }

    #[test]
    fn what_nobody_knows_has_no_priority() {
        assert_eq!(map(None, &[], &[]), Mapping { priority: None, rule: "no-severity" });
        let unknown = Mapping { priority: None, rule: "unknown-severity" };
        assert_eq!(map(Some(&severity("9", "Weird", 3)), &[], &[]), unknown);
        let unranked = Severity { id: None, name: "Weird".into(), rank: None };
        assert_eq!(map(Some(&unranked), &[], &[severity("a", "SEV-0", 1)]), unknown);
    }
}
