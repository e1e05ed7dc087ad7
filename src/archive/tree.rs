//! What a tree holds, as one digest: names, types, modes, content, targets of
//! links and user attributes. Times and owners do not count: the same setup run
//! twice gives other times, and who owns a file depends on the machine.
//!
//! Everything is looked at relative to descriptors and without following a
//! link; content is hashed on all cores.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FileType, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::{Digest, Hasher};
use crate::error::of_thread;

const CHUNK: usize = 256 << 10;
/// Attributes that overlayfs would obey in a lower tree.
const OVERLAY: &str = "user.overlay.";

/// What was found in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeSummary {
    /// Of everything.
    pub digest: Digest,
    /// Bytes of file content.
    pub bytes: u64,
    /// Entries, the root not counted.
    pub entries: u64,
}

/// Runs something where a tree can be read; nothing but what it writes comes
/// back.
pub type RunInside<'a> = &'a dyn Fn(&dyn Fn() -> Result<()>) -> Result<()>;

/// The same for the tree at `tree`, read `inside`, once what has no place in a
/// sealed tree is taken away where `clean` says so.
///
/// # Errors
/// As [`summarise`], or those of `inside`.
pub fn summarise_inside(inside: RunInside<'_>, tree: &Path, clean: bool) -> Result<TreeSummary> {
    // Another process may write the answer, and no file must be left by one that dies.
    let answer = File::from(rustix::fs::memfd_create(c"envctl-summary", MemfdFlags::CLOEXEC)?);
    inside(&|| {
        let root = File::open(tree).with_context(|| format!("cannot open {}", tree.display()))?;
        if clean {
            sanitise(root.as_fd())?;
        }
        Ok(serde_json::to_writer(&answer, &summarise(root.as_fd())?)?)
    })?;
    (&answer).seek(SeekFrom::Start(0))?;
    serde_json::from_reader(&answer).context("nothing was found out")
}

/// The newest time in the tree at `tree`, read `inside`, that of folders too:
/// seconds and nanoseconds. And what `note` makes of the names of all that is in it, but
/// not in the folder `passed` of its root.
///
/// # Errors
/// When something cannot be read, or those of `inside`.
pub fn newest_inside<T>(
    inside: RunInside<'_>,
    tree: &Path,
    passed: Option<&str>,
    note: &dyn Fn(&mut T, &[u8]),
) -> Result<((i64, u32), T)>
where
    T: Default + Serialize + DeserializeOwned,
{
    let answer = File::from(rustix::fs::memfd_create(c"envctl-newest", MemfdFlags::CLOEXEC)?);
    inside(&|| {
        let root = File::open(tree).with_context(|| format!("cannot open {}", tree.display()))?;
        let mut noted = T::default();
        let newest = newest(root.as_fd(), passed, &mut |name| note(&mut noted, name))?;
        Ok(serde_json::to_writer(&answer, &(newest, noted))?)
    })?;
    (&answer).seek(SeekFrom::Start(0))?;
    serde_json::from_reader(&answer).context("nothing was found out")
}

fn newest(root: BorrowedFd<'_>, passed: Option<&str>, see: &mut dyn FnMut(&[u8])) -> io::Result<(i64, u32)> {
    let time = |stat: &rustix::fs::Stat| (stat.st_mtime, stat.st_mtime_nsec as u32);
    let mut newest = time(&rustix::fs::fstat(root)?);
    let mut pending: Vec<(OwnedFd, bool)> = vec![(open_folder(root, c".")?, true)];
    let mut passed = passed.map(str::as_bytes);
    while let Some((folder, seen)) = pending.pop() {
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            newest = newest.max(time(&stat));
            if seen {
                see(name.to_bytes());
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push((open_folder(folder.as_fd(), name)?, seen && Some(name.to_bytes()) != passed));
            }
        }
        // The root is the first.
        passed = None;
    }
    Ok(newest)
}

struct Node {
    /// From the root, components joined by `/`.
    path: Vec<u8>,
    kind: FileType,
    mode: u32,
    /// Bytes of a file, device number otherwise.
    size: u64,
}

/// Takes the digest of the tree below `root`, whose own mode counts too.
///
/// # Errors
/// When something cannot be read.
pub fn summarise(root: BorrowedFd<'_>) -> io::Result<TreeSummary> {
    let nodes = list(root)?;
    let contents = contents(root, &nodes)?;
    let mut hasher = Hasher::default();
    let mode = rustix::fs::fstat(root)?.st_mode & 0o1777;
    hasher.update(format!("envctl tree 1\nroot {mode:o}\n").as_bytes());
    let mut bytes = 0;
    for (node, content) in nodes.iter().zip(&contents) {
        let kind = match node.kind {
            FileType::RegularFile => 'f',
            FileType::Directory => 'd',
            FileType::Symlink => 'l',
            FileType::Fifo => 'p',
            FileType::Socket => 's',
            _ => 'n',
        };
        if node.kind == FileType::RegularFile {
            bytes += node.size;
        }
        hasher.update(format!("{kind} {:o} {} ", node.mode, node.size).as_bytes());
        hasher.update(&node.path);
        hasher.update(&[0]);
        hasher.update(content);
    }
    Ok(TreeSummary { digest: hasher.finish(), bytes, entries: nodes.len() as u64 })
}

/// All entries in the order of their paths' components.
fn list(root: BorrowedFd<'_>) -> io::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    let mut pending: Vec<(OwnedFd, Vec<u8>)> = vec![(open_folder(root, c".")?, Vec::new())];
    while let Some((folder, path)) = pending.pop() {
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let inner =
                if path.is_empty() { name.to_bytes().to_vec() } else { [&path, &b"/"[..], name.to_bytes()].concat() };
            if kind == FileType::Directory {
                pending.push((open_folder(folder.as_fd(), name)?, inner.clone()));
            }
            let size = match kind {
                FileType::RegularFile => stat.st_size as u64,
                FileType::CharacterDevice | FileType::BlockDevice => stat.st_rdev,
                _ => 0,
            };
            // The mode of a link means nothing; set-id bits are never kept.
            let mode = if kind == FileType::Symlink { 0 } else { stat.st_mode & 0o1777 };
            nodes.push(Node { path: inner, kind, mode, size });
        }
    }
    nodes.sort_by(|a, b| a.path.split(|byte| *byte == b'/').cmp(b.path.split(|byte| *byte == b'/')));
    Ok(nodes)
}

pub(super) fn open_folder(at: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// What each entry holds, hashed: 32 bytes, or none where there is nothing.
fn contents(root: BorrowedFd<'_>, nodes: &[Node]) -> io::Result<Vec<Vec<u8>>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    // Small shares, so that a large file on one side leaves the rest to others.
    let share = 256;
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, Vec<Vec<u8>>)>> {
        let mut done = Vec::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            let start = next.fetch_add(share, Ordering::Relaxed);
            let Some(part) = nodes.get(start..(start + share).min(nodes.len())).filter(|part| !part.is_empty()) else {
                return Ok(done);
            };
            let mut parent: Option<(Vec<u8>, OwnedFd)> = None;
            let mut hashes = Vec::with_capacity(part.len());
            for node in part {
                hashes.push(content(root, node, &mut parent, &mut buffer)?);
            }
            done.push((start, hashes));
        }
    };
    let mut all: Vec<(usize, Vec<Vec<u8>>)> = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let part = of_thread(thread.join(), "a thread that hashes files").map_err(io::Error::other)?;
            all.extend(part?);
        }
        Ok::<_, io::Error>(())
    })?;
    all.sort_by_key(|(start, _)| *start);
    Ok(all.into_iter().flat_map(|(_, hashes)| hashes).collect())
}

/// A larger file of holes is no content, in bytes: to read it takes for ever, and to
/// make it takes nothing.
const HOLES: i64 = 16 << 30;

fn content(
    root: BorrowedFd<'_>,
    node: &Node,
    parent: &mut Option<(Vec<u8>, OwnedFd)>,
    buffer: &mut [u8],
) -> io::Result<Vec<u8>> {
    let (folder, name) = match node.path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&node.path[..slash], &node.path[slash + 1..]),
        None => (&b"."[..], &node.path[..]),
    };
    if parent.as_ref().is_none_or(|(known, _)| known != folder) {
        let path = CString::new(folder)?;
        *parent = Some((folder.to_vec(), open_folder(root, &path)?));
    }
    let (Some((_, folder)), name) = (&*parent, CString::new(name)?) else { return Err(io::ErrorKind::NotFound.into()) };
    match node.kind {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(folder, &name, flags, Mode::empty())?);
            let stat = rustix::fs::fstat(&file)?;
            if stat.st_size > HOLES && stat.st_blocks.saturating_mul(512) < stat.st_size / 16 {
                let name = String::from_utf8_lossy(&node.path).into_owned();
                return Err(io::Error::other(format!(
                    "{name} is a file of {} bytes that is nearly all holes",
                    stat.st_size
                )));
            }
            let mut hasher = Sha256::new();
            loop {
                match file.read(buffer)? {
                    0 => break,
                    count => hasher.update(&buffer[..count]),
                }
            }
            attributes(&file, &mut hasher)?;
            Ok(hasher.finalize().to_vec())
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, &name, Vec::new())?;
            Ok(Sha256::digest(target.as_bytes()).to_vec())
        }
        _ => Ok(Vec::new()),
    }
}

/// User attributes, in order.
fn attributes(file: &File, hasher: &mut Sha256) -> io::Result<()> {
    for name in attribute_names(file)? {
        let value = attribute(file, &name)?;
        hasher.update(format!("\0{name}={}\0", value.len()));
        hasher.update(&value);
    }
    Ok(())
}

/// The names of a file's user attributes, sorted, without those of overlayfs.
pub(super) fn attribute_names(file: &File) -> io::Result<Vec<String>> {
    let mut list = vec![0; 1024];
    let length = loop {
        match rustix::fs::flistxattr(file, &mut list) {
            Ok(length) => break length,
            Err(rustix::io::Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(rustix::io::Errno::OPNOTSUPP) => break 0,
            Err(error) => return Err(error.into()),
        }
    };
    let names = list[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("user.") && !name.starts_with(OVERLAY)).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// The value of one attribute.
pub(super) fn attribute(file: &File, name: &str) -> io::Result<Vec<u8>> {
    let mut value = vec![0; 64 << 10];
    let length = rustix::fs::fgetxattr(file, name, &mut value)?;
    value.truncate(length);
    Ok(value)
}

/// Takes away what has no place in a sealed tree: attributes that overlayfs
/// would obey, set-id bits, sockets, and devices, one of which would be a
/// whiteout. Returns how many entries that changed.
///
/// # Errors
/// When something cannot be changed.
pub fn sanitise(root: BorrowedFd<'_>) -> io::Result<u64> {
    let mut changed = 0;
    let mut pending: Vec<OwnedFd> = vec![open_folder(root, c".")?];
    while let Some(folder) = pending.pop() {
        changed += u64::from(drop_overlay_attributes(&folder)?);
        let entries = Dir::read_from(&folder)?.collect::<Result<Vec<_>, _>>()?;
        for entry in entries {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            match kind {
                FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => {
                    rustix::fs::unlinkat(&folder, name, AtFlags::empty())?;
                    changed += 1;
                }
                FileType::Directory | FileType::RegularFile if stat.st_mode & 0o6000 != 0 => {
                    rustix::fs::chmodat(&folder, name, Mode::from_raw_mode(stat.st_mode & 0o1777), AtFlags::empty())?;
                    changed += 1;
                }
                _ => {}
            }
            if kind == FileType::Directory {
                pending.push(open_folder(folder.as_fd(), name)?);
            }
        }
    }
    Ok(changed)
}

fn drop_overlay_attributes(folder: &OwnedFd) -> io::Result<bool> {
    let mut any = false;
    for name in ["user.overlay.opaque", "user.overlay.redirect", "user.overlay.origin", "user.overlay.impure"] {
        match rustix::fs::fremovexattr(folder, name) {
            Ok(()) => any = true,
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(any)
}

/// Walks two trees side by side: what is in one alone, and what differs, at
/// most `most` paths. `-` is in the first alone, `+` in the second, `M` in both.
///
/// # Errors
/// When something cannot be read.
pub fn compare(a: BorrowedFd<'_>, b: BorrowedFd<'_>, most: usize) -> io::Result<Vec<(char, Vec<u8>)>> {
    type Described = std::collections::BTreeMap<Vec<u8>, (u32, u32, u64, Vec<u8>)>;
    let described = |root| -> io::Result<Described> {
        let nodes = list(root)?;
        let contents = contents(root, &nodes)?;
        let describe =
            |(node, content): (Node, Vec<u8>)| (node.path, (node.kind.as_raw_mode(), node.mode, node.size, content));
        Ok(nodes.into_iter().zip(contents).map(describe).collect())
    };
    let (a, b) = (described(a)?, described(b)?);
    let mut found: Vec<(char, Vec<u8>)> = Vec::new();
    for (path, here) in &a {
        match b.get(path) {
            None => found.push(('-', path.clone())),
            Some(there) if there != here => found.push(('M', path.clone())),
            Some(_) => {}
        }
    }
    found.extend(b.keys().filter(|path| !a.contains_key(*path)).map(|path| ('+', path.clone())));
    found.sort_by(|x, y| x.1.cmp(&y.1));
    found.truncate(most);
    Ok(found)
}
