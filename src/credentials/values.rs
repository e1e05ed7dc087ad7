//! Values that are known to be secret, in every spelling in which they could
//! travel: as they are, inside JSON, percent-encoded, and in base64, wherever
//! in the encoded text they begin. Line breaks do not hide them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};

use super::text::line_of;
use crate::error::{Fault, failure};
use crate::secret::{self, Secret};

/// Shorter values stand by chance in many files: they are not looked for.
const SHORTEST: usize = 8;

/// A search for values.
pub(super) struct Values {
    secrets: Vec<Secret>,
    needles: Option<AhoCorasick>,
    /// The secret of each needle.
    owners: Vec<usize>,
}

impl Values {
    /// # Errors
    /// When there are too many.
    pub(super) fn new(secrets: &[Secret]) -> Result<Self, Fault> {
        let mut needles = BTreeSet::new();
        for (n, secret) in secrets.iter().enumerate().filter(|(_, secret)| secret.expose().trim().len() >= SHORTEST) {
            let spellings = secret::spellings(secret.expose().trim());
            needles.extend(spellings.iter().map(|spelling| (join(spelling.as_bytes()).0.into_owned(), n)));
        }
        let (needles, owners): (Vec<Vec<u8>>, Vec<usize>) = needles.into_iter().unzip();
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&needles);
        let built = built.map_err(|error| failure(format!("the secret values cannot be looked for: {error}")))?;
        Ok(Values { secrets: secrets.to_vec(), needles: (!needles.is_empty()).then_some(built), owners })
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.needles.is_none()
    }

    /// The values in a content, each once, with the line of its first place.
    pub(super) fn search(&self, content: &[u8]) -> Vec<(usize, &[u8])> {
        let Some(needles) = &self.needles else { return Vec::new() };
        let (joined, removed) = join(content);
        let mut seen = vec![false; self.secrets.len()];
        let mut found = Vec::new();
        for place in needles.find_iter(&*joined) {
            let owner = self.owners[place.pattern().as_usize()];
            if !std::mem::replace(&mut seen[owner], true) {
                let before = removed.partition_point(|(at, _)| *at <= place.start());
                let shift = before.checked_sub(1).map_or(0, |last| removed[last].1);
                found.push((line_of(content, place.start() + shift), self.secrets[owner].expose().as_bytes()));
            }
        }
        found
    }
}

/// The content with line breaks, and the indentation after them, left out; and
/// after which places of the result how many bytes are missing so far.
fn join(content: &[u8]) -> (Cow<'_, [u8]>, Vec<(usize, usize)>) {
    if memchr::memchr(b'\n', content).is_none() {
        return (Cow::Borrowed(content), Vec::new());
    }
    let (mut joined, mut removed) = (Vec::with_capacity(content.len()), Vec::new());
    let mut rest = content;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        joined.extend_from_slice(&rest[..at]);
        let gone = rest[at..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r' | b' ' | b'\t')).count();
        rest = &rest[at + gone..];
        removed.push((joined.len(), content.len() - rest.len() - joined.len()));
    }
    joined.extend_from_slice(rest);
    (Cow::Owned(joined), removed)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;
    use crate::secret::percent;

    fn lines_of(value: &str, content: &[u8]) -> Vec<usize> {
        let values = Values::new(&[Secret::new(value.into())]).unwrap();
        values.search(content).into_iter().map(|(line, _)| line).collect()
    }

    proptest! {
        #[test]
        fn case_48_a_value_is_found_in_every_encoding(
            value in "[ -~]{8,60}".prop_filter("it has an end that counts", |value| value.trim().len() >= 8),
            before in proptest::collection::vec(any::<u8>(), 0..7),
            after in proptest::collection::vec(any::<u8>(), 0..7),
        ) {
            let inside = [&before[..], value.as_bytes(), &after].concat();
            for content in [
                inside.clone(),
                STANDARD_NO_PAD.encode(&inside).into_bytes(),
                URL_SAFE_NO_PAD.encode(&inside).into_bytes(),
                percent(&inside, "-._~", true).into_bytes(),
                percent(&inside, "-._~/", false).into_bytes(),
                percent(&inside, "", true).into_bytes(),
                serde_json::to_vec(&value).unwrap(),
            ] {
                prop_assert_eq!(lines_of(&value, &[b"one\ntwo ", &content[..]].concat()).len(), 1);
            }
        }
    }

    #[test]
    fn case_48_line_breaks_hide_nothing() {
        let value = "correct-horse-battery-staple-and-more-of-it-so-that-it-is-wrapped-somewhere-in-the-middle";
        let encoded = STANDARD_NO_PAD.encode(format!("x{value}"));
        let wrapped: Vec<&str> = encoded.as_bytes().chunks(20).map(|line| std::str::from_utf8(line).unwrap()).collect();
        assert_eq!(lines_of(value, format!("a\n  b: |\n    {}\n", wrapped.join("\r\n    ")).as_bytes()), [3]);
        let lines = "-----BEGIN-----\nabcdefgh\nijklmnop\n-----END-----\n";
        assert_eq!(lines_of(lines, b"key:\n  -----BEGIN-----\n  abcdefgh\n  ijklmnop\n  -----END-----\n"), [2]);
        assert_eq!(lines_of(lines, serde_json::to_string(lines).unwrap().as_bytes()), [1]);
    }

    #[test]
    fn what_is_short_or_absent_is_not_found() {
        assert_eq!((lines_of("eight-88", b"eight-88").len(), lines_of("seven-7", b"seven-7").len()), (1, 0));
        assert!(lines_of("correct-horse", b"correct horse").is_empty());
        assert!(Values::new(&[]).unwrap().search(b"anything").is_empty());
    }
}
