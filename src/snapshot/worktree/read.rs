//! Reading working files: converted as git would convert them, those of Git
//! LFS as git-lfs would, and again while they change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::Seek;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;

use super::untouched::untouched;
use super::verbatim;
use crate::error::failure;
use crate::git::Git;
use crate::snapshot::checkout::moment::fleeting;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::contents::WantedFile;
use crate::snapshot::format::index::{self, Entry, Stat};
use crate::snapshot::lfs::{self, capture::StoredLfs};
use crate::snapshot::paths::{joined, path_of};
use crate::snapshot::tree::attributes::{Conversions, is_attributes};

const ATTEMPTS: u32 = 5;
/// Files that are open at once for git.
const AT_ONCE: usize = 256;
/// If so many files in a row cannot be read by git, it is not about the files.
const MOST_STRANGE: usize = 16;
/// Timestamps of files are no finer than this.
const TICK: Duration = Duration::from_millis(12);

/// What of the files that were read does not stand in the tree.
#[derive(Debug)]
pub(in crate::snapshot) struct NotInTree {
    pub(in crate::snapshot) asked: Conversions,
    /// Contents of LFS files; `None` where Git LFS is not in use.
    pub(in crate::snapshot) lfs: Option<StoredLfs>,
    /// Files that git would write in another form than they have.
    pub(in crate::snapshot) verbatim: BTreeMap<Vec<u8>, git2::Oid>,
}

/// Whether a file was not there, or is something else: in the words of git, too.
fn is_about_a_name(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].iter().any(|errno| {
        let words = std::io::Error::from(*errno).to_string();
        text.contains(words.split(" (os error").next().unwrap_or_default())
    })
}

/// Whether names came or went in the folder of a file just now.
fn is_restless(scratch: &ScratchRepo, path: &[u8]) -> bool {
    let folder = path.iter().rposition(|byte| *byte == b'/').map_or(&b"."[..], |at| &path[..at]);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    scratch.files.stat(path_of(folder)).is_none_or(|stat| stat.st_ctime >= now - 1)
}

/// Stores what these files hold, converted as git would convert it; again
/// while they change. Those that are gone are left out.
///
/// # Errors
/// When a file cannot be read, or keeps changing.
pub(in crate::snapshot) fn store_contents(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    paths: &[Vec<u8>],
    beside: &mut NotInTree,
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
        let held = if attempt + 1 < ATTEMPTS { HashSet::new() } else { hold(scratch, &pending)? };
        let started = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let read = store(scratch, git, index, &pending, beside);
        let read = match read {
            // A file that vanished meanwhile is no failure the next time.
            Err(_) if attempt + 1 < ATTEMPTS => continue,
            // Nor is it where others come and go beside it: all is looked at again.
            Err(error) => {
                let restless = pending.iter().find(|path| is_about_a_name(&error) && is_restless(scratch, path));
                let Some(path) = restless else { return Err(error.context("cannot read the working files")) };
                return Err(fleeting(&scratch.full(path)).context(format!("{error:#}")));
            }
            Ok(read) => read,
        };
        let limit = i128::from(started.tv_sec) * 1_000_000_000 + i128::from(started.tv_nsec) - TICK.as_nanos() as i128;
        let found: HashSet<&[u8]> = read.iter().map(|entry| &*entry.path).collect();
        let mut unstable: Vec<Vec<u8>> = pending.iter().filter(|path| !found.contains(&***path)).cloned().collect();
        for entry in read {
            let ctime = i128::from(entry.stat.ctime.0) * 1_000_000_000 + i128::from(entry.stat.ctime.1);
            // Not what was read, or perhaps changed within the tick of the
            // clock in which it was read.
            let is_held = held.contains(&entry.path);
            if (ctime >= limit && !is_held) || scratch.lstat(&entry.path) != Some(entry.stat) {
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

/// Those of these files that can be had as they are at one moment, although somebody
/// writes to them all the time.
fn hold(scratch: &ScratchRepo, paths: &[Vec<u8>]) -> Result<HashSet<Vec<u8>>> {
    let mut held = HashSet::new();
    for path in paths {
        for _ in 0..ATTEMPTS {
            if scratch.hold(path)? {
                held.insert(path.clone());
                break;
            }
        }
    }
    Ok(held)
}

/// One pass, with those that Git LFS manages by themselves.
fn store(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    paths: &[Vec<u8>],
    beside: &mut NotInTree,
) -> Result<Vec<Entry>> {
    beside.verbatim.retain(|path, _| !paths.contains(path));
    let Some(lfs) = &mut beside.lfs else {
        return convert(scratch, git, index, paths, beside);
    };
    let regular: Vec<&[u8]> = paths.iter().map(Vec::as_slice).filter(|path| scratch.regular(path).is_some()).collect();
    let managed = lfs::managed(scratch.git(git), &regular)?;
    let (managed, others): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| managed.contains(path));
    let mut entries = lfs.read(scratch, index, &managed)?;
    if !others.is_empty() {
        entries.extend(convert(scratch, git, index, &others, beside)?);
    }
    Ok(entries)
}

/// One working file, as it is read.
struct WorkingFile<'a> {
    path: &'a [u8],
    /// What the checkout's index has at its path.
    indexed: Option<&'a Entry>,
    stat: Stat,
    content: Content,
}

enum Content {
    File(File),
    /// Where a link leads.
    Link(Vec<u8>),
}

/// Stores what these files hold. They are opened below the checkout's root,
/// through no link, and git is given what was opened and never a path of the
/// checkout: somebody may move what is there while it is read.
fn convert(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    paths: &[Vec<u8>],
    beside: &mut NotInTree,
) -> Result<Vec<Entry>> {
    let wanted: HashSet<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let known = index.iter().filter(|entry| entry.stage == 0 && !entry.intent_to_add && !entry.is_submodule());
    let known: HashMap<&[u8], &Entry> =
        known.filter(|entry| wanted.contains(&*entry.path)).map(|entry| (&*entry.path, entry)).collect();
    let as_they_are_too = match beside.asked.normal {
        true => untouched(scratch, git, beside.asked, paths)?,
        false => HashSet::new(),
    };
    let is_plain = |path: &&Vec<u8>| !beside.asked.normal || as_they_are_too.contains(*path);
    let (plain, converted): (Vec<&Vec<u8>>, Vec<&Vec<u8>>) = paths.iter().partition(is_plain);
    let (mut entries, mut strange) = (Vec::with_capacity(paths.len()), Vec::new());
    for part in converted.chunks(AT_ONCE) {
        let sources: Vec<WorkingFile<'_>> =
            part.iter().map(|path| open(scratch, path, known.get(&***path).copied())).collect::<Result<_>>()?;
        match by_git(scratch, git, &sources) {
            Ok(read) => entries.extend(read),
            Err(error) => {
                let (read, others) = one_by_one(scratch, git, &sources, error)?;
                entries.extend(read);
                strange.extend(part.iter().filter(|path| others.contains(*path)));
            }
        }
    }
    entries.extend(as_they_are(scratch, &strange, &known)?);
    let place = scratch.path().join("index.changed");
    index::write(&place, &mut entries)?;
    beside.verbatim.extend(verbatim::find(scratch, git, beside.asked, &place, &entries)?);
    // Nothing converts these when they are written, either.
    entries.extend(as_they_are(scratch, &plain, &known)?);
    Ok(entries)
}

/// The same for each by itself; and those that git cannot read, such as a text that is
/// not in the encoding that attributes say. They are stored as they are: git does not
/// look into them before somebody adds them.
fn one_by_one(
    scratch: &ScratchRepo,
    git: &Git,
    sources: &[WorkingFile<'_>],
    error: anyhow::Error,
) -> Result<(Vec<Entry>, Vec<Vec<u8>>)> {
    let (mut entries, mut strange) = (Vec::new(), Vec::new());
    for source in sources {
        if let Content::File(file) = &source.content {
            (&*file).rewind()?;
        }
        match by_git(scratch, git, std::slice::from_ref(source)) {
            Ok(read) => entries.extend(read),
            Err(_) => {
                if !is_attributes(source.path) {
                    scratch.attributes().remove(path_of(source.path));
                }
                strange.push(source.path.to_vec());
            }
        }
    }
    // It was not about some of the files.
    if strange.len() == sources.len() && sources.len() > MOST_STRANGE { Err(error) } else { Ok((entries, strange)) }
}

fn open<'a>(scratch: &ScratchRepo, path: &'a [u8], indexed: Option<&'a Entry>) -> Result<WorkingFile<'a>> {
    let before = scratch.lstat(path);
    if let (Some(target), Some(stat)) = (scratch.files.link(path_of(path)), before) {
        return Ok(WorkingFile { path, indexed, stat, content: Content::Link(target) });
    }
    let file = scratch.open(path)?;
    let stat = scratch.stat_of(path, &file)?;
    Ok(WorkingFile { path, indexed, stat, content: Content::File(file) })
}

/// What nothing converts is stored as it is.
fn as_they_are(scratch: &ScratchRepo, paths: &[&Vec<u8>], known: &HashMap<&[u8], &Entry>) -> Result<Vec<Entry>> {
    let own = git2::Repository::open_bare(scratch.path())?;
    let (mut entries, mut wanted) = (Vec::with_capacity(paths.len()), Vec::with_capacity(paths.len()));
    for path in paths {
        // A file that changes from here on is read again: see `capture`.
        let stat = scratch.lstat(path).context("a file is gone")?;
        let entry = |mode, object| Entry { mode, object, stat, ..Entry::plain(path) };
        if let Some(target) = scratch.files.link(path_of(path)) {
            entries.push(entry(0o120_000, own.blob(&target)?));
            continue;
        }
        let indexed = known.get(&***path).copied();
        wanted.push(WantedFile { file: entries.len(), size: stat.size.into(), is_change: indexed.is_some() });
        entries.push(entry(scratch.mode(path, indexed), git2::Oid::ZERO_SHA1));
    }
    let place = |n: &usize| entries.get(*n).map_or(&[] as &[u8], |entry| &entry.path);
    let stored = scratch.contents.store(&wanted, |n| scratch.open(place(n)))?;
    for (one, id) in wanted.iter().zip(stored) {
        if let Some(entry) = entries.get_mut(one.file) {
            entry.object = id;
        }
    }
    Ok(entries)
}

/// Git reads copies in a folder of ours, beside the attributes that hold in the
/// checkout. What stands in the index decides some conversions.
fn by_git(scratch: &ScratchRepo, git: &Git, sources: &[WorkingFile<'_>]) -> Result<Vec<Entry>> {
    let place = scratch.path().join("index.read");
    let fresh =
        |entry: &Entry| Entry { assume_unchanged: false, skip_worktree: false, stat: Stat::default(), ..entry.clone() };
    index::write(&place, &mut sources.iter().filter_map(|source| source.indexed.map(fresh)).collect::<Vec<_>>())?;
    let (aside, own) = (scratch.attributes(), git2::Repository::open_bare(scratch.path())?);
    let (mut paths, mut links) = (Vec::new(), Vec::new());
    for source in sources {
        match &source.content {
            // Git does not convert where a link leads; and no copy may be one.
            Content::Link(target) => {
                let (mode, object) = (0o120_000, own.blob(target)?);
                links.push(Entry { mode, object, stat: source.stat, ..Entry::plain(source.path) });
            }
            Content::File(file) => {
                let mode = if scratch.mode(source.path, source.indexed) == 0o100_755 { 0o755 } else { 0o644 };
                let mut copy = aside.create(path_of(source.path), mode)?;
                std::io::copy(&mut &*file, &mut copy)?;
                copy.set_permissions(std::fs::Permissions::from_mode(mode))?;
                paths.push(source.path);
            }
        }
    }
    scratch
        .git_as_restored(git)
        .env("GIT_INDEX_FILE", &place)
        // They are packed in a moment.
        .args(["-c", "core.looseCompression=0", "-c", "core.safecrlf=false"])
        .args(["update-index", "--add", "--remove", "--replace", "-z", "--stdin"])
        .run(&joined(&paths))?;
    paths.iter().filter(|path| !is_attributes(path)).for_each(|path| aside.remove(path_of(path)));
    let stats: HashMap<&[u8], Stat> = sources.iter().map(|source| (source.path, source.stat)).collect();
    let mut entries = index::read(&place).context("cannot read the captured index")?;
    entries.retain(|entry| stats.contains_key(&*entry.path));
    entries.iter_mut().for_each(|entry| entry.stat = stats.get(&*entry.path).copied().unwrap_or_default());
    entries.retain(|entry| links.iter().all(|link| link.path != entry.path));
    entries.extend(links);
    Ok(entries)
}
