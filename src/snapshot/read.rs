//! Reading working files: converted as git would convert them, those of Git
//! LFS as git-lfs would, and again while they change.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};

use super::attributes::Asked;
use super::index::{self, Entry, Stat};
use super::lfs::{self, capture::Stored};
use super::scratch::{ScratchRepo, joined};
use super::verbatim;
use crate::error::failure;
use crate::git::Git;

const ATTEMPTS: u32 = 5;
/// Timestamps of files are no finer than this.
const TICK: Duration = Duration::from_millis(12);

/// What of the files that were read does not stand in the tree.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) asked: Asked,
    /// Contents of LFS files; `None` where Git LFS is not in use.
    pub(super) lfs: Option<Stored>,
    /// Files that git would write in another form than they have.
    pub(super) verbatim: BTreeMap<Vec<u8>, git2::Oid>,
}

/// Stores what these files hold, converted as git would convert it; again
/// while they change. Those that are gone are left out.
///
/// # Errors
/// When a file cannot be read, or keeps changing.
pub(super) fn capture(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    paths: &[Vec<u8>],
    beside: &mut Beside,
) -> Result<BTreeMap<Vec<u8>, Entry>> {
    let mut captured = BTreeMap::new();
    let mut pending: Vec<Vec<u8>> = paths.to_vec();
    for attempt in 0..ATTEMPTS {
        pending.retain(|path| scratch.is_file(path));
        if pending.is_empty() {
            return Ok(captured);
        }
        if attempt > 0 {
            std::thread::sleep(2 * TICK);
        }
        let started = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let read = store(scratch, git, index, &pending, beside);
        let read = match read {
            // A file that vanished meanwhile is no failure the second time.
            Err(_) if attempt == 0 => continue,
            other => other.context("cannot read the working files")?,
        };
        let limit = i128::from(started.tv_sec) * 1_000_000_000 + i128::from(started.tv_nsec) - TICK.as_nanos() as i128;
        let found: HashSet<&[u8]> = read.iter().map(|entry| &*entry.path).collect();
        let mut unstable: Vec<Vec<u8>> = pending.iter().filter(|path| !found.contains(&***path)).cloned().collect();
        for entry in read {
            let ctime = i128::from(entry.stat.ctime.0) * 1_000_000_000 + i128::from(entry.stat.ctime.1);
            // Not what was read, or perhaps changed within the tick of the
            // clock in which it was read.
            if ctime >= limit || scratch.lstat(&entry.path) != Some(entry.stat) {
                unstable.push(entry.path.clone());
            } else {
                captured.insert(entry.path.clone(), entry);
            }
        }
        pending = unstable;
    }
    pending.retain(|path| scratch.is_file(path));
    if pending.is_empty() {
        return Ok(captured);
    }
    let names: Vec<String> = pending.iter().take(3).map(|path| String::from_utf8_lossy(path).into_owned()).collect();
    Err(failure(format!("files keep changing while they are captured: {}", names.join(", ")))
        .hint("stop what writes to them, or list them under [snapshot] exclude, then publish again")
        .into())
}

/// One pass, with those that Git LFS manages by themselves.
fn store(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    paths: &[Vec<u8>],
    beside: &mut Beside,
) -> Result<Vec<Entry>> {
    beside.verbatim.retain(|path, _| !paths.contains(path));
    let Some(lfs) = &mut beside.lfs else {
        return convert(scratch, git, index, paths, beside);
    };
    let regular: Vec<&[u8]> = paths.iter().map(Vec::as_slice).filter(|path| scratch.regular(path).is_some()).collect();
    let managed = lfs::managed(scratch.git(git), &regular)?;
    let (managed, others): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| managed.contains(path));
    let mut entries = lfs.read(scratch, git, index, &managed)?;
    if !others.is_empty() {
        entries.extend(convert(scratch, git, index, &others, beside)?);
    }
    Ok(entries)
}

/// An index with these paths alone, as the checkout's has them, and then as
/// the files are. What stands in the index decides some conversions.
fn convert(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    paths: &[Vec<u8>],
    beside: &mut Beside,
) -> Result<Vec<Entry>> {
    let place = scratch.path().join("index.changed");
    let wanted: HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let known = index.iter().filter(|entry| entry.stage == 0 && !entry.intent_to_add && !entry.is_submodule());
    let known = known.filter(|entry| wanted.contains(&*entry.path));
    let fresh =
        |entry: &Entry| Entry { assume_unchanged: false, skip_worktree: false, stat: Stat::default(), ..entry.clone() };
    index::write(&place, &mut known.map(fresh).collect::<Vec<_>>())?;
    scratch
        .git(git)
        .env("GIT_INDEX_FILE", &place)
        // They are packed in a moment.
        .args(["-c", "core.looseCompression=0", "-c", "core.safecrlf=false"])
        .args(["update-index", "--add", "--remove", "--replace", "-z", "--stdin"])
        .run(&joined(paths))?;
    let entries = index::read(&place).context("cannot read the captured index")?;
    beside.verbatim.extend(verbatim::find(scratch, git, beside.asked, &place, &entries)?);
    Ok(entries)
}
