//! Two configurations → what a reload changes, and what it cannot.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::{ChannelPath, Config, LiveChannel};

/// What a reload changes. Keys, ACLs, hosts, Referer and CORS rules are not listed: they hold from the next request on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Diff {
    /// Channels that are as they were: their publishers stay connected.
    pub unchanged: Vec<ChannelPath>,
    /// Channels that were not there.
    pub added: Vec<ChannelPath>,
    /// Channels that are not there any more.
    pub removed: Vec<ChannelPath>,
    /// Channels that are there with other settings.
    pub changed: Vec<ChannelPath>,
    /// Keys whose change takes a restart; what they had at the start stays in force until then.
    pub needs_restart: Vec<&'static str>,
}

/// Compares the configuration in force with the one that was read again.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let mut diff = Diff { needs_restart: needs_restart(old, new), ..Diff::default() };
    let mut gone = channels(old);
    for (path, channel) in channels(new) {
        let kind = match gone.remove(&path) {
            None => &mut diff.added,
            Some(before) if before == channel => &mut diff.unchanged,
            Some(_) => &mut diff.changed,
        };
        kind.push(path);
    }
    diff.removed = gone.into_keys().collect();
    diff
}

fn channels(config: &Config) -> BTreeMap<ChannelPath, &LiveChannel> {
    let path = |bucket: &SmolStr, channel: &SmolStr| ChannelPath {
        bucket: bucket.clone(),
        channel: channel.clone(),
    };
    config
        .live_channels()
        .map(|(bucket, channel)| (path(&bucket.name, &channel.name), channel))
        .collect()
}

/// Sockets, the store and the tables that are sized at start do not follow a reload.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let fixed = [
        ("listen.http", old.listen.http != new.listen.http),
        ("listen.rtmp", old.listen.rtmp != new.listen.rtmp),
        ("store.path", old.store.path != new.store.path),
        ("store.durability", old.store.durability != new.store.durability),
        ("store.flash_block", old.store.flash_block_bytes != new.store.flash_block_bytes),
        ("limits.publishers", old.limits.publishers != new.limits.publishers),
        ("limits.viewers", old.limits.viewers != new.limits.viewers),
        ("limits.memory", old.limits.memory_bytes != new.limits.memory_bytes),
    ];
    fixed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let no_files = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        Config::parse(text, "test.toml", &no_files).unwrap().0
    }

    fn names(paths: &[ChannelPath]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn channels_are_told_apart_by_bucket_and_name() {
        let old = config(
            r#"
            bucket = [
                { name = "one", live_channel = [{ name = "a" }, { name = "b" }, { name = "c" }] },
                { name = "two", live_channel = [{ name = "a" }] },
            ]"#,
        );
        let new = config(
            r#"
            bucket = [
                { name = "one", live_channel = [{ name = "b", takeover = "replace" }, { name = "a" }] },
                { name = "new", live_channel = [{ name = "a" }] },
            ]"#,
        );
        let diff = diff(&old, &new);
        assert_eq!(names(&diff.unchanged), ["one/a"]);
        assert_eq!(names(&diff.changed), ["one/b"]);
        assert_eq!(names(&diff.added), ["new/a"]);
        assert_eq!(names(&diff.removed), ["one/c", "two/a"]);
        assert!(diff.needs_restart.is_empty());
    }

    #[test]
    fn a_change_of_rules_or_keys_leaves_every_channel_as_it_is() {
        let old = config("[[bucket]]\nname = \"one\"\nlive_channel = [{ name = \"a\" }]");
        let new = config(
            "[[access_key]]\nid = \"k\"\nsecret = \"s\"\n[[bucket]]\nname = \"one\"\nacl = \"public-read\"\n\
             live_channel = [{ name = \"a\" }]\nreferer = { whitelist = [\"http://x/\"] }",
        );
        let diff = diff(&old, &new);
        assert_eq!((names(&diff.unchanged), diff.changed.len()), (vec!["one/a".to_owned()], 0));
        assert!(diff.needs_restart.is_empty());
    }

    #[test]
    fn what_is_fixed_at_the_start_is_named_by_its_key() {
        let bucket = "[[bucket]]\nname = \"one\"\nlive_channel = [{ name = \"a\" }]\n";
        let old = config(bucket);
        for (text, key) in [
            ("[listen]\nhttp = [\"[::]:8081\"]", "listen.http"),
            ("[listen]\nrtmp = [\"[::]:1936\"]", "listen.rtmp"),
            ("[store]\npath = \"/data\"", "store.path"),
            ("[store]\ndurability = \"relaxed\"", "store.durability"),
            ("[store]\nflash_block = \"1MiB\"", "store.flash_block"),
            ("[limits]\npublishers = 3", "limits.publishers"),
            ("[limits]\nviewers = 3", "limits.viewers"),
            ("[limits]\nmemory = \"47MiB\"", "limits.memory"),
        ] {
            assert_eq!(diff(&old, &config(&format!("{bucket}{text}"))).needs_restart, [key]);
        }
    }
}
