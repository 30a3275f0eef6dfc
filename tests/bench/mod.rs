//! The benchmarks: how fast the component, the host and the harness are on the machine that they run on.
//!
//! Each is a function of its sizes, so that the tests run it small and it cannot rot; `cargo xtask bench` runs it large.
//! No figure passes or fails in here; what was not done as it should be ends the run.

pub mod calls;
pub mod load;
pub mod mttr;
mod nowhere;
pub mod pages;
pub mod parts;
pub mod scale;
pub mod start;
pub mod sync;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use koalr_host::contract::{Header, Settings, Timestamp};
use koalr_host::id::OrgId;
use koalr_host::port::{Organisation, OrganisationState, Organisations, OriginMapping};
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{Keyring, Secret, Vault};

/// What every organisation's webhooks are signed with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A figure, each of its measurements, and what it is to keep to.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Its unit; empty for a plain number.
    pub unit: &'static str,
    /// Each measurement.
    pub values: Vec<f64>,
    /// What the median is to keep to.
    pub bound: Option<Bound>,
}

/// A budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Figure {
    /// A figure without a budget.
    pub fn new(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Figure {
        Figure { name: name.into(), unit, values, bound: None }
    }

    /// The same with a budget.
    #[must_use]
    pub fn within(mut self, bound: Bound) -> Figure {
        self.bound = Some(bound);
        self
    }

    /// As a line that `cargo xtask bench` gathers.
    pub fn line(&self) -> String {
        let (at_most, at_least) = match self.bound {
            None => (None, None),
            Some(Bound::AtMost(bound)) => (Some(bound), None),
            Some(Bound::AtLeast(bound)) => (None, Some(bound)),
        };
        let (name, unit, values) = (&self.name, self.unit, &self.values);
        serde_json::json!({
            "figure": name, "unit": unit, "values": values, "at_most": at_most, "at_least": at_least,
        })
        .to_string()
    }

    /// The middle one of its measurements.
    pub fn median(&self) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Where what is measured lies.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The harness.
    pub harness: PathBuf,
    /// `incidentio.wasm`.
    pub component: PathBuf,
}

impl Programs {
    /// Those that were built with this program, in the workspace whose root is given.
    pub fn under(root: &Path) -> Programs {
        // It is an example or a test, whose directories lie beside the harness.
        let own = std::env::current_exe().unwrap();
        Programs {
            harness: own.parent().and_then(Path::parent).unwrap().join("koalr-harness"),
            component: root.join("target/plugin/incidentio.wasm"),
        }
    }
}

/// A script of Node's to compare with, if what it needs is installed in the workspace whose root is given.
pub fn peer(root: &Path, script: &str) -> Option<PathBuf> {
    let peers = root.join("benches/peers/node");
    if !peers.join("node_modules").exists() {
        eprintln!("{script} is not run: it needs `npm ci` in {}", peers.display());
        return None;
    }
    Some(peers.join(script))
}

/// Processor time of a process so far, and its resident bytes. Linux only; zero elsewhere.
pub fn usage(process: u32) -> (Duration, u64) {
    let read = || -> Option<(Duration, u64)> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        // Ticks of ten milliseconds; pages of four kilobytes.
        let ticks = number(11)? + number(12)?;
        Some((Duration::from_millis(ticks * 10), number(21)? * 4_096))
    };
    read().unwrap_or_default()
}

/// Waits until this is so, for ten minutes at most.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(600), wait).await;
    waited.unwrap_or_else(|_| panic!("ten minutes, and not yet: {what}"));
}

/// A server in a process of its own, which ends with its owner. It tells its address on the first line of its standard
/// error, as in `Serving on http://127.0.0.1:4010: …`.
pub struct Server {
    child: Child,
    /// As in `127.0.0.1:4010`.
    pub address: String,
}

impl Server {
    /// Starts it and waits for its address.
    pub fn start(mut command: Command) -> Server {
        use std::io::{BufRead, BufReader};

        let mut child = command.env("WEBHOOK_SECRET", SECRET).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap_or_else(|| panic!("the server said: {line}"));
        let address = address.split(':').take(2).collect::<Vec<_>>().join(":").trim().to_owned();
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Server { child, address }
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` over a database, with compiled components kept in `cache`.
pub fn serve(programs: &Programs, database: &Path, cache: &Path) -> Command {
    let mut command = Command::new(&programs.harness);
    command.arg("serve").arg("--db").arg(database).args(["--listen", "127.0.0.1:0"]);
    command.env("XDG_CACHE_HOME", cache);
    command
}

/// `org-0`, `org-1` and so on, connected without their imports: what is measured is what comes after. Requests go to
/// `api`.
pub async fn connect(database: &Path, organisations: usize, api: &str) {
    let store = Arc::new(SqliteStore::open(database).unwrap());
    let keys = Keyring::load_or_create(&database.with_extension("db.key"), &*store).await.unwrap();
    let vault = Vault::new(keys, store.clone());
    let now = Utc::now().timestamp_micros();
    let mut all = tokio::task::JoinSet::new();
    for number in 0..organisations {
        let organisation = organisation(&format!("org-{number}"), api, now);
        let (store, vault) = (store.clone(), vault.clone());
        all.spawn(async move {
            let id = organisation.id.clone();
            store.put_organisation(&organisation).await.unwrap();
            vault.put(&id, "api-key", &[Secret::new("inc_load".into())]).await.unwrap();
            vault.put(&id, "webhook-secret", &[Secret::new(SECRET.into())]).await.unwrap();
        });
    }
    all.join_all().await;
}

/// A live one.
pub fn organisation(name: &str, api: &str, now: Timestamp) -> Organisation {
    let id: OrgId = name.parse().unwrap();
    Organisation {
        id,
        state: OrganisationState::Live,
        plugin: "incidentio".into(),
        connection: None,
        settings: Settings { include_private: true, ..Settings::default() },
        origin_map: vec![OriginMapping { from: "https://api.incident.io".into(), to: api.to_owned() }],
        created_at: now,
        connected_at: Some(now),
    }
}

/// A delivery's headers for the plugin's functions, compiled natively.
fn native(headers: &[Header]) -> Vec<incidentio::model::Header> {
    let native = |Header { name, value }: &Header| incidentio::model::Header {
        name: name.clone(),
        value: value.clone(),
    };
    headers.iter().map(native).collect()
}

/// Figures of one name become one.
fn merged(figures: Vec<Figure>) -> Vec<Figure> {
    let mut all: Vec<Figure> = Vec::new();
    for figure in figures {
        match all.iter_mut().find(|known| known.name == figure.name) {
            Some(known) => known.values.extend(figure.values),
            None => all.push(figure),
        }
    }
    all
}

/// The part `q` of the way through sorted values.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    assert!(!sorted.is_empty(), "nothing was acknowledged");
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

/// The slope of the line through the logarithms: one where twice as much takes twice as long.
pub fn exponent(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = logs.iter().map(|(a, b)| (a - x) * (b - y)).sum();
    covariance / logs.iter().map(|(a, _)| (a - x) * (a - x)).sum::<f64>()
}
