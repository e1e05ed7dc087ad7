//! One zlib stream (RFC 1950) of a file of any size, made by all processors.
//!
//! The file is cut into parts that are compressed apart, each up to a sync flush
//! (RFC 1951, 3.2.4): put one after the other they are one stream. What does not
//! become shorter is stored as it is.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compress, Compression, FlushCompress, Status};
use sha1::{Digest as _, Sha1};
use simd_adler32::Adler32;

use crate::error::of_thread;

/// Bytes of one part.
const PART: usize = 1 << 20;
/// Parts in memory at once.
const AT_ONCE: usize = 16;
/// So much of a part tells whether the rest of it is worth the time.
const SAMPLE: usize = 32 << 10;
/// A stored block holds no more.
const MAX_STORED: usize = 0xffff;

/// The fastest level: what travels is packed for a colleague who waits.
pub(super) fn level() -> Compression {
    Compression::fast()
}

/// Reads `size` bytes, adds them to `hash`, and writes them compressed.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] when there are fewer, and what reading and
/// writing say.
pub(super) fn copy(from: &mut dyn Read, size: u64, hash: &mut Sha1, to: &mut (dyn Write + Send)) -> io::Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut adler = Adler32::new();
    let mut left = size;
    // Deflate with a window of 32 KiB, the fastest level.
    to.write_all(&[0x78, 0x01])?;
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::sync_channel::<Vec<Vec<u8>>>(1);
        let writing = scope.spawn(move || {
            for parts in receive {
                parts.iter().try_for_each(|part| to.write_all(part))?;
            }
            Ok::<_, io::Error>(to)
        });
        let mut buffer = vec![0; PART * AT_ONCE];
        while left > 0 {
            let count = left.min(buffer.len() as u64) as usize;
            from.read_exact(&mut buffer[..count])?;
            left -= count as u64;
            // A writer that failed has dropped its end, and says why below.
            if send.send(together(&buffer[..count], workers, hash, &mut adler)?).is_err() {
                break;
            }
        }
        drop(send);
        let to = of_thread(writing.join(), "the thread that writes").map_err(io::Error::other)??;
        // An empty last block.
        to.write_all(&[0x03, 0x00])?;
        to.write_all(&adler.finish().to_be_bytes())
    })
}

/// Compresses the parts of a buffer, and hashes it meanwhile.
fn together(buffer: &[u8], workers: usize, hash: &mut Sha1, adler: &mut Adler32) -> io::Result<Vec<Vec<u8>>> {
    let parts: Vec<&[u8]> = buffer.chunks(PART).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((n, part)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|n| Some((n, parts.get(n)?))) {
            done.push((n, deflate(part)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        hash.update(buffer);
        adler.write(buffer);
        let mut done = work();
        for thread in threads {
            let part = of_thread(thread.join(), "a thread that compresses").map_err(io::Error::other)?;
            done.extend(part);
        }
        Ok::<_, io::Error>(done)
    })?;
    done.sort_unstable_by_key(|(n, _)| *n);
    Ok(done.into_iter().map(|(_, part)| part).collect())
}

/// One part up to a sync flush.
fn deflate(part: &[u8]) -> Vec<u8> {
    let sample = &part[..part.len().min(SAMPLE)];
    let worth = compressed(sample, sample.len() - sample.len() / 32);
    let shorter = worth.and_then(|_| compressed(part, part.len()));
    shorter.unwrap_or_else(|| stored(part))
}

/// `None` for what does not fit into `room` bytes.
fn compressed(part: &[u8], room: usize) -> Option<Vec<u8>> {
    let mut compress = Compress::new(level(), false);
    let mut out = Vec::with_capacity(room);
    let status = compress.compress_vec(part, &mut out, FlushCompress::Sync).ok()?;
    // A full buffer may hide that there is more.
    let all = compress.total_in() == part.len() as u64 && out.len() < out.capacity();
    (status == Status::Ok && all).then_some(out)
}

fn stored(part: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.len() + part.len() / MAX_STORED * 5 + 5);
    for block in part.chunks(MAX_STORED) {
        let length = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(content: &[u8]) -> Vec<u8> {
        let (mut hash, mut out) = (Sha1::new(), Vec::new());
        copy(&mut &*content, content.len() as u64, &mut hash, &mut out).unwrap();
        assert_eq!(hash.finalize(), Sha1::digest(content));
        let mut back = Vec::new();
        flate2::read::ZlibDecoder::new(&*out).read_to_end(&mut back).unwrap();
        assert!(back == content);
        out
    }

    /// The same each time, and nothing that gets shorter.
    fn noise(size: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        (0..size).map(next).collect()
    }

    #[test]
    fn every_size_around_a_part_comes_back() {
        for size in [0, 1, SAMPLE, MAX_STORED, MAX_STORED + 1, PART - 1, PART, PART + 1, AT_ONCE * PART + 7] {
            let text: Vec<u8> = b"a line of text\n".iter().copied().cycle().take(size).collect();
            let packed = round_trip(&text);
            assert!(size < 1000 || packed.len() < size / 4);
            let packed = round_trip(&noise(size));
            assert!(packed.len() <= size + size / 1000 + 20);
        }
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let error = copy(&mut &b"short"[..], 6, &mut Sha1::new(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn any_mixture_comes_back(parts in proptest::collection::vec((any::<u8>(), 1..200_000_usize, any::<bool>()), 0..12)) {
            let mut content = Vec::new();
            for (byte, size, is_noise) in parts {
                content.extend(if is_noise { noise(size) } else { vec![byte; size] });
            }
            round_trip(&content);
        }
    }
}
