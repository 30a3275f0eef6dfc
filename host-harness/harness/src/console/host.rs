//! The health of the host: what it runs, what waits, which calls ended other than well, and every organisation.

use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use koalr_host::port::{JobKind, OrganisationState};
use maud::html;
use serde::Deserialize;

use super::deliveries::stray_table;
use super::page::{Section, address, ago, heading, live};
use super::{Answer, Console};
use crate::verbs::show::state as state_name;

/// Organisations that are listed; who looks for another one gives a part of its name.
const LISTED: u32 = 100;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    find: String,
}

pub(super) async fn page(State(console): State<Console>, Query(asked): Query<Asked>) -> Response {
    let page = console.page("Host", None, Section::Host).await;
    match shown(&console, asked.find.trim(), page.organisations.1).await {
        Ok(body) => Html(page.render(body).into_string()).into_response(),
        Err(trouble) => trouble.into_response(),
    }
}

async fn shown(console: &Console, find: &str, connected: u64) -> Answer {
    let host = &console.host;
    let (store, now) = (host.store(), host.clock().now());
    let depth = store.depth().await?;
    let usage = host.usage();
    let (descriptor, surface) = (host.plugin().descriptor(), host.plugin().surface());
    let mut organisations = Vec::new();
    let (found, total) = store.find_organisations(find, LISTED).await?;
    for organisation in found {
        let poll = store.job(&organisation.id, JobKind::Poll).await?;
        organisations.push((organisation, poll));
    }
    Ok(html! {
        (heading("Host", html! { a.button.plain href="/metrics" { "Metrics" } }))
        (live("health", html! {
            section.figures aria-label="Health" {
                div.figure { span.name { "Webhooks waiting" } strong { (depth.pending) } }
                div.figure { span.name { "Dead letters" } strong { (depth.dead) } }
                div.figure { span.name { "Calls" } strong { (usage.calls) } p.quiet { "since " (ago(console.started_at, now)) } }
                div.figure { span.name { "Traps" } strong { (usage.traps) } }
                div.figure { span.name { "Limits hit" } strong { (usage.limited) } p.quiet { "time, memory or computing" } }
                div.figure { span.name { "Turned away" } strong { (usage.saturated) } p.quiet { "no slot was free in time" } }
            }
            div.columns {
                section.card {
                    h2 { "Component" }
                    dl {
                        dt { "Name" } dd { (descriptor.display_name) " " (descriptor.version) }
                        dt { "Size" } dd { (host.plugin().size()) " bytes" }
                        dt { "May call" } dd { (descriptor.origins.join(", ")) }
                        dt { "Imports" } dd { (surface.imports.len()) " interfaces" details { summary { "Which" } ul.plain { @for import in &surface.imports { li { code { (import) } } } } } }
                    }
                }
                section.card #organisations {
                    h2 { "Organisations" }
                    @if connected > LISTED.into() || !find.is_empty() {
                        form.filters method="get" role="search" {
                            label.wide { span { "Part of the name" } input type="search" name="find" value=(find); }
                            button { "Find" }
                        }
                        p.quiet { (total) " of " (connected)
                            @if total > LISTED.into() { ", the first " (LISTED) " by name" } }
                    }
                    @if connected == 0 { p.quiet { "None is connected. " a href="/connect" { "Connect one" } "." } }
                    @else if organisations.is_empty() { p.quiet { "None has that in its name. " a href="/host#organisations" { "Show all" } "." } }
                    @else {
                        table.rows.small {
                            thead { tr { th scope="col" { "Organisation" } th scope="col" { "State" } th scope="col" { "Last poll" } } }
                            tbody { @for (organisation, poll) in &organisations { tr {
                                th scope="row" { a href=(address(&organisation.id, Section::Settings)) { (organisation.id) } }
                                td { span class={ "state " (if organisation.state == OrganisationState::Live { "over" } else { "void" }) } { (state_name(organisation.state)) } }
                                td { @match poll.as_ref().and_then(|job| job.succeeded_at) { Some(at) => (ago(at, now)), None => span.quiet { "never" } }
                                    @if poll.as_ref().is_some_and(|job| job.error.is_some()) { " " span.warn { "failing" } } }
                            } } }
                        }
                    }
                }
            }
            (stray_table(&console.refusals.strays(), now))
        }))
    })
}
