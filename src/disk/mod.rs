//! How envctl writes to disk: an entry is either absent or whole.
//!
//! Publishing is always: a private temporary place on the same file system,
//! write, check, rename. What is work (under the data root) is flushed before
//! the rename; what is cache is flushed with its file system.
//!
//! All locks are kernel locks ([`lock`]); the order in which they are taken is in
//! `docs/architecture.md`.

pub mod beneath;
pub mod closed;
pub mod descent;
pub mod held;
mod inside;
pub mod known;
pub mod lock;
pub mod named;
pub mod plain;
mod private;
pub mod remove;
pub mod scratch;
mod unnamed;

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Kind, failure, integrity};

use plain::Miss;

pub use inside::FileInside;
pub use private::{is_of_others, others_may_write, require_own, require_own_link, require_private};
pub use unnamed::{Durability, Unnamed, is_temporary};

/// The version of what lies under each root.
const FORMAT: &str = "1";

/// Upper bound for the file that says so, in bytes.
const MAX_MARKER: u64 = 256;

/// The real path of a file or folder; the path as it is where there is none.
pub fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Creates a private folder (mode 0700) and everything above it.
///
/// # Errors
/// With the path in the message.
pub fn create_private_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Opens one of the roots: creates it, and checks its format version.
///
/// # Errors
/// When the folder is not writable, is not the user's alone to write, or was
/// made by a newer envctl.
pub fn open_root(root: &Path) -> Result<()> {
    require_private(root)?;
    let marker = root.join("format");
    let Some(found) = read_file(&marker, MAX_MARKER)? else {
        create_private_dir(root)?;
        return write_file(&marker, format!("{FORMAT}\n").as_bytes(), Durability::Cached);
    };
    let found = String::from_utf8_lossy(&found);
    if found.trim() == FORMAT {
        return Ok(());
    }
    Err(failure(format!("{} has format {:?}, this envctl knows format {FORMAT}", root.display(), found.trim()))
        .hint("use the envctl that made it, or move the folder away")
        .into())
}

/// Publishes a whole file, read-only, in place of whatever was there.
///
/// # Errors
/// With the path in the message; nothing half-written stays.
pub fn write_file(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    create_private_dir(parent_of(path)?)?;
    rewrite_file(path, bytes, durability)
}

/// The same in a folder that is there: one that went away is not made again.
///
/// # Errors
/// As [`write_file`].
pub fn rewrite_file(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let parent = parent_of(path)?;
    let written = (|| {
        let mut file = Unnamed::create_in(parent)?;
        file.write_all(bytes)?;
        file.publish(path, durability)
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Publishes `value` as JSON.
///
/// # Errors
/// As [`write_file`].
pub fn write_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write_file(path, &bytes, durability)
}

/// Reads a file; `None` when it does not exist. Nothing but a plain file is
/// read, and nobody is waited for.
///
/// # Errors
/// Any other I/O error, with the path; a file above `limit` bytes;
/// [`Kind::Policy`] when it is no plain file.
pub fn read_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match plain::open(path) {
        Ok(file) => read_whole(file, path, limit).map(Some),
        Err(Miss::Absent) => Ok(None),
        Err(Miss::NoFile) => Err(plain::refused(path, "is no plain file").into()),
        Err(Miss::Link) => Err(plain::refused(path, "is a link that leads nowhere").into()),
        Err(Miss::Failed(error)) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads what the developer named for this very purpose; `None` when it does
/// not exist. It may be a pipe, which is waited for.
///
/// # Errors
/// Any other I/O error, with the path; more than `limit` bytes.
pub fn read_stream(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match File::open(path) {
        Ok(file) => read_whole(file, path, limit).map(Some),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read_whole(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    // Most are small: one read for the content, one that finds the end.
    let mut bytes = Vec::with_capacity(4096);
    file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > limit {
        return Err(integrity(format!("{} is larger than {limit} bytes", path.display())).into());
    }
    Ok(bytes)
}

/// Reads a JSON document of ours; `None` when it does not exist.
///
/// # Errors
/// As [`read_file`], or [`Kind::Integrity`] when it does not parse.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = read_file(path, 64 << 20)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes).map_err(|error| {
        crate::error::Fault::new(Kind::Integrity, format!("{} is damaged: {error}", path.display()))
    })?;
    Ok(Some(value))
}

/// The boot that this kernel is in; entries never flushed do not outlive it.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn boot_id() -> Result<String> {
    // No process outlives the boot that it is in.
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id.clone());
    }
    let id =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot ID: is /proc mounted?")?;
    Ok(ID.get_or_init(|| id.trim().to_owned()).clone())
}

/// Free bytes and free inodes of the file system that holds `path`.
///
/// # Errors
/// When the file system does not answer.
pub fn free_space(path: &Path) -> Result<(u64, u64)> {
    let stat =
        rustix::fs::statvfs(path).with_context(|| format!("cannot ask for the free space of {}", path.display()))?;
    let inodes = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), inodes))
}

/// Finds an executable file on a `PATH`.
pub fn find_program(path: Option<&std::ffi::OsStr>, name: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(path?)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0))
}

/// Moves a damaged entry of a cache to where nothing uses it.
///
/// # Errors
/// When it cannot be moved.
pub fn quarantine(entry: &Path, cache: &Path) -> Result<std::path::PathBuf> {
    let folder = cache.join("quarantine");
    create_private_dir(&folder)?;
    let name = entry.file_name().context("an entry without a name")?.to_string_lossy().into_owned();
    let target = (0..1000).map(|n| folder.join(format!("{name}.{n}"))).find(|target| !target.exists());
    let target = target.context("the quarantine is full")?;
    fs::rename(entry, &target).with_context(|| format!("cannot move {} away", entry.display()))?;
    Ok(target)
}

fn parent_of(path: &Path) -> Result<&Path> {
    path.parent().with_context(|| format!("{} has no folder above it", path.display()))
}

/// Where a store lies ([`real_place`]), as it is written where that cannot be told. One
/// that is a link of another account keeps its name, so that who opens it sees that and
/// refuses.
pub fn real_store(path: &Path) -> PathBuf {
    let own = [0, rustix::process::geteuid().as_raw()];
    let is_theirs = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink() && !own.contains(&meta.uid()));
    if let (true, Some(above), Some(name)) = (is_theirs, path.parent(), path.file_name()) {
        return real_store(above).join(name);
    }
    real_place(path).unwrap_or_else(|_| path.components().collect())
}

/// Where a path leads that need not be there yet: the real path of what is there of
/// it, and the rest as it is written.
///
/// # Errors
/// When what is not there goes up again, or the file system cannot be asked.
pub fn real_place(path: &Path) -> io::Result<PathBuf> {
    let mut rest = PathBuf::new();
    let mut there = path;
    loop {
        match fs::canonicalize(there) {
            Ok(real) => return Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && there.symlink_metadata().is_err() => {
                let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return Err(error) };
                rest = if rest.as_os_str().is_empty() { name.into() } else { Path::new(name).join(rest) };
                there = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a path leads from a folder down into it, through no link; it need not be
/// there yet.
pub fn is_straight(root: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(root) else { return false };
    let mut at = root.to_owned();
    below.components().all(|part| {
        at.push(part);
        matches!(part, Component::Normal(_)) && !at.is_symlink()
    }) && at != root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_one_path_however_it_is_spelled() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/below")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        for spelling in ["link/tasks", "real/below/../tasks", "./link/below/../tasks"] {
            assert_eq!(real_store(&root.join(spelling)), root.join("real/tasks"), "{spelling}");
        }
        // Nothing is there yet.
        assert_eq!(real_store(&root.join("link/new/tasks")), root.join("real/new/tasks"));
        assert_eq!(real_store(Path::new("/none/./tasks")), Path::new("/none/tasks"));
    }

    #[test]
    fn a_path_is_straight_that_goes_down_through_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("a")).unwrap();
        std::os::unix::fs::symlink(&root, root.join("a/link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", root.join("a/away")).unwrap();
        for good in ["a", "a/b", "none/at/all"] {
            assert!(is_straight(&root, &root.join(good)), "{good}");
        }
        for bad in ["", "a/link", "a/link/x", "a/away/x", "../a", "a/../b", "/etc"] {
            assert!(!is_straight(&root, &root.join(bad)), "{bad}");
        }
        for (path, real) in [("a/link/x/y", "x/y"), ("none/x", "none/x"), ("a/../a", "a"), ("", "")] {
            assert_eq!(
                real_place(&root.join(path)).unwrap(),
                root.join(real).components().collect::<PathBuf>(),
                "{path}"
            );
        }
        for bad in ["none/../x", "a/away", "a/away/x"] {
            assert!(real_place(&root.join(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_are_replaced_whole_and_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        write_file(&path, b"one", Durability::Flushed).unwrap();
        write_file(&path, b"two", Durability::Cached).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn case_50_only_a_file_system_that_cannot_flush_is_forgiven() {
        let flush = |errno| unnamed::tolerate_no_fsync(Err(std::io::Error::from_raw_os_error(errno)));
        for errno in [libc::EINVAL, libc::ENOTSUP, libc::ENOSYS] {
            assert!(flush(errno).is_ok(), "{errno}");
        }
        for errno in [libc::EIO, libc::ENOSPC, libc::EROFS, libc::EDQUOT] {
            assert_eq!(flush(errno).unwrap_err().raw_os_error(), Some(errno));
        }
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open_root(dir.path()).unwrap();
        open_root(dir.path()).unwrap();
        fs::remove_file(dir.path().join("format")).unwrap();
        fs::write(dir.path().join("format"), "2\n").unwrap();
        assert!(open_root(dir.path()).unwrap_err().to_string().contains("format \"2\""));
    }

    #[test]
    fn what_is_no_plain_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, link) = (dir.path().join("pipe"), dir.path().join("link"));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        std::os::unix::fs::symlink("pipe", &link).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("device")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for path in [&pipe, &link, &dir.path().join("device"), &dir.path().join("socket"), dir.path()] {
            let error = read_file(path, 9).unwrap_err();
            assert_eq!(crate::error::kind_of(&error), Kind::Policy, "{error:#}");
        }
        // The developer's own file may be a link.
        fs::write(dir.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("good")).unwrap();
        assert_eq!(read_file(&dir.path().join("good"), 9).unwrap().unwrap(), b"x");
    }

    #[test]
    fn oversized_documents_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        fs::write(&path, [0; 11]).unwrap();
        assert!(read_file(&path, 10).is_err());
        assert_eq!(read_file(&path, 11).unwrap().unwrap().len(), 11);
        assert!(read_file(&dir.path().join("absent"), 1).unwrap().is_none());
    }
}
