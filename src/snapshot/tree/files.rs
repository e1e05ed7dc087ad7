//! From a tree to files: each checked by name, created anew relative to an
//! open folder, never through a link, by two threads.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha1::{Digest as _, Sha1};

use crate::error::{integrity, of_thread};
use crate::git::{Call, Git, check_entry_name};
use crate::snapshot::format::bounds::MAX_TREE;
use crate::snapshot::format::index::Stat;
use crate::snapshot::paths::joined;

const DEPTH: usize = 1024;

/// Files and folders of one tree, and the bytes of all their paths: a few
/// objects can name others many times over.
pub(in crate::snapshot) const MOST_ENTRIES: usize = 1_000_000;
pub(in crate::snapshot) const MOST_PATHS: usize = 128 << 20;

/// Larger contents are written by git in a process of its own, not from memory.
pub(in crate::snapshot) const IN_MEMORY: usize = 16 << 20;

/// The mode of a submodule.
pub(in crate::snapshot) const SUBMODULE: u32 = 0o160_000;

/// One file of a tree, or one submodule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::snapshot) struct TreeFile {
    pub(in crate::snapshot) path: Vec<u8>,
    pub(in crate::snapshot) mode: u32,
    pub(in crate::snapshot) object: git2::Oid,
}

impl TreeFile {
    pub(in crate::snapshot) fn is_submodule(&self) -> bool {
        self.mode == SUBMODULE
    }
}

/// All files and submodules of a tree in path order, with every name checked.
pub(in crate::snapshot) fn flatten(repo: &git2::Repository, tree: git2::Oid) -> Result<Vec<TreeFile>> {
    let mut found = TreeWalk { files: Vec::new(), known: HashSet::new(), entries: MOST_ENTRIES, bytes: MOST_PATHS };
    let odb = repo.odb()?;
    walk((repo, &odb), tree, &mut Vec::new(), &mut found, 0)?;
    Ok(found.files)
}

/// What a walk has found, and what it may still find.
struct TreeWalk {
    files: Vec<TreeFile>,
    /// Trees that are of a size to be read.
    known: HashSet<git2::Oid>,
    entries: usize,
    bytes: usize,
}

fn walk(
    (repo, odb): (&git2::Repository, &git2::Odb<'_>),
    id: git2::Oid,
    path: &mut Vec<u8>,
    found: &mut TreeWalk,
    depth: usize,
) -> Result<()> {
    if depth > DEPTH {
        return Err(integrity("a tree is nested too deep").into());
    }
    let broken = |error: git2::Error| integrity(format!("tree {id} is missing or damaged: {}", error.message()));
    if found.known.insert(id) && odb.read_header(id).map_err(broken)?.0 > MAX_TREE {
        return Err(integrity(format!("tree {id} is too large")).into());
    }
    let tree = repo.find_tree(id).map_err(broken)?;
    let length = path.len();
    let mut names = HashSet::with_capacity(tree.len());
    for entry in tree.iter() {
        let (name, mode) = (entry.name_bytes(), entry.filemode_raw() as u32);
        check_entry_name(name, mode & 0o170_000 == 0o120_000)?;
        if !names.insert(name.to_owned()) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(integrity(format!("tree {id} has two entries with the name {name:?}")).into());
        }
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let left = (found.entries.checked_sub(1), found.bytes.checked_sub(path.len()));
        let (Some(entries), Some(bytes)) = left else {
            let why = format!("a tree has more than {MOST_ENTRIES} entries, or {} MB of paths", MOST_PATHS >> 20);
            return Err(integrity(why).into());
        };
        (found.entries, found.bytes) = (entries, bytes);
        let mut file = |mode| found.files.push(TreeFile { path: path.clone(), mode, object: entry.id() });
        match mode {
            0o040_000 => walk((repo, odb), entry.id(), path, found, depth + 1)?,
            // Early versions of git recorded that the group may write.
            0o100_644 | 0o100_664 => file(0o100_644),
            0o100_755 | 0o120_000 | SUBMODULE => file(mode),
            other => {
                let path = String::from_utf8_lossy(path).into_owned();
                return Err(integrity(format!("tree entry {path:?} has the unsupported mode {other:o}")).into());
            }
        }
        path.truncate(length);
    }
    Ok(())
}

/// Files that were written.
pub(in crate::snapshot) struct WrittenFiles {
    /// What `lstat` says about each, in order.
    pub(in crate::snapshot) stats: Vec<Stat>,
    /// Whether each is on disk as the tree has it: content by hash, and mode.
    pub(in crate::snapshot) exact: bool,
}

/// Writes `files` below `root`. Each content is hashed on its way, once: git's
/// library need not do it as well. Those that are `large` are never in memory.
///
/// # Errors
/// Also when anything is in the way.
pub(in crate::snapshot) fn write(
    (git, repo): (&Git, &git2::Repository),
    root: &Path,
    files: &[TreeFile],
    large: &HashSet<git2::Oid>,
) -> Result<WrittenFiles> {
    let top = rustix::fs::openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("cannot open {}", root.display()))?;
    make_folders(top.as_fd(), files)?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let share = files.len().div_ceil(workers).max(1);
    let git_dir = repo.path();
    git2::opts::strict_hash_verification(false);
    let parts = std::thread::scope(|scope| {
        let top = top.as_fd();
        let threads: Vec<_> =
            files.chunks(share).map(|part| scope.spawn(move || write_part((git, git_dir), top, part, large))).collect();
        threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
    });
    git2::opts::strict_hash_verification(true);
    let mut all = WrittenFiles { stats: Vec::with_capacity(files.len()), exact: true };
    for part in parts {
        let part = of_thread(part, "a thread that writes files")??;
        all.stats.extend(part.stats);
        all.exact &= part.exact;
    }
    Ok(all)
}

/// Files and links below a folder, its `.git` left out.
pub(in crate::snapshot) fn count(root: &Path) -> Result<usize> {
    let mut found = 0;
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                found += 1;
            } else if folder != *root || entry.file_name() != ".git" {
                pending.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// Makes a folder and those above it, never through a link: the tree may have
/// one where the list of empty folders has a folder.
pub(in crate::snapshot) fn make_folder(root: &Path, path: &[u8]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let shown = || format!("cannot create the folder {}", String::from_utf8_lossy(path));
    let mut folder = rustix::fs::openat(CWD, root, flags, Mode::empty()).with_context(shown)?;
    for name in path.split(|byte| *byte == b'/').map(OsStr::from_bytes) {
        match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(shown),
        }
        folder = match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let path = String::from_utf8_lossy(path);
                return Err(integrity(format!("the snapshot has the folder {path:?} where it also has a file")).into());
            }
            other => other.with_context(shown)?,
        };
    }
    Ok(())
}

fn make_folders(top: BorrowedFd<'_>, files: &[TreeFile]) -> Result<()> {
    let mut made: HashSet<&[u8]> = HashSet::new();
    for file in files {
        let mut ends = Vec::new();
        let mut path: &[u8] = &file.path;
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..slash];
            if !made.insert(path) {
                break;
            }
            ends.push(path);
        }
        for folder in ends.into_iter().rev() {
            rustix::fs::mkdirat(top, OsStr::from_bytes(folder), Mode::from_raw_mode(0o777))
                .with_context(|| format!("cannot create the folder {}", String::from_utf8_lossy(folder)))?;
        }
    }
    Ok(())
}

fn write_part(
    (git, git_dir): (&Git, &Path),
    top: BorrowedFd<'_>,
    files: &[TreeFile],
    large: &HashSet<git2::Oid>,
) -> Result<WrittenFiles> {
    let repo = git2::Repository::open(git_dir)?;
    let odb = repo.odb()?;
    let mut all = WrittenFiles { stats: Vec::with_capacity(files.len()), exact: true };
    let mut parent: (PathBuf, Option<OwnedFd>) = (PathBuf::new(), None);
    for file in files {
        let path = Path::new(OsStr::from_bytes(&file.path));
        let folder = path.parent().unwrap_or(Path::new(""));
        if parent.1.is_none() || parent.0 != folder {
            parent = (folder.to_owned(), Some(open_folder(top, folder)?));
        }
        let (Some(folder), Some(name)) = (&parent.1, path.file_name()) else { continue };
        let missing = |error: git2::Error| {
            integrity(format!("the content of {} is missing: {}", path.display(), error.message()))
        };
        let shown = || format!("cannot write {}", path.display());
        let (stat, size) = if large.contains(&file.object) {
            let size = odb.read_header(file.object).map_err(missing)?.0;
            let mut written = create(folder.as_fd(), name, file).with_context(shown)?;
            copy_large(git.aside(git_dir), file.object, size, &mut written).with_context(shown)?;
            (rustix::fs::fstat(&written)?, size)
        } else {
            let object = odb.read(file.object).map_err(missing)?;
            if blob_hash(object.data()) != file.object.as_bytes() {
                return Err(integrity(format!("the content of {} is damaged", path.display())).into());
            }
            (write_one(folder.as_fd(), name, file, object.data()).with_context(shown)?, object.len())
        };
        all.exact &= mode_of(&stat) == file.mode && stat.st_size as usize == size;
        all.stats.push(Stat::from(&stat));
    }
    Ok(all)
}

/// The mode that git would record for what is on disk.
fn mode_of(stat: &rustix::fs::Stat) -> u32 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => 0o120_000,
        _ if stat.st_mode & 0o100 != 0 => 0o100_755,
        _ => 0o100_644,
    }
}

fn blob_hash(content: &[u8]) -> [u8; 20] {
    let header = format!("blob {}\0", content.len());
    Sha1::new().chain_update(header).chain_update(content).finalize().into()
}

pub(in crate::snapshot) fn open_folder(top: BorrowedFd<'_>, folder: &Path) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let path = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(top, path, flags, Mode::empty(), resolve)
        .with_context(|| format!("cannot open the folder {}", folder.display()))
}

fn write_one(folder: BorrowedFd<'_>, name: &OsStr, file: &TreeFile, content: &[u8]) -> Result<rustix::fs::Stat> {
    if file.mode == 0o120_000 {
        let target = CString::new(content).map_err(|_| integrity("a symbolic link's target has a NUL byte"))?;
        rustix::fs::symlinkat(&target, folder, name)?;
        return Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?);
    }
    let mut file = create(folder, name, file)?;
    file.write_all(content)?;
    Ok(rustix::fs::fstat(&file)?)
}

fn create(folder: BorrowedFd<'_>, name: &OsStr, file: &TreeFile) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let permissions = match file.mode {
        0o100_755 => 0o777,
        0o120_000 => return Err(integrity("a symbolic link's target is too long").into()),
        _ => 0o666,
    };
    Ok(File::from(rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(permissions))?))
}

/// A call that prints a content without holding all of it in memory.
pub(in crate::snapshot) fn large_blob(call: Call, object: git2::Oid) -> Call {
    // Of the pack it maps this much at once, and not all.
    let windows = ["-c", "core.packedGitWindowSize=32m", "-c", "core.packedGitLimit=96m"];
    call.args(windows).args(["-c", "core.bigFileThreshold=16m", "cat-file", "blob", &object.to_string()])
}

/// Writes a content as git hands it out, never whole in memory.
fn copy_large(call: Call, object: git2::Oid, size: usize, to: &mut dyn Write) -> Result<()> {
    let mut hash = Sha1::new().chain_update(format!("blob {size}\0"));
    large_blob(call, object).stream(b"", |pipe| {
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = pipe.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            hash.update(&buffer[..count]);
            to.write_all(&buffer[..count])?;
        }
    })?;
    if hash.finalize()[..] == *object.as_bytes() { Ok(()) } else { Err(integrity("the content is damaged").into()) }
}

/// Puts a content in the place of a file that was written.
///
/// # Errors
/// When the content cannot be read to its end; the file is then as it was.
pub(in crate::snapshot) fn replace(
    repo: &git2::Repository,
    root: &Path,
    file: &TreeFile,
    content: impl FnOnce(&mut File) -> Result<()>,
) -> Result<Stat> {
    let path = Path::new(OsStr::from_bytes(&file.path));
    let shown = || format!("cannot write {}", path.display());
    let top = rustix::fs::openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let folder = open_folder(top.as_fd(), path.parent().unwrap_or(Path::new("")))?;
    let name = path.file_name().with_context(shown)?;
    let draft = repo.path().join("envctl-content");
    let _ = std::fs::remove_file(&draft);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let permissions = Mode::from_raw_mode(if file.mode == 0o100_755 { 0o777 } else { 0o666 });
    let mut new = File::from(rustix::fs::openat(CWD, &draft, flags, permissions).with_context(shown)?);
    if let Err(error) = content(&mut new) {
        let _ = std::fs::remove_file(&draft);
        return Err(error.context(shown()));
    }
    rustix::fs::renameat(CWD, &draft, &folder, name).with_context(shown)?;
    Ok(Stat::from(&rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// Writes a blob, large or not.
///
/// # Errors
/// When it is missing, or cannot be written.
pub(in crate::snapshot) fn copy_blob(
    git: &Git,
    repo: &git2::Repository,
    object: git2::Oid,
    to: &mut File,
) -> Result<()> {
    let (size, kind) = repo.odb()?.read_header(object)?;
    match kind {
        git2::ObjectType::Blob if size > IN_MEMORY => copy_large(git.aside(repo.path()), object, size, to),
        _ => Ok(to.write_all(repo.find_blob(object)?.content())?),
    }
}

/// Writes files of `tree` through the git program, with its conversions.
///
/// # Errors
/// When the program fails.
pub(in crate::snapshot) fn write_converted(
    (git, repo): (&Git, &git2::Repository),
    root: &Path,
    files: &[TreeFile],
    tree: git2::Oid,
) -> Result<WrittenFiles> {
    let index = repo.path().join("envctl-checkout-index");
    let call = || git.alone(repo.path()).env("GIT_WORK_TREE", root).env("GIT_INDEX_FILE", &index).cwd(root);
    call().args(["-c", "core.sparseCheckout=false", "read-tree"]).arg(&tree.to_string()).run(b"")?;
    let wanted: Vec<&[u8]> = files.iter().map(|file| &*file.path).collect();
    let write = call().args(["checkout-index", "-q", "-z", "--stdin"]);
    write.run(&joined(&wanted)).context("cannot write the working files")?;
    std::fs::remove_file(&index)?;
    let stat = |file: &TreeFile| match rustix::fs::statat(
        CWD,
        root.join(OsStr::from_bytes(&file.path)),
        AtFlags::SYMLINK_NOFOLLOW,
    ) {
        Ok(stat) => Ok(Stat::from(&stat)),
        Err(Errno::NOENT) => Ok(Stat::default()),
        Err(error) => Err(error.into()),
    };
    Ok(WrittenFiles { stats: files.iter().map(stat).collect::<Result<_>>()?, exact: false })
}
