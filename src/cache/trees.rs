//! The trees of this machine: each in a folder that holds the tree (`fs/<key>`,
//! so that several can be the lower layers of one overlay), its record
//! (`entry.json`), and beside them `used`, which grows by one byte with every use,
//! so that its length is the number of hits and its time the last.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::habits::Habits;
use super::key::Components;
use super::pins::LockfilePins;
use super::record::{EntryOrigin, Record, SCHEMA, Scope};
use super::sources::Sources;
use crate::archive::{self, Owned, Ownership, Packed, TreeSummary};
use crate::crash;
use crate::digest::Digest;
use crate::disk::{self, Durability, lock::FileLock, scratch::Scratch};
use crate::error::integrity;

/// The file that makes a folder an entry.
const RECORD: &str = "entry.json";

/// What the tree was made from, beside it.
const SOURCES: &str = "sources.json";

/// The same of files that git ignores.
const BESIDE: &str = "beside.json";

/// What its lockfiles pin, beside it.
const PINS: &str = "pins.json";

/// The trees of one id mapping.
#[derive(Clone, Debug)]
pub struct Trees {
    folder: PathBuf,
    cache: PathBuf,
    boot_id: String,
}

/// A tree that is being made; removed when dropped.
#[derive(Debug)]
pub struct TreeDraft {
    scratch: Scratch,
}

impl TreeDraft {
    /// The tree.
    pub fn tree(&self) -> PathBuf {
        self.scratch.path().join("tree")
    }

    fn whole(&self) -> PathBuf {
        self.scratch.path().join("whole")
    }

    /// Notes which files of a workspace the tree was made from.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn made_from(&self, sources: &Sources) -> Result<()> {
        disk::write_json(&self.whole().join(SOURCES), sources, Durability::Cached)
    }

    /// Notes which other files of that workspace its tools could see, as they are on
    /// this machine. That travels nowhere.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn made_beside(&self, ignored: &Sources) -> Result<()> {
        disk::write_json(&self.whole().join(BESIDE), ignored, Durability::Cached)
    }

    /// Notes what the lockfiles pin by which the tree was made.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn pinned(&self, pins: &LockfilePins) -> Result<()> {
        disk::write_json(&self.whole().join(PINS), pins, Durability::Cached)
    }
}

/// How a sealing ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Sealed {
    /// This is the entry now.
    New(Box<Record>),
    /// There was one with the same content.
    Same(Box<Record>),
    /// There was one with other content, which stays; this one is kept for a
    /// comparison.
    Differs(Box<Record>),
}

impl Sealed {
    /// The entry that counts.
    pub fn record(&self) -> &Record {
        match self {
            Sealed::New(record) | Sealed::Same(record) | Sealed::Differs(record) => record,
        }
    }
}

impl Trees {
    /// The trees in `folder` of the cache at `cache`.
    pub fn new(folder: PathBuf, cache: PathBuf, boot_id: String) -> Self {
        Trees { folder, cache, boot_id }
    }

    /// The folder name of an entry.
    pub fn name(record: &Record) -> String {
        format!("{}-{}", record.key.hex(), record.scope.suffix())
    }

    fn place(&self, key: &Digest, scope: &Scope) -> PathBuf {
        self.folder.join(format!("{}-{}", key.hex(), scope.suffix()))
    }

    /// What an entry was made from; `None` where nobody noted it.
    pub fn sources(&self, record: &Record) -> Option<Sources> {
        disk::read_json(&self.place(&record.key, &record.scope).join(SOURCES)).ok().flatten()
    }

    /// Which files that nobody calls sources lay beside those; none where nobody noted it.
    pub fn beside(&self, record: &Record) -> Sources {
        disk::read_json(&self.place(&record.key, &record.scope).join(BESIDE)).ok().flatten().unwrap_or_default()
    }

    /// What its lockfiles pin; `None` where nobody noted it.
    pub fn pins(&self, record: &Record) -> Option<LockfilePins> {
        disk::read_json(&self.place(&record.key, &record.scope).join(PINS)).ok().flatten()
    }

    /// Where the tree of an entry is.
    pub fn tree(&self, record: &Record) -> PathBuf {
        self.place(&record.key, &record.scope).join("fs").join(record.key.hex())
    }

    /// The result that differed from an entry, where one was kept.
    pub fn other(&self, record: &Record) -> PathBuf {
        self.place(&record.key, &record.scope).with_extension("other").join("fs").join(record.key.hex())
    }

    /// An entry that is there and may be used.
    pub fn get(&self, key: &Digest, scope: &Scope) -> Option<Record> {
        self.usable(&self.place(key, scope)).filter(|record| record.key == *key && record.scope == *scope)
    }

    /// An entry of a task whose name is `fitting`, wherever that task is.
    pub fn of_a_task(&self, key: &Digest, fitting: &dyn Fn(&str) -> bool) -> Option<Record> {
        let start = format!("{}-t", key.hex());
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&start));
        let places = named.map(|entry| entry.path()).filter(|path| path.extension().is_none());
        let mut found: Vec<Record> = places.filter_map(|place| self.usable(&place)).collect();
        found.retain(|record| matches!(&record.scope, Scope::Task(name) if record.key == *key && fitting(name)));
        // The one that was made last.
        found.into_iter().max_by_key(|record| record.sealed_at)
    }

    fn usable(&self, place: &Path) -> Option<Record> {
        self.read(place).filter(|record| place.join("fs").join(record.key.hex()).is_dir())
    }

    fn read(&self, place: &Path) -> Option<Record> {
        self.read_at(&place.join(RECORD))
    }

    fn read_at(&self, path: &Path) -> Option<Record> {
        let record: Record = disk::read_json(path).ok()??;
        let current = record.boot_id.as_ref().is_none_or(|boot| *boot == self.boot_id);
        (record.schema == SCHEMA && current && record.components.key() == record.key).then_some(record)
    }

    /// All entries, by name and key.
    pub fn all(&self) -> Vec<Record> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let places = entries.map(|entry| entry.path()).filter(|path| path.extension().is_none());
        let mut all: Vec<Record> = places.filter_map(|place| self.read(&place)).collect();
        all.sort_by(|a, b| (&a.components.name, &a.key, &a.scope).cmp(&(&b.components.name, &b.key, &b.scope)));
        all
    }

    /// Folders that hold no entry that may be used.
    pub fn broken(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let places = entries.map(|entry| entry.path()).filter(|path| path.extension().is_none());
        places.filter(|place| self.usable(place).is_none()).collect()
    }

    /// Notes a use.
    pub fn note_use(&self, record: &Record) {
        let path = self.place(&record.key, &record.scope).join("used");
        let opened = OpenOptions::new().append(true).create(true).open(path);
        // A note that is lost makes the entry look older than it is.
        let _ = opened.and_then(|mut file| file.write_all(b"."));
    }

    /// How often an entry was used, and when last.
    pub fn uses(&self, record: &Record) -> (u64, Option<Timestamp>) {
        let used = fs::metadata(self.place(&record.key, &record.scope).join("used")).ok();
        let last = used.as_ref().and_then(|used| Timestamp::try_from(used.modified().ok()?).ok());
        (used.map_or(0, |used| used.len()), last)
    }

    /// An empty tree to be filled, on the same file system.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn draft(&self) -> Result<TreeDraft> {
        disk::create_private_dir(&self.folder)?;
        let scratch = Scratch::create(&self.cache)?;
        let whole = scratch.path().join("whole");
        for (path, mode) in [(whole.clone(), 0o700), (whole.join("fs"), 0o755), (scratch.path().join("tree"), 0o755)] {
            fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
        Ok(TreeDraft { scratch })
    }

    /// Waits until this process alone makes an entry.
    ///
    /// # Errors
    /// When there are no locks.
    pub fn lock(&self, key: &Digest, waiting: impl FnOnce()) -> Result<FileLock> {
        FileLock::acquire(&self.lock_file(key), waiting)
    }

    fn lock_file(&self, key: &Digest) -> PathBuf {
        self.cache.join("locks").join(format!("tree-{}", key.hex()))
    }

    /// Unpacks an archive into a draft.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for content that does not match or is
    /// hostile.
    pub fn unpack(
        &self,
        draft: &TreeDraft,
        blob: &crate::oci::Descriptor,
        diff_id: Option<&Digest>,
        content: Box<dyn std::io::Read + Send>,
        moved: &(dyn Fn(u64) -> std::io::Result<()> + Sync),
    ) -> Result<Vec<Owned>> {
        let root = open(&draft.tree())?;
        // Who this user is inside is not known yet.
        let nobody = (u32::MAX, u32::MAX);
        let target = archive::UnpackTarget { root: root.as_fd(), own_ids: nobody, kind: archive::ArchiveKind::Tree };
        Ok(archive::unpack(blob, diff_id, content, &target, moved)?.1)
    }

    /// What a tree holds now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn summarise(&self, tree: &Path, holder: &dyn Ownership) -> Result<TreeSummary> {
        look(tree, holder, false)
    }

    /// Makes a draft an entry. The first one wins.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when `expected` names another content.
    pub fn seal(
        &self,
        draft: TreeDraft,
        mut record: Record,
        expected: Option<&Digest>,
        holder: &dyn Ownership,
    ) -> Result<Sealed> {
        let (whole, tree) = (draft.whole(), draft.tree());
        record.tree =
            look(&tree, holder, true).with_context(|| format!("cannot read what {} holds", record.components.name))?;
        if whole.join(SOURCES).exists() {
            // Of several places, what a tool keeps below the home folder was not built here.
            let passed = record.components.path.contains(", ").then_some("home");
            let inside = |work: &dyn Fn() -> Result<()>| holder.inside(work);
            let (newest, habits) = archive::newest_inside(&inside, &tree, passed, &Habits::note)?;
            (record.newest, record.habits) = (Some(newest), habits);
        }
        record.boot_id = Some(self.boot_id.clone());
        if let Some(expected) = expected
            && record.tree.digest != *expected
        {
            holder.remove(&tree)?;
            return Err(integrity(format!(
                "the cache {} holds {}, and {expected} was expected",
                record.components.name, record.tree.digest
            ))
            .into());
        }
        crash::point("seal.made");
        disk::create_private_dir(&self.folder)?;
        let place = self.place(&record.key, &record.scope);
        let inner = whole.join("fs").join(record.key.hex());
        fs::rename(&tree, &inner).with_context(|| format!("cannot move {}", tree.display()))?;
        disk::write_json(&whole.join(RECORD), &record, Durability::Cached)?;
        if place.exists() && self.usable(&place).is_none() {
            self.set_aside(&place, holder)?;
        }
        if let Some(first) = self.usable(&place) {
            if first.tree.digest == record.tree.digest {
                holder.remove(&whole)?;
                return Ok(Sealed::Same(Box::new(first)));
            }
            let other = place.with_extension("other");
            if other.exists() {
                self.set_aside(&other, holder)?;
            }
            fs::rename(&whole, &other).with_context(|| format!("cannot keep {}", other.display()))?;
            return Ok(Sealed::Differs(Box::new(first)));
        }
        fs::rename(&whole, &place).with_context(|| format!("cannot publish {}", place.display()))?;
        crash::point("seal.published");
        Ok(Sealed::New(Box::new(record)))
    }

    /// A record for a tree that is about to be sealed.
    pub fn record(components: Components, scope: Scope, sealed_at: Timestamp, origin: EntryOrigin) -> Record {
        let tree = TreeSummary { digest: Digest::of(b""), bytes: 0, entries: 0 };
        let key = components.key();
        Record {
            schema: SCHEMA,
            key,
            scope,
            components,
            tree,
            sealed_at,
            origin,
            packed: None,
            grown: 0,
            newest: None,
            habits: Habits::default(),
            boot_id: None,
        }
    }

    /// Packs an entry into `to`, and remembers what it became.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when it is no longer what was sealed.
    pub fn pack(&self, record: &Record, to: &Path, holder: &dyn Ownership) -> Result<Packed> {
        let tree = self.tree(record);
        let answer = to.with_extension("json");
        holder.inside(&|| {
            let root = open(&tree)?;
            let found = archive::summarise(root.as_fd())?;
            if found != record.tree {
                return Err(integrity(format!("{} holds {}, not what was sealed", tree.display(), found.digest)).into());
            }
            let out = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
            let packed = archive::pack(root.as_fd(), std::io::BufWriter::new(out))?;
            disk::write_json(&answer, &packed, Durability::Cached)
        })?;
        disk::read_json(&answer)?.context("nothing was packed")
    }

    /// Gives an entry to all tasks of a store.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn promote(&self, record: &Record, scope: Scope, holder: &dyn Ownership) -> Result<Record> {
        if let Some(known) = self.get(&record.key, &scope) {
            if known.tree.digest == record.tree.digest {
                return Ok(known);
            }
            return Err(integrity(format!(
                "the project has another content for {}: {} instead of {}",
                record.components.name, known.tree.digest, record.tree.digest
            ))
            .hint("look at both with envctl cache diff; remove one with envctl cache prune --key")
            .into());
        }
        let promoted = Record { scope, ..record.clone() };
        let (from, to) = (self.place(&record.key, &record.scope), self.place(&promoted.key, &promoted.scope));
        if to.exists() {
            self.set_aside(&to, holder)?;
        }
        // Between the two steps the entry counts for nobody, which costs time.
        fs::rename(&from, &to).with_context(|| format!("cannot move {}", from.display()))?;
        disk::write_json(&to.join(RECORD), &promoted, Durability::Cached)?;
        Ok(promoted)
    }

    /// Moves an entry out of the way, so that nothing runs on it any more.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn remove(&self, record: &Record, holder: &dyn Ownership) -> Result<()> {
        let place = self.place(&record.key, &record.scope);
        let other = place.with_extension("other");
        if other.exists() {
            self.set_aside(&other, holder)?;
        }
        self.set_aside(&place, holder)
    }

    /// Takes away a folder that holds no entry, such as one that a reboot cut short.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn remove_broken(&self, place: &Path, holder: &dyn Ownership) -> Result<()> {
        self.set_aside(place, holder)
    }

    /// Keeps a damaged entry where nothing uses it.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn quarantine(&self, record: &Record) -> Result<PathBuf> {
        disk::quarantine(&self.place(&record.key, &record.scope), &self.cache)
    }

    fn set_aside(&self, place: &Path, holder: &dyn Ownership) -> Result<()> {
        let trash = self.cache.join("trash");
        disk::create_private_dir(&trash)?;
        let aside = tempfile::Builder::new().prefix("").tempdir_in(&trash)?.keep();
        fs::rename(place, aside.join("entry")).with_context(|| format!("cannot move {} away", place.display()))?;
        // What cannot be removed now is only garbage, and out of the way.
        let _ = holder.remove(&aside);
        Ok(())
    }

    /// Whether an entry would not outlive a reboot.
    pub fn unflushed(records: &[Record]) -> bool {
        records.iter().any(|record| record.boot_id.is_some())
    }

    /// Flushes entries that never were.
    ///
    /// # Errors
    /// When the file system cannot be flushed.
    pub fn flush(&self, records: &[Record]) -> Result<()> {
        let known = records.iter().filter_map(|record| self.get(&record.key, &record.scope));
        let unflushed = known.filter(|record| record.boot_id.is_some());
        // Others may remove one meanwhile, promote it, or make it again.
        let inside = |record: Record| {
            Some((record.key, disk::FileInside::open(&self.place(&record.key, &record.scope), RECORD).ok()?))
        };
        let pending: Vec<(Digest, disk::FileInside)> = unflushed.filter_map(inside).collect();
        if pending.is_empty() {
            return Ok(());
        }
        rustix::fs::syncfs(&File::open(&self.folder)?)?;
        for (key, inside) in pending {
            // Whoever is at work on it, or uses it next, flushes it again.
            let Some(_lock) = FileLock::attempt(&self.lock_file(&key))? else { continue };
            if let Some(now) = self.read_at(inside.path()) {
                disk::write_json(inside.path(), &Record { boot_id: None, ..now }, Durability::Flushed)?;
            }
        }
        Ok(())
    }
}

fn open(tree: &Path) -> Result<File> {
    File::open(tree).with_context(|| format!("cannot open {}", tree.display()))
}

fn look(tree: &Path, holder: &dyn Ownership, clean: bool) -> Result<TreeSummary> {
    archive::summarise_inside(&|work| holder.inside(work), tree, clean)
}

#[cfg(test)]
mod tests;
