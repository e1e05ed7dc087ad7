//! The object mirror of one repository: bare, shared by all its workspaces,
//! filled by the git program so that credential helpers, ssh configuration and
//! proxies work as the user set them up.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::disk::{self, Durability, lock::FileLock, scratch::Scratch};
use crate::error::{not_found, policy, unreachable};
use crate::git::lfs::{Contents, Pointer};
use crate::git::{Coming, Contact, ContactOutcome, Git, Judge, Manner, add_settings, create_bare};
use crate::identity::{Commit, RepoUrl};
use crate::shell::quote;

/// So many commits are asked for beside the base: a task has two.
const MAX_OTHERS: usize = 16;

/// The file in a mirror that says whose it is, and the most that it holds in bytes.
const WHOSE: &str = "envctl-repository";
const MAX_WHOSE: u64 = 64 << 10;

/// What a fetch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Whether the remote was asked at all.
    pub network: bool,
    /// Growth of the mirror in bytes.
    pub bytes: u64,
}

/// A bare repository of ours.
#[derive(Clone, Debug)]
pub struct Mirror {
    path: PathBuf,
    lock: PathBuf,
    /// The repository, in full: the folder's name has a short key of it.
    whose: String,
}

/// What decides how the remote is asked.
#[derive(Clone, Copy)]
pub struct MirrorRemote<'a> {
    /// Where it is.
    pub place: RemotePlace<'a>,
    /// Nothing may be asked.
    pub offline: bool,
    /// How it is spoken with.
    pub manner: Manner,
}

/// Where a remote is.
#[derive(Clone, Copy)]
pub enum RemotePlace<'a> {
    /// At an address, once it was judged.
    Address(&'a RepoUrl, &'a dyn Judge),
    /// In a checkout in which the developer stands.
    Folder(&'a str),
}

impl std::fmt::Display for RemotePlace<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RemotePlace::Address(url, _) => url.fmt(f),
            RemotePlace::Folder(path) => f.write_str(path),
        }
    }
}

impl MirrorRemote<'_> {
    /// Goes there, if that is allowed.
    pub(super) fn reach(
        &self,
        git: &Git,
        git_dir: &Path,
        work: &dyn Fn(&Contact<'_>) -> Result<ContactOutcome>,
    ) -> Result<ContactOutcome> {
        match self.place {
            RemotePlace::Address(url, judge) => git.reach(git_dir, url, self.manner, judge, work),
            RemotePlace::Folder(path) => work(&git.beside(path)?),
        }
    }
}

/// What a fetch has to tell.
pub trait FetchWatch {
    /// Another process uses the same mirror.
    fn waiting(&self);
    /// The remote is asked now; this may take long.
    fn fetching(&self);
    /// How far that has come; nothing when time passes.
    fn coming(&self, coming: Option<&Coming>) {
        let _ = coming;
    }
}

impl Mirror {
    /// The mirror of a repository at `path`, guarded by the lock file `lock`.
    pub fn new(path: PathBuf, lock: PathBuf, url: &RepoUrl) -> Self {
        Mirror { path, lock, whose: url.normal() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn lock_file(&self) -> &Path {
        &self.lock
    }

    /// Its objects, for alternates and for the runtime.
    pub fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// Whether a commit and everything below it is here.
    pub fn has(&self, commit: &Commit) -> bool {
        git2::Repository::open_bare(&self.path).is_ok_and(|repo| kept(&repo, commit))
    }

    /// Makes sure that `base` is here and stays, and as many of `others` as
    /// the remote still serves.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unreachable`] when the remote does not answer,
    /// [`crate::error::Kind::NotFound`] when it does not have `base`,
    /// [`crate::error::Kind::Policy`] when the mirror is another repository's.
    pub fn ensure(
        &self,
        git: &Git,
        remote: MirrorRemote<'_>,
        base: &Commit,
        others: &[Commit],
        watch: &dyn FetchWatch,
    ) -> Result<Fetched> {
        let _lock = FileLock::acquire(&self.lock, || watch.waiting())?;
        let repo = self.open()?;
        self.require_own()?;
        let mut fetched = Fetched::default();
        if !kept(&repo, base) {
            if !remote.offline {
                watch.fetching();
            }
            let before = size(&self.objects());
            self.fetch(git, &repo, remote, base, watch)?;
            fetched = Fetched { network: true, bytes: size(&self.objects()).saturating_sub(before) };
        }
        // Cosmetic: where a branch stood that the task does not build on.
        let beside = MirrorRemote { manner: Manner { needed: false, ..remote.manner }, ..remote };
        for commit in others.iter().take(MAX_OTHERS) {
            if !kept(&repo, commit) && !remote.offline {
                fetched.network = true;
                let _ = self.bring(git, &repo, beside, (commit, &[commit.as_str()]), watch);
            }
        }
        Ok(fetched)
    }

    /// Contents of LFS files, for all workspaces.
    pub fn contents(&self) -> Contents {
        Contents::of(&self.path)
    }

    /// Gets contents of LFS files that are not here. What the repository configures
    /// has no say in where from.
    ///
    /// # Errors
    /// With the reason why some of them cannot be had.
    pub fn fetch_contents(
        &self,
        git: &Git,
        remote: MirrorRemote<'_>,
        wanted: &[Pointer],
        watch: &dyn FetchWatch,
    ) -> Result<()> {
        let contents = self.contents();
        let missing: Vec<&Pointer> = wanted.iter().filter(|pointer| contents.find(pointer).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if remote.offline {
            return Err(unreachable("--offline forbids to fetch it").into());
        }
        watch.fetching();
        // Hashed on the way.
        let answer = remote.reach(git, &self.path, &|contact| {
            contact.contents(&missing, &|pointer, content| contents.put(pointer, content))
        })?;
        if answer.ok { Ok(()) } else { Err(unreachable(answer.complaint).into()) }
    }

    pub(super) fn open(&self) -> Result<git2::Repository> {
        if self.path.join("HEAD").exists() {
            return git2::Repository::open_bare(&self.path)
                .with_context(|| format!("cannot open the mirror {}", self.path.display()));
        }
        self.create().with_context(|| format!("cannot create the mirror {}", self.path.display()))?;
        Ok(git2::Repository::open_bare(&self.path)?)
    }

    /// Two repositories may have one short key; what is in a mirror is for the tasks
    /// of one alone.
    pub(super) fn require_own(&self) -> Result<()> {
        let note = self.path.join(WHOSE);
        let Some(found) = disk::read_file(&note, MAX_WHOSE)? else {
            return disk::rewrite_file(&note, self.whose.as_bytes(), Durability::Cached);
        };
        let found = String::from_utf8_lossy(&found);
        if found == self.whose {
            return Ok(());
        }
        let (place, whose) = (self.path.display(), &self.whose);
        Err(policy(format!("{place} is the mirror of {found}, whose short key is that of {whose}, too"))
            .hint(format!("if you trust who names {whose}, move the folder away, and enter again"))
            .into())
    }

    /// Made beside its place and moved: a process that is killed here leaves
    /// none, and no lock file of git's.
    fn create(&self) -> Result<()> {
        let parent = self.path.parent().context("it has no parent folder")?;
        let draft = Scratch::create_in(parent, ".envctl-draft-")?;
        create_bare(draft.path(), &[])?;
        add_settings(&draft.path().join("config"), &[("gc.auto", "0")])?;
        std::fs::rename(draft.path(), &self.path)?;
        crate::crash::point("cold.mirror-made");
        Ok(())
    }

    fn fetch(
        &self,
        git: &Git,
        repo: &git2::Repository,
        remote: MirrorRemote<'_>,
        base: &Commit,
        watch: &dyn FetchWatch,
    ) -> Result<()> {
        if remote.offline {
            return Err(unreachable(format!(
                "commit {base} is not on this machine, and --offline forbids to fetch it"
            ))
            .hint("run the command once without --offline")
            .into());
        }
        let answer = self.bring(git, repo, remote, (base, &[base.as_str()]), watch)?;
        if answer.ok {
            return Ok(());
        }
        // Some servers give out branches only, not any commit by its name.
        let all = ["+refs/heads/*:refs/envctl/heads/*", "+refs/tags/*:refs/envctl/tags/*"];
        let answer = if answer.given_up { answer } else { self.bring(git, repo, remote, (base, &all), watch)? };
        if !answer.ok {
            return Err(anyhow::Error::new(unreachable(answer.complaint)).context(
                unreachable(format!("cannot fetch from {}", remote.place))
                    .hint(format!(
                        "check the network and your access with: git ls-remote {}; if you reach it under another address, [[url]] in config.toml says so",
                        quote(&remote.place.to_string())
                    )),
            ));
        }
        if !kept(repo, base) {
            return Err(not_found(format!("commit {base} is not in {}", remote.place))
                .hint(
                    "it was removed from the remote, or never pushed: whoever published it runs git fetch --prune, or pushes a base, and publishes again",
                )
                .into());
        }
        Ok(())
    }

    /// Makes sure that the remote may be asked, and asks it nothing.
    ///
    /// # Errors
    /// When it may not.
    pub fn settle(&self, git: &Git, remote: MirrorRemote<'_>) -> Result<()> {
        let parent = self.path.parent().context("the mirror has no parent folder")?;
        disk::create_private_dir(parent)?;
        let draft = Scratch::create_in(parent, ".envctl-fetch-")?;
        create_bare(draft.path(), &[])?;
        remote.reach(git, draft.path(), &|_| Ok(ContactOutcome::nothing())).map(drop)
    }

    /// Fetches beside the mirror; what has come whole is moved into it, and
    /// `wanted` kept where it is there. Of a fetch that breaks off nothing stays.
    fn bring(
        &self,
        git: &Git,
        repo: &git2::Repository,
        remote: MirrorRemote<'_>,
        (wanted, sources): (&Commit, &[&str]),
        watch: &dyn FetchWatch,
    ) -> Result<ContactOutcome> {
        let parent = self.path.parent().context("the mirror has no parent folder")?;
        let draft = Scratch::create_in(parent, ".envctl-fetch-")?;
        create_bare(draft.path(), &[])?;
        self.sweep();
        let (fresh, known) = (draft.path().join("objects"), self.objects());
        let borrowed = [("GIT_ALTERNATE_OBJECT_DIRECTORIES", known.as_path())];
        let answer = remote.reach(git, draft.path(), &|contact| {
            let mut args = vec!["fetch", "--no-tags", "--no-write-fetch-head", "--progress", "--", contact.target()];
            args.extend(sources);
            contact.fetch(draft.path(), &borrowed, &args, &|coming| watch.coming(coming))
        })?;
        if !answer.ok {
            return Ok(answer);
        }
        // A commit that no branch leads to may have come without what is below it.
        let look = git.at(&self.path).env("GIT_OBJECT_DIRECTORY", &fresh).env(borrowed[0].0, &known);
        let keep = "--glob=refs/envctl/keep/*";
        let whole = sources == [wanted.as_str()]
            || look.args(["rev-list", "--quiet", "--objects", wanted.as_str(), "--not", keep]).run(b"").is_ok();
        if whole {
            take_over(&fresh, &known)?;
            repo.odb()?.refresh()?;
            let oid = git2::Oid::from_str(wanted.as_str())?;
            repo.find_commit(oid).with_context(|| format!("{wanted} is no commit"))?;
            repo.reference(&keep_ref(wanted), oid, true, "envctl: base")?;
        }
        Ok(answer)
    }

    /// Removes what fetches into the mirror itself left when they broke off.
    fn sweep(&self) {
        // Whoever writes a keep-ref holds the lock of the mirror, as this does.
        let keep = std::fs::read_dir(self.path.join("refs/envctl/keep")).into_iter().flatten().flatten();
        for entry in keep.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(b".lock")) {
            let _ = std::fs::remove_file(entry.path());
        }
        let left = std::fs::read_dir(self.objects().join("pack")).into_iter().flatten().flatten();
        for entry in left.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"tmp_")) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Moves what has come: single objects, which servers without a program of git's
/// give out, then packs, their indexes last, by which they are found.
pub(super) fn take_over(from: &Path, to: &Path) -> Result<()> {
    for folder in children(from)?.into_iter().filter(|name| name.len() == 2) {
        take_files(&from.join(&folder), &to.join(&folder), |name| name.len() >= 38)?;
    }
    take_files(&from.join("pack"), &to.join("pack"), |name| {
        name.as_encoded_bytes().starts_with(b"pack-") && !name.as_encoded_bytes().ends_with(b".keep")
    })
}

fn take_files(from: &Path, to: &Path, which: impl Fn(&OsStr) -> bool) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut names: Vec<OsString> = children(from)?.into_iter().filter(|name| which(name)).collect();
    names.sort_by_key(|name| name.as_encoded_bytes().ends_with(b".idx"));
    for name in &names {
        let place = to.join(name);
        std::fs::rename(from.join(name), &place).with_context(|| format!("cannot move {}", place.display()))?;
    }
    std::fs::File::open(to)?.sync_all().with_context(|| format!("cannot flush {}", to.display()))
}

fn children(folder: &Path) -> Result<Vec<OsString>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.file_name()).collect())
}

pub(super) fn keep_ref(commit: &Commit) -> String {
    format!("refs/envctl/keep/{commit}")
}

/// A keep-ref is written only after everything below its commit has arrived.
pub(super) fn kept(repo: &git2::Repository, commit: &Commit) -> bool {
    repo.find_reference(&keep_ref(commit)).is_ok_and(|reference| reference.peel_to_commit().is_ok())
}

fn size(objects: &Path) -> u64 {
    let folders = std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
    folders.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
