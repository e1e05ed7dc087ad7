//! What was found, without what it is.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::digest::{Digest, hex};
use crate::error::{Fault, usage};

/// How often a secret's hash is hashed again: a fingerprint is printed, and
/// each guess at a weak password behind it shall cost that much.
const ROUNDS: usize = 10_000;

/// Names one secret, by one rule, in one file: the same wherever it stands in
/// the file, and whatever stands around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of `secret` in the file at `path`.
    pub(super) fn new(rule: &str, path: &str, secret: &[u8]) -> Self {
        let mut hash = Sha256::digest(secret);
        for _ in 0..ROUNDS {
            hash = Sha256::digest(hash);
        }
        let whole = Digest::of(format!("envctl finding 1\0{rule}\0{path}\0{}", hex(&hash)).as_bytes());
        Fingerprint(whole.hex()[..16].to_owned())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if text.len() != 16 || !text.bytes().all(digit) {
            return Err(usage(format!("{text:?} is no fingerprint of a finding"))
                .hint("copy it from what publish printed: 16 hexadecimal digits"));
        }
        Ok(Fingerprint(text.to_owned()))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that it matches.
    pub rule: String,
    /// The line on which it begins, from 1; `None` where there are no lines, or
    /// where the file as such is the finding.
    pub line: Option<usize>,
    /// Whether the file as such is found, by what it is called.
    pub by_name: bool,
    /// Its name, for an allow list.
    pub fingerprint: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_46_a_fingerprint_tells_nothing_and_is_stable() {
        let of = |rule, path, secret: &str| Fingerprint::new(rule, path, secret.as_bytes());
        let one = of("rule", "a/b", "value");
        assert_eq!(one, of("rule", "a/b", "value"));
        for other in [of("other", "a/b", "value"), of("rule", "a/c", "value"), of("rule", "a/b", "valve")] {
            assert_ne!(one, other);
        }
        assert_eq!(one.to_string().parse::<Fingerprint>().unwrap(), one);
        for bad in ["", "0123", "0123456789ABCDEF", "0123456789abcdef0", "0123456789abcdeg"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad:?}");
        }
    }
}
