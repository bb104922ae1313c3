//! Properties of the sources themselves: who may name whom, and what stays in the shell.
//!
//! The layers keep the engine pure and its flow one-way. The compiler cannot check them inside one crate, so this does, and
//! proves on planted faults that it would see one.

#![allow(clippy::expect_used, reason = "a test stops where the sources are not as they must be")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A layer, and the modules of this crate that its files may name (its own is always allowed).
const LAYERS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("limits", &["units"]),
    ("query", &["units", "limits"]),
    ("config", &["units", "limits", "query", "store"]),
    ("media", &["units", "limits"]),
    ("rtmp", &["units", "limits", "query"]),
    ("store", &["units", "limits"]),
    ("hls", &["units", "limits", "media", "store"]),
    ("access", &["units", "limits", "query", "config"]),
    ("channel", &["units", "limits", "query", "config", "media", "hls", "store"]),
    ("check", &["units", "limits", "config", "store"]),
    ("http", &["units", "limits", "query", "config", "hls", "store", "access", "channel"]),
    ("console", &["units", "limits", "query", "config", "hls", "store", "access", "channel"]),
    (
        "publish",
        &["units", "limits", "query", "config", "store", "access", "channel", "http", "rtmp"],
    ),
    (
        "api",
        &["units", "limits", "query", "config", "store", "access", "channel", "http", "console"],
    ),
    (
        "respond",
        &["units", "limits", "query", "config", "access", "channel", "http", "api", "console"],
    ),
    ("demo", &["units", "limits"]),
];

/// What belongs to the shell alone: the outside world.
const SHELL_ONLY: &[&str] = &[
    "tokio::",
    "rustix::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::env",
    "std::process",
    "std::time",
    "std::os",
    "File::open",
    "Instant::",
    "SystemTime::",
    "async fn",
    ".await",
    "rand::",
    "println!",
    "tracing::",
];

/// Words that are never committed.
const NEVER: &[&str] = &["todo!(", "unimplemented!(", "dbg!(", "#[ignore"];

/// The part of a file before its unit tests, with comments and strings' contents left in.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// The layer of a file below `src`: its folder, or its own name where it stands at the top.
fn layer(path: &Path) -> &str {
    let first = path.components().next().expect("a relative path has a component");
    first.as_os_str().to_str().expect("file names are UTF-8").trim_end_matches(".rs")
}

/// The modules that a line names as `crate::module`, also inside `crate::{module, …}`.
fn named_modules(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        if at > 0 && text[..at].ends_with(['$', '_', ':']) {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        if is_comment(&text[start..at]) {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            let mut take = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => take = true,
                    _ if depth > 0 => {}
                    c if c.is_alphanumeric() || c == '_' => {
                        if take {
                            word.push(c);
                        }
                        continue;
                    }
                    ':' => {
                        if take && !word.is_empty() {
                            found.push((line, std::mem::take(&mut word)));
                        }
                        take = false;
                        continue;
                    }
                    _ => {}
                }
                if !word.is_empty() {
                    found.push((line, std::mem::take(&mut word)));
                }
            }
            if !word.is_empty() {
                found.push((line, word));
            }
        } else {
            found.push((
                line,
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect(),
            ));
        }
    }
    found
}

/// Every fault in one file: `FILE:LINE: what`.
fn faults(path: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let layer = layer(path);
    let code = code(text);
    for (number, line) in text.lines().enumerate() {
        for word in NEVER {
            if line.contains(word) {
                faults.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    if matches!(layer, "shell" | "main" | "lib") {
        return faults;
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        faults.push(format!("{}: the layer {layer} is not in the table", path.display()));
        return faults;
    };
    for (line, module) in named_modules(code) {
        if module != layer && !allowed.contains(&module.as_str()) {
            faults.push(format!("{}:{line}: {layer} may not name {module}", path.display()));
        }
    }
    for (number, line) in code.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
        for word in SHELL_ONLY {
            if line.contains(word) {
                faults.push(format!(
                    "{}:{}: {word} belongs to the shell",
                    path.display(),
                    number + 1
                ));
            }
        }
    }
    faults
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("src is there").map(|e| e.expect("readable").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    assert!(paths.len() > 20, "the sources were not found");
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source is UTF-8");
            (path.strip_prefix(&root).expect("below src").to_owned(), text)
        })
        .collect()
}

#[test]
fn the_sources_keep_to_their_layers() {
    let faults: Vec<_> = all_sources().iter().flat_map(|(path, text)| faults(path, text)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_source_opens_with_what_it_is_for() {
    let silent: Vec<_> = all_sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no module documentation: {silent:?}");
}

/// "What happens when the power goes" names a test for each of its sentences: each name, or its beginning before `…`, is that of a test.
#[test]
fn every_test_that_the_readme_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("it is UTF-8");
    let (_, page) = readme.split_once("## What happens when the power goes\n").expect("the page");
    let (page, _) = page.split_once("\n## ").expect("a page behind it");
    let mut paths = Vec::new();
    ["src", "tests"].iter().for_each(|folder| sources(&root.join(folder), &mut paths));
    let read = |path: &PathBuf| fs::read_to_string(path).expect("a source is UTF-8");
    let sources: String = paths.iter().map(read).collect();
    let words = page.split('`').skip(1).step_by(2);
    let names: Vec<_> = words.filter(|word| word.matches('_').count() > 1).collect();
    assert!(names.len() > 15, "only {names:?}");
    for name in names {
        let (start, end) = name.split_once('…').map_or((name, "("), |(start, _)| (start, ""));
        let test = format!("#[test]\nfn {start}{end}");
        assert!(sources.replace("\n    ", "\n").contains(&test), "no test has the name {name}");
    }
}

#[test]
fn a_planted_fault_is_found() {
    let planted = [
        ("media/x.rs", "use crate::{units::Millis, store::Record};", "media may not name store"),
        ("store/x.rs", "use crate::hls::ts;", "store may not name hls"),
        ("rtmp/x.rs", "fn f() { crate::access::admit() }", "rtmp may not name access"),
        ("hls/x.rs", "use crate::{\n    media::{a, b},\n    http,\n};", "hls may not name http"),
        ("channel/x.rs", "let t = Instant::now();", "belongs to the shell"),
        ("http/x.rs", "async fn f() {}", "belongs to the shell"),
        ("access/x.rs", "std::env::var(\"X\")", "belongs to the shell"),
        ("shell/x.rs", "todo!()", "todo!("),
        ("odd/x.rs", "", "not in the table"),
    ];
    for (path, text, fault) in planted {
        let found = faults(Path::new(path), text);
        assert!(found.iter().any(|f| f.contains(fault)), "{path}: {text}: {found:?}");
    }
    let fine = "use crate::{limits::X, units::{Millis, Now}};\n// crate::shell is not meant\n#[cfg(test)]\nmod tests { use std::fs; }";
    assert!(faults(Path::new("store/x.rs"), fine).is_empty());
}
