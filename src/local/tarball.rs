//! A tar by the names of its members, each read where it lies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::error::{cut, integrity, policy};
use crate::quantity::human_bytes;

/// Members of one archive: an image has a few for each layer.
const MAX_MEMBERS: usize = 100_000;

/// Bytes of the name of a member.
const MAX_NAME: usize = 4096;

/// Bytes of what is told of a member beside its content.
const MAX_TOLD: u64 = 1 << 20;

/// Links from one member to the next.
const MAX_LINKS: usize = 8;

/// An archive.
pub(super) struct Tarball {
    file: Arc<File>,
    members: BTreeMap<String, Member>,
}

enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// To another member, by its whole name.
    Link(String),
}

/// The content of one member.
#[derive(Clone, Debug)]
pub(super) struct TarMember {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl TarMember {
    /// All of a file.
    pub(super) fn whole(file: File, size: u64) -> Self {
        TarMember { file: Arc::new(file), offset: 0, left: size }
    }

    /// Whether it is a file of its own, and no member of an archive.
    pub(super) fn is_whole(&self) -> bool {
        self.offset == 0
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.left
    }
}

impl Read for TarMember {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Tarball {
    /// Reads the list of members. A compressed archive is unpacked first, into a
    /// file without a name in `scratch`, of so many bytes at `most`.
    ///
    /// # Errors
    /// When it is no tar, or would be larger.
    pub(super) fn open(file: File, (scratch, most): (&Path, u64), shown: &str) -> Result<Self> {
        let file = plain(file, (scratch, most), shown)?;
        let members = members(&file).with_context(|| format!("{shown} is no archive of an image"))?;
        Ok(Tarball { file: Arc::new(file), members })
    }

    /// A member's content, through links of the archive.
    pub(super) fn part(&self, name: &str) -> Option<TarMember> {
        let mut name = normal(name)?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&name)? {
                Member::File { offset, size } => {
                    return Some(TarMember { file: self.file.clone(), offset: *offset, left: *size });
                }
                Member::Link(to) => name.clone_from(to),
            }
        }
        None
    }

    /// A small member's content.
    ///
    /// # Errors
    /// When it is larger than `limit`, or cannot be read.
    pub(super) fn small(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(mut part) = self.part(name) else { return Ok(None) };
        if part.size() > limit {
            return Err(integrity(format!("{} of the archive is larger than {limit} bytes", cut(name))).into());
        }
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).with_context(|| format!("cannot read {} of the archive", cut(name)))?;
        Ok(Some(bytes))
    }
}

/// The archive as a plain tar.
fn plain(mut file: File, (scratch, most): (&Path, u64), shown: &str) -> Result<File> {
    let mut magic = [0; 6];
    let count = file.read_at(&mut magic, 0).with_context(|| format!("cannot read {shown}"))?;
    file.seek(SeekFrom::Start(0)).with_context(|| format!("cannot read {shown}"))?;
    let decoded: Box<dyn Read> = match &magic[..count] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(zstd::Decoder::new(file).context("cannot read zstd")?)
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => return Err(unsupported(shown, "xz", "xz -d")),
        [b'B', b'Z', b'h', ..] => return Err(unsupported(shown, "bzip2", "bzip2 -d")),
        _ => return Ok(file),
    };
    let mut spool = tempfile::tempfile_in(scratch).context("cannot make a temporary file")?;
    // A small archive may say that it is everything there is room for.
    let copied = io::copy(&mut decoded.take(most.saturating_add(1)), &mut spool);
    if copied.with_context(|| format!("cannot unpack {shown}"))? > most {
        return Err(policy(format!("{shown} is more than {} when it is unpacked", human_bytes(most)))
            .hint("if it is as large as it should be: [workspace] max_fetch in config.toml")
            .into());
    }
    spool.seek(SeekFrom::Start(0))?;
    Ok(spool)
}

fn unsupported(shown: &str, what: &str, command: &str) -> anyhow::Error {
    integrity(format!("{shown} is compressed with {what}, which is not supported"))
        .hint(format!("unpack it first: {command}"))
        .into()
}

/// Refuses what is told of a member, beside its content, and would be held whole.
fn check_told(file: &File) -> Result<()> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()?.raw(true) {
        let entry = entry?;
        let kind = entry.header().entry_type();
        let is_told = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if is_told && entry.size() > MAX_TOLD {
            return Err(integrity(format!("a name or an attribute of it has more than {MAX_TOLD} bytes")).into());
        }
    }
    Ok(())
}

fn members(mut file: &File) -> Result<BTreeMap<String, Member>> {
    check_told(file)?;
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(file);
    let mut members = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path_bytes();
        let Some(name) = std::str::from_utf8(&path).ok().filter(|name| name.len() <= MAX_NAME).and_then(normal) else {
            continue;
        };
        let link = || entry.link_name_bytes().and_then(|to| String::from_utf8(to.into_owned()).ok());
        let member = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                Some(Member::File { offset: entry.raw_file_position(), size: entry.size() })
            }
            tar::EntryType::Link => link().and_then(|to| normal(&to)).map(Member::Link),
            tar::EntryType::Symlink => link().and_then(|to| beside(&name, &to)).map(Member::Link),
            _ => None,
        };
        if let Some(member) = member {
            members.insert(name, member);
        }
        if members.len() > MAX_MEMBERS {
            return Err(integrity(format!("the archive has more than {MAX_MEMBERS} members")).into());
        }
    }
    Ok(members)
}

/// A name with one spelling; `None` for one that leads out.
fn normal(name: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Where a link of that member leads.
fn beside(name: &str, to: &str) -> Option<String> {
    match name.rsplit_once('/') {
        Some((folder, _)) if !to.starts_with('/') => normal(&format!("{folder}/{to}")),
        _ => normal(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Tarball {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        opened(&builder.into_inner().unwrap()).unwrap()
    }

    fn opened(bytes: &[u8]) -> Result<Tarball> {
        let folder = tempfile::tempdir().unwrap();
        let mut file = tempfile::tempfile_in(folder.path()).unwrap();
        file.write_all(bytes).unwrap();
        Tarball::open(file, (folder.path(), 1 << 20), "x.tar")
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType, text: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        if kind == tar::EntryType::Regular {
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        } else {
            header.set_size(0);
            builder.append_link(&mut header, name, text).unwrap();
        }
    }

    #[test]
    fn members_are_found_through_links_of_the_archive_alone() {
        use tar::EntryType::{Link, Regular, Symlink};
        let tarball = archive(|builder| {
            add(builder, "a/layer.tar", Regular, "content");
            add(builder, "b/layer.tar", Symlink, "../a/layer.tar");
            add(builder, "c.tar", Link, "b/layer.tar");
            add(builder, "out", Symlink, "../../etc/passwd");
            add(builder, "absolute", Symlink, "/etc/passwd");
            add(builder, "round", Symlink, "round");
        });
        let read = |name| tarball.small(name, 100).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
        for name in ["a/layer.tar", "./a/layer.tar", "b/layer.tar", "c.tar", "x/../a//layer.tar"] {
            assert_eq!(read(name).as_deref(), Some("content"), "{name}");
        }
        for name in ["out", "absolute", "round", "none", "../a/layer.tar"] {
            assert_eq!(read(name), None, "{name}");
        }
        assert!(tarball.small("a/layer.tar", 3).is_err());
    }

    #[test]
    fn a_compressed_archive_is_the_same_archive() {
        let mut builder = tar::Builder::new(Vec::new());
        add(&mut builder, "x", tar::EntryType::Regular, "content");
        let plain = builder.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        for bytes in [plain.clone(), gzip.finish().unwrap(), zstd::encode_all(&plain[..], 1).unwrap()] {
            assert_eq!(opened(&bytes).unwrap().small("x", 100).unwrap().unwrap(), b"content");
        }
        let bomb = zstd::encode_all(&vec![0; 2 << 20][..], 1).unwrap();
        let error = opened(&bomb).err().unwrap();
        assert!(format!("{error:#}").contains("when it is unpacked"), "{error:#}");
        // A name that is longer than anything, and is not there: nothing of it is read.
        for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(3 << 30);
            header.set_cksum();
            let error = opened(header.as_bytes()).err().unwrap();
            assert!(format!("{error:#}").contains("has more than"), "{error:#}");
        }
        for bad in [&b"\xfd7zXZ\0rest"[..], b"BZh9rest", &[7; 2000]] {
            let error = opened(bad).err().unwrap();
            assert!(format!("{error:#}").contains("x.tar"), "{error:#}");
        }
    }
}
