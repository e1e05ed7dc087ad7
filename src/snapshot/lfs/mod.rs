//! Git LFS: trees hold pointers, the content lies in stores beside git.
//!
//! A pointer is trusted for nothing but to name content by its hash. Content
//! that the remote lacks travels in the snapshot's pack; the rest is put in
//! place where it can be had. Neither side needs the git-lfs program, and no
//! filter that a repository configures ever runs.

pub(super) mod capture;
pub(super) mod restore;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::scratch::joined;
use super::wire::{GitPath, Object};
use crate::digest::Digest;
use crate::git::Call;

/// Git ignores larger files of attributes.
const MAX_ATTRIBUTES: u64 = 100 << 20;

/// Content that travels because the remote may lack it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LfsObject {
    /// One of the files that have it; for people.
    pub path: GitPath,
    /// Its sha256.
    pub oid: Digest,
    /// In bytes.
    pub size: u64,
    /// The blob of the pack that holds it.
    pub object: Object,
}

/// Whether a text of attributes hands anything to Git LFS.
pub(super) fn mentions(attributes: &[u8]) -> bool {
    attributes
        .split(|byte| *byte == b'\n')
        .any(|line| !line.trim_ascii_start().starts_with(b"#") && line.windows(10).any(|word| word == b"filter=lfs"))
}

/// The same for a file of them, read as git does: no links, and nothing beyond
/// its own limit.
pub(super) fn mentioned_in(file: &Path) -> bool {
    let is_file = file.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_ATTRIBUTES);
    is_file && fs::read(file).is_ok_and(|text| mentions(&text))
}

/// Whether a path names a file of attributes.
pub(super) fn is_attributes(path: &[u8]) -> bool {
    path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes")
}

/// Which of these files git would hand to Git LFS.
///
/// # Errors
/// When git fails.
pub(super) fn managed(call: Call, paths: &[&[u8]]) -> Result<HashSet<Vec<u8>>> {
    if paths.is_empty() {
        return Ok(HashSet::new());
    }
    let printed = call.args(["check-attr", "-z", "--stdin", "filter"]).run(&joined(paths));
    let printed = printed.context("cannot read the attributes")?;
    let fields: Vec<&[u8]> = printed.split(|byte| *byte == 0).collect();
    Ok(fields.chunks_exact(3).filter(|field| field[2] == b"lfs").map(|field| field[0].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_hand_files_to_lfs() {
        assert!(mentions(b"# text\n*.psd filter=lfs diff=lfs -text"));
        assert!(mentions(b"[attr]big filter=lfs\n"));
        assert!(!mentions(b"# filter=lfs\n  #filter=lfs\n*.psd -text\n"));
        assert!(is_attributes(b".gitattributes") && is_attributes(b"a/.gitattributes"));
        assert!(!is_attributes(b"a.gitattributes") && !is_attributes(b".gitattributes/a"));
    }
}
