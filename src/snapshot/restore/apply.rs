//! Restoring a snapshot into a fresh clone that holds its base.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::error::{integrity, not_found};
use crate::git::{CAME_ALONG, CAME_ALONG_END, Git, add_settings};
use crate::snapshot::format::document::{AutoCrlf, Document, Eol, GitPath, IndexDocument};
use crate::snapshot::format::index::{self, Entry, Stat};
use crate::snapshot::lfs::restore::{self as lfs, Fetch};
use crate::snapshot::submodule;
use crate::snapshot::tree::attributes::Conversions;
use crate::snapshot::tree::files::{self, SUBMODULE, TreeFile};
use crate::snapshot::tree::times;
use crate::snapshot::worktree::verbatim;

/// Restores `document` into `root`, a repository without a commit whose
/// objects include the base. `fetch` gets contents of LFS files that did not
/// travel.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when an object is missing or the pack is
/// damaged; [`crate::error::Kind::NotFound`] when the base is missing.
pub fn apply(
    git: &Git,
    root: &Path,
    document: &Document,
    pack: Option<&mut dyn Read>,
    fetch: Fetch<'_>,
) -> Result<Applied> {
    let repo = git2::Repository::open(root).with_context(|| format!("cannot open the workspace {}", root.display()))?;
    let (large, head_tree) = unpack(&repo, document, pack)?;
    let tree = document.tree.0;
    let tree_files = files::flatten(&repo, tree)?;
    let head_files = if head_tree == tree { tree_files.clone() } else { files::flatten(&repo, head_tree)? };
    let in_index = document.index.entries.iter().map(|entry| entry.mode.0);
    if tree_files.iter().chain(&head_files).map(|file| file.mode).chain(in_index).any(|mode| mode == SUBMODULE) {
        check_submodules(git, &repo, document, &[tree, head_tree])?;
    }

    write_settings(&repo, document)?;
    let absent = document.index.entries.iter().filter(|entry| entry.skip_worktree && !entry.present);
    let skipped: HashSet<&[u8]> = absent.map(|entry| &*entry.path.0).collect();
    let (submodules, tree_files): (Vec<_>, Vec<_>) = tree_files.into_iter().partition(TreeFile::is_submodule);
    let submodules: Vec<_> = submodules.into_iter().filter(|file| !skipped.contains(&*file.path)).collect();
    let asked = Conversions::of_tree(&repo, &document.settings, &tree_files)?;
    let wanted: Vec<TreeFile> = tree_files.into_iter().filter(|file| !skipped.contains(&*file.path)).collect();
    let written = match asked.conversion {
        true => files::write_converted((git, &repo), root, &wanted, tree)?,
        false => files::write((git, &repo), root, &wanted, &large)?,
    };
    let (mut stats, exact): (Vec<(TreeFile, Stat)>, bool) =
        (wanted.into_iter().zip(written.stats).collect(), written.exact);
    // Like a checkout whose submodules were not initialised.
    let empty = submodules.iter().map(|file| &file.path).chain(document.empty_folders.iter().map(|folder| &folder.0));
    empty.into_iter().try_for_each(|folder| files::make_folder(root, folder))?;
    verbatim::place(git, &repo, root, &document.verbatim, &mut stats)?;
    let contents = lfs::keep(git, &repo, document)?;
    let (pointers, placed) =
        if asked.lfs { lfs::place((git, &repo), root, &contents, &mut stats, fetch)? } else { Default::default() };
    if asked.normal || asked.lfs || !document.verbatim.is_empty() {
        times::set_back(root, &mut stats)?;
    }
    if document.index.entries.iter().any(|entry| entry.intent_to_add) {
        // Git reads it where such a file is gone again; `git add -N` writes it.
        repo.blob(b"")?;
    }
    let mut entries = index_entries(&document.index, &head_files, &stats);
    index::write(&repo.path().join("index"), &mut entries)?;
    write_refs(&repo, document)?;
    document.operation.as_ref().map_or(Ok(()), |operation| operation.restore(&repo))?;
    let known = if submodules.is_empty() { Default::default() } else { submodule::addresses(git, &repo, tree)? };
    let (submodules, unknown) = submodules.into_iter().map(|file| file.path).partition(|path| known.contains(path));
    let repositories = repositories(stats.iter().map(|(file, _)| &*file.path));
    let exact = (exact && skipped.is_empty()).then_some(stats.len());
    Ok(Applied { exact, submodules, unknown, pointers, placed, repositories })
}

/// Adds the snapshot's objects to a clone that holds its base. Returns those that
/// are too large for memory, and the tree of HEAD.
fn unpack(
    repo: &git2::Repository,
    document: &Document,
    pack: Option<&mut dyn Read>,
) -> Result<(HashSet<git2::Oid>, git2::Oid)> {
    let oid = |commit: &crate::identity::Commit| git2::Oid::from_str(commit.as_str());
    let base = oid(&document.base)?;
    repo.find_commit(base).map_err(|_| not_found(format!("the base commit {base} is not in the mirror")))?;
    let large = match (&document.pack, pack) {
        (Some(described), Some(content)) => super::pack::index(repo, described.size, described.digest, content)?,
        _ => HashSet::new(),
    };
    let head = oid(&document.head)?;
    for id in document.commits.iter().map(oid).chain([Ok(head)]) {
        let id = id?;
        repo.find_commit(id).map_err(|_| integrity(format!("the snapshot lacks commit {id}")))?;
    }
    Ok((large, repo.find_commit(head)?.tree_id()))
}

/// What git would obey when the developer initialises a submodule.
fn check_submodules(git: &Git, repo: &git2::Repository, document: &Document, trees: &[git2::Oid]) -> Result<()> {
    submodule::check(git, repo, trees)?;
    let staged = document.index.entries.iter().filter(|entry| entry.path.0 == b".gitmodules" && !entry.intent_to_add);
    staged.into_iter().try_for_each(|entry| submodule::check_blob(git, repo, entry.object.0))
}

/// What was restored.
#[derive(Debug)]
pub struct Applied {
    /// How many files there are, where each was found to be as the tree has
    /// it while it was written.
    pub(in crate::snapshot) exact: Option<usize>,
    /// Submodules, empty for now, for which the project names an address.
    pub submodules: Vec<Vec<u8>>,
    /// Those for which it names none.
    pub unknown: Vec<Vec<u8>>,
    /// LFS files that are pointers, because their content could not be had.
    pub pointers: Vec<Vec<u8>>,
    /// How many LFS files have their content.
    pub placed: usize,
    /// Folders that git may take for repositories, with something to obey.
    pub repositories: Vec<PathBuf>,
}

/// Folders with a `HEAD` and what git reads beside one.
fn repositories<'a>(paths: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<PathBuf> {
    let heads: BTreeSet<&[u8]> = paths.clone().filter_map(|path| path.strip_suffix(b"/HEAD")).collect();
    if heads.is_empty() {
        return Vec::new();
    }
    let folder = |path: &'a [u8]| {
        let at = path.iter().rposition(|byte| *byte == b'/')?;
        let (folder, name) = (path.get(..at)?, path.get(at + 1..)?);
        match name {
            b"config" | b"config.worktree" | b"commondir" | b"hooks" => Some(folder),
            _ => folder.strip_suffix(b"/hooks"),
        }
    };
    let found: BTreeSet<&[u8]> = paths.filter_map(folder).filter(|folder| heads.contains(folder)).collect();
    found.into_iter().map(|folder| PathBuf::from(OsStr::from_bytes(folder))).collect()
}

fn write_settings(repo: &git2::Repository, document: &Document) -> Result<()> {
    let settings = &document.settings;
    let autocrlf = match settings.autocrlf {
        Some(AutoCrlf::True) => "true",
        Some(AutoCrlf::Input) => "input",
        None => "false",
    };
    let mut added = vec![("core.autocrlf", autocrlf.to_owned())];
    if let Some(eol) = settings.eol {
        added.push(("core.eol", if eol == Eol::Crlf { "crlf" } else { "lf" }.to_owned()));
    }
    if let Some(file_mode) = settings.file_mode {
        added.push(("core.fileMode", file_mode.to_string()));
    }
    if let Some(comment) = &settings.comment {
        let key = if comment.len() == 1 || comment == "auto" { "core.commentChar" } else { "core.commentString" };
        added.push((key, comment.clone()));
    }
    if let Some(attributes) = &settings.attributes {
        let info = repo.path().join("info");
        fs::create_dir_all(&info)?;
        fs::write(info.join("attributes"), &attributes.0)?;
    }
    if let Some((cone, patterns)) = settings.sparse() {
        added.push(("core.sparseCheckout", "true".to_owned()));
        added.push(("core.sparseCheckoutCone", cone.to_string()));
        let info = repo.path().join("info");
        fs::create_dir_all(&info)?;
        patterns.map_or(Ok(()), |patterns| fs::write(info.join("sparse-checkout"), patterns))?;
    }
    add_settings(&repo.path().join("config"), &added)?;
    write_ignored(repo, &document.ignored)
}

/// Lets git ignore files that it ignored where they were captured.
fn write_ignored(repo: &git2::Repository, ignored: &[GitPath]) -> Result<()> {
    if ignored.is_empty() {
        return Ok(());
    }
    let place = repo.path().join("info/exclude");
    let mut rules = fs::read(&place).unwrap_or_default();
    if rules.last().is_some_and(|byte| *byte != b'\n') {
        rules.push(b'\n');
    }
    rules.extend_from_slice(CAME_ALONG.as_bytes());
    rules.push(b'\n');
    // A rule is one line.
    for path in ignored.iter().filter(|path| !path.0.contains(&b'\n')) {
        rules.push(b'/');
        let escaped = path.0.iter().flat_map(|byte| match byte {
            b'*' | b'?' | b'[' | b'\\' | b' ' => vec![b'\\', *byte],
            other => vec![*other],
        });
        rules.extend(escaped);
        rules.push(b'\n');
    }
    rules.extend_from_slice(CAME_ALONG_END.as_bytes());
    rules.push(b'\n');
    fs::create_dir_all(repo.path().join("info"))?;
    fs::write(&place, rules).with_context(|| format!("cannot write {}", place.display()))
}

/// HEAD's files, less what was removed, with the noted entries in place.
pub(in crate::snapshot) fn index_entries(
    document: &IndexDocument,
    head_files: &[TreeFile],
    written: &[(TreeFile, Stat)],
) -> Vec<Entry> {
    let on_disk: HashMap<&[u8], (&TreeFile, Stat)> =
        written.iter().map(|(file, stat)| (&*file.path, (file, *stat))).collect();
    let stat_of = |path: &[u8], mode: u32, object: git2::Oid| match on_disk.get(path) {
        Some((file, stat)) if file.mode == mode && file.object == object => *stat,
        // Unknown content: git will look for itself.
        _ => Stat::default(),
    };
    let noted: HashSet<&[u8]> = document.entries.iter().map(|entry| &*entry.path.0).collect();
    let removed: HashSet<&[u8]> = document.removed.iter().map(|path| &*path.0).collect();
    let from_head = head_files.iter().filter(|file| !noted.contains(&*file.path) && !removed.contains(&*file.path));
    let mut entries: Vec<Entry> = from_head
        .map(|file| Entry {
            stat: stat_of(&file.path, file.mode, file.object),
            path: file.path.clone(),
            stage: 0,
            mode: file.mode,
            object: file.object,
            assume_unchanged: false,
            skip_worktree: false,
            intent_to_add: false,
        })
        .collect();
    entries.extend(document.entries.iter().map(|entry| Entry {
        stat: if entry.stage == 0 && !entry.intent_to_add {
            stat_of(&entry.path.0, entry.mode.0, entry.object.0)
        } else {
            Stat::default()
        },
        path: entry.path.0.clone(),
        stage: entry.stage,
        mode: entry.mode.0,
        object: entry.object.0,
        assume_unchanged: entry.assume_unchanged,
        skip_worktree: entry.skip_worktree,
        intent_to_add: entry.intent_to_add,
    }));
    entries
}

fn write_refs(repo: &git2::Repository, document: &Document) -> Result<()> {
    let message = "envctl: restored";
    let remote = &document.remote;
    let oid = |commit: &crate::identity::Commit| git2::Oid::from_str(commit.as_str());
    for tracking in &remote.refs {
        // A ref whose commit the remote no longer serves is shown at the base.
        let wanted = oid(&tracking.commit)?;
        let target = if repo.find_commit(wanted).is_ok() { wanted } else { oid(&document.base)? };
        repo.reference(&format!("refs/remotes/{}/{}", remote.name, tracking.name), target, true, message)?;
    }
    let head = oid(&document.head)?;
    if let Some(branch) = &document.branch {
        let full = format!("refs/heads/{branch}");
        repo.reference(&full, head, true, message)?;
        repo.set_head(&full)?;
    } else {
        repo.set_head_detached(head)?;
    }
    let remote_one = remote.upstream.as_ref().map(|upstream| (&*remote.name, upstream));
    let local_one = document.follows.as_ref().map(|follows| (".", &follows.name));
    if let (Some(branch), Some((from, upstream))) = (document.home(), remote_one.or(local_one)) {
        let merge = format!("refs/heads/{upstream}");
        let settings = [(format!("branch.{branch}.remote"), from), (format!("branch.{branch}.merge"), &merge)];
        add_settings(&repo.path().join("config"), &settings)?;
    }
    if let Some((name, commit)) = document.follows.as_ref().and_then(|it| Some((&it.name, it.commit.as_ref()?))) {
        let id = oid(commit)?;
        repo.find_commit(id).map_err(|_| integrity(format!("the snapshot lacks commit {id}")))?;
        repo.reference(&format!("refs/heads/{name}"), id, true, message)?;
    }
    Ok(())
}
