//! Names parsed at the boundary: task IDs, commits, pinned images.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;
use crate::error::{Fault, integrity, usage};

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use serde_as_text;

/// A task ID: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, a valid OCI tag that is not
/// one of the names that a store uses itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(String);

impl TaskId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a store keeps this tag for itself: `id-*`, `sha256-*`,
    /// `cache-*`, `index-v1`, and `image-` or `claim-` before a full digest.
    pub fn is_reserved(tag: &str) -> bool {
        ["id-", "sha256-", "cache-"].iter().any(|prefix| tag.starts_with(prefix))
            || tag == "index-v1"
            || ["image-", "claim-"]
                .iter()
                .any(|prefix| tag.strip_prefix(prefix).is_some_and(|hex| Digest::from_hex(hex).is_ok()))
    }
}

impl FromStr for TaskId {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        let bytes = text.as_bytes();
        let wellformed =
            (1..=128).contains(&bytes.len()) && bytes[0].is_ascii_alphanumeric() && bytes.iter().all(|c| allowed(*c));
        if !wellformed {
            let hint = if text.starts_with("oci:") || text.contains('/') {
                "the store is named apart from the task here: --store STORE"
            } else {
                "a task ID starts with a letter or digit; letters, digits, '.', '_' and '-' follow, 128 at most"
            };
            return Err(usage(format!("{text:?} is not a task ID")).hint(hint));
        }
        if Self::is_reserved(text) {
            return Err(usage(format!("{text:?} is a name that stores use themselves"))
                .hint("task IDs do not start with id-, sha256- or cache-; index-v1 is taken, and so are image- and claim- before a digest"));
        }
        Ok(TaskId(text.to_owned()))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(TaskId);

/// A full git object name: 40 lower-case hexadecimal digits (SHA-1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commit(String);

impl Commit {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough digits for a person to recognise.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl FromStr for Commit {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.len() == 64 && crate::digest::unhex::<32>(text).is_some() {
            return Err(usage("repositories with SHA-256 object names are not supported"));
        }
        match crate::digest::unhex::<20>(text) {
            Some(_) => Ok(Commit(text.to_owned())),
            None => Err(integrity(format!("{text:?} is not a full commit hash"))),
        }
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Commit);

/// An image pinned by digest: `store@sha256:...` when it travels in the same
/// store as the identity, `registry/name@sha256:...` otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    /// The repository on a registry; `None` for the identity's own store.
    pub repository: Option<String>,
    /// The platform manifest's digest.
    pub digest: Digest,
}

impl FromStr for ImageRef {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (name, digest) = text.split_once('@').ok_or_else(|| integrity(format!("image {text:?} has no digest")))?;
        let digest = digest.parse()?;
        if name == "store" {
            return Ok(ImageRef { repository: None, digest });
        }
        super::reference::check_repository(name)?;
        Ok(ImageRef { repository: Some(name.to_owned()), digest })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository.as_deref().unwrap_or("store"), self.digest)
    }
}

serde_as_text!(ImageRef);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn task_ids() {
        for good in ["a", "task-xyz789", "A.b_c-9", "image-upload-fix", "claim-form", "index-v10", &"x".repeat(128)] {
            assert_eq!(good.parse::<TaskId>().unwrap().as_str(), good);
        }
        let own = ["image", "claim"].map(|kind| format!("{kind}-{}", Digest::of(b"").hex()));
        let long = "x".repeat(129);
        let reserved = ["id-1", "sha256-0", "cache-x", "index-v1", &own[0], &own[1]];
        for bad in ["", "-a", ".a", "a/b", "a b", "a\n", "ä", &long].into_iter().chain(reserved) {
            assert!(bad.parse::<TaskId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn commits() {
        let good = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(good.parse::<Commit>().unwrap().short(), "0123456789");
        for bad in ["", "HEAD", &good[1..], &good.to_uppercase(), &good.repeat(2)[..64], "-".repeat(40).as_str()] {
            assert!(bad.parse::<Commit>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn images_are_pinned() {
        let digest = Digest::of(b"x");
        for good in [format!("store@{digest}"), format!("r.example:5000/a/b@{digest}")] {
            assert_eq!(good.parse::<ImageRef>().unwrap().to_string(), good);
        }
        for bad in [format!("debian@{digest}"), "r.example/a:tag".into(), format!("r.example/../b@{digest}")] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn task_id_parsing_agrees_with_the_grammar(text in "[A-Za-z0-9._/ -]{0,6}") {
            let grammar = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && !text.contains(['/', ' ']);
            prop_assert_eq!(text.parse::<TaskId>().is_ok(), grammar && !text.starts_with("id-"));
        }
    }
}
