//! The object mirror of one repository: bare, shared by all its workspaces,
//! filled by the git program so that credential helpers, ssh configuration and
//! proxies work as the user set them up.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::disk::{lock::FileLock, scratch::Scratch};
use crate::error::{failure, not_found, unreachable};
use crate::git::lfs::{Contents, Pointer};
use crate::git::{Git, complaint};
use crate::identity::Commit;

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
}

/// What decides how the remote is asked.
#[derive(Clone, Copy, Debug)]
pub struct Remote<'a> {
    /// Where it is reachable from here.
    pub url: &'a str,
    /// Nothing may be asked.
    pub offline: bool,
    /// Git may ask for credentials on the terminal.
    pub interactive: bool,
}

/// What a fetch has to tell.
pub trait Watch {
    /// Another process uses the same mirror.
    fn waiting(&self);
    /// The remote is asked now; this may take long.
    fn fetching(&self);
}

impl Mirror {
    /// The mirror at `path`, guarded by the lock file `lock`.
    pub fn new(path: PathBuf, lock: PathBuf) -> Self {
        Mirror { path, lock }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
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
    /// [`crate::error::Kind::NotFound`] when it does not have `base`.
    pub fn ensure(
        &self,
        git: &Git,
        remote: Remote<'_>,
        base: &Commit,
        others: &[Commit],
        watch: &dyn Watch,
    ) -> Result<Fetched> {
        let _lock = FileLock::acquire(&self.lock, || watch.waiting())?;
        let repo = self.open()?;
        let mut fetched = Fetched::default();
        if !kept(&repo, base) {
            if !remote.offline {
                watch.fetching();
            }
            let before = size(&self.objects());
            self.fetch(git, &repo, remote, base)?;
            fetched = Fetched { network: true, bytes: size(&self.objects()).saturating_sub(before) };
        }
        for commit in others {
            if !kept(&repo, commit) && !remote.offline {
                fetched.network = true;
                // Cosmetic: where a branch stood that the task does not build on.
                let _ = self.fetch_exactly(git, remote, commit);
            }
        }
        Ok(fetched)
    }

    /// Contents of LFS files, for all workspaces.
    pub fn contents(&self) -> Contents {
        Contents::of(&self.path)
    }

    /// Gets contents of LFS files that are not here; `git lfs` knows how. What
    /// the repository configures has no say: git runs in an empty one.
    ///
    /// # Errors
    /// With the reason why some of them cannot be had.
    pub fn fetch_contents(&self, git: &Git, remote: Remote<'_>, wanted: &[Pointer], watch: &dyn Watch) -> Result<()> {
        let contents = self.contents();
        let missing: Vec<&Pointer> = wanted.iter().filter(|pointer| contents.find(pointer).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if !git.has_lfs() {
            return Err(failure("git-lfs is not installed").into());
        }
        if remote.offline {
            return Err(unreachable("--offline forbids to fetch it").into());
        }
        watch.fetching();
        let parent = self.path.parent().context("the mirror has no parent folder")?;
        let draft = Scratch::create_in(parent, ".envctl-lfs-")?;
        let commit = pointers(draft.path(), remote.url, &missing)?;
        let mut call = git.at(draft.path()).by_folder(draft.path()).args(["lfs", "fetch", "origin", &commit]);
        if !remote.interactive {
            call = call.env("GIT_TERMINAL_PROMPT", "0");
        }
        let output = call.output(b"")?;
        // Copied, and hashed on the way: git-lfs makes links into a remote on
        // this machine.
        let fetched = Contents::of(draft.path());
        for pointer in missing {
            if let Some(mut content) = fetched.open(pointer)? {
                contents.put(pointer, &mut content)?;
            }
        }
        if output.status.success() { Ok(()) } else { Err(unreachable(complaint(&output.stderr)).into()) }
    }

    fn open(&self) -> Result<git2::Repository> {
        if self.path.join("HEAD").exists() {
            return git2::Repository::open_bare(&self.path)
                .with_context(|| format!("cannot open the mirror {}", self.path.display()));
        }
        self.create().with_context(|| format!("cannot create the mirror {}", self.path.display()))?;
        Ok(git2::Repository::open_bare(&self.path)?)
    }

    /// Made beside its place and moved: a process that is killed here leaves
    /// none, and no lock file of git's.
    fn create(&self) -> Result<()> {
        let parent = self.path.parent().context("it has no parent folder")?;
        let draft = Scratch::create_in(parent, ".envctl-draft-")?;
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).external_template(false).initial_head("envctl");
        git2::Repository::init_opts(draft.path(), &options)?.config()?.set_i32("gc.auto", 0)?;
        std::fs::rename(draft.path(), &self.path)?;
        crate::crash::point("cold.mirror-made");
        Ok(())
    }

    fn fetch(&self, git: &Git, repo: &git2::Repository, remote: Remote<'_>, base: &Commit) -> Result<()> {
        if remote.offline {
            return Err(unreachable(format!(
                "commit {base} is not on this machine, and --offline forbids to fetch it"
            ))
            .hint("run the command once without --offline")
            .into());
        }
        let exact = self.fetch_exactly(git, remote, base);
        if exact.is_ok() {
            return Ok(());
        }
        // Some servers give out branches only, not any commit by its name.
        let refspecs = ["+refs/heads/*:refs/envctl/heads/*", "+refs/tags/*:refs/envctl/tags/*"];
        if let Err(reason) = self.run(git, remote, &refspecs)? {
            return Err(anyhow::Error::new(unreachable(reason)).context(
                unreachable(format!("cannot fetch from {}", remote.url))
                    .hint("check the network and your access with: git ls-remote URL; a [[url]] rule in config.toml maps it elsewhere"),
            ));
        }
        let oid = git2::Oid::from_str(base.as_str())?;
        if repo.find_commit(oid).is_err() {
            return Err(not_found(format!("commit {base} is not in {}", remote.url))
                .hint("it was removed from the remote, or never pushed: publish the task again")
                .into());
        }
        repo.reference(&keep_ref(base), oid, true, "envctl: base")?;
        Ok(())
    }

    fn fetch_exactly(&self, git: &Git, remote: Remote<'_>, commit: &Commit) -> Result<()> {
        let refspec = format!("+{commit}:{}", keep_ref(commit));
        match self.run(git, remote, &[&refspec])? {
            Ok(()) => Ok(()),
            Err(reason) => Err(unreachable(reason).into()),
        }
    }

    /// Runs a fetch; the inner error is git's own complaint.
    fn run(&self, git: &Git, remote: Remote<'_>, refspecs: &[&str]) -> Result<Result<(), String>> {
        let mut call = git.at(&self.path).args([
            "-c",
            "protocol.version=2",
            "fetch",
            "--no-tags",
            "--no-write-fetch-head",
            "--quiet",
        ]);
        if !remote.interactive {
            call = call.env("GIT_TERMINAL_PROMPT", "0").env("GIT_SSH_VARIANT", "auto");
        }
        let output = call.args(["--", remote.url]).args(refspecs).output(b"")?;
        Ok(if output.status.success() { Ok(()) } else { Err(complaint(&output.stderr)) })
    }
}

/// A repository with nothing but these pointers; the commit that holds them.
fn pointers(place: &Path, url: &str, wanted: &[&Pointer]) -> Result<String> {
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).external_template(false).initial_head("envctl");
    let repo = git2::Repository::init_opts(place, &options)?;
    repo.config()?.set_str("remote.origin.url", url)?;
    let mut tree = repo.treebuilder(None)?;
    for pointer in wanted {
        tree.insert(pointer.oid.hex(), repo.blob(pointer.text().as_bytes())?, 0o100_644)?;
    }
    let tree = repo.find_tree(tree.write()?)?;
    let who = git2::Signature::new("envctl", "envctl", &git2::Time::new(0, 0))?;
    Ok(repo.commit(None, &who, &who, "", &tree, &[])?.to_string())
}

fn keep_ref(commit: &Commit) -> String {
    format!("refs/envctl/keep/{commit}")
}

/// A keep-ref is written only after everything below its commit has arrived.
fn kept(repo: &git2::Repository, commit: &Commit) -> bool {
    repo.find_reference(&keep_ref(commit)).is_ok_and(|reference| reference.peel_to_commit().is_ok())
}

fn size(objects: &Path) -> u64 {
    let folders = std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
    folders.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}
