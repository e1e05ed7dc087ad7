//! A file tree into a tar, compressed with zstd: the way back from
//! [`super::unpack`]. Modes, times with nanoseconds, owners, links, hard links
//! and user attributes travel in pax records (POSIX.1-2001).
//!
//! Entries come in the order of their paths, so that the same tree gives the
//! same archive. Nothing is opened through a link.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use serde::{Deserialize, Serialize};
use tar::{Builder, EntryType, Header};

use super::tree::{attribute, attribute_names, open_folder};
use crate::digest::{Digest, Hashed};

/// As `zstd` has it by default.
const LEVEL: i32 = 3;

/// The largest size that a header without a pax record can say.
const MAX_PLAIN: u64 = 0o77_777_777_777;

/// What an archive is named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Of the compressed stream.
    pub digest: Digest,
    /// Bytes of it.
    pub size: u64,
    /// Of the tar.
    pub diff_id: Digest,
}

/// Packs the tree below `root`. Owners are as this process sees them.
///
/// # Errors
/// When something cannot be read or written, or changes meanwhile.
pub fn pack(root: BorrowedFd<'_>, out: impl Write) -> io::Result<Packed> {
    let compressed = Hashed::new(out);
    let tar = Hashed::new(zstd::Encoder::new(compressed, LEVEL)?);
    let mut builder = Builder::new(tar);
    let mut packer = Packer { builder: &mut builder, links: HashMap::new() };
    let stat = rustix::fs::fstat(root)?;
    packer.entry(root, c".", b"./", &stat, EntryType::Directory)?;
    packer.folder(&open_folder(root, c".")?, b"")?;
    let (encoder, diff_id, _) = builder.into_inner()?.finish();
    let (mut out, digest, size) = encoder.finish()?.finish();
    out.flush()?;
    Ok(Packed { digest, size, diff_id })
}

struct Packer<'a, W: Write> {
    builder: &'a mut Builder<W>,
    /// Where files with several names went first.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Packer<'_, W> {
    fn folder(&mut self, folder: &OwnedFd, path: &[u8]) -> io::Result<()> {
        let mut entries = Dir::read_from(folder)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|a, b| a.file_name().cmp(b.file_name()));
        for entry in entries {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let mut inner = path.to_vec();
            inner.extend_from_slice(name.to_bytes());
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    inner.push(b'/');
                    self.entry(folder.as_fd(), name, &inner, &stat, EntryType::Directory)?;
                    self.folder(&open_folder(folder.as_fd(), name)?, &inner)?;
                }
                FileType::RegularFile => self.entry(folder.as_fd(), name, &inner, &stat, EntryType::Regular)?,
                FileType::Symlink => self.entry(folder.as_fd(), name, &inner, &stat, EntryType::Symlink)?,
                FileType::Fifo => self.entry(folder.as_fd(), name, &inner, &stat, EntryType::Fifo)?,
                // Sealed trees hold none of the others.
                _ => return Err(io::Error::other(format!("{} cannot be packed", String::from_utf8_lossy(&inner)))),
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        path: &[u8],
        stat: &Stat,
        mut kind: EntryType,
    ) -> io::Result<()> {
        let mut pax = Pax(vec![("path".into(), path.to_vec())]);
        let mut content: Option<File> = None;
        match kind {
            EntryType::Symlink => {
                pax.add("linkpath", rustix::fs::readlinkat(folder, name, Vec::new())?.into_bytes());
            }
            EntryType::Regular => match self.links.get(&(stat.st_dev, stat.st_ino)) {
                Some(first) => {
                    kind = EntryType::Link;
                    pax.add("linkpath", first.clone());
                }
                None => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    let file = File::from(rustix::fs::openat(folder, name, flags, Mode::empty())?);
                    for attribute_name in attribute_names(&file)? {
                        let value = attribute(&file, &attribute_name)?;
                        pax.add(&format!("SCHILY.xattr.{attribute_name}"), value);
                    }
                    content = Some(file);
                    if stat.st_nlink > 1 {
                        self.links.insert((stat.st_dev, stat.st_ino), path.to_vec());
                    }
                }
            },
            _ => {}
        }
        let size = if content.is_some() { stat.st_size as u64 } else { 0 };
        let header = header(stat, kind, size, &mut pax);
        self.builder.append_pax_extensions(pax.0.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        match content {
            None => self.builder.append(&header, io::empty()),
            Some(file) => {
                // Longer than it was would break the archive, so would shorter.
                let mut exactly = Exactly { inner: file, left: size };
                self.builder.append(&header, &mut exactly)?;
                if exactly.left > 0 {
                    return Err(io::Error::other(format!("{} changed", String::from_utf8_lossy(path))));
                }
                Ok(())
            }
        }
    }
}

/// What a header of ustar has no room for.
struct Pax(Vec<(String, Vec<u8>)>);

impl Pax {
    fn add(&mut self, key: &str, value: Vec<u8>) {
        self.0.push((key.to_owned(), value));
    }
}

fn header(stat: &Stat, kind: EntryType, size: u64, pax: &mut Pax) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o1777);
    for (id, key) in [(stat.st_uid, "uid"), (stat.st_gid, "gid")] {
        let plain = if u64::from(id) > 0o7_777_777 {
            pax.add(key, id.to_string().into_bytes());
            0
        } else {
            u64::from(id)
        };
        if key == "uid" { header.set_uid(plain) } else { header.set_gid(plain) }
    }
    if size > MAX_PLAIN {
        pax.add("size", size.to_string().into_bytes());
    }
    header.set_size(size.min(MAX_PLAIN));
    let (seconds, nanos) = (stat.st_mtime, stat.st_mtime_nsec);
    pax.add("mtime", decimal(seconds, nanos as u32).into_bytes());
    header.set_mtime(seconds.max(0) as u64 & 0o77_777_777_777);
    header.set_cksum();
    header
}

/// Seconds since 1970 as pax has them: a decimal, negative ones too.
fn decimal(seconds: i64, nanos: u32) -> String {
    match (seconds, nanos) {
        (seconds, 0) => seconds.to_string(),
        // -0.5 is second -1 and 500,000,000 nanoseconds.
        (seconds, nanos) if seconds < 0 => {
            let whole = seconds + 1;
            let sign = if whole == 0 { "-" } else { "" };
            format!("{sign}{whole}.{:09}", 1_000_000_000 - nanos)
        }
        (seconds, nanos) => format!("{seconds}.{nanos:09}"),
    }
}

struct Exactly {
    inner: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use proptest::prelude::*;

    use super::super::{ArchiveKind, UnpackTarget, sanitise, summarise, unpack};
    use super::*;
    use crate::oci::Descriptor;

    fn open(path: &std::path::Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn times_before_1970_and_fractions() {
        assert_eq!(decimal(5, 0), "5");
        assert_eq!(decimal(5, 25), "5.000000025");
        assert_eq!(decimal(-1, 500_000_000), "-0.500000000");
        assert_eq!(decimal(-3, 250_000_000), "-2.750000000");
    }

    #[derive(Clone, Debug)]
    enum Thing {
        File(Vec<u8>, u32),
        Folder(u32),
        Link(String),
        Fifo,
        Hard,
    }

    fn thing() -> impl Strategy<Value = Thing> {
        prop_oneof![
            3 => (proptest::collection::vec(any::<u8>(), 0..2000), 0u32..0o1000).prop_map(|(a, b)| Thing::File(a, b)),
            2 => (0u32..0o2000).prop_map(Thing::Folder),
            1 => "[a-z./]{1,150}".prop_map(Thing::Link),
            1 => Just(Thing::Fifo),
            1 => Just(Thing::Hard),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn trees_of_every_kind_come_back_as_they_were(
            things in proptest::collection::vec(("[a-z\\PC\n.]{1,80}", thing(), -4_000_000_000i64..8_000_000_000, 0u32..1_000_000_000), 1..24)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let (from, to) = (dir.path().join("from"), dir.path().join("to"));
            fs::create_dir(&from).unwrap();
            let mut folders = vec![from.clone()];
            let mut first_file = None;
            let mut modes = Vec::new();
            let mut times = Vec::new();
            for (n, (name, thing, seconds, nanos)) in things.into_iter().enumerate() {
                let name: String = name.replace(['/', '\0'], "_").chars().take(60).collect();
                let path = folders[n % folders.len()].join(format!("{n}{name}"));
                match thing {
                    Thing::File(content, mode) => {
                        fs::write(&path, content).unwrap();
                        modes.push((path.clone(), mode));
                        first_file.get_or_insert(path.clone());
                    }
                    Thing::Folder(mode) => {
                        fs::create_dir(&path).unwrap();
                        modes.push((path.clone(), mode));
                        folders.push(path.clone());
                    }
                    Thing::Link(target) => symlink(target, &path).unwrap(),
                    Thing::Fifo => rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
                    Thing::Hard => match &first_file {
                        Some(first) => fs::hard_link(first, &path).unwrap(),
                        None => continue,
                    },
                }
                times.push((path, seconds, nanos));
            }
            for (path, seconds, nanos) in times.iter().rev() {
                let time = rustix::fs::Timespec { tv_sec: *seconds, tv_nsec: (*nanos).into() };
                let both = rustix::fs::Timestamps { last_access: time, last_modification: time };
                rustix::fs::utimensat(rustix::fs::CWD, path, &both, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            }
            if rustix::process::geteuid().is_root() {
                for (path, mode) in modes {
                    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
                }
            }
            let before = summarise(open(&from).as_fd()).unwrap();
            let mut bytes = Vec::new();
            let packed = pack(open(&from).as_fd(), &mut bytes).unwrap();
            let again = pack(open(&from).as_fd(), io::sink()).unwrap();
            prop_assert_eq!(packed, again, "the same tree gives the same archive");
            let blob = Descriptor::of("", &bytes);
            prop_assert_eq!((blob.digest, blob.size), (packed.digest, packed.size));
            fs::create_dir(&to).unwrap();
            let root = open(&to);
            let own = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
            let target = UnpackTarget { root: root.as_fd(), own_ids: own, kind: ArchiveKind::Tree };
            let (_, owned) =
                unpack(&blob, Some(&packed.diff_id), Box::new(io::Cursor::new(bytes)), &target, &|_| Ok(())).unwrap();
            prop_assert!(owned.is_empty());
            prop_assert_eq!(summarise(root.as_fd()).unwrap(), before);
            for (path, seconds, nanos) in times {
                let there = to.join(path.strip_prefix(&from).unwrap());
                let (here, there) = (fs::symlink_metadata(&path).unwrap(), fs::symlink_metadata(&there).unwrap());
                prop_assert_eq!((there.mtime(), there.mtime_nsec()), (here.mtime(), here.mtime_nsec()), "{:?} {} {}", path, seconds, nanos);
                prop_assert_eq!(there.nlink(), here.nlink());
            }
        }
    }

    #[test]
    fn what_the_kernel_would_obey_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::create_dir(path.join("sub")).unwrap();
        rustix::fs::setxattr(path.join("sub"), "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        fs::write(path.join("sub/su"), "x").unwrap();
        fs::set_permissions(path.join("sub/su"), fs::Permissions::from_mode(0o4755)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        assert_eq!(sanitise(open(path).as_fd()).unwrap(), 3);
        assert_eq!(sanitise(open(path).as_fd()).unwrap(), 0);
        assert!(!path.join("socket").exists());
        assert_eq!(fs::metadata(path.join("sub/su")).unwrap().mode() & 0o7777, 0o755);
        pack(open(path).as_fd(), io::sink()).unwrap();
    }

    #[test]
    fn case_54_a_change_of_any_kind_changes_the_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/file"), "one").unwrap();
        symlink("sub", path.join("link")).unwrap();
        let digest = || summarise(open(path).as_fd()).unwrap().digest;
        let mut seen = vec![digest()];
        let mut changed = |what: &str| {
            let now = digest();
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        fs::write(path.join("sub/file"), "two").unwrap();
        changed("content of the same length");
        fs::set_permissions(path.join("sub/file"), fs::Permissions::from_mode(0o700)).unwrap();
        changed("mode");
        fs::rename(path.join("sub/file"), path.join("sub/elif")).unwrap();
        changed("name");
        fs::remove_file(path.join("link")).unwrap();
        symlink("sux", path.join("link")).unwrap();
        changed("target of a link");
        fs::create_dir(path.join("empty")).unwrap();
        changed("an empty folder");
        rustix::fs::setxattr(path.join("sub/elif"), "user.x", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        changed("an attribute");
    }
}
