//! Git LFS: trees hold pointers, the content lies in stores beside git.
//!
//! A pointer is trusted for nothing but to name content by its hash. Content
//! that the remote lacks travels in the snapshot's pack; the rest is put in
//! place where it can be had. Neither side needs the git-lfs program, and no
//! filter that a repository configures ever runs.

pub(super) mod capture;
pub(super) mod restore;

use std::collections::HashSet;

use anyhow::{Context, Result};

use crate::git::Call;
use crate::snapshot::paths::joined;

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
