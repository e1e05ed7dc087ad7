//! Files that are written all the time, such as logs: each is copied, and read from
//! its copy from then on. A copy counts when the file still begins with the same
//! bytes afterwards: then it is what the file held at one moment.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustix::fs::Stat;

/// A copy takes at most such a part of what the disk has left.
const PART: u64 = 8;
const CHUNK: usize = 64 << 10;

/// Copies of files of a checkout, and what `fstat` said of each when it was copied.
#[derive(Debug, Default)]
pub(in crate::snapshot) struct Copies(Mutex<HashMap<Vec<u8>, (PathBuf, Stat)>>);

impl Copies {
    /// The copy of the file at this path.
    pub(in crate::snapshot) fn of(&self, path: &[u8]) -> Option<(PathBuf, Stat)> {
        self.known().get(path).cloned()
    }

    /// Copies a file of the checkout into this folder. False when it was changed
    /// meanwhile otherwise than by something at its end.
    ///
    /// # Errors
    /// When the file cannot be read, or the copy not be written.
    pub(in crate::snapshot) fn take(&self, folder: &Path, path: &[u8], file: File) -> Result<bool> {
        std::fs::create_dir_all(folder)?;
        let stat = rustix::fs::fstat(&file)?;
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        // Sparse files and many of them must not fill the disk.
        if size > crate::disk::free_space(folder)?.0 / PART {
            return Ok(false);
        }
        let name = folder.join(self.known().len().to_string());
        let mut copy = File::options().read(true).write(true).create(true).truncate(true).open(&name)?;
        let copied = std::io::copy(&mut (&file).take(size), &mut copy)
            .context("cannot copy a file that is written all the time")?;
        if copied != size || !begins_with(file, copy)? {
            return Ok(false);
        }
        self.known().insert(path.to_vec(), (name, stat));
        Ok(true)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Vec<u8>, (PathBuf, Stat)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a file holds what its copy does, and perhaps more.
fn begins_with(mut file: File, mut copy: File) -> Result<bool> {
    file.rewind()?;
    copy.rewind()?;
    let (mut copied, mut held) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let n = copy.read(&mut copied)?;
        if n == 0 {
            return Ok(true);
        }
        let (copied, held) = (copied.get(..n).unwrap_or_default(), held.get_mut(..n).unwrap_or_default());
        match file.read_exact(held) {
            Ok(()) if copied == held => {}
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error.into()),
            _ => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_grew_is_what_it_was_and_one_that_was_written_anew_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("log");
        std::fs::write(&place, vec![b'a'; CHUNK + 7]).unwrap();
        let copies = Copies::default();
        let held = copies.take(&folder.path().join("copies"), b"log", File::open(&place).unwrap()).unwrap();
        assert!(held);
        let (copy, stat) = copies.of(b"log").unwrap();
        assert_eq!(stat.st_size as usize, CHUNK + 7);
        let grown = |text: &[u8]| {
            File::options().append(true).open(&place).unwrap().write_all(text).unwrap();
            begins_with(File::open(&place).unwrap(), File::open(&copy).unwrap()).unwrap()
        };
        assert!(grown(b""));
        assert!(grown(b"more"));
        std::fs::write(&place, vec![b'b'; CHUNK + 7]).unwrap();
        assert!(!grown(b"more"));
        std::fs::write(&place, "aa").unwrap();
        assert!(!grown(b""));
        assert!(copies.of(b"other").is_none());
    }
}
