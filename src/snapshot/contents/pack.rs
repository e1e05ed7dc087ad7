//! A pack of whole contents and its index, as git's `gitformat-pack` has them.
//! It stays in the scratch repository; what travels is put together from it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Crc;
use sha1::{Digest as _, Sha1};

/// Bytes in front of the first object of a pack.
pub(in crate::snapshot) const HEADER: usize = 12;
/// A blob's number among the types of objects.
const BLOB: u8 = 3;

/// One object of a pack.
#[derive(Clone, Copy, Debug)]
pub(in crate::snapshot) struct StoredObject {
    pub(in crate::snapshot) id: git2::Oid,
    /// Where its header begins.
    start: u64,
    /// Where its zlib stream begins.
    data: u64,
    /// Behind its last byte.
    end: u64,
    crc: u32,
}

/// The first bytes of a pack of version 2.
pub(in crate::snapshot) fn header(objects: u32) -> [u8; HEADER] {
    let mut header = *b"PACK\0\0\0\x02\0\0\0\0";
    header[8..].copy_from_slice(&objects.to_be_bytes());
    header
}

/// Type and size of an object, in front of its stream.
pub(super) fn object_header(size: u64) -> Vec<u8> {
    let mut header = vec![BLOB << 4 | (size & 0x0f) as u8];
    let mut rest = size >> 4;
    while rest > 0 {
        if let Some(last) = header.last_mut() {
            *last |= 0x80;
        }
        header.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    header
}

/// A pack that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    end: u64,
    stored: Vec<StoredObject>,
}

impl Writer {
    /// Begins one in this folder, under a name that git does not look for.
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
        file.write_all(&header(0))?;
        Ok(Writer { file, path, end: HEADER as u64, stored: Vec::new() })
    }

    /// Adds an object that is packed already.
    pub(super) fn add(&mut self, id: git2::Oid, size: u64, stream: &[u8]) -> io::Result<()> {
        let head = object_header(size);
        let mut crc = Crc::new();
        crc.update(&head);
        crc.update(stream);
        let (start, data) = (self.end, self.end + head.len() as u64);
        self.file.write_all(&head)?;
        self.file.write_all(stream)?;
        self.end = data + stream.len() as u64;
        self.stored.push(StoredObject { id, start, data, end: self.end, crc: crc.sum() });
        Ok(())
    }

    /// Adds one that is written piece by piece and named afterwards: `write`
    /// returns its name, or `None` when it is not wanted after all.
    pub(super) fn stream(
        &mut self,
        size: u64,
        write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(git2::Oid, bool)>,
    ) -> Result<git2::Oid> {
        let head = object_header(size);
        let mut out = CountedWriter { to: &mut self.file, crc: Crc::new(), bytes: 0 };
        out.write_all(&head)?;
        let written = write(&mut out);
        let (bytes, crc) = (out.bytes, out.crc.sum());
        match written {
            Ok((id, true)) => {
                let start = self.end;
                self.end += bytes;
                self.stored.push(StoredObject { id, start, data: start + head.len() as u64, end: self.end, crc });
                Ok(id)
            }
            other => {
                self.file.set_len(self.end)?;
                self.file.seek(SeekFrom::Start(self.end))?;
                Ok(other?.0)
            }
        }
    }

    /// Ends the pack, with an index beside it, so that git finds what is in it.
    /// `None` when nothing is.
    ///
    /// Nobody compares the checksum of such a pack with its content: it stands
    /// for the names alone, which saves reading all of it once more.
    pub(super) fn finish(mut self, is_kept: bool) -> Result<Option<ScratchPack>> {
        self.stored.sort_unstable_by_key(|stored| stored.id);
        if self.stored.is_empty() {
            fs::remove_file(&self.path)?;
            return Ok(None);
        }
        let names = self.stored.iter().fold(Sha1::new(), |hash, stored| hash.chain_update(stored.id.as_bytes()));
        let checksum: [u8; 20] = names.finalize().into();
        self.file.write_all(&checksum)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(u32::try_from(self.stored.len()).context("too many files")?))?;
        let name = git2::Oid::from_bytes(&checksum)?;
        let to = |suffix: &str| self.path.with_file_name(format!("pack-{name}.{suffix}"));
        fs::write(to("idx"), index(&self.stored, checksum))?;
        if is_kept {
            fs::write(to("keep"), b"")?;
        }
        fs::rename(&self.path, to("pack"))?;
        Ok(Some(ScratchPack { path: to("pack"), stored: self.stored }))
    }
}

/// Counts and checks what is written.
struct CountedWriter<'a> {
    to: &'a mut File,
    crc: Crc,
    bytes: u64,
}

impl Write for CountedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.crc.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// An index of version 2 of objects in the order of their names.
fn index(stored: &[StoredObject], checksum: [u8; 20]) -> Vec<u8> {
    let mut out = b"\xfftOc\0\0\0\x02".to_vec();
    for first in 0..=255 {
        let up_to = stored.partition_point(|stored| stored.id.as_bytes()[0] <= first);
        out.extend_from_slice(&(up_to as u32).to_be_bytes());
    }
    stored.iter().for_each(|stored| out.extend_from_slice(stored.id.as_bytes()));
    stored.iter().for_each(|stored| out.extend_from_slice(&stored.crc.to_be_bytes()));
    let mut far: Vec<u64> = Vec::new();
    for stored in stored {
        let place = u32::try_from(stored.start).ok().filter(|start| start & 0x8000_0000 == 0).unwrap_or_else(|| {
            far.push(stored.start);
            0x8000_0000 | (far.len() - 1) as u32
        });
        out.extend_from_slice(&place.to_be_bytes());
    }
    far.iter().for_each(|start| out.extend_from_slice(&start.to_be_bytes()));
    out.extend_from_slice(&checksum);
    let own = Sha1::digest(&out);
    out.extend_from_slice(&own);
    out
}

/// A pack of the scratch repository.
#[derive(Debug)]
pub(in crate::snapshot) struct ScratchPack {
    path: PathBuf,
    /// By name.
    stored: Vec<StoredObject>,
}

impl ScratchPack {
    pub(in crate::snapshot) fn find(&self, id: git2::Oid) -> Option<&StoredObject> {
        self.stored.binary_search_by_key(&id, |stored| stored.id).ok().and_then(|n| self.stored.get(n))
    }

    /// In the order of their names.
    pub(in crate::snapshot) fn objects(&self) -> impl Iterator<Item = &StoredObject> {
        self.stored.iter()
    }

    /// An object as it stands in the pack.
    ///
    /// # Errors
    /// When the pack cannot be read.
    pub(in crate::snapshot) fn raw(&self, stored: &StoredObject) -> io::Result<impl Read + use<>> {
        self.part(stored.start, stored.end)
    }

    /// A content.
    ///
    /// # Errors
    /// When the pack cannot be read.
    pub(in crate::snapshot) fn content(&self, stored: &StoredObject) -> io::Result<impl Read + use<>> {
        let stream = io::BufReader::with_capacity(256 << 10, self.part(stored.data, stored.end)?);
        Ok(flate2::bufread::ZlibDecoder::new(stream))
    }

    fn part(&self, start: u64, end: u64) -> io::Result<io::Take<File>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file.take(end - start))
    }
}
