//! Removes characters that could rewrite a terminal's screen from foreign text.

/// Replaces control characters and direction marks with U+FFFD. Every name passes here before a terminal shows it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if misleads(letter) { '\u{fffd}' } else { letter }).collect()
}

fn misleads(letter: char) -> bool {
    // Line and paragraph separators, and the direction marks.
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_write_on_the_screen() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(printable("\u{9b}2J\u{7f}"), "\u{fffd}2J\u{fffd}", "the escapes of eight bits");
        assert_eq!(printable("a\u{202e}gpj.exe"), "a\u{fffd}gpj.exe", "text that runs backwards");
        assert_eq!(printable("Größe_日本"), "Größe_日本");
    }
}
