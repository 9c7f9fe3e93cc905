//! Writes HTML and SVG, well nested and escaped by construction: tags and attribute names are constants, and all other
//! text goes through [`escape`].

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Markup(String);

/// A name, and an unescaped value.
pub(super) type Attribute<'a> = (&'static str, &'a str);

impl Markup {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds the document type.
    pub(super) fn into_document(self) -> String {
        format!("<!DOCTYPE html>\n{}\n", self.0)
    }

    pub(super) fn text(&mut self, text: &str) {
        escape(text, &mut self.0);
    }

    /// A constant, because its text cannot be escaped.
    pub(super) fn style(&mut self, sheet: &'static str) {
        debug_assert!(!sheet.contains("</"), "a style sheet would end early");
        self.0.push_str("<style>\n");
        self.0.push_str(sheet);
        self.0.push_str("</style>\n");
    }

    /// `content` writes the element's content.
    pub(super) fn within(
        &mut self,
        tag: &'static str,
        attributes: &[Attribute<'_>],
        content: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        self.0.push('>');
        content(self);
        self.0.push_str("</");
        self.0.push_str(tag);
        self.0.push('>');
        if ends_a_line(tag) {
            self.0.push('\n');
        }
    }

    pub(super) fn element(&mut self, tag: &'static str, attributes: &[Attribute<'_>], text: &str) {
        self.within(tag, attributes, |element| element.text(text));
    }

    /// A void HTML element, or a shape.
    pub(super) fn leaf(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.open(tag, attributes);
        self.0.push_str("/>");
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.0.push_str(&other.0);
    }

    fn open(&mut self, tag: &'static str, attributes: &[Attribute<'_>]) {
        self.0.push('<');
        self.0.push_str(tag);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            escape(value, &mut self.0);
            self.0.push('"');
        }
    }
}

/// Whether a line break after this element changes nothing on the page.
fn ends_a_line(tag: &str) -> bool {
    matches!(
        tag,
        "head"
            | "title"
            | "p"
            | "h1"
            | "h2"
            | "h3"
            | "li"
            | "tr"
            | "table"
            | "figure"
            | "section"
            | "div"
            | "dd"
            | "svg"
            | "g"
    )
}

/// Escapes `text` for use between tags and in quoted attributes. Control characters and direction marks become U+FFFD.
fn escape(text: &str, to: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => to.push('\u{fffd}'),
            _ if letter.is_control() => to.push('\u{fffd}'),
            _ => to.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_and_no_attribute_can_become_markup() {
        let hostile = "</title><script>\"'&\u{1b}\n\u{202e}";
        let escaped = "&lt;/title&gt;&lt;script&gt;&quot;&#39;&amp;\u{fffd}\u{fffd}\u{fffd}";
        let mut markup = Markup::new();
        markup.element("td", &[("title", hostile)], hostile);
        assert_eq!(markup.0, format!("<td title=\"{escaped}\">{escaped}</td>"));
    }

    #[test]
    fn what_is_within_is_closed_after_it() {
        let mut markup = Markup::new();
        markup.within("ul", &[], |list| {
            list.element("b", &[], "1");
            list.leaf("br", &[]);
        });
        assert_eq!(markup.into_document(), "<!DOCTYPE html>\n<ul><b>1</b><br/></ul>\n");
    }
}
