//! One blob, one stream: through both digests and decompression into files.
//! Holds a few chunks in memory, whatever the size.

use std::fs;
use std::io::{self, BufReader, Read};
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Result;

use super::extract::{ArchiveKind, Counts, Extractor, Owned};
use super::tar::Tar;
use crate::digest::{Digest, Hasher, Verified};
use crate::error::integrity;
use crate::oci::{Descriptor, unwrap_io};

/// Chunks between decompression and extraction.
const CHUNK: usize = 256 << 10;
/// A layer may grow by this factor over its compressed size, or to the floor.
const MAX_RATIO: u64 = 200;
const RATIO_FLOOR: u64 = 8 << 30;

/// Where an archive is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct UnpackTarget<'a> {
    /// The folder that becomes the archive's root.
    pub root: BorrowedFd<'a>,
    /// The ids inside that the unpacking user's own files stand for.
    pub own_ids: (u32, u32),
    /// What some names mean.
    pub kind: ArchiveKind,
}

/// Unpacks a compressed archive that hashes to `blob`'s digest, and to
/// `diff_id` uncompressed where one is given. `moved` is told how many more bytes were read; its
/// error stops it.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] for content that does not match or is
/// hostile; what was unpacked so far stays in the target.
pub fn unpack(
    blob: &Descriptor,
    diff_id: Option<&Digest>,
    content: Box<dyn Read + Send>,
    target: &UnpackTarget<'_>,
    moved: &(dyn Fn(u64) -> io::Result<()> + Sync),
) -> Result<(Counts, Vec<Owned>)> {
    let umask = umask();
    let (chunks, incoming) = sync_channel::<io::Result<Vec<u8>>>(4);
    let (spent, spare) = sync_channel::<Vec<u8>>(8);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Err(error) = inflate(blob, diff_id, CountedReader { inner: content, moved }, &chunks, &spare) {
                let _ = chunks.send(Err(error));
            }
        });
        let mut stream = Chunks { incoming, spent, current: Vec::new(), at: 0, ended: false };
        let extractor = Extractor::new(target.root, target.own_ids, umask, target.kind);
        let mut tar = Tar::new(&mut stream);
        let extracted = extractor.run(&mut tar);
        match extracted {
            Ok(done) => {
                // Both digests are known only at the very end of the stream.
                io::copy(&mut stream, &mut io::sink())?;
                Ok(done)
            }
            // A stream that does not match its digest explains better than
            // the nonsense that was found in it.
            Err(error) if stream.ended => Err(error),
            Err(error) if error.get_ref().is_some() => match io::copy(&mut stream, &mut io::sink()) {
                Err(stream_error) => Err(stream_error),
                Ok(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    });
    outcome.map_err(unwrap_io)
}

/// Whether it is zstd: a frame, or one to be skipped, which parallel writers begin with.
fn is_zstd(magic: &[u8]) -> bool {
    matches!(magic, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Ways to compress that no reader of images has to know.
fn unsupported(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}

fn unsupported_fault(name: &str) -> crate::error::Fault {
    integrity(format!("the layer is compressed with {name}, which is not supported"))
        .hint("build the image with gzip or zstd layers")
}

/// Reads, checks and decompresses; sends what comes out.
fn inflate(
    layer: &Descriptor,
    diff_id: Option<&Digest>,
    counted: CountedReader<'_>,
    chunks: &SyncSender<io::Result<Vec<u8>>>,
    spare: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut verified = BufReader::with_capacity(CHUNK, Verified::new(counted, layer.size, layer.digest));
    let mut plain = decompressed(&mut verified)?;
    let limit = layer.size.saturating_mul(MAX_RATIO).max(RATIO_FLOOR);
    let mut hasher = Hasher::default();
    let mut total = 0;
    let broken = loop {
        let mut chunk = spare.try_recv().unwrap_or_default();
        let broken = fill(&mut plain, &mut chunk);
        let filled = chunk.len();
        hasher.update(&chunk);
        total += filled as u64;
        if total > limit {
            return Err(fault(format!("{} unpacks to more than {limit} bytes: a decompression bomb", layer.digest)));
        }
        // The extractor is gone: it has its own error to report.
        if (filled > 0 && chunks.send(Ok(chunk)).is_err()) || broken.is_some() || filled == 0 {
            break broken;
        }
    };
    drop(plain);
    // What follows the compressed stream is covered by the digest as well; and
    // a wrong digest explains a broken stream better than the stream does.
    io::copy(&mut verified, &mut io::sink())?;
    if let Some(error) = broken {
        return match error.get_ref() {
            Some(inner) if inner.is::<crate::error::Fault>() => Err(error),
            _ => Err(fault(format!("the layer {} cannot be decompressed: {error}", layer.digest))),
        };
    }
    let actual = hasher.finish();
    if let Some(diff_id) = diff_id
        && actual != *diff_id
    {
        return Err(fault(format!("the layer {} unpacks to {actual}, the image says {diff_id}", layer.digest)));
    }
    Ok(())
}

/// What a stream unpacks to, whichever way it is compressed.
fn decompressed<'a>(compressed: &'a mut impl io::BufRead) -> io::Result<Box<dyn Read + 'a>> {
    let magic = compressed.fill_buf()?;
    Ok(if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(compressed))
    } else if is_zstd(magic) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
        decoder.window_log_max(27)?;
        Box::new(decoder)
    } else if let Some(name) = unsupported(magic) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, unsupported_fault(name)));
    } else {
        Box::new(compressed)
    })
}

/// Fills a chunk, or as much of it as there is; and says what broke the stream.
fn fill(plain: &mut impl Read, chunk: &mut Vec<u8>) -> Option<io::Error> {
    chunk.resize(CHUNK, 0);
    let mut filled = 0;
    let mut broken = None;
    while filled < CHUNK {
        match plain.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    chunk.truncate(filled);
    broken
}

fn fault(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, integrity(message))
}

struct CountedReader<'a> {
    inner: Box<dyn Read + Send>,
    moved: &'a (dyn Fn(u64) -> io::Result<()> + Sync),
}

impl Read for CountedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.moved)(count as u64)?;
        Ok(count)
    }
}

/// The receiving end: a reader over chunks that gives spent ones back.
struct Chunks {
    incoming: Receiver<io::Result<Vec<u8>>>,
    spent: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            if self.ended {
                return Ok(0);
            }
            match self.incoming.recv() {
                Ok(Ok(chunk)) => {
                    let _ = self.spent.try_send(std::mem::replace(&mut self.current, chunk));
                    self.at = 0;
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => self.ended = true,
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The process's umask, read without changing it.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o777)
}
