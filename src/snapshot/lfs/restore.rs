//! Putting content in the place of pointers.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result};

use super::capture::pointer_in;
use super::managed;
use crate::error::integrity;
use crate::git::Git;
use crate::git::lfs::{Contents, Pointer};
use crate::oci::unwrap_io;
use crate::snapshot::format::document::Document;
use crate::snapshot::format::index::Stat;
use crate::snapshot::tree::files::{self, TreeFile};

/// Gets contents that a workspace wants: where they are then. What cannot be
/// had stays a pointer.
pub type Fetch<'a> = &'a mut dyn FnMut(&[Pointer]) -> Vec<Contents>;

/// Keeps the contents that travelled where git-lfs looks for them.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when one is missing or not what it should be.
pub(in crate::snapshot) fn keep(git: &Git, repo: &git2::Repository, document: &Document) -> Result<Contents> {
    let contents = Contents::of(repo.path());
    if document.lfs.is_empty() {
        return Ok(contents);
    }
    let wanted: String = document.lfs.iter().map(|content| format!("{}\n", content.object.0)).collect();
    git.aside(repo.path()).args(["cat-file", "--batch", "--buffer"]).stream(wanted.as_bytes(), |pipe| {
        let mut pipe = BufReader::with_capacity(128 << 10, pipe);
        for content in &document.lfs {
            let mut header = String::new();
            pipe.read_line(&mut header)?;
            let expected = format!("{} blob {}\n", content.object.0, content.size);
            if header != expected {
                return Err(integrity(format!("the snapshot lacks the content of {}", content.path)).into());
            }
            let pointer = Pointer { oid: content.oid, size: content.size };
            contents
                .put(&pointer, &mut (&mut pipe).take(content.size))
                .with_context(|| format!("cannot restore the content of {}", content.path))?;
            pipe.read_exact(&mut [0])?;
        }
        Ok(())
    })?;
    Ok(contents)
}

fn filled(mut content: impl Read, new: &mut File) -> Result<()> {
    std::io::copy(&mut content, new).map(drop).map_err(unwrap_io)
}

/// Replaces pointers among the files that were just written, and their stat
/// data; returns the paths of those that stay pointers, and how many do not.
///
/// # Errors
/// When the workspace cannot be read or written.
pub(in crate::snapshot) fn place(
    (git, repo): (&Git, &git2::Repository),
    root: &Path,
    own: &Contents,
    written: &mut [(TreeFile, Stat)],
    fetch: Fetch<'_>,
) -> Result<(Vec<Vec<u8>>, usize)> {
    let found = |(n, (file, _)): (usize, &(TreeFile, Stat))| {
        if file.mode == 0o120_000 { None } else { Some((n, pointer_in(repo, file.object)?)) }
    };
    let mut pointers: Vec<(usize, Pointer)> = written.iter().enumerate().filter_map(found).collect();
    let paths: Vec<&[u8]> = pointers.iter().map(|(n, _)| &*written[*n].0.path).collect();
    let managed = managed(git.alone(repo.path()).env("GIT_WORK_TREE", root).cwd(root), &paths)?;
    pointers.retain(|(n, _)| managed.contains(&written[*n].0.path));
    let mut seen = HashSet::new();
    let missing = pointers.iter().map(|(_, pointer)| *pointer);
    let missing: Vec<Pointer> =
        missing.filter(|pointer| own.find(pointer).is_none() && seen.insert(*pointer)).collect();
    let mut stores = vec![own.clone()];
    if !missing.is_empty() {
        stores.extend(fetch(&missing));
    }
    let (mut left, mut placed) = (Vec::new(), 0);
    for (n, pointer) in pointers {
        let (file, stat) = &mut written[n];
        let content = stores.iter().find_map(|store| store.open(&pointer).ok().flatten());
        // A content that turns out to be another counts as absent.
        match content.map(|content| files::replace(repo, root, file, |new| filled(content, new))) {
            Some(Ok(new)) => (*stat, placed) = (new, placed + 1),
            Some(Err(error)) if crate::error::kind_of(&error) != crate::error::Kind::Integrity => return Err(error),
            _ => left.push(file.path.clone()),
        }
    }
    Ok((left, placed))
}
