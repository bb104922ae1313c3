//! Elements and texts → an XML document in the shape that OSS SDKs parse.
//!
//! No namespaces: the SDKs compare tags literally, and a document with `xmlns` loses its meaning to them.

use std::fmt::Display;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event},
};

/// An XML document being written. Writing to memory cannot fail, so nothing here can.
pub struct Document(Writer<Vec<u8>>);

impl Document {
    /// The document whose root element is `root`, filled in by `content`.
    pub fn write(root: &str, content: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut document = Self(Writer::new(Vec::with_capacity(512)));
        document.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        document.parent(root, content);
        document.0.into_inner()
    }

    /// Adds `<name>…</name>`, filled in by `content`.
    pub fn parent(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.event(Event::Start(BytesStart::new(name)));
        content(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// Adds `<name>text</name>`. Characters that XML 1.0 §2.2 has no way to write become U+FFFD.
    pub fn text(&mut self, name: &str, text: impl Display) {
        self.parent(name, |document| document.content(text));
    }

    /// Adds text to the element that is being filled in.
    pub fn content(&mut self, text: impl Display) {
        let has_no_place = |c: char| match c {
            '\t' | '\n' | '\r' => false,
            _ => c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}'),
        };
        let text = text.to_string().replace(has_no_place, "\u{fffd}");
        self.event(Event::Text(BytesText::new(&text)));
    }

    fn event(&mut self, event: Event<'_>) {
        let written = self.0.write_event(event);
        debug_assert!(written.is_ok(), "a Vec takes all that is written to it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_nested_as_given() {
        let xml = Document::write("Error", |e| {
            e.text("Code", "NoSuchKey");
            e.parent("Owner", |o| o.text("Key", "a<b>&\"c\"\u{1}\u{ffff}\n"));
        });
        assert_eq!(
            String::from_utf8(xml).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code>\
             <Owner><Key>a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}\u{fffd}\n</Key></Owner></Error>"
        );
    }
}
