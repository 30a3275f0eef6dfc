//! Addresses as somebody may write them: what a page is asked is read or refused, and never ends the request.

#[path = "../../../../tests/mangle.rs"]
mod mangle;

use koalr_host::calendar;

use super::{incidents, mttr};

/// 2026-11-23.
const NOW: i64 = 1_795_392_000_000_000;

/// Whether an address was read.
fn asked(address: &[u8]) -> bool {
    let query: Vec<(String, String)> = form_urlencoded::parse(address).into_owned().collect();
    let mut read = false;
    if let Ok(question) = mttr::question(&query, NOW)
        && let Ok(asked) = question.query(NOW)
    {
        read = true;
        for edge in asked.edges {
            assert_ne!(calendar::label(edge, question.bucket, question.zone), "", "a bucket without a name");
        }
    }
    let list = incidents::Asked { query };
    assert!(list.page() > 0);
    list.filter(NOW).is_ok() && read
}

#[test]
fn whatever_an_address_asks_it_is_read_or_refused() {
    let addresses = [
        "days=90&zone=Europe/Berlin&bucket=week&clock=started&clock-end=first-resolution&priority=P1,P2&service=a",
        "days=custom&since=2026-10-01&until=2026-11-29&bucket=month&zone=Pacific%2FApia",
        "days=custom&since=2011-12-29&until=2012-01-02&bucket=day&zone=Pacific/Apia",
        "days=custom&since=-262143-01-01&until=-262142-01-01&bucket=month&zone=Pacific/Kiritimati",
        "days=custom&since=%2B262142-01-01&until=%2B262142-12-30&bucket=week&zone=America/New_York",
        "page=2&sort=-created&status=open&text=x%20y&since=2026-10-01&until=2026-11-29&source=opsgenie",
        "left-out=negative-duration&from=-9223372036854775808&to=9223372036854775807&clock=acknowledged&page=-1",
    ];
    let mut draw = fastrand::Rng::with_seed(7);
    let mut read = 0;
    for address in addresses {
        let _ = asked(address.as_bytes());
        for _ in 0..400 {
            read += usize::from(asked(&mangle::mangled(address.as_bytes(), &mut draw)));
        }
    }
    assert!(read > 100, "damage leaves something to read: {read}");
}
