//! What files hold, on its way into a snapshot: read once, named as git names
//! it, and packed at once, by all processors, whatever its size. Git then
//! neither reads nor packs it again.
//!
//! Two kinds of packs lie in the scratch repository: those of contents that
//! travel as they are, which git leaves alone, and those of contents that are
//! likely to be a small change of what the base has: of these git makes deltas.

mod deflate;
mod pack;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use flate2::{Compress, Compression, FlushCompress, Status};
use git2::OdbLookupFlags;
use sha1::{Digest as _, Sha1};

use crate::error::of_thread;

use pack::Writer;
pub(super) use pack::{HEADER, ScratchPack, header};

/// A content of at most so many bytes is packed by one processor, in memory.
const SMALL: u64 = 1 << 20;
/// A changed file of at most so many bytes is worth a delta.
const COMPARED: u64 = 16 << 20;
/// Contents of fewer bytes together are packed well rather than fast.
const FEW: u64 = 8 << 20;

/// What was stored in a scratch repository.
#[derive(Debug)]
pub(super) struct StoredContents {
    git_dir: PathBuf,
    /// Packs that git leaves alone.
    whole: Mutex<Vec<Arc<ScratchPack>>>,
    /// All that was stored: nothing is stored twice, so nothing travels twice.
    known: Mutex<HashSet<git2::Oid>>,
    count: AtomicUsize,
}

/// A file whose content is to be stored.
#[derive(Clone, Copy)]
pub(super) struct WantedFile<T> {
    pub(super) file: T,
    /// In bytes, as far as that is known: it decides how well it is packed.
    pub(super) size: u64,
    /// Whether the base has another content in its place.
    pub(super) is_change: bool,
}

impl StoredContents {
    /// Of the repository in this folder, which has none yet.
    pub(super) fn of(git_dir: &Path) -> Self {
        StoredContents {
            git_dir: git_dir.to_owned(),
            whole: Mutex::default(),
            known: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Stores what these files hold, unless the checkout has it among its objects;
    /// the names in the same order.
    ///
    /// # Errors
    /// When a file cannot be read, or changes its size meanwhile.
    pub(super) fn store<T: Sync>(
        &self,
        wanted: &[WantedFile<T>],
        open: impl Fn(&T) -> Result<File> + Sync,
    ) -> Result<Vec<git2::Oid>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.git_dir.join("objects/pack");
        std::fs::create_dir_all(&folder)?;
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let total: u64 = wanted.iter().map(|wanted| wanted.size).sum();
        let pass = Pass {
            git_dir: &self.git_dir,
            known: lock(&self.known).clone(),
            new: Mutex::default(),
            whole: Mutex::new(Writer::create(&folder, &format!("whole-{n}"))?),
            changes: Mutex::new(Writer::create(&folder, &format!("changes-{n}"))?),
            level: if total < FEW { Compression::default() } else { deflate::level() },
        };
        let ids = pass.all(wanted, &open)?;
        let Pass { whole, changes, new, .. } = pass;
        let made = whole.into_inner().unwrap_or_else(PoisonError::into_inner).finish(true)?;
        changes.into_inner().unwrap_or_else(PoisonError::into_inner).finish(false)?;
        lock(&self.whole).extend(made.map(Arc::new));
        lock(&self.known).extend(new.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(ids)
    }

    /// The packs that git leaves alone.
    pub(super) fn whole(&self) -> Vec<Arc<ScratchPack>> {
        lock(&self.whole).clone()
    }

    /// Reads a content from one of them; `None` where it is in none.
    ///
    /// # Errors
    /// When the pack cannot be read.
    pub(super) fn open(&self, id: git2::Oid) -> Result<Option<impl Read + use<>>> {
        let found = self.whole().into_iter().find_map(|pack| pack.find(id).copied().map(|stored| (pack, stored)));
        found.map(|(pack, stored)| pack.content(&stored)).transpose().context("cannot read what was captured")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The packs of one call, while they are written.
struct Pass<'a> {
    git_dir: &'a Path,
    known: HashSet<git2::Oid>,
    /// What it stores itself: known when all of it is stored.
    new: Mutex<HashSet<git2::Oid>>,
    whole: Mutex<Writer>,
    changes: Mutex<Writer>,
    level: Compression,
}

/// What became of a file.
enum ContentFate {
    Stored(git2::Oid),
    /// It is stored when the small ones are.
    Large,
}

impl Pass<'_> {
    fn all<T: Sync>(
        &self,
        wanted: &[WantedFile<T>],
        open: &(impl Fn(&T) -> Result<File> + Sync),
    ) -> Result<Vec<git2::Oid>> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8).min(wanted.len());
        let next = AtomicUsize::new(0);
        let work = || self.work(wanted, &next, open);
        let parts = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = threads.into_iter().map(|thread| of_thread(thread.join(), "a thread that reads files")?);
            others.chain([own]).collect::<Result<Vec<_>>>()
        })?;
        let mut fates: Vec<(usize, ContentFate)> = parts.into_iter().flatten().collect();
        fates.sort_unstable_by_key(|(n, _)| *n);
        let own = git2::Repository::open_bare(self.git_dir)?;
        let odb = own.odb()?;
        let stored = fates.into_iter().zip(wanted).map(|((_, fate), wanted)| match fate {
            ContentFate::Stored(id) => Ok(id),
            ContentFate::Large => self.large(&odb, open(&wanted.file)?, wanted.is_change),
        });
        stored.collect()
    }

    /// One thread's share of the small files.
    fn work<T: Sync>(
        &self,
        wanted: &[WantedFile<T>],
        next: &AtomicUsize,
        open: &(impl Fn(&T) -> Result<File> + Sync),
    ) -> Result<Vec<(usize, ContentFate)>> {
        let own = git2::Repository::open_bare(self.git_dir)?;
        let odb = own.odb()?;
        let mut fates = Vec::new();
        let mut content = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = wanted.get(n) else { return Ok(fates) };
            let file = open(&one.file)?;
            content.clear();
            file.take(SMALL + 1).read_to_end(&mut content)?;
            if content.len() as u64 > SMALL {
                fates.push((n, ContentFate::Large));
                continue;
            }
            let size = content.len() as u64;
            let id = git2::Oid::from_bytes(&named(size).chain_update(&content).finalize())?;
            if self.is_new(&odb, id) {
                let stream = zlib(&content, self.level)?;
                lock(if one.is_change { &self.changes } else { &self.whole }).add(id, size, &stream)?;
            }
            fates.push((n, ContentFate::Stored(id)));
        }
    }

    /// Whether nobody has this content yet. The one who asks stores it.
    ///
    /// An object that a collection of git moves into a pack meanwhile counts as new:
    /// it then travels from here.
    fn is_new(&self, odb: &git2::Odb<'_>, id: git2::Oid) -> bool {
        !self.known.contains(&id) && !odb.exists_ext(id, OdbLookupFlags::NO_REFRESH) && lock(&self.new).insert(id)
    }

    fn large(&self, odb: &git2::Odb<'_>, mut file: File, is_change: bool) -> Result<git2::Oid> {
        let size = file.metadata()?.len();
        let writer = if is_change && size <= COMPARED { &self.changes } else { &self.whole };
        lock(writer).stream(size, |to| {
            let mut hash = named(size);
            deflate::copy(&mut file, size, &mut hash, to).context("it changed while it was read")?;
            let id = git2::Oid::from_bytes(&hash.finalize())?;
            Ok((id, self.is_new(odb, id)))
        })
    }
}

/// The name that git gives a content.
///
/// # Errors
/// When it cannot be read, or changes its size meanwhile.
pub(super) fn name_of(file: File) -> Result<git2::Oid> {
    let size = file.metadata()?.len();
    let mut hash = named(size);
    let mut file = file.take(size);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    anyhow::ensure!(file.limit() == 0, "it changed while it was read");
    Ok(git2::Oid::from_bytes(&hash.finalize())?)
}

/// The hash of a blob of this size, up to its content.
fn named(size: u64) -> Sha1 {
    Sha1::new().chain_update(format!("blob {size}\0"))
}

/// A content as one zlib stream.
fn zlib(content: &[u8], level: Compression) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 64 + 64);
    let mut compress = Compress::new(level, true);
    match compress.compress_vec(content, &mut out, FlushCompress::Finish)? {
        Status::StreamEnd => Ok(out),
        _ => anyhow::bail!("a content could not be compressed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> (tempfile::TempDir, git2::Repository) {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init_bare(dir.path()).unwrap();
        (dir, repo)
    }

    /// Sizes on both sides of every limit; text and what does not get shorter.
    fn samples() -> Vec<Vec<u8>> {
        let text = |size: usize| b"a line of text, again\n".iter().copied().cycle().take(size).collect::<Vec<u8>>();
        let mut state = 7_u32;
        let mut noise = |size: usize| -> Vec<u8> {
            let next = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            (0..size).map(next).collect()
        };
        let small = SMALL as usize;
        vec![
            text(0),
            text(1),
            text(5000),
            noise(5000),
            noise(small),
            text(small + 1),
            noise(small + 1),
            noise(3 * small),
        ]
    }

    #[test]
    fn git_and_its_library_read_what_is_stored() {
        let (dir, repo) = repository();
        let samples = samples();
        let files: Vec<_> = samples
            .iter()
            .map(|content| {
                let path = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
                std::fs::write(path.path(), content).unwrap();
                path
            })
            .collect();
        let contents = StoredContents::of(dir.path());
        let wanted: Vec<_> =
            files.iter().enumerate().map(|(n, file)| WantedFile { file, size: 0, is_change: n % 2 == 1 }).collect();
        let ids = contents.store(&wanted, |file| Ok(file.reopen()?)).unwrap();
        for (id, content) in ids.iter().zip(&samples) {
            assert_eq!(*id, git2::Oid::hash_object(git2::ObjectType::Blob, content).unwrap());
            assert!(repo.find_blob(*id).unwrap().content() == content);
        }
        let checked = std::process::Command::new("git")
            .arg("--git-dir")
            .arg(dir.path())
            .args(["cat-file", "--batch-check", "--batch-all-objects"])
            .output()
            .unwrap();
        let printed = String::from_utf8(checked.stdout).unwrap();
        assert_eq!(printed.lines().count(), samples.len(), "{printed}");
        let whole = contents.whole();
        let stored: Vec<_> = whole.iter().flat_map(|pack| pack.objects().map(move |stored| (pack, stored))).collect();
        assert_eq!(stored.len(), samples.len() / 2);
        for (pack, stored) in stored {
            let mut back = Vec::new();
            pack.content(stored).unwrap().read_to_end(&mut back).unwrap();
            assert_eq!(git2::Oid::hash_object(git2::ObjectType::Blob, &back).unwrap(), stored.id);
        }
    }

    #[test]
    fn what_is_there_already_is_not_stored_again() {
        let (dir, repo) = repository();
        let samples = samples();
        samples.iter().for_each(|content| assert!(repo.blob(content).is_ok()));
        let contents = StoredContents::of(dir.path());
        let wanted: Vec<_> = samples.iter().map(|file| WantedFile { file, size: 0, is_change: false }).collect();
        let open = |content: &&Vec<u8>| {
            let mut file = tempfile::tempfile()?;
            std::io::Write::write_all(&mut file, content)?;
            std::io::Seek::rewind(&mut file)?;
            Ok(file)
        };
        contents.store(&wanted, open).unwrap();
        assert!(contents.whole().is_empty());
        assert_eq!(std::fs::read_dir(dir.path().join("objects/pack")).unwrap().count(), 0);
    }
}
