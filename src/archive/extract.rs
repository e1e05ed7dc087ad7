//! A tar into a file tree that overlayfs can use as a lower folder.
//!
//! Invariants: every access is relative to the descriptor of the root, which
//! is opened once; names resolve with `RESOLVE_IN_ROOT`, so that no link in
//! the layer leads outside; nothing that exists is ever opened for writing;
//! modes, owners and times go through the descriptor just made.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::path::{Marker, components, marker};
use super::shown::short;
use super::tar::{EntryKind, Tar, TarEntry, bad};

/// Entries of one layer; more is no image but an attack on the inodes.
const MAX_ENTRIES: u64 = 20_000_000;
/// Bytes of paths that are kept until the end, for what can be set only then.
const MAX_KEPT: usize = 256 << 20;
/// Cached descriptors of folders.
const MAX_CACHED: usize = 256;

/// What an extraction did and left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entries read.
    pub entries: u64,
    /// Bytes of file content written.
    pub bytes: u64,
    /// Device nodes left out.
    pub devices: u64,
    /// Files whose setuid or setgid bit was dropped.
    pub setid: u64,
    /// Extended attributes dropped, file capabilities among them.
    pub xattrs: u64,
    /// The layer hides all layers below it. The kernel merges the root folder
    /// of every layer, so those below must be left out.
    #[serde(default)]
    pub opaque_root: bool,
}

/// Owner of one entry that differs from the extracting user's, to be settled
/// after extraction by whoever may change owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Path below the root.
    pub path: CString,
    /// User inside the image.
    pub uid: u32,
    /// Group inside the image.
    pub gid: u32,
}

/// What an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// An image layer: names that begin with `.wh.` take something away.
    Layer,
    /// A tree as it is.
    Tree,
}

struct OpenFolder {
    path: Vec<u8>,
    mode: u32,
    mtime: (i64, u32),
}

/// Writes entries below one root.
pub(super) struct Extractor<'a> {
    root: BorrowedFd<'a>,
    cache: HashMap<Vec<u8>, Arc<OwnedFd>>,
    folders: Vec<OpenFolder>,
    owners: Vec<Owned>,
    /// Owner that needs no settling.
    default_owner: (u32, u32),
    umask: u32,
    kind: ArchiveKind,
    counts: Counts,
    buffer: Vec<u8>,
    /// Folders that the layer does not list, in which only markers lie.
    bare: HashSet<Vec<u8>>,
    /// Bytes of the paths in `folders`, `owners` and `bare`.
    kept: usize,
}

impl<'a> Extractor<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, default_owner: (u32, u32), umask: u32, kind: ArchiveKind) -> Self {
        Extractor {
            root,
            cache: HashMap::new(),
            folders: Vec::new(),
            owners: Vec::new(),
            default_owner,
            umask,
            kind,
            counts: Counts::default(),
            buffer: vec![0; 128 << 10],
            bare: HashSet::new(),
            kept: 0,
        }
    }

    /// Extracts everything; returns what was done and whose owner to settle.
    pub(super) fn run<R: Read>(mut self, tar: &mut Tar<R>) -> io::Result<(Counts, Vec<Owned>)> {
        while let Some(entry) = tar.next()? {
            self.counts.entries += 1;
            if self.counts.entries > MAX_ENTRIES {
                return Err(bad(format!("more than {MAX_ENTRIES} entries")));
            }
            self.entry(&entry, tar).map_err(|error| named(error, &entry.path))?;
            if self.kept > MAX_KEPT {
                return Err(bad(format!("the names of its folders take more than {MAX_KEPT} bytes")));
            }
        }
        self.finish_folders()?;
        Ok((self.counts, self.owners))
    }

    fn entry<R: Read>(&mut self, entry: &TarEntry, tar: &mut Tar<R>) -> io::Result<()> {
        let parts = components(&entry.path)?;
        self.check_xattrs(entry)?;
        let Some((name, parents)) = parts.split_last() else {
            if entry.kind != EntryKind::Directory {
                return Err(bad("the layer's root is not a folder"));
            }
            self.folder_settings(Vec::new(), entry);
            // The root of an image belongs to its user's root, whatever a layer says.
            return if self.kind == ArchiveKind::Tree { self.own(b".".to_vec(), entry) } else { Ok(()) };
        };
        let full = parts.join(&b'/');
        // Some builders link all their whiteouts to one.
        if self.kind == ArchiveKind::Layer
            && matches!(entry.kind, EntryKind::File | EntryKind::HardLink)
            && let Some(marker) = marker(name)?
        {
            self.counts.opaque_root |= parents.is_empty() && matches!(marker, Marker::Opaque);
            return self.marker(marker, parents);
        }
        let parent = self.parent(parents)?;
        self.fill(parents);
        let name = c_string(name)?;
        match entry.kind {
            EntryKind::Directory => return self.directory(&parent, &name, full, entry),
            EntryKind::File => self.file(&parent, &name, entry, tar)?,
            EntryKind::HardLink => return self.hard_link(&parent, &name, entry),
            EntryKind::Symlink => {
                let target = c_string(&entry.link)?;
                self.replace(&parent, &name, |parent, name| rustix::fs::symlinkat(&target, parent, name))?;
                let times = times(entry.mtime);
                rustix::fs::utimensat(&*parent, &name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            EntryKind::Fifo => {
                self.replace(&parent, &name, |parent, name| {
                    rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::from_raw_mode(entry.mode & 0o777), 0)
                })?;
                rustix::fs::utimensat(&*parent, &name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            EntryKind::CharDevice(0, 0) => {
                return Err(bad("a raw overlay whiteout (character device 0/0)"));
            }
            EntryKind::CharDevice(..) | EntryKind::BlockDevice => {
                self.counts.devices += 1;
                return Ok(());
            }
        }
        self.own(full, entry)
    }

    fn file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        entry: &TarEntry,
        tar: &mut Tar<R>,
    ) -> io::Result<()> {
        if entry.mode & 0o6000 != 0 {
            self.counts.setid += 1;
        }
        let mode = entry.mode & 0o1777;
        // Attributes can be set by who may write to it.
        let first = if entry.xattrs.iter().any(|(key, _)| is_kept(key)) { mode | 0o200 } else { mode };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut created = None;
        self.replace(parent, name, |parent, name| {
            created = Some(rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(first))?);
            Ok(())
        })?;
        let Some(file) = created else { return Err(io::ErrorKind::NotFound.into()) };
        let mut body = tar.body();
        loop {
            let count = body.read(&mut self.buffer)?;
            if count == 0 {
                break;
            }
            let mut rest = &self.buffer[..count];
            while !rest.is_empty() {
                let written = rustix::io::write(&file, rest)?;
                rest = &rest[written..];
            }
            self.counts.bytes += count as u64;
        }
        for (key, value) in &entry.xattrs {
            if is_kept(key) {
                rustix::fs::fsetxattr(&file, key.as_str(), value, XattrFlags::empty())
                    .map_err(|error| unsettable(key, value.len(), error))?;
            } else {
                self.counts.xattrs += 1;
            }
        }
        if mode & self.umask != 0 || mode & 0o1000 != 0 || first != mode {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        }
        rustix::fs::futimens(&file, &times(entry.mtime))?;
        Ok(())
    }

    fn hard_link(&mut self, parent: &OwnedFd, name: &CString, entry: &TarEntry) -> io::Result<()> {
        let shown = || short(&entry.link);
        let target = components(&entry.link);
        let target = target.map_err(|_| bad(format!("a hard link to {:?}, which leaves the layer", shown())))?;
        let Some((target_name, target_parents)) = target.split_last() else {
            return Err(bad("a hard link to the layer's root"));
        };
        let missing = || bad(format!("a hard link to {:?}, which is not in the layer", shown()));
        let target_parent = self.existing(&target_parents.join(&b'/')).map_err(|_| missing())?;
        let target_name = c_string(target_name)?;
        let stat =
            rustix::fs::statat(&*target_parent, &target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| missing())?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(bad(format!("a hard link to the folder {:?}", shown())));
        }
        if let Ok(own) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            && (own.st_dev, own.st_ino) == (stat.st_dev, stat.st_ino)
        {
            return Ok(());
        }
        self.replace(parent, name, |parent, name| {
            rustix::fs::linkat(&*target_parent, &target_name, parent, name, AtFlags::empty())
        })
    }

    fn directory(&mut self, parent: &OwnedFd, name: &CString, full: Vec<u8>, entry: &TarEntry) -> io::Result<()> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    let whiteout = is_whiteout(&stat);
                    self.replace(parent, name, |parent, name| rustix::fs::mkdirat(parent, name, Mode::RWXU))?;
                    if whiteout {
                        // Taken away and made anew: nothing of the layers below shows through.
                        let made = self.existing(&full)?;
                        self.opaque(&made)?;
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.bare.remove(&full);
        self.folder_settings(full.clone(), entry);
        self.own(full, entry)
    }

    /// Modes and times of folders come last: a read-only folder could not be
    /// filled, and filling one changes its time.
    fn folder_settings(&mut self, path: Vec<u8>, entry: &TarEntry) {
        self.kept += path.len();
        self.folders.push(OpenFolder { path, mode: entry.mode & 0o7777, mtime: entry.mtime });
    }

    fn finish_folders(&mut self) -> io::Result<()> {
        self.cache.clear();
        for folder in std::mem::take(&mut self.folders).iter().rev() {
            // What has become something else since is left as it is.
            let Ok(fd) = self.open_exactly(&folder.path, OFlags::NOFOLLOW) else { continue };
            // The setuid bit means nothing on a folder.
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(folder.mode & 0o3777))?;
            rustix::fs::futimens(&fd, &times(folder.mtime))?;
        }
        Ok(())
    }

    fn marker(&mut self, marker: Marker<'_>, parents: &[&[u8]]) -> io::Result<()> {
        if matches!(marker, Marker::Other) || self.is_taken_away(parents)? {
            return Ok(());
        }
        self.note_bare(parents)?;
        let parent = &*self.parent(parents)?;
        match marker {
            Marker::Other => Ok(()),
            Marker::Opaque => self.opaque(parent),
            Marker::Whiteout(victim) => {
                let name = c_string(victim)?;
                let full = [parents, &[victim]].concat().join(&b'/');
                if self.bare.remove(&full) {
                    // Only markers lie in it.
                    self.cache.clear();
                    crate::disk::remove::entry(parent.as_fd(), &name)?;
                }
                match rustix::fs::mknodat(parent, &name, FileType::CharacterDevice, Mode::empty(), 0) {
                    Ok(()) => Ok(()),
                    Err(Errno::EXIST) => {
                        // The layer's own entry stays; below it nothing shows through.
                        let stat = rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                            self.opaque(&rustix::fs::openat(parent, &name, flags, Mode::empty())?)?;
                        }
                        Ok(())
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Whether one of these folders is gone, and so is what lay below it.
    fn is_taken_away(&self, parts: &[&[u8]]) -> io::Result<bool> {
        for end in 1..=parts.len() {
            let Ok(above) = self.open_exactly(&parts[..end - 1].join(&b'/'), OFlags::empty()) else { break };
            match rustix::fs::statat(&above, c_string(parts[end - 1])?, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_whiteout(&stat) => return Ok(true),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(false)
    }

    /// Notes the folders that are about to be made for a marker alone.
    fn note_bare(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        for end in (1..=parts.len()).rev() {
            let path = parts[..end].join(&b'/');
            if self.open_exactly(&path, OFlags::empty()).is_ok() {
                break;
            }
            self.kept += path.len();
            self.bare.insert(path);
        }
        Ok(())
    }

    /// Something of the layer lies in these folders now.
    fn fill(&mut self, parts: &[&[u8]]) {
        for end in 1..=parts.len() {
            if self.bare.is_empty() {
                return;
            }
            self.bare.remove(&parts[..end].join(&b'/'));
        }
    }

    fn opaque(&self, folder: &OwnedFd) -> io::Result<()> {
        match rustix::fs::fsetxattr(folder, "user.overlay.opaque", b"y", XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => Err(io::Error::other(
                crate::error::failure(
                    "the file system of the cache has no extended attributes, which overlay layers need",
                )
                .hint("point XDG_CACHE_HOME at another file system"),
            )),
            other => Ok(other?),
        }
    }

    fn check_xattrs(&mut self, entry: &TarEntry) -> io::Result<()> {
        let hides = |key: &String| overlay_name(key).is_some_and(|name| !BOOKKEEPING.contains(&name));
        if let Some((key, _)) = entry.xattrs.iter().find(|(key, _)| hides(key)) {
            return Err(bad(format!("a raw overlay attribute ({key})")));
        }
        if entry.kind != EntryKind::File {
            self.counts.xattrs += entry.xattrs.len() as u64;
        }
        Ok(())
    }

    fn own(&mut self, path: Vec<u8>, entry: &TarEntry) -> io::Result<()> {
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
            return Err(bad(format!("owner {}:{} is out of range", entry.uid, entry.gid)));
        };
        if (uid, gid) != self.default_owner {
            self.kept += path.len();
            self.owners.push(Owned { path: c_string(&path)?, uid, gid });
        }
        Ok(())
    }

    /// Runs `create`, which must fail with `EEXIST` where something is in the
    /// way; what is in the way is then removed, never written through.
    fn replace(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        mut create: impl FnMut(BorrowedFd<'_>, &CString) -> Result<(), Errno>,
    ) -> io::Result<()> {
        match create(parent.as_fd(), name) {
            Err(Errno::EXIST) => {
                self.cache.clear();
                crate::disk::remove::entry(parent.as_fd(), name)?;
                Ok(create(parent.as_fd(), name)?)
            }
            other => Ok(other?),
        }
    }

    /// The folder of an entry; folders that the layer does not list are made.
    fn parent(&mut self, parts: &[&[u8]]) -> io::Result<Arc<OwnedFd>> {
        let path = parts.join(&b'/');
        if let Some(fd) = self.cache.get(&path) {
            return Ok(fd.clone());
        }
        match self.open_exactly(&path, OFlags::empty()) {
            // Not listed, or taken away by a whiteout that came first.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            _ => return self.existing(&path),
        }
        for end in 1..=parts.len() {
            let below = self.existing(&parts[..end - 1].join(&b'/'))?;
            let name = c_string(parts[end - 1])?;
            match rustix::fs::mkdirat(&*below, &name, Mode::RWXU) {
                Ok(()) => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let made = rustix::fs::openat(&*below, &name, flags, Mode::empty())?;
                    rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
                }
                Err(Errno::EXIST) => {
                    let stat = rustix::fs::statat(&*below, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if is_whiteout(&stat) {
                        self.replace(&below, &name, |parent, name| {
                            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
                        })?;
                        let made = self.existing(&parts[..end].join(&b'/'))?;
                        self.opaque(&made)?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.existing(&path)
    }

    fn existing(&mut self, path: &[u8]) -> io::Result<Arc<OwnedFd>> {
        if let Some(fd) = self.cache.get(path) {
            return Ok(fd.clone());
        }
        let fd = Arc::new(self.open_folder(path)?);
        if self.cache.len() >= MAX_CACHED {
            self.cache.clear();
        }
        self.cache.insert(path.to_vec(), fd.clone());
        Ok(fd)
    }

    /// Opens a folder as the runtime would: links are followed inside the root.
    fn open_folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        match self.open_exactly(path, OFlags::empty()) {
            Err(Errno::LOOP | Errno::NOTDIR) => Err(bad("its folder is no folder of this layer")),
            other => Ok(other?),
        }
    }

    fn open_exactly(&self, path: &[u8], extra: OFlags) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | extra;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let path = CString::new(if path.is_empty() { b"." } else { path }).map_err(|_| Errno::INVAL)?;
        rustix::fs::openat2(self.root, &path, flags, Mode::empty(), resolve)
    }
}

/// What overlayfs notes for itself on folders that it copied up: podman and buildah
/// pack it. It hides nothing, and means nothing elsewhere.
const BOOKKEEPING: [&str; 4] = ["origin", "impure", "uuid", "nlink"];

/// The name of an attribute of overlayfs.
fn overlay_name(key: &str) -> Option<&str> {
    key.strip_prefix("user.overlay.").or_else(|| key.strip_prefix("trusted.overlay."))
}

/// Whether an attribute of a file is kept.
fn is_kept(key: &str) -> bool {
    key.starts_with("user.") && overlay_name(key).is_none()
}

fn unsettable(key: &str, size: usize, error: Errno) -> io::Error {
    match error {
        Errno::TOOBIG | Errno::RANGE | Errno::NOSPC => {
            bad(format!("the attribute {} of {size} bytes is more than the file system takes", crate::error::cut(key)))
        }
        other => other.into(),
    }
}

fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| bad("a name with a NUL byte"))
}

/// Says which entry failed, keeping the kind and the error number.
fn named(error: io::Error, path: &[u8]) -> io::Error {
    let path = short(path);
    if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<crate::error::Fault>()) {
        let message = format!("{} (entry {path:?})", fault.message);
        let fault = crate::error::Fault { message, ..fault.clone() };
        return io::Error::new(error.kind(), fault);
    }
    match error.raw_os_error() {
        Some(libc::ENAMETOOLONG | libc::EINVAL | libc::ELOOP | libc::ENOTDIR | libc::ENOENT | libc::E2BIG) => {
            bad(format!("entry {path:?} cannot be written: {error}"))
        }
        _ => error,
    }
}
