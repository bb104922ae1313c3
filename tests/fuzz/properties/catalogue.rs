//! The text of a catalogue → channels and recordings: all of it keeps the rules of the calls that made it, or none is
//! believed, though its checksum be right.

use std::path::Path;

use sluicegate::config::{Config, catalogue::Catalogue, names};

thread_local! {
    static CONFIG: Config = config();
}

/// The first byte says whether the text is given its checksum.
pub(crate) fn hold(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let Ok(text) = str::from_utf8(bytes) else { return };
    let parsed = if which & 1 == 0 {
        let crc = crc32fast::hash(text.as_bytes());
        Catalogue::parse(&format!("sluicegate-catalogue 1 {crc:08X}\n{text}"))
    } else {
        Catalogue::parse(text)
    };
    let Ok(mut catalogue) = parsed else { return };
    assert_eq!(Catalogue::parse(&catalogue.text()).as_ref(), Ok(&catalogue));
    for (path, settings) in &catalogue.channels {
        assert!(names::is_bucket_name(&path.bucket) && names::is_channel_name(&path.channel));
        assert!((1..=100).contains(&settings.frag_duration_s));
        assert!((1..=100).contains(&settings.frag_count));
        assert!(names::is_playlist_name(&settings.playlist_name));
    }
    // Names of files.
    for path in &catalogue.removed {
        assert!(names::is_bucket_name(&path.bucket) && names::is_channel_name(&path.channel));
    }
    for (path, recording) in &catalogue.recordings {
        let (channel, name) = path.key.split_once('/').expect("CHANNEL/NAME");
        assert!(recording.channel == channel && names::is_playlist_name(name));
        assert!(recording.first < recording.last);
    }
    let mut config = CONFIG.with(Clone::clone);
    let (flash, defined) = (config.flash_bytes(), config.live_channels().count());
    let all = catalogue.channels.len();
    let homeless = catalogue.apply(&mut config);
    let served = config.live_channels().count() - defined;
    assert!(served <= 2 && served + homeless.len() == all);
    assert_eq!(config.flash_bytes(), flash, "what is made over the API has its room already");
}

fn config() -> Config {
    let text = "[[bucket]]\nname = \"cams\"\ndynamic_channels = { max = 2, ring = \"16MiB\" }\n\
                live_channel = [{ name = \"yard\" }, { name = \"shed\", status = \"disabled\" }]\n";
    let no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    Config::parse(text, "x", &no_files).expect("a good configuration").0
}
