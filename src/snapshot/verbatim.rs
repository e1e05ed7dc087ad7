//! Files that git would not write as they are: a line end that the settings
//! would not give, say. Their content is in the tree as git converts it, and
//! once more as it is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::attributes::Asked;
use super::files::{self, TreeFile};
use super::index::{Entry, Stat};
use super::scratch::{ScratchRepo, joined};
use super::wire::{GitPath, Object};
use crate::error::integrity;
use crate::git::Git;

/// One such file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verbatim {
    /// Its path.
    pub path: GitPath,
    /// The blob with the content as it is.
    pub object: Object,
}

/// Compares what was captured, in the index file `index`, with what git would
/// write of it, and stores what differs.
///
/// # Errors
/// When git fails, or a file cannot be read.
pub(super) fn find(
    scratch: &ScratchRepo,
    git: &Git,
    asked: Asked,
    index: &Path,
    entries: &[Entry],
) -> Result<BTreeMap<Vec<u8>, git2::Oid>> {
    let regular = entries.iter().filter(|entry| entry.mode & 0o170_000 == 0o100_000);
    let differ: Vec<&Entry> = if asked.conversion {
        let written = write(scratch, git, index, &regular.clone().map(|entry| &*entry.path).collect::<Vec<_>>())?;
        let at = |entry: &Entry| written.join(OsStr::from_bytes(&entry.path));
        regular.filter(|entry| !same(&at(entry), &scratch.full(&entry.path)).unwrap_or(false)).collect()
    } else {
        // What git changes when it reads and not when it writes gets shorter.
        let own = git2::Repository::open_bare(scratch.path())?;
        let odb = own.odb()?;
        let size = |entry: &Entry| odb.read_header(entry.object).map(|(size, _)| size as u64).ok();
        let there = |entry: &Entry| scratch.full(&entry.path).symlink_metadata().map(|meta| meta.len()).ok();
        regular.filter(|entry| size(entry) != there(entry)).collect()
    };
    let files: Vec<PathBuf> = differ.iter().map(|entry| scratch.full(&entry.path)).collect();
    let stored = scratch.store_raw(git, &files).context("cannot store files as they are")?;
    Ok(differ.iter().map(|entry| entry.path.clone()).zip(stored).collect())
}

/// Lets git write these files of an index aside; the folder.
fn write(scratch: &ScratchRepo, git: &Git, index: &Path, paths: &[&[u8]]) -> Result<PathBuf> {
    let folder = scratch.path().join("written");
    if folder.exists() {
        crate::disk::remove::tree(&folder)?;
    }
    fs::create_dir(&folder)?;
    let mut prefix = OsString::from("--prefix=");
    prefix.push(&folder);
    prefix.push("/");
    let call = scratch.git(git).env("GIT_INDEX_FILE", index).args(["checkout-index", "-q", "-z", "--stdin"]);
    call.args([prefix]).run(&joined(paths)).context("cannot see how git would write the files")?;
    Ok(folder)
}

fn same(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (fs::File::open(a)?, fs::File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

/// Puts the contents in place of what git wrote.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] for a file that was not written, or a
/// content that is missing.
pub(super) fn place(
    repo: &git2::Repository,
    root: &Path,
    verbatim: &[Verbatim],
    written: &mut [(TreeFile, Stat)],
) -> Result<()> {
    let mut places: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    if !verbatim.is_empty() {
        places.extend(written.iter().enumerate().map(|(n, (file, _))| (file.path.clone(), n)));
    }
    for wanted in verbatim {
        let place = places.get(&wanted.path.0).copied().filter(|n| written[*n].0.mode & 0o170_000 == 0o100_000);
        let place = place.ok_or_else(|| integrity(format!("the snapshot has no file {}", wanted.path)))?;
        let (file, stat) = &mut written[place];
        let blob = repo.find_blob(wanted.object.0);
        let blob = blob.map_err(|_| integrity(format!("the content of {} is missing", wanted.path)))?;
        *stat = files::replace(repo, root, file, &mut blob.content())?;
    }
    Ok(())
}
