//! What the content of a build folder was made from: the files of the workspace
//! at that moment, each by its path and a mark of what it held.
//!
//! Tools that build compare times. So wherever such an entry is used, these are
//! compared with the files that are there, and their times follow.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, Hasher};
use crate::error::integrity;

/// Bytes of a mark.
const MARK: usize = 16;

/// Bytes of all paths and marks, as they lie in memory.
const MOST: u64 = 64 << 20;

/// Of what a file held: its kind, size and content.
pub type Mark = [u8; MARK];

/// Files by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: BTreeMap<Vec<u8>, Mark>,
}

impl Sources {
    /// The mark of a file.
    pub fn mark(kind: u32, size: u64, content: &[u8]) -> Mark {
        let mut hasher = Hasher::default();
        hasher.update(format!("envctl source {kind:o} {size} ").as_bytes());
        hasher.update(content);
        let mut mark = [0; MARK];
        mark.copy_from_slice(&hasher.finish().as_bytes()[..MARK]);
        mark
    }

    /// Notes a file.
    pub fn insert(&mut self, path: Vec<u8>, mark: Mark) {
        self.files.insert(path, mark);
    }

    /// What a file held; `None` for one that was not there.
    pub fn get(&self, path: &[u8]) -> Option<&Mark> {
        self.files.get(path)
    }

    /// All paths, in order.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.files.keys().map(Vec::as_slice)
    }

    /// What both say of a file. What changed in between counts as not there.
    #[must_use]
    pub fn and(mut self, other: &Sources) -> Self {
        self.files.retain(|path, mark| other.files.get(path) == Some(mark));
        self
    }

    /// Forgets some files.
    #[must_use]
    pub fn without(mut self, forgets: impl Fn(&[u8]) -> bool) -> Self {
        self.files.retain(|path, _| !forgets(path));
        self
    }

    /// Of all names, without what the files hold.
    pub fn names(&self) -> Digest {
        let mut hasher = Hasher::default();
        for path in self.paths() {
            hasher.update(path);
            hasher.update(&[0]);
        }
        hasher.finish()
    }

    /// Of all names and what the files hold.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        for (path, mark) in &self.files {
            hasher.update(path);
            hasher.update(&[0]);
            hasher.update(mark);
        }
        hasher.finish()
    }

    fn pack(&self) -> std::io::Result<String> {
        let mut plain = Vec::new();
        for (path, mark) in &self.files {
            plain.extend_from_slice(path);
            plain.push(0);
            plain.extend_from_slice(mark);
        }
        Ok(STANDARD.encode(zstd::encode_all(&plain[..], 3)?))
    }

    fn unpack(text: &str) -> Result<Self> {
        let packed = STANDARD.decode(text).context("it is not base64")?;
        let mut plain = Vec::new();
        zstd::Decoder::new(&packed[..])?.take(MOST + 1).read_to_end(&mut plain)?;
        if plain.len() as u64 > MOST {
            return Err(integrity("it names too many files").into());
        }
        let (mut files, mut rest) = (BTreeMap::new(), &plain[..]);
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0).context("a path has no end")?;
            let (path, after) = (&rest[..end], &rest[end + 1..]);
            let (mark, after) = after.split_first_chunk::<MARK>().context("a file has no mark")?;
            files.insert(path.to_vec(), *mark);
            rest = after;
        }
        Ok(Sources { files })
    }
}

impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.pack().map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sources::unpack(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sources {
        let mut sources = Sources::default();
        for (path, text) in [("src/main.c", "1"), ("a b", "2"), ("z\n\u{fffd}", "")] {
            sources.insert(path.into(), Sources::mark(0o100_644, text.len() as u64, text.as_bytes()));
        }
        sources
    }

    #[test]
    fn they_survive_their_text() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert_eq!(serde_json::from_str::<Sources>(&text).unwrap(), sample());
        for bad in ["\"\"", "\"!\"", "\"AAAA\"", "1"] {
            let parsed = serde_json::from_str::<Sources>(bad);
            assert!(parsed.is_err() || parsed.is_ok_and(|all| all == Sources::default()), "{bad}");
        }
        // One mark is too short.
        let cut = STANDARD.encode(zstd::encode_all(&b"path\0mark"[..], 3).unwrap());
        assert!(Sources::unpack(&cut).is_err());
    }

    #[test]
    fn a_mark_is_of_kind_size_and_content() {
        let all = [
            Sources::mark(0o100_644, 1, b"x"),
            Sources::mark(0o100_755, 1, b"x"),
            Sources::mark(0o100_644, 2, b"x"),
            Sources::mark(0o100_644, 1, b"y"),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all[..n].iter().all(|other| other != one), "{n}");
        }
    }

    #[test]
    fn what_changed_in_between_counts_as_not_there_and_names_are_names_alone() {
        let (before, mut after) = (sample(), sample());
        after.insert(b"a b".to_vec(), Sources::mark(0o100_644, 1, b"9"));
        assert_eq!(before.names(), after.names());
        let both = before.and(&after);
        assert_eq!((both.get(b"a b"), both.get(b"src/main.c").is_some()), (None, true));
        assert_ne!(both.names(), after.names());
    }
}
