//! Sealed trees between this machine and a store: found by key, believed only
//! as far as size and three digests say (compressed, tar, tree).

use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::context::Context;
use super::super::fetch;
use super::super::source::{Source, is_stopped};
use super::{Basis, Caches, Wanted, scopes_of, trees, wanted};
use crate::archive::{Packed, Summary};
use crate::cache::{Components, Holder, Origin, Record, Scope, Sealed, Trees};
use crate::config::Project;
use crate::digest::Digest;
use crate::disk::{self, scratch::Scratch};
use crate::error::{Kind, failure, integrity, kind_of};
use crate::identity::{Cache, StoreRef};
use crate::oci::{Descriptor, media};
use crate::store::{Access, Store, TreeArtifact, read_tree, write_tree};
use crate::ui::human_bytes;

/// The schema of the document.
const SCHEMA: u32 = 1;

/// What a tree's config blob says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    schema: u32,
    key: Digest,
    components: Components,
    tree: Summary,
    /// Of the tar.
    diff_id: Digest,
    sealed_at: Timestamp,
}

impl Document {
    /// Parses a document that is about `key`.
    fn parse(bytes: &[u8], key: &Digest) -> Result<Self> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| integrity(format!("its description is malformed: {error}")))?;
        if document.schema != SCHEMA {
            return Err(integrity(format!(
                "its description has schema {}, this envctl knows {SCHEMA}",
                document.schema
            ))
            .into());
        }
        if document.key != *key || document.components.key() != *key {
            return Err(integrity("it is not what its key names").into());
        }
        Ok(document)
    }
}

/// Brings an entry here; `None` when the store does not have it, or has it
/// damaged, which is told.
///
/// # Errors
/// When the disk is full, or another part has failed. A fixture that does not
/// match its digest: nothing else could take its place.
pub(super) fn fetch(caches: &Caches<'_>, source: &Source<'_>, wanted: &Wanted) -> Result<Option<(Record, u64)>> {
    if let (Some(fixture), Some(components)) = (&wanted.fixture, &wanted.components) {
        let found = match &fixture.store {
            None => fixture_from(caches, source, source.store()?, &fixture.digest, components),
            Some(store) => {
                let opened = caches.ctx.open(&store.clone().absolute(caches.workspace), Access::Read)?;
                fixture_from(caches, source, &*opened, &fixture.digest, components)
            }
        };
        return found.with_context(|| format!("cannot fetch the fixture {}", wanted.name)).map(Some);
    }
    let pinned = caches.resolved.identity.caches.iter().find(|cache| cache.key == wanted.key);
    for scope in caches.scopes() {
        match fetch_scope(caches, source, wanted, &scope, pinned.and_then(|cache| cache.digest)) {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) if is_stopped(&error) || is_full(&error) => return Err(error),
            Err(error) => {
                let what = format!("the cache {} cannot be had from the store ({} scope)", wanted.name, scope.kind());
                caches.ctx.ui.warn(&format!("{what}: {error:#}; it is made again"));
            }
        }
    }
    Ok(None)
}

fn is_full(error: &anyhow::Error) -> bool {
    let errno = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<std::io::Error>()?.raw_os_error();
    error.chain().filter_map(errno).any(|errno| errno == libc::ENOSPC || errno == libc::EDQUOT)
}

fn fetch_scope(
    caches: &Caches<'_>,
    source: &Source<'_>,
    wanted: &Wanted,
    scope: &Scope,
    pinned: Option<Digest>,
) -> Result<Option<(Record, u64)>> {
    let store = source.store()?;
    let Some(descriptor) = store.resolve(&scope.tag(&wanted.key))? else { return Ok(None) };
    let artifact = read_tree(store, &descriptor)?;
    let document = Document::parse(&artifact.document, &wanted.key)?;
    if let Some(pinned) = pinned
        && document.tree.digest != pinned
    {
        return Err(integrity(format!("it holds {}, the identity says {pinned}", document.tree.digest)).into());
    }
    let record = Record {
        packed: None,
        ..Trees::record(document.components.clone(), scope.clone(), document.sealed_at, Origin::Fetched)
    };
    let expected = Some((document.tree, document.diff_id));
    bring(caches, source, store, &artifact, record, expected, &wanted.name).map(Some)
}

fn fixture_from(
    caches: &Caches<'_>,
    source: &Source<'_>,
    store: &dyn Store,
    digest: &Digest,
    components: &Components,
) -> Result<(Record, u64)> {
    let artifact = read_tree(store, &store.find(digest)?)?;
    // One that envctl has sealed says what it holds; of others the manifest's
    // digest covers every layer.
    let expected = match artifact.document.is_empty() {
        true => None,
        false => {
            let document: Document =
                serde_json::from_slice(&artifact.document).map_err(|error| integrity(error.to_string()))?;
            Some((document.tree, document.diff_id))
        }
    };
    let scope = Scope::Project(caches.resolved.task.store.to_string());
    let record = Trees::record(components.clone(), scope, caches.ctx.clock.now(), Origin::Fetched);
    bring(caches, source, store, &artifact, record, expected, &components.name)
}

/// Unpacks the layers into a draft, and seals it.
fn bring(
    caches: &Caches<'_>,
    source: &Source<'_>,
    store: &dyn Store,
    artifact: &TreeArtifact,
    mut record: Record,
    expected: Option<(Summary, Digest)>,
    name: &str,
) -> Result<(Record, u64)> {
    let (ctx, trees) = (caches.ctx, &caches.trees);
    let bytes: u64 = artifact.layers.iter().map(|layer| layer.size).sum();
    let needed = expected.map_or(bytes, |(tree, _)| tree.bytes.max(bytes));
    check_space(ctx, needed, name)?;
    let draft = trees.draft()?;
    for layer in &artifact.layers {
        let diff_id = expected.filter(|_| artifact.layers.len() == 1).map(|(_, diff_id)| diff_id);
        let bar = source.bar(name, layer.size);
        let moved = |count| {
            bar.add(count);
            source.go_on()
        };
        let owned = trees.unpack(&draft, layer, diff_id.as_ref(), store.open(layer)?, &moved)?;
        let root = std::fs::File::open(draft.tree())?;
        caches.holder.settle(std::os::fd::AsFd::as_fd(&root), &owned)?;
    }
    record.packed = None;
    let digest = expected.map(|(tree, _)| tree.digest);
    let sealed = trees.seal(draft, record, digest.as_ref(), &caches.holder)?;
    if let Sealed::Differs(_) = &sealed {
        return Err(integrity("another content has its key here").into());
    }
    ctx.ui.status("Fetched", &format!("the cache {name}, {}", human_bytes(bytes)));
    Ok((sealed.record().clone(), bytes))
}

fn check_space(ctx: &Context, needed: u64, name: &str) -> Result<()> {
    disk::create_private_dir(ctx.paths.cache())?;
    let (free, inodes) = disk::free_space(ctx.paths.cache())?;
    if free >= needed && inodes >= 1024 {
        return Ok(());
    }
    Err(failure(format!(
        "the cache {name} needs about {}, {} has {} and {inodes} inodes left",
        human_bytes(needed),
        ctx.paths.cache().display(),
        human_bytes(free)
    ))
    .hint("envctl cache prune, or point XDG_CACHE_HOME at a larger disk")
    .into())
}

/// What an identity says about the caches of a checkout, and the entries that
/// are here for them.
///
/// # Errors
/// When an input cannot be read.
pub(in crate::handoff) fn identity_caches(
    ctx: &Context,
    project: &Project,
    basis: &Basis,
    root: &Path,
    store: &StoreRef,
    task: &str,
) -> Result<(Vec<Cache>, Vec<Record>)> {
    let wanted = wanted(ctx, project, basis, root);
    let (mut caches, mut records) = (Vec::new(), Vec::new());
    let here = if wanted.is_empty() { None } else { fetch::local_user(ctx, &basis.image)? };
    let trees = here.map(|user| trees(ctx, &fetch::holder(ctx, &user))).transpose()?;
    for wanted in wanted.iter().filter(|wanted| wanted.fixture.is_none()) {
        let scopes = scopes_of(&store.to_string(), task);
        let record = trees.as_ref().and_then(|trees| scopes.iter().find_map(|scope| trees.get(&wanted.key, scope)));
        let digest = record.as_ref().map(|record| record.tree.digest);
        caches.push(Cache { name: wanted.name.clone(), key: wanted.key, digest, extra: Default::default() });
        records.extend(record);
    }
    Ok((caches, records))
}

/// Puts entries into a store, each under the tag of its scope, where the store
/// does not have it yet. Returns how many went, and their bytes.
///
/// # Errors
/// When the store cannot be written; [`Kind::Integrity`] when an entry is no
/// longer what was sealed.
pub(in crate::handoff) fn push(
    ctx: &Context,
    store: &dyn Store,
    image: &Digest,
    records: &[Record],
) -> Result<(usize, u64)> {
    let (mut count, mut bytes) = (0, 0);
    let Some(user) = fetch::local_user(ctx, image)? else { return Ok((0, 0)) };
    let holder = fetch::holder(ctx, &user);
    let trees = trees(ctx, &holder)?;
    let _lock = super::keep(ctx)?;
    for record in records {
        let tag = record.scope.tag(&record.key);
        if let Some(known) = store.resolve(&tag)? {
            let same = read_tree(store, &known)
                .and_then(|artifact| Document::parse(&artifact.document, &record.key))
                .is_ok_and(|document| document.tree.digest == record.tree.digest);
            if same {
                continue;
            }
        }
        let scratch = Scratch::create(ctx.paths.cache())?;
        let file = scratch.path().join("tree");
        let packed = trees.pack(record, &file, &holder).map_err(|error| match kind_of(&error) {
            Kind::Failure => error,
            _ => error.context("run envctl cache verify"),
        })?;
        let document = Document {
            schema: SCHEMA,
            key: record.key,
            components: record.components.clone(),
            tree: record.tree,
            diff_id: packed.diff_id,
            sealed_at: record.sealed_at,
        };
        write_tree(store, &tag, &serde_json::to_vec(&document)?, &layer(&packed), &file)?;
        ctx.ui.status(
            "Pushed",
            &format!(
                "the cache {} ({} scope), {}",
                record.components.name,
                record.scope.kind(),
                human_bytes(packed.size)
            ),
        );
        (count, bytes) = (count + 1, bytes + packed.size);
    }
    Ok((count, bytes))
}

fn layer(packed: &Packed) -> Descriptor {
    Descriptor { digest: packed.digest, size: packed.size, ..Descriptor::of(media::LAYER_ZSTD, b"") }
}

/// Bytes that an entry would cost from a store; `None` when it has none.
///
/// # Errors
/// When the store does not answer.
pub(super) fn size(store: &dyn Store, wanted: &Wanted, scopes: &[Scope]) -> Result<Option<u64>> {
    let of = |artifact: TreeArtifact| artifact.layers.iter().map(|layer| layer.size).sum();
    if let Some(fixture) = &wanted.fixture {
        // Another store is asked only by an enter, after an approval.
        let here =
            fixture.store.is_none().then(|| store.find(&fixture.digest).and_then(|found| read_tree(store, &found)));
        return Ok(here.and_then(Result::ok).map(of));
    }
    for scope in scopes {
        if let Some(descriptor) = store.resolve(&scope.tag(&wanted.key))?
            && let Ok(artifact) = read_tree(store, &descriptor)
            && Document::parse(&artifact.document, &wanted.key).is_ok()
        {
            return Ok(Some(of(artifact)));
        }
    }
    Ok(None)
}
