//! What a person names in a filter. A name that leads to nothing is refused with the nearest there are: an empty answer
//! would look like a quiet year.

use koalr_host::Host;
use koalr_host::id::OrgId;
use koalr_host::migration::SOURCES;
use koalr_host::port::{Organisations, Reports, StoreError, normalised};

/// Names among which the nearest are looked for.
const LOOKED_THROUGH: u32 = 10_000;
/// Names that are offered in place of one that leads to nothing.
const OFFERED: usize = 3;
/// From 0, nothing in common, to 1, the same.
const NEAR: f64 = 0.7;

/// A filter names what there is not.
#[derive(Debug, thiserror::Error)]
#[error("there is no {what} `{name}`; {}", advice(.nearest, .what))]
pub(crate) struct NoSuch {
    what: &'static str,
    name: String,
    /// The nearest first.
    nearest: Vec<String>,
}

fn advice(nearest: &[String], what: &str) -> String {
    match nearest {
        [] => format!("no stored {what} has a similar name"),
        [one] => format!("did you mean `{one}`?"),
        several => format!("did you mean one of `{}`?", several.join("`, `")),
    }
}

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error(transparent)]
    NoSuch(#[from] NoSuch),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The services that these names lead to, as reports call them.
pub(crate) async fn services(
    store: &(impl Reports + ?Sized),
    org: &OrgId,
    names: &[String],
) -> Result<Vec<String>, FilterError> {
    let mut services = Vec::new();
    for name in names {
        let found = store.services_named(org, name).await?;
        if found.is_empty() {
            let known = store.service_names(org, LOOKED_THROUGH).await?;
            let nearest = nearest(name, &known);
            return Err(NoSuch { what: "service", name: name.clone(), nearest }.into());
        }
        services.extend(found);
    }
    Ok(services)
}

/// The sources that these names are of.
pub(crate) async fn sources(host: &Host, org: &OrgId, names: &[String]) -> Result<Vec<String>, FilterError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let stored = host.store().census(org).await?.into_iter().map(|one| one.source);
    let own = host.plugin().descriptor().name.clone();
    let mut known: Vec<String> =
        std::iter::once(own).chain(SOURCES.map(str::to_owned)).chain(stored).collect();
    known.sort();
    known.dedup();
    let find = |name: &String| {
        let found = known.iter().find(|known| normalised(known) == normalised(name));
        found.cloned().ok_or_else(|| NoSuch { what: "source", name: name.clone(), nearest: known.clone() })
    };
    Ok(names.iter().map(find).collect::<Result<_, NoSuch>>()?)
}

/// What to say of an organisation that is not there; none if no other has a similar name.
pub(crate) async fn nearest_organisations(
    store: &(impl Organisations + ?Sized),
    org: &OrgId,
) -> Result<Option<NoSuch>, StoreError> {
    let known: Vec<String> =
        store.organisations().await?.into_iter().map(|organisation| organisation.id.to_string()).collect();
    let nearest = nearest(org.as_str(), &known);
    let named = || NoSuch { what: "organisation", name: org.to_string(), nearest: nearest.clone() };
    Ok((!nearest.is_empty()).then(named))
}

/// The known names that are most like this one.
fn nearest(name: &str, known: &[String]) -> Vec<String> {
    let wanted = normalised(name);
    let likeness = |known: &str| {
        let known = normalised(known);
        let within = wanted.len() > 2 && known.contains(&wanted);
        if within { 1.0 } else { strsim::jaro_winkler(&wanted, &known) }
    };
    let all = known.iter().map(|known| (likeness(known), known));
    let mut near: Vec<(f64, &String)> = all.filter(|(likeness, _)| *likeness >= NEAR).collect();
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    near.into_iter().take(OFFERED).map(|(_, name)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_like_what_was_typed() {
        let known = ["Checkout", "Payments API", "Search", "Search Indexer"].map(str::to_owned);
        let offered = |name: &str| nearest(name, &known).join(", ");
        assert_eq!(offered("chekout"), "Checkout");
        assert_eq!(offered("payments"), "Payments API");
        assert_eq!(offered("SEARCH_"), "Search, Search Indexer");
        assert_eq!(offered("xyz"), "");
    }

    #[test]
    fn a_name_that_leads_to_nothing_is_told_with_what_to_type() {
        let told = |nearest: &[&str]| {
            let nearest = nearest.iter().map(ToString::to_string).collect();
            NoSuch { what: "service", name: "nosuch".into(), nearest }.to_string()
        };
        assert_eq!(told(&["a"]), "there is no service `nosuch`; did you mean `a`?");
        assert_eq!(told(&["a", "b"]), "there is no service `nosuch`; did you mean one of `a`, `b`?");
        let none = "there is no service `nosuch`; no stored service has a similar name";
        assert_eq!(told(&[]), none);
    }
}
