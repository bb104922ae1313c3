//! A configuration file → settings, or problems with places: never both nothing wrong and nothing there.

use std::{io, path::Path};

use sluicegate::{
    config::Config,
    limits::{ACCESS_KEYS_MAX, BUCKETS_MAX, CHANNELS_MAX},
};

pub(crate) fn hold(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let secrets = |path: &Path| {
        if path.as_os_str().len() > 20 {
            return Err(io::Error::other("no"));
        }
        Ok(String::from("a secret of some length"))
    };
    match Config::parse(text, "sluicegate.toml", &secrets) {
        Ok((config, warnings)) => {
            assert!(config.access_keys.len() <= ACCESS_KEYS_MAX);
            assert!(config.buckets.len() <= BUCKETS_MAX);
            assert!(config.live_channels().count() <= CHANNELS_MAX as usize);
            let mut names: Vec<_> = config
                .live_channels()
                .map(|(bucket, channel)| (&bucket.name, &channel.name))
                .collect();
            names.sort();
            assert!(names.windows(2).all(|two| two[0] != two[1]), "two channels of one name");
            for warning in warnings {
                assert!(!warning.to_string().is_empty());
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused for nothing");
            for problem in problems {
                assert!(problem.to_string().starts_with("sluicegate.toml"), "{problem}");
            }
        }
    }
}
