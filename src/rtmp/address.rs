//! What a publisher's URL became on its way through the encoder → host, path and query again.
//!
//! An encoder cuts `rtmp://HOST/BUCKET/live/CHANNEL?QUERY` into a tcUrl, an app and a stream name, and no two cut
//! alike. This puts the pieces together. It decodes nothing and knows no bucket: whether the host or the first segment
//! of the path names one is the caller's to look up. Source: RTMP 1.0 §7.2.1.1 (`app`, `tcUrl`), §7.2.2.6 (`publish`);
//! OSS, "RTMP ingest URLs and signed ingest URLs".

/// Where a publisher wants to publish.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// Host of the tcUrl in lower case, without its port; empty where there is none.
    pub host: String,
    /// The path without the channel, as it arrived: `live`, or `BUCKET/live`. No empty segments.
    pub folder: String,
    /// The last segment of the path, as it arrived: not percent-decoded. May be empty.
    pub channel: String,
    /// The query as it arrived, without `?`; `&` between what stood in two places.
    pub query: String,
}

impl Address {
    /// Puts `app` and `name` together, and takes the host from `tc_url`.
    ///
    /// - A query usually ends the name: `live` + `cam?a=1`.
    /// - An encoder that cuts at the last slash cuts a value that has one: `live/cam?a=1` + `2&b=3` is the query
    ///   `a=1/2&b=3`. It is told from the next by the `=` in the name.
    /// - A query may end the app instead, or both: `live?a=1` + `cam`, `live?a=1` + `cam?b=2`.
    /// - Where neither has one, the tcUrl's counts; otherwise that is the app's once more.
    pub fn join(tc_url: &str, app: &str, name: &str) -> Self {
        let (app_path, app_query) = split_query(app);
        let (name_path, name_query) = split_query(name);
        let (path, query) = match (app_query, name_query) {
            (None, None) => {
                (format!("{app}/{name}"), split_query(tc_url).1.unwrap_or_default().to_owned())
            }
            (Some(query), None) if name.contains('=') => {
                (app_path.to_owned(), format!("{query}/{name}"))
            }
            (Some(first), Some(second)) if !first.is_empty() && first != second => {
                (format!("{app_path}/{name_path}"), format!("{first}&{second}"))
            }
            (app_query, name_query) => {
                let query = name_query.or(app_query).unwrap_or_default();
                (format!("{app_path}/{name_path}"), query.to_owned())
            }
        };
        let mut segments: Vec<&str> =
            path.split('/').filter(|segment| !segment.is_empty()).collect();
        let channel = segments.pop().unwrap_or_default().to_owned();
        Self { host: host(tc_url), folder: segments.join("/"), channel, query }
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)))
}

/// The host of `scheme://[user@]host[:port]/…`, in lower case (RFC 3986 §3.2).
fn host(tc_url: &str) -> String {
    let Some((_, rest)) = tc_url.split_once("://") else { return String::new() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host_port)| host_port);
    let host = match host_port.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host_port.split(':').next().unwrap_or_default(),
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed ingest URLs made by Alibaba's Python SDK (oss2 2.19.1) with its clock set to 1,700,000,000 s, and how ffmpeg 5.1
    /// splits each.
    const VECTORS: &str = include_str!("../../tests/data/vectors/rtmp.json");

    #[test]
    fn every_url_that_the_sdk_signs_comes_together_again() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert!(cases.len() >= 35);
        for case in cases {
            let text = |key: &str| case[key].as_str().unwrap();
            let address = Address::join(text("tc_url"), text("app"), text("stream"));
            let id = text("id");
            assert_eq!(address.channel, text("channel"), "{id}");
            let (_, query) =
                text("stream").split_once('?').or(text("app").split_once('?')).unwrap();
            assert_eq!(address.query, query, "{id}");
            let bucket = text("bucket");
            match text("addressing") {
                "path" => assert_eq!(address.folder, format!("{bucket}/live"), "{id}"),
                "virtual" => {
                    assert_eq!(address.folder, "live", "{id}");
                    assert!(address.host.starts_with(&format!("{bucket}.")), "{id}");
                }
                "cname" => {
                    assert_eq!(
                        (address.host.as_str(), address.folder.as_str()),
                        ("live.example.com", "live"),
                        "{id}"
                    );
                }
                other => panic!("{id}: {other}"),
            }
        }
    }

    #[test]
    fn the_query_is_found_wherever_an_encoder_leaves_it() {
        // app, name, tcUrl's tail -> folder, channel, query
        let cases = [
            ("live", "cam", "live", "live", "cam", ""),
            ("live", "cam?a=1", "live", "live", "cam", "a=1"),
            ("b/live", "cam?a=%2F", "b/live", "b/live", "cam", "a=%2F"),
            ("live?a=1", "cam", "live?a=1", "live", "cam", "a=1"),
            ("live?a=1", "cam?b=2", "live?a=1", "live", "cam", "a=1&b=2"),
            ("live?a=1", "cam?a=1", "live?a=1", "live", "cam", "a=1"),
            ("live", "cam", "live?a=1", "live", "cam", "a=1"),
            ("live", "cam?a=1", "live/cam?a=1", "live", "cam", "a=1"),
            ("live/cam?a=1", "2&b=3", "live/cam?a=1", "live", "cam", "a=1/2&b=3"),
            (
                "live/cam?Signature=a",
                "b+c=",
                "live/cam?Signature=a",
                "live",
                "cam",
                "Signature=a/b+c=",
            ),
            ("live/", "/cam", "live/", "live", "cam", ""),
            ("b/live/cam", "", "b/live/cam", "b/live", "cam", ""),
            ("live?", "cam", "live?", "live", "cam", ""),
            ("live", "cam?", "live", "live", "cam", ""),
            ("", "cam?a=1", "", "", "cam", "a=1"),
            ("", "", "", "", "", ""),
            ("live", "cam?a=b?c", "live", "live", "cam", "a=b?c"),
        ];
        for (app, name, tail, folder, channel, query) in cases {
            let address = Address::join(&format!("rtmp://h/{tail}"), app, name);
            let expected = Address {
                host: "h".into(),
                folder: folder.into(),
                channel: channel.into(),
                query: query.into(),
            };
            assert_eq!(address, expected, "{app} + {name}");
        }
    }

    #[test]
    fn the_host_is_in_lower_case_and_has_no_port() {
        let cases = [
            ("rtmp://Bucket.Example.COM/live", "bucket.example.com"),
            ("rtmp://10.0.0.1:8080/b/live", "10.0.0.1"),
            ("rtmp://[::1]:1935/live", "::1"),
            ("rtmp://user:pass@cam.example:1935/live", "cam.example"),
            ("rtmps://host?x=1", "host"),
            ("host/live", ""),
            ("", ""),
        ];
        for (tc_url, expected) in cases {
            assert_eq!(host(tc_url), expected, "{tc_url}");
        }
    }
}
