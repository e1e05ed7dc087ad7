//! Pins: what the first `enter` of a task settled. From then on re-entering
//! needs no network and never jumps.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::context::Located;
use crate::digest::Digest;
use crate::disk::{self, Durability, lock::FileLock};
use crate::error::integrity;
use crate::identity::{Identity, MAX_IDENTITY};
use crate::paths::Paths;
use crate::snapshot::Parity;

/// The schema of a pin.
const SCHEMA: u32 = 1;

/// What a workspace was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pin {
    /// Always 1.
    pub(super) schema: u32,
    /// The store, as `--store` would name it.
    pub(super) store: String,
    /// The task, or `sha256-` and the identity's digits.
    pub(super) slug: String,
    /// The identity.
    pub(super) identity: Digest,
    /// When it was resolved.
    pub(super) pinned_at: Timestamp,
    /// Where the workspace is.
    pub(super) workspace: PathBuf,
    /// The comparison with the snapshot, made when the workspace was.
    pub(super) parity: Option<Parity>,
    /// The boot in which the workspace was made, while it was never flushed.
    pub(super) unflushed_boot: Option<String>,
    /// The folder of the artifacts that came along.
    #[serde(default)]
    pub(super) artifacts: Option<PathBuf>,
    /// The cache entries that it was last given, by folder name.
    #[serde(default)]
    pub(super) trees: Vec<String>,
    /// What was published from the workspace, the latest last.
    #[serde(default)]
    pub(super) published: Vec<PublishedHere>,
}

/// An identity that was published from a workspace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PublishedHere {
    /// The task.
    pub(super) task: String,
    /// The identity.
    pub(super) identity: Digest,
}

impl Pin {
    pub(super) fn new(task: &Located, identity: Digest, pinned_at: Timestamp, workspace: PathBuf) -> Self {
        Pin {
            schema: SCHEMA,
            store: task.store.to_string(),
            slug: task.slug(),
            identity,
            pinned_at,
            workspace,
            parity: None,
            unflushed_boot: None,
            artifacts: None,
            trees: Vec::new(),
            published: Vec::new(),
        }
    }

    /// What a task must be for this workspace to go on from it: what was last
    /// published from here, or what the workspace was made from. `None` for a
    /// task that the workspace has nothing to do with.
    pub(super) fn continues(&self, task: &str) -> Option<Digest> {
        let published = self.published.iter().rev().find(|published| published.task == task);
        published.map(|published| published.identity).or((self.slug == task).then_some(self.identity))
    }

    /// The identity that the workspace's files go on from.
    pub(super) fn latest(&self) -> Digest {
        self.published.last().map_or(self.identity, |published| published.identity)
    }
}

/// The pins of this machine, and the identities that they name.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    paths: Paths,
}

impl Pins {
    pub(super) fn new(paths: Paths) -> Self {
        Pins { paths }
    }

    /// Where the pin of a task is; one of its own for a folder that the
    /// developer named.
    fn place(&self, task: &Located, into: Option<&Path>) -> PathBuf {
        let suffix = into
            .map_or_else(String::new, |into| format!("@{}", Digest::of(into.as_os_str().as_encoded_bytes()).short()));
        self.paths.pin(&task.store.key(), &format!("{}{suffix}", task.slug()))
    }

    pub(super) fn read(&self, task: &Located, into: Option<&Path>) -> Result<Option<Pin>> {
        disk::read_json(&self.place(task, into))
    }

    pub(super) fn write(&self, task: &Located, into: Option<&Path>, pin: &Pin) -> Result<()> {
        disk::write_json(&self.place(task, into), pin, Durability::Flushed)
    }

    /// All pins; those that cannot be read are left out.
    pub(super) fn all(&self) -> Result<Vec<Pin>> {
        let entries = fs::read_dir(self.paths.pins()).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| !disk::is_temporary(&entry.file_name()));
        let mut pins: Vec<Pin> = entries.filter_map(|entry| disk::read_json(&entry.path()).ok().flatten()).collect();
        pins.sort_by(|a, b| (&a.slug, &a.store).cmp(&(&b.slug, &b.store)));
        Ok(pins)
    }

    /// Notes what was published from a workspace.
    pub(super) fn note_published(&self, pin: &Pin, task: &str, identity: Digest) -> Result<()> {
        // As a workspace that is being made or flushed.
        let store = pin.store.parse::<crate::identity::StoreRef>()?.key();
        let _lock = FileLock::acquire(&self.paths.data_lock(&format!("task-{store}-{}", pin.slug)), || ())?;
        let entries = fs::read_dir(self.paths.pins()).into_iter().flatten().flatten();
        for entry in entries {
            let Some(mut found) = disk::read_json::<Pin>(&entry.path()).ok().flatten() else { continue };
            if found.workspace == pin.workspace {
                found.published.retain(|published| published.task != task);
                found.published.push(PublishedHere { task: task.to_owned(), identity });
                disk::write_json(&entry.path(), &found, Durability::Flushed)?;
            }
        }
        Ok(())
    }

    /// The pin whose workspace holds `folder`.
    pub(super) fn of_workspace(&self, folder: &Path) -> Result<Option<Pin>> {
        Ok(self.all()?.into_iter().find(|pin| folder.starts_with(&pin.workspace)))
    }

    /// An identity that was kept.
    pub(super) fn identity(&self, digest: &Digest) -> Result<Option<Identity>> {
        let Some(bytes) = disk::read_file(&self.paths.identity(digest), MAX_IDENTITY)? else { return Ok(None) };
        if Digest::of(&bytes) != *digest {
            return Err(integrity(format!("{} is damaged", self.paths.identity(digest).display()))
                .hint("remove it and run the command again with --refresh")
                .into());
        }
        Ok(Some(Identity::parse(&bytes)?))
    }

    /// Forgets a task whose workspace is gone, and its identity.
    pub(super) fn forget(&self, task: &Located, identity: &Digest) -> Result<()> {
        for path in [self.place(task, None), self.paths.identity(identity)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Keeps an identity's exact bytes.
    pub(super) fn keep(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let place = self.paths.identity(&digest);
        if !place.exists() {
            disk::write_file(&place, bytes, Durability::Flushed)?;
        }
        Ok(digest)
    }
}
