//! What lies between two snapshots: commits and files. Both packs go into a
//! repository of ours that borrows the mirrors' objects and is gone afterwards;
//! nothing is checked out. Trees come from a store, so the work has bounds.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::pack;
use crate::disk::scratch::Scratch;
use crate::error::integrity;
use crate::git::create_bare;
use crate::secret;
use crate::snapshot::checkout::scratch::CAPTURE;
use crate::snapshot::format::document::{Document, GitPath};
use crate::snapshot::wire::Object;

/// Changes that are told.
const MOST_CHANGES: usize = 10_000;

/// Trees that are looked into: one that holds itself many times over could
/// otherwise be told for ever.
const MOST_TREES: usize = 200_000;

const DEPTH: usize = 512;

/// Commits of one side that are told.
const MOST_COMMITS: usize = 200;

/// The largest file whose lines are compared, in bytes.
const MAX_LINES: usize = 1 << 20;

/// All compared lines together, in bytes.
const MAX_PATCH: usize = 8 << 20;

/// One snapshot, as it is on this machine.
#[derive(Debug)]
pub struct SnapshotSide {
    /// The document.
    pub document: Document,
    /// Its pack, where it has one.
    pub pack: Option<File>,
    /// The objects of a mirror that holds its base.
    pub objects: PathBuf,
}

/// From one snapshot to another.
#[derive(Debug, Default, Serialize)]
pub struct Changes {
    /// Commits that the first has alone, newest first.
    pub commits_removed: Vec<CommitLine>,
    /// Commits that the second has alone, newest first.
    pub commits_added: Vec<CommitLine>,
    /// Files of the working state, in path order.
    pub files: Vec<FileChange>,
    /// Whether what is staged differs.
    pub index_differs: bool,
    /// There is more than what is told.
    pub more: bool,
    /// The changed lines, as git shows them.
    pub patch: Option<String>,
}

/// One commit.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CommitLine {
    /// Its full hash.
    pub commit: String,
    /// The first line of its message.
    pub subject: String,
}

/// One file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// What happened to it.
    pub status: FileStatus,
    /// Its path; bytes that are not UTF-8, and `%`, are written `%XX`.
    pub path: GitPath,
    /// Its path before it was renamed.
    pub from: Option<GitPath>,
    #[serde(skip)]
    blobs: [Option<ComparedEntry>; 2],
}

/// What happened to a file, in git's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FileStatus {
    /// It is new.
    #[serde(rename = "A")]
    Added,
    /// It is gone.
    #[serde(rename = "D")]
    Deleted,
    /// Its content or its mode is another one.
    #[serde(rename = "M")]
    Modified,
    /// It has another path, and the same content.
    #[serde(rename = "R")]
    Renamed,
    /// It was a link and is a file, or the other way round.
    #[serde(rename = "T")]
    TypeChanged,
}

impl FileStatus {
    /// The letter.
    pub fn letter(self) -> char {
        match self {
            FileStatus::Added => 'A',
            FileStatus::Deleted => 'D',
            FileStatus::Modified => 'M',
            FileStatus::Renamed => 'R',
            FileStatus::TypeChanged => 'T',
        }
    }

    /// The same as a word, for those who know no letters of git's.
    pub fn word(self) -> &'static str {
        match self {
            FileStatus::Added => "new",
            FileStatus::Deleted => "gone",
            FileStatus::Modified => "changed",
            FileStatus::Renamed => "renamed",
            FileStatus::TypeChanged => "other type",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ComparedEntry {
    object: git2::Oid,
    mode: i32,
}

impl ComparedEntry {
    fn is_tree(self) -> bool {
        self.mode == 0o040_000
    }

    fn kind(self) -> i32 {
        self.mode & 0o170_000
    }
}

/// Compares two snapshots whose bases are in their mirrors.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when an object is missing or damaged.
pub fn compare(sides: [SnapshotSide; 2], patch: bool) -> Result<Changes> {
    // Of a killed one the next sweep takes away what is left.
    let folder = Scratch::create_in(&std::env::temp_dir(), CAPTURE)
        .context("cannot create a temporary folder: is TMPDIR writable?")?;
    let repo = borrow(folder.path(), sides.iter().map(|side| side.objects.as_path()))?;
    let [old, new] = sides.map(|mut side| -> Result<Document> {
        if let (Some(described), Some(content)) = (&side.document.pack, &mut side.pack) {
            pack::index(&repo, described.size, described.digest, content)?;
        }
        Ok(side.document)
    });
    let (old, new) = (old?, new?);
    let mut walk = CompareWalk { repo: &repo, files: Vec::new(), trees: 0, more: false };
    walk.trees(Some(old.tree.0), Some(new.tree.0), &mut Vec::new(), 0)?;
    let CompareWalk { files, mut more, .. } = walk;
    let files = renames(files);
    let (commits_removed, cut) = only(&repo, &old, &new)?;
    more |= cut;
    let (commits_added, cut) = only(&repo, &new, &old)?;
    more |= cut;
    let patch = patch.then(|| lines(&repo, &files)).transpose()?;
    Ok(Changes { commits_removed, commits_added, files, index_differs: old.index != new.index, more, patch })
}

/// What a snapshot holds beyond what its remote has: from its base on.
///
/// # Errors
/// As [`compare`].
pub fn since_base(side: SnapshotSide, patch: bool) -> Result<Changes> {
    let base = side.document.base.clone();
    let repo = git2::Repository::open_bare(side.objects.parent().context("objects lie in a repository")?)?;
    let oid = git2::Oid::from_str(base.as_str())?;
    let missing = |error: git2::Error| integrity(format!("the mirror lacks a commit: {}", error.message()));
    let tree = repo.find_commit(oid).map_err(missing)?.tree_id();
    let document =
        Document { head: base, tree: Object(tree), commits: Vec::new(), pack: None, ..side.document.clone() };
    let before = SnapshotSide { document, pack: None, objects: side.objects.clone() };
    compare([before, side], patch)
}

/// A repository without a commit that borrows the objects of others.
fn borrow<'a>(place: &Path, objects: impl Iterator<Item = &'a Path>) -> Result<git2::Repository> {
    create_bare(place, &objects.collect::<Vec<_>>())?;
    Ok(git2::Repository::open_bare(place)?)
}

/// Commits that the first has and the second has not, and whether there are
/// more of them.
fn only(repo: &git2::Repository, one: &Document, other: &Document) -> Result<(Vec<CommitLine>, bool)> {
    let oid = |commit: &crate::identity::Commit| git2::Oid::from_str(commit.as_str());
    let missing = |error: git2::Error| integrity(format!("a snapshot lacks a commit: {}", error.message()));
    let mut walk = repo.revwalk()?;
    walk.set_sorting(git2::Sort::TOPOLOGICAL)?;
    walk.push(oid(&one.head)?).map_err(missing)?;
    walk.hide(oid(&other.head)?).map_err(missing)?;
    let mut lines = Vec::new();
    for id in walk.take(MOST_COMMITS + 1) {
        let commit = repo.find_commit(id?).map_err(missing)?;
        let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
        let subject = secret::beginning(message.lines().next().unwrap_or_default(), 200);
        lines.push(CommitLine { commit: commit.id().to_string(), subject });
    }
    let more = lines.len() > MOST_COMMITS;
    lines.truncate(MOST_COMMITS);
    Ok((lines, more))
}

struct CompareWalk<'a> {
    repo: &'a git2::Repository,
    files: Vec<FileChange>,
    trees: usize,
    more: bool,
}

impl CompareWalk<'_> {
    fn trees(
        &mut self,
        old: Option<git2::Oid>,
        new: Option<git2::Oid>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<()> {
        if old == new || self.more {
            return Ok(());
        }
        self.trees += 1;
        if depth > DEPTH || self.trees > MOST_TREES || self.files.len() >= MOST_CHANGES {
            self.more = true;
            return Ok(());
        }
        let (old, new) = (self.entries(old)?, self.entries(new)?);
        let mut names: Vec<&Vec<u8>> = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name))).collect();
        names.sort();
        for name in names {
            let sides = [old.get(name).copied(), new.get(name).copied()];
            if sides[0] == sides[1] {
                continue;
            }
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let below = sides.map(|side| side.filter(|entry| entry.is_tree()).map(|entry| entry.object));
            self.file(sides.map(|side| side.filter(|entry| !entry.is_tree())), path);
            self.trees(below[0], below[1], path, depth + 1)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn entries(&self, tree: Option<git2::Oid>) -> Result<BTreeMap<Vec<u8>, ComparedEntry>> {
        let Some(id) = tree else { return Ok(BTreeMap::new()) };
        let damaged = |error: git2::Error| integrity(format!("tree {id} is missing or damaged: {}", error.message()));
        let tree = self.repo.find_tree(id).map_err(damaged)?;
        let entry = |entry: git2::TreeEntry<'_>| {
            (entry.name_bytes().to_vec(), ComparedEntry { object: entry.id(), mode: entry.filemode_raw() })
        };
        Ok(tree.iter().map(entry).collect())
    }

    fn file(&mut self, blobs: [Option<ComparedEntry>; 2], path: &[u8]) {
        let status = match blobs {
            [None, None] => return,
            [None, Some(_)] => FileStatus::Added,
            [Some(_), None] => FileStatus::Deleted,
            [Some(old), Some(new)] if old.kind() != new.kind() => FileStatus::TypeChanged,
            _ => FileStatus::Modified,
        };
        self.files.push(FileChange { status, path: GitPath(path.to_vec()), from: None, blobs });
    }
}

/// A file that is gone and one that is new with the same content are one file.
fn renames(files: Vec<FileChange>) -> Vec<FileChange> {
    let mut gone: HashMap<git2::Oid, Vec<GitPath>> = HashMap::new();
    for file in files.iter().rev().filter(|file| file.status == FileStatus::Deleted) {
        if let Some(entry) = file.blobs[0] {
            gone.entry(entry.object).or_default().push(file.path.clone());
        }
    }
    let mut moved = Vec::new();
    let mut files: Vec<FileChange> = files
        .into_iter()
        .map(|mut file| {
            if file.status == FileStatus::Added
                && let Some(entry) = file.blobs[1]
                && let Some(from) = gone.get_mut(&entry.object).and_then(Vec::pop)
            {
                moved.push(from.clone());
                file.status = FileStatus::Renamed;
                file.from = Some(from);
                file.blobs[0] = Some(entry);
            }
            file
        })
        .collect();
    files.retain(|file| file.status != FileStatus::Deleted || !moved.contains(&file.path));
    files
}

fn lines(repo: &git2::Repository, files: &[FileChange]) -> Result<String> {
    let mut text = String::new();
    for file in files.iter().filter(|file| file.status != FileStatus::Renamed) {
        let sides = file.blobs.map(|entry| content(repo, entry));
        let path = file.path.to_string();
        let ([Some(old), Some(new)], true) = (sides, text.len() <= MAX_PATCH) else {
            text.push_str(&format!("diff --git a/{path} b/{path}\n(too large to be shown)\n"));
            continue;
        };
        let path = Path::new(&path);
        let mut patch = git2::Patch::from_buffers(&old, Some(path), &new, Some(path), None)
            .with_context(|| format!("cannot compare {}", path.display()))?;
        text.push_str(&String::from_utf8_lossy(&patch.to_buf()?));
    }
    Ok(text)
}

/// What a partial mirror lacks is shown as nothing; `None` for what is too large.
fn content(repo: &git2::Repository, entry: Option<ComparedEntry>) -> Option<Vec<u8>> {
    let small = |entry: &ComparedEntry| repo.odb()?.read_header(entry.object).map(|(size, _)| size <= MAX_LINES);
    let Some(entry) = entry else { return Some(Vec::new()) };
    match small(&entry) {
        Ok(false) => None,
        _ => Some(repo.find_blob(entry.object).map(|blob| blob.content().to_vec()).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        _dir: tempfile::TempDir,
        repo: git2::Repository,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let repo = git2::Repository::init_bare(dir.path()).unwrap();
            Bench { _dir: dir, repo }
        }

        /// A tree of files with their content; a name that ends with `/` is a
        /// tree by its hash.
        fn tree(&self, entries: &[(&str, i32, &str)]) -> git2::Oid {
            let mut builder = self.repo.treebuilder(None).unwrap();
            for (name, mode, content) in entries {
                let id = if *mode == 0o040_000 {
                    git2::Oid::from_str(content).unwrap()
                } else {
                    self.repo.blob(content.as_bytes()).unwrap()
                };
                builder.insert(name, id, *mode).unwrap();
            }
            builder.write().unwrap()
        }

        fn changes(&self, old: git2::Oid, new: git2::Oid) -> (Vec<String>, bool) {
            let mut walk = CompareWalk { repo: &self.repo, files: Vec::new(), trees: 0, more: false };
            walk.trees(Some(old), Some(new), &mut Vec::new(), 0).unwrap();
            let more = walk.more;
            let line = |file: &FileChange| match &file.from {
                Some(from) => format!("{} {from} {}", file.status.letter(), file.path),
                None => format!("{} {}", file.status.letter(), file.path),
            };
            (renames(walk.files).iter().map(line).collect(), more)
        }
    }

    const FILE: i32 = 0o100_644;

    #[test]
    fn files_are_told_by_what_happened() {
        let bench = Bench::new();
        let sub = bench.tree(&[("x", FILE, "x"), ("y", FILE, "y")]).to_string();
        let other = bench.tree(&[("x", FILE, "x"), ("y", FILE, "changed")]).to_string();
        let old = bench.tree(&[
            ("a", FILE, "a"),
            ("gone", FILE, "gone"),
            ("link", 0o120_000, "a"),
            ("mode", FILE, "m"),
            ("moved", FILE, "moved"),
            ("same", 0o040_000, &sub),
            ("sub", 0o040_000, &sub),
            ("swap", 0o040_000, &sub),
        ]);
        let new = bench.tree(&[
            ("a", FILE, "A"),
            ("b", FILE, "b"),
            ("elsewhere", FILE, "moved"),
            ("link", FILE, "a"),
            ("mode", 0o100_755, "m"),
            ("same", 0o040_000, &sub),
            ("sub", 0o040_000, &other),
            ("swap", FILE, "a file"),
        ]);
        let expected = [
            "M a",
            "A b",
            "R moved elsewhere",
            "D gone",
            "T link",
            "M mode",
            "M sub/y",
            "A swap",
            "D swap/x",
            "D swap/y",
        ];
        assert_eq!(bench.changes(old, new), (expected.map(str::to_owned).to_vec(), false));
        assert_eq!(bench.changes(old, old), (Vec::new(), false));
    }

    /// A tree that holds the same tree twice, twenty times over, has a million
    /// files and twenty objects.
    #[test]
    fn a_tree_that_unfolds_without_end_is_cut() {
        let bench = Bench::new();
        let empty = bench.tree(&[]);
        let mut tree = bench.tree(&[("x", FILE, "x"), ("y", FILE, "y")]);
        for _ in 0..40 {
            let id = tree.to_string();
            tree = bench.tree(&[("a", 0o040_000, &id), ("b", 0o040_000, &id)]);
        }
        let (files, more) = bench.changes(empty, tree);
        assert!(more && files.len() <= MOST_CHANGES + 1, "{}", files.len());
        // And one that never gets to a file.
        let mut tree = empty;
        for _ in 0..40 {
            let id = tree.to_string();
            tree = bench.tree(&[("a", 0o040_000, &id), ("b", 0o040_000, &id)]);
        }
        assert!(bench.changes(bench.tree(&[("f", FILE, "")]), tree).1);
    }
}
