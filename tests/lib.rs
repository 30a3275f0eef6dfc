//! What the benchmarks under `examples/` share: how they tell what they measured, and what a process uses.
//!
//! The tests are in `it/`, one program, so that everything is linked once.

use std::time::Duration;

/// Prints a figure, each of its measurements, as a line of JSON on standard output; `cargo xtask bench` gathers them.
pub fn figure(name: &str, unit: &str, values: &[f64]) {
    println!("{}", serde_json::json!({ "figure": name, "unit": unit, "values": values }));
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
