//! Words in single quotes, as git writes them for a shell and reads them back
//! itself. Whatever a shell could take for more than a word is refused.

/// The words of a line; `None` unless each is quoted and nothing else is there.
pub(super) fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [b' ', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let (word, tail) = word(rest)?;
        if !matches!(tail, [] | [b' ', ..]) {
            return None;
        }
        words.push(word);
        rest = tail;
    }
}

/// The first word, and what follows it.
pub(super) fn word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = text.strip_prefix(b"'")?;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        let (inside, tail) = rest.split_at(end);
        if inside.iter().any(|byte| matches!(byte, 0 | b'\n')) {
            return None;
        }
        word.extend_from_slice(inside);
        // A quote or an exclamation mark leaves the quotes behind a backslash.
        rest = match &tail[1..] {
            [b'\\', byte @ (b'\'' | b'!'), b'\'', tail @ ..] => {
                word.push(*byte);
                tail
            }
            tail => return Some((word, tail)),
        };
    }
}

/// A full hash.
pub(super) fn id(word: &[u8]) -> Option<git2::Oid> {
    let plain = word.len() == 40 && word.iter().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(c));
    if plain { git2::Oid::from_str(std::str::from_utf8(word).ok()?).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_are_read_and_nothing_else() {
        assert_eq!(words(b"'a' 'b c'").unwrap(), [b"a".to_vec(), b"b c".to_vec()]);
        assert_eq!(words(b"'it'\\''s'\\!'x'").unwrap(), [b"it's!x".to_vec()]);
        assert_eq!(words(b" ''").unwrap(), [b"".to_vec()]);
        for bad in ["a", "'a", "'a'b", "'a';touch x", "'a'$(x)", "'a' `x`", "'a'\\x'b'", "\"a\"", "'a\nb'", "'a'\\''"] {
            assert!(words(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
