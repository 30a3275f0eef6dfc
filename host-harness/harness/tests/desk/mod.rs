//! The program as its users run it: a process in a directory of its own, and a `serve` that ends with its test.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// In the environment of each command as `API_KEY`.
pub(crate) const KEY: &str = "inc_key_of_a_test";
/// In the environment of each command as `HOOK_SECRET`.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The program with these words, in this directory.
pub(crate) fn command(directory: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_koalr-harness"));
    command.args(line.split_whitespace()).current_dir(directory);
    // Compiled once for all tests of this workspace.
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-modules");
    command.env("XDG_CACHE_HOME", cache).env("API_KEY", KEY).env("HOOK_SECRET", SECRET);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running `serve`, killed when dropped.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
    said: Option<std::thread::JoinHandle<Vec<u8>>>,
}

impl Serving {
    /// Waits until it says where it listens.
    pub(crate) fn start(mut command: Command) -> Serving {
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut all = Vec::new();
        let url = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended: {}", text(&all));
            all.extend_from_slice(line.as_bytes());
            if let Some(address) = line.strip_prefix("Serving on ").and_then(|line| line.split(": ").next()) {
                break address.to_string();
            }
        };
        // Whatever it says later must not fill the pipe.
        let said = std::thread::spawn(move || {
            let _ = std::io::Read::read_to_end(&mut said, &mut all);
            all
        });
        Serving { child, url, said: Some(said) }
    }

    /// Ends it, and answers with all that it said.
    pub(crate) fn end(mut self) -> Vec<u8> {
        let _ = self.child.kill();
        self.said.take().unwrap().join().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
