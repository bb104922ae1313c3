//! The body of PutLiveChannel → settings: bounded, and what was set is told again as it was, over the catalogue too.

use std::path::Path;

use sluicegate::{
    api::{element::Element, settings},
    config::{
        ChannelPath, Config,
        catalogue::{Catalogue, Settings},
        names,
    },
    http::{response::Body, response::RequestId, xml::Document},
    limits::{XML_DEPTH_MAX, XML_ELEMENTS_MAX},
    units::UnixSecs,
};

const NOW: UnixSecs = UnixSecs(1_800_000_000);

thread_local! {
    static CONFIG: Config = config();
}

pub(crate) fn hold(bytes: &[u8]) {
    if let Ok(root) = Element::parse(bytes) {
        let mut count = Count::default();
        count.add(&root, 1);
        assert!(count.elements <= XML_ELEMENTS_MAX);
        // No reference stands for more than it takes to write.
        assert!(count.text_bytes <= bytes.len());
    }
    match settings::parse(bytes, NOW) {
        Ok(settings) => kept(&settings),
        Err(error) => {
            assert_eq!(error.status, 400);
            let response = error.response(RequestId { run: 1, number: 1 }, "gateway.lan", false);
            let Body::Made(text) = response.body else { panic!("{:?}", response.body) };
            is_written(&text);
        }
    }
}

#[derive(Default)]
struct Count {
    elements: usize,
    text_bytes: usize,
}

impl Count {
    fn add(&mut self, element: &Element, depth: usize) {
        // One without content may stand in the deepest.
        assert!(depth <= XML_DEPTH_MAX + usize::from(element.children.is_empty()));
        self.elements += 1;
        self.text_bytes += element.name.len() + element.text.len();
        for child in &element.children {
            self.add(child, depth + 1);
        }
    }
}

/// The settings keep their rules, and come back from the catalogue and from GetLiveChannelInfo.
fn kept(settings: &Settings) {
    assert!((1..=100).contains(&settings.frag_duration_s));
    assert!((1..=100).contains(&settings.frag_count));
    assert!(names::is_playlist_name(&settings.playlist_name));
    let mut catalogue = Catalogue::default();
    let path = ChannelPath { bucket: "cams".into(), channel: "door".into() };
    catalogue.channels.insert(path, settings.clone());
    assert_eq!(Catalogue::parse(&catalogue.text()), Ok(catalogue.clone()));
    let mut config = CONFIG.with(Clone::clone);
    assert!(catalogue.apply(&mut config).is_empty());
    let (_, channel) = config.live_channels().next().unwrap();
    assert!(settings::is_as(channel, settings) && channel.status == settings.status);
    let told = Document::write("LiveChannelConfiguration", |root| settings::write(channel, root));
    is_written(&told);
    assert_eq!(settings::parse(&told, NOW).as_ref(), Ok(settings));
}

/// A document of characters that XML has (XML 1.0 §2.2).
fn is_written(document: &[u8]) {
    let text = str::from_utf8(document).expect("UTF-8");
    let is_char =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    assert!(text.chars().all(is_char), "{text:?}");
    assert!(Element::parse(document).is_ok(), "{text:?}");
}

fn config() -> Config {
    let text = "[[bucket]]\nname = \"cams\"\ndynamic_channels = { max = 1, ring = \"16MiB\" }\n";
    let no_files = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    Config::parse(text, "x", &no_files).expect("a good configuration").0
}
