//! The developer's verbs: each sets up what it needs, so that a clone and rustup's Rust are enough.
//!
//! The component is built first and for itself, because the harness carries it and the tests run it. Nothing
//! here decides what the program does; it only runs cargo in the right order.

mod bench;
mod component;
#[path = "../../tests/entries/src/seeds.rs"]
mod seeds;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

const TARGET: &str = "wasm32-wasip2";

const HELP: &str = "\
cargo xtask <verb>

  plugin           build the components: target/plugin/incidentio.wasm and target/plugin/opsgenie.wasm
  guests           build the misbehaving components that the tests attack the host with
  demo [--exit]    build everything and run the demo; --exit ends it after the summary
  test             format, clippy with warnings denied, the components, every test
  fuzz             list the fuzz targets
  fuzz TARGET [--runs N] [--seconds N]
                   feed a fuzz target until it fails, after N inputs or N seconds, or without end; needs cargo-fuzz
                   and a C++ compiler
  reproduce        build the components in two directories and compare them
  soak             the long form of the crash test: over a hundred kills, some minutes
  bench [GROUP…]   measure, and write BENCHMARKS.md: start, calls, webhooks, sync, mttr, pages, scale; and
                   ten-minutes, only when it is named
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["plugin"] => {
            for (path, size) in components()? {
                println!("{}: {size} bytes", path.display());
            }
            Ok(())
        }
        ["demo", rest @ ..] => {
            components()?;
            succeed(&mut programs())?;
            succeed(Command::new(target().join("debug/koalr-harness")).arg("demo").args(rest))
        }
        ["guests"] => guests(),
        ["test"] => test(),
        ["fuzz"] => {
            fuzz_targets()?.iter().for_each(|target| println!("{target}"));
            Ok(())
        }
        ["fuzz", target, bounds @ ..] => fuzz(target, bounds),
        ["reproduce"] => reproduce(),
        ["soak"] => {
            components()?;
            let tests = ["test", "--workspace", "--test", "cli", "--", "--ignored", "a_hundred_kills"];
            succeed(&mut cargo(&tests))
        }
        ["bench", groups @ ..] => bench(groups),
        _ => {
            print!("{HELP}");
            ensure!(matches!(arguments.as_slice(), [] | ["help" | "--help" | "-h"]), "no such verb");
            Ok(())
        }
    }
}

fn test() -> Result<()> {
    succeed(&mut cargo(&["fmt", "--all", "--check"]))?;
    deny()?;
    components()?;
    guests()?;
    let deny = ["--", "-D", "warnings"];
    // What exists on wasm only is linted there.
    let wasm = ["-p", "incidentio", "-p", "koalr-guests", "--target", TARGET, "--profile", "plugin"];
    succeed(cargo(&["clippy"]).args(wasm).args(deny))?;
    succeed(cargo(&["clippy"]).args(wasm).args(["--features", "incidentio/opsgenie"]).args(deny))?;
    succeed(cargo(&["clippy", "--workspace", "--all-targets"]).args(deny))?;
    fuzz_lock()?;
    // Nothing is linked, so nobody needs libFuzzer, which its crate compiles unless it is told where one is.
    let mut check = cargo(&["clippy", "--manifest-path", "fuzz/Cargo.toml"]);
    succeed(check.args(deny).env("CUSTOM_LIBFUZZER_PATH", target().join("no-libfuzzer.a")))?;
    // Not with --all-targets: that makes examples into tests of nothing, and the tests run the one there is.
    succeed(&mut cargo(&["test", "--workspace"]))
}

fn bench(groups: &[&str]) -> Result<()> {
    components()?;
    succeed(programs().arg("--release"))?;
    bench::run(&root(), "release", &target().join("release/examples/bench"), groups)
}

/// The names of the fuzz targets.
fn fuzz_targets() -> Result<Vec<String>> {
    let directory = root().join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for entry in
        std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let path = entry?.path();
        targets.extend(path.file_stem().and_then(|name| name.to_str()).map(String::from));
    }
    targets.sort_unstable();
    Ok(targets)
}

/// Gives the fuzz targets the versions that everything else is built with.
fn fuzz_lock() -> Result<()> {
    std::fs::copy(root().join("Cargo.lock"), root().join("fuzz/Cargo.lock"))
        .context("cannot write fuzz/Cargo.lock")?;
    Ok(())
}

/// Feeds a target, beginning with the fixtures and with what earlier runs found worth keeping.
fn fuzz(target: &str, bounds: &[&str]) -> Result<()> {
    let targets = fuzz_targets()?;
    ensure!(targets.iter().any(|known| known == target), "no such target; there are: {}", targets.join(", "));
    let corpus = root().join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let seeds = root().join("fuzz/corpus/seeds");
    std::fs::create_dir_all(&seeds).with_context(|| format!("cannot make {}", seeds.display()))?;
    for (number, seed) in seeds::seeds(&root())?.iter().enumerate() {
        let path = seeds.join(number.to_string());
        std::fs::write(&path, seed).with_context(|| format!("cannot write {}", path.display()))?;
    }
    fuzz_lock()?;
    let mut run = cargo(&["fuzz", "run"]);
    // What is fed has no unsafe code for a sanitizer to watch, and without one twice as many inputs are tried.
    run.args(["--sanitizer", "none", target]).args([&corpus, &seeds]);
    // One input takes milliseconds: one that takes this many seconds does not return.
    run.args(["--", "-timeout=20"]);
    let mut bounds = bounds.iter();
    while let Some(bound) = bounds.next() {
        let flag = match *bound {
            "--runs" => "-runs",
            "--seconds" => "-max_total_time",
            other => bail!("`{other}` is neither --runs nor --seconds"),
        };
        let number = bounds.next().with_context(|| format!("{bound} needs a number"))?;
        let number: u64 = number.parse().with_context(|| format!("{bound} {number}"))?;
        run.arg(format!("{flag}={number}"));
    }
    succeed(&mut run)
}

/// Licences, sources and doubles of all dependencies; advisories where their database was fetched before.
fn deny() -> Result<()> {
    let installed = cargo(&["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        println!("dependencies are not checked: `cargo install --locked cargo-deny` gets what does it");
        return Ok(());
    }
    succeed(&mut cargo(&["fetch", "--quiet", "--locked"]))?;
    succeed(&mut cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    if cargo_home().join("advisory-dbs").exists() {
        return succeed(&mut cargo(&["deny", "--offline", "check", "advisories"]));
    }
    println!("advisories are not checked: there is no database of them here; `cargo deny fetch` gets it");
    Ok(())
}

/// The build of the harness and the benchmarks. Of the whole workspace with its examples, as the tests are: a part of it
/// would have other features, and wasmtime would be compiled once more.
fn programs() -> Command {
    cargo(&["build", "--workspace", "--bins", "--examples"])
}

/// Builds what the tests attack the host with.
fn guests() -> Result<()> {
    component("koalr-guests", None)?;
    component("koalr-guests", Some("trap-in-describe"))?;
    Ok(())
}

/// Builds what the harness carries.
fn components() -> Result<[(PathBuf, u64); 2]> {
    Ok([component("incidentio", None)?, component("incidentio", Some("opsgenie"))?])
}

/// Builds a package's component and puts it where everybody looks for it: under the package's name, or under that of
/// the feature that makes it another one.
fn component(package: &str, feature: Option<&str>) -> Result<(PathBuf, u64)> {
    add_target()?;
    // What is remapped has to be there before.
    succeed(&mut cargo(&["fetch", "--quiet", "--locked", "--target", TARGET]))?;
    // A RUSTFLAGS variable would silently replace the flags of .cargo/config.toml, and with them SIMD; these are
    // added to them. The component is to be the same wherever it is built.
    let remaps: Vec<String> =
        sources().iter().map(|path| format!("'--remap-path-prefix={}/='", path.display())).collect();
    let remap = format!("target.{TARGET}.rustflags=[{}]", remaps.join(","));
    let build =
        ["build", "-p", package, "--lib", "--target", TARGET, "--profile", "plugin", "--config", &remap];
    succeed(cargo(&build).args(feature.map(|feature| format!("--features={feature}"))))?;
    let target = target();
    let file = |name: &str| format!("{}.wasm", name.replace('-', "_"));
    let built = target.join(TARGET).join("plugin").join(file(package));
    let directory = root().join("target/plugin");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join(file(feature.unwrap_or(package)));
    let bytes = std::fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let bytes = component::smaller(&bytes, &target)?;
    let bytes = component::with_dependencies(bytes, &dependencies(package, feature)?);
    // An unchanged component keeps its time stamp, so that nothing is compiled again because of it.
    if std::fs::read(&path).ok().as_ref() != Some(&bytes) {
        std::fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((path, bytes.len() as u64))
}

/// What becomes part of a component, a `name version` on each line; what only runs while it is compiled is not.
fn dependencies(package: &str, feature: Option<&str>) -> Result<String> {
    let tree =
        ["tree", "--locked", "--package", package, "--target", TARGET, "--edges", "normal,no-proc-macro"];
    let mut command = cargo(&tree);
    command.args(["--prefix", "none"]).args(feature.map(|feature| format!("--features={feature}")));
    let output = command.output().context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).context("cargo tree answers what is no text")?;
    // `name vVERSION`, and then where it lies on this machine, which is nobody's business.
    let of = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split_whitespace().next()?))
    };
    let all: std::collections::BTreeSet<String> = lines.lines().filter_map(of).collect();
    Ok(all.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Two builds in two directories, which must give the same bytes.
fn reproduce() -> Result<()> {
    let scratch = target().join(format!("reproduce-{}", std::process::id()));
    let mut built = Vec::new();
    for name in ["a", "another/one"] {
        let copy = scratch.join(name);
        std::fs::create_dir_all(&copy).with_context(|| format!("cannot make {}", copy.display()))?;
        let mut list = Command::new("git");
        let files = list.args(["ls-files"]).current_dir(root()).output().context("cannot run git")?;
        for file in String::from_utf8_lossy(&files.stdout).lines() {
            let (from, to) = (root().join(file), copy.join(file));
            if let Some(directory) = to.parent() {
                std::fs::create_dir_all(directory)?;
            }
            std::fs::copy(&from, &to).with_context(|| format!("cannot copy {file}"))?;
        }
        let mut build = cargo(&["run", "--quiet", "--package", "xtask", "--", "plugin"]);
        succeed(build.current_dir(&copy).env_remove("CARGO_TARGET_DIR"))?;
        let read = |file: &str| {
            let path = copy.join("target/plugin").join(file);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        built.push([read("incidentio.wasm")?, read("opsgenie.wasm")?]);
    }
    std::fs::remove_dir_all(&scratch)?;
    ensure!(built.first() == built.last(), "two builds in two directories differ");
    println!("two builds in two directories give the same bytes");
    Ok(())
}

/// Where cargo builds.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where cargo keeps what it downloads, one directory for each registry.
fn sources() -> Vec<PathBuf> {
    let registries = std::fs::read_dir(cargo_home().join("registry").join("src")).into_iter().flatten();
    registries.flatten().map(|entry| entry.path()).collect()
}

fn cargo_home() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).unwrap_or_default()
}

/// Adds the wasm target unless it is there. Without rustup the compiler's own error will say what is missing.
fn add_target() -> Result<()> {
    let installed =
        Command::new("rustup").args(["target", "list", "--installed"]).current_dir(root()).output();
    match installed {
        Ok(list) if !String::from_utf8_lossy(&list.stdout).lines().any(|line| line == TARGET) => {
            let mut add = Command::new("rustup");
            add.args(["target", "add", TARGET]).current_dir(root());
            succeed(&mut add)
        }
        _ => Ok(()),
    }
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).env_remove("RUSTFLAGS");
    // What the cargo that runs this program set for it: some dependencies are compiled anew whenever it is another one.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

fn succeed(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} {}: {status}", command.get_program().display(), arguments(command));
    }
    Ok(())
}

fn arguments(command: &Command) -> String {
    command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
