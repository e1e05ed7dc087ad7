//! How bytes, object names and modes are written in a snapshot document.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, content_size};
use crate::identity::Commit;

/// A path as git stores it: bytes, mostly UTF-8. In JSON whatever is no UTF-8,
/// and `%`, is percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitPath(pub Vec<u8>);

/// What is no path and no text for sure, such as a commit message: written as
/// paths are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteText(pub Vec<u8>);

macro_rules! bytes_as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                encode(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                decode(&text).map($name).ok_or_else(|| serde::de::Error::custom("a malformed % sequence in a path"))
            }
        }
    };
}

bytes_as_text!(GitPath);
bytes_as_text!(ByteText);

fn encode(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        f.write_str(&chunk.valid().replace('%', "%25"))?;
        chunk.invalid().iter().try_for_each(|byte| write!(f, "%{byte:02X}"))?;
    }
    Ok(())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digit = |at: usize| (*tail.get(at)? as char).to_digit(16);
            bytes.push((digit(0)? * 16 + digit(1)?) as u8);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

/// A git object name in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object(pub git2::Oid);

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let commit: Commit = text.parse().map_err(serde::de::Error::custom)?;
        git2::Oid::from_str(commit.as_str()).map(Object).map_err(serde::de::Error::custom)
    }
}

/// The mode of a file in the index: only what git knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FileMode {
    /// A symbolic link.
    pub const LINK: FileMode = FileMode(0o120_000);
    /// A submodule: a commit of another repository.
    pub const SUBMODULE: FileMode = FileMode(0o160_000);
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:06o}", self.0))
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "100644" => Ok(FileMode(0o100_644)),
            "100755" => Ok(FileMode(0o100_755)),
            "120000" => Ok(FileMode::LINK),
            "160000" => Ok(FileMode::SUBMODULE),
            other => Err(serde::de::Error::custom(format!("{other:?} is not the mode of a file"))),
        }
    }
}

/// A file whose content is not what git would write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verbatim {
    /// Its path.
    pub path: GitPath,
    /// The blob with the content as it is.
    pub object: Object,
}

/// Content that travels because the remote may lack it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LfsObject {
    /// One of the files that have it; for people.
    pub path: GitPath,
    /// Its sha256.
    pub oid: Digest,
    /// In bytes.
    #[serde(deserialize_with = "content_size")]
    pub size: u64,
    /// The blob of the pack that holds it.
    pub object: Object,
}
