//! What the gate is shown of a request or of a publisher. It borrows all of it.

use std::fmt::Write as _;

use crate::query::Query;

/// A request, as far as the gate looks at it. Which bucket it is for, [`Policy`](super::Policy) says.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What it wants to do.
    pub action: Action,
    /// The HTTP method, as sent.
    pub method: &'a str,
    /// The object's key, decoded; empty for the bucket itself, and for every page of the console.
    pub key: &'a str,
    /// The query.
    pub query: &'a Query<'a>,
    /// Header lines in the order they came, names in any case, blanks round the values removed.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Read an object.
    ReadObject,
    /// Write or delete an object.
    WriteObject,
    /// What only an owner may: LiveChannel calls, lists, the bucket's settings.
    Own,
    /// Read the console.
    Console,
}

impl<'a> Ask<'a> {
    /// The first value of the header `name`, which is compared without case.
    pub(super) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers_named(name).next()
    }

    pub(super) fn headers_named(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// Writes the headers that a signature covers as `name:value` lines, names in lower case and sorted.
    pub(super) fn write_signed_headers(&self, is_signed: impl Fn(&str) -> bool, out: &mut String) {
        let lower = self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let mut lines: Vec<_> = lower.filter(|(name, _)| is_signed(name)).collect();
        lines.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, value) in lines {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{name}:{value}");
        }
    }
}

/// A publisher, as far as the gate looks at it.
#[derive(Clone, Copy, Debug)]
pub struct PublishAsk<'a> {
    /// The LiveChannel's name. SDKs sign it and put it into the URL as it is, so it is the name that exists, looked up
    /// first as it arrived and only then percent-decoded.
    pub channel: &'a str,
    /// The query of its URL.
    pub query: &'a Query<'a>,
}
