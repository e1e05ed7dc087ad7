//! Lockfiles that are known by name.

use std::path::Path;

use anyhow::{Context, Result};

use crate::digest::Digest;
use crate::disk::beneath::Beneath;
use crate::disk::plain::Miss;

/// A lockfile beyond this size pins nothing that anybody reads, in bytes.
const MAX: u64 = 64 << 20;

/// All that are known.
const KNOWN: [&str; 19] = [
    "pnpm-lock.yaml",
    "yarn.lock",
    "bun.lock",
    "bun.lockb",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "pylock.toml",
    "Pipfile.lock",
    "requirements.txt",
    "Cargo.lock",
    "go.sum",
    "Gemfile.lock",
    "composer.lock",
    "pom.xml",
    "gradle.lockfile",
    "flake.lock",
];

/// The lockfiles below `root`, as `NAME:DIGEST`, in the order of their names.
///
/// # Errors
/// When one is there and cannot be read.
pub fn lockfiles(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let folder = Beneath::open(root)?;
    for known in KNOWN {
        let bytes = match folder.file(Path::new(known)) {
            // Where a link leads is no part of the checkout.
            Err(Miss::Link) => Ok(None),
            _ => folder.read(Path::new(known), MAX),
        };
        if let Some(bytes) = bytes.with_context(|| format!("cannot read the lockfile {}", known))? {
            found.push(format!("{}:{}", known, Digest::of(&bytes)));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["package-lock.json", "package.json", "yarn.lock", "go.sum", "poetry.lock", "requirements.txt"] {
            std::fs::write(dir.path().join(file), file).unwrap();
        }
        let found = lockfiles(dir.path()).unwrap();
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.contains(&format!("go.sum:{}", Digest::of(b"go.sum"))));
    }
}
