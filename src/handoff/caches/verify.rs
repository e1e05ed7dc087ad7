//! Hashing again what the caches hold. Others may remove, replace or move away
//! what is being read; only what is still in its place can be damaged.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::state::keep;
use super::tend::{all_layers, all_trees, anybody};
use crate::cache::Record;
use crate::digest::Digest;
use crate::disk::lock::FileLock;
use crate::error::{Fault, integrity};
use crate::handoff::app::App;

/// What became of one look at an entry or a layer.
#[derive(Clone, Debug, Serialize)]
pub struct VerifiedEntry {
    /// `cache` or `layer`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its key, or the digest of the layer's tar.
    pub key: Digest,
    /// What is wrong; `null` when nothing is.
    pub fault: Option<String>,
    /// Where it was moved, when something was.
    pub quarantine: Option<PathBuf>,
}

/// Hashes entries and layers again; `sample` of them where that is given. What
/// is damaged is moved out of the way, so that nothing runs on it: the next
/// enter fetches or makes it again.
///
/// # Errors
/// When the caches cannot be read.
pub fn verify_caches(app: &App, sample: Option<usize>) -> Result<Vec<VerifiedEntry>> {
    let holder = anybody(app);
    let mut all = Vec::new();
    let trees = all_trees(app)?;
    let layers = all_layers(app)?;
    let mut entries: Vec<(usize, Record)> = Vec::new();
    for (index, trees) in trees.iter().enumerate() {
        entries.extend(trees.all().into_iter().map(|record| (index, record)));
    }
    let mut kept: Vec<(usize, Digest)> = Vec::new();
    for (index, layers) in layers.iter().enumerate() {
        kept.extend(layers.all().into_iter().map(|(record, _)| (index, record.diff_id)));
    }
    if let Some(sample) = sample {
        pick(&mut entries, sample)?;
        pick(&mut kept, sample.saturating_sub(entries.len()).max(usize::from(entries.is_empty())))?;
    }
    for (index, record) in entries {
        let trees = &trees[index];
        let tree = trees.tree(&record);
        let seen = FolderBefore::holding(&tree, 2);
        let fault = match trees.summarise(&tree, &holder) {
            Ok(found) if found == record.tree => None,
            Ok(found) => Some(format!("it holds {}, {} was sealed", found.digest, record.tree.digest)),
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(quarantine) = settle(app, &fault, &seen, || trees.quarantine(&record))? {
            all.push(VerifiedEntry { kind: "cache", name: record.components.name, key: record.key, fault, quarantine });
        }
    }
    for (index, diff_id) in kept {
        let layers = &layers[index];
        let seen = FolderBefore::holding(&layers.tree(&diff_id), 1);
        let fault = match layers.verify(&diff_id, &holder) {
            Err(_) if !seen.is_there() => continue,
            other => other?,
        };
        if let Some(quarantine) = settle(app, &fault, &seen, || layers.quarantine(&diff_id))? {
            all.push(VerifiedEntry { kind: "layer", name: diff_id.short(), key: diff_id, fault, quarantine });
        }
    }
    Ok(all)
}

/// The folder of an entry, as it was before the entry was read.
struct FolderBefore {
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl FolderBefore {
    /// That which lies so many steps above a tree.
    fn holding(tree: &Path, above: usize) -> Self {
        let path = tree.ancestors().nth(above).unwrap_or(tree).to_owned();
        FolderBefore { file: file(&path), path }
    }

    /// Nobody has removed or replaced it meanwhile.
    fn is_there(&self) -> bool {
        self.file.is_some() && self.file == file(&self.path)
    }
}

fn file(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Where something damaged was moved; the outer `None` when it was going away
/// while it was read, which damages nothing.
fn settle(
    app: &App,
    fault: &Option<String>,
    seen: &FolderBefore,
    quarantine: impl FnOnce() -> Result<PathBuf>,
) -> Result<Option<Option<PathBuf>>> {
    if fault.is_none() {
        return Ok(Some(None));
    }
    // From here on nothing is removed.
    let _kept = keep(app)?;
    // Others may verify at the same time.
    let _alone = FileLock::acquire(&app.paths.cache_lock("quarantine"), || {})?;
    if seen.is_there() { quarantine().map(|place| Some(Some(place))) } else { Ok(None) }
}

/// Keeps a random choice.
fn pick<T>(all: &mut Vec<T>, most: usize) -> Result<()> {
    while all.len() > most {
        let mut bytes = [0; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        all.swap_remove((u64::from_ne_bytes(bytes) % all.len() as u64) as usize);
    }
    Ok(())
}

impl VerifiedEntry {
    /// The verdict over all.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when one of them was damaged.
    pub fn verdict(all: &[VerifiedEntry]) -> Result<(), Fault> {
        match all.iter().filter(|one| one.fault.is_some()).count() {
            0 => Ok(()),
            bad => Err(integrity(format!("{bad} of {} were damaged, and were moved away", all.len()))
                .hint("the next enter fetches or makes them again")),
        }
    }
}
