//! Each webhook that arrived, what became of it, and what it said; replay of one, or of all that were given up.
//!
//! A signature is no secret, but worth nothing to a reader: headers that could hold one are hidden.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use koalr_host::contract::{Delivery, Timestamp};
use koalr_host::id::{DeliveryId, OrgId};
use koalr_host::port::{DeliveryFilter, DeliveryRow, DeliveryState};
use maud::{Markup, html};

use super::page::{Section, Trouble, address, ago, heading, live, segment, select, when, with};
use super::{Answer, Console, Stray, named};
use crate::view;

const ROWS: u32 = 50;
/// Characters of a body that are shown.
const SHOWN: usize = 200_000;

fn get<'a>(query: &'a [(String, String)], name: &str) -> &'a str {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

pub(super) async fn list(
    State(console): State<Console>,
    Path(org): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let org = match named(&org) {
        Ok(org) => org,
        Err(trouble) => return trouble.into_response(),
    };
    let body = listed(&console, &org, &query).await;
    console.show(&org, Section::Deliveries, "Deliveries", body).await
}

async fn listed(console: &Console, org: &OrgId, query: &[(String, String)]) -> Answer {
    let store = console.host.store();
    console.host.organisation(org).await?;
    let now = console.host.clock().now();
    let state = match get(query, "state") {
        "pending" => Some(DeliveryState::Pending),
        "done" => Some(DeliveryState::Done),
        "dead" => Some(DeliveryState::Dead),
        _ => None,
    };
    let page: u32 = get(query, "page").parse().unwrap_or(1).clamp(1, 1_000_000);
    let filter = DeliveryFilter {
        state,
        // One more than is shown tells whether there is another page.
        limit: Some(ROWS + 1),
        offset: (page - 1).saturating_mul(ROWS),
        ..DeliveryFilter::default()
    };
    let mut rows = store.deliveries(org, &filter).await?;
    let more = rows.len() > ROWS as usize;
    rows.truncate(ROWS as usize);
    let dead =
        DeliveryFilter { state: Some(DeliveryState::Dead), limit: Some(1), ..DeliveryFilter::default() };
    let any_dead = !store.deliveries(org, &dead).await?.is_empty();
    let (refused, strays) = (console.refusals.of(org), console.refusals.strays());
    let to = |page: u32| with(query, "page", Some(&page.to_string()));
    Ok(html! {
        (heading("Deliveries", html! {}))
        p.quiet { "Webhooks whose signature was good, newest first. Each is stored before it is answered, then applied." }
        form.filters method="get" data-brief {
            (select("state", "State", get(query, "state"), [
                ("", "All"), ("pending", "Waiting"), ("done", "Done"), ("dead", "Dead letters"),
            ]))
            button { "Filter" }
        }
        (live("list", html! {
            @if any_dead {
                form.alert method="post" action={ (address(org, Section::Deliveries)) "/replay-dead" } {
                    span { "Some webhooks were given up after their last attempt. After fixing the cause they can be applied again." }
                    button { "Replay all dead letters" }
                }
            }
            @if rows.is_empty() {
                section.card.empty {
                    @if state.is_some() || page > 1 { h2 { "No delivery matches" } p { a href=(address(org, Section::Deliveries)) { "Show all deliveries" } } }
                    @else {
                        h2 { "No webhook has arrived yet" }
                        p { "Until one does, incidents are kept current by polling every 5 minutes. " a href=(address(org, Section::Settings)) { "Set up the webhook" } "." }
                    }
                }
            } @else {
                (table(org, &rows, now))
                @if page > 1 || more {
                    nav.pager aria-label="Pages" {
                        @if page > 1 { a.button.plain rel="prev" href=(to(page - 1)) { "← Newer" } }
                        span { "Page " (page) }
                        @if more { a.button.plain rel="next" href=(to(page + 1)) { "Older →" } }
                    }
                }
            }
            @if !refused.is_empty() {
                section.card {
                    h2 { "Turned away lately" }
                    p.quiet { "Not stored, because anybody can send them; these are the last since this program was started." }
                    table.rows.small {
                        thead { tr { th scope="col" { "When" } th scope="col" { "Answered" } th scope="col" { "Why" } } }
                        tbody { @for refusal in &refused { tr {
                            td { (ago(refusal.at, now)) }
                            td.number { (refusal.status) }
                            td { (why(refusal.reason)) }
                        } } }
                    }
                }
            }
            (stray_table(&strays, now))
        }))
    })
}

/// Webhooks that came by no connected organisation's address, which somebody may have mistyped.
pub(super) fn stray_table(strays: &[Stray], now: Timestamp) -> Markup {
    html! {
        @if !strays.is_empty() {
            section.card {
                h2 { "Came by no organisation's address" }
                p.quiet { "Whichever organisation they were meant for. The address has the form /webhooks/plugin/organisation; Settings shows each one." }
                table.rows.small {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Path" } th scope="col" { "Why" } } }
                    tbody { @for stray in strays { tr {
                        td { (ago(stray.refusal.at, now)) }
                        td.break { code { (stray.path) } }
                        td { (why(stray.refusal.reason)) }
                    } } }
                }
            }
        }
    }
}

/// A reason of the door, for a person.
pub(super) fn why(reason: &'static str) -> String {
    let told = match reason {
        "bad_signature" => {
            "the signature is by another secret: save the endpoint's signing secret under Settings"
        }
        "missing_header" => "it bears no signature: it is not a webhook of the provider",
        "malformed_header" => "its signature headers cannot be read",
        "too_old" => "it was signed more than five minutes ago, or a clock is wrong",
        "too_new" => "it was signed more than five minutes from now: a clock is wrong",
        "no_secret" => "no signing secret is saved yet: save it under Settings",
        "too_large" => "it is larger than 512 kB",
        "not_json" => "it is not JSON",
        "not_post" => "it was not sent by POST: somebody opened the address",
        "unknown_path" => "the path is no webhook's address",
        "unknown_plugin" => "the path names no plugin of this host",
        "unknown_organisation" => "the path names no organisation that is connected",
        "broke_off" => "its body did not come to its end",
        "rate_limited" => "this organisation sends too many a second; the provider sends it again",
        "crowded" | "backlog" | "unavailable" => {
            "the host could not take it then; the provider sends it again"
        }
        other => other,
    };
    told.to_owned()
}

fn state(state: DeliveryState) -> Markup {
    match state {
        DeliveryState::Pending => html! { span.state.open { "waiting" } },
        DeliveryState::Done => html! { span.state.over { "done" } },
        DeliveryState::Dead => html! { span.state.dead { "dead letter" } },
    }
}

pub(super) fn table(org: &OrgId, rows: &[DeliveryRow], now: Timestamp) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Deliveries" { table.rows {
            thead { tr {
                th scope="col" { "Received" } th scope="col" { "Event" } th scope="col" { "Verification" } th scope="col" { "State" }
                th scope="col" { "Outcome" } th.number scope="col" { "Attempts" } th.number scope="col" { "Applied after" } th scope="col" { "Message" }
            } }
            tbody { @for row in rows { tr {
                td data-label="Received" { (ago(row.received_at, now)) }
                td data-label="Event" { code { (row.event_type) } }
                td data-label="Verification" { span.state.over { "genuine" } }
                td data-label="State" { (state(row.state)) }
                td data-label="Outcome" { (told(row)) }
                td.number data-label="Attempts" { (row.attempts) }
                td.number data-label="Applied after" { (took_or_dash(row)) }
                td data-label="Message" { a href={ (address(org, Section::Deliveries)) "/" (segment(row.id.as_str())) } { (row.id.as_str()) } }
            } } }
        } }
    }
}

fn told(row: &DeliveryRow) -> Markup {
    match (&row.outcome, &row.error) {
        (Some(outcome), _) => html! { (outcome) (altered(row)) },
        (None, Some(error)) => html! { span.warn { (error) } (altered(row)) },
        (None, None) => html! { span.quiet { "–" } (altered(row)) },
    }
}

fn altered(row: &DeliveryRow) -> Markup {
    html! { @if row.altered_at.is_some() { " " span.warn { "came again with another body" } } }
}

/// From its arrival, or from when a person had it applied again, to its end.
fn took(row: &DeliveryRow) -> Option<String> {
    let begun = row.replayed_at.unwrap_or(row.received_at);
    let ms = row.finished_at?.saturating_sub(begun).max(0) / 1_000;
    Some(if ms < 1_000 { format!("{ms} ms") } else { view::duration(ms as f64 / 1e3) })
}

fn took_or_dash(row: &DeliveryRow) -> Markup {
    html! { @match took(row) { Some(took) => (took), None => span.quiet { "–" } } }
}

pub(super) async fn one(State(console): State<Console>, Path((org, id)): Path<(String, String)>) -> Response {
    let org = match named(&org) {
        Ok(org) => org,
        Err(trouble) => return trouble.into_response(),
    };
    let body = shown(&console, &org, &id).await;
    console.show(&org, Section::Deliveries, &id, body).await
}

async fn shown(console: &Console, org: &OrgId, id: &str) -> Answer {
    let unknown = || Trouble::not_found(format!("{org} has no delivery {id}."));
    let id: DeliveryId = id.parse().map_err(|_| unknown())?;
    let Some((row, delivery)) = console.host.store().delivery(org, &id).await? else { return Err(unknown()) };
    let replay = format!("{}/{}/replay", address(org, Section::Deliveries), segment(id.as_str()));
    Ok(live(
        "delivery",
        html! {
            p.crumbs { a href=(address(org, Section::Deliveries)) { "Deliveries" } " / " (id.as_str()) }
            (heading(&row.event_type, html! {
                (state(row.state))
                @if row.state != DeliveryState::Pending {
                    form method="post" action=(replay) { button { "Replay" } }
                }
            }))
            section.card {
                dl {
                    dt { "Message" } dd { code { (id.as_str()) } }
                    dt { "Received" } dd { (when(row.received_at)) " UTC" }
                    dt { "Verification" } dd { "genuine: signed with this organisation's secret" }
                    dt { "Incident" } dd { @match &row.incident {
                        Some(incident) => a href={ (address(org, Section::Incidents)) "/" (segment(incident)) } { (incident) },
                        None => span.quiet { "names none" },
                    } }
                    dt { "Outcome" } dd { (told(&row)) }
                    dt { "Attempts" } dd { (row.attempts) }
                    @if let Some(at) = row.replayed_at { dt { "Replayed" } dd { (when(at)) " UTC" } }
                    dt { "Took" } dd { (took_or_dash(&row)) }
                    @if let Some(at) = row.finished_at { dt { "Finished" } dd { (when(at)) " UTC" } }
                    @if let Some(at) = row.altered_at { dt { "Came again" } dd { span.warn { "with another body, last " (when(at)) " UTC; that is ignored, because a message id stands for one message" } } }
                }
            }
            section.card { h2 { "Headers" } (headers(&delivery)) }
            section.card { h2 { "Body" } pre tabindex="0" role="region" aria-label="Body" { (body(&delivery.body)) } }
        },
    ))
}

fn headers(delivery: &Delivery) -> Markup {
    html! {
        table.rows.small {
            thead { tr { th scope="col" { "Name" } th scope="col" { "Value" } } }
            tbody { @for header in &delivery.headers { tr {
                td { code { (header.name) } }
                td.break { @if is_hidden(&header.name) { span.quiet { "hidden" } } @else { (String::from_utf8_lossy(&header.value)) } }
            } } }
        }
    }
}

fn is_hidden(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["signature", "authorization", "cookie", "token", "secret", "key"].iter().any(|word| name.contains(word))
}

/// As it arrived; JSON in lines.
fn body(bytes: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(bytes)
        .and_then(|value| serde_json::to_string_pretty(&value));
    let text = json.unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned());
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}\n… and more", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

pub(super) async fn replay(
    State(console): State<Console>,
    Path((org, id)): Path<(String, String)>,
) -> Answer<Redirect> {
    let org = named(&org)?;
    let unknown = || Trouble::not_found(format!("{org} has no delivery {id} that is done or was given up."));
    let delivery: DeliveryId = id.parse().map_err(|_| unknown())?;
    if !console.host.replay(&org, &delivery).await? {
        return Err(unknown());
    }
    Ok(Redirect::to(&format!("{}/{}", address(&org, Section::Deliveries), segment(&id))))
}

pub(super) async fn replay_dead(State(console): State<Console>, Path(org): Path<String>) -> Answer<Redirect> {
    let org = named(&org)?;
    console.host.replay_dead(&org).await?;
    Ok(Redirect::to(&address(&org, Section::Deliveries)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_timed_from_when_it_was_asked_for() {
        let second = 1_000_000;
        let mut row = DeliveryRow {
            id: "msg_1".parse().unwrap(),
            event_type: String::new(),
            incident: None,
            received_at: 0,
            state: DeliveryState::Pending,
            attempts: 1,
            outcome: None,
            error: None,
            finished_at: None,
            altered_at: None,
            replayed_at: None,
        };
        assert_eq!(took(&row), None);
        row.finished_at = Some(second / 4);
        assert_eq!(took(&row).as_deref(), Some("250 ms"));
        (row.replayed_at, row.finished_at) = (Some(47 * second), Some(47 * second + 300_000));
        assert_eq!(took(&row).as_deref(), Some("300 ms"));
    }

    #[test]
    fn what_could_hold_a_secret_is_hidden() {
        for name in ["webhook-signature", "Svix-Signature", "Authorization", "cookie", "x-api-key"] {
            assert!(is_hidden(name), "{name}");
        }
        assert!(!is_hidden("webhook-id") && !is_hidden("content-type"));
    }

    #[test]
    fn a_body_is_shown_whatever_it_is() {
        assert_eq!(body(br#"{"a":1}"#), "{\n  \"a\": 1\n}");
        assert_eq!(body(b"\xff no JSON"), "\u{fffd} no JSON");
        assert!(body(&vec![b'x'; SHOWN + 10]).ends_with("… and more"));
    }
}
