//! Large files that git would store as they are, although attributes or settings
//! have it convert some: they need not go through the git program, which holds a
//! file that it may convert in memory.

use std::collections::HashSet;
use std::io::{self, Read};

use anyhow::{Context, Result};

use crate::git::Git;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::paths::joined;
use crate::snapshot::tree::attributes::Conversions;

/// Smaller files are left to git, in bytes.
const LARGE: i64 = 4 << 20;

/// Those of the files that are large and that nothing converts, in either
/// direction.
///
/// # Errors
/// When git fails, or a file cannot be read.
pub(in crate::snapshot) fn untouched(
    scratch: &ScratchRepo,
    git: &Git,
    asked: Conversions,
    paths: &[Vec<u8>],
) -> Result<HashSet<Vec<u8>>> {
    let is_large = |path: &&Vec<u8>| scratch.regular(path).is_some_and(|stat| stat.st_size > LARGE);
    let large: Vec<&[u8]> = paths.iter().filter(is_large).map(Vec::as_slice).collect();
    if large.is_empty() {
        return Ok(HashSet::new());
    }
    // Who says how lines end says that there are lines.
    let names = ["text", "eol", "crlf", "ident", "working-tree-encoding", "filter"];
    let printed = scratch.git_as_restored(git).args(["check-attr", "-z", "--stdin"]).args(names).run(&joined(&large));
    let printed = printed.context("cannot read the attributes")?;
    let fields: Vec<&[u8]> = printed.split(|byte| *byte == 0).collect();
    let mut found = HashSet::new();
    // Three fields for each name: path, name, value.
    for group in fields.chunks_exact(3 * names.len()) {
        let value = |n: usize| group[3 * n + 2];
        let is_off = |n: usize| matches!(value(n), b"unspecified" | b"unset");
        if !(1..names.len()).all(is_off) {
            continue;
        }
        let by_content = match value(0) {
            b"unset" => None,
            b"unspecified" if scratch.settings.autocrlf.is_none() => None,
            b"unspecified" | b"auto" => Some(true),
            _ => Some(false),
        };
        let is_untouched = match by_content {
            None => true,
            Some(guessed) => {
                let seen = ContentTraits::of(&mut scratch.open(group[0])?)?;
                // A NUL makes a file binary, and what has no such line end loses none.
                guessed && seen.nul || !asked.conversion && !seen.crlf
            }
        };
        if is_untouched {
            found.insert(group[0].to_vec());
        }
    }
    Ok(found)
}

/// What decides whether git takes a content for text (`convert.c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ContentTraits {
    nul: bool,
    /// A line that ends as on Windows.
    crlf: bool,
}

impl ContentTraits {
    fn of(from: &mut dyn Read) -> io::Result<Self> {
        let mut seen = ContentTraits::default();
        let mut buffer = vec![0; 1 << 20];
        let mut ends_in_return = false;
        loop {
            let count = from.read(&mut buffer)?;
            let part = &buffer[..count];
            let Some(last) = part.last() else { return Ok(seen) };
            seen.nul |= memchr::memchr(0, part).is_some();
            seen.crlf |= ends_in_return && part.first() == Some(&b'\n');
            seen.crlf |= memchr::memmem::find(part, b"\r\n").is_some();
            ends_in_return = *last == b'\r';
            // Nothing else can change what it is taken for.
            if seen.nul {
                return Ok(seen);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1);
            to[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn what_is_seen_does_not_depend_on_the_parts() {
        for (content, nul, crlf) in [
            (&b""[..], false, false),
            (b"a\nb\rc", false, false),
            (b"a\r\nb", false, true),
            (b"a\r\r\n", false, true),
            (b"\0", true, false),
        ] {
            assert_eq!(ContentTraits::of(&mut &*content).unwrap(), ContentTraits { nul, crlf });
            assert_eq!(ContentTraits::of(&mut Drip(content)).unwrap(), ContentTraits { nul, crlf });
        }
    }
}
