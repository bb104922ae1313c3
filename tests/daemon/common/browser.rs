//! Chromium without a window, told what to do through its debugging pipe (Chrome DevTools Protocol).
//!
//! The pipe is two FIFOs, so neither a driver program nor a port is needed: messages are JSON, each ended by a zero byte.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::{Value, json};

use super::{Folder, SOON, process::Watched, wait_for};

/// A browser with one page.
pub(crate) struct Browser {
    pipe: File,
    messages: Receiver<Value>,
    next_id: u64,
    /// The page's session.
    session: String,
    /// Addresses that the page asked for, and what it complained of, as they came.
    pub(crate) requests: Vec<String>,
    /// Console errors, breaches of its content security policy, uncaught exceptions.
    pub(crate) complaints: Vec<String>,
    // The profile goes after the browser that writes to it.
    _process: Watched,
    _folder: Folder,
}

impl Browser {
    /// Starts it with an empty profile and an empty page.
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").args([&to, &from]).status().unwrap().success());
        let command = r#"exec chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
            --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required \
            --user-data-dir="$1/profile" --remote-debugging-pipe about:blank 3<"$1/to" 4>"$1/from""#;
        let process =
            Watched::start(Command::new("sh").args(["-c", command, "sh"]).arg(folder.path()));
        let pipe = OpenOptions::new().write(true).open(to).unwrap();
        let answers = BufReader::new(File::open(from).unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    break;
                }
            }
        });
        let session = String::new();
        let (requests, complaints) = (Vec::new(), Vec::new());
        let mut browser = Self {
            pipe,
            messages,
            next_id: 0,
            session,
            requests,
            complaints,
            _process: process,
            _folder: folder,
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens `url`, and forgets what the last page did.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait_until("document.readyState === 'complete'");
        self.requests.retain(|request| request == url);
        self.complaints.clear();
    }

    /// What a JavaScript expression comes to in the page; a promise is waited for.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }),
        );
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Shows pages as to somebody who prefers the colour scheme `light` or `dark`.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Waits until a JavaScript expression is true in the page.
    pub(crate) fn wait_until(&mut self, expression: &str) {
        wait_for(expression, SOON * 3, || (self.evaluate(expression) == true).then_some(()));
    }

    /// Waits until the element `id` reads like the regular expression `pattern`.
    pub(crate) fn wait_for_text(&mut self, id: &str, pattern: &str) {
        let text = format!("document.getElementById('{id}').textContent");
        self.wait_until(&format!("/{pattern}/.test({text})"));
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next_id += 1;
        let mut message = json!({ "id": self.next_id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let answer = self
                .messages
                .recv_timeout(SOON)
                .unwrap_or_else(|_| panic!("Chromium does not answer {method}"));
            if answer["id"] == self.next_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    /// Keeps what a test may want to know of an event.
    fn note(&mut self, event: &Value) {
        let details = &event["params"];
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.requests
                    .push(details["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Log.entryAdded") if details["entry"]["level"] == "error" => {
                self.complaints.push(details["entry"]["text"].to_string())
            }
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(details["exceptionDetails"].to_string())
            }
            _ => {}
        }
    }
}
