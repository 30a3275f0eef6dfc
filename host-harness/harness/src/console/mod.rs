//! The console: what the integration does, in a browser.
//!
//! Pages are made on the server and work without script; the script only keeps an open page current, copies an address
//! and sends a form when a choice is made. Nothing here decides anything about incidents: it shows what the component
//! stored and what it computes.
//!
//! **Who may use it.** On a loopback address everybody on the machine, by a loopback name: a page elsewhere that has
//! its own name resolve to this machine is refused. On any other address only who gives the token that `serve` was
//! started with; without one the console is not served there at all. Who gave it has a session, which ends after twelve
//! hours, at sign-out and with this process. What changes something must come from a page of
//! the console itself, by the browser's word; a request that does not say so is refused.

mod access;
mod deliveries;
mod host;
mod incidents;
mod migration;
mod mttr;
mod page;
mod refused;
mod settings;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Form, OriginalUri, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use koalr_host::Host;
use koalr_host::id::OrgId;
use koalr_host::port::OriginMapping;
use koalr_host::vault::Secret;
use maud::{Markup, html};
use serde::Deserialize;
use tokio_stream::Stream;

use access::{Access, Refused, SESSION};
use page::{Page, Section, Trouble, address};
pub(crate) use refused::{Refusal, Refusals, Stray};

/// What the console does not get by itself.
pub(crate) struct Setup {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What a person has to know to use it; needed beyond loopback.
    pub(crate) token: Option<Secret>,
    /// Where webhooks reach this program from outside, if not at that address.
    pub(crate) public_url: Option<String>,
    /// For development: where new organisations' requests go instead.
    pub(crate) origin_map: Vec<OriginMapping>,
}

/// Files that a person uploads for a migration.
const LARGEST_FORM: usize = 64 << 20;
/// Organisations that the switcher offers; the host's page finds the others.
const SWITCHABLE: u32 = 12;
/// How often an open page asks whether anything happened.
const LOOK: Duration = Duration::from_millis(500);
/// After how many looks an open page is told to look anyway, because running times run.
const ANYWAY: u32 = 60;

#[derive(Clone)]
struct Console(Arc<Shared>);

struct Shared {
    host: Host,
    setup: Setup,
    access: Access,
    migrations: Arc<migration::Desk>,
    refusals: Arc<Refusals>,
    started_at: i64,
}

impl std::ops::Deref for Console {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

type Answer<T = Markup> = Result<T, Trouble>;

/// Whether there is a console. Without a token only on an address of this machine, and not where webhooks come from
/// outside by way of a proxy: whoever reaches the proxy would reach the console as if from this machine.
pub(crate) fn is_served(address: SocketAddr, token: bool, public: bool) -> bool {
    token || (address.ip().is_loopback() && !public)
}

/// The console's routes; none where nobody may use them.
pub(crate) fn router(host: Host, setup: Setup, refusals: Arc<Refusals>) -> Router {
    if !is_served(setup.address, setup.token.is_some(), setup.public_url.is_some()) {
        return Router::new();
    }
    let started_at = host.clock().now();
    let (access, migrations) = (Access::default(), Arc::default());
    let console = Console(Arc::new(Shared { host, setup, access, migrations, refusals, started_at }));
    let behind = Router::new()
        .route("/", get(start))
        .route("/live", get(live))
        .route("/host", get(host::page))
        .route("/connect", get(settings::new).post(settings::connect_new))
        .route("/o/{org}/settings", get(settings::page))
        // A form that is refused is answered at its own address, which an open page and a reload ask for again.
        .route("/o/{org}/settings/key", get(settings::page).post(settings::reconnect))
        .route("/o/{org}/settings/secret", get(settings::page).post(settings::secret))
        .route("/o/{org}/settings/timestamps", get(settings::page).post(settings::timestamps))
        .route("/o/{org}/settings/severities", get(settings::page).post(settings::severities))
        .route("/o/{org}/settings/private", get(settings::page).post(settings::private))
        .route("/o/{org}/settings/people", get(settings::page).post(settings::people))
        .route("/o/{org}/settings/services", get(settings::page).post(settings::services))
        .route("/o/{org}/settings/disconnect", get(settings::page).post(settings::disconnect))
        .route("/o/{org}/incidents", get(incidents::list))
        .route("/o/{org}/incidents.csv", get(incidents::csv))
        .route("/o/{org}/incidents/{name}", get(incidents::one))
        .route("/o/{org}/mttr", get(mttr::page))
        .route("/o/{org}/migration", get(migration::page))
        .route("/o/{org}/migration/plan", get(migration::page).post(migration::plan))
        .route("/o/{org}/migration/run", get(migration::page).post(migration::run))
        .route("/o/{org}/migration/forget", get(migration::page).post(migration::forget))
        .route("/o/{org}/migration/undo", get(migration::page).post(migration::undo))
        .route("/o/{org}/deliveries", get(deliveries::list))
        .route("/o/{org}/deliveries/replay-dead", post(deliveries::replay_dead))
        .route("/o/{org}/deliveries/{id}", get(deliveries::one))
        .route("/o/{org}/deliveries/{id}/replay", post(deliveries::replay))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn_with_state(console.clone(), signed_in));
    behind
        .route("/sign-in", get(sign_in_page).post(sign_in))
        .route("/sign-out", post(sign_out))
        .route(
            "/assets/console.css",
            get(|| asset("text/css; charset=utf-8", include_str!("assets/console.css"))),
        )
        .route(
            "/assets/console.js",
            get(|| asset("text/javascript; charset=utf-8", include_str!("assets/console.js"))),
        )
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", include_str!("assets/icon.svg"))))
        .fallback(nothing_here)
        .layer(from_fn_with_state(console.clone(), guard))
        .with_state(console)
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn nothing_here(OriginalUri(uri): OriginalUri) -> Trouble {
    Trouble::not_found(format!("There is no page {}.", uri.path()))
}

/// Refuses what does not come from the console's own pages, and says what a browser may do with an answer.
async fn guard(State(console): State<Console>, request: Request, next: Next) -> Response {
    let mut response = match forged(&console.setup, request.method(), request.headers()) {
        None => next.run(request).await,
        Some(trouble) => trouble.into_response(),
    };
    let headers = response.headers_mut();
    let all = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is not one that a person made in the console.
fn forged(setup: &Setup, method: &Method, headers: &HeaderMap) -> Option<Trouble> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let proxied = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];
    if setup.token.is_none() && proxied.iter().any(|name| headers.contains_key(*name)) {
        return Some(Trouble::new(
            StatusCode::FORBIDDEN,
            "This came by way of a proxy, and this console has no token.",
            "Start `serve` with --console-token-env, or let the proxy pass on /webhooks only.",
        ));
    }
    // A name that somebody else controls may resolve to this machine.
    if setup.address.ip().is_loopback() && setup.token.is_none() && !is_loopback(host) {
        return Some(Trouble::new(
            StatusCode::FORBIDDEN,
            format!("This console answers on this machine only, and not to the name {host}."),
            "Use its address with 127.0.0.1, or start `serve` with --console-token-env.",
        ));
    }
    if method.is_safe() {
        return None;
    }
    let own = match (text(header::HeaderName::from_static("sec-fetch-site")), text(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, of)| of == host),
        (None, None) => false,
    };
    (!own).then(|| {
        Trouble::new(
            StatusCode::FORBIDDEN,
            "This was not sent by a page of the console, so nothing was done.",
            "Open the console and repeat it there. Programs use the command line.",
        )
    })
}

/// Whether this is a name of this machine that nobody else can give out, whatever the port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

const COOKIE: &str = "koalr_console";

/// Names of sessions that a browser shows.
fn sessions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// Whether somebody may look: no token is asked for, or the session has not ended.
fn is_admitted(console: &Console, headers: &HeaderMap) -> bool {
    let now = Instant::now();
    console.setup.token.is_none() || sessions(headers).any(|session| console.access.admits(session, now))
}

/// Sends who has not signed in to the form, where a token is asked for.
async fn signed_in(State(console): State<Console>, request: Request, next: Next) -> Response {
    if is_admitted(&console, request.headers()) {
        return next.run(request).await;
    }
    Redirect::to("/sign-in").into_response()
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
}

async fn sign_in_page() -> Markup {
    sign_in_form(None)
}

fn sign_in_form(wrong: Option<&str>) -> Markup {
    let page = Page::bare("Sign in");
    page.render(html! {
        section.card.narrow {
            h1 { "Sign in" }
            p { "This console is reached over a network, so it asks for the token that " code { "serve" } " was started with." }
            @if let Some(wrong) = wrong { p.alert role="alert" { (wrong) } }
            form method="post" action="/sign-in" {
                label { span { "Console token" } input type="password" name="token" required autocomplete="current-password" autofocus; }
                button { "Sign in" }
            }
        }
    })
}

async fn sign_in(
    State(console): State<Console>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Form(form): Form<SignIn>,
) -> Response {
    // Where no token is asked for, there is nothing to sign in to.
    let Some(token) = &console.setup.token else { return Redirect::to("/").into_response() };
    match console.access.sign_in(token, form.token.trim(), peer.ip(), Instant::now()) {
        Ok(session) => {
            let secure = console.setup.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
            let secure = if secure { "; Secure" } else { "" };
            let lasts = SESSION.as_secs();
            let cookie =
                format!("{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/; Max-Age={lasts}{secure}");
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Err(Refused::Wrong) => {
            tracing::warn!(from = %peer.ip(), "somebody gave a wrong console token");
            let wrong =
                "This is not the token. It is the value of the variable that --console-token-env names.";
            (StatusCode::UNAUTHORIZED, sign_in_form(Some(wrong))).into_response()
        }
        Err(Refused::TooMany(wait)) => {
            let seconds = wait.as_secs().max(1);
            let told = format!("There were too many wrong tokens. Try again in {seconds} s.");
            let after = [(header::RETRY_AFTER, seconds.to_string())];
            (StatusCode::TOO_MANY_REQUESTS, after, sign_in_form(Some(&told))).into_response()
        }
        Err(Refused::NoRandomness) => {
            let told = "The system gives no random numbers for a session. Try again.";
            (StatusCode::SERVICE_UNAVAILABLE, sign_in_form(Some(told))).into_response()
        }
    }
}

async fn sign_out(State(console): State<Console>, headers: HeaderMap) -> Response {
    sessions(&headers).for_each(|session| console.access.sign_out(session));
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response()
}

/// The first organisation's incidents, or the way to connect one.
async fn start(State(console): State<Console>) -> Answer<Redirect> {
    let (organisations, _) = console.host.store().find_organisations("", 1).await?;
    Ok(match organisations.first() {
        Some(first) => Redirect::to(&address(&first.id, Section::Incidents)),
        None => Redirect::to("/connect"),
    })
}

/// Tells an open page that something was stored, and every half minute that time went on.
async fn live(
    State(console): State<Console>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (told, events) = tokio::sync::mpsc::channel::<Result<Event, Infallible>>(1);
    // Before the answer begins: what comes after this is told, and the page looks at what came before.
    let mut known = console.host.store().generation().await.ok();
    tokio::spawn(async move {
        let mut since = 0;
        // Ends when the page is closed, or its session ends.
        while !told.is_closed() && is_admitted(&console, &headers) {
            let now = console.host.store().generation().await.ok();
            since += 1;
            if known != now || since >= ANYWAY {
                (known, since) = (now, 0);
                if told.send(Ok(Event::default().data("changed"))).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    Sse::new(tokio_stream::wrappers::ReceiverStream::new(events)).keep_alive(KeepAlive::default())
}

impl Console {
    /// A page with its way to others. The switcher is empty where organisations cannot be read, which the page itself
    /// then says.
    async fn page<'a>(&self, title: &'a str, org: Option<&'a OrgId>, here: Section) -> Page<'a> {
        let (found, total) = self.host.store().find_organisations("", SWITCHABLE).await.unwrap_or_default();
        let some = found.into_iter().map(|organisation| organisation.id).collect();
        Page { title, org, organisations: (some, total), here, signed_in: self.setup.token.is_some() }
    }

    /// An organisation's page. What cannot be shown is told in the same frame.
    async fn show(&self, org: &OrgId, here: Section, title: &str, body: Answer) -> Response {
        let known = self.host.store().organisation(org).await.is_ok_and(|found| found.is_some());
        let page = self.page(title, known.then_some(org), here).await;
        match body {
            Ok(body) => Html(page.render(body).into_string()).into_response(),
            Err(trouble) => (trouble.status, Html(page.render(trouble.body()).into_string())).into_response(),
        }
    }

    /// Where the provider sends an organisation's webhooks.
    fn webhook_url(&self, org: &OrgId) -> String {
        let base = match &self.setup.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", self.setup.address),
        };
        format!("{base}/webhooks/{}/{org}", self.host.plugin().descriptor().name)
    }
}

/// An organisation's name in an address.
fn named(org: &str) -> Answer<OrgId> {
    org.parse().map_err(|_| Trouble::not_found(format!("`{org}` cannot be the name of an organisation.")))
}

#[cfg(test)]
mod addresses;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn setup(address: &str, token: bool) -> Setup {
        let token = token.then(|| Secret::new("t".into()));
        Setup { address: address.parse().unwrap(), token, public_url: None, origin_map: vec![] }
    }

    #[test]
    fn only_the_consoles_own_pages_may_change_anything() {
        let local = setup("127.0.0.1:8787", false);
        let judge = |method: Method, pairs: &[(&'static str, &str)]| {
            forged(&local, &method, &headers(pairs)).is_some()
        };
        let host = ("host", "127.0.0.1:8787");
        assert!(!judge(Method::GET, &[host]));
        assert!(!judge(Method::POST, &[host, ("sec-fetch-site", "same-origin")]));
        assert!(!judge(Method::POST, &[host, ("origin", "http://127.0.0.1:8787")]));
        assert!(judge(Method::POST, &[host]), "a program, or a browser that hides where it comes from");
        for site in ["cross-site", "same-site", "none"] {
            assert!(judge(
                Method::POST,
                &[host, ("sec-fetch-site", site), ("origin", "http://127.0.0.1:8787")]
            ));
        }
        for origin in ["null", "http://evil.example", "http://127.0.0.1:9999"] {
            assert!(judge(Method::POST, &[host, ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn a_name_that_somebody_else_gives_out_is_refused_on_loopback() {
        let local = setup("127.0.0.1:8787", false);
        let get = |host: &str| forged(&local, &Method::GET, &headers(&[("host", host)])).is_none();
        for host in ["127.0.0.1:8787", "localhost", "LOCALHOST:8787", "[::1]:8787", "127.0.0.9"] {
            assert!(get(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8787", "127.0.0.1.evil.example", "10.0.0.1:8787", ""] {
            assert!(!get(host), "{host}");
        }
        for name in ["x-forwarded-for", "forwarded", "via"] {
            let by_proxy = headers(&[("host", "127.0.0.1:8787"), (name, "1.2.3.4")]);
            assert!(forged(&local, &Method::GET, &by_proxy).is_some(), "{name}");
        }
        let open = setup("0.0.0.0:8787", true);
        assert!(forged(&open, &Method::GET, &headers(&[("host", "console.example")])).is_none());
    }

    #[test]
    fn without_a_token_there_is_a_console_on_this_machine_only() {
        let (local, open) = ("127.0.0.1:8787".parse().unwrap(), "0.0.0.0:8787".parse().unwrap());
        assert!(is_served(local, false, false));
        assert!(!is_served(local, false, true) && !is_served(open, false, false));
        assert!(is_served(local, true, true) && is_served(open, true, false));
    }
}
