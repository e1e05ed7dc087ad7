//! From a checkout's files to a tree, without touching the checkout.
//!
//! Git says which paths differ from the index and from HEAD, and converts and
//! stores the content of those that do; it sees them in an index of their own,
//! so that the work grows with the change and not with the checkout. The trees
//! are HEAD's with these paths changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result};

use super::document::GitPath;
use super::edit::{Edit, edit};
use super::files::SUBMODULE;
use super::index::{self, Entry, Stat};
use super::lfs::{self, capture::Stored};
use super::scratch::{ScratchRepo, joined};
use super::{refuse, submodule};
use crate::error::{failure, integrity};
use crate::git::Git;

const ATTEMPTS: u32 = 5;
/// Timestamps of files are no finer than this.
const TICK: Duration = Duration::from_millis(12);

/// What a checkout looks like.
#[derive(Debug)]
pub(super) struct Scan {
    /// The tree of the working files.
    pub(super) tree: git2::Oid,
    /// The index as a tree; HEAD's where nothing is staged.
    pub(super) staged_tree: git2::Oid,
    /// The checkout's index as it is.
    pub(super) index: Vec<Entry>,
    /// Skip-worktree entries whose file is there nevertheless.
    pub(super) present: Vec<Vec<u8>>,
    /// Paths of the index that HEAD's tree does not have in this form.
    pub(super) staged: HashSet<Vec<u8>>,
    /// Paths of HEAD's tree that are not in the index.
    pub(super) removed: Vec<GitPath>,
    /// How many files differ from HEAD.
    pub(super) changed: usize,
    /// Contents of LFS files that were read; `None` where Git LFS is not in use.
    pub(super) lfs: Option<Stored>,
}

/// Files that are captured although git would not list them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Selection<'a> {
    /// Ignored files, as git pathspecs.
    pub(super) include: &'a [String],
    /// Files by name.
    pub(super) named: &'a [Vec<u8>],
    /// The most that contents of LFS files may have together, in bytes.
    pub(super) max_lfs: u64,
}

/// One line of `git status --porcelain=v2`.
enum Line {
    /// A path of HEAD's tree or the index.
    Tracked {
        /// Against HEAD, and of the working file against the index.
        staged: u8,
        working: u8,
        head: (u32, git2::Oid),
        index: (u32, git2::Oid),
    },
    Conflict,
    Untracked,
}

/// Captures the working files. `meanwhile` is given the index, and runs while
/// git looks at the files.
///
/// # Errors
/// Also when a file cannot be read, or keeps changing.
pub(super) fn scan<T>(
    scratch: &ScratchRepo,
    git: &Git,
    selection: Selection<'_>,
    meanwhile: impl FnOnce(&[Entry]) -> Result<T>,
) -> Result<(Scan, T)> {
    let (looked, index, aside) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look(scratch, git, selection));
        let aside = scratch.original_index(git).and_then(|index| Ok((meanwhile(&index)?, index)));
        let looked = looking.join().map_err(|_| anyhow::anyhow!("a thread that looks at the checkout died"));
        // What is refused says more than what git makes of it.
        let (aside, index) = aside?;
        Ok::<_, anyhow::Error>((looked?, index, aside))
    })?;
    let present = scratch.present(&index);
    let lines = if present.is_empty() && !index.iter().any(|entry| entry.assume_unchanged) {
        looked?
    } else {
        // Promises not to look were kept so far.
        scratch.uncover(git, &index, &present)?;
        look(scratch, git, selection)?
    };
    refuse::nested(lines.iter().filter(|(_, line)| matches!(line, Line::Untracked)).map(|(path, _)| &**path))?;
    let read: Vec<Vec<u8>> =
        lines.iter().filter(|(_, line)| line.must_be_read()).map(|(path, _)| path.clone()).collect();
    // Git would pass over some of them without an error.
    read.iter().try_for_each(|path| refuse::name(path, false))?;
    let mut lfs = uses_lfs(scratch, &index, &read).then(|| Stored::new(selection.max_lfs));
    let files = capture(scratch, git, &index, &read, lfs.as_mut())?;
    files.values().try_for_each(|entry| refuse::name(&entry.path, entry.mode == 0o120_000))?;
    let submodules = submodule::recorded(&index);

    let mut working: BTreeMap<Vec<u8>, Edit> = BTreeMap::new();
    let mut staging: BTreeMap<Vec<u8>, Edit> = BTreeMap::new();
    let mut heads: HashMap<&[u8], (u32, git2::Oid)> = HashMap::new();
    let (mut staged, mut removed) = (HashSet::new(), Vec::new());
    for (path, line) in &lines {
        let file = || files.get(path).map(|entry| (entry.mode, entry.object));
        match line {
            Line::Tracked { staged: x, working: y, head, index } => {
                if head.0 != 0 {
                    heads.insert(path, *head);
                }
                match x {
                    b'.' => {}
                    b'D' => {
                        removed.push(GitPath(path.clone()));
                        staging.insert(path.clone(), None);
                    }
                    _ => {
                        staged.insert(path.clone());
                        staging.insert(path.clone(), Some(*index));
                    }
                }
                let after = match (x, y) {
                    (b'D', b'.') | (_, b'D') => None,
                    // One that is ahead was refused; other changes are no
                    // business of this tree.
                    (_, b'M') if index.0 == SUBMODULE => Some(*index),
                    (_, b'.') => Some(*index),
                    _ => file(),
                };
                working.entry(path.clone()).or_insert(after);
            }
            Line::Conflict => {
                // A submodule stays checked out while others disagree about it.
                let submodule = submodules.get(&**path).filter(|_| scratch.full(path).is_dir());
                let kept = submodule.map(|entry| (SUBMODULE, entry.object));
                working.insert(path.clone(), file().or(kept));
            }
            // It may stand for one that is gone from the index only.
            Line::Untracked if files.contains_key(path) => drop(working.insert(path.clone(), file())),
            Line::Untracked => {}
        }
    }
    let own = git2::Repository::open_bare(scratch.path())?;
    let head = own.head()?.peel_to_commit()?.tree_id();
    let tree = edit(&own, head, &working)?;
    let staged_tree = edit(&own, head, &staging)?;
    let head_tree = own.find_tree(head)?;
    let in_head = |path: &[u8]| match heads.get(path) {
        Some(entry) => Some(*entry),
        None => head_tree.get_path(path_of(path)).ok().map(|entry| (entry.filemode() as u32, entry.id())),
    };
    let changed = working.iter().filter(|(path, after)| in_head(path) != **after).count();
    Ok((Scan { tree, staged_tree, index, present, staged, removed, changed, lfs }, aside))
}

/// Whether any attributes that hold here hand files to Git LFS.
fn uses_lfs(scratch: &ScratchRepo, index: &[Entry], read: &[Vec<u8>]) -> bool {
    let own = scratch.path().join("info/attributes");
    let paths = index.iter().map(|entry| &entry.path).chain(read).filter(|path| lfs::is_attributes(path));
    let mut files = paths.map(|path| scratch.full(path)).chain([own]);
    files.any(|file| lfs::mentioned_in(&file))
}

fn path_of(path: &[u8]) -> &std::path::Path {
    std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path))
}

impl Line {
    /// Whether only the working file says what is there.
    fn must_be_read(&self) -> bool {
        match self {
            Line::Tracked { working, .. } => !matches!(working, b'.' | b'D'),
            Line::Conflict | Line::Untracked => true,
        }
    }
}

/// Everything that differs from HEAD or from the index, and what is selected.
fn look(scratch: &ScratchRepo, git: &Git, selection: Selection<'_>) -> Result<Vec<(Vec<u8>, Line)>> {
    // Of a submodule its HEAD alone is read: for more, git would be run inside.
    let words =
        ["status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty"];
    let printed = scratch.git(git).args(words).run(b"").context("cannot read the working files")?;
    let records = printed.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    let mut lines = records.map(|record| parse(record).ok_or_else(|| misread(record))).collect::<Result<Vec<_>>>()?;
    let mut known: HashSet<Vec<u8>> = lines.iter().map(|(path, _)| path.clone()).collect();
    let mut more: Vec<Vec<u8>> = selection.named.to_vec();
    if !selection.include.is_empty() {
        let words = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--"];
        let listed = scratch.git(git).args(words).args(selection.include).run(b"")?;
        more.extend(listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec));
    }
    more.retain(|path| known.insert(path.clone()));
    lines.extend(more.into_iter().map(|path| (path, Line::Untracked)));
    Ok(lines)
}

fn misread(record: &[u8]) -> anyhow::Error {
    integrity(format!("git status said something unexpected: {}", String::from_utf8_lossy(record))).into()
}

/// `1 XY sub mH mI mW hH hI path`, `u XY sub m1 m2 m3 mW h1 h2 h3 path` or
/// `? path`.
fn parse(record: &[u8]) -> Option<(Vec<u8>, Line)> {
    let cut = |fields: usize| -> Option<(Vec<&str>, Vec<u8>)> {
        let mut parts = record.splitn(fields + 1, |byte| *byte == b' ');
        let words = (0..fields).map(|_| std::str::from_utf8(parts.next()?).ok()).collect::<Option<Vec<_>>>()?;
        Some((words, parts.next()?.to_vec()))
    };
    match record.first()? {
        b'1' => {
            let (words, path) = cut(8)?;
            let mode = |at: usize| u32::from_str_radix(words[at], 8).ok();
            let object = |at: usize| git2::Oid::from_str(words[at]).ok();
            let [staged, working] = words[1].as_bytes() else { return None };
            let (head, index) = ((mode(3)?, object(6)?), (mode(4)?, object(7)?));
            Some((path, Line::Tracked { staged: *staged, working: *working, head, index }))
        }
        b'u' => Some((cut(10)?.1, Line::Conflict)),
        b'?' => Some((cut(1)?.1, Line::Untracked)),
        _ => None,
    }
}

/// Stores what these files hold, converted as git would convert it; again
/// while they change. Those that are gone are left out.
fn capture(
    scratch: &ScratchRepo,
    git: &Git,
    index: &[Entry],
    paths: &[Vec<u8>],
    mut lfs: Option<&mut Stored>,
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
        let read = store(scratch, git, index, &pending, lfs.as_deref_mut());
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
    lfs: Option<&mut Stored>,
) -> Result<Vec<Entry>> {
    let Some(lfs) = lfs else { return convert(scratch, git, index, paths) };
    let regular: Vec<&[u8]> = paths
        .iter()
        .map(Vec::as_slice)
        .filter(|path| scratch.full(path).symlink_metadata().is_ok_and(|meta| meta.is_file()))
        .collect();
    let managed = lfs::managed(scratch.git(git), &regular)?;
    let (managed, others): (Vec<_>, Vec<_>) = paths.iter().cloned().partition(|path| managed.contains(path));
    let mut entries = if others.is_empty() { Vec::new() } else { convert(scratch, git, index, &others)? };
    entries.extend(lfs.read(scratch, git, index, &managed)?);
    Ok(entries)
}

/// An index with these paths alone, as the checkout's has them, and then as
/// the files are. What stands in the index decides some conversions.
fn convert(scratch: &ScratchRepo, git: &Git, index: &[Entry], paths: &[Vec<u8>]) -> Result<Vec<Entry>> {
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
    index::read(&place).context("cannot read the captured index")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_status_prints_is_understood() {
        let zero = "0".repeat(40);
        let record = format!("1 .M N... 100644 100644 100755 {zero} {zero} a b\nc");
        let Some((path, Line::Tracked { staged: b'.', working: b'M', head, .. })) = parse(record.as_bytes()) else {
            panic!("a tracked path")
        };
        assert_eq!((&*path, head.0), (&b"a b\nc"[..], 0o100_644));
        let record = format!("u UU N... 100644 100644 100644 100644 {zero} {zero} {zero} x");
        assert!(matches!(parse(record.as_bytes()), Some((path, Line::Conflict)) if path == b"x"));
        assert!(matches!(parse(b"? a b"), Some((path, Line::Untracked)) if path == b"a b"));
        for bad in ["", "?", "x y", "1 .M N... 100644", "2 R. x"] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
