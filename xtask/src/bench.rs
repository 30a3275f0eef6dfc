//! `cargo xtask bench`: runs the benchmarks, keeps their figures in `benches/latest.json`, and writes the tables of
//! `BENCHMARKS.md` from it.
//!
//! Each figure is the median of its measurements with the least and the most beside it, because a shared machine has
//! moods. A budget that is not kept is told, and fails nothing.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// In the order of the tables. The last takes ten minutes and is run only when it is named.
const GROUPS: [(&str, &str); 8] = [
    ("start", "Start and size"),
    ("calls", "Calls into the component"),
    ("webhooks", "Webhooks over HTTP, durable"),
    ("sync", "Imports"),
    ("mttr", "Storage and time to restore"),
    ("pages", "Pages of the console"),
    ("scale", "Many organisations, large histories"),
    ("ten-minutes", "Webhooks for ten minutes"),
];
const NAMED_ONLY: &str = "ten-minutes";
/// What follows this line is written by this program.
const MARK: &str = "<!-- From here on written by `cargo xtask bench`. -->";

/// Runs these groups, or all of them, by the program that was built for it in this profile.
pub(crate) fn run(root: &Path, profile: &str, program: &Path, named: &[&str]) -> Result<()> {
    for name in named {
        ensure!(GROUPS.iter().any(|(group, _)| group == name), "there is no group of benchmarks `{name}`");
    }
    let file = root.join("benches/latest.json");
    let mut kept: Map<String, Value> = match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("benches/latest.json is damaged")?,
        Err(_) => Map::new(),
    };
    // Where temporary files are kept in memory, syncing them costs nothing.
    let databases = program.with_file_name("databases");
    std::fs::create_dir_all(&databases)?;
    // Before the first group's figures are written, which changes the tree.
    let machine = machine(root, profile, &databases);
    for (group, _) in GROUPS {
        if (named.is_empty() && group == NAMED_ONLY) || (!named.is_empty() && !named.contains(&group)) {
            continue;
        }
        eprintln!("{group} …");
        let run =
            Command::new(program).arg(group).env("TMPDIR", &databases).stderr(Stdio::inherit()).output();
        let run = run.context("cannot start the benchmarks")?;
        ensure!(run.status.success(), "the benchmarks of {group} failed");
        let text = String::from_utf8(run.stdout)?;
        // The rest is what criterion tells of its calls.
        let (figures, told): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('{'));
        for line in told {
            eprintln!("{line}");
        }
        ensure!(!figures.is_empty(), "the benchmarks of {group} told no figure");
        let figures: Vec<Value> = figures.into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let taken = json!({ "figures": figures, "where": machine });
        print!("{}", table(&taken));
        kept.insert(group.to_owned(), taken);
        // Kept after each group: the next may take long.
        std::fs::write(&file, serde_json::to_string_pretty(&kept)? + "\n")?;
        write_tables(root, &kept)?;
    }
    Ok(())
}

fn write_tables(root: &Path, kept: &Map<String, Value>) -> Result<()> {
    let file = root.join("BENCHMARKS.md");
    let text = std::fs::read_to_string(&file).context("BENCHMARKS.md is missing")?;
    let (head, _) = text.split_once(MARK).context("BENCHMARKS.md has no line that its tables follow")?;
    let mut out = format!("{head}{MARK}\n");
    for (group, title) in GROUPS {
        let Some(taken) = kept.get(group) else { continue };
        let _ =
            write!(out, "\n## {title}\n\n`cargo xtask bench {group}`, {}\n\n{}", told(taken), table(taken));
    }
    Ok(std::fs::write(&file, out)?)
}

fn told(taken: &Value) -> String {
    let of =
        |name: &str| taken.pointer(&format!("/where/{name}")).and_then(Value::as_str).unwrap_or_default();
    format!(
        "{} at commit {}{}, on {} cores of {}, {}{}, Linux {}; {}, wasmtime {}{}.",
        of("date"),
        of("commit"),
        match of("profile") {
            "" => String::new(),
            profile => format!(", {profile} build"),
        },
        of("cores"),
        of("processor"),
        of("memory"),
        match of("filesystem") {
            "" => String::new(),
            filesystem => format!(", databases on {filesystem}"),
        },
        of("kernel"),
        of("rustc"),
        of("wasmtime"),
        match of("node") {
            "" => String::new(),
            node => format!(", Node {node}"),
        }
    )
}

fn table(taken: &Value) -> String {
    let mut out = String::from(
        "| figure | median | least to most | measurements | budget |\n|---|---:|---:|---:|---|\n",
    );
    for figure in taken.get("figures").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| figure.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| figure.get(name).and_then(Value::as_f64);
        let values = figure.get("values").and_then(Value::as_array).into_iter().flatten();
        let mut values: Vec<f64> = values.filter_map(Value::as_f64).collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let (least, median, most) = (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)));
        let unit = text("unit");
        let spread = match values.len() {
            0 | 1 => String::new(),
            _ => format!("{} to {}", rounded(least), rounded(most)),
        };
        let kept = |is| if values.is_empty() { "not measured" } else { kept(is) };
        let budget = match (number("at_most"), number("at_least")) {
            // What must not happen at all must not happen in any run.
            (Some(0.0), _) => format!("0: {}", kept(most <= 0.0)),
            (Some(bound), _) => format!("≤ {}: {}", rounded(bound), kept(median <= bound)),
            (_, Some(bound)) => format!("≥ {}: {}", rounded(bound), kept(median >= bound)),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "| {} | {} {unit} | {spread} | {} | {budget} |",
            text("figure"),
            if values.is_empty() { "".into() } else { rounded(median) },
            values.len()
        );
    }
    out
}

fn kept(is: bool) -> &'static str {
    if is { "kept" } else { "**not kept**" }
}

/// Three digits that matter, and thousands set apart.
fn rounded(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let (whole, part) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        let left = whole.len() - place;
        if place > 0 && left.is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    match part {
        Some(part) => format!("{out}.{part}"),
        None => out,
    }
}

/// What the figures depend on.
fn machine(root: &Path, profile: &str, databases: &Path) -> Value {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let line = |file: &str, start: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let wasmtime =
        lock.split("name = \"wasmtime\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
    let memory =
        line("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    json!({
        "profile": profile,
        "date": said("date", &["-u", "+%Y-%m-%d"]),
        "commit": said("git", &["describe", "--always", "--dirty"]),
        "cores": std::thread::available_parallelism().map_or(0, usize::from).to_string(),
        "processor": line("/proc/cpuinfo", "model name"),
        "memory": memory.map(|kib| format!("{} GB", kib / 1_000_000)),
        "kernel": said("uname", &["-r"]),
        "filesystem": said("stat", &["-f", "-c", "%T", &databases.to_string_lossy()]),
        "rustc": said("rustc", &["--version"]),
        "wasmtime": wasmtime,
        "node": said("node", &["--version"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_the_median_its_spread_and_whether_a_budget_is_kept() {
        let figure = |values: &[f64], at_most: Option<f64>, at_least: Option<f64>| json!({ "figure": "f", "unit": "ms", "values": values, "at_most": at_most, "at_least": at_least });
        let taken = json!({ "figures": [
            figure(&[3.0, 1.0, 2.0], Some(2.0), None),
            figure(&[1_234_567.0], None, Some(2_000_000.0)),
            figure(&[0.1234], None, None),
            figure(&[], None, Some(3.0)),
            figure(&[0.0, 1.0, 0.0], Some(0.0), None),
        ] });
        let table = table(&taken);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| f | 2.00 ms | 1.00 to 3.00 | 3 | ≤ 2.00: kept |",
                "| f | 1,234,567 ms |  | 1 | ≥ 2,000,000: **not kept** |",
                "| f | 0.123 ms |  | 1 |  |",
                "| f |  ms |  | 0 | ≥ 3.00: not measured |",
                "| f | 0 ms | 0 to 1.00 | 3 | 0: **not kept** |",
            ]
        );
    }
}
