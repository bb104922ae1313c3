//! The body of PutLiveChannel → checked settings of a LiveChannel (OSS: PutLiveChannel).

use smol_str::SmolStr;

use crate::{
    api::element::Element,
    config::Status,
    http::error::OssError,
};

/// FragDuration and FragCount where a request gives neither (OSS: PutLiveChannel).
const FRAG_DEFAULT: (u32, u32) = (5, 3);

/// What a client may choose about a LiveChannel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// At most 128 bytes.
    pub description: SmolStr,
    /// Whether it takes publishers.
    pub status: Status,
    /// Seconds, 1 to 100.
    pub frag_duration_s: u32,
    /// 1 to 100.
    pub frag_count: u32,
    /// Ends with `.m3u8`, 6 to 128 bytes, no `/`.
    pub playlist_name: SmolStr,
}

impl Settings {
    /// Reads a request body. An element that is there and empty means the default, as one that is missing does:
    /// OSS's own SDK sends `<PlaylistName />` when its caller names none.
    pub fn parse(body: &[u8]) -> Result<Self, OssError> {
        let root = Element::parse(body).map_err(|error| malformed_xml(error.to_string()))?;
        if root.name != "LiveChannelConfiguration" {
            return Err(malformed_xml(format!("the root element is {}, not LiveChannelConfiguration", root.name)));
        }
        let target = root.child("Target").ok_or_else(|| malformed_xml("the element Target is missing"))?;
        let description = root.child_text("Description").unwrap_or_default();
        if description.len() > 128 {
            return Err(invalid("Description", description, "at most 128 bytes", "0044-00000001"));
        }
        let status = parse_status(root.child_text("Status").unwrap_or("enabled"))
            .map_err(|text| invalid("Status", text, "enabled or disabled", "0044-00000002"))?;
        let kind = target.child_text("Type").unwrap_or_default();
        if kind != "HLS" {
            return Err(invalid("Type", kind, "HLS", "0044-00000013"));
        }
        let (frag_duration_s, frag_count) =
            match (target.child_text("FragDuration"), target.child_text("FragCount")) {
                (None, None) => FRAG_DEFAULT,
                (duration, count) => (
                    number("FragDuration", duration, "0044-00000014")?,
                    number("FragCount", count, "0044-00000015")?,
                ),
            };
        let playlist_name = target.child_text("PlaylistName").or_else(|| target.child_text("PlayListName"));
        let playlist_name = playlist_name.unwrap_or("playlist.m3u8");
        check_playlist_name(playlist_name)?;
        Ok(Self {
            description: description.into(),
            status,
            frag_duration_s,
            frag_count,
            playlist_name: playlist_name.into(),
        })
    }
}

/// Reads a status as requests spell it.
pub fn parse_status(text: &str) -> Result<Status, &str> {
    match text {
        "enabled" => Ok(Status::Enabled),
        "disabled" => Ok(Status::Disabled),
        other => Err(other),
    }
}

/// A status as requests and configurations spell it.
pub const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Enabled => "enabled",
        Status::Disabled => "disabled",
    }
}

/// Checks the name of a LiveChannel: UTF-8 (it is a `str`), 1 to 63 bytes, no `/` and no `\`.
pub fn check_channel_name(name: &str) -> Result<(), OssError> {
    let fault = match name.len() {
        0 => Some(("The LiveChannel name is empty.", "0017-00000257")),
        1..=63 if name.contains(['/', '\\', '\0']) => {
            Some(("The LiveChannel name must not contain a slash, a backslash or a null byte.", "0017-00000258"))
        }
        1..=63 => None,
        _ => Some(("The LiveChannel name is longer than 63 bytes.", "0017-00000258")),
    };
    fault.map_or(Ok(()), |(message, ec)| Err(OssError::new(400, "InvalidChannelName", message).ec(ec)))
}

/// Checks the name of a playlist.
pub fn check_playlist_name(name: &str) -> Result<(), OssError> {
    if name.contains('/') {
        return Err(invalid("PlaylistName", name, "a name without a slash", "0044-00000016"));
    }
    if !(6..=128).contains(&name.len()) {
        return Err(invalid("PlaylistName", name, "6 to 128 bytes", "0044-00000017"));
    }
    if !name.ends_with(".m3u8") {
        return Err(invalid("PlaylistName", name, "a name that ends with .m3u8", "0044-00000018"));
    }
    Ok(())
}

fn number(name: &'static str, text: Option<&str>, ec: &'static str) -> Result<u32, OssError> {
    let text = text.unwrap_or_default();
    let value = text.parse().ok().filter(|n| (1..=100).contains(n));
    value.ok_or_else(|| {
        invalid(name, text, "a whole number from 1 to 100; FragDuration and FragCount come together or not at all", ec)
    })
}

fn invalid(name: &'static str, value: &str, allowed: &str, ec: &'static str) -> OssError {
    let shown: String = value.chars().take(128).collect();
    OssError::invalid_argument(name, &shown, format!("{name} is not valid: it must be {allowed}.")).ec(ec)
}

/// 400 for a body that is not the document it should be.
pub fn malformed_xml(why: impl std::fmt::Display) -> OssError {
    OssError::new(
        400,
        "MalformedXML",
        format!("The XML you provided was not well-formed or did not validate against our published schema: {why}."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(inside: &str, target: &str) -> String {
        format!("<LiveChannelConfiguration>{inside}<Target><Type>HLS</Type>{target}</Target></LiveChannelConfiguration>")
    }

    #[test]
    fn empty_means_default() {
        let given = body("<Description /><Status/>", "<PlaylistName />");
        let settings = Settings::parse(given.as_bytes()).unwrap();
        assert_eq!((settings.frag_duration_s, settings.frag_count), FRAG_DEFAULT);
        assert_eq!((settings.playlist_name.as_str(), settings.status), ("playlist.m3u8", Status::Enabled));
        assert_eq!(Settings::parse(body("", "").as_bytes()).unwrap(), settings);
    }

    #[test]
    fn takes_all_it_is_given() {
        let given = body(
            "<Description>a &amp; b</Description><Status>disabled</Status>",
            "<FragDuration>2</FragDuration><FragCount>6</FragCount><PlaylistName>t.m3u8</PlaylistName>",
        );
        let settings = Settings::parse(given.as_bytes()).unwrap();
        let expected = Settings {
            description: "a & b".into(),
            status: Status::Disabled,
            frag_duration_s: 2,
            frag_count: 6,
            playlist_name: "t.m3u8".into(),
        };
        assert_eq!(settings, expected);
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
            let error = Settings::parse(body(inside, target).as_bytes()).unwrap_err();
            assert_eq!((error.status, error.code, error.ec), (400, "InvalidArgument", ec), "{inside}{target}");
        }
    }

    #[test]
    fn another_document_is_malformed() {
        for text in ["", "<a/>", "<LiveChannelConfiguration/>", "<LiveChannelConfiguration><Target></LiveChannelConfiguration>"] {
            assert_eq!(Settings::parse(text.as_bytes()).unwrap_err().code, "MalformedXML", "{text}");
        }
    }

    #[test]
    fn names_of_channels_are_checked() {
        assert!(check_channel_name("前门").is_ok());
        for bad in ["", "a/b", "a\\b", &"x".repeat(64)] {
            assert_eq!(check_channel_name(bad).unwrap_err().code, "InvalidChannelName", "{bad}");
        }
    }
}
