//! Whose webhooks come by a path, whatever a person or a proxy made of it on its way here.
//!
//! | path | read as |
//! |---|---|
//! | `/webhooks/incidentio/acme` | that |
//! | `/webhooks/incidentio/acme/`, `//webhooks//incidentio/acme` | the same: empty segments count for nothing |
//! | `/webhooks/incidentio/%61cme`, `/webhooks%2Fincidentio/acme` | the same: what is percent-encoded is decoded, once |
//! | `/Webhooks/IncidentIO/acme` | the same: these two are this program's words |
//! | `/webhooks/incidentio/ACME` | another organisation: its name keeps its case |
//! | `/webhooks`, `/webhooks/acme`, `/webhooks/incidentio/acme/x` | nobody's |
//! | `/webhook/incidentio/acme`, `/` | not a webhook's |

use percent_encoding::percent_decode_str;

/// A path below `/webhooks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Below {
    /// Of this form: `/webhooks/{plugin}/{org}`.
    Address { plugin: String, org: String },
    /// Of another.
    Elsewhere,
}

/// What a request's path means. None if it does not lie below `/webhooks`.
pub(crate) fn below(path: &str) -> Option<Below> {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.next().filter(|first| first.eq_ignore_ascii_case("webhooks"))?;
    Some(match (segments.next(), segments.next(), segments.next()) {
        (Some(plugin), Some(org), None) => {
            Below::Address { plugin: plugin.to_ascii_lowercase(), org: org.to_owned() }
        }
        _ => Below::Elsewhere,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_in_one_way_however_it_is_written() {
        let acme = || Some(Below::Address { plugin: "incidentio".into(), org: "acme".into() });
        for path in [
            "/webhooks/incidentio/acme",
            "/webhooks/incidentio/acme/",
            "/webhooks/incidentio/acme//",
            "//webhooks/incidentio/acme",
            "/webhooks//incidentio///acme",
            "/webhooks/incidentio/%61cme",
            "/webhooks%2fincidentio/acme%2F",
            "/%77ebhooks/incidentio/acme",
            "/Webhooks/IncidentIO/acme",
        ] {
            assert_eq!(below(path), acme(), "{path}");
        }
        let other = Some(Below::Address { plugin: "incidentio".into(), org: "ACME".into() });
        assert_eq!(below("/webhooks/incidentio/ACME"), other, "a name keeps its case");
        let twice = Some(Below::Address { plugin: "incidentio".into(), org: "%61cme".into() });
        assert_eq!(below("/webhooks/incidentio/%2561cme"), twice, "it is decoded once");
        for path in [
            "/webhooks",
            "/webhooks/",
            "/webhooks/acme",
            "/webhooks/incidentio/",
            "/webhooks/incidentio/acme/x",
            "/webhooks/incidentio/../acme",
            "/webhooks/incidentio/acme%2fx",
        ] {
            assert_eq!(below(path), Some(Below::Elsewhere), "{path}");
        }
        for path in [
            "/",
            "",
            "/webhook/incidentio/acme",
            "/o/webhooks/incidentio/acme",
            "/webhooksx/a/b",
            "/\u{fffd}",
        ] {
            assert_eq!(below(path), None, "{path}");
        }
    }
}
