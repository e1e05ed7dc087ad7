//! What of a content can be searched as text, and where its lines are.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;

/// Bytes of one content that the rules look at.
pub(super) const MAX_TEXT: usize = 16 << 20;
/// Where git looks for a NUL, which makes a file binary.
const HEAD: usize = 8000;
/// The shortest run of printable bytes in a binary file that counts as text:
/// no rule matches less.
const SHORTEST_RUN: usize = 12;
/// How far from a match a line is taken to reach: minified files have lines of
/// megabytes.
const REACH: usize = 1024;

/// Why a content was not searched in full. Values that are known to be secret
/// were looked for in all of it nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// Compressed or encrypted: what is inside is not visible.
    Packed,
    /// The rules saw the first 16 MiB only.
    TooLong,
}

impl Gap {
    /// In words, after the name of a file.
    pub fn why(self) -> &'static str {
        match self {
            Gap::Packed => "is compressed, and what is in it was not looked at",
            Gap::TooLong => "is large, and the rules saw its first 16 MiB only",
        }
    }
}

/// A content as the rules see it.
pub(super) struct Text<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Whether its lines are those of the file.
    has_lines: bool,
    pub(super) gap: Option<Gap>,
}

impl<'a> Text<'a> {
    pub(super) fn of(content: &'a [u8]) -> Self {
        let too_long = content.len() > MAX_TEXT;
        let seen = &content[..content.len().min(MAX_TEXT)];
        let gap = is_packed(seen).then_some(Gap::Packed).or(too_long.then_some(Gap::TooLong));
        if let Some(text) = from_utf16(seen) {
            return Text { bytes: Cow::Owned(text.into_bytes()), has_lines: true, gap };
        }
        if seen[..seen.len().min(HEAD)].contains(&0) {
            return Text { bytes: Cow::Owned(printable(seen)), has_lines: false, gap };
        }
        Text { bytes: Cow::Borrowed(seen), has_lines: true, gap }
    }

    /// The number of the line on which `at` lies.
    pub(super) fn line(&self, at: usize) -> Option<usize> {
        self.has_lines.then(|| line_of(&self.bytes, at))
    }

    /// The lines that a match touches, as far as they are near it.
    pub(super) fn lines(&self, found: &Range<usize>) -> &[u8] {
        let bytes = &self.bytes;
        let (from, to) = (found.start.saturating_sub(REACH), bytes.len().min(found.end + REACH));
        let start = bytes[from..found.start].iter().rposition(|byte| *byte == b'\n').map_or(from, |at| from + at + 1);
        let end = bytes[found.end..to].iter().position(|byte| *byte == b'\n').map_or(to, |at| found.end + at);
        &bytes[start..end]
    }
}

/// The number of the line on which `at` lies, from 1.
pub(super) fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Formats whose content is hidden until it is unpacked, by their first bytes:
/// zip (and what is made of it), gzip, zstd, xz, bzip2, 7z.
fn is_packed(content: &[u8]) -> bool {
    let begins: [&[u8]; 6] =
        [b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh", b"7z\xbc\xaf\x27\x1c"];
    begins.iter().any(|magic| content.starts_with(magic))
}

/// Text with the mark of UTF-16, as some editors and PowerShell write it.
fn from_utf16(content: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match content.get(..2)? {
        b"\xff\xfe" => u16::from_le_bytes,
        b"\xfe\xff" => u16::from_be_bytes,
        _ => return None,
    };
    let units = content[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    Some(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// The runs of printable bytes, one a line.
fn printable(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for run in content.split(|byte| !matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')) {
        if run.len() >= SHORTEST_RUN {
            text.extend_from_slice(run);
            text.push(b'\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_file() {
        let text = Text::of(b"one\ntwo three\nfour");
        assert_eq!((text.line(0), text.line(4), text.line(14)), (Some(1), Some(2), Some(3)));
        assert_eq!(text.lines(&(8..9)), b"two three");
        assert_eq!(text.lines(&(0..18)), b"one\ntwo three\nfour");
    }

    #[test]
    fn utf16_is_text_and_binary_files_are_what_is_printable_in_them() {
        for mark in [b"\xff\xfe".as_slice(), b"\xfe\xff"] {
            let order: fn(u16) -> [u8; 2] = if mark[0] == 0xff { u16::to_le_bytes } else { u16::to_be_bytes };
            let units = "key = värde".encode_utf16().flat_map(order);
            let content: Vec<u8> = mark.iter().copied().chain(units).collect();
            assert_eq!(*Text::of(&content).bytes, *"key = värde".as_bytes());
        }
        let text = Text::of(b"\x7fELF\0short\0a printable run\x01\x02another printable run\n\xff");
        assert_eq!(*text.bytes, *b"a printable run\nanother printable run\n\n");
        assert_eq!(text.line(3), None);
    }

    #[test]
    fn what_cannot_be_searched_is_said() {
        assert_eq!(Text::of(b"PK\x03\x04...").gap, Some(Gap::Packed));
        assert_eq!(Text::of(b"plain").gap, None);
        let long = vec![b'\n'; MAX_TEXT + 1];
        let text = Text::of(&long);
        assert_eq!((text.gap, text.bytes.len()), (Some(Gap::TooLong), MAX_TEXT));
    }
}
