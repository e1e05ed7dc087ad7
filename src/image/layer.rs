//! The layer cache: each layer once per id mapping, as a folder that holds the
//! tree (`fs`) and, beside it, a record (`layer.json`).
//!
//! Invariants: an entry is absent or whole (built in a private folder, then
//! renamed); an entry that was never flushed counts only in the boot that made
//! it; the record lies outside the tree, so no layer can bring its own.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::archive::{self, Counts, Owned, Ownership, TreeSummary};
use crate::digest::Digest;
use crate::disk::{self, Durability, scratch::Scratch};
use crate::error::failure;
use crate::oci::Descriptor;

/// The file that makes a folder a layer.
const RECORD: &str = "layer.json";

/// What is known about a stored layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// What extraction did.
    #[serde(flatten)]
    pub counts: Counts,
    /// Ids that had no place in the mapping.
    pub unmapped: Vec<u32>,
    /// The boot in which it was written, while it was never flushed.
    pub boot_id: Option<String>,
    /// What its files hold; known some time after it was unpacked.
    #[serde(default)]
    pub tree: Option<TreeSummary>,
}

/// The layers of one id mapping.
#[derive(Clone, Debug)]
pub struct Layers {
    folder: PathBuf,
    cache: PathBuf,
    boot_id: String,
}

/// A layer extracted into its private folder, not yet visible.
#[derive(Debug)]
pub struct Extracted {
    scratch: Scratch,
    diff_id: Digest,
    counts: Counts,
    owned: Vec<Owned>,
}

impl Extracted {
    /// Digest of the uncompressed tar.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// The private tree.
    pub fn tree(&self) -> PathBuf {
        self.scratch.path().join("fs")
    }
}

impl Layers {
    /// The layers in `folder` of the cache at `cache`.
    pub fn new(folder: PathBuf, cache: PathBuf, boot_id: String) -> Self {
        Layers { folder, cache, boot_id }
    }

    /// The tree of a layer that is there.
    pub fn tree(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join(diff_id.hex()).join("fs")
    }

    /// The record of a layer; `None` when it has to be extracted.
    pub fn get(&self, diff_id: &Digest) -> Option<LayerRecord> {
        self.read(&self.folder.join(diff_id.hex()).join(RECORD), diff_id)
    }

    fn read(&self, path: &Path, diff_id: &Digest) -> Option<LayerRecord> {
        let record: LayerRecord = disk::read_json(path).ok()??;
        let current = record.boot_id.as_ref().is_none_or(|boot| *boot == self.boot_id);
        (record.diff_id == *diff_id && current).then_some(record)
    }

    /// Streams one compressed layer through both digests into a tree. Holds a
    /// few chunks in memory, whatever its size.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for content that does not match or is
    /// hostile. Nothing of it stays.
    pub fn extract(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        content: Box<dyn Read + Send>,
        own_ids: (u32, u32),
        moved: &(dyn Fn(u64) -> io::Result<()> + Sync),
    ) -> Result<Extracted> {
        let scratch = Scratch::create(&self.cache)?;
        let tree = scratch.path().join("fs");
        fs::create_dir(&tree).with_context(|| format!("cannot create {}", tree.display()))?;
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755))?;
        let root = File::open(&tree).with_context(|| format!("cannot open {}", tree.display()))?;
        let target = archive::UnpackTarget { root: root.as_fd(), own_ids, kind: archive::ArchiveKind::Layer };
        let (counts, owned) = archive::unpack(layer, Some(diff_id), content, &target, moved)
            .with_context(|| format!("cannot unpack layer {}", layer.digest))?;
        Ok(Extracted { scratch, diff_id: *diff_id, counts, owned })
    }

    /// Settles owners and makes the layer visible.
    ///
    /// # Errors
    /// When owners cannot be set or the folder cannot be renamed.
    pub fn publish(&self, extracted: Extracted, ownership: &dyn Ownership) -> Result<LayerRecord> {
        let Extracted { scratch, diff_id, counts, owned } = extracted;
        crate::crash::point("cold.layer-unpacked");
        let tree = scratch.path().join("fs");
        let root = File::open(&tree).with_context(|| format!("cannot open {}", tree.display()))?;
        let unmapped = ownership.settle(root.as_fd(), &owned).context("cannot set the owners of the image's files")?;
        let record = LayerRecord { diff_id, counts, unmapped, boot_id: Some(self.boot_id.clone()), tree: None };
        let whole = scratch.path().join("whole");
        fs::create_dir(&whole).with_context(|| format!("cannot create {}", whole.display()))?;
        fs::set_permissions(&whole, fs::Permissions::from_mode(0o700))?;
        fs::rename(&tree, whole.join("fs")).with_context(|| format!("cannot move {}", tree.display()))?;
        disk::write_json(&whole.join(RECORD), &record, Durability::Cached)?;
        let place = self.folder.join(diff_id.hex());
        disk::create_private_dir(&self.folder)?;
        if place.exists() && self.get(&diff_id).is_none() {
            // Left from before a reboot or damaged: out of the way first.
            self.set_aside(&place, ownership)?;
        }
        match fs::rename(&whole, &place) {
            Ok(()) => {
                crate::crash::point("cold.layer-published");
                Ok(record)
            }
            // Somebody else was first with the same content.
            Err(_) if self.get(&diff_id).is_some() => {
                ownership.remove(&whole)?;
                Ok(record)
            }
            Err(error) => Err(error).with_context(|| format!("cannot publish the layer {}", place.display())),
        }
    }

    /// Moves a folder out of the way, then removes it as far as possible.
    fn set_aside(&self, place: &Path, ownership: &dyn Ownership) -> Result<()> {
        let trash = self.cache.join("trash");
        disk::create_private_dir(&trash)?;
        let aside = tempfile::Builder::new().prefix("").tempdir_in(&trash)?.keep();
        fs::rename(place, aside.join("entry")).with_context(|| format!("cannot move {} away", place.display()))?;
        // What cannot be removed now is only garbage, and out of the way.
        let _ = ownership.remove(&aside);
        Ok(())
    }

    /// Flushes layers that never were, so that they outlive a reboot.
    ///
    /// # Errors
    /// When the file system cannot be flushed.
    pub fn flush(&self, diff_ids: &[Digest]) -> Result<()> {
        let known = diff_ids.iter().filter(|diff_id| self.get(diff_id).is_some_and(|known| known.boot_id.is_some()));
        let pending: Vec<(disk::FileInside, &Digest)> =
            known.filter_map(|diff_id| Some((self.inside(diff_id)?, diff_id))).collect();
        if pending.is_empty() {
            return Ok(());
        }
        let folder = File::open(&self.folder)?;
        rustix::fs::syncfs(&folder)?;
        for (inside, diff_id) in pending {
            self.note(&inside, diff_id, Durability::Flushed, |now| LayerRecord { boot_id: None, ..now })?;
        }
        Ok(())
    }

    /// The record of what is at the place of a layer now: others may be removing
    /// it, or making it again.
    fn inside(&self, diff_id: &Digest) -> Option<disk::FileInside> {
        disk::FileInside::open(&self.folder.join(diff_id.hex()), RECORD).ok()
    }

    fn note(
        &self,
        inside: &disk::FileInside,
        diff_id: &Digest,
        durability: Durability,
        change: impl FnOnce(LayerRecord) -> LayerRecord,
    ) -> Result<()> {
        match self.read(inside.path(), diff_id) {
            Some(now) => disk::write_json(inside.path(), &change(now), durability),
            None => Ok(()),
        }
    }

    /// Notes what layers hold that nobody has read since they were unpacked.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn note_content(&self, diff_ids: &[Digest], ownership: &dyn Ownership) -> Result<()> {
        let unknown = |diff_id: &&Digest| self.get(diff_id).is_some_and(|known| known.tree.is_none());
        for diff_id in diff_ids.iter().filter(unknown) {
            let Some(inside) = self.inside(diff_id) else { continue };
            let tree = Some(self.summarise(diff_id, ownership)?);
            // It may have been flushed meanwhile.
            self.note(&inside, diff_id, Durability::Cached, |now| LayerRecord { tree, ..now })?;
        }
        Ok(())
    }

    fn summarise(&self, diff_id: &Digest, ownership: &dyn Ownership) -> Result<TreeSummary> {
        archive::summarise_inside(&|work| ownership.inside(work), &self.tree(diff_id), false)
    }

    /// What is wrong with a layer. One whose content was never noted is noted now.
    ///
    /// # Errors
    /// When its record cannot be written.
    pub fn verify(&self, diff_id: &Digest, ownership: &dyn Ownership) -> Result<Option<String>> {
        let (Some(record), Some(inside)) = (self.get(diff_id), self.inside(diff_id)) else { return Ok(None) };
        let found = match self.summarise(diff_id, ownership) {
            Ok(found) => found,
            Err(error) => return Ok(Some(format!("{error:#}"))),
        };
        match record.tree {
            Some(known) if known == found => Ok(None),
            Some(known) => Ok(Some(format!("it holds {}, {} was unpacked", found.digest, known.digest))),
            None => {
                self.note(&inside, diff_id, Durability::Cached, |now| LayerRecord { tree: Some(found), ..now })?;
                Ok(None)
            }
        }
    }

    /// All layers, and when each was unpacked.
    pub fn all(&self) -> Vec<(LayerRecord, Option<jiff::Timestamp>)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let digests = entries.filter_map(|entry| format!("sha256:{}", entry.file_name().to_str()?).parse().ok());
        let mut digests: Vec<Digest> = digests.collect();
        digests.sort();
        let record = |diff_id: Digest| {
            let record = self.get(&diff_id)?;
            let made = fs::metadata(self.tree(&diff_id).parent()?).ok();
            let made = made.and_then(|made| jiff::Timestamp::try_from(made.modified().ok()?).ok());
            Some((record, made))
        };
        digests.into_iter().filter_map(record).collect()
    }

    /// Folders that hold no layer that may be used.
    pub fn broken(&self) -> Vec<Digest> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let digests = entries.filter_map(|entry| format!("sha256:{}", entry.file_name().to_str()?).parse().ok());
        digests.filter(|diff_id| self.get(diff_id).is_none()).collect()
    }

    /// Moves a layer out of the way, and removes it as far as possible.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn remove(&self, diff_id: &Digest, ownership: &dyn Ownership) -> Result<()> {
        self.set_aside(&self.folder.join(diff_id.hex()), ownership)
    }

    /// Keeps a damaged layer where nothing uses it.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn quarantine(&self, diff_id: &Digest) -> Result<PathBuf> {
        disk::quarantine(&self.folder.join(diff_id.hex()), &self.cache)
    }

    /// Whether any of the layers was never flushed.
    pub fn unflushed(&self, records: &[LayerRecord]) -> bool {
        records.iter().any(|record| record.boot_id.is_some())
    }

    /// Waits until this process alone works on a layer.
    ///
    /// # Errors
    /// When there are no locks.
    pub fn lock(&self, diff_id: &Digest, waiting: impl FnOnce()) -> Result<disk::lock::FileLock> {
        let name = format!("layer-{}", diff_id.hex());
        disk::lock::FileLock::acquire(&self.cache.join("locks").join(name), waiting)
    }

    /// Compares what is about to be written with what the disk can hold.
    ///
    /// # Errors
    /// When it is too much.
    pub fn check_space(&self, bytes: u64) -> Result<()> {
        disk::create_private_dir(&self.cache)?;
        let (free, inodes) = disk::free_space(&self.cache)?;
        if free < bytes || inodes < 1024 {
            return Err(failure(format!(
                "the image needs about {}, {} has {} and {inodes} inodes left",
                crate::quantity::human_bytes(bytes),
                self.cache.display(),
                crate::quantity::human_bytes(free)
            ))
            .hint("free some space, or point XDG_CACHE_HOME at a larger disk")
            .into());
        }
        Ok(())
    }
}
