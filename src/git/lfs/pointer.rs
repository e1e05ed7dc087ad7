//! The text that stands in git for content elsewhere.

use std::io::{self, Read};

use crate::digest::{Digest, Hasher, MAX_CONTENT};

/// Larger blobs are no pointers. In bytes.
pub const MAX_POINTER: usize = 1024;

/// The first lines by which a pointer is known: today's, and two older ones.
const VERSIONS: [&str; 3] =
    ["https://git-lfs.github.com/spec/v1", "https://hawser.github.com/spec/v1", "http://git-media.io/v/2"];

/// What a pointer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    /// The content's sha256.
    pub oid: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Pointer {
    /// `None` for whatever is no pointer.
    pub fn parse(blob: &[u8]) -> Option<Self> {
        if blob.len() > MAX_POINTER {
            return None;
        }
        let mut lines = std::str::from_utf8(blob).ok()?.lines();
        let version = lines.next()?.strip_prefix("version ")?;
        let (mut oid, mut size) = (None, None);
        for line in lines.filter(|line| !line.is_empty()) {
            match line.split_once(' ')? {
                ("oid", value) if oid.is_none() => oid = Some(Digest::from_hex(value.strip_prefix("sha256:")?).ok()?),
                ("size", value) if size.is_none() && value.bytes().all(|c| c.is_ascii_digit()) => {
                    size = Some(value.parse().ok().filter(|size| *size <= MAX_CONTENT)?);
                }
                // Content that went through other programs as well.
                (key, _) if key.starts_with("ext-") => {}
                _ => return None,
            }
        }
        VERSIONS.contains(&version).then_some(Pointer { oid: oid?, size: size? })
    }

    /// The pointer that git-lfs writes.
    pub fn text(&self) -> String {
        format!("version {}\noid sha256:{}\nsize {}\n", VERSIONS[0], self.oid.hex(), self.size)
    }

    /// The pointer to a content.
    ///
    /// # Errors
    /// When the content cannot be read.
    pub fn to(content: &mut dyn Read) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let size = io::copy(content, &mut hasher)?;
        Ok(Pointer { oid: hasher.finish(), size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(content in any::<Vec<u8>>()) {
            let pointer = Pointer::to(&mut &content[..]).unwrap();
            prop_assert_eq!(pointer.size, content.len() as u64);
            prop_assert_eq!(Pointer::parse(pointer.text().as_bytes()), Some(pointer));
        }

        #[test]
        fn parsing_never_panics(blob in any::<Vec<u8>>()) {
            let _ = Pointer::parse(&blob);
        }
    }

    #[test]
    fn what_is_no_pointer() {
        let oid = "0".repeat(64);
        let fine =
            format!("version https://git-lfs.github.com/spec/v1\next-0-x sha256:{oid}\noid sha256:{oid}\nsize 7\n");
        assert_eq!(Pointer::parse(fine.as_bytes()).unwrap().size, 7);
        for bad in [
            fine.replace("spec/v1", "spec/v9"),
            fine.replace("sha256:", "md5:"),
            fine.replace("size 7", "size -7"),
            fine.replace("size 7", "size +7"),
            fine.replace("size 7", "size 99999999999999999999999"),
            fine.replace(&oid, "../../../../etc/passwd"),
            fine.replace(&oid, &oid[1..]),
            fine.replace("size 7\n", ""),
            fine.replace("ext-0-x", "touch"),
            format!("{fine}oid sha256:{oid}\n"),
            format!("{fine}ext-1 {}\n", "x".repeat(MAX_POINTER)),
            String::new(),
        ] {
            assert_eq!(Pointer::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
