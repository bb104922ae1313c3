//! The keys of the configuration file, read one after the other into a [`Config`].

use std::{
    io,
    path::{Path, PathBuf},
};

use smol_str::SmolStr;
use toml::de::DeTable;

use super::{
    AccessKey, Acl, Config, ConsoleAccess, Durability, Limits, Problem, Store, Warning,
    bucket::Buckets,
    listen, names,
    problem::{At, Notes, Seen, quoted},
    size::Size,
    table::Table,
};
use crate::limits::{
    ACCESS_KEY_BYTES_MAX, ACCESS_KEYS_MAX, BUCKETS_MAX, CHANNELS_MAX, FLASH_BLOCK_BYTES,
    PUBLISHERS_MAX, VIEWERS_MAX,
};

/// Reads what a `secret_file` names.
type ReadSecret<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// A secret shorter than this is guessed too easily, in bytes. OSS's have 30.
const SECRET_BYTES_GOOD: usize = 16;

pub(super) fn parse(
    text: &str,
    file: &str,
    secrets: ReadSecret<'_>,
) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    let notes = Notes::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        notes.problem(
            &At { offset, key: String::new() },
            format!("is not TOML: {}", error.message()),
        );
    }
    let config =
        errors.is_empty().then(|| config(Table::root(root.get_ref(), &notes), file, secrets));
    let (problems, warnings) = notes.finish();
    match config {
        Some(config) if problems.is_empty() => Ok((config, warnings)),
        _ => Err(problems),
    }
}

fn config(mut root: Table<'_>, file: &str, secrets: ReadSecret<'_>) -> Config {
    let notes = root.notes;
    let limits_table = root.table("limits");
    let (memory_at, publishers_at) = (limits_table.at("memory"), limits_table.at("publishers"));
    let store = store(root.table("store"));
    let mut buckets = Buckets::new(&store, notes);
    root.require("bucket");
    if root.is_empty("bucket") {
        notes.problem(&root.at("bucket"), "names no bucket");
    }
    let config = Config {
        file: file.into(),
        endpoint: root.text("endpoint", names::host_name),
        region: root.text("region", names::region).unwrap_or("cn-hangzhou".into()),
        listen: listen::read(root.table("listen")),
        limits: limits(limits_table),
        console: console(root.table("console")),
        access_keys: access_keys(root.tables("access_key", ACCESS_KEYS_MAX), secrets),
        buckets: root
            .tables("bucket", BUCKETS_MAX)
            .into_iter()
            .map(|table| buckets.read(table))
            .collect(),
        store: store.clone(),
    };
    buckets.finish(&config);
    check_sums(&config, notes, &memory_at, &publishers_at, &root.at("bucket"));
    root.finish();
    config
}

fn store(mut table: Table<'_>) -> Store {
    let given = table.size("flash_block", FLASH_BLOCK_BYTES);
    let flash_block_bytes = given.filter(|bytes| bytes.is_power_of_two()).unwrap_or(4 << 20);
    if given.is_some_and(|bytes| bytes != flash_block_bytes) {
        table.notes.problem(&table.at("flash_block"), "is not a power of two, such as \"4MiB\"");
    }
    let store = Store {
        path: table
            .text("path", absolute_path)
            .unwrap_or_else(|| PathBuf::from("/var/lib/sluicegate")),
        durability: table
            .word(
                "durability",
                &[("segment", Durability::Segment), ("relaxed", Durability::Relaxed)],
            )
            .unwrap_or(Durability::Segment),
        flash_block_bytes,
    };
    table.finish();
    store
}

fn limits(mut table: Table<'_>) -> Limits {
    let limits = Limits {
        publishers: table.number("publishers", 1..=PUBLISHERS_MAX).unwrap_or(16),
        viewers: table.number("viewers", 1..=VIEWERS_MAX).unwrap_or(128),
        memory_bytes: table.size("memory", 0..=u64::MAX).unwrap_or(48 << 20),
    };
    table.finish();
    limits
}

fn console(mut table: Table<'_>) -> ConsoleAccess {
    let words = [
        ("off", ConsoleAccess::Off),
        ("signed", ConsoleAccess::Signed),
        ("open", ConsoleAccess::Open),
    ];
    let access = table.word("access", &words).unwrap_or(ConsoleAccess::Signed);
    if access == ConsoleAccess::Open {
        table.notes.warn(
            &table.at("access"),
            "everybody who reaches this box may see its channels and their publishers",
        );
    }
    table.finish();
    access
}

fn access_keys(tables: Vec<Table<'_>>, secrets: ReadSecret<'_>) -> Vec<AccessKey> {
    let mut seen = tables.first().map(|table| Seen::new(table.notes, "the id of an access key"));
    let mut keys = Vec::new();
    for mut table in tables {
        table.require("id");
        let id = table.text("id", names::key_id).unwrap_or_default();
        if let Some(seen) = &mut seen {
            seen.add(&id, &table.at("id"));
        }
        let given = table.text("secret", secret);
        let from_file = table.text("secret_file", |path| {
            let text = secrets(Path::new(path))
                .map_err(|error| format!("the file that it names cannot be read: {error}"))?;
            // Editors and `echo` end a file with a line break.
            secret(text.trim_end_matches(['\r', '\n']))
        });
        let key_of_secret = if table.has("secret") { "secret" } else { "secret_file" };
        let secret = given.or(from_file).unwrap_or_default();
        match (table.has("secret"), table.has("secret_file")) {
            (false, false) => table.notes.problem(&table.at, "needs secret or secret_file"),
            (true, true) => table.notes.problem(&table.at("secret_file"), "stands beside secret; one of the two is allowed"),
            _ if (1..SECRET_BYTES_GOOD).contains(&secret.len()) => table.notes.warn(
                &table.at(key_of_secret),
                format!("the secret has fewer than {SECRET_BYTES_GOOD} characters: it can be guessed from one signed URL"),
            ),
            _ => {}
        }
        table.finish();
        keys.push(AccessKey { id, secret });
    }
    keys
}

/// Checks what takes the whole configuration to see.
fn check_sums(
    config: &Config,
    notes: &Notes<'_>,
    memory_at: &At,
    publishers_at: &At,
    buckets_at: &At,
) {
    let channels: u32 = config.ring_plans().map(|plan| plan.count).fold(0, u32::saturating_add);
    if channels > CHANNELS_MAX {
        notes.problem(
            buckets_at,
            format!(
                "all buckets together have {channels} channels; at most {CHANNELS_MAX} are allowed"
            ),
        );
    }
    if channels > config.limits.publishers {
        let publishers = config.limits.publishers;
        notes.warn(
            publishers_at,
            format!("{channels} channels may be published to, but only {publishers} at a time; the next camera is refused"),
        );
    }
    let budget = config.memory_budget();
    if budget.total_bytes > config.limits.memory_bytes {
        notes.problem(
            memory_at,
            format!(
                "this configuration needs up to {}, and {} is allowed: allow more, or fewer publishers, viewers or bytes of ring",
                Size(budget.total_bytes),
                Size(config.limits.memory_bytes)
            ),
        );
    }
    let needs_key = config.buckets.iter().any(|bucket| bucket.acl != Acl::PublicReadWrite);
    if config.access_keys.is_empty() && needs_key {
        notes.warn(buckets_at, "there is no [[access_key]]: nobody can publish to a bucket that is not public-read-write");
    }
}

/// The message does not show the text.
fn secret(text: &str) -> Result<SmolStr, String> {
    let holds = (1..=ACCESS_KEY_BYTES_MAX).contains(&text.len())
        && !text.contains(|c: char| c.is_control() || c.is_whitespace());
    holds.then(|| text.into()).ok_or_else(|| {
        format!("the secret is not allowed: 1 to {ACCESS_KEY_BYTES_MAX} bytes in one line, without spaces")
    })
}

fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_good = path.is_absolute() && path.parent().is_some() && !text.contains('\0');
    if is_good {
        Ok(path)
    } else {
        Err(format!("{} is not allowed: a folder that begins with \"/\"", quoted(text)))
    }
}
