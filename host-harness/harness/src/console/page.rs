//! What all pages share: the frame, times that read well, badges, links that keep a query, and the page that says
//! what went wrong and what to do about it.
//!
//! Everything is text until maud has escaped it. There is no inline script and no inline style: the content security
//! policy forbids both.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use koalr_host::contract::{DerivedTime, GuestError, Phase, Priority, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::port::StoreError;
use koalr_host::{CallError, HostError, passes};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::filters::FilterError;
use crate::view;

/// A page in its frame.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    /// Whose; none for what concerns the host.
    pub(super) org: Option<&'a OrgId>,
    /// Some organisations, for the switcher, and how many there are.
    pub(super) organisations: (Vec<OrgId>, u64),
    pub(super) here: Section,
    /// Whether somebody signed in, who can sign out.
    pub(super) signed_in: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Incidents,
    Mttr,
    Deliveries,
    Settings,
    Migration,
    Host,
    Connect,
}

impl Section {
    /// Of an organisation, in the order of the navigation.
    const OF_ORGANISATION: [Section; 5] =
        [Section::Incidents, Section::Mttr, Section::Deliveries, Section::Settings, Section::Migration];

    fn name(self) -> &'static str {
        match self {
            Section::Incidents => "Incidents",
            Section::Mttr => "DORA MTTR",
            Section::Deliveries => "Deliveries",
            Section::Settings => "Settings",
            Section::Migration => "Opsgenie Migration",
            Section::Host => "Host",
            Section::Connect => "Connect",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Section::Incidents => "incidents",
            Section::Mttr => "mttr",
            Section::Deliveries => "deliveries",
            Section::Settings => "settings",
            Section::Migration => "migration",
            Section::Host => "host",
            Section::Connect => "connect",
        }
    }
}

/// The address of one of an organisation's pages.
pub(super) fn address(org: &OrgId, section: Section) -> String {
    format!("/o/{org}/{}", section.path())
}

impl<'a> Page<'a> {
    /// One that belongs to nobody, and from which nobody goes anywhere.
    pub(super) fn bare(title: &'a str) -> Page<'a> {
        Page { title, org: None, organisations: (vec![], 0), here: Section::Connect, signed_in: false }
    }

    pub(super) fn render(&self, body: Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) @if let Some(org) = self.org { " · " (org) } " · Koalr harness" }
                    link rel="stylesheet" href="/assets/console.css";
                    link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                    script src="/assets/console.js" defer {}
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header.top {
                        a.brand href="/" { span.mark aria-hidden="true" {} "Koalr harness" }
                        (self.switcher())
                        (self.navigation())
                        @if self.signed_in {
                            form.out method="post" action="/sign-out" { button.plain { "Sign out" } }
                        }
                    }
                    main #main tabindex="-1" { (body) }
                }
            }
        }
    }

    fn switcher(&self) -> Markup {
        let here = match self.here {
            Section::Host | Section::Connect => Section::Incidents,
            section => section,
        };
        html! {
            details.switch {
                summary { span.quiet { "Organisation " } strong { @match self.org {
                    Some(org) => (org),
                    None => "choose",
                } } }
                ul {
                    @for org in &self.organisations.0 {
                        li { a href=(address(org, here)) aria-current=[(Some(org) == self.org).then_some("true")] { (org) } }
                    }
                    @if self.organisations.1 > self.organisations.0.len() as u64 { li { a href="/host#organisations" { "All " (self.organisations.1) "…" } } }
                    li { a href="/connect" { "Connect another organisation…" } }
                }
            }
        }
    }

    fn navigation(&self) -> Markup {
        let current = |section| (section == self.here).then_some("page");
        html! {
            nav aria-label="Main" {
                @if let Some(org) = self.org {
                    @for section in Section::OF_ORGANISATION {
                        a href=(address(org, section)) aria-current=[current(section)] { (section.name()) }
                    }
                }
                a href="/host" aria-current=[current(Section::Host)] { "Host" }
            }
        }
    }
}

/// A heading with what belongs beside it.
pub(super) fn heading(title: &str, beside: Markup) -> Markup {
    html! { div.heading { h1 { (title) } (beside) } }
}

/// A piece of a page that follows what happens while it is open.
pub(super) fn live(id: &str, body: Markup) -> Markup {
    html! { div id=(id) data-live="brisk" { (body) } }
}

/// The same of what takes some work to make.
pub(super) fn live_slowly(id: &str, body: Markup) -> Markup {
    html! { div id=(id) data-live="slow" { (body) } }
}

/// How long ago, or until then; the exact instant on hover and for machines.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    let seconds = now.saturating_sub(at) as f64 / 1e6;
    let text = match seconds {
        s if s > -1.0 && s < 1.0 => "now".to_owned(),
        s if s < 0.0 => format!("in {}", view::duration((-s).floor())),
        s => format!("{} ago", view::duration(s.floor())),
    };
    html! { time datetime=(view::instant(at)) title=(exact(at)) { (text) } }
}

/// The instant itself, to the second.
pub(super) fn when(at: Timestamp) -> Markup {
    html! { time datetime=(view::instant(at)) title=(exact(at)) { (view::short_instant(at)) } }
}

fn exact(at: Timestamp) -> String {
    format!("{} UTC", view::instant(at).trim_end_matches('Z').replace('T', " "))
}

/// A time with the rule that it was derived by.
pub(super) fn derived(time: &Option<DerivedTime>) -> Markup {
    match time {
        None => html! { span.quiet { "unknown" } },
        Some(time) => {
            html! { (when(time.at)) " UTC " span.rule title="the rule that gave this time" { (time.rule) } }
        }
    }
}

pub(super) fn priority(priority: Option<Priority>) -> Markup {
    match priority {
        None => html! { span.quiet title="no priority" { "–" } },
        Some(p) => {
            html! { span class={ "badge " (view::priority(p).to_lowercase()) } { (view::priority(p)) } }
        }
    }
}

pub(super) fn phase(phase: Phase, status: &str) -> Markup {
    let kind = match phase {
        Phase::Triage | Phase::Active | Phase::Paused => "open",
        Phase::Resolved | Phase::Closed => "over",
        Phase::Declined | Phase::Canceled | Phase::Merged | Phase::Unknown => "void",
    };
    html! { span class={ "state " (kind) } title=(view::phase(phase)) { (status) } }
}

/// A link to the same page with one value of its query changed, or taken away.
pub(super) fn with(query: &[(String, String)], name: &str, value: Option<&str>) -> String {
    // What changes the list begins it anew.
    let kept = query.iter().filter(|(key, of)| key != name && key != "page" && !of.is_empty());
    let mut out = encoded(kept.map(|(key, value)| (key.as_str(), value.as_str())));
    if let Some(value) = value {
        let more = encoded(std::iter::once((name, value)));
        out = if out.is_empty() { more } else { format!("{out}&{more}") };
    }
    format!("?{out}")
}

/// As an address's query.
pub(super) fn encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// One piece of an address's path.
pub(super) fn segment(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A choice among several.
pub(super) fn select<'a>(
    name: &str,
    label: &str,
    chosen: &str,
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Markup {
    html! {
        label { span { (label) } select name=(name) {
            @for (value, text) in options {
                option value=(value) selected[value == chosen] { (text) }
            }
        } }
    }
}

/// Wider than a narrow screen, where it is moved sideways.
pub(super) fn svg(label: &str, image: String) -> Markup {
    // Made by this program, from text that it escaped.
    html! { div.chart tabindex="0" role="region" aria-label=(label) { (PreEscaped(image)) } }
}

/// What a person is told when something cannot be done: what happened, and what to do.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) what: String,
    pub(super) advice: String,
}

impl Trouble {
    pub(super) fn new(status: StatusCode, what: impl Into<String>, advice: impl Into<String>) -> Trouble {
        Trouble { status, what: what.into(), advice: advice.into() }
    }

    pub(super) fn not_found(what: impl Into<String>) -> Trouble {
        Trouble::new(StatusCode::NOT_FOUND, what, "Go back to the list, or check the address.")
    }

    pub(super) fn invalid(what: impl Into<String>, advice: impl Into<String>) -> Trouble {
        Trouble::new(StatusCode::UNPROCESSABLE_ENTITY, what, advice)
    }

    pub(super) fn body(&self) -> Markup {
        html! {
            section.card.trouble role="alert" {
                h1 { (self.what) }
                p { (self.advice) }
                p.quiet { "Status " (self.status.as_u16()) }
            }
        }
    }
}

impl From<HostError> for Trouble {
    fn from(error: HostError) -> Trouble {
        let text = sentence(&error.to_string());
        match error {
            HostError::UnknownOrganisation(_) => {
                Trouble::new(StatusCode::NOT_FOUND, text, "Choose another organisation, or connect this one.")
            }
            HostError::Disconnected(_) => Trouble::new(
                StatusCode::CONFLICT,
                text,
                "Under Settings it can be connected again; what was synced is kept.",
            ),
            HostError::Store(error) => Trouble::from(error),
            HostError::Call(CallError::Saturated(_)) => Trouble::new(
                StatusCode::SERVICE_UNAVAILABLE,
                text,
                "The host is busy. Nothing was done; try again in a moment.",
            ),
            HostError::Call(_) => Trouble::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                text,
                "The component was stopped; its log says more, and the next call starts afresh.",
            ),
            HostError::Plugin(GuestError::Unauthorized(_) | GuestError::Forbidden(_)) => {
                Trouble::invalid(text, "Paste another API key; what was connected before goes on as it was.")
            }
            HostError::Plugin(error) if passes(&error) => Trouble::new(
                StatusCode::SERVICE_UNAVAILABLE,
                text,
                "Nothing was changed; try again in a moment.",
            ),
            _ => Trouble::invalid(text, "Correct what it names, then try again."),
        }
    }
}

impl From<FilterError> for Trouble {
    fn from(error: FilterError) -> Trouble {
        match error {
            FilterError::Store(error) => Trouble::from(error),
            FilterError::NoSuch(error) => {
                Trouble::invalid(sentence(&error.to_string()), "Correct the name, or take that filter away.")
            }
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        let text = sentence(&error.to_string());
        let advice = match error {
            StoreError::Unavailable(_) => "It usually passes: try again in a moment.",
            StoreError::Full(_) => "Make room on the disk, then try again.",
            StoreError::Corrupt(_) => "Stop the program and restore the database from a backup.",
            StoreError::Gone(_) => "The program ends now; do what this says before you start it again.",
            StoreError::Invalid(_) | StoreError::Conflict => "Load the page again, then repeat what you did.",
        };
        Trouble::new(StatusCode::SERVICE_UNAVAILABLE, text, advice)
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        // Without organisations: what went wrong may be that they cannot be read.
        let page = Page::bare("Error");
        (self.status, Html(page.render(self.body()).into_string())).into_response()
    }
}

/// With a capital, and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    let text = format!("{first}{}", chars.as_str());
    if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}
