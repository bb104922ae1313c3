//! A request body → a small tree of XML elements, bounded in depth and number.
//!
//! Attributes, comments and processing instructions are read past; a document type is refused, so entities
//! other than XML's own five cannot be declared. An OSS client sends neither.

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

use crate::limits::{XML_DEPTH_MAX, XML_ELEMENTS_MAX};

/// One element.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Element {
    /// Its tag, without a namespace prefix.
    pub name: String,
    /// The text directly in it, trimmed.
    pub text: String,
    /// The elements directly in it.
    pub children: Vec<Self>,
}

impl Element {
    /// Reads the root element of a document.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let text =
            str::from_utf8(body).map_err(|error| Error::NotUtf8 { at: error.valid_up_to() })?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        let mut elements = 0;
        loop {
            let at = reader.buffer_position();
            let malformed = || Error::Malformed { at };
            match reader.read_event().map_err(|_| malformed())? {
                Event::Start(tag) => {
                    elements += 1;
                    if elements > XML_ELEMENTS_MAX || open.len() >= XML_DEPTH_MAX {
                        return Err(Error::TooBig);
                    }
                    if root.is_some() {
                        return Err(malformed());
                    }
                    open.push(Self { name: local_name(&tag)?, ..Self::default() });
                }
                Event::Empty(tag) => {
                    elements += 1;
                    if elements > XML_ELEMENTS_MAX {
                        return Err(Error::TooBig);
                    }
                    let element = Self { name: local_name(&tag)?, ..Self::default() };
                    place(element, &mut open, &mut root).ok_or_else(malformed)?;
                }
                Event::End(_) => {
                    let mut element = open.pop().ok_or_else(malformed)?;
                    element.text = element.text.trim().to_owned();
                    place(element, &mut open, &mut root).ok_or_else(malformed)?;
                }
                Event::Text(piece) => match open.last_mut() {
                    Some(element) => {
                        element.text.push_str(&piece.decode().map_err(|_| malformed())?)
                    }
                    None if piece.iter().all(u8::is_ascii_whitespace) => {}
                    None => return Err(malformed()),
                },
                Event::CData(piece) => {
                    let element = open.last_mut().ok_or_else(malformed)?;
                    element.text.push_str(&piece.decode().map_err(|_| malformed())?);
                }
                Event::GeneralRef(reference) => {
                    let element = open.last_mut().ok_or_else(malformed)?;
                    if let Some(character) =
                        reference.resolve_char_ref().map_err(|_| malformed())?
                    {
                        element.text.push(character);
                    } else {
                        let name = reference.decode().map_err(|_| malformed())?;
                        element
                            .text
                            .push_str(resolve_predefined_entity(&name).ok_or_else(malformed)?);
                    }
                }
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) => return Err(malformed()),
                Event::Eof if open.is_empty() => return root.ok_or_else(malformed),
                Event::Eof => return Err(malformed()),
            }
        }
    }

    /// The first child with this tag.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child with this tag; `None` where it is missing or empty, which OSS's SDKs mean the same by.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }
}

fn local_name(tag: &BytesStart<'_>) -> Result<String, Error> {
    let name = tag.local_name();
    str::from_utf8(name.as_ref()).map(str::to_owned).map_err(|_| Error::NotUtf8 { at: 0 })
}

fn place(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Option<()> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return None,
    }
    Some(())
}

/// Why a body is no document.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// XML 1.0 is not kept.
    #[error("the XML is malformed at byte {at}")]
    Malformed {
        /// Where.
        at: u64,
    },
    /// Another encoding.
    #[error("the XML is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// Deeper than [`XML_DEPTH_MAX`] or more than [`XML_ELEMENTS_MAX`].
    #[error(
        "the XML has more than {XML_ELEMENTS_MAX} elements or is nested deeper than {XML_DEPTH_MAX}"
    )]
    TooBig,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_sdks_send() {
        let body = b"<LiveChannelConfiguration><Description /><Target><Type>HLS</Type><FragCount> 3 </FragCount>\
                     </Target></LiveChannelConfiguration>";
        let root = Element::parse(body).unwrap();
        assert_eq!(root.name, "LiveChannelConfiguration");
        assert_eq!(root.child_text("Description"), None);
        assert_eq!(root.child("Target").unwrap().child_text("FragCount"), Some("3"));
    }

    #[test]
    fn entities_and_cdata_are_text() {
        let root = Element::parse(
            "<?xml version='1.0'?><a x='1'>&lt;b&#x41;&amp;<![CDATA[<c>]]></a>".as_bytes(),
        )
        .unwrap();
        assert_eq!(root.text, "<bA&<c>");
    }

    #[test]
    fn refuses_what_is_no_document() {
        let deep = "<a>".repeat(XML_DEPTH_MAX + 1);
        let many = format!("<a>{}</a>", "<b/>".repeat(XML_ELEMENTS_MAX));
        for (body, why) in [
            ("", "malformed"),
            ("text", "malformed"),
            ("<a>", "malformed"),
            ("<a></b>", "malformed"),
            ("<a/><b/>", "malformed"),
            ("<a/>text", "malformed"),
            ("<a>&bomb;</a>", "malformed"),
            ("<!DOCTYPE a [<!ENTITY b 'x'>]><a>&b;</a>", "malformed"),
            (&deep, "nested"),
            (&many, "elements"),
        ] {
            let error = Element::parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{body}: {error}");
        }
        assert!(matches!(Element::parse(b"<a>\xff</a>"), Err(Error::NotUtf8 { .. })));
    }
}
