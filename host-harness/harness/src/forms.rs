//! The forms in which people type addresses, zones and references.
//!
//! | typed | meant |
//! |---|---|
//! | `localhost:8787`, `:8787`, `8787` | `127.0.0.1:8787` |
//! | `Berlin`, `europe/berlin`, `new york` | the one zone of that name: `Europe/Berlin`, `America/New_York` |
//! | `290`, `inc290` | `INC-290`; what is not incident.io's may be `#290` |
//!
//! Where several are meant, or none, the message names what comes nearest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use anyhow::Result;
use chrono_tz::{TZ_VARIANTS, Tz};
use koalr_host::contract::Incident;
use koalr_host::id::OrgId;
use koalr_host::port::Records;

/// An address to listen on.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let example = || format!("`{text}` is no address and port; write it as in 127.0.0.1:8787");
    let (name, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port: u16 = port.parse().map_err(|_| example())?;
    let here = |name: &str| name.is_empty() || name.eq_ignore_ascii_case("localhost");
    if here(name) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let found: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(|_| example())?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(example)
}

/// A time zone of the IANA database.
pub(crate) fn time_zone(text: &str) -> Result<Tz, String> {
    if let Ok(zone) = text.parse() {
        return Ok(zone);
    }
    let folded = |name: &str| name.to_ascii_lowercase().replace([' ', '-'], "_");
    let typed = folded(text.trim());
    if let Some(zone) = TZ_VARIANTS.iter().find(|zone| folded(zone.name()) == typed) {
        return Ok(*zone);
    }
    let city = |zone: &&Tz| zone.name().rsplit_once('/').is_some_and(|(_, city)| folded(city) == typed);
    let meant: Vec<Tz> = TZ_VARIANTS.iter().filter(city).copied().collect();
    match meant.as_slice() {
        [zone] => return Ok(*zone),
        [] => {}
        several => {
            let names: Vec<&str> = several.iter().map(|zone| zone.name()).collect();
            return Err(format!("there are several of that name; name one of {}", names.join(", ")));
        }
    }
    let likeness = |zone: &Tz| {
        let name = folded(zone.name());
        let city = name.rsplit_once('/').map_or(name.as_str(), |(_, city)| city);
        strsim::jaro_winkler(&typed, &name).max(strsim::jaro_winkler(&typed, city))
    };
    let nearest = TZ_VARIANTS.iter().map(|zone| (likeness(zone), zone));
    match nearest.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((likeness, zone)) if likeness > 0.85 => {
            Err(format!("there is no such time zone; did you mean {}?", zone.name()))
        }
        _ => Err("there is no such time zone; name one of the IANA database, as in Europe/Berlin".into()),
    }
}

/// The incident that a person means by this.
pub(crate) async fn find_incident(
    records: &dyn Records,
    org: &OrgId,
    typed: &str,
) -> Result<Option<Incident>> {
    for reference in references(typed) {
        if let Some(found) = records.find_incident(org, &reference).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// As it was typed, then what that may be short for.
fn references(typed: &str) -> Vec<String> {
    let number = typed.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let mut all = vec![typed.to_string()];
    if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
        let prefix = typed.strip_suffix(number).filter(|prefix| !prefix.is_empty()).unwrap_or("INC");
        all.push(format!("{prefix}-{number}"));
        if number == typed {
            all.push(format!("#{number}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_understood_as_people_type_it() {
        for (typed, meant) in [
            ("127.0.0.1:8787", "127.0.0.1:8787"),
            ("localhost:8787", "127.0.0.1:8787"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            (":8787", "127.0.0.1:8787"),
            ("8787", "127.0.0.1:8787"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(listen(typed).unwrap().to_string(), meant, "{typed}");
        }
        for typed in ["", "localhost", "localhost:http", "127.0.0.1", "127.0.0.1:99999", "no such host:80"] {
            assert!(listen(typed).unwrap_err().contains("as in 127.0.0.1:8787"), "{typed}");
        }
    }

    #[test]
    fn a_time_zone_is_understood_as_people_type_it() {
        for (typed, meant) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("New York", "America/New_York"),
            ("utc", "UTC"),
        ] {
            assert_eq!(time_zone(typed).map(|zone| zone.name()), Ok(meant), "{typed}");
        }
        for (typed, said) in [
            ("Europe/Belin", "Europe/Berlin"),
            ("Lousville", "Louisville"),
            ("Louisville", "America/Kentucky/Louisville"),
            ("Middle Earth", "as in Europe/Berlin"),
            ("", "as in Europe/Berlin"),
        ] {
            let error = time_zone(typed).unwrap_err();
            assert!(error.contains(said), "{typed}: {error}");
        }
    }

    #[test]
    fn a_reference_is_understood_as_people_type_it() {
        assert_eq!(references("290"), ["290", "INC-290", "#290"]);
        assert_eq!(references("inc290"), ["inc290", "inc-290"]);
        assert_eq!(references("INC-290"), ["INC-290"]);
        assert_eq!(references("01H4"), ["01H4"]);
        assert_eq!(references("inc"), ["inc"]);
    }
}
