//! A repository of ours that sees a checkout's files, index and objects
//! without obeying its configuration: own config (only the whitelisted
//! settings), a copy of the index, own object folder with the checkout's
//! objects as an alternate. Hooks, filters, monitors and aliases of the
//! checkout are therefore never seen by the git program.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::aside::CopiesForGit;
use super::restless::Copies;
use crate::disk::beneath::Beneath;
use crate::disk::plain::{self, Miss};
use crate::disk::scratch::Scratch;
use crate::git::{Call, Git, MAX_INDEX};
use crate::snapshot::contents::StoredContents;
use crate::snapshot::format::document::{AutoCrlf, Eol, Settings};
use crate::snapshot::format::index::{self, Entry, Stat};
use crate::snapshot::paths::{joined, path_of};
use crate::snapshot::tree::attributes::{MAX_ATTRIBUTES, is_attributes};

/// How its folder begins, in the folder for temporary files.
pub const CAPTURE: &str = ".envctl-capture-";

const MAX_LIST: u64 = 64 << 20;

/// The scratch repository; gone when dropped, or when its maker is dead and
/// another one is made.
#[derive(Debug)]
pub(in crate::snapshot) struct ScratchRepo {
    folder: Scratch,
    pub(in crate::snapshot) work_tree: PathBuf,
    /// The checkout's files: reached through no link.
    pub(in crate::snapshot) files: Beneath,
    /// The settings that it has.
    pub(in crate::snapshot) settings: Settings,
    /// What was stored of its files.
    pub(in crate::snapshot) contents: StoredContents,
    /// Files that never rest: read from a copy.
    copies: Copies,
    /// Whether the checkout's own configuration names a list of ignored files.
    own_rules: bool,
}

impl ScratchRepo {
    /// Prepares one in the folder for temporary files.
    pub(in crate::snapshot) fn new(
        repo: &git2::Repository,
        head: git2::Oid,
        settings: &Settings,
        exclude: &[String],
    ) -> Result<Self> {
        let folder = Scratch::create_in(&std::env::temp_dir(), CAPTURE)
            .context("cannot create a temporary folder: is TMPDIR writable?")?;
        let work_tree = repo.workdir().context("the repository is bare")?.to_owned();
        let files = Beneath::open(&work_tree)?;
        let rules = own_rules(repo, &work_tree)?;
        let contents = StoredContents::of(folder.path());
        let own_rules = rules.is_some();
        let copies = Copies::default();
        let settings_too = settings.clone();
        let scratch = ScratchRepo { folder, work_tree, files, settings: settings_too, contents, copies, own_rules };
        if let Some(rules) = rules {
            fs::write(scratch.own_rules(), rules)?;
        }
        scratch.fill(repo, head, settings, exclude).context("cannot prepare the capture")?;
        Ok(scratch)
    }

    fn fill(&self, repo: &git2::Repository, head: git2::Oid, settings: &Settings, exclude: &[String]) -> Result<()> {
        let own = self.folder.path();
        let common = repo.commondir();
        let (shared, private) = (Beneath::open(common)?, Beneath::open(repo.path())?);
        for dir in ["objects/info", "refs/heads", "info", "attributes"] {
            fs::create_dir_all(own.join(dir))?;
        }
        fs::write(own.join("HEAD"), format!("{head}\n"))?;
        fs::write(own.join("config"), config_text(settings))?;
        let objects = common.join("objects");
        if objects.as_os_str().as_bytes().contains(&b'\n') {
            bail!("the path of the repository contains a line break");
        }
        fs::write(own.join("objects/info/alternates"), [objects.as_os_str().as_bytes(), b"\n"].concat())?;
        copy(&shared, "shallow".as_ref(), &own.join("shallow"), MAX_LIST)?;
        let mut excluded = shared.read("info/exclude".as_ref(), MAX_LIST)?.unwrap_or_default();
        for pattern in exclude {
            excluded.extend_from_slice(format!("\n{pattern}").as_bytes());
        }
        // Where TMPDIR is in the checkout.
        excluded.extend_from_slice(format!("\n{CAPTURE}*/\n").as_bytes());
        fs::write(own.join("info/exclude"), excluded)?;
        if let Some(attributes) = &settings.attributes {
            fs::write(own.join("info/attributes"), &attributes.0)?;
        }
        if let Some((_, Some(patterns))) = settings.sparse() {
            fs::write(own.join("info/sparse-checkout"), patterns)?;
        }
        copy(&private, "index".as_ref(), &own.join("index"), MAX_INDEX)?;
        // A split index names its other half, which lies beside it.
        for entry in fs::read_dir(repo.path())?.flatten() {
            if entry.file_name().as_bytes().starts_with(b"sharedindex.") {
                copy(&private, entry.file_name().as_ref(), &own.join(entry.file_name()), MAX_INDEX)?;
            }
        }
        Ok(())
    }

    /// Where new objects and packs may be written.
    pub(in crate::snapshot) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A call of git that sees the scratch repository and the checkout's files.
    pub(in crate::snapshot) fn git(&self, git: &Git) -> Call {
        let mut call = git.aside(self.path());
        if self.own_rules {
            // Instead of the developer's.
            let mut setting = std::ffi::OsString::from("core.excludesFile=");
            setting.push(self.own_rules());
            call = call.args(["-c".into(), setting]);
        }
        call.env("GIT_WORK_TREE", &self.work_tree).cwd(&self.work_tree)
    }

    /// Where the checkout's own list of ignored files is, if it has one.
    fn own_rules(&self) -> PathBuf {
        self.path().join("info.exclude")
    }

    /// The same, where it has one.
    pub(in crate::snapshot) fn rules_of_its_own(&self) -> Option<PathBuf> {
        self.own_rules.then(|| self.own_rules())
    }

    /// A call of git that sees the attributes which the snapshot will have, and
    /// no files: it writes as a restore does. In the checkout git also goes by
    /// removed ones that the index still has.
    pub(in crate::snapshot) fn git_as_restored(&self, git: &Git) -> Call {
        let aside = self.attributes();
        let call = git.alone(self.path()).env("GIT_WORK_TREE", aside.folder()).cwd(aside.folder());
        call.env("GIT_INDEX_FILE", self.path().join("index.none"))
    }

    /// A folder with the attributes, and copies of what git is to read.
    pub(in crate::snapshot) fn attributes(&self) -> CopiesForGit {
        CopiesForGit::in_folder(self.path().join("attributes"))
    }

    /// Sets aside the attributes which the snapshot will have: those of the
    /// index, as the checkout has them, and of `more` paths.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(in crate::snapshot) fn set_attributes_aside(&self, index: &[Entry], more: &[Vec<u8>]) -> Result<()> {
        let aside = self.attributes();
        let place = |path: &[u8]| aside.create(path_of(path), 0o644);
        let own = git2::Repository::open_bare(self.path())?;
        let absent = |entry: &&Entry| entry.skip_worktree && self.stat(&entry.path).is_none();
        for entry in index.iter().filter(|entry| is_attributes(&entry.path)).filter(absent) {
            if let Ok(blob) = own.find_blob(entry.object) {
                place(&entry.path)?.write_all(blob.content())?;
            }
        }
        let paths = index.iter().map(|entry| &entry.path).chain(more).filter(|path| is_attributes(path));
        for path in paths {
            if let Ok(file) = self.open(path) {
                std::io::copy(&mut file.take(MAX_ATTRIBUTES), &mut place(path)?)?;
            }
        }
        Ok(())
    }

    /// The checkout's index as it was when the capture began.
    pub(in crate::snapshot) fn original_index(&self, git: &Git) -> Result<Vec<Entry>> {
        let path = self.path().join("index");
        if let Ok(entries) = index::read(&path) {
            return Ok(entries);
        }
        // Forms of the index that only the git program reads: split and sparse.
        self.git(git)
            .args(["-c", "index.sparse=false", "update-index", "--no-split-index", "--force-write-index"])
            .run(b"")?;
        index::read(&path).context("cannot read the index")
    }

    /// When the index was last written: seconds and nanoseconds.
    pub(in crate::snapshot) fn index_written(&self) -> Result<(i64, i64)> {
        match self.path().join("index").symlink_metadata() {
            Ok(meta) => Ok((meta.mtime(), meta.mtime_nsec())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((0, 0)),
            Err(error) => Err(error).context("cannot look at the index"),
        }
    }

    /// Forgets what the index says about times and sizes, so that git reads
    /// every file.
    pub(in crate::snapshot) fn distrust(&self, git: &Git) -> Result<()> {
        let mut entries = self.original_index(git)?;
        entries.iter_mut().for_each(|entry| entry.stat = Stat::default());
        index::write(&self.path().join("index"), &mut entries)
    }

    /// Takes back promises not to look: for this capture every file counts.
    pub(in crate::snapshot) fn uncover(&self, git: &Git, entries: &[Entry], present: &[Vec<u8>]) -> Result<()> {
        let assumed: Vec<Vec<u8>> =
            entries.iter().filter(|entry| entry.assume_unchanged).map(|entry| entry.path.clone()).collect();
        self.update_index(git, &["--no-assume-unchanged"], &assumed)?;
        self.update_index(git, &["--no-skip-worktree"], present)
    }

    fn update_index(&self, git: &Git, options: &[&str], paths: &[Vec<u8>]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        self.git(git).args(["update-index"]).args(options).args(["-z", "--stdin"]).run(&joined(paths))?;
        Ok(())
    }

    /// Opens a regular file of the checkout.
    ///
    /// # Errors
    /// When there is none, or a link leads there.
    pub(in crate::snapshot) fn open(&self, path: &[u8]) -> Result<File> {
        let shown = || format!("cannot read {}", String::from_utf8_lossy(path));
        if let Some((copy, _)) = self.copies.of(path) {
            return File::open(copy).with_context(shown);
        }
        self.files.file(path_of(path)).map_err(|miss| match miss {
            Miss::Failed(error) => anyhow::Error::new(error).context(shown()),
            Miss::Absent => anyhow::anyhow!("it is gone").context(shown()),
            Miss::Link | Miss::NoFile => anyhow::anyhow!("it is no regular file any more").context(shown()),
        })
    }

    /// What `lstat` says about a path of the checkout; `None` also where a
    /// link leads there.
    pub(in crate::snapshot) fn stat(&self, path: &[u8]) -> Option<rustix::fs::Stat> {
        match self.copies.of(path) {
            Some((_, stat)) => Some(stat),
            None => self.files.stat(path_of(path)),
        }
    }

    /// What `fstat` says about a file that was opened here; of a copy, what it said about
    /// the file that was copied.
    pub(in crate::snapshot) fn stat_of(&self, path: &[u8], file: &File) -> Result<Stat> {
        match self.copies.of(path) {
            Some((_, stat)) => Ok(Stat::from(&stat)),
            None => Ok(Stat::from(&rustix::fs::fstat(file)?)),
        }
    }

    /// Copies a regular file that never rests; from then on it is what the copy is.
    /// False where it does not stay what it was, or is something else.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub(in crate::snapshot) fn hold(&self, path: &[u8]) -> Result<bool> {
        let Some(file) = self.regular(path).and_then(|_| self.open(path).ok()) else { return Ok(false) };
        self.copies.take(&self.path().join("copies"), path, file)
    }

    /// Where a path of the checkout is.
    pub(in crate::snapshot) fn full(&self, path: &[u8]) -> PathBuf {
        self.work_tree.join(std::ffi::OsStr::from_bytes(path))
    }

    /// The mode that git would record for a regular file: where executable
    /// bits mean nothing, the one that the index has.
    pub(in crate::snapshot) fn mode(&self, path: &[u8], indexed: Option<&Entry>) -> u32 {
        let executable = || self.stat(path).is_some_and(|stat| stat.st_mode & 0o100 != 0);
        let trusted = self.settings.file_mode != Some(false);
        match indexed.filter(|entry| entry.mode & 0o170_000 == 0o100_000) {
            Some(entry) if !trusted => entry.mode,
            _ if trusted && executable() => 0o100_755,
            _ => 0o100_644,
        }
    }

    /// Whether the system does not let this process read a file.
    pub(in crate::snapshot) fn is_refused(&self, path: &[u8]) -> bool {
        matches!(self.files.file(path_of(path)), Err(Miss::Failed(Errno::ACCESS | Errno::PERM)))
    }

    /// Whether a file or a link stands there, and no link leads there.
    pub(in crate::snapshot) fn is_file(&self, path: &[u8]) -> bool {
        let kind = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode);
        matches!(self.stat(path).map(kind), Some(FileType::RegularFile | FileType::Symlink))
    }

    /// The same for a regular file.
    pub(in crate::snapshot) fn regular(&self, path: &[u8]) -> Option<rustix::fs::Stat> {
        self.stat(path).filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    /// Whether a folder is there, and no link leads there.
    pub(in crate::snapshot) fn is_folder(&self, path: &[u8]) -> bool {
        self.stat(path).is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    pub(in crate::snapshot) fn lstat(&self, path: &[u8]) -> Option<Stat> {
        self.stat(path).map(|stat| Stat::from(&stat))
    }
}

/// The list of ignored files that the configuration of the checkout itself names.
fn own_rules(repo: &git2::Repository, work_tree: &Path) -> Result<Option<Vec<u8>>> {
    let config = repo.config()?.snapshot()?;
    let key = "core.excludesfile";
    let Ok(entry) = config.get_entry(key) else { return Ok(None) };
    if !matches!(entry.level(), git2::ConfigLevel::Local | git2::ConfigLevel::Worktree) {
        return Ok(None);
    }
    let path = work_tree.join(config.get_path(key).unwrap_or_default());
    match plain::open(&path) {
        Ok(file) => {
            let mut rules = Vec::new();
            file.take(MAX_LIST).read_to_end(&mut rules).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Some(rules))
        }
        // As git has it: none at all, and not the developer's.
        Err(_) => Ok(Some(Vec::new())),
    }
}

/// Copies a file of a git folder, with its time. Git reads a file again whose
/// time is not older than that of the index: a younger copy would hide what
/// changed in the second of the last `git add`.
fn copy(from: &Beneath, name: &Path, to: &Path, limit: u64) -> Result<()> {
    let Some(file) = from.expect(name, limit)? else { return Ok(()) };
    let shown = || format!("cannot copy {}", name.display());
    let modified = file.metadata().and_then(|meta| meta.modified()).with_context(shown)?;
    let mut copy = File::create(to).with_context(shown)?;
    std::io::copy(&mut file.take(limit), &mut copy).with_context(shown)?;
    copy.set_modified(modified).with_context(shown)
}

/// The whitelisted settings in git's syntax; nothing else of a repository's
/// config reaches the git program.
fn config_text(settings: &Settings) -> String {
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
    if let Some((cone, _)) = settings.sparse() {
        line("sparseCheckout", "true");
        line("sparseCheckoutCone", if cone { "true" } else { "false" });
    }
    text
}
