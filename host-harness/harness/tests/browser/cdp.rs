//! Chromium, as a person uses it: over its DevTools protocol, with a dozen of its commands. The crates that speak all of
//! the protocol are hundreds of thousands of generated lines, which every build of the tests would pay for.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// How long a page may take to become as it should be.
const PATIENCE_MS: u32 = 15_000;

pub(crate) struct Browser {
    child: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: String,
    last: u64,
    /// What the page complained about: errors of scripts, of the console, of the security policy, of the network.
    problems: Vec<String>,
    _profile: tempfile::TempDir,
}

/// The browser's program, or none where there is none, which is said. With `CI` set there must be one.
fn program() -> Option<String> {
    let named = std::env::var("CHROMIUM").ok();
    let known = ["chromium", "chromium-browser", "google-chrome"].map(String::from);
    let found = named.into_iter().chain(known).find(|name| {
        let tried = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "there is no browser, and CI must have one");
    if found.is_none() {
        eprintln!(
            "NOT TESTED: there is no Chromium; install Debian's package `chromium`, or name one in CHROMIUM"
        );
    }
    found
}

impl Browser {
    /// None where there is no browser, which has been said.
    pub(crate) fn launch() -> Option<Browser> {
        let program = program()?;
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-port=0",
                "--hide-scrollbars",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-extensions",
                "--disable-sync",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "the browser ended at once");
            if let Some(address) = line.trim().strip_prefix("DevTools listening on ") {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let (socket, _) = tungstenite::connect(&address).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        }
        let mut browser = Browser {
            child,
            socket,
            session: String::new(),
            last: 0,
            problems: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session =
            browser.call("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().to_owned();
        // What a person grants by clicking.
        browser.call("Browser.grantPermissions", json!({ "permissions": ["clipboardSanitizedWrite"] }));
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == id {
                return match message.get("error") {
                    None => Ok(message["result"].clone()),
                    Some(error) => Err(error.clone()),
                };
            }
            self.notice(&message);
        }
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        let told = parameters.to_string();
        self.try_call(method, parameters).unwrap_or_else(|error| panic!("{method} {told}: {error}"))
    }

    fn notice(&mut self, message: &Value) {
        let of = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.problems.push(of["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if of["type"] == "error" => {
                self.problems.push(of["args"].to_string())
            }
            // The security policy's violations are among these, and answers that are no success.
            Some("Log.entryAdded") if of["entry"]["level"] == "error" => {
                self.problems.push(of["entry"].to_string())
            }
            _ => {}
        }
    }

    /// What the pages complained about since this was last asked.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        self.eval("1");
        std::mem::take(&mut self.problems)
    }

    pub(crate) fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    pub(crate) fn reload(&mut self) {
        self.eval("document.documentElement.dataset.old = 'yes'");
        self.call("Page.reload", json!({}));
        self.until("!document.documentElement.dataset.old && document.readyState === 'complete'");
    }

    /// The value of an expression.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    pub(crate) fn text(&mut self, selector: &str) -> String {
        let value = self.eval(&format!("document.querySelector({})?.innerText ?? null", json!(selector)));
        let shown = || panic!("the page has no {selector}");
        value.as_str().unwrap_or_else(shown).to_owned()
    }

    /// Waits until a whole page is there and an expression is true of it, over navigations.
    pub(crate) fn until(&mut self, expression: &str) {
        // Looked at in the page, so that a change is seen at once.
        let code = format!(
            "new Promise((done) => {{ const end = performance.now() + 1000; const look = () => {{ let is = false; \
             try {{ is = document.readyState === 'complete' && !!({expression}); }} catch {{}} if (is || performance.now() > end) done(is); \
             else setTimeout(look, 20); }}; look(); }})"
        );
        let parameters = json!({ "expression": code, "returnByValue": true, "awaitPromise": true });
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(PATIENCE_MS.into()) {
            // A page that goes away in the middle of it answers with an error.
            let answer = self.try_call("Runtime.evaluate", parameters.clone());
            if answer.is_ok_and(|answer| answer["result"]["value"] == true) {
                return;
            }
        }
        let page = self.eval("location.href + '\\n' + document.body.innerText");
        panic!("it never was so: {expression}\n{}", page.as_str().unwrap_or_default());
    }

    /// Waits for a text anywhere on the page.
    pub(crate) fn until_text(&mut self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text)));
    }

    pub(crate) fn click(&mut self, selector: &str) {
        self.click_on(&format!("document.querySelector({})", json!(selector)));
    }

    /// Clicks the button or link of this text.
    pub(crate) fn click_text(&mut self, text: &str) {
        self.click_on(&format!(
            "[...document.querySelectorAll('button, a, summary')].find((one) => one.innerText.trim() === {})",
            json!(text)
        ));
    }

    /// With the mouse, so that what is covered or not shown cannot be clicked.
    fn click_on(&mut self, find: &str) {
        self.until(find);
        let place = self.eval(&format!(
            "{{ const one = {find}; one.scrollIntoView({{ block: 'center', inline: 'center', behavior: 'instant' }}); \
             const at = one.getClientRects()[0]; const [x, y] = at ? [at.x + at.width / 2, at.y + at.height / 2] : [-1, -1]; \
             const hit = document.elementFromPoint(x, y); [x, y, !!hit && one.contains(hit)] }}"
        ));
        assert_eq!(place[2], true, "{find} is covered, or not shown");
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into a field, in place of what is in it.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({})", json!(selector)));
        self.eval(&format!(
            "{{ const field = document.querySelector({}); field.focus(); field.select?.(); }}",
            json!(selector)
        ));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Makes a choice as a person does.
    pub(crate) fn choose(&mut self, selector: &str, value: &str) {
        let (selector, value) = (json!(selector), json!(value));
        self.eval(&format!(
            "{{ const field = document.querySelector({selector}); field.value = {value}; \
             field.dispatchEvent(new Event('change', {{ bubbles: true }})); }}"
        ));
    }

    pub(crate) fn upload(&mut self, selector: &str, file: &std::path::Path) {
        let document = self.call("DOM.getDocument", json!({}));
        let query = json!({ "nodeId": document["root"]["nodeId"], "selector": selector });
        let node = self.call("DOM.querySelector", query)["nodeId"].clone();
        self.call("DOM.setFileInputFiles", json!({ "nodeId": node, "files": [file.display().to_string()] }));
    }

    pub(crate) fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => panic!("no code for {key}"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    pub(crate) fn look_through(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// A picture of the whole page, as PNG.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        use base64::Engine;
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let parameters = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let answer = self.call("Page.captureScreenshot", parameters);
        base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
