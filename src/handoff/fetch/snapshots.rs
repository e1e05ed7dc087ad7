//! The snapshot of an identity: its document and pack, from here or the store.

use anyhow::{Context as _, Result};

use super::part::Part;
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::error::{integrity, policy, unreachable};
use crate::handoff::allowance;
use crate::handoff::app::App;
use crate::handoff::task::{Located, Resolved, Source, from_store, mirror};
use crate::identity::Target;
use crate::oci::Descriptor;
use crate::snapshot::{Document, MAX_DOCUMENT};
use crate::store::{Artifact, Store};
use crate::ui::human_bytes;

/// The snapshot document and its pack, checked, with the bytes moved.
pub(crate) struct Snapshot {
    pub(crate) document: Document,
    pub(crate) pack: Option<std::fs::File>,
}

/// The snapshot of an identity.
///
/// # Errors
/// When the store lacks it, or what it gives does not match.
pub(crate) fn snapshot(source: &Source<'_>, resolved: &Resolved) -> Result<(Snapshot, u64)> {
    let app = source.app;
    let id = resolved.identity.snapshot_id;
    if let Some(snapshot) = kept_snapshot(app, &id)? {
        return Ok((snapshot, 0));
    }
    let store = source.store().context("the snapshot is not on this machine")?;
    let (artifact, bytes) = from_there(store, resolved)?;
    let document = Document::parse(&bytes)?;
    let mut moved = bytes.len() as u64;
    if let Some(pack) = &document.pack {
        let descriptor = artifact.pack.as_ref().filter(|descriptor| descriptor.digest == pack.digest);
        let descriptor = descriptor.ok_or_else(|| integrity("the snapshot's pack is not in the manifest"))?;
        let mut content = store.open(descriptor).context("cannot read the snapshot's pack")?;
        keep_stream(source, descriptor, &mut *content)?;
        moved += descriptor.size;
    }
    disk::write_file(&app.paths.blob(&id), &bytes, Durability::Cached)?;
    let kept = kept_snapshot(app, &id)?;
    Ok((kept.ok_or_else(|| unreachable("the snapshot vanished from the cache"))?, moved))
}

/// The manifest of an identity, and the bytes of its snapshot's document.
fn from_there(store: &dyn Store, resolved: &Resolved) -> Result<(Artifact, Vec<u8>)> {
    let id = resolved.identity.snapshot_id;
    let (_, artifact, _) = from_store(store, &exactly(resolved))?;
    if artifact.snapshot.digest != id {
        return Err(
            integrity(format!("the manifest names snapshot {}, the identity {id}", artifact.snapshot.digest)).into()
        );
    }
    let bytes = store.read_small(&artifact.snapshot, MAX_DOCUMENT).context("cannot read the snapshot")?;
    Ok((artifact, bytes))
}

/// The document of a snapshot alone, to be looked at: from here, or from the store where
/// that is `asked`.
///
/// # Errors
/// When it is damaged, or the store does not have it.
pub(crate) fn document(source: &Source<'_>, resolved: &Resolved, asked: bool) -> Result<Option<Document>> {
    match kept_document(source.app, &resolved.identity.snapshot_id)? {
        None if asked => Ok(Some(Document::parse(&from_there(source.store()?, resolved)?.1)?)),
        kept => Ok(kept),
    }
}

/// What is to be known of a snapshot and its base before they are fetched.
pub(crate) fn snapshot_part(
    app: &App,
    resolved: &Resolved,
    source: Option<&Source<'_>>,
    ready: bool,
) -> Result<Vec<Part>> {
    let id = resolved.identity.snapshot_id;
    let kept = kept_snapshot(app, &id)?;
    let hit = ready || kept.is_some();
    let bytes = match source {
        _ if hit => Some(0),
        Some(source) if !app.options.offline => {
            let (_, artifact, _) = from_store(source.store()?, &exactly(resolved))?;
            Some(artifact.snapshot.size + artifact.pack.map_or(0, |pack| pack.size))
        }
        _ => None,
    };
    let snapshot = Part { kind: "snapshot", name: id.to_string(), hit, bytes };
    // What the snapshot builds on is written in it.
    let base = kept.map(|snapshot| snapshot.document.base);
    let here = ready || base.as_ref().is_some_and(|base| mirror(app, resolved).has(base));
    let name = base.unwrap_or_else(|| resolved.identity.repo.commit.clone()).to_string();
    Ok(vec![snapshot, Part { kind: "commits", name, hit: here, bytes: here.then_some(0) }])
}

/// By its own tag: the task's may have moved on meanwhile.
fn exactly(resolved: &Resolved) -> Located {
    Located { store: resolved.task.store.clone(), target: Target::Identity(resolved.digest) }
}

fn kept_document(app: &App, id: &Digest) -> Result<Option<Document>> {
    let bytes = disk::read_file(&app.paths.blob(id), MAX_DOCUMENT)?.filter(|bytes| Digest::of(bytes) == *id);
    Ok(bytes.map(|bytes| Document::parse(&bytes)).transpose()?)
}

fn kept_snapshot(app: &App, id: &Digest) -> Result<Option<Snapshot>> {
    let Some(document) = kept_document(app, id)? else { return Ok(None) };
    let pack = match &document.pack {
        None => None,
        // Checked again while it is read.
        Some(pack) => match disk::plain::open(&app.paths.blob(&pack.digest)) {
            Ok(file) if file.metadata()?.len() == pack.size => Some(file),
            _ => return Ok(None),
        },
    };
    Ok(Some(Snapshot { document, pack }))
}

fn keep_stream(source: &Source<'_>, descriptor: &Descriptor, content: &mut dyn std::io::Read) -> Result<()> {
    if source.most.is_some_and(|most| descriptor.size > most) {
        let size = human_bytes(descriptor.size);
        return Err(policy(format!("the snapshot's pack has {size}, more than the store said before")).into());
    }
    let place = source.app.paths.blob(&descriptor.digest);
    let parent = place.parent().context("a blob has a folder")?;
    allowance::require(source.app, parent, descriptor.size, "the snapshot's pack")?;
    disk::create_private_dir(parent)?;
    let mut file = disk::Unnamed::create_in(parent)?;
    let content = source.watched(content, "snapshot", descriptor.size);
    let mut content = crate::digest::Verified::new(content, descriptor.size, descriptor.digest);
    std::io::copy(&mut content, &mut file)
        .map_err(crate::oci::unwrap_io)
        .context("cannot fetch the snapshot's pack")?;
    file.publish(&place, Durability::Cached).with_context(|| format!("cannot write {}", place.display()))
}
