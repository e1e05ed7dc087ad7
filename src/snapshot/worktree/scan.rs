//! From a checkout's files to a tree, without touching the checkout.
//!
//! `lstat` says which files may differ from the index, git which paths of the
//! index differ from HEAD; git converts and stores the content of those that do.
//! It sees them in an index of their own, so that the work grows with the change
//! and not with the checkout. The trees are HEAD's with these paths changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Result;
use rustix::fs::Mode;
use rustix::process::getuid;

use super::read::{NotInTree, store_contents};
use crate::disk::plain;
use crate::error::{Fault, of_thread};
use crate::git::{Git, IgnoreLists};
use crate::snapshot::checkout::folders::{self, Walked};
use crate::snapshot::checkout::glance::{Fate, Seen, Tracked, glance};
use crate::snapshot::checkout::ignored;
use crate::snapshot::checkout::refuse;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::checkout::status::{Lines, Selection, Staged, StatusLine, lines, look, select, staged, untracked};
use crate::snapshot::checkout::vigil::Vigil;
use crate::snapshot::format::document::GitPath;
use crate::snapshot::format::index::{Entry, Stat};
use crate::snapshot::lfs::capture::StoredLfs;
use crate::snapshot::paths::path_of;
use crate::snapshot::submodule;
use crate::snapshot::tree::attributes::{Conversions, is_attributes};
use crate::snapshot::tree::edit::{Edit, edit};
use crate::snapshot::tree::files::SUBMODULE;

/// More files than this are not read on suspicion alone, nor more bytes.
const MAX_SUSPECTS: usize = 1000;
const MAX_SUSPECT_BYTES: u64 = 64 << 20;

/// What a checkout looks like.
#[derive(Debug)]
pub(in crate::snapshot) struct Scan {
    /// The tree of the working files.
    pub(in crate::snapshot) tree: git2::Oid,
    /// The index as a tree; HEAD's where nothing is staged.
    pub(in crate::snapshot) staged_tree: git2::Oid,
    /// The checkout's index as it is.
    pub(in crate::snapshot) index: Vec<Entry>,
    /// Skip-worktree entries whose file is there nevertheless.
    pub(in crate::snapshot) present: Vec<Vec<u8>>,
    /// Paths of the index that HEAD's tree does not have in this form.
    pub(in crate::snapshot) staged: HashSet<Vec<u8>>,
    /// Paths of HEAD's tree that are not in the index.
    pub(in crate::snapshot) removed: Vec<GitPath>,
    /// How many files differ from HEAD.
    pub(in crate::snapshot) changed: usize,
    /// What of the files does not stand in the tree.
    pub(in crate::snapshot) beside: NotInTree,
    /// Paths whose files were read, and what `lstat` said then; `None` for those
    /// that were gone by then.
    pub(in crate::snapshot) read: HashMap<Vec<u8>, Option<Stat>>,
    /// Files that were read although git ignores them, by rules that do not travel.
    pub(in crate::snapshot) ignored: Vec<GitPath>,
    /// What the checkout's own list of ignored files leaves behind.
    pub(in crate::snapshot) left_behind: Vec<Vec<u8>>,
    /// Files that git counts as changed although it would store what the index has.
    pub(in crate::snapshot) counted: Vec<Vec<u8>>,
    /// Files that cannot travel.
    pub(in crate::snapshot) staying: StayingFiles,
    /// What git does not list.
    pub(in crate::snapshot) walked: Walked,
    /// What `lstat` said of all, and by what it was judged.
    pub(in crate::snapshot) seen: Seen,
    pub(in crate::snapshot) judged_by: JudgedBy,
    /// What has happened since.
    pub(in crate::snapshot) vigil: Vigil,
}

/// By what a file is taken for unchanged: when the index was written, and whether
/// git may read it as another.
#[derive(Clone, Copy, Debug)]
pub(in crate::snapshot) struct JudgedBy {
    written: (i64, i64),
    read_otherwise: bool,
}

impl Scan {
    /// Files of variables that nothing lets travel: whoever enters may look for them.
    pub(in crate::snapshot) fn env_files_left(&self) -> impl Iterator<Item = &[u8]> {
        let is_one = |path: &&[u8]| {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            name == b".env" || name == b".envrc" || name.starts_with(b".env.")
        };
        self.seen.others.iter().map(Vec::as_slice).filter(is_one).filter(|path| !self.read.contains_key(*path))
    }

    /// Whether the index has files of which several sides disagree.
    pub(in crate::snapshot) fn in_conflict(&self) -> bool {
        self.index.iter().any(|entry| entry.stage > 0)
    }
}

/// Captures the working files. `meanwhile` is given the index, and runs while
/// others look at the files.
///
/// # Errors
/// Also when a file cannot be read, or keeps changing.
pub(in crate::snapshot) fn scan<T>(
    (scratch, repo): (&ScratchRepo, &git2::Repository),
    git: &Git,
    selection: Selection<'_>,
    meanwhile: impl FnOnce(&[Entry], Conversions) -> Result<T>,
) -> Result<(Scan, T)> {
    let vigil = Vigil::begin();
    let (FirstLook { index, mut seen, staged, asked, judged_by }, aside) =
        look_beside(scratch, git, &vigil, meanwhile)?;
    let first = seen.clone();
    if !judged_by.read_otherwise {
        judge_again((scratch, git), &index, &mut seen, judged_by)?;
    }
    let mut walked = folders::walk((scratch, repo), &mut seen, (selection.leaves, &vigil))?;
    let there = index.iter().zip(&seen.fates).filter(|(entry, fate)| entry.skip_worktree && **fate != Fate::Gone);
    let present: Vec<Vec<u8>> = there.map(|(entry, _)| entry.path.clone()).collect();
    let named = also_named(scratch, repo, &seen, selection.named);
    let selection = Selection { named: &named, ..selection };
    let left_behind = ignored::by_own_rules(scratch, git, &seen)?;
    let (mut lines, own) = list((scratch, git), &index, (&seen, staged), &present, selection)?;
    let selected: Vec<Vec<u8>> = lines[own..].iter().map(|(path, _)| path.clone()).collect();
    let staying = leave_behind(scratch, selection.leaves, (&seen.within, &mut walked), &mut lines)?;
    let must_be_read = lines.iter().filter(|(_, line)| line.must_be_read());
    let read: Vec<Vec<u8>> = must_be_read.map(|(path, _)| path.clone()).collect();
    let (files, beside) = read_files((scratch, git), &index, &read, asked, selection.max_lfs)?;
    let ignored = ignored::by_rules_that_stay(scratch, git, &index, &files, selected)?;
    let changes = Changes::of(&lines, &files, &submodule::recorded(&index), scratch);
    let (tree, staged_tree, changed) = changes.trees(scratch)?;
    let counted = counted_as_changed(&index, &files);
    let stat = |path: Vec<u8>| {
        let stat = files.get(&path).map(|entry| entry.stat);
        (path, stat)
    };
    let scan = Scan {
        tree,
        staged_tree,
        present,
        staged: changes.staged,
        removed: changes.removed,
        changed,
        beside,
        read: read.into_iter().map(stat).collect(),
        ignored,
        left_behind,
        counted,
        staying,
        walked,
        seen: first,
        judged_by,
        vigil,
        index,
    };
    Ok((scan, aside))
}

/// The first look at a checkout.
struct FirstLook {
    index: Vec<Entry>,
    seen: Seen,
    staged: BTreeMap<Vec<u8>, Staged>,
    /// What tracked attributes ask for.
    asked: Conversions,
    judged_by: JudgedBy,
}

/// Looks at the files and asks git what is staged, while `meanwhile` runs.
fn look_beside<T>(
    scratch: &ScratchRepo,
    git: &Git,
    vigil: &Vigil,
    meanwhile: impl FnOnce(&[Entry], Conversions) -> Result<T>,
) -> Result<(FirstLook, T)> {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| staged(scratch, git));
        let index = scratch.original_index(git)?;
        let written = scratch.index_written()?;
        let asked = asked((scratch, git), &index, &[])?;
        let judged_by = JudgedBy { written, read_otherwise: asked.normal || asked.lfs };
        let tracked = tracked(scratch, &index, judged_by, Some(vigil));
        let (aside, seen) = std::thread::scope(|scope| {
            let looking = scope.spawn(move || glance(tracked));
            (meanwhile(&index, asked), looking.join())
        });
        let staged = of_thread(asking.join(), "the thread that looks at the index");
        // What is refused says more than what git makes of it.
        let aside = aside?;
        let seen = of_thread(seen, "the thread that looks at the checkout")??;
        Ok((FirstLook { index, seen, staged: staged??, asked, judged_by }, aside))
    })
}

/// The files that are captured although git would not list them: those that were
/// named, and attributes and lists of ignored files that git ignores and goes by
/// nevertheless: a list that is in itself hides what it hides from every look.
fn also_named(scratch: &ScratchRepo, repo: &git2::Repository, seen: &Seen, named: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let lists = IgnoreLists::default();
    let ignored = |path: &[u8]| lists.contains(repo, &scratch.files, path_of(path));
    let is_list = |path: &[u8]| path == b".gitignore" || path.ends_with(b"/.gitignore");
    let rules = seen.others.iter().filter(|path| is_attributes(path) || is_list(path));
    let rules = rules.filter(|path| scratch.regular(path).is_some() && ignored(path));
    named.iter().chain(rules).cloned().collect()
}

/// What git says of each path, and how many lines of that come before those that were
/// selected.
fn list(
    (scratch, git): (&ScratchRepo, &Git),
    index: &[Entry],
    (seen, staged): (&Seen, BTreeMap<Vec<u8>, Staged>),
    present: &[Vec<u8>],
    selection: Selection<'_>,
) -> Result<(Lines, usize)> {
    if seen.suspects() > MAX_SUSPECTS || seen.suspect_bytes > MAX_SUSPECT_BYTES {
        // Too many to store before they are known to have changed. Promises
        // not to look are not kept.
        scratch.uncover(git, index, present)?;
        return look(scratch, git, selection);
    }
    let mut lines = lines(index, &seen.fates, staged, untracked(scratch, git, seen)?);
    let own = lines.len();
    select(scratch, git, selection, &mut lines)?;
    Ok((lines, own))
}

/// Stores the content of files as git would. `asked` is what tracked attributes ask
/// for.
fn read_files(
    (scratch, git): (&ScratchRepo, &Git),
    index: &[Entry],
    read: &[Vec<u8>],
    asked: Conversions,
    max_lfs: u64,
) -> Result<(BTreeMap<Vec<u8>, Entry>, NotInTree)> {
    // Git would pass over some of them without an error.
    read.iter().try_for_each(|path| refuse::name(path, false))?;
    // Attributes that git does not track say more.
    let more = read.iter().any(|path| is_attributes(path));
    let asked = if more { self::asked((scratch, git), index, read)? } else { asked };
    scratch.set_attributes_aside(index, read)?;
    let lfs = asked.lfs.then(|| StoredLfs::new(max_lfs));
    let mut beside = NotInTree { asked, lfs, verbatim: BTreeMap::new() };
    let files = store_contents(scratch, git, index, read, &mut beside)?;
    files.values().try_for_each(|entry| refuse::name(&entry.path, entry.mode == 0o120_000))?;
    Ok((files, beside))
}

/// Files that git stores as the index has them, and that it counts as changed all the same:
/// by their size alone, without a look (`ie_modified` in git's `read-cache.c`). Git wrote
/// them with other line ends, say, and did not note it.
fn counted_as_changed(index: &[Entry], files: &BTreeMap<Vec<u8>, Entry>) -> Vec<Vec<u8>> {
    let is_counted = |entry: &&Entry| {
        let is_settled = entry.stage == 0 && !entry.assume_unchanged && !entry.skip_worktree && entry.stat.size != 0;
        is_settled
            && files.get(&entry.path).is_some_and(|file| {
                (file.mode, file.object) == (entry.mode, entry.object) && file.stat.size != entry.stat.size
            })
    };
    index.iter().filter(is_counted).map(|entry| entry.path.clone()).collect()
}

/// What git says of each path, as changes of HEAD's tree.
#[derive(Default)]
struct Changes<'a> {
    /// For the tree of the working files.
    working: BTreeMap<Vec<u8>, Edit>,
    /// For the tree of the index.
    staging: BTreeMap<Vec<u8>, Edit>,
    /// What HEAD has, as far as git said so.
    heads: HashMap<&'a [u8], (u32, git2::Oid)>,
    staged: HashSet<Vec<u8>>,
    removed: Vec<GitPath>,
}

impl<'a> Changes<'a> {
    fn of(
        lines: &'a Lines,
        files: &BTreeMap<Vec<u8>, Entry>,
        submodules: &BTreeMap<&[u8], &Entry>,
        scratch: &ScratchRepo,
    ) -> Self {
        let mut changes = Changes::default();
        for (path, line) in lines {
            let file = files.get(path).map(|entry| (entry.mode, entry.object));
            match line {
                StatusLine::Tracked { .. } => changes.add_tracked(path, line, file),
                StatusLine::Conflict => {
                    // A submodule stays checked out while others disagree about it.
                    let submodule = submodules.get(&**path).filter(|_| scratch.is_folder(path));
                    let kept = submodule.map(|entry| (SUBMODULE, entry.object));
                    changes.working.insert(path.clone(), file.or(kept));
                }
                // It may stand for one that is gone from the index only.
                StatusLine::Untracked if file.is_some() => {
                    changes.working.insert(path.clone(), file);
                }
                StatusLine::Untracked => {}
            }
        }
        changes
    }

    /// A path of HEAD's tree or the index; `file` is what was read in its place.
    fn add_tracked(&mut self, path: &'a [u8], line: &StatusLine, file: Edit) {
        let StatusLine::Tracked { staged, working, head, index } = line else { return };
        if head.0 != 0 {
            self.heads.insert(path, *head);
        }
        match staged {
            b'.' => {}
            b'D' => {
                self.removed.push(GitPath(path.to_vec()));
                self.staging.insert(path.to_vec(), None);
            }
            _ => {
                self.staged.insert(path.to_vec());
                self.staging.insert(path.to_vec(), Some(*index));
            }
        }
        let after = match (staged, working) {
            (b'D', b'.') | (_, b'D') => None,
            // One that is ahead was refused; other changes are no business of this tree.
            (_, b'M') if index.0 == SUBMODULE => Some(*index),
            (_, b'.') => Some(*index),
            _ => file,
        };
        self.working.entry(path.to_vec()).or_insert(after);
    }

    /// The tree of the working files, the tree of the index, and how many files
    /// differ from HEAD.
    fn trees(&self, scratch: &ScratchRepo) -> Result<(git2::Oid, git2::Oid, usize)> {
        let own = git2::Repository::open_bare(scratch.path())?;
        let head = own.head()?.peel_to_commit()?.tree_id();
        let tree = edit(&own, head, &self.working)?;
        let staged_tree = edit(&own, head, &self.staging)?;
        let head_tree = own.find_tree(head)?;
        let in_head = |path: &[u8]| match self.heads.get(path) {
            Some(entry) => Some(*entry),
            None => head_tree.get_path(path_of(path)).ok().map(|entry| (entry.filemode() as u32, entry.id())),
        };
        let changed = self.working.iter().filter(|(path, after)| in_head(path) != **after).count();
        Ok((tree, staged_tree, changed))
    }
}

/// Files that cannot travel, each list by why.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct StayingFiles {
    pub(in crate::snapshot) too_large: Vec<Vec<u8>>,
    /// Others have them, and do not let everybody read them.
    pub(in crate::snapshot) unreadable: Vec<Vec<u8>>,
}

impl StayingFiles {
    /// The list that a file belongs to, and what to say where it may not stay.
    fn list(&mut self, scratch: &ScratchRepo, path: &[u8]) -> Option<(&mut Vec<Vec<u8>>, Fault)> {
        let stat = scratch.regular(path);
        if stat.is_some_and(|stat| refuse::is_too_large(&stat)) {
            return Some((&mut self.too_large, refuse::too_large(path)));
        }
        let is_plainly_readable = stat.is_some_and(|stat| {
            Mode::from_raw_mode(stat.st_mode).contains(Mode::RUSR) && stat.st_uid == getuid().as_raw()
        });
        let is_refused = !is_plainly_readable && scratch.is_refused(path);
        is_refused.then(|| (&mut self.unreadable, refuse::unreadable(path)))
    }
}

/// Takes out of the lines what does not travel: repositories that git does not
/// track, which it lists as folders, and files that cannot, which are returned.
///
/// # Errors
/// [`crate::error::Kind::Policy`] where that must not be left behind.
fn leave_behind(
    scratch: &ScratchRepo,
    leaves: bool,
    (within, walked): (&[Vec<u8>], &mut Walked),
    lines: &mut Lines,
) -> Result<StayingFiles> {
    let nested = &mut walked.nested;
    let listed = lines.iter().filter(|(_, line)| matches!(line, StatusLine::Untracked));
    let listed = listed.filter_map(|(path, _)| path.strip_suffix(b"/")).map(<[u8]>::to_vec);
    nested.extend(listed);
    nested.extend(within.iter().cloned());
    nested.sort_unstable();
    nested.dedup();
    if let Some(path) = nested.first().filter(|_| !leaves) {
        return Err(refuse::nested_repository(&String::from_utf8_lossy(path)).into());
    }
    let closed: Vec<&[u8]> = walked.unreadable.iter().filter_map(|folder| folder.strip_suffix(b"/")).collect();
    let below = |path: &[u8]| {
        let mut folders = nested.iter().map(|folder| &**folder).chain(closed.iter().copied());
        folders.any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/')))
    };
    let mut staying = StayingFiles::default();
    let mut kept = Vec::with_capacity(lines.len());
    for (path, line) in lines.drain(..) {
        if matches!(line, StatusLine::Untracked) && below(&path) {
            continue;
        }
        let Some((list, why)) = line.must_be_read().then(|| staying.list(scratch, &path)).flatten() else {
            kept.push((path, line));
            continue;
        };
        match line {
            StatusLine::Untracked if leaves => list.push(path),
            // What is staged, or was committed, stands in its place.
            StatusLine::Tracked { staged, head, index, .. } if leaves => {
                list.push(path.clone());
                // Of one that is only meant to be added nothing is staged.
                if index.0 == 0 {
                    continue;
                }
                kept.push((path, StatusLine::Tracked { staged, working: b'.', head, index }));
            }
            _ => return Err(why.into()),
        }
    }
    *lines = kept;
    staying.unreadable.sort_unstable();
    Ok(staying)
}

/// Attributes that git does not track are seen with the files. Where they ask for
/// another reading, git looks into each file that is as young as the index.
fn judge_again(at: (&ScratchRepo, &Git), index: &[Entry], seen: &mut Seen, by: JudgedBy) -> Result<()> {
    let attributes: Vec<Vec<u8>> = seen.others.iter().filter(|path| is_attributes(path)).cloned().collect();
    if attributes.is_empty() {
        return Ok(());
    }
    let asked = asked(at, index, &attributes)?;
    if asked.normal || asked.lfs {
        let young = |entry: &Entry| i64::from(entry.stat.mtime.0) >= by.written.0 && !entry.is_submodule();
        let fates = seen.fates.iter_mut().zip(index).filter(|(fate, entry)| **fate == Fate::Same && young(entry));
        for (fate, entry) in fates {
            *fate = Fate::Suspect;
            seen.suspect_bytes += u64::from(entry.stat.size);
        }
    }
    Ok(())
}

pub(in crate::snapshot) fn tracked<'a>(
    scratch: &'a ScratchRepo,
    index: &'a [Entry],
    by: JudgedBy,
    vigil: Option<&'a Vigil>,
) -> Tracked<'a> {
    Tracked {
        files: &scratch.files,
        work_tree: &scratch.work_tree,
        entries: index,
        written: by.written,
        file_mode: scratch.settings.file_mode != Some(false),
        read_otherwise: by.read_otherwise,
        vigil,
    }
}

/// What the attributes that hold here ask for, the developer's own among them, and
/// those that held when files were written which git has not looked at since: the
/// index's and HEAD's.
///
/// # Errors
/// When HEAD's tree cannot be read.
fn asked((scratch, git): (&ScratchRepo, &Git), index: &[Entry], read: &[Vec<u8>]) -> Result<Conversions> {
    let tracked = || index.iter().filter(|entry| is_attributes(&entry.path));
    let paths = tracked().map(|entry| &entry.path).chain(read.iter().filter(|path| is_attributes(path)));
    let own = git.own_attributes();
    let files = paths.filter_map(|path| scratch.open(path).ok());
    // These the developer laid, perhaps as links.
    let own = own.iter().filter_map(|path| plain::open(&std::fs::canonicalize(path).ok()?).ok());
    let mut asked = Conversions::of_files(&scratch.settings, files.chain(own));
    let own = git2::Repository::open_bare(scratch.path())?;
    let (head, odb) = (own.head()?.peel_to_tree()?, own.odb()?);
    let root = [b".gitattributes".to_vec()];
    let paths: BTreeSet<&Vec<u8>> = root.iter().chain(tracked().map(|entry| &entry.path)).collect();
    let of_head = paths.into_iter().filter_map(|path| head.get_path(path_of(path)).ok()).map(|entry| entry.id());
    let blobs: BTreeSet<git2::Oid> = of_head.chain(tracked().map(|entry| entry.object)).collect();
    // One that a partial clone lacks was never used to write files.
    blobs.into_iter().for_each(|blob| {
        let _ = asked.see_blob(&odb, blob);
    });
    Ok(asked)
}
