//! Making text from outside harmless on a terminal.

/// Replaces everything that could move the cursor, change the terminal or hide
/// text: control characters, C1 controls, bidirectional overrides and
/// zero-width characters become visible escapes. Secrets are hidden.
pub fn escape(text: &str) -> String {
    let text = crate::secret::hide(text);
    if !text.chars().any(is_unsafe) {
        return text;
    }
    text.chars().map(|c| if is_unsafe(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Whether a character must not reach a terminal as it is.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A byte count for people: `1.2 MB`, decimal units.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_47_escape_sequences_become_visible() {
        assert_eq!(escape("a\x1b[31mred\nline\u{9b}2J"), "a\\u{1b}[31mred\\nline\\u{9b}2J");
        assert_eq!(escape("task-\u{202e}gpj.exe"), "task-\\u{202e}gpj.exe");
        assert_eq!(escape("plain ünïcode ✓"), "plain ünïcode ✓");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_ever_passes(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_unsafe));
        }
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_234_567), "1.2 MB");
    }
}
