//! The files beside the records: the sealing key, another plugin's state, backups, and what a process may have.

use super::*;

const OTHER_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sealing_key_is_told_everywhere_and_has_a_way_out() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let map = format!("--map-origin https://api.incident.io={}", simulator.base_url());
    let connect = format!("connect --db k.db --org acme --api-key-env API_KEY {map}");
    let fits = async || desk.json("org show acme --db k.db --json").await["sealing_key_fits"].clone();
    assert_eq!(fits().await, true);

    // Another one in its place.
    std::fs::write(desk.path("k.db.key"), OTHER_KEY).unwrap();
    let way_out = "run `org disconnect` and then `connect`";
    assert_eq!(fits().await, false);
    let shown = text(&desk.run("org show acme --db k.db").await.stdout);
    assert!(shown.contains(way_out), "{shown}");
    for line in ["poll --db k.db --org acme", &format!("{connect} --reset")] {
        let refused = desk.run(line).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(way_out), "{line}: {}", text(&refused.stderr));
    }
    {
        let mut serve = desk.command("serve --db k.db --listen 127.0.0.1:0");
        serve.env("KOALR_LOG", "off");
        let serving = Serving::start(serve);
        assert_eq!(posted(&serving, SECRET, "msg_1").await, 503);
        let said = text(&serving.end());
        assert!(said.contains("warning") && said.contains(way_out), "{said}");
    }

    // None at all: none is made that would open nothing.
    std::fs::remove_file(desk.path("k.db.key")).unwrap();
    assert_eq!(fits().await, false);
    for line in [
        "poll --db k.db --org acme",
        "serve --db k.db --listen 127.0.0.1:0",
        "keys rotate --db k.db",
        &connect,
    ] {
        let refused = desk.run(line).await;
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("k.db.key is missing") && said.contains("org disconnect"), "{line}: {said}");
        assert!(!desk.path("k.db.key").exists(), "{line}");
    }
    assert_eq!(desk.json("org disconnect --db k.db --org acme --json").await["state"], "disconnected");
    assert_eq!(fits().await, Value::Null);
    assert!(desk.run(&connect).await.status.success());
    assert_eq!(fits().await, true);
    desk.json("poll --db k.db --org acme --json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_an_organisation_is_refused_to_another_plugin() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    std::fs::write(desk.path("users.csv"), "id,email,name\nu1,a@example.com,A\n").unwrap();
    assert_eq!(desk.json("org show acme --db k.db --json").await["plugin"], "incidentio");
    // As if it had been connected with `--plugin pagerduty.wasm`, and that is forgotten now.
    let database = rusqlite::Connection::open(desk.path("k.db")).unwrap();
    database.execute("UPDATE organisation SET plugin = 'pagerduty'", []).unwrap();
    let asked = simulator.requests().len();
    let map = format!("--map-origin https://api.incident.io={}", simulator.base_url());
    for line in [
        "backfill --db k.db --org acme",
        "backfill --db k.db --org acme --days 3",
        "poll --db k.db --org acme",
        "mttr --db k.db --org acme",
        "users import --db k.db --org acme users.csv",
        "webhook replay --db k.db --org acme msg_1",
        "serve --db k.db --listen 127.0.0.1:0",
        &format!("connect --db k.db --org acme --api-key-env API_KEY {map}"),
        &format!("connect --db k.db --org acme --api-key-env API_KEY {map} --reset"),
    ] {
        let refused = desk.run(line).await;
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{line}: {said}");
        assert!(
            said.contains("connected with the plugin `pagerduty`") && said.contains("--plugin"),
            "{line}: {said}"
        );
    }
    assert_eq!(simulator.requests().len(), asked, "nothing was asked in its name");
    for changed in ["job WHERE kind = 0 AND since > until - 4 * 86400000000", "user"] {
        let rows: i64 =
            database.query_row(&format!("SELECT count(*) FROM {changed}"), [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{changed}");
    }
    assert_eq!(
        desk.json("org show acme --db k.db --json").await["plugin"],
        "pagerduty",
        "it can be looked at"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connect_says_comes_next_repeats_the_options_that_were_given() {
    let simulator = account(5).await;
    let desk = Desk::new();
    let component = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/plugin/incidentio.wasm");
    std::fs::copy(component, desk.path("my.wasm")).unwrap();
    let map = format!("--map-origin https://api.incident.io={}", simulator.base_url());
    let typed = "--db my.db --key-file my.key --plugin my.wasm --allow-origin https://api.example.com";
    let connected = desk.run(&format!("connect {typed} --org acme --api-key-env API_KEY {map}")).await;
    let said = text(&connected.stdout);
    let next = said.lines().find_map(|line| line.strip_prefix("Next: ")).unwrap_or_else(|| panic!("{said}"));
    let commands: Vec<&str> =
        next.split(", or ").map(|line| line.strip_prefix("koalr-harness ").unwrap()).collect();
    assert_eq!(commands, [format!("backfill {typed} --org acme"), format!("serve {typed}")]);
    let run = desk.run(commands[0]).await;
    assert!(run.status.success(), "{}", text(&run.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn private_incidents_come_back_without_a_reset() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let private = async |switch: &str| {
        let again = desk.run(&format!("connect --db k.db --org acme --api-key-env API_KEY {switch}")).await;
        assert!(again.status.success(), "{}", text(&again.stderr));
        desk.json("org show acme --db k.db --json").await["settings"]["include_private"].clone()
    };
    for (switch, included) in
        [("", true), ("--no-private", false), ("", false), ("--private", true), ("", true)]
    {
        assert_eq!(private(switch).await, included, "{switch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_form_names_an_organisation_and_a_component_and_the_other_is_understood() {
    let simulator = account(20).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    let shown = desk.json("org show --org acme --db k.db --json").await;
    assert_eq!(desk.json("org show acme --db k.db --json").await["organisation"], shown["organisation"]);
    let incidents = desk.json("incidents --db k.db --org acme --json").await;
    let first = incidents["incidents"][0]["reference"].as_str().unwrap();
    let number = first.strip_prefix("INC-").unwrap();
    let one = desk.json(&format!("incident --db k.db --org acme {number} --json")).await;
    assert_eq!(one["incident"]["reference"], first);
    let explained = desk.json(&format!("mttr --db k.db --org acme --explain {number} --json")).await;
    assert_eq!(explained["reference"], first);
    let component = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/plugin/opsgenie.wasm");
    std::fs::copy(component, desk.path("o.wasm")).unwrap();
    let inspected = desk.json("inspect --plugin o.wasm --json").await;
    assert_eq!(
        (&inspected["descriptor"]["name"], &inspected),
        (&"opsgenie".into(), &desk.json("inspect o.wasm --json").await)
    );
    assert_eq!(desk.json("org disconnect acme --db k.db --json").await["organisation"], "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_it_serves_and_overwrites_nothing() {
    let simulator = account(40).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    desk.json("backfill --db k.db --org acme --json").await;
    let serving = desk.serve();
    assert_eq!(posted(&serving, SECRET, "msg_1").await, 204);
    let made = desk.json("db backup b.db --db k.db --json").await;
    let length = std::fs::metadata(desk.path("b.db")).unwrap().len();
    assert_eq!(
        (&made["file"], &made["bytes"], &made["sealing_key_file"]),
        (&"b.db".into(), &length.into(), &"k.db.key".into())
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(desk.path("b.db")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(posted(&serving, SECRET, "msg_2").await, 204, "it goes on");
    let before = std::fs::read(desk.path("b.db")).unwrap();
    for there in ["b.db", "k.db"] {
        let refused = desk.run(&format!("db backup {there} --db k.db")).await;
        assert!(
            !refused.status.success() && text(&refused.stderr).contains("exists"),
            "{}",
            text(&refused.stderr)
        );
    }
    assert_eq!(std::fs::read(desk.path("b.db")).unwrap(), before);
    let missing = desk.run("db backup c.db --db typo.db").await;
    assert!(!missing.status.success() && !desk.path("c.db").exists() && !desk.path("typo.db").exists());
    serving.end();

    // Restored under another name, with its key.
    let listed = async |db: &str| desk.json(&format!("incidents --db {db} --org acme --json")).await;
    std::fs::copy(desk.path("k.db.key"), desk.path("b.db.key")).unwrap();
    assert_eq!(listed("b.db").await["total"], listed("k.db").await["total"]);
    let deliveries = desk.json("deliveries --db b.db --org acme --json").await;
    assert_eq!(deliveries["deliveries"][0]["id"], "msg_1");
    assert_eq!(desk.json("org show --db b.db --org acme --json").await["sealing_key_fits"], true);
    let left = std::fs::read_dir(desk.directory.path()).unwrap().map(|file| file.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".koalr")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A copy of the one file, without the log beside it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_asked_for_is_in_the_database_file_itself() {
    let simulator = account(20).await;
    let desk = Desk::new();
    let copied = |to: &str| std::fs::copy(desk.path("k.db"), desk.path(to)).unwrap();
    desk.connect(&simulator).await;
    copied("connected.db");
    assert_eq!(desk.json("org list --db connected.db --json").await[0]["state"], "live");
    let backfill = desk.json("backfill --db k.db --org acme --json").await;
    copied("imported.db");
    let incidents = desk.json("incidents --db imported.db --org acme --json").await;
    assert_eq!(incidents["total"], backfill["created"]);
    std::fs::write(desk.path("users.csv"), "id,email,name\nu1,a@example.com,A\n").unwrap();
    desk.json("users import --db k.db --org acme users.csv --json").await;
    copied("users.db");
    let again = desk.json("users import --db users.db --key-file k.db.key --org acme users.csv --json").await;
    assert_eq!((&again["added"], &again["unchanged"]), (&0.into(), &1.into()));
}

/// A container or a service manager may grant less address space than a pool of instances reserves.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn with_little_address_space_it_works_or_names_the_limit() {
    let simulator = account(40).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let limited = |kilobytes: u32, line: &str| {
        let plain = desk.command(line);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -v {kilobytes}; exec \"$0\" \"$@\"")]);
        shell.arg(plain.get_program()).args(plain.get_args()).current_dir(desk.directory.path());
        shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        shell
    };
    for kilobytes in [3_000_000, 8_000_000] {
        let serving = Serving::start(limited(kilobytes, "serve --db k.db --listen 127.0.0.1:0"));
        for verb in ["backfill --days 90", "poll"] {
            let mut command = limited(kilobytes, &format!("{verb} --db k.db --org acme --json"));
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let code = output.status.code();
            // The server may be at the same job.
            assert!(matches!(code, Some(0 | 4)), "{kilobytes} {verb}: {}", text(&output.stderr));
        }
        let mut posts = tokio::task::JoinSet::new();
        for number in 0..40 {
            let url = serving.url.clone();
            posts.spawn(async move { posted_to(&url, SECRET, &format!("msg_{kilobytes}_{number}")).await });
        }
        assert_eq!(posts.join_all().await, [204; 40], "{kilobytes}");
        serving.end();
    }
    let mut refused = limited(700_000, "serve --db k.db --listen 127.0.0.1:0");
    let refused = tokio::task::spawn_blocking(move || refused.output().unwrap()).await.unwrap();
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("ulimit -v") && said.contains("MB of address space"), "{said}");
}
