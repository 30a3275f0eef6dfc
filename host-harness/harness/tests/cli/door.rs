//! What comes in by the webhook server, and how requests go out.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn raw(serving: &Serving, request_line: &str) -> String {
    let address = serving.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{request_line} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
         connection: close\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhooks_path_is_read_in_one_way_and_a_wrong_one_is_no_page_of_the_console() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let serving = desk.serve();
    for path in ["/webhooks/incidentio/acme/", "//webhooks//incidentio/acme", "/Webhooks/incidentio/%61cme"] {
        let answer = raw(&serving, &format!("POST {path}")).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "it came to the door, unsigned: {path}: {answer}");
    }
    for path in ["/webhooks/acme", "/webhooks/incidentio/acme/extra", "//webhooks"] {
        let answer = raw(&serving, &format!("POST {path}")).await;
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"), "{path}: {answer}");
        assert!(!answer.contains("content-security-policy"), "{path}: {answer}");
    }
    let get = async |path: &str| {
        reqwest::get(format!("{}{path}", serving.url)).await.unwrap().text().await.unwrap()
    };
    assert!(get("/metrics").await.contains("koalr_webhooks_total{result=\"unknown_path\"} 3"));
    for page in ["/o/acme/deliveries", "/host"] {
        assert!(get(page).await.contains("/webhooks/incidentio/acme/extra"), "{page}");
    }
    let said = text(&serving.end());
    assert_eq!(said.matches("came by no connected organisation's address").count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lives_is_not_ready_while_its_database_takes_nothing() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let serving = desk.serve();
    let status =
        async |path: &str| reqwest::get(format!("{}{path}", serving.url)).await.unwrap().status().as_u16();
    let other = rusqlite::Connection::open(desk.path("k.db")).unwrap();
    other.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!((status("/readyz").await, status("/healthz").await), (503, 200));
    other.execute_batch("ROLLBACK").unwrap();
    while status("/readyz").await != 200 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_new_connections_are_closed_and_the_log_says_so() {
    let simulator = account(5).await;
    let desk = Desk::new();
    desk.connect(&simulator).await;
    let program = desk.command("serve --db k.db --listen 127.0.0.1:0");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 128; exec \"$0\" \"$@\""]).arg(program.get_program());
    limited.args(program.get_args()).current_dir(desk.directory.path());
    for (name, value) in program.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let serving = Serving::start(limited);
    let address = serving.url.strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    let mut last = silent.pop().unwrap();
    let closed = last.read(&mut [0]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "it is not left to hang: {closed:?}");
    drop((silent, last));
    // With the others gone it is served again.
    while reqwest::get(format!("{}/healthz", serving.url)).await.is_err() {}
    let said = text(&serving.end());
    assert!(said.contains("a new one is closed") || said.contains("no connection can be taken"), "{said}");
}

fn fixture(name: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tls").join(name)
}

/// A proxy that connects whatever it is asked for to a server called `api.incident.io`, behind whose TLS this one stands.
async fn proxy(to: String) -> std::net::SocketAddr {
    let read = |name: &str| std::fs::read(fixture(name)).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read("api.incident.io.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                assert_eq!(line, "CONNECT api.incident.io:443 HTTP/1.1\r\n");
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).await.unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                if let Ok(mut secure) = acceptor.accept(stream).await {
                    let mut there = TcpStream::connect(&to).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut secure, &mut there).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_with_an_authority_of_its_own_it_connects_once_both_are_named() {
    let simulator = account(5).await;
    let desk = Desk::new();
    let address = proxy(simulator.base_url().strip_prefix("http://").unwrap().to_owned()).await;
    let line = format!(
        "connect --db k.db --org acme --api-key-env API_KEY --proxy http://{address} --proxy-resolves"
    );
    let untrusted = desk.run(&line).await;
    let said = text(&untrusted.stderr);
    assert_eq!(untrusted.status.code(), Some(1), "{said}");
    assert!(said.contains("the certificate is not trusted by this host"), "{said}");
    assert!(said.contains("this does not pass by itself"), "{said}");
    let trusted = desk.run(&format!("{line} --ca-file {}", fixture("authority.pem").display())).await;
    assert!(trusted.status.success(), "{}", text(&trusted.stderr));
    let mut by_variable = desk.command(&format!(
        "poll --db k.db --org acme --proxy-resolves --ca-file {}",
        fixture("authority.pem").display()
    ));
    by_variable.env("HTTPS_PROXY", format!("http://ann:secret@{address}"));
    let output = tokio::task::spawn_blocking(move || by_variable.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_proxy_or_an_authority_is_said_before_anything_is_sent() {
    let desk = Desk::new();
    let connect = "connect --db k.db --org acme --api-key-env API_KEY";
    std::fs::write(desk.path("notes.txt"), "no certificate").unwrap();
    for (line, says) in [
        (format!("{connect} --proxy http://ann:hidden@proxy:3128"), "set the variable HTTPS_PROXY instead"),
        (format!("{connect} --proxy socks5://proxy:1080"), "write http://host:port"),
        (format!("{connect} --proxy-resolves"), "needs a proxy"),
        (format!("{connect} --ca-file notes.txt"), "-----BEGIN CERTIFICATE-----"),
        (format!("{connect} --ca-file nothing.pem"), "--ca-file nothing.pem"),
    ] {
        let output = desk.run(&line).await;
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{line}: {said}");
        assert!(!said.contains("hidden"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_signing_secret_is_taken_with_a_warning() {
    let simulator = account(5).await;
    let desk = Desk::new();
    let map = format!("https://api.incident.io={}", simulator.base_url());
    let line =
        "connect --db k.db --org acme --api-key-env API_KEY --webhook-secret-env SHORT --json --map-origin";
    let connect = async |secret: &'static str| {
        let mut command = desk.command(&format!("{line} {map}"));
        command.env("SHORT", secret);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let output = connect("whsec_AA==").await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warnings = document["warnings"].to_string();
    assert!(warnings.contains("has 1 bytes"), "{document}");
    let refused = connect("whsec_").await;
    assert!(!refused.status.success(), "that is no key at all");
}
