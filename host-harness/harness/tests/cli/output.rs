//! Where output goes that cannot go where it should, and how the program ends that a signal stops.

use std::fs::File;

use koalr_simulator::{Effect, Fault};

use super::*;

/// A verb of each kind that prints, on an organisation that has everything.
async fn printing(desk: &Desk, simulator: &Simulator) -> Vec<String> {
    desk.connect(simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    let of_it = "--db k.db --org acme";
    let mut lines: Vec<String> = [
        "incidents",
        "deliveries",
        "mttr",
        "poll",
        "backfill",
        "migrate opsgenie status",
        "migrate opsgenie undo",
        "connect --api-key-env API_KEY",
        "org show",
    ]
    .into_iter()
    .flat_map(|verb| [format!("{verb} {of_it}"), format!("{verb} {of_it} --json")])
    .collect();
    let incidents = desk.json("incidents --db k.db --org acme --json").await;
    let first = incidents["incidents"][0]["reference"].as_str().unwrap();
    lines.push(format!("incident {of_it} {first}"));
    lines.push(format!("mttr {of_it} --explain {first}"));
    lines.push(format!("mttr {of_it} --csv"));
    lines.extend(
        ["org list --db k.db", "org list --db k.db --json", "inspect", "inspect --json"].map(Into::into),
    );
    lines.extend(["keys rotate --db k.db", "--help", "mttr --help", "--version"].map(Into::into));
    lines.push("simulate --listen 127.0.0.1:0 --incidents 5".into());
    lines.push("demo --exit --incidents 5 --listen 127.0.0.1:0".into());
    lines
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn output_that_nobody_reads_ends_every_verb_quietly() {
    let simulator = account(20).await;
    let desk = Desk::new();
    for line in printing(&desk, &simulator).await {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = desk.command(&line);
        command.stdout(writer);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(141), "{line}: {said}");
        assert!(!said.contains("error") && !said.contains("panicked"), "{line}: {said}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn output_to_a_full_disk_is_an_error_in_words() {
    let simulator = account(20).await;
    let desk = Desk::new();
    for line in printing(&desk, &simulator).await {
        let mut command = desk.command(&line);
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("standard output could not be written: No space left"), "{line}: {said}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    for (line, code) in [("poll --db k.db --org acme", 0), ("poll --db typo.db --org acme", 1)] {
        let mut command = desk.command(line);
        command.env("KOALR_LOG", "trace").stderr(File::options().write(true).open("/dev/full").unwrap());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_a_signal_stops_ends_with_the_code_of_the_signal() {
    let simulator = account(20).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    for (verb, signal, code) in
        [("backfill", "INT", 130), ("backfill", "TERM", 143), ("poll", "INT", 130), ("poll", "TERM", 143)]
    {
        simulator.inject(Fault::new("/v2/incidents", 50, Effect::Hang(Duration::from_secs(600))));
        let before = simulator.requests().len();
        let child = desk.command(&format!("{verb} --db k.db --org acme")).spawn().unwrap();
        // It asks the provider, and waits for an answer.
        while simulator.requests().len() == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{verb} {signal}: {said}");
        assert!(said.contains("the next run goes on from there"), "{verb} {signal}: {said}");
        simulator.clear_faults();
    }
    // What was stopped was given back: nobody has to wait for a lease.
    desk.json("backfill --db k.db --org acme --json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_others_write_to_for_too_long_is_a_passing_fault() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let other = rusqlite::Connection::open(desk.path("k.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let poll = desk.run("poll --db k.db --org acme").await;
    assert_eq!(poll.status.code(), Some(4), "{}", text(&poll.stderr));
    assert!(text(&poll.stderr).contains("locked by another process"), "{}", text(&poll.stderr));
    let shown = desk.run("org show --db k.db --org acme").await;
    assert!(shown.status.success(), "what only reads does not wait: {}", text(&shown.stderr));
    other.execute_batch("ROLLBACK").unwrap();
    desk.json("poll --db k.db --org acme --json").await;
}
