//! A state that was taken and not packed yet: everything that would travel can
//! be looked at, from the objects that were captured, and files can be left
//! out. What is packed afterwards is what was looked at.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};

use anyhow::{Context, Result};

use crate::digest::Digest;
use crate::git::Git;
use crate::identity::Commit;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::format::document::{GitPath, LocalBranch, Settings};
use crate::snapshot::format::index;
use crate::snapshot::format::left_behind::LeftOut;
use crate::snapshot::lfs::capture::pointer_in;
use crate::snapshot::operation::Operation;
use crate::snapshot::paths::path_of;
use crate::snapshot::tree::edit::{Edit, edit, new_files};
use crate::snapshot::tree::files::large_blob;
use crate::snapshot::upstream::history::{CommitHistory, commit};
use crate::snapshot::wire::LfsObject;
use crate::snapshot::worktree::scan::Scan;

/// A checkout's state.
#[derive(Debug)]
pub struct Draft {
    pub(in crate::snapshot) scan: Scan,
    pub(in crate::snapshot) history: CommitHistory,
    pub(in crate::snapshot) empty_folders: Vec<GitPath>,
    /// The hash of the index.
    pub(in crate::snapshot) digest: Digest,
    pub(in crate::snapshot) head: git2::Oid,
    pub(in crate::snapshot) head_tree: git2::Oid,
    pub(in crate::snapshot) branch: Option<String>,
    pub(in crate::snapshot) settings: Settings,
    /// What is in progress, and the commits that it names.
    pub(in crate::snapshot) operation: Option<Operation>,
    pub(in crate::snapshot) others: Vec<git2::Oid>,
    /// The local branch that HEAD's follows; its commit is among the others.
    pub(in crate::snapshot) follows: Option<LocalBranch>,
    /// Contents of LFS files that travel.
    pub(in crate::snapshot) lfs: Vec<LfsObject>,
    pub(in crate::snapshot) left_out: Vec<LeftOut>,
    pub(in crate::snapshot) scratch: ScratchRepo,
    /// Whether the index that a restore makes was compared.
    pub(in crate::snapshot) proved: bool,
}

/// Where a content stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContentPlace {
    /// Among the working files.
    Working,
    /// In the index.
    Index,
    /// In a conflict: one side of it in the index, or what git made of both.
    Conflict,
    /// In a commit that the base lacks.
    Commit(Commit),
}

/// A file's content that would travel and that the base has not at this path.
#[derive(Clone, Debug)]
pub struct DraftContent {
    /// Where it stands.
    pub place: ContentPlace,
    /// The file.
    pub path: GitPath,
    pub(in crate::snapshot) object: git2::Oid,
}

impl DraftContent {
    /// The same for the same content in the same file.
    pub fn key(&self) -> (&[u8], [u8; 20]) {
        let mut object = [0; 20];
        object.copy_from_slice(self.object.as_bytes());
        (&self.path.0, object)
    }
}

/// Of which states a file is to be left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaveOut {
    /// Of the working files.
    pub working: bool,
    /// Of the index.
    pub index: bool,
}

/// What stands in the place of a file that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftInstead {
    /// What HEAD has.
    Head,
    /// What was staged.
    Staged,
    /// Nothing.
    Nothing,
}

impl Draft {
    /// A way to the captured objects, for one thread.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn reader<'a>(&'a self, git: &'a Git) -> Result<Reader<'a>> {
        let repo = git2::Repository::open_bare(self.scratch.path()).context("cannot read what was captured")?;
        Ok(Reader { draft: self, git, repo, held: OnceCell::new() })
    }

    /// Leaves files out. HEAD's content stands for that of a tracked file;
    /// where HEAD has none, what is staged, or nothing.
    ///
    /// # Errors
    /// When the captured trees cannot be read or written.
    pub fn leave_out(&mut self, files: &BTreeMap<GitPath, LeaveOut>) -> Result<Vec<DraftInstead>> {
        self.proved = false;
        let own = git2::Repository::open_bare(self.scratch.path())?;
        let (head, before) = (own.find_tree(self.head_tree)?, own.find_tree(self.scan.tree)?);
        let (mut working, mut staging): (BTreeMap<Vec<u8>, Edit>, BTreeMap<Vec<u8>, Edit>) = Default::default();
        let mut instead = Vec::new();
        for (path, left) in files {
            let path = &path.0;
            let in_head = file_at(&head, path);
            if left.index {
                staging.insert(path.clone(), in_head);
                self.restage(path, in_head);
            }
            let staged = self.scan.index.iter().find(|entry| entry.path == *path && entry.stage == 0);
            let own = staged.filter(|entry| !entry.intent_to_add).map(|entry| (entry.mode, entry.object));
            let (what, after) = match (staged, in_head, own) {
                (Some(_), Some(_), _) => (DraftInstead::Head, in_head),
                (Some(_), None, Some(_)) => (DraftInstead::Staged, own),
                _ => (DraftInstead::Nothing, None),
            };
            if left.working {
                let changed = |file: Edit| usize::from(file != in_head);
                self.scan.changed = self.scan.changed + changed(after) - changed(file_at(&before, path));
                working.insert(path.clone(), after);
                self.scan.beside.verbatim.remove(path);
            }
            instead.push(what);
        }
        self.scan.tree = edit(&own, self.scan.tree, &working)?;
        self.scan.staged_tree = edit(&own, self.scan.staged_tree, &staging)?;
        self.digest = index::hash(&self.scan.index);
        if !self.lfs.is_empty() {
            let pointed = self.pointed_at(&own)?;
            self.lfs.retain(|content| pointed.contains(&content.oid));
        }
        Ok(instead)
    }

    /// LFS contents that anything in git points at.
    fn pointed_at(&self, repo: &git2::Repository) -> Result<HashSet<Digest>> {
        let contents = self.in_git(repo)?;
        Ok(contents.iter().filter_map(|content| Some(pointer_in(repo, content.object)?.oid)).collect())
    }

    /// The contents that git's trees and index name.
    pub(in crate::snapshot) fn in_git(&self, repo: &git2::Repository) -> Result<Vec<DraftContent>> {
        let Draft { scan, operation, history, .. } = self;
        let head = Some(self.head_tree);
        let mut contents = Vec::new();
        let mut add = |place: ContentPlace, files: Vec<(Vec<u8>, git2::Oid)>| {
            let content = |(path, object)| DraftContent { place: place.clone(), path: GitPath(path), object };
            contents.extend(files.into_iter().map(content));
        };
        add(ContentPlace::Working, new_files(repo, head, scan.tree)?);
        add(ContentPlace::Index, new_files(repo, head, scan.staged_tree)?);
        let in_conflict = scan.index.iter().filter(|entry| entry.stage > 0 && !entry.is_submodule());
        add(ContentPlace::Conflict, in_conflict.map(|entry| (entry.path.clone(), entry.object)).collect());
        if let Some(tree) = operation.as_ref().and_then(Operation::tree) {
            add(ContentPlace::Conflict, new_files(repo, head, tree)?);
        }
        for id in history.commits.iter().chain(&history.beside) {
            let own = repo.find_commit(*id)?;
            let mut parents = own.parents().map(|parent| parent.tree_id());
            let mut new = new_files(repo, parents.next(), own.tree_id())?;
            for parent in parents {
                let others: HashSet<_> = new_files(repo, Some(parent), own.tree_id())?.into_iter().collect();
                new.retain(|file| others.contains(file));
            }
            add(ContentPlace::Commit(commit(*id)?), new);
        }
        Ok(contents)
    }

    /// Puts what HEAD has in the place of a staged file.
    fn restage(&mut self, path: &[u8], in_head: Edit) {
        let scan = &mut self.scan;
        scan.staged.remove(path);
        scan.removed.retain(|removed| removed.0 != path);
        match in_head {
            None => scan.index.retain(|entry| entry.path != path || entry.stage > 0),
            Some((mode, object)) => {
                let entries = scan.index.iter_mut().filter(|entry| entry.path == path && entry.stage == 0);
                entries.for_each(|entry| {
                    (entry.mode, entry.object, entry.intent_to_add) = (mode, object, false);
                });
            }
        }
    }
}

/// A file of a tree, as the index would have it.
pub(in crate::snapshot) fn file_at(tree: &git2::Tree<'_>, path: &[u8]) -> Edit {
    let entry = tree.get_path(path_of(path)).ok()?;
    let mode = entry.filemode() as u32;
    (mode != 0o040_000).then_some((mode, entry.id()))
}

/// A larger content is never whole in memory, in bytes.
const AT_ONCE: usize = 4 << 20;

/// Reads what was captured.
pub struct Reader<'a> {
    draft: &'a Draft,
    git: &'a Git,
    repo: git2::Repository,
    /// Every content that the base has.
    held: OnceCell<HashSet<git2::Oid>>,
}

impl Reader<'_> {
    /// Every file's content that would travel: the working files, the index,
    /// each commit that the base lacks, and what stands for any of it beside
    /// the trees. What all parents of a commit have is counted once.
    ///
    /// # Errors
    /// When a tree cannot be read.
    pub fn contents(&self) -> Result<Vec<DraftContent>> {
        let mut contents = self.draft.in_git(&self.repo)?;
        let lfs: HashMap<Digest, git2::Oid> =
            self.draft.lfs.iter().map(|content| (content.oid, content.object.0)).collect();
        let behind = |content: &DraftContent| {
            let object = *lfs.get(&pointer_in(&self.repo, content.object)?.oid)?;
            Some(DraftContent { object, ..content.clone() })
        };
        if !lfs.is_empty() {
            let more: Vec<DraftContent> = contents.iter().filter_map(behind).collect();
            contents.extend(more);
        }
        let verbatim = self.draft.scan.beside.verbatim.iter();
        contents.extend(verbatim.map(|(path, object)| DraftContent {
            place: ContentPlace::Working,
            path: GitPath(path.clone()),
            object: *object,
        }));
        Ok(contents)
    }

    /// Hands out a content, from its beginning to its end: in one part, or in
    /// several when it is large.
    ///
    /// # Errors
    /// When the object is missing or damaged, and those of `see`.
    pub fn read(&self, content: &DraftContent, see: &mut dyn FnMut(&[u8])) -> Result<()> {
        let shown = || format!("cannot read the content of {}", content.path);
        let (size, _) = self.repo.odb()?.read_header(content.object).with_context(shown)?;
        if size <= AT_ONCE {
            see(self.repo.find_blob(content.object).with_context(shown)?.content());
            return Ok(());
        }
        if let Some(mut stored) = self.draft.scratch.contents.open(content.object)? {
            return in_parts(&mut stored, see).with_context(shown);
        }
        let call = large_blob(self.git.aside(self.draft.scratch.path()), content.object);
        call.stream(b"", |pipe| Ok(in_parts(pipe, see)?)).with_context(shown)
    }

    /// Whether the base has this content in any file, or a commit of the remote
    /// that an operation in progress names: then nothing new travels.
    ///
    /// # Errors
    /// When the base's tree cannot be read.
    pub fn is_held(&self, content: &DraftContent) -> Result<bool> {
        if self.held.get().is_none() {
            let mut held = HashSet::new();
            self.collect(&self.base_tree()?, &mut held)?;
            let own = &self.draft.history.beside;
            for id in &self.draft.others {
                let named = self.repo.find_object(*id, None)?.peel_to_commit()?;
                if !own.contains(&named.id()) {
                    self.collect(&named.tree()?, &mut held)?;
                }
            }
            let _ = self.held.set(held);
        }
        Ok(self.held.get().is_some_and(|held| held.contains(&content.object)))
    }

    fn collect(&self, tree: &git2::Tree<'_>, files: &mut HashSet<git2::Oid>) -> Result<()> {
        for entry in tree.iter() {
            match entry.kind() {
                Some(git2::ObjectType::Tree) => self.collect(&self.repo.find_tree(entry.id())?, files)?,
                _ => {
                    files.insert(entry.id());
                }
            }
        }
        Ok(())
    }

    /// What the base has in the file at this path.
    ///
    /// # Errors
    /// When the base's tree cannot be read.
    pub fn in_base(&self, path: &GitPath) -> Result<Option<Vec<u8>>> {
        let Ok(entry) = self.base_tree()?.get_path(path_of(&path.0)) else { return Ok(None) };
        Ok(self.repo.find_blob(entry.id()).ok().map(|blob| blob.content().to_vec()))
    }

    fn base_tree(&self) -> Result<git2::Tree<'_>> {
        let base = self.repo.find_commit(self.draft.history.base)?;
        base.tree().context("cannot read the tree of the base")
    }

    /// What each commit that the base lacks says besides its tree.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn commits(&self) -> Result<Vec<CommitText>> {
        let said = |id: &git2::Oid| {
            let own = self.repo.find_commit(*id)?;
            let header = own.raw_header_bytes();
            let people = header.split(|byte| *byte == b'\n');
            let people = people.filter(|line| line.starts_with(b"author ") || line.starts_with(b"committer "));
            let words = [own.message_raw_bytes(), b"\n", &people.collect::<Vec<_>>().join(&b'\n')].concat();
            let everything = [header, b"\n", own.message_raw_bytes()].concat();
            Ok(CommitText { commit: commit(*id)?, words, everything })
        };
        let history = &self.draft.history;
        history.commits.iter().chain(&history.beside).map(said).collect()
    }

    /// Other texts that travel, each with what it is: git's notes about an
    /// operation in progress, tags that it names, the checkout's own attributes.
    ///
    /// # Errors
    /// When a tag cannot be read.
    pub fn notes(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let note = |name: &str, text: &[u8]| (format!("git's own file {name}"), text.to_vec());
        let files = self.draft.operation.iter().flat_map(|operation| &operation.files);
        let mut notes: Vec<_> = files.map(|file| note(&file.name, &file.content.0)).collect();
        notes.extend(self.draft.settings.attributes.iter().map(|text| note("info/attributes", &text.0)));
        let odb = self.repo.odb()?;
        for id in &self.draft.others {
            let object = odb.read(*id)?;
            if object.kind() == git2::ObjectType::Tag {
                notes.push((format!("tag {id}"), object.data().to_vec()));
            }
        }
        Ok(notes)
    }
}

fn in_parts(from: &mut dyn Read, see: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => see(&buffer[..count]),
        }
    }
}

/// What a commit says.
#[derive(Clone, Debug)]
pub struct CommitText {
    /// The commit.
    pub commit: Commit,
    /// Its message, then its author and committer.
    pub words: Vec<u8>,
    /// The whole object.
    pub everything: Vec<u8>,
}
