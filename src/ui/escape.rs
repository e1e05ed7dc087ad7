//! Making text from outside harmless on a terminal.

use std::borrow::Cow;

use crate::secret;
use crate::visible;

/// Replaces everything that could move the cursor, change the terminal, turn
/// text around or hide it: such characters become visible escapes. Secrets are
/// hidden.
pub fn escape(text: &str) -> String {
    let text = secret::hide(text);
    if visible::seen(&text).all(|(_, shows)| shows) {
        return text;
    }
    let shown = |(c, shows): (char, bool)| if shows { c.to_string() } else { c.escape_default().to_string() };
    visible::seen(&text).map(shown).collect()
}

/// The same, and of at most about `most` characters: what is in the middle of a
/// longer text is left out, and counted.
pub(super) fn shown(text: &str, most: usize) -> String {
    cut(&escape(text), most).into_owned()
}

/// A line of code: tabs are no harm, and code is full of them.
pub(super) fn shown_code(line: &str, most: usize) -> String {
    let hidden = secret::hide(line);
    cut(&hidden.split('\t').map(escape).collect::<Vec<_>>().join("\t"), most).into_owned()
}

/// A text without its middle, where it is longer than this.
pub(super) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    // Bytes are at least as many as characters.
    if text.len() <= most {
        return text.into();
    }
    let count = text.chars().count();
    if count <= most {
        return text.into();
    }
    let (head, tail) = (most - most / 3, most / 3);
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let (first, last) = (&text[..at(head)], &text[at(count - tail)..]);
    format!("{first} … ({} characters left out) … {last}", count - head - tail).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visible::is_visible;
    use proptest::prelude::*;

    #[test]
    fn case_47_escape_sequences_become_visible() {
        assert_eq!(escape("a\x1b[31mred\nline\u{9b}2J"), "a\\u{1b}[31mred\\nline\\u{9b}2J");
        assert_eq!(escape("task-\u{202e}gpj.exe"), "task-\\u{202e}gpj.exe");
        assert_eq!(escape("a\u{ad}\u{61c}\u{180e}\u{e0041}"), "a\\u{ad}\\u{61c}\\u{180e}\\u{e0041}");
        assert_eq!(escape("plain ünïcode ✓"), "plain ünïcode ✓");
    }

    #[test]
    fn a_long_text_loses_its_middle() {
        let text = format!("begins{}ends", "x".repeat(5000));
        let cut = shown(&text, 100);
        assert!(cut.starts_with("beginsx") && cut.ends_with("xends"), "{cut}");
        assert!(cut.contains("(4910 characters left out)"), "{cut}");
        assert_eq!(shown(&"é".repeat(100), 100), "é".repeat(100));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn nothing_hidden_ever_passes(text in any::<String>(), most in 0..300_usize) {
            prop_assert!(escape(&text).chars().all(is_visible));
            let shown = shown(&text, most);
            prop_assert!(shown.chars().all(is_visible));
            prop_assert!(shown.chars().count() <= most + 60);
            prop_assert!(shown_code(&text, most).chars().all(|c| c == '\t' || is_visible(c)));
        }
    }
}
