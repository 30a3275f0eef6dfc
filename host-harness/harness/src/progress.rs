//! Progress of long work: a bar on a terminal, plain lines elsewhere, nothing with `--json`.
//!
//! Always on standard error, so that standard output holds results only.

use crate::out::note;
use crate::view::counted;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use koalr_host::contract::Step;
use koalr_host::scheduler::Event;

/// Plain lines come no more often than this.
const LINE_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct Progress {
    what: &'static str,
    bar: Option<ProgressBar>,
    last_line: Mutex<Option<Instant>>,
    silent: bool,
}

impl Progress {
    pub(crate) fn new(what: &'static str, silent: bool) -> Progress {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = (terminal && !silent).then(|| {
            let bar = ProgressBar::new(0);
            let template = "{prefix:>12} [{bar:32}] {pos}/{len} {msg}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(what);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress { what, bar, last_line: Mutex::default(), silent }
    }

    pub(crate) fn observe(&self, event: &Event) {
        match event {
            Event::Step { progress, totals } => {
                let message = format!(
                    "{}, {} created, {} updated",
                    counted(totals.requests, "request", "requests"),
                    totals.created,
                    totals.updated
                );
                self.moved(progress.done, progress.total, message);
            }
            Event::Waiting(wait) if wait.as_millis() >= 1_000 => {
                let message = format!("waiting {} s, as the provider asks", wait.as_secs());
                match &self.bar {
                    Some(bar) => bar.set_message(message),
                    None => self.line(&format!("{}: {message}", self.what), true),
                }
            }
            Event::Waiting(_) => {}
        }
    }

    /// A step of what no scheduler runs.
    pub(crate) fn step(&self, step: &Step) {
        let message = match step.wait_ms {
            wait if wait >= 1_000 => format!("waiting {} s, as the provider asks", wait / 1_000),
            _ => String::new(),
        };
        self.moved(step.done, step.total, message);
    }

    fn moved(&self, done: u64, total: Option<u64>, message: String) {
        let total = total.unwrap_or(done).max(done);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(message);
        } else if total > 0 {
            let message = if message.is_empty() { message } else { format!(", {message}") };
            self.line(&format!("{}: {done} of {total}{message}", self.what), false);
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str, always: bool) {
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if !self.silent && (due || always) {
            note!("{text}");
            *last = Some(Instant::now());
        }
    }
}
