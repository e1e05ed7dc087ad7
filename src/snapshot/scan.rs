//! From a checkout's files to a tree, without touching the checkout and
//! without obeying its configuration.
//!
//! The git program runs in a scratch repository of ours: own config (only the
//! whitelisted settings), a copy of the index, own object folder with the
//! checkout's objects as an alternate. Hooks, filters, monitors and aliases of
//! the repository's config are therefore never seen by it.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD};

use super::document::{AutoCrlf, Eol, GitPath, Settings};
use super::index::{self, Entry, Stat};
use crate::error::{Fault, failure, policy};
use crate::git::{Git, check_entry_name};

const ATTEMPTS: u32 = 5;
/// Git ignores larger files of attributes.
const MAX_ATTRIBUTES: u64 = 100 << 20;
/// Timestamps of files are no finer than this.
const TICK: Duration = Duration::from_millis(12);

/// What a checkout looks like.
#[derive(Debug)]
pub(super) struct Scan {
    /// The tree of the working files.
    pub(super) tree: git2::Oid,
    /// The checkout's index as it is.
    pub(super) index: Vec<Entry>,
    /// Skip-worktree entries whose file is there nevertheless.
    pub(super) present: Vec<Vec<u8>>,
}

/// A repository of ours that sees a checkout's files, index and objects.
#[derive(Debug)]
pub(super) struct ScratchRepo {
    folder: tempfile::TempDir,
    work_tree: PathBuf,
}

impl ScratchRepo {
    /// Prepares one in the folder for temporary files.
    pub(super) fn new(repo: &git2::Repository, settings: &Settings, exclude: &[String]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("envctl-")
            .tempdir()
            .context("cannot create a temporary folder: is TMPDIR writable?")?;
        let work_tree = repo.workdir().context("the repository is bare")?.to_owned();
        let scratch = ScratchRepo { folder, work_tree };
        scratch.fill(repo, settings, exclude).context("cannot prepare the capture")?;
        Ok(scratch)
    }

    fn fill(&self, repo: &git2::Repository, settings: &Settings, exclude: &[String]) -> Result<()> {
        let own = self.folder.path();
        let common = repo.commondir();
        for dir in ["objects/info", "refs/heads", "info"] {
            fs::create_dir_all(own.join(dir))?;
        }
        fs::write(own.join("HEAD"), "ref: refs/heads/none\n")?;
        fs::write(own.join("config"), config_text(settings))?;
        let objects = common.join("objects");
        if objects.as_os_str().as_bytes().contains(&b'\n') {
            bail!("the path of the repository contains a line break");
        }
        fs::write(own.join("objects/info/alternates"), [objects.as_os_str().as_bytes(), b"\n"].concat())?;
        copy_if_there(&common.join("shallow"), &own.join("shallow"))?;
        let mut excluded = fs::read(common.join("info/exclude")).unwrap_or_default();
        for pattern in exclude {
            excluded.extend_from_slice(format!("\n{pattern}").as_bytes());
        }
        excluded.push(b'\n');
        fs::write(own.join("info/exclude"), excluded)?;
        if let Some(sparse) = &settings.sparse {
            fs::write(own.join("info/sparse-checkout"), sparse.patterns.join("\n") + "\n")?;
        }
        for name in ["index", "index.before"] {
            copy_with_time(&repo.path().join("index"), &own.join(name))?;
        }
        // A split index names its other half, which lies beside it.
        for entry in fs::read_dir(repo.path())?.flatten() {
            if entry.file_name().as_bytes().starts_with(b"sharedindex.") {
                copy_with_time(&entry.path(), &own.join(entry.file_name()))?;
            }
        }
        Ok(())
    }

    /// Where new objects and packs may be written.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A call of git that sees the scratch repository and the checkout's files.
    pub(super) fn git(&self, git: &Git) -> crate::git::Call {
        git.at(self.path()).env("GIT_WORK_TREE", &self.work_tree).cwd(&self.work_tree)
    }

    /// The checkout's index as it was when the capture began.
    pub(super) fn original_index(&self, git: &Git) -> Result<Vec<Entry>> {
        let path = self.path().join("index.before");
        if let Ok(entries) = index::read(&path) {
            return Ok(entries);
        }
        // Forms of the index that only the git program reads: split and sparse.
        self.git(git)
            .env("GIT_INDEX_FILE", &path)
            .args(["-c", "index.sparse=false", "update-index", "--no-split-index", "--force-write-index"])
            .run(b"")?;
        index::read(&path).context("cannot read the index")
    }

    /// Captures the working files, with the ignored ones that `include`
    /// matches or `named` lists.
    ///
    /// # Errors
    /// Also when a file cannot be read, or keeps changing.
    pub(super) fn scan(&self, git: &Git, include: &[String], named: &[Vec<u8>]) -> Result<Scan> {
        let before = self.original_index(git)?;
        let present = self.uncover(git, &before)?;
        let mut unstable = Vec::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(2 * TICK);
                // Forgotten, so that git reads them again whatever their times
                // say; and named, because some may be tracked and ignored.
                self.update_index(git, &["--force-remove"], &unstable)?;
                unstable.retain(|path| self.is_file(path));
                self.update_index(git, &["--add", "--remove", "--replace"], &unstable)?;
            }
            let started = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let added = self.add(git, include, named);
            if let Err(error) = added {
                // A file that vanished meanwhile is no failure the second time.
                if attempt == 0 && !is_refusal(&error) {
                    continue;
                }
                return Err(error);
            }
            let after = index::read(&self.path().join("index")).context("cannot read the captured index")?;
            refuse_gitlinks(&after)?;
            refuse_names(&after)?;
            refuse_lfs(&self.work_tree, &after)?;
            unstable = self.unstable(&before, &after, (started.tv_sec, started.tv_nsec));
            if unstable.is_empty() {
                // A partial clone lacks what a sparse checkout leaves out.
                let printed = self.git(git).args(["write-tree", "--missing-ok"]).run(b"")?;
                let tree = git2::Oid::from_str(String::from_utf8_lossy(&printed).trim())?;
                return Ok(Scan { tree, index: before, present });
            }
        }
        let names: Vec<String> =
            unstable.iter().take(3).map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Err(failure(format!("files keep changing while they are captured: {}", names.join(", ")))
            .hint("stop what writes to them, or list them under [snapshot] exclude, then publish again")
            .into())
    }

    fn add(&self, git: &Git, include: &[String], named: &[Vec<u8>]) -> Result<()> {
        let add =
            ["-c", "core.safecrlf=false", "-c", "advice.addEmbeddedRepo=false", "add", "--all", "--sparse", "--", "."];
        if self.work_tree.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            self.git(git).args(add).run(b"").context("cannot read the working files")?;
        }
        let there: Vec<Vec<u8>> = named.iter().filter(|path| self.is_file(path)).cloned().collect();
        self.update_index(git, &["--add"], &there)?;
        if include.is_empty() {
            return Ok(());
        }
        let listed = self
            .git(git)
            .args(["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--"])
            .args(include)
            .run(b"")?;
        let paths: Vec<Vec<u8>> =
            listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect();
        self.update_index(git, &["--add"], &paths)
    }

    /// Takes back promises not to look: for this capture every file counts.
    fn uncover(&self, git: &Git, entries: &[Entry]) -> Result<Vec<Vec<u8>>> {
        let assumed: Vec<Vec<u8>> =
            entries.iter().filter(|entry| entry.assume_unchanged).map(|entry| entry.path.clone()).collect();
        self.update_index(git, &["--no-assume-unchanged"], &assumed)?;
        let skipped = entries.iter().filter(|entry| entry.skip_worktree && self.lstat(&entry.path).is_some());
        let present: Vec<Vec<u8>> = skipped.map(|entry| entry.path.clone()).collect();
        self.update_index(git, &["--no-skip-worktree"], &present)?;
        Ok(present)
    }

    fn update_index(&self, git: &Git, options: &[&str], paths: &[Vec<u8>]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut input = paths.join(&0);
        input.push(0);
        self.git(git).args(["update-index"]).args(options).args(["-z", "--stdin"]).run(&input)?;
        Ok(())
    }

    /// Paths whose file is not what was read, or may have changed within the
    /// tick of the clock in which it was read.
    fn unstable(&self, before: &[Entry], after: &[Entry], started: (i64, i64)) -> Vec<Vec<u8>> {
        let known: std::collections::HashMap<&[u8], (git2::Oid, u32)> = before
            .iter()
            .filter(|entry| entry.stage == 0)
            .map(|entry| (&*entry.path, (entry.object, entry.mode)))
            .collect();
        let changed = after.iter().filter(|entry| known.get(&*entry.path) != Some(&(entry.object, entry.mode)));
        let limit = i128::from(started.0) * 1_000_000_000 + i128::from(started.1) - TICK.as_nanos() as i128;
        changed
            .filter(|entry| !entry.skip_worktree)
            .filter(|entry| {
                let ctime = i128::from(entry.stat.ctime.0) * 1_000_000_000 + i128::from(entry.stat.ctime.1);
                ctime >= limit || self.lstat(&entry.path) != Some(entry.stat)
            })
            .map(|entry| entry.path.clone())
            .collect()
    }

    /// Whether a file or a link stands there.
    fn is_file(&self, path: &[u8]) -> bool {
        let path = self.work_tree.join(std::ffi::OsStr::from_bytes(path));
        path.symlink_metadata().is_ok_and(|meta| meta.is_file() || meta.is_symlink())
    }

    fn lstat(&self, path: &[u8]) -> Option<Stat> {
        let path = self.work_tree.join(std::ffi::OsStr::from_bytes(path));
        rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| Stat::from(&stat))
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    crate::error::kind_of(error) == crate::error::Kind::Policy
}

fn refuse_gitlinks(entries: &[Entry]) -> Result<()> {
    match entries.iter().find(|entry| entry.mode == 0o160_000) {
        None => Ok(()),
        Some(entry) => Err(policy(format!(
            "{} is a nested repository, which snapshots do not carry yet",
            String::from_utf8_lossy(&entry.path)
        ))
        .hint("move it out of the checkout, or list it in .gitignore")
        .into()),
    }
}

/// Refuses names that no `enter` would restore.
fn refuse_names(entries: &[Entry]) -> Result<()> {
    for entry in entries {
        let mut components = entry.path.split(|byte| *byte == b'/').peekable();
        while let Some(name) = components.next() {
            let is_link = components.peek().is_none() && entry.mode == 0o120_000;
            check_entry_name(name, is_link).map_err(|fault| {
                policy(format!("{} cannot be in a snapshot: {fault}", String::from_utf8_lossy(&entry.path)))
                    .hint("rename it, or list it in .gitignore")
            })?;
        }
    }
    Ok(())
}

/// Refuses what a snapshot does not carry yet, by name.
pub(super) fn refuse_unsupported(repo: &git2::Repository, entries: &[Entry]) -> Result<()> {
    if let Some(entry) = entries.iter().find(|entry| entry.mode == 0o160_000) {
        return Err(policy(format!(
            "{} is a submodule, which snapshots do not carry yet",
            String::from_utf8_lossy(&entry.path)
        ))
        .hint("publish from a branch without submodules")
        .into());
    }
    let own = repo.commondir().join("info/attributes");
    if uses_lfs(&own) {
        return Err(lfs(&own).into());
    }
    refuse_lfs(repo.workdir().context("the repository is bare")?, entries)
}

fn refuse_lfs(work_tree: &Path, entries: &[Entry]) -> Result<()> {
    let is_attributes = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next() == Some(b".gitattributes");
    let files = entries.iter().filter(|entry| is_attributes(&entry.path));
    let mut paths = files.map(|entry| work_tree.join(std::ffi::OsStr::from_bytes(&entry.path)));
    paths.find(|path| uses_lfs(path)).map_or(Ok(()), |path| Err(lfs(&path).into()))
}

fn lfs(path: &Path) -> Fault {
    policy(format!("{} uses Git LFS, which snapshots do not carry yet", path.display()))
        .hint("publish from a branch without LFS files")
}

fn uses_lfs(attributes: &Path) -> bool {
    // As git does: no links, and nothing beyond its own limit.
    let is_file = attributes.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_ATTRIBUTES);
    let text = if is_file { fs::read(attributes).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&text).lines().any(|line| !line.starts_with('#') && line.contains("filter=lfs"))
}

/// Folders without entries, those that are ignored left out; a repository
/// inside the checkout is refused.
pub(super) fn empty_folders(repo: &git2::Repository, entries: &[Entry]) -> Result<Vec<GitPath>> {
    let work_tree = repo.workdir().context("the repository is bare")?;
    let mut tracked = std::collections::HashSet::new();
    for entry in entries {
        let mut path: &[u8] = &entry.path;
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..slash];
            if !tracked.insert(path) {
                break;
            }
        }
    }
    let mut empty = Vec::new();
    let mut pending = vec![Vec::new()];
    while let Some(folder) = pending.pop() {
        let full = work_tree.join(std::ffi::OsStr::from_bytes(&folder));
        let listing = fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))?;
        let mut count = 0;
        for entry in listing {
            let entry = entry.with_context(|| format!("cannot read {}", full.display()))?;
            count += 1;
            let name = entry.file_name();
            if name == ".git" {
                if folder.is_empty() {
                    count -= 1;
                    continue;
                }
                return Err(policy(format!(
                    "{} is a nested repository, which snapshots do not carry yet",
                    full.display()
                ))
                .hint("move it out of the checkout, or list it in .gitignore")
                .into());
            }
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let mut path = folder.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let as_folder = [&path[..], b"/"].concat();
            let ignored = || repo.is_path_ignored(Path::new(std::ffi::OsStr::from_bytes(&as_folder))).unwrap_or(false);
            if tracked.contains(&*path) || !ignored() {
                pending.push(path);
            }
        }
        if count == 0 && !folder.is_empty() {
            empty.push(GitPath(folder));
        }
    }
    empty.sort();
    Ok(empty)
}

fn copy_if_there(from: &Path, to: &Path) -> Result<()> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot copy {}", from.display())),
    }
}

/// Git reads a file again whose time is not older than that of the index: a
/// younger copy would hide what changed in the second of the last `git add`.
fn copy_with_time(from: &Path, to: &Path) -> Result<()> {
    copy_if_there(from, to)?;
    let Ok(modified) = from.metadata().and_then(|meta| meta.modified()) else { return Ok(()) };
    let copy = fs::OpenOptions::new().append(true).open(to)?;
    copy.set_modified(modified).with_context(|| format!("cannot set the time of {}", to.display()))
}

/// The whitelisted settings in git's syntax; nothing else of a repository's
/// config reaches the git program.
pub(super) fn config_text(settings: &Settings) -> String {
    let mut text = String::from("[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tsplitIndex = false\n");
    let mut line = |key: &str, value: &str| text.push_str(&format!("\t{key} = {value}\n"));
    match settings.autocrlf {
        Some(AutoCrlf::True) => line("autocrlf", "true"),
        Some(AutoCrlf::Input) => line("autocrlf", "input"),
        None => line("autocrlf", "false"),
    }
    match settings.eol {
        Some(Eol::Crlf) => line("eol", "crlf"),
        Some(Eol::Lf) => line("eol", "lf"),
        None => line("eol", "native"),
    }
    if let Some(file_mode) = settings.file_mode {
        line("filemode", if file_mode { "true" } else { "false" });
    }
    if let Some(sparse) = &settings.sparse {
        line("sparseCheckout", "true");
        line("sparseCheckoutCone", if sparse.cone { "true" } else { "false" });
    }
    text
}
