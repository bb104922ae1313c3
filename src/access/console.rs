//! The gate in front of the console: who may see the channels and their figures, and who gets signed URLs with them.
//!
//! This box itself may always look, and no more: who speaks through a careless proxy on it must not be handed signatures. From
//! elsewhere it takes what `console.access` says. Who holds a link that a key signed has URLs signed for them, but none
//! that is good for longer than the link: it opens nothing for longer than its signer meant.

use std::net::IpAddr;

use smol_str::SmolStr;

use super::{Ask, GateTime, Policy, Refusal, grant::Signed, verify};
use crate::{
    config::{AccessKey, ConsoleAccess},
    limits::CONSOLE_URL_SECS,
    query::without_port,
    units::UnixSecs,
};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The address of the other end.
    pub peer: IpAddr,
    /// The address of this end.
    pub local: IpAddr,
}

/// Proof that the gate lets a request see the console's figures. Only [`admit_console`] makes one.
#[derive(Debug)]
pub struct ConsoleGrant(Right);

#[derive(Debug)]
enum Right {
    /// May look.
    Look,
    /// Signed, by this key, until then.
    Signed { access_key_id: SmolStr, until: UnixSecs },
}

/// Decides whether `ask` may see the console's figures. `page`: a link may be signed for this page alone.
pub fn admit_console(
    ask: &Ask<'_>,
    origin: Origin,
    access: ConsoleAccess,
    page: &str,
    policy: &Policy<'_>,
    now: GateTime,
) -> Result<ConsoleGrant, Refusal> {
    let is_this_box = is_this_box(ask, origin);
    if access == ConsoleAccess::Off && !is_this_box {
        return Err(Refusal::console_off());
    }
    let look = ConsoleGrant(Right::Look);
    // A link for one page is no link for the others, and gets no URLs signed: it is what stands in a scraper's configuration.
    if let Ok(Signed::ByUrlV1(_)) = verify(&Ask { key: page, ..*ask }, policy, now)
        && !page.is_empty()
    {
        return Ok(look);
    }
    match verify(&Ask { key: "", ..*ask }, policy, now) {
        Ok(Signed::ByUrlV1(url)) => {
            Ok(ConsoleGrant(Right::Signed { access_key_id: url.access_key_id, until: url.expires }))
        }
        Ok(Signed::ByUrlV4(_) | Signed::ByHeader) => Ok(look),
        _ if is_this_box => Ok(look),
        Ok(Signed::No) if access == ConsoleAccess::Open => Ok(look),
        Ok(Signed::No) => Err(Refusal::console_unsigned()),
        Err(refusal) => Err(refusal),
    }
}

impl ConsoleGrant {
    /// The key that signs URLs for whoever holds this grant, and until when; `None`: none are signed.
    pub fn signer<'k>(
        &self,
        keys: &'k [AccessKey],
        now: GateTime,
    ) -> Option<(&'k AccessKey, UnixSecs)> {
        let latest = UnixSecs(now.now.0.saturating_add(CONSOLE_URL_SECS));
        match &self.0 {
            _ if !now.is_plausible() => None,
            Right::Look => None,
            Right::Signed { access_key_id, until } => {
                let key = keys.iter().find(|key| key.id == *access_key_id)?;
                Some((key, latest.min(*until)))
            }
        }
    }
}

/// Whether somebody on this box asks, and asks this box by its address.
///
/// A page from elsewhere that a browser on this box shows can have its own host's name lead here (DNS rebinding); it cannot
/// change the name. A proxy on this box asks for somebody else, and says so, or passes on by which name it was asked.
fn is_this_box(ask: &Ask<'_>, Origin { peer, local }: Origin) -> bool {
    let (peer, local) = (peer.to_canonical(), local.to_canonical());
    let is_near = peer.is_loopback() || peer == local;
    let name = without_port(ask.header("host").unwrap_or_default());
    let address: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let is_asked_by_address = name.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|ip| ip.is_loopback() || ip.to_canonical() == local);
    let is_forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
        .iter()
        .any(|name| ask.header(name).is_some());
    is_near && is_asked_by_address && !is_forwarded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{Action, Scope, sign},
        limits::PLAUSIBLE_UNIX_SECS_MIN,
        query::Query,
    };

    const NOW: u64 = PLAUSIBLE_UNIX_SECS_MIN + 1000;

    fn keys() -> Vec<AccessKey> {
        ["old", "new"].map(|id| AccessKey { id: id.into(), secret: "secret".into() }).to_vec()
    }

    fn asked(
        access: ConsoleAccess,
        page: &str,
        query: &str,
        peer: &str,
        headers: &[(&str, &str)],
    ) -> Result<ConsoleGrant, Refusal> {
        let keys = keys();
        let policy = Policy { access_keys: &keys, region: "", scope: Scope::Console };
        let query = Query::parse(query).unwrap();
        let ask = Ask { action: Action::Console, method: "GET", key: "", query: &query, headers };
        let origin = Origin { peer: peer.parse().unwrap(), local: "10.0.0.5".parse().unwrap() };
        admit_console(&ask, origin, access, page, &policy, now())
    }

    fn now() -> GateTime {
        GateTime::new(UnixSecs(NOW), UnixSecs(0))
    }

    #[test]
    fn from_afar_it_takes_what_the_configuration_says() {
        let signed = sign::console_query("", &keys()[1], UnixSecs(NOW + 60));
        let late = sign::console_query("", &keys()[1], UnixSecs(NOW - 1));
        let table = [
            (ConsoleAccess::Off, "", false),
            (ConsoleAccess::Off, &signed, false),
            (ConsoleAccess::Signed, "", false),
            (ConsoleAccess::Signed, &late, false),
            (ConsoleAccess::Signed, &signed, true),
            (ConsoleAccess::Open, "", true),
            (ConsoleAccess::Open, &late, false),
        ];
        for (access, query, is_let_in) in table {
            let grant = asked(access, "status", query, "10.0.0.9", &[("Host", "10.0.0.5:8080")]);
            assert_eq!(grant.is_ok(), is_let_in, "{access:?} {query}: {grant:?}");
        }
    }

    #[test]
    fn this_box_may_always_look_unless_somebody_else_speaks_through_it() {
        let host = ("host", "127.0.0.1:8080");
        let table = [
            ("127.0.0.1", vec![host], true),
            ("::ffff:127.0.0.1", vec![("Host", "localhost")], true),
            ("::1", vec![("Host", "[::1]:8080")], true),
            ("10.0.0.5", vec![("Host", "10.0.0.5")], true),
            ("10.0.0.9", vec![host], false),
            ("127.0.0.1", vec![("Host", "evil.example:8080")], false),
            ("127.0.0.1", vec![("Host", "192.168.1.5")], false),
            ("127.0.0.1", vec![host, ("X-Forwarded-For", "10.0.0.9")], false),
            ("127.0.0.1", vec![host, ("Via", "1.1 proxy")], false),
            ("127.0.0.1", vec![], false),
        ];
        for (peer, headers, is_let_in) in table {
            let grant = asked(ConsoleAccess::Off, "", "", peer, &headers);
            assert_eq!(grant.is_ok(), is_let_in, "{peer} {headers:?}");
            // It is who holds a link that gets URLs signed, here as elsewhere.
            assert!(grant.is_err() || grant.unwrap().signer(&keys(), now()).is_none());
            let link = sign::console_query("", &keys()[1], UnixSecs(NOW + 60));
            let grant = asked(ConsoleAccess::Off, "", &link, peer, &headers);
            assert!(!is_let_in || grant.unwrap().signer(&keys(), now()).is_some());
        }
    }

    #[test]
    fn a_link_for_the_metrics_opens_nothing_else() {
        let link = sign::console_query("metrics", &keys()[0], UnixSecs(NOW + 60));
        let host = [("Host", "box")];
        let grant = asked(ConsoleAccess::Signed, "metrics", &link, "10.0.0.9", &host).unwrap();
        assert!(grant.signer(&keys(), now()).is_none());
        for page in ["", "status"] {
            assert!(asked(ConsoleAccess::Signed, page, &link, "10.0.0.9", &host).is_err());
        }
    }

    #[test]
    fn urls_are_signed_by_the_links_key_and_no_longer_than_it() {
        let host = [("Host", "box")];
        for (expires, until) in [(NOW + 60, NOW + 60), (NOW + 1_000_000, NOW + CONSOLE_URL_SECS)] {
            let link = sign::console_query("", &keys()[1], UnixSecs(expires));
            let grant = asked(ConsoleAccess::Signed, "status", &link, "10.0.0.9", &host).unwrap();
            let keys = keys();
            let (key, good_until) = grant.signer(&keys, now()).unwrap();
            assert_eq!((key.id.as_str(), good_until), ("new", UnixSecs(until)));
        }
        let open = asked(ConsoleAccess::Open, "status", "", "10.0.0.9", &host).unwrap();
        assert!(open.signer(&keys(), now()).is_none());
    }
}
