//! Content digests as the OCI image specification writes them, parsed once at
//! the boundary so that no unchecked text ever becomes a path or a URL.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::error::{Fault, integrity};

/// The largest content that a document can name, in bytes.
pub const MAX_CONTENT: u64 = 32 << 40;

/// Reads the size of a content, for serde's `deserialize_with`: one that could be real,
/// so that no sum of them overflows.
///
/// # Errors
/// For larger ones, and for what is no size.
pub fn content_size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(from)?;
    if size > MAX_CONTENT {
        return Err(serde::de::Error::custom(format!("no content has {size} bytes")));
    }
    Ok(size)
}

/// A SHA-256 digest: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hexadecimal digits: enough for a person to recognise.
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }

    /// Parses 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, Fault> {
        unhex(text).map(Digest).ok_or_else(|| {
            integrity(format!("not a sha256 digest: {text:?} (64 lower-case hexadecimal digits are needed)"))
        })
    }
}

/// A number that nobody can guess, of `N` bytes, in hexadecimal.
///
/// # Errors
/// When the kernel gives none.
pub fn random_hex<const N: usize>() -> std::io::Result<String> {
    let mut bytes = [0_u8; N];
    let count = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if count == N { Ok(hex(&bytes)) } else { Err(std::io::Error::other("the kernel gave no random bytes")) }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// Exactly `N` bytes from lower-case hexadecimal; `None` for anything else.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(out)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        match text.strip_prefix("sha256:") {
            Some(hex) => Digest::from_hex(hex),
            None => Err(integrity(format!("not a sha256 digest: {text:?}"))),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A running SHA-256 over everything that passes.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes a stream on and fails at its end unless both its length and its
/// digest are as declared. Stops one byte after the declared length, so an
/// endless body costs nothing.
pub struct Verified<R> {
    inner: R,
    hasher: Option<Hasher>,
    left: u64,
    size: u64,
    digest: Digest,
    too_long: bool,
}

impl<R: Read> Verified<R> {
    /// Expects exactly `size` bytes that hash to `digest`.
    pub fn new(inner: R, size: u64, digest: Digest) -> Self {
        Verified { inner, hasher: Some(Hasher::default()), left: size, size, digest, too_long: false }
    }

    fn longer(&self) -> io::Error {
        invalid(format!("{} is longer than the {} bytes declared", self.digest, self.size))
    }

    fn check_end(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        if self.left > 0 {
            let got = self.size - self.left;
            return Err(invalid(format!("{} ends after {got} bytes, {} were declared", self.digest, self.size)));
        }
        let actual = hasher.finish();
        if actual != self.digest {
            return Err(invalid(format!("content does not match its digest: expected {}, got {actual}", self.digest)));
        }
        Ok(())
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // Whoever reads on after an error meets the same one.
        if self.too_long {
            return Err(self.longer());
        }
        let count = self.inner.read(buffer)?;
        if count == 0 {
            self.check_end()?;
            return Ok(0);
        }
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                self.too_long = true;
                return Err(self.longer());
            }
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, integrity(message))
}

/// Hashes and counts what is written through it.
pub struct Hashed<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Hashed<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Hashed { inner, hasher: Hasher::default(), size: 0 }
    }

    /// What was written to, the digest of all that was written, and its bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.hasher.finish(), self.size)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digests_round_trip(bytes in any::<Vec<u8>>()) {
            let digest = Digest::of(&bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn case_18_malformed_digests_are_refused() {
        let good = Digest::of(b"").to_string();
        for bad in [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            &good.to_uppercase(),
            &good[..70],
            &format!("{good}0"),
            &good.replace('e', "g"),
            &good[7..],
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    fn read_all(body: &[u8], size: u64, digest: Digest) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Verified::new(body, size, digest).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn verified_streams_check_length_and_digest() {
        let digest = Digest::of(b"hello");
        assert_eq!(read_all(b"hello", 5, digest).unwrap(), b"hello");
        assert!(read_all(b"hell", 5, digest).unwrap_err().to_string().contains("ends after 4 bytes"));
        assert!(read_all(b"hellO", 5, digest).unwrap_err().to_string().contains("does not match"));
        assert!(read_all(b"hello, and on and on", 5, digest).unwrap_err().to_string().contains("longer than"));
        assert!(read_all(b"", 0, Digest::of(b"")).unwrap().is_empty());
    }
}
