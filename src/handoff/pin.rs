//! Pins: what the first `enter` of a task settled. From then on re-entering
//! needs no network and never jumps.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::context::Located;
use crate::digest::Digest;
use crate::disk::{self, Durability};
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
        }
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
