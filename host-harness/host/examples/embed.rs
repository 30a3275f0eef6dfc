//! The smallest embedding: connect one organisation, import its history, ask for its time to restore.
//!
//! Run it against a simulated account:
//!
//! ```text
//! koalr-harness simulate --listen 127.0.0.1:4010 &
//! INCIDENTIO_API_KEY=any cargo run -p koalr-host --example embed -- \
//!     target/plugin/incidentio.wasm http://127.0.0.1:4010
//! ```

use std::sync::Arc;

use anyhow::Context;
use koalr_host::contract::{MttrQuery, Settings};
use koalr_host::id::OrgId;
use koalr_host::port::{JobKind, OriginMapping};
use koalr_host::scheduler::Scheduler;
use koalr_host::sqlite::SqliteStore;
use koalr_host::vault::{Keyring, Secret};
use koalr_host::{Connect, Host};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let wasm = arguments.next().context("usage: embed COMPONENT [BASE-URL]")?;
    // For development: the plugin still calls https://api.incident.io, the host sends it elsewhere.
    let origin_map = arguments.next().map(|to| OriginMapping { from: "https://api.incident.io".into(), to });

    let store = SqliteStore::open("embed.db")?;
    let keys = Keyring::load_or_create("embed.key".as_ref(), &store).await?;
    let host = Host::builder(Arc::new(store), keys)
        .allow(["https://api.incident.io"])
        .load(&std::fs::read(wasm)?)
        .await?;

    let org: OrgId = "acme".parse()?;
    let connection = host
        .connect(
            &org,
            Connect {
                credentials: vec![("api-key".into(), Secret::new(std::env::var("INCIDENTIO_API_KEY")?))],
                secrets: vec![],
                settings: Settings { include_private: true, ..Settings::default() },
                origin_map: origin_map.into_iter().collect(),
            },
        )
        .await?;
    println!("connected to {}", connection.account);

    let imported = Scheduler::new(host.clone())
        .run_now(&org, JobKind::Backfill, &|_| {}, std::future::pending())
        .await?;
    println!("{} incidents in {} requests", imported.created, imported.requests);

    let (day, now) = (86_400_000_000, host.clock().now());
    let query = MttrQuery::new(vec![now - 90 * day, now]);
    let report = host.mttr(&org, &query).await?;
    let statistics = report.overall.statistics;
    let mean = statistics.durations.map(|durations| durations.mean);
    println!("mean time to restore: {mean:?} s over {}", statistics.count);
    Ok(())
}
