//! Which of the account's timestamps tells what, and which might.

use koalr_host::contract::{AccountTimestamp, TimestampChoice};
use koalr_host::port::UnknownTimestamp;
use serde::Serialize;

use super::printable;

/// Timestamps that a hint names.
const NAMED: usize = 5;

/// Which timestamp of the account tells a moment, where that is set.
#[derive(Debug, Serialize)]
pub(crate) struct ChoiceView<'a> {
    started: Option<TimestampView<'a>>,
    acknowledged: Option<TimestampView<'a>>,
    resolved: Option<TimestampView<'a>>,
}

#[derive(Debug, Serialize)]
struct TimestampView<'a> {
    id: &'a str,
    /// Null if the account does not have it any more.
    name: Option<&'a str>,
}

pub(crate) fn choice<'a>(chosen: &'a TimestampChoice, known: &'a [AccountTimestamp]) -> ChoiceView<'a> {
    let view = |chosen: &'a Option<String>| {
        let id = chosen.as_deref()?;
        let name = known.iter().find(|known| known.id == id).map(|known| known.name.as_str());
        Some(TimestampView { id, name })
    };
    ChoiceView {
        started: view(&chosen.started),
        acknowledged: view(&chosen.acknowledged),
        resolved: view(&chosen.resolved),
    }
}

impl ChoiceView<'_> {
    /// A line for each that is set.
    pub(crate) fn lines(&self) -> Vec<String> {
        let moments =
            [("started", &self.started), ("acknowledged", &self.acknowledged), ("resolved", &self.resolved)];
        let line = |(moment, view): (&str, &Option<TimestampView<'_>>)| {
            let TimestampView { id, name } = view.as_ref()?;
            Some(match name {
                Some(name) => format!("{moment} is told by `{}`", printable(name)),
                None => format!("{moment} is told by {}, which the account does not have", printable(id)),
            })
        };
        moments.into_iter().filter_map(line).collect()
    }
}

/// Says which timestamps may be the end of incidents; none if there are none.
pub(crate) fn unknown(of: &[UnknownTimestamp]) -> Option<String> {
    let incidents = match of.iter().map(|one| one.incidents).sum() {
        0 => return None,
        1 => "1 incident ends".to_owned(),
        incidents => format!("{incidents} incidents end"),
    };
    let which = match of {
        [one] => format!("the timestamp `{}` lies before it", printable(&one.name)),
        several => {
            let named = several.iter().take(NAMED);
            let named = named.map(|one| format!("`{}` ({})", printable(&one.name), one.incidents));
            let mut named = named.collect::<Vec<_>>().join(", ");
            if several.len() > NAMED {
                named.push_str(", ...");
            }
            format!("a timestamp lies before it: {named}")
        }
    };
    Some(format!("{incidents} with a change of status, although {which}."))
}

/// The same for the command line, with what mends it.
pub(crate) fn advice(of: &[UnknownTimestamp], org: &str) -> Option<String> {
    let name = printable(&of.first()?.name);
    Some(format!(
        "{} If it tells when service was restored, say so: koalr-harness connect --org {org} --timestamp \
         \"resolved={name}\" (--preview shows what that changes).",
        unknown(of)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_counts_incidents_and_names_the_timestamps() {
        let one = |name: &str, incidents| UnknownTimestamp { name: name.into(), incidents };
        assert_eq!(unknown(&[]), None);
        assert_eq!(
            unknown(&[one("解決", 1)]).unwrap(),
            "1 incident ends with a change of status, although the timestamp `解決` lies before it."
        );
        assert_eq!(
            unknown(&[one("Over", 3), one("Calm\n", 2)]).unwrap(),
            "5 incidents end with a change of status, although a timestamp lies before it: `Over` (3), `Calm ` (2)."
        );
    }
}
