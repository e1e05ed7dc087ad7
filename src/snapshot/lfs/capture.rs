//! Working files that Git LFS manages: read as git-lfs would read them, and
//! the contents that the remote may lack.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, OFlags};

use crate::digest::Digest;
use crate::error::{Fault, failure, policy};
use crate::git::Git;
use crate::git::lfs::{Contents, MAX_POINTER, Pointer};
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::contents::{self, WantedFile};
use crate::snapshot::format::index::{Entry, Stat};
use crate::snapshot::wire::{GitPath, LfsObject, Object};

/// Contents that were stored as blobs of the scratch repository.
#[derive(Debug)]
pub(in crate::snapshot) struct StoredLfs {
    found: BTreeMap<Digest, (Pointer, Vec<u8>, git2::Oid)>,
    /// The most that may travel, in bytes.
    limit: u64,
}

/// A content that is to be stored.
struct Pending {
    pointer: Pointer,
    path: Vec<u8>,
    place: LocalContent,
    /// As it was before it was read.
    stat: Stat,
}

/// Where a content is.
enum LocalContent {
    /// A path of the checkout.
    Checkout(Vec<u8>),
    /// In a store of git-lfs.
    Store(PathBuf),
}

impl LocalContent {
    fn open(&self, scratch: &ScratchRepo) -> Result<File> {
        match self {
            LocalContent::Checkout(path) => scratch.open(path),
            LocalContent::Store(path) => open(path),
        }
    }

    fn stat(&self, scratch: &ScratchRepo, file: &File) -> Result<Stat> {
        match self {
            LocalContent::Checkout(path) => scratch.stat_of(path, file),
            LocalContent::Store(_) => Ok(Stat::from(&rustix::fs::fstat(file)?)),
        }
    }
}

/// What a pointer of the snapshot names and nobody here has.
#[derive(Debug)]
pub(in crate::snapshot) struct Missing {
    pub(in crate::snapshot) path: Vec<u8>,
    /// In bytes.
    pub(in crate::snapshot) size: u64,
}

impl StoredLfs {
    pub(in crate::snapshot) fn new(limit: u64) -> Self {
        StoredLfs { found: BTreeMap::new(), limit }
    }

    /// Reads these working files. What the index has stays what the index has;
    /// of anything else the pointer stands in the tree, and the content is
    /// stored.
    ///
    /// # Errors
    /// When a file cannot be read, or too much would travel.
    pub(in crate::snapshot) fn read(
        &mut self,
        scratch: &ScratchRepo,
        index: &[Entry],
        paths: &[Vec<u8>],
    ) -> Result<Vec<Entry>> {
        let own = git2::Repository::open_bare(scratch.path())?;
        let odb = own.odb()?;
        let mut known: HashMap<&[u8], Vec<&Entry>> = paths.iter().map(|path| (&**path, Vec::new())).collect();
        for entry in index {
            if let Some(entries) = known.get_mut(&*entry.path) {
                entries.push(entry);
            }
        }
        let (mut entries, mut pending) = (Vec::new(), Vec::new());
        for path in paths {
            let Some(stat) = scratch.regular(path).map(|stat| Stat::from(&stat)) else { continue };
            let candidates = known.get(&**path).map_or(&[] as &[&Entry], Vec::as_slice);
            let shown = || format!("cannot read {}", String::from_utf8_lossy(path));
            let object = match read(scratch.open(path)?).with_context(shown)? {
                LfsFile::Itself(bytes) => own.blob(&bytes)?,
                LfsFile::Content(pointer) => {
                    let same = |entry: &&&Entry| pointer_in(&own, entry.object) == Some(pointer);
                    let whole = |entry: &&&Entry| is_content(&odb, entry.object, &pointer, || scratch.open(path));
                    match candidates.iter().find(same).or_else(|| candidates.iter().find(whole)) {
                        Some(entry) => entry.object,
                        None => {
                            let place = LocalContent::Checkout(path.clone());
                            pending.push(Pending { pointer, path: path.clone(), place, stat });
                            own.blob(pointer.text().as_bytes())?
                        }
                    }
                }
            };
            let mode = scratch.mode(path, candidates.iter().find(|entry| entry.stage == 0).copied());
            entries.push(Entry { mode, object, stat, ..Entry::plain(path) });
        }
        self.store(scratch, pending)?;
        Ok(entries)
    }

    /// Looks for the contents of every pointer among the objects that these
    /// revisions have and the remote does not.
    ///
    /// # Errors
    /// When git fails, or too much would travel.
    pub(in crate::snapshot) fn gather(
        mut self,
        scratch: &ScratchRepo,
        git: &Git,
        repo: &git2::Repository,
        revisions: &str,
        loose: &[git2::Oid],
    ) -> Result<(Vec<LfsObject>, Vec<Missing>)> {
        let own = git2::Repository::open_bare(scratch.path())?;
        let filter = format!("--filter=blob:limit={}", MAX_POINTER + 1);
        let listed = scratch.git(git).args(["rev-list", "--objects", &filter, "--stdin"]).run(revisions.as_bytes());
        let listed = listed.context("cannot list what the snapshot adds")?;
        let mut named: Vec<(Pointer, Vec<u8>)> = Vec::new();
        for line in listed.split(|byte| *byte == b'\n') {
            let (id, path) = line.split_at(line.len().min(40));
            let id = std::str::from_utf8(id).ok().and_then(|id| git2::Oid::from_str(id).ok());
            named.extend(
                id.and_then(|id| pointer_in(&own, id)).map(|pointer| (pointer, path.trim_ascii_start().to_vec())),
            );
        }
        named.extend(loose.iter().filter_map(|id| Some((pointer_in(&own, *id)?, Vec::new()))));
        let stores = stores(repo);
        let (mut pending, mut missing): (Vec<Pending>, Vec<Missing>) = (Vec::new(), Vec::new());
        let mut wanted = BTreeMap::new();
        for (pointer, path) in named.into_iter().filter(|(pointer, _)| !self.found.contains_key(&pointer.oid)) {
            wanted.entry(pointer.oid).or_insert((pointer, Vec::new())).1.push(path);
        }
        for (pointer, paths) in wanted.into_values() {
            let of_stores = stores.iter().filter_map(|store| store.find(&pointer)).map(LocalContent::Store);
            let of_files = paths.iter().map(|path| LocalContent::Checkout(path.clone()));
            let path = paths.first().cloned().unwrap_or_default();
            let found = |place: LocalContent| Some((holds(place.open(scratch).ok()?, &pointer)?, place));
            match of_stores.chain(of_files).find_map(found) {
                Some((stat, place)) => pending.push(Pending { pointer, path, place, stat }),
                None => missing.push(Missing { path, size: pointer.size }),
            }
        }
        self.store(scratch, pending)?;
        let object = |(pointer, path, object): (Pointer, Vec<u8>, git2::Oid)| LfsObject {
            path: GitPath(path),
            oid: pointer.oid,
            size: pointer.size,
            object: Object(object),
        };
        Ok((self.found.into_values().map(object).collect(), missing))
    }

    fn store(&mut self, scratch: &ScratchRepo, mut pending: Vec<Pending>) -> Result<()> {
        pending.retain(|content| !self.found.contains_key(&content.pointer.oid));
        if pending.is_empty() {
            return Ok(());
        }
        let before = self.found.values().map(|(pointer, ..)| pointer.size);
        let total: u64 = before.chain(pending.iter().map(|content| content.pointer.size)).sum();
        if total > self.limit {
            return Err(too_much(total, self.limit, &pending).into());
        }
        // The file whose content is known, before it is stored and after.
        let open = |content: &Pending| -> Result<File> {
            let file = content.place.open(scratch)?;
            if content.place.stat(scratch, &file)? != content.stat {
                let path = String::from_utf8_lossy(&content.path).into_owned();
                let changed = failure(format!("{path} changed while it was captured"));
                return Err(changed.hint("stop what writes to it, then publish again").into());
            }
            Ok(file)
        };
        let wanted: Vec<WantedFile<&Pending>> =
            pending.iter().map(|one| WantedFile { file: one, size: one.pointer.size, is_change: false }).collect();
        let stored = scratch.contents.store(&wanted, |one| open(one)).context("cannot store LFS files")?;
        for (content, id) in pending.into_iter().zip(stored) {
            open(&content)?;
            self.found.insert(content.pointer.oid, (content.pointer, content.path, id));
        }
        Ok(())
    }
}

fn too_much(total: u64, limit: u64, pending: &[Pending]) -> Fault {
    let names: Vec<_> = pending.iter().take(3).map(|content| String::from_utf8_lossy(&content.path)).collect();
    let mb = |bytes: u64| bytes.div_ceil(1 << 20);
    policy(format!(
        "LFS files that the remote lacks have {} MB, and no more than {} MB may travel: {}",
        mb(total),
        mb(limit),
        names.join(", ")
    ))
    .hint("commit and push them, or raise [snapshot] max_lfs in envctl.toml")
}

/// What a working file is to git-lfs.
enum LfsFile {
    /// A pointer already, or empty: it stands for itself.
    Itself(Vec<u8>),
    Content(Pointer),
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, rustix::fs::Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { bail!("{} is no file", path.display()) }
}

fn read(mut file: File) -> Result<LfsFile> {
    let mut start = Vec::new();
    (&mut file).take(MAX_POINTER as u64 + 1).read_to_end(&mut start)?;
    if start.is_empty() || Pointer::parse(&start).is_some() {
        return Ok(LfsFile::Itself(start));
    }
    Ok(LfsFile::Content(Pointer::to(&mut start.chain(file))?))
}

/// Whether a blob is a content itself, and no pointer: git lets that be where
/// attributes came after the file.
fn is_content(odb: &git2::Odb<'_>, blob: git2::Oid, pointer: &Pointer, open: impl Fn() -> Result<File>) -> bool {
    let is_as_large = odb.read_header(blob).is_ok_and(|(size, _)| size as u64 == pointer.size);
    is_as_large && open().and_then(contents::name_of).is_ok_and(|name| name == blob)
}

/// The state of a file that holds a content.
fn holds(file: File, pointer: &Pointer) -> Option<Stat> {
    let stat = Stat::from(&rustix::fs::fstat(&file).ok()?);
    match read(file) {
        Ok(LfsFile::Content(found)) if found == *pointer => Some(stat),
        _ => None,
    }
}

/// Whether a working file is what a blob points at.
pub(in crate::snapshot) fn is_content_of(repo: &git2::Repository, blob: git2::Oid, file: &Path) -> bool {
    pointer_in(repo, blob).is_some_and(|pointer| open(file).is_ok_and(|file| holds(file, &pointer).is_some()))
}

/// The pointer in a blob, where it is one.
pub(in crate::snapshot) fn pointer_in(repo: &git2::Repository, blob: git2::Oid) -> Option<Pointer> {
    let odb = repo.odb().ok()?;
    match odb.read_header(blob) {
        Ok((size, git2::ObjectType::Blob)) if size <= MAX_POINTER => Pointer::parse(odb.read(blob).ok()?.data()),
        _ => None,
    }
}

/// Where git-lfs keeps contents for a checkout.
fn stores(repo: &git2::Repository) -> Vec<Contents> {
    let configured = repo.config().and_then(|config| config.get_path("lfs.storage"));
    let configured = configured.map(|path| Contents::below(&repo.commondir().join(path)));
    std::iter::once(Contents::of(repo.commondir())).chain(configured).collect()
}
