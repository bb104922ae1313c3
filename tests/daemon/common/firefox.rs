//! Firefox without a window, told what to do over Marionette, the protocol below WebDriver.
//!
//! A message is `LENGTH:JSON`: `[0, id, command, parameters]` one way, `[1, id, error, result]` the other.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use serde_json::{Value, json};

use super::{Folder, SOON, free_ports, process::Watched, wait_for};

/// A browser with one page.
pub(crate) struct Firefox {
    stream: TcpStream,
    next_id: u64,
    // The profile goes after the browser that writes to it.
    _process: Watched,
    _folder: Folder,
}

impl Firefox {
    /// Starts it with an empty profile and an empty page.
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        let [port] = free_ports();
        let preferences = format!(
            "user_pref('marionette.port', {port});\nuser_pref('media.autoplay.default', 0);\n\
             user_pref('app.update.enabled', false);\nuser_pref('datareporting.policy.dataSubmissionEnabled', false);\n"
        );
        fs::write(folder.path().join("user.js"), preferences).unwrap();
        let process = Watched::start(
            Command::new("firefox-esr")
                .args(["--headless", "--no-remote", "--marionette", "--profile"])
                .arg(folder.path())
                .env("HOME", folder.path()),
        );
        let stream = wait_for("Firefox to listen", SOON * 3, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        stream.set_read_timeout(Some(SOON * 3)).unwrap();
        let mut firefox = Self { stream, next_id: 0, _process: process, _folder: folder };
        let greeting = firefox.receive();
        assert_eq!(greeting["applicationType"], "gecko", "{greeting}");
        firefox.call("WebDriver:NewSession", json!({ "capabilities": {} }));
        firefox
    }

    /// Opens `url`.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("WebDriver:Navigate", json!({ "url": url }));
    }

    /// Waits until the element `id` reads like the regular expression `pattern`.
    pub(crate) fn wait_for_text(&mut self, id: &str, pattern: &str) {
        let script =
            format!("return /{pattern}/.test(document.getElementById('{id}')?.textContent ?? '')");
        wait_for(&format!("{id} to read {pattern}"), SOON * 3, || {
            let parameters = json!({ "script": script, "args": [] });
            (self.call("WebDriver:ExecuteScript", parameters)["value"] == true).then_some(())
        });
    }

    /// Runs the body of a function in the page, and returns what it returns; a promise is waited for.
    pub(crate) fn run(&mut self, body: &str) -> Value {
        let parameters = json!({ "script": body, "args": [], "scriptTimeout": 60_000 });
        self.call("WebDriver:ExecuteScript", parameters)["value"].clone()
    }

    fn call(&mut self, command: &str, parameters: Value) -> Value {
        self.next_id += 1;
        let message = json!([0, self.next_id, command, parameters]).to_string();
        self.stream.write_all(format!("{}:{message}", message.len()).as_bytes()).unwrap();
        let answer = self.receive();
        assert!(answer[2].is_null(), "{command}: {answer}");
        answer[3].clone()
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            match byte[0] {
                b':' => break,
                digit => length = 10 * length + usize::from(digit - b'0'),
            }
        }
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).unwrap();
        serde_json::from_slice(&message).unwrap()
    }
}
