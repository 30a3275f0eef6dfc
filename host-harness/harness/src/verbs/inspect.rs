//! `inspect`.

use anyhow::Result;
use koalr_host::contract::Descriptor;
use koalr_host::{Dependency, Engine, Limits, Plugin, Surface};
use serde::Serialize;

use super::print_json;
use crate::cli::Inspect;
use crate::out::say;
use crate::view::counted;
use crate::{open, view};

#[derive(Serialize)]
struct Document<'a> {
    size: usize,
    sha256: &'a str,
    #[serde(flatten)]
    surface: &'a Surface,
    descriptor: &'a Descriptor,
    dependencies: &'a [Dependency],
}

pub(crate) async fn run(options: Inspect) -> Result<()> {
    let bytes = open::component(options.file.or(options.plugin).as_deref())?;
    // It only describes itself, and may call nothing.
    let limits = Limits::default();
    let plugin = Plugin::load(&Engine::new(1, &limits)?, None, &limits, &bytes).await?;
    let (descriptor, surface) = (plugin.descriptor(), plugin.surface());
    if options.json.json {
        let (size, sha256, dependencies) = (plugin.size(), plugin.digest(), plugin.dependencies());
        return print_json(&Document { size, sha256, surface, descriptor, dependencies });
    }
    say!("{} {} ({})", descriptor.display_name, descriptor.version, descriptor.name)?;
    let line = |name: &str, text: &str| say!("  {name:<16}{}", view::printable(text));
    line("size", &format!("{} bytes", plugin.size()))?;
    line("sha256", plugin.digest())?;
    line("polls every", &format!("{} s", descriptor.poll_interval_seconds))?;
    line("history", &counted(descriptor.history_days.into(), "day", "days"))?;
    for origin in &descriptor.origins {
        line("calls", origin)?;
    }
    for credential in &descriptor.injected {
        line("never sees", &format!("{}, which the host adds as {}", credential.name, credential.header))?;
    }
    for secret in &descriptor.revealed {
        line("asks for", secret)?;
    }
    for event in &descriptor.webhook_events {
        line("webhook event", event)?;
    }
    for import in &surface.imports {
        line("imports", import)?;
    }
    for export in &surface.exports {
        line("exports", export)?;
    }
    for dependency in plugin.dependencies() {
        line("built from", &format!("{} {}", dependency.name, dependency.version))?;
    }
    Ok(())
}
