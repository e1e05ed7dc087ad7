//! What git says about a checkout, asked in a scratch repository: what is
//! staged, which files it does not track, and all of it as `git status`.
//!
//! Mostly [`glance`](super::glance) has seen which files can have changed; then
//! git is not asked to look at each, and whatever was suspected is read.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};

use super::glance::{Fate, Seen};
use super::scratch::ScratchRepo;
use crate::error::integrity;
use crate::git::Git;
use crate::snapshot::format::index::Entry;

/// Files that are captured although git would not list them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::snapshot) struct Selection<'a> {
    /// Ignored files, as git pathspecs.
    pub(in crate::snapshot) include: &'a [String],
    /// Files by name.
    pub(in crate::snapshot) named: &'a [Vec<u8>],
    /// The most that contents of LFS files may have together, in bytes.
    pub(in crate::snapshot) max_lfs: u64,
    /// Whether repositories among untracked files, and files that are too large,
    /// are left behind; otherwise they are refused.
    pub(in crate::snapshot) leaves: bool,
}

/// One line of `git status --porcelain=v2`.
#[derive(Debug)]
pub(in crate::snapshot) enum StatusLine {
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

impl StatusLine {
    /// Whether only the working file says what is there.
    pub(in crate::snapshot) fn must_be_read(&self) -> bool {
        match self {
            StatusLine::Tracked { working, .. } => !matches!(working, b'.' | b'D'),
            StatusLine::Conflict | StatusLine::Untracked => true,
        }
    }
}

/// Paths, and what git says of each.
pub(in crate::snapshot) type Lines = Vec<(Vec<u8>, StatusLine)>;

/// More names than this are not given to git one by one, in bytes.
const MAX_NAMES: usize = 96 << 10;

/// A path of HEAD's tree that the index has not in this form.
#[derive(Clone, Copy, Debug)]
pub(in crate::snapshot) struct Staged {
    change: u8,
    head: (u32, git2::Oid),
    index: (u32, git2::Oid),
}

/// What is staged.
///
/// # Errors
/// When git fails, or says something that is not understood.
pub(in crate::snapshot) fn staged(scratch: &ScratchRepo, git: &Git) -> Result<BTreeMap<Vec<u8>, Staged>> {
    let words = ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--abbrev=40"];
    let more = ["--ita-invisible-in-index", "--ignore-submodules=dirty", "HEAD", "--"];
    let printed = scratch.git(git).args(words).args(more).run(b"").context("cannot compare the index with HEAD")?;
    let fields: Vec<&[u8]> = printed.split(|byte| *byte == 0).filter(|field| !field.is_empty()).collect();
    let pairs = fields.chunks(2).map(|pair| {
        let [record, path] = pair else { return Err(misread(pair.concat().as_slice())) };
        Ok((path.to_vec(), parse_staged(record).ok_or_else(|| misread(record))?))
    });
    pairs.collect()
}

/// `:MODE MODE OBJECT OBJECT LETTER`
fn parse_staged(record: &[u8]) -> Option<Staged> {
    let words: Vec<&str> = std::str::from_utf8(record).ok()?.strip_prefix(':')?.split(' ').collect();
    let [old, new, from, to, change] = words[..] else { return None };
    let mode = |text: &str| u32::from_str_radix(text, 8).ok();
    let object = |text: &str| git2::Oid::from_str(text).ok();
    let change = *change.as_bytes().first()?;
    Some(Staged { change, head: (mode(old)?, object(from)?), index: (mode(new)?, object(to)?) })
}

/// Which of these files, and of those below these folders, git would list as
/// untracked.
///
/// # Errors
/// When git fails.
pub(in crate::snapshot) fn untracked(scratch: &ScratchRepo, git: &Git, seen: &Seen) -> Result<Vec<Vec<u8>>> {
    let names = || seen.others.iter().chain(&seen.strange);
    if names().next().is_none() {
        return Ok(Vec::new());
    }
    let mut call = scratch.git(git).env("GIT_LITERAL_PATHSPECS", "1");
    call = call.args(["ls-files", "-z", "--others", "--exclude-standard", "--"]);
    if names().map(|name| name.len() + 1).sum::<usize>() <= MAX_NAMES {
        call = call.args(names().map(|name| OsStr::from_bytes(name)));
    }
    let listed = call.run(b"").context("cannot list the untracked files")?;
    Ok(listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The same lines as [`look`] gives, from what was seen; some of them for files
/// that turn out to be as they were.
pub(in crate::snapshot) fn lines(
    index: &[Entry],
    fates: &[Fate],
    mut staged: BTreeMap<Vec<u8>, Staged>,
    untracked: Vec<Vec<u8>>,
) -> Vec<(Vec<u8>, StatusLine)> {
    const NONE: (u32, git2::Oid) = (0, git2::Oid::ZERO_SHA1);
    let mut lines: Vec<(Vec<u8>, StatusLine)> = Vec::new();
    for (entry, fate) in index.iter().zip(fates) {
        let path = &entry.path;
        if entry.stage > 0 {
            staged.remove(path);
            if lines.last().is_none_or(|(last, _)| last != path) {
                lines.push((path.clone(), StatusLine::Conflict));
            }
            continue;
        }
        let known = staged.remove(path);
        let working = match fate {
            Fate::Gone if entry.skip_worktree => b'.',
            Fate::Gone => b'D',
            Fate::Same => b'.',
            // A file stands in the place of a submodule.
            Fate::Suspect if entry.is_submodule() => b'T',
            Fate::Suspect => b'M',
        };
        if known.is_none() && working == b'.' {
            continue;
        }
        let own = (entry.mode, entry.object);
        // What is only announced is in neither.
        let unchanged = if entry.intent_to_add { NONE } else { own };
        let (change, head, index) =
            known.map_or((b'.', unchanged, unchanged), |known| (known.change, known.head, known.index));
        lines.push((path.clone(), StatusLine::Tracked { staged: change, working, head, index }));
    }
    let removed = staged.into_iter();
    lines.extend(removed.map(|(path, known)| {
        (path, StatusLine::Tracked { staged: known.change, working: b'.', head: known.head, index: known.index })
    }));
    lines.extend(untracked.into_iter().map(|path| (path, StatusLine::Untracked)));
    lines
}

/// Everything that differs from HEAD or from the index, and then what is
/// selected; how much the former is.
///
/// # Errors
/// When git fails, or says something that is not understood.
pub(in crate::snapshot) fn look(scratch: &ScratchRepo, git: &Git, selection: Selection<'_>) -> Result<(Lines, usize)> {
    // Of a submodule its HEAD alone is read: for more, git would be run inside.
    let words =
        ["status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty"];
    let printed = scratch.git(git).args(words).run(b"").context("cannot read the working files")?;
    let records = printed.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    let mut lines = records.map(|record| parse(record).ok_or_else(|| misread(record))).collect::<Result<Vec<_>>>()?;
    let own = lines.len();
    select(scratch, git, selection, &mut lines)?;
    Ok((lines, own))
}

/// Adds what is selected.
///
/// # Errors
/// When git fails.
pub(in crate::snapshot) fn select(
    scratch: &ScratchRepo,
    git: &Git,
    selection: Selection<'_>,
    lines: &mut Vec<(Vec<u8>, StatusLine)>,
) -> Result<()> {
    let mut known: HashSet<Vec<u8>> = lines.iter().map(|(path, _)| path.clone()).collect();
    let mut more: Vec<Vec<u8>> = selection.named.to_vec();
    if !selection.include.is_empty() {
        let words = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--"];
        let listed = scratch.git(git).args(words).args(selection.include).run(b"")?;
        more.extend(listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec));
    }
    more.retain(|path| known.insert(path.clone()));
    lines.extend(more.into_iter().map(|path| (path, StatusLine::Untracked)));
    Ok(())
}

fn misread(record: &[u8]) -> anyhow::Error {
    integrity(format!("git status said something unexpected: {}", String::from_utf8_lossy(record))).into()
}

/// `1 XY sub mH mI mW hH hI path`, `u XY sub m1 m2 m3 mW h1 h2 h3 path` or
/// `? path`.
fn parse(record: &[u8]) -> Option<(Vec<u8>, StatusLine)> {
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
            Some((path, StatusLine::Tracked { staged: *staged, working: *working, head, index }))
        }
        b'u' => Some((cut(10)?.1, StatusLine::Conflict)),
        b'?' => Some((cut(1)?.1, StatusLine::Untracked)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_status_prints_is_understood() {
        let zero = "0".repeat(40);
        let record = format!("1 .M N... 100644 100644 100755 {zero} {zero} a b\nc");
        let Some((path, StatusLine::Tracked { staged: b'.', working: b'M', head, .. })) = parse(record.as_bytes())
        else {
            panic!("a tracked path")
        };
        assert_eq!((&*path, head.0), (&b"a b\nc"[..], 0o100_644));
        let record = format!("u UU N... 100644 100644 100644 100644 {zero} {zero} {zero} x");
        assert!(matches!(parse(record.as_bytes()), Some((path, StatusLine::Conflict)) if path == b"x"));
        assert!(matches!(parse(b"? a b"), Some((path, StatusLine::Untracked)) if path == b"a b"));
        for bad in ["", "?", "x y", "1 .M N... 100644", "2 R. x"] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
    }
}
