//! How the names of entries are shown.

/// Characters of a name in a message, from its beginning and from its end.
const SHOWN: (usize, usize) = (60, 40);

/// A name for a message that stays readable, however long somebody made it.
pub(super) fn short(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let count = text.chars().count();
    if count <= SHOWN.0 + SHOWN.1 {
        return text.into_owned();
    }
    let (head, tail) = (text.chars().take(SHOWN.0), text.chars().skip(count - SHOWN.1));
    head.chain(['\u{2026}']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_shown_in_part() {
        assert_eq!(short(b"usr/bin"), "usr/bin");
        let shown = short(&[b"begin/".repeat(900), b"end".to_vec()].concat());
        assert!(shown.starts_with("begin/begin/") && shown.ends_with("begin/end"), "{shown}");
        assert_eq!(shown.chars().count(), 101);
    }
}
