//! Taking a snapshot. Needs the checkout and the git program, no privilege,
//! and writes nothing into the checkout.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::document::{
    AutoCrlf, Document, Eol, FileMode, GitPath, IndexDocument, IndexEntry, Object, Pack, Remote, SCHEMA, Settings,
    Sparse, TrackingRef,
};
use super::draft::Draft;
use super::index::{self, Entry};
use super::refuse;
use super::scan::{Scan, Selection, scan};
use super::scratch::ScratchRepo;
use crate::digest::{Digest, Hasher};
use crate::error::{Fault, failure, not_found, policy};
use crate::git::Git;
use crate::identity::Commit;

/// What a project asks of a capture.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Ignored files to carry nevertheless, as git pathspecs.
    pub include: Vec<String>,
    /// Untracked files to leave, as gitignore patterns.
    pub exclude: Vec<String>,
}

/// A snapshot that was taken; its pack lives as long as this value.
#[derive(Debug)]
pub struct Captured {
    /// The document.
    pub document: Document,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The pack's file, where there is one.
    pub pack: Option<PathBuf>,
    /// Files that differ from HEAD.
    pub changed_files: usize,
    /// Commits that the remote lacks.
    pub unpushed: usize,
    _scratch: ScratchRepo,
}

impl Captured {
    /// The snapshot ID.
    pub fn id(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Opens the checkout that holds `dir`.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is none; a repository that
/// belongs to somebody else is refused with the remedy.
pub fn open(dir: &Path) -> Result<git2::Repository> {
    // Not by the git folder that was found: a checkout whose git folder lies
    // elsewhere would be taken for the folder around that.
    let across = git2::RepositoryOpenFlags::CROSS_FS;
    let opened = git2::Repository::open_ext(dir, across, std::iter::empty::<&std::ffi::OsStr>());
    let repo = opened.map_err(|error| match error.code() {
        git2::ErrorCode::NotFound => not_found(format!("{} is not inside a git checkout", dir.display()))
            .hint("run this in the checkout of the task"),
        git2::ErrorCode::Owner => policy(format!("the repository at {} belongs to another user", dir.display()))
            .hint(format!("if you trust it: git config --global --add safe.directory {}", dir.display())),
        _ if ["objectformat", "object format", "oid type"].iter().any(|word| error.message().contains(word)) => {
            policy("repositories with SHA-256 object names are not supported")
                .hint("publish from a repository with SHA-1 object names")
        }
        _ => failure(format!("cannot open the repository at {}: {}", dir.display(), error.message())),
    })?;
    if repo.is_bare() {
        return Err(failure(format!("{} is a bare repository", dir.display())).hint("run this in a checkout").into());
    }
    Ok(repo)
}

/// The URL of the remote that the checked-out branch follows, as configured.
///
/// # Errors
/// When there is no remote.
pub fn remote_url(repo: &git2::Repository) -> Result<String> {
    let name = remote_name(repo)?;
    // Not the remote's own idea, which has the caller's insteadOf rules in it.
    let url = repo.config()?.get_string(&format!("remote.{name}.url"));
    url.with_context(|| format!("the remote {name} has no URL"))
}

/// Takes a checkout's state; nothing of it is packed yet.
///
/// # Errors
/// Whatever cannot be carried is refused by name.
pub fn draft(git: &Git, repo: &git2::Repository, options: &Options) -> Result<Draft> {
    refuse_state(repo)?;
    let head = repo
        .head()
        .map_err(|_| failure("the checkout has no commit yet").hint("commit something, then publish again"))?;
    let branch = if repo.head_detached()? { None } else { Some(head.shorthand()?.to_owned()) };
    let head_commit = head.peel_to_commit().context("HEAD is not a commit")?;
    let settings = settings(repo)?;
    let scratch = ScratchRepo::new(repo, &settings, &options.exclude)?;
    let selection = Selection { include: &options.include, named: &[] };
    let (scan, aside) = scan(&scratch, git, selection, |index| aside(repo, &head_commit, branch.as_deref(), index))?;
    let Aside { history, empty_folders, digest } = aside;
    let (head, head_tree) = (head_commit.id(), head_commit.tree_id());
    Ok(Draft { scan, history, empty_folders, digest, head, head_tree, branch, settings, scratch })
}

/// The pack of a draft, where the remote does not hold everything.
#[derive(Debug)]
pub struct Packed(Option<(PathBuf, Pack)>);

impl Draft {
    /// Packs everything that the base lacks; anew after files were left out.
    ///
    /// # Errors
    /// When git cannot pack.
    pub fn pack(&self, git: &Git) -> Result<Packed> {
        let scan = &self.scan;
        // With conflicts the index is no tree, and its objects travel by themselves.
        let conflicts = scan.index.iter().any(|entry| entry.stage > 0);
        let (states, loose) = if conflicts {
            (vec![scan.tree], staged_objects(scan))
        } else {
            (vec![scan.staged_tree, scan.tree], Vec::new())
        };
        let head = (self.head, self.head_tree);
        write_pack(git, &self.scratch, head, self.history.base, &states, &loose).map(Packed)
    }

    /// Writes the document to the draft's last pack.
    ///
    /// # Errors
    /// When the document could not be read back.
    pub fn seal(self, packed: Packed) -> Result<Captured> {
        let Draft { scan, history, empty_folders, digest, head, branch, settings, scratch, .. } = self;
        let (pack_path, pack) = packed.0.unzip();
        let changed_files = scan.changed;
        let tree = Object(scan.tree);
        let index = index_document(scan, digest);
        let document = Document {
            schema: SCHEMA,
            base: commit(history.base)?,
            head: commit(head)?,
            branch,
            remote: history.remote,
            commits: history.commits.iter().map(|id| commit(*id)).collect::<Result<_>>()?,
            tree,
            index,
            empty_folders,
            settings,
            pack,
        };
        let bytes = document.to_bytes()?;
        Document::parse(&bytes).context("this checkout holds something that no snapshot may carry")?;
        Ok(Captured { document, bytes, pack: pack_path, changed_files, unpushed: history.unpushed, _scratch: scratch })
    }
}

pub(super) fn commit(id: git2::Oid) -> Result<Commit> {
    Ok(id.to_string().parse()?)
}

fn refuse_state(repo: &git2::Repository) -> Result<(), Fault> {
    use git2::RepositoryState as State;
    let operation = match repo.state() {
        State::Clean => return Ok(()),
        State::Merge => "merge",
        State::Revert | State::RevertSequence => "revert",
        State::CherryPick | State::CherryPickSequence => "cherry-pick",
        State::Bisect => "bisect",
        State::Rebase | State::RebaseInteractive | State::RebaseMerge => "rebase",
        State::ApplyMailbox | State::ApplyMailboxOrRebase => "am",
    };
    let way_out = if operation == "bisect" { "reset" } else { "--abort" };
    Err(policy(format!("a {operation} is in progress, which snapshots do not carry yet"))
        .hint(format!("finish it or run git {operation} {way_out}, then publish again")))
}

fn remote_name(repo: &git2::Repository) -> Result<String> {
    let upstream = repo
        .head()
        .ok()
        .filter(git2::Reference::is_branch)
        .and_then(|head| repo.branch_upstream_remote(head.name().ok()?).ok())
        .and_then(|buffer| buffer.as_str().ok().map(str::to_owned));
    let remotes = repo.remotes()?;
    let names: Vec<&str> = remotes.iter().filter_map(|name| name.ok().flatten()).collect();
    upstream
        .filter(|name| names.contains(&name.as_str()))
        .or_else(|| names.iter().find(|name| **name == "origin").map(|name| (*name).to_owned()))
        .or_else(|| if names.len() == 1 { Some(names[0].to_owned()) } else { None })
        .ok_or_else(|| {
            failure("the checkout has no remote from which others could fetch its base")
                .hint("git remote add origin URL, and push a base commit")
                .into()
        })
}

/// What HEAD has above the remote.
#[derive(Debug)]
pub(super) struct History {
    pub(super) base: git2::Oid,
    /// From HEAD down to the base.
    pub(super) commits: Vec<git2::Oid>,
    unpushed: usize,
    remote: Remote,
}

/// Finds the base: the newest ancestor of HEAD that a remote-tracking ref of
/// the branch's remote holds.
fn history(repo: &git2::Repository, head: &git2::Commit<'_>, branch: Option<&str>) -> Result<History> {
    let name = remote_name(repo)?;
    let prefix = format!("refs/remotes/{name}/");
    let mut tips = Vec::new();
    for reference in repo.references_glob(&format!("{prefix}*"))? {
        let reference = reference?;
        if let (Ok(full), Ok(commit)) = (reference.name(), reference.peel_to_commit())
            && let Some(short) = full.strip_prefix(&prefix)
            && short != "HEAD"
        {
            tips.push((short.to_owned(), commit.id()));
        }
    }
    let mut walk = repo.revwalk()?;
    walk.push(head.id())?;
    for (_, tip) in &tips {
        walk.hide(*tip)?;
    }
    let unpushed: HashSet<git2::Oid> = walk.collect::<Result<_, _>>()?;
    let mut boundary: Vec<git2::Commit<'_>> = Vec::new();
    if unpushed.is_empty() {
        boundary.push(head.clone());
    }
    for id in &unpushed {
        boundary.extend(repo.find_commit(*id)?.parents().filter(|parent| !unpushed.contains(&parent.id())));
    }
    let base =
        boundary.into_iter().max_by_key(|commit| (commit.time().seconds(), commit.id())).map(|commit| commit.id());
    let base = base.ok_or_else(|| {
        failure(format!("no branch of the remote {name} holds an ancestor of HEAD, so nobody could fetch a base"))
            .hint(format!("git fetch {name}, or push a base commit, then publish again"))
    })?;
    let mut walk = repo.revwalk()?;
    walk.set_sorting(git2::Sort::TOPOLOGICAL)?;
    walk.push(head.id())?;
    walk.hide(base)?;
    let commits: Vec<git2::Oid> = walk.collect::<Result<_, _>>()?;
    refuse_cut_history(repo, &commits)?;
    let upstream = branch.and_then(|branch| upstream(repo, branch, &prefix));
    let refs = tracking_refs(repo, &tips, base, upstream.as_deref())?;
    Ok(History { base, commits, unpushed: unpushed.len(), remote: Remote { name, upstream, refs } })
}

/// A commit to be carried whose parents a shallow clone does not have.
fn refuse_cut_history(repo: &git2::Repository, commits: &[git2::Oid]) -> Result<()> {
    let text = std::fs::read_to_string(repo.commondir().join("shallow")).unwrap_or_default();
    let cut: HashSet<git2::Oid> = text.lines().filter_map(|line| git2::Oid::from_str(line).ok()).collect();
    match commits.iter().find(|id| cut.contains(id)) {
        None => Ok(()),
        Some(id) => Err(failure(format!("the shallow clone ends at {id}, above what the remote holds"))
            .hint("git fetch --deepen 100, then publish again")
            .into()),
    }
}

fn upstream(repo: &git2::Repository, branch: &str, prefix: &str) -> Option<String> {
    let name = repo.branch_upstream_name(&format!("refs/heads/{branch}")).ok()?;
    name.as_str().ok()?.strip_prefix(prefix).map(str::to_owned)
}

/// The refs that make `git status` and a later publish see what they see here:
/// the upstream where it is, and one ref that holds the base.
fn tracking_refs(
    repo: &git2::Repository,
    tips: &[(String, git2::Oid)],
    base: git2::Oid,
    upstream: Option<&str>,
) -> Result<Vec<TrackingRef>> {
    let holds_base = |tip: git2::Oid| tip == base || repo.graph_descendant_of(tip, base).unwrap_or(false);
    let mut refs = Vec::new();
    if let Some((name, tip)) = tips.iter().find(|(name, _)| Some(name.as_str()) == upstream) {
        refs.push(TrackingRef { name: name.clone(), commit: commit(*tip)? });
        if holds_base(*tip) {
            return Ok(refs);
        }
    }
    let exact = tips.iter().find(|(_, tip)| *tip == base);
    if let Some((name, _)) = exact.or_else(|| tips.iter().find(|(_, tip)| holds_base(*tip))) {
        refs.push(TrackingRef { name: name.clone(), commit: commit(base)? });
    }
    Ok(refs)
}

/// The whitelisted settings as they are in force here.
fn settings(repo: &git2::Repository) -> Result<Settings> {
    let config = repo.config()?.snapshot()?;
    let text = |key: &str| config.get_str(key).ok().map(str::to_ascii_lowercase);
    let sparse = config.get_bool("core.sparsecheckout").unwrap_or(false).then(|| {
        let patterns = std::fs::read_to_string(repo.path().join("info/sparse-checkout")).unwrap_or_default();
        Sparse {
            cone: config.get_bool("core.sparsecheckoutcone").unwrap_or(true),
            patterns: patterns.lines().map(str::to_owned).collect(),
        }
    });
    Ok(Settings {
        autocrlf: match text("core.autocrlf").as_deref() {
            Some("input") => Some(AutoCrlf::Input),
            Some("true" | "yes" | "on" | "1") => Some(AutoCrlf::True),
            _ => None,
        },
        eol: match text("core.eol").as_deref() {
            Some("crlf") => Some(Eol::Crlf),
            Some("lf") => Some(Eol::Lf),
            _ => None,
        },
        file_mode: config.get_bool("core.filemode").ok().filter(|mode| !mode),
        sparse,
    })
}

/// What is found out while git looks at the files.
struct Aside {
    history: History,
    empty_folders: Vec<GitPath>,
    /// The hash of the index.
    digest: Digest,
}

fn aside(repo: &git2::Repository, head: &git2::Commit<'_>, branch: Option<&str>, entries: &[Entry]) -> Result<Aside> {
    refuse::unsupported(repo, entries)?;
    refuse::names(entries)?;
    Ok(Aside {
        history: history(repo, head, branch)?,
        empty_folders: refuse::empty_folders(repo, entries)?,
        digest: index::hash(entries),
    })
}

/// Objects that only the index names. What merely has a flag is in HEAD's
/// tree; a partial clone may lack it.
fn staged_objects(scan: &Scan) -> Vec<git2::Oid> {
    let own = scan.index.iter().filter(|entry| entry.stage > 0 || scan.staged.contains(&entry.path));
    own.filter(|entry| !entry.intent_to_add).map(|entry| entry.object).collect()
}

/// The index as its differences from HEAD's tree.
fn index_document(scan: Scan, digest: Digest) -> IndexDocument {
    let present: HashSet<&[u8]> = scan.present.iter().map(Vec::as_slice).collect();
    let noted = |entry: &&Entry| {
        let flagged = entry.assume_unchanged || entry.skip_worktree || entry.intent_to_add;
        flagged || entry.stage > 0 || scan.staged.contains(&entry.path)
    };
    let entries: Vec<IndexEntry> = scan
        .index
        .iter()
        .filter(noted)
        .map(|entry| IndexEntry {
            path: GitPath(entry.path.clone()),
            mode: FileMode(entry.mode),
            object: Object(entry.object),
            stage: entry.stage,
            intent_to_add: entry.intent_to_add,
            skip_worktree: entry.skip_worktree,
            assume_unchanged: entry.assume_unchanged,
            present: present.contains(&*entry.path),
        })
        .collect();
    // A path in conflict has no stage 0, whatever the tree has there; and an
    // intent to add stands for itself.
    let named: HashSet<&[u8]> = entries.iter().map(|entry| &*entry.path.0).collect();
    let mut removed = scan.removed;
    removed.retain(|path| !named.contains(&*path.0));
    IndexDocument { digest, entries, removed }
}

/// Writes the thin pack: what HEAD (its commit and tree), the other states and `loose` need and the
/// base does not have. Commits tie the states to HEAD, as in a stash: given a
/// bare tree, git would neither leave out all that the base has nor know from
/// which of its files to make deltas.
fn write_pack(
    git: &Git,
    scratch: &ScratchRepo,
    head: (git2::Oid, git2::Oid),
    base: git2::Oid,
    states: &[git2::Oid],
    loose: &[git2::Oid],
) -> Result<Option<(PathBuf, Pack)>> {
    let (mut tip, mut last) = head;
    for tree in states {
        if *tree != last {
            (tip, last) = (tie(scratch, tip, *tree)?, *tree);
        }
    }
    let mut wanted = format!("{tip}\n^{base}\n");
    for object in loose {
        wanted.push_str(&format!("{object}\n"));
    }
    let path = scratch.path().join("snapshot.pack");
    let mut file = File::create(&path).context("cannot write the pack")?;
    let arguments = ["pack-objects", "--revs", "--thin", "--stdout", "--delta-base-offset", "-q"];
    let (digest, size, objects) = scratch.git(git).args(arguments).stream(wanted.as_bytes(), |pipe| {
        let mut hasher = Hasher::default();
        let mut header = Vec::new();
        let mut size = 0;
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = pipe.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            if header.len() < 12 {
                header.extend_from_slice(&buffer[..count.min(12)]);
            }
            hasher.update(&buffer[..count]);
            file.write_all(&buffer[..count]).context("cannot write the pack")?;
            size += count as u64;
        }
        let objects = header.get(8..12).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        Ok((hasher.finish(), size, objects.unwrap_or(0)))
    })?;
    Ok((objects > 0).then_some((path, Pack { digest, size })))
}

/// A commit that is always the same for the same tree and parent.
fn tie(scratch: &ScratchRepo, parent: git2::Oid, tree: git2::Oid) -> Result<git2::Oid> {
    let who = "envctl <envctl> 0 +0000";
    let commit = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n");
    let own = git2::Repository::open_bare(scratch.path())?;
    own.odb()?.write(git2::ObjectType::Commit, commit.as_bytes()).context("cannot prepare the pack")
}
