//! Sealed trees between this machine and a store: found by key, believed only
//! as far as size and three digests say (compressed, tar, tree).

use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::{Caches, EarlyTree, keep, name_of, scopes, scopes_of, trees};
use super::wanted::{Basis, Wanted, wanted};
use crate::archive::{Ownership, Packed, TreeSummary};
use crate::cache::{Components, EntryOrigin, LockfilePins, Record, Scope, Sealed, Sources, Trees};
use crate::config::Project;
use crate::digest::Digest;
use crate::disk::{self, scratch::Scratch};
use crate::error::{Kind, failure, integrity, kind_of, policy};
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::parallel::each;
use crate::handoff::task::{Resolved, Source, is_stopped};
use crate::handoff::{fetch, runtimes};
use crate::identity::{Cache, RepoUrl, StoreRef};
use crate::oci::{Descriptor, media};
use crate::store::{Store, TreeArtifact, read_tree, write_tree};
use crate::ui::human_bytes;

/// The schema of the document.
const SCHEMA: u32 = 1;

/// The platform of a tree that was given as a folder, and is for all of them.
pub(crate) const GIVEN: &str = "fixture";

/// What a tree's config blob says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    schema: u32,
    key: Digest,
    components: Components,
    tree: TreeSummary,
    /// Of the tar.
    diff_id: Digest,
    sealed_at: Timestamp,
    /// What a build folder was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sources: Option<Sources>,
    /// What the lockfiles pin by which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pins: Option<LockfilePins>,
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
        if document.components.built && document.sources.is_none() {
            return Err(integrity("it does not say which files it was built from").into());
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
pub(crate) fn fetch(caches: &mut Caches<'_>, source: &Source<'_>, index: usize) -> Result<Option<(Record, u64)>> {
    let key = caches.wanted[index].key;
    if let Some(at) = caches.early.iter().position(|arrived| arrived.key == key) {
        let arrived = caches.early.swap_remove(at);
        match settle(caches, arrived) {
            Err(error) if !is_full(&error) => {}
            settled => return settled.map(Some),
        }
    }
    let (wanted, caches) = (&caches.wanted[index], &*caches);
    if let (Some(fixture), Some(components)) = (&wanted.fixture, &wanted.components) {
        let found = match &fixture.store {
            None => fixture_from(caches, source, source.store()?, &fixture.digest, components),
            Some(store) => {
                let (app, said) = (caches.app, store);
                let store = said.clone().placed(caches.workspace);
                if let (StoreRef::Layout(named), StoreRef::Layout(folder)) = (said, &store)
                    && named.is_relative()
                {
                    require_straight(caches.workspace, folder)?;
                    // It was agreed to by the name that the project has for it.
                    app.agree_alike(said, &store);
                }
                let beside = Some(&caches.resolved.task.store);
                let opened = caches.app.open_led(&store, beside, &format!("the fixture {}", wanted.name))?;
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
                caches.app.ui.warn(&format!("{what}: {error:#}; it is made again"));
            }
        }
    }
    Ok(None)
}

/// What a project names beside it lies in it.
fn require_straight(root: &Path, folder: &Path) -> Result<()> {
    if disk::is_straight(root, folder) {
        return Ok(());
    }
    Err(policy(format!("{} leads out of the project, or through a link", folder.display())).into())
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
    let Some((artifact, document)) = look_up(source, &wanted.key, scope, pinned)? else { return Ok(None) };
    let expected = Some((document.tree, document.diff_id));
    let record = record_of(&document, scope.clone());
    let arrived = download(source, &caches.trees, (source.store()?, &artifact), record, expected)?;
    note_origin(&arrived, &document)?;
    settle(caches, arrived).map(Some)
}

/// What a store has under the tag of a scope, as far as it may be believed.
fn look_up(
    source: &Source<'_>,
    key: &Digest,
    scope: &Scope,
    pinned: Option<Digest>,
) -> Result<Option<(TreeArtifact, Document)>> {
    let store = source.store()?;
    let Some(descriptor) = store.resolve(&scope.tag(key))? else { return Ok(None) };
    let artifact = read_tree(store, &descriptor)?;
    let document = Document::parse(&artifact.document, key)?;
    if let Some(pinned) = pinned
        && document.tree.digest != pinned
    {
        return Err(integrity(format!("it holds {}, the identity says {pinned}", document.tree.digest)).into());
    }
    Ok(Some((artifact, document)))
}

fn note_origin(arrived: &EarlyTree, document: &Document) -> Result<()> {
    document.pins.iter().try_for_each(|pins| arrived.draft.pinned(pins))?;
    document.sources.iter().try_for_each(|sources| arrived.draft.made_from(sources))
}

fn record_of(document: &Document, scope: Scope) -> Record {
    Trees::record(document.components.clone(), scope, document.sealed_at, EntryOrigin::Fetched)
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
    let mut is_given = false;
    let expected = match artifact.document.is_empty() {
        true => None,
        false => {
            let document: Document =
                serde_json::from_slice(&artifact.document).map_err(|error| integrity(error.to_string()))?;
            is_given = document.components.platform == GIVEN;
            Some((document.tree, document.diff_id))
        }
    };
    let scope = Scope::Project(caches.resolved.task.store.to_string());
    let record = Trees::record(components.clone(), scope, caches.app.clock.now(), EntryOrigin::Fetched);
    let mut arrived = download(source, &caches.trees, (store, &artifact), record, expected)?;
    if is_given {
        // Nobody asked whose they are: they are the image's user's, who is to read them.
        arrived.owned.clear();
    }
    settle(caches, arrived)
}

/// Brings the caches that an identity names, while its image is pulled. What
/// cannot be had is left for later.
pub(crate) fn early(source: &Source<'_>, resolved: &Resolved) -> Vec<EarlyTree> {
    let app = source.app;
    // Whose they are decides where they lie, and here that is not known.
    if app.options.offline
        || fetch::local_user(app, Basis::of(&resolved.identity).image()).is_ok_and(|user| user.is_some())
    {
        return Vec::new();
    }
    let bring = |cache: &Cache| -> Result<Option<EarlyTree>> {
        let trees = nowhere(app)?;
        for scope in scopes(resolved) {
            if let Some((artifact, document)) = look_up(source, &cache.key, &scope, cache.digest)? {
                let record = record_of(&document, scope);
                let expected = Some((document.tree, document.diff_id));
                let arrived = download(source, &trees, (source.store()?, &artifact), record, expected)?;
                return note_origin(&arrived, &document).map(|()| Some(arrived));
            }
        }
        Ok(None)
    };
    let brought = each(&resolved.identity.caches, bring);
    brought.into_iter().flatten().filter_map(|one| one.ok().flatten()).collect()
}

/// Trees of which only drafts are wanted.
fn nowhere(app: &App) -> Result<Trees> {
    Ok(Trees::new(app.paths.all_trees(), app.paths.cache().to_owned(), disk::boot_id()?))
}

/// Unpacks the layers into a draft.
fn download(
    source: &Source<'_>,
    trees: &Trees,
    (store, artifact): (&dyn Store, &TreeArtifact),
    record: Record,
    expected: Option<(TreeSummary, Digest)>,
) -> Result<EarlyTree> {
    let name = &record.components.name;
    let bytes: u64 = artifact.layers.iter().map(|layer| layer.size).sum();
    let needed = expected.map_or(bytes, |(tree, _)| tree.bytes.max(bytes));
    check_space(source.app, needed, name)?;
    let (draft, mut owned) = (trees.draft()?, Vec::new());
    for layer in &artifact.layers {
        let diff_id = expected.filter(|_| artifact.layers.len() == 1).map(|(_, diff_id)| diff_id);
        let bar = source.bar(name, layer.size);
        let moved = |count| {
            bar.add(count);
            source.go_on()
        };
        owned.push(trees.unpack(&draft, layer, diff_id.as_ref(), store.open(layer)?, &moved)?);
    }
    Ok(EarlyTree { key: record.key, draft, owned, record, expected: expected.map(|(tree, _)| tree), bytes })
}

/// Settles owners, and makes what has arrived an entry.
fn settle(caches: &Caches<'_>, arrived: EarlyTree) -> Result<(Record, u64)> {
    let EarlyTree { draft, owned, record, expected, bytes, .. } = arrived;
    let name = record.components.name.clone();
    let root = std::fs::File::open(draft.tree())?;
    for owned in &owned {
        caches.holder.settle(root.as_fd(), owned)?;
    }
    let digest = expected.map(|tree| tree.digest);
    let sealed = caches.trees.seal(draft, record, digest.as_ref(), &caches.holder)?;
    if let Sealed::Differs(_) = &sealed {
        return Err(integrity("another content has its key here").into());
    }
    caches.app.ui.status("Fetched", &format!("the cache {name}, {}", human_bytes(bytes)));
    Ok((sealed.record().clone(), bytes))
}

fn check_space(app: &App, needed: u64, name: &str) -> Result<()> {
    disk::create_private_dir(app.paths.cache())?;
    let (free, inodes) = disk::free_space(app.paths.cache())?;
    if free >= needed && inodes >= 1024 {
        return Ok(());
    }
    let what = format!(
        "the cache {name} needs about {}, {} has {} and {inodes} inodes left",
        human_bytes(needed),
        app.paths.cache().display(),
        human_bytes(free)
    );
    let hint = "envctl cache prune --all, or point XDG_CACHE_HOME at a larger disk";
    // As if the disk had run full: it would.
    Err(std::io::Error::from_raw_os_error(libc::ENOSPC)).context(failure(what).hint(hint))
}

/// A checkout that is published.
pub(crate) struct PublishedCaches<'a> {
    pub(crate) root: &'a Path,
    pub(crate) url: &'a RepoUrl,
    pub(crate) store: &'a StoreRef,
    pub(crate) task: &'a str,
    /// The folder whose runs have sealed caches, by its real path.
    pub(crate) sealed_in: Option<String>,
}

/// An entry that goes into a store, for these tasks.
pub(crate) type Carried = (Record, Scope);

/// What an identity says about the caches of a checkout, and the entries that
/// are here for them: those of the task, of all tasks of the store, and what was
/// sealed by runs of the checkout, which is the task's from now on.
///
/// # Errors
/// When an input cannot be read.
pub(crate) fn identity_caches(
    app: &App,
    project: &Project,
    basis: &Basis,
    of: &PublishedCaches<'_>,
) -> Result<(Vec<Cache>, Vec<Carried>)> {
    let wanted = wanted(app, project, basis, of.root);
    let (mut caches, mut records) = (Vec::new(), Vec::new());
    let here = if wanted.is_empty() { None } else { fetch::local_user(app, basis.image())? };
    let trees = here.map(|user| trees(app, &runtimes::holder(app, &user))).transpose()?;
    let scopes = scopes_of(&of.store.to_string(), of.task);
    let own = of.sealed_in.as_ref().map(|folder| format!(":{}", name_of(of.url, folder)));
    for wanted in wanted.iter().filter(|wanted| wanted.fixture.is_none()) {
        let find = |trees: &Trees| {
            let carried = |record: Record| (record.clone(), record.scope);
            let known = scopes.iter().find_map(|scope| trees.get(&wanted.key, scope)).map(carried);
            let sealed = || trees.of_a_task(&wanted.key, &|name| own.as_ref().is_some_and(|own| name.ends_with(own)));
            known.or_else(|| sealed().map(|record| (record, scopes[0].clone())))
        };
        let found = trees.as_ref().and_then(find);
        let digest = found.as_ref().map(|(record, _)| record.tree.digest);
        caches.push(Cache { name: wanted.name.clone(), key: wanted.key, digest, extra: Default::default() });
        records.extend(found);
    }
    Ok((caches, records))
}

/// Puts entries into a store, each under the tag of the scope that it is to have, where the store
/// does not have it yet. Returns how many went, and their bytes.
///
/// # Errors
/// When the store cannot be written; [`Kind::Integrity`] when an entry is no
/// longer what was sealed.
pub(crate) fn push(app: &App, store: &dyn Store, basis: &Basis, carried: &[Carried]) -> Result<(usize, u64)> {
    let (mut count, mut bytes) = (0, 0);
    let Some(user) = fetch::local_user(app, basis.image())? else { return Ok((0, 0)) };
    let holder = runtimes::holder(app, &user);
    let trees = trees(app, &holder)?;
    let _lock = keep(app)?;
    // Some may just have been removed.
    for (record, scope) in carried.iter().filter(|(record, _)| trees.get(&record.key, &record.scope).is_some()) {
        let tag = scope.tag(&record.key);
        if let Some(known) = store.resolve(&tag)? {
            let same = read_tree(store, &known)
                .and_then(|artifact| Document::parse(&artifact.document, &record.key))
                .is_ok_and(|document| document.tree.digest == record.tree.digest);
            if same {
                continue;
            }
        }
        let scratch = Scratch::create(app.paths.cache())?;
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
            sources: record.components.built.then(|| trees.sources(record)).flatten(),
            pins: trees.pins(record),
        };
        write_tree(store, &tag, &serde_json::to_vec(&document)?, &layer(&packed), &file)?;
        app.ui.status(
            "Pushed",
            &format!("the cache {} ({} scope), {}", record.components.name, scope.kind(), human_bytes(packed.size)),
        );
        (count, bytes) = (count + 1, bytes + packed.size);
    }
    Ok((count, bytes))
}

/// What is written of a tree that somebody gave.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn describe(record: &Record, diff_id: Digest) -> Result<Vec<u8>> {
    let (components, sealed_at) = (record.components.clone(), record.sealed_at);
    let (schema, key, tree) = (SCHEMA, record.key, record.tree);
    let (sources, pins) = (None, None);
    Ok(serde_json::to_vec(&Document { schema, key, components, tree, diff_id, sealed_at, sources, pins })?)
}

/// What that says: what is in the tree, and since when.
///
/// # Errors
/// [`Kind::Integrity`] when it is no such document.
pub(crate) fn described(bytes: &[u8]) -> Result<(TreeSummary, Timestamp)> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| integrity(format!("its description is malformed: {error}")))?;
    Ok((document.tree, document.sealed_at))
}

/// The layer that a packed tree becomes.
pub(crate) fn layer(packed: &Packed) -> Descriptor {
    Descriptor { digest: packed.digest, size: packed.size, ..Descriptor::of(media::LAYER_ZSTD, b"") }
}

/// Bytes that an entry would cost from a store; `None` when it has none.
///
/// # Errors
/// When the store does not answer.
pub(crate) fn size(store: &dyn Store, wanted: &Wanted, scopes: &[Scope]) -> Result<Option<u64>> {
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
