//! The body of PutLiveChannel ↔ a LiveChannel's settings.
//!
//! Source: OSS, PutLiveChannel and GetLiveChannelInfo; the error numbers are those of OSS's error pages.

use crate::{
    api::element::Element,
    config::{
        LiveChannel, Status,
        catalogue::Settings,
        names,
        rings::{FRAG_COUNT_DEFAULT, FRAG_DURATION_S_DEFAULT},
    },
    http::{error::OssError, xml::Document},
    units::UnixSecs,
};

/// Reads a request body. An element that is there and empty means the default, as one that is missing does:
/// OSS's own SDK sends `<PlaylistName />` when its caller names none.
///
/// Snapshot, which takes pictures into another bucket of the cloud, is read past.
pub fn parse(body: &[u8], now: UnixSecs) -> Result<Settings, OssError> {
    let root = Element::parse(body).map_err(|error| malformed_xml(&error.to_string()))?;
    if root.name != "LiveChannelConfiguration" {
        let why = format!("the root element is {}, not LiveChannelConfiguration", root.name);
        return Err(malformed_xml(&why));
    }
    let target =
        root.child("Target").ok_or_else(|| malformed_xml("the element Target is missing"))?;
    let description = root.child_text("Description").unwrap_or_default();
    if !names::is_description(description) {
        let allowed = "at most 128 bytes without control characters";
        return Err(invalid("Description", description, allowed, "0044-00000001"));
    }
    let status = status(root.child_text("Status").unwrap_or("enabled"), "0044-00000002")?;
    let kind = target.child_text("Type").unwrap_or_default();
    if kind != "HLS" {
        return Err(invalid("Type", kind, "HLS", "0044-00000013"));
    }
    let (frag_duration_s, frag_count) =
        match (target.child_text("FragDuration"), target.child_text("FragCount")) {
            (None, None) => (FRAG_DURATION_S_DEFAULT, FRAG_COUNT_DEFAULT),
            (duration, count) => (
                number("FragDuration", duration, "0044-00000014")?,
                number("FragCount", count, "0044-00000015")?,
            ),
        };
    let playlist_name =
        target.child_text("PlaylistName").or_else(|| target.child_text("PlayListName"));
    let playlist_name = playlist_name.unwrap_or("playlist.m3u8");
    check_playlist_name(playlist_name)?;
    Ok(Settings {
        description: description.into(),
        status,
        frag_duration_s,
        frag_count,
        playlist_name: playlist_name.into(),
        modified: now,
    })
}

/// Whether a channel is as `settings` say, but for its status.
pub fn is_as(channel: &LiveChannel, settings: &Settings) -> bool {
    channel.description == settings.description
        && channel.frag_duration_s == settings.frag_duration_s
        && channel.frag_count == settings.frag_count
        && channel.playlist_name == settings.playlist_name
}

/// Writes what GetLiveChannelInfo answers.
pub fn write(channel: &LiveChannel, document: &mut Document) {
    document.text("Description", &channel.description);
    document.text("Status", channel.status.word());
    document.parent("Target", |target| {
        target.text("Type", "HLS");
        target.text("FragDuration", channel.frag_duration_s);
        target.text("FragCount", channel.frag_count);
        target.text("PlaylistName", &channel.playlist_name);
    });
}

/// Reads a status as requests spell it. `ec`: the error's number, which differs from call to call.
pub fn status(word: &str, ec: &'static str) -> Result<Status, OssError> {
    [Status::Enabled, Status::Disabled]
        .into_iter()
        .find(|status| status.word() == word)
        .ok_or_else(|| invalid("Status", word, "enabled or disabled", ec))
}

/// Checks the name of a LiveChannel that is to be made.
pub fn check_channel_name(name: &str) -> Result<(), OssError> {
    if names::is_channel_name(name) {
        return Ok(());
    }
    let message = "A LiveChannel name has 1 to 63 bytes of UTF-8 without a slash, a backslash and control characters, and is not \".\", \"..\" or \"-\".";
    let error = OssError::new(400, "InvalidChannelName", message);
    Err(if name.is_empty() { error.ec("0017-00000257") } else { error })
}

fn check_playlist_name(name: &str) -> Result<(), OssError> {
    let refused = |allowed, ec| Err(invalid("PlaylistName", name, allowed, ec));
    match () {
        () if name.contains('/') => refused("a name without a slash", "0044-00000016"),
        () if !(6..=128).contains(&name.len()) => refused("6 to 128 bytes", "0044-00000017"),
        () if !names::is_playlist_name(name) => refused(
            "a name that ends with .m3u8, without backslash and control characters",
            "0044-00000018",
        ),
        () => Ok(()),
    }
}

fn number(name: &'static str, text: Option<&str>, ec: &'static str) -> Result<u32, OssError> {
    let text = text.unwrap_or_default();
    let value = text.parse().ok().filter(|n| (1..=100).contains(n));
    value.ok_or_else(|| {
        let allowed =
            "a whole number from 1 to 100; FragDuration and FragCount come together or not at all";
        invalid(name, text, allowed, ec)
    })
}

/// 400 for an argument; `allowed` says what may stand there.
pub fn invalid(name: &'static str, value: &str, allowed: &str, ec: &'static str) -> OssError {
    let shown: String = value.chars().take(128).collect();
    OssError::invalid_argument(name, &shown, format!("{name} is not valid: it must be {allowed}."))
        .ec(ec)
}

/// 400 for a body that is not the document it should be.
fn malformed_xml(why: &str) -> OssError {
    let message = format!(
        "The XML you provided was not well-formed or did not validate against our published schema: {why}."
    );
    OssError::new(400, "MalformedXML", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str, target: &str) -> Result<Settings, OssError> {
        let body = format!(
            "<LiveChannelConfiguration>{inside}<Target><Type>HLS</Type>{target}</Target></LiveChannelConfiguration>"
        );
        parse(body.as_bytes(), UnixSecs(7))
    }

    #[test]
    fn empty_means_default() {
        let settings = read("<Description /><Status/>", "<PlaylistName />").unwrap();
        assert_eq!((settings.frag_duration_s, settings.frag_count), (5, 3));
        let given = (settings.playlist_name.as_str(), settings.status, settings.modified);
        assert_eq!(given, ("playlist.m3u8", Status::Enabled, UnixSecs(7)));
        assert_eq!(read("", "").unwrap(), settings);
    }

    #[test]
    fn takes_all_it_is_given() {
        let settings = read(
            "<Description>a &amp; b</Description><Status>disabled</Status><Snapshot><Interval>5</Interval></Snapshot>",
            "<FragDuration>2</FragDuration><FragCount>6</FragCount><PlaylistName>t.m3u8</PlaylistName>",
        );
        let expected = Settings {
            description: "a & b".into(),
            status: Status::Disabled,
            frag_duration_s: 2,
            frag_count: 6,
            playlist_name: "t.m3u8".into(),
            modified: UnixSecs(7),
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn each_fault_has_its_own_number() {
        let long = "x".repeat(129);
        let description = format!("<Description>{long}</Description>");
        let name = format!("<PlaylistName>{long}.m3u8</PlaylistName>");
        let table = [
            (description.as_str(), "", "0044-00000001"),
            ("<Status>on</Status>", "", "0044-00000002"),
            ("", "<FragDuration>0</FragDuration><FragCount>3</FragCount>", "0044-00000014"),
            ("", "<FragDuration>101</FragDuration><FragCount>3</FragCount>", "0044-00000014"),
            ("", "<FragDuration>5</FragDuration>", "0044-00000015"),
            ("", "<FragCount>5</FragCount>", "0044-00000014"),
            ("", "<FragDuration>5</FragDuration><FragCount>x</FragCount>", "0044-00000015"),
            ("", "<PlaylistName>a/b.m3u8</PlaylistName>", "0044-00000016"),
            ("", "<PlaylistName>.m3u</PlaylistName>", "0044-00000017"),
            ("", name.as_str(), "0044-00000017"),
            ("", "<PlaylistName>list.txt</PlaylistName>", "0044-00000018"),
        ];
        for (inside, target, ec) in table {
            let error = read(inside, target).unwrap_err();
            let is = (error.status, error.code, error.ec);
            assert_eq!(is, (400, "InvalidArgument", ec), "{inside}{target}");
        }
        let other = b"<LiveChannelConfiguration><Target><Type>FLV</Type></Target></LiveChannelConfiguration>";
        assert_eq!(parse(other, UnixSecs(7)).unwrap_err().ec, "0044-00000013");
    }

    #[test]
    fn another_document_is_malformed() {
        for text in [
            "",
            "<a/>",
            "<LiveChannelConfiguration/>",
            "<LiveChannelConfiguration><Target></LiveChannelConfiguration>",
        ] {
            let error = parse(text.as_bytes(), UnixSecs(7)).unwrap_err();
            assert_eq!(error.code, "MalformedXML", "{text}");
        }
    }

    #[test]
    fn names_of_channels_are_checked() {
        assert!(check_channel_name("前门").is_ok());
        for bad in ["", "-", ".", "a/b", "a\\b", "a\0", &"x".repeat(64)] {
            assert_eq!(check_channel_name(bad).unwrap_err().code, "InvalidChannelName", "{bad}");
        }
    }
}
