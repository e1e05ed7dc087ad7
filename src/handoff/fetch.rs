//! Pulling what is missing: the image's layers and the snapshot.

use anyhow::{Context as _, Result};

use super::allowance;
use super::context::{Context, Located};
use super::plan::Part;
use super::publish::quote;
use super::resolve::{Resolved, from_store};
use super::source::Source;
use crate::archive::Owned;
use crate::cache;
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::error::{failure, integrity, unreachable};
use crate::identity::{ImageRef, StoreRef, Target};
use crate::image::{self, Cache, Image, Metadata, Moved, Owners, Ownership, Pulled, User, Watch};
use crate::oci::{Blobs, Descriptor};
use crate::runtime::Mapping;
use crate::snapshot::{Document, MAX_DOCUMENT};
use crate::store::Store;
use crate::ui::counted;

/// Files of the image belong to whom the runtime's mapping says.
struct Sandboxed<'a>(&'a Context);

impl Owners for Sandboxed<'_> {
    fn of(&self, user: &User) -> Box<dyn Ownership> {
        Box::new(Mapped(mapping(self.0, user)))
    }
}

pub(super) struct Mapped(Mapping);

impl Ownership for Mapped {
    fn key(&self) -> String {
        self.0.key()
    }

    fn own_ids(&self) -> (u32, u32) {
        self.0.user()
    }

    fn settle(&self, root: std::os::fd::BorrowedFd<'_>, owned: &[Owned]) -> Result<Vec<u32>> {
        let owned: Vec<_> = owned.iter().map(|entry| (entry.path.as_c_str(), entry.uid, entry.gid)).collect();
        self.0.settle(root, &owned)
    }

    fn remove(&self, tree: &std::path::Path) -> Result<()> {
        self.0.remove(tree)
    }

    fn inside(&self, work: &dyn Fn() -> Result<()>) -> Result<()> {
        self.0.inside(work)
    }
}

impl cache::Holder for Mapped {
    fn key(&self) -> String {
        self.0.key()
    }

    fn own_ids(&self) -> (u32, u32) {
        self.0.user()
    }

    fn settle(&self, root: std::os::fd::BorrowedFd<'_>, owned: &[Owned]) -> Result<()> {
        Ownership::settle(self, root, owned).map(drop)
    }

    fn inside(&self, work: &dyn Fn() -> Result<()>) -> Result<()> {
        self.0.inside(work)
    }

    fn remove(&self, tree: &std::path::Path) -> Result<()> {
        self.0.remove(tree)
    }
}

/// Whose files the sealed trees of a runtime are in which commands run as
/// `user`.
pub(super) fn holder(ctx: &Context, user: &User) -> Mapped {
    Mapped(mapping(ctx, user))
}

/// The id mapping of a runtime in which commands run as `user`.
pub(super) fn mapping(ctx: &Context, user: &User) -> Mapping {
    Mapping::new(user.uid, user.gid, ctx.env.path.as_deref())
}

/// Who the user of an image is, where it has been unpacked here.
pub(super) fn local_user(ctx: &Context, image: &Digest) -> Result<Option<User>> {
    disk::read_json(&ctx.paths.image_user(image))
}

/// The image as far as it is here already.
pub(super) fn local_image(ctx: &Context, resolved: &Resolved) -> Result<Option<(Image, Option<Pulled>)>> {
    let metadata = Metadata { paths: &ctx.paths };
    let Some(image) = metadata.local(&resolved.identity.toolchain.image.digest)? else { return Ok(None) };
    let pulled = Cache::new(&ctx.paths, disk::boot_id()?).local(&image, &Sandboxed(ctx));
    Ok(Some((image, pulled)))
}

/// Which layers of an image are here.
pub(super) fn layers_here(ctx: &Context, image: &Image) -> Result<Vec<bool>> {
    Ok(Cache::new(&ctx.paths, disk::boot_id()?).have(image, &Sandboxed(ctx)))
}

/// The image's documents alone, fetched where they are missing.
pub(super) fn image_documents(source: &Source<'_>, resolved: &Resolved) -> Result<Image> {
    let reference = &resolved.identity.toolchain.image;
    source.ctx.open_roots()?;
    with_image_store(source, resolved, |store| documents(source.ctx, store, &reference.digest))
}

fn documents(ctx: &Context, store: &dyn Store, digest: &Digest) -> Result<Image> {
    let descriptor = store.find(digest)?;
    Metadata { paths: &ctx.paths }.fetch(store, &descriptor).context("cannot read the image")
}

/// The store that holds a task's image: its own, or the one that the identity
/// names.
fn with_image_store<T>(
    source: &Source<'_>,
    resolved: &Resolved,
    work: impl FnOnce(&dyn Store) -> Result<T>,
) -> Result<T> {
    match &resolved.identity.toolchain.image.repository {
        None => work(source.store().context("the image is not on this machine")?),
        Some(repository) => {
            let name = StoreRef::Registry(repository.clone());
            let opened = source.ctx.open_led(&name, Some(beside(resolved, &name)), IMAGE);
            work(&*opened.context("cannot open the image")?)
        }
    }
}

const IMAGE: &str = "the image of the task";

/// That of a checkout was settled when it was pinned.
fn beside<'a>(resolved: &'a Resolved, image: &'a StoreRef) -> &'a StoreRef {
    if resolved.local.is_some() { image } else { &resolved.task.store }
}

/// Makes sure that the registry of the image may be asked; asks it nothing.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when the developer did not agree to it.
pub(super) fn settle_image(ctx: &Context, resolved: &Resolved) -> Result<()> {
    let Some(repository) = &resolved.identity.toolchain.image.repository else { return Ok(()) };
    let name = StoreRef::Registry(repository.clone());
    ctx.settle_led(&name, Some(beside(resolved, &name)), IMAGE)
}

/// Whether the image's documents can be fetched without a question.
///
/// # Errors
/// When the approvals cannot be read.
pub(super) fn may_ask_for_image(ctx: &Context, resolved: &Resolved) -> Result<bool> {
    match &resolved.identity.toolchain.image.repository {
        None => Ok(true),
        Some(repository) => ctx.is_open(&StoreRef::Registry(repository.clone()), Some(&resolved.task.store)),
    }
}

/// What is to be known of a snapshot and its base before they are fetched.
pub(super) fn snapshot_part(
    ctx: &Context,
    resolved: &Resolved,
    source: Option<&Source<'_>>,
    ready: bool,
) -> Result<Vec<Part>> {
    let id = resolved.identity.snapshot_id;
    let kept = kept_snapshot(ctx, &id)?;
    let hit = ready || kept.is_some();
    let bytes = match source {
        _ if hit => Some(0),
        Some(source) if !ctx.options.offline => {
            let (_, artifact, _) = from_store(source.store()?, &exactly(resolved))?;
            Some(artifact.snapshot.size + artifact.pack.map_or(0, |pack| pack.size))
        }
        _ => None,
    };
    let snapshot = Part { kind: "snapshot", name: id.to_string(), hit, bytes };
    // What the snapshot builds on is written in it.
    let base = kept.map(|snapshot| snapshot.document.base);
    let here = ready || base.as_ref().is_some_and(|base| super::hydrate::mirror(ctx, resolved).has(base));
    let name = base.unwrap_or_else(|| resolved.identity.repo.commit.clone()).to_string();
    Ok(vec![snapshot, Part { kind: "commits", name, hit: here, bytes: here.then_some(0) }])
}

/// By its own tag: the task's may have moved on meanwhile.
fn exactly(resolved: &Resolved) -> Located {
    Located { store: resolved.task.store.clone(), target: Target::Identity(resolved.digest) }
}

/// Whether the image is here, as far as it may be used: all of it, or only its
/// documents.
///
/// # Errors
/// When the caches cannot be read.
pub(super) fn image_here(ctx: &Context, resolved: &Resolved) -> Result<Here> {
    let reference = &resolved.identity.toolchain.image;
    let entered = resolved.pin.as_ref().is_some_and(|pin| pin.identity == resolved.digest);
    let seen = entered || seen_there(ctx, reference);
    // What came from elsewhere says nothing about the repository named here.
    Ok(match local_image(ctx, resolved)?.filter(|_| seen) {
        Some((image, Some(pulled))) => Here::Whole(Box::new((image, pulled))),
        Some((image, None)) => Here::Documents(image),
        None => Here::Nothing,
    })
}

/// How much of an image is here.
pub(super) enum Here {
    Whole(Box<(Image, Pulled)>),
    Documents(Image),
    Nothing,
}

/// Pulls what is missing of the image.
///
/// # Errors
/// When the store lacks it, or what it gives does not match.
pub(super) fn pull_image(source: &Source<'_>, resolved: &Resolved, known: Option<Image>) -> Result<(Image, Pulled)> {
    let ctx = source.ctx;
    let reference = &resolved.identity.toolchain.image;
    ctx.open_roots()?;
    let (image, pulled) = with_image_store(source, resolved, |store| {
        let image = match known {
            Some(image) => image,
            None => documents(ctx, store, &reference.digest)?,
        };
        note_seen(ctx, reference)?;
        check_platform(&image, resolved)?;
        let cache = Cache::new(&ctx.paths, disk::boot_id()?);
        let blobs: &dyn Blobs = store;
        let pulled = cache.pull(&image, &Sandboxed(ctx), blobs, &Shown(source)).context("cannot pull the image")?;
        Ok((image, pulled))
    })?;
    if pulled.fetched > 0 {
        let size = crate::ui::human_bytes(pulled.bytes);
        ctx.ui.status("Pulled", &format!("{} of the image, {size}", counted(pulled.fetched as u64, "layer", "layers")));
    }
    tell_what_differs(ctx, &pulled);
    Ok((image, pulled))
}

/// Whether this digest was ever served by the repository that an identity
/// names for it. Otherwise the name would be believed for what another
/// repository's image left in the cache.
fn seen_there(ctx: &Context, image: &ImageRef) -> bool {
    image.repository.as_ref().is_none_or(|repository| ctx.paths.image_seen(&image.digest, repository).exists())
}

fn note_seen(ctx: &Context, image: &ImageRef) -> Result<()> {
    match &image.repository {
        Some(repository) if !seen_there(ctx, image) => {
            let note = format!("{repository}\n");
            disk::write_file(&ctx.paths.image_seen(&image.digest, repository), note.as_bytes(), Durability::Cached)
        }
        _ => Ok(()),
    }
}

fn check_platform(image: &Image, resolved: &Resolved) -> Result<()> {
    let (wanted, host) = (&resolved.identity.toolchain.platform, crate::identity::Platform::host());
    let config = &image.config;
    if (&config.os, &config.architecture) != (&wanted.os, &wanted.architecture) {
        return Err(integrity(format!(
            "the image is for {}/{}, the identity says {wanted}",
            config.os, config.architecture
        ))
        .into());
    }
    if (&wanted.os, &wanted.architecture) != (&host.os, &host.architecture) {
        return Err(failure(format!("the image is for {wanted}, this machine is {host}"))
            .hint(format!("envctl enter {} --no-runtime gives the workspace", quote(&resolved.task.reference())))
            .into());
    }
    Ok(())
}

fn tell_what_differs(ctx: &Context, pulled: &Pulled) {
    let skipped: u64 = pulled.records.iter().map(|record| record.counts.devices).sum();
    if skipped > 0 {
        ctx.ui.detail(&format!("{skipped} device nodes of the image were left out"));
    }
    let mut unmapped: Vec<u32> = pulled.records.iter().flat_map(|record| record.unmapped.clone()).collect();
    unmapped.sort_unstable();
    unmapped.dedup();
    if !unmapped.is_empty() {
        let ids: Vec<String> = unmapped.iter().map(ToString::to_string).collect();
        ctx.ui.detail(&format!(
            "ids {} of the image have no place here; their files belong to the image's user (see /etc/subuid)",
            ids.join(", ")
        ));
    }
}

struct Shown<'a>(&'a Source<'a>);

impl Watch for Shown<'_> {
    fn layer<'a>(&'a self, layer: &Descriptor) -> Moved<'a> {
        let bar = self.0.bar(&format!("layer {}", layer.digest.short()), layer.size);
        Box::new(move |count| {
            bar.add(count);
            self.0.go_on()
        })
    }

    fn waiting(&self, layer: &Descriptor) {
        self.0.ctx.ui.status("Waiting", &format!("another envctl is pulling layer {}", layer.digest.short()));
    }
}

/// The snapshot document and its pack, checked, with the bytes moved.
pub(super) struct Snapshot {
    pub(super) document: Document,
    pub(super) pack: Option<std::fs::File>,
}

/// The snapshot of an identity.
///
/// # Errors
/// When the store lacks it, or what it gives does not match.
pub(super) fn snapshot(source: &Source<'_>, resolved: &Resolved) -> Result<(Snapshot, u64)> {
    let ctx = source.ctx;
    let id = resolved.identity.snapshot_id;
    if let Some(snapshot) = kept_snapshot(ctx, &id)? {
        return Ok((snapshot, 0));
    }
    let store = source.store().context("the snapshot is not on this machine")?;
    let (_, artifact, _) = from_store(store, &exactly(resolved))?;
    if artifact.snapshot.digest != id {
        return Err(
            integrity(format!("the manifest names snapshot {}, the identity {id}", artifact.snapshot.digest)).into()
        );
    }
    let bytes = store.read_small(&artifact.snapshot, MAX_DOCUMENT).context("cannot read the snapshot")?;
    let document = Document::parse(&bytes)?;
    let mut moved = bytes.len() as u64;
    if let Some(pack) = &document.pack {
        let descriptor = artifact.pack.as_ref().filter(|descriptor| descriptor.digest == pack.digest);
        let descriptor = descriptor.ok_or_else(|| integrity("the snapshot's pack is not in the manifest"))?;
        let mut content = store.open(descriptor).context("cannot read the snapshot's pack")?;
        keep_stream(source, descriptor, &mut *content)?;
        moved += descriptor.size;
    }
    disk::write_file(&ctx.paths.blob(&id), &bytes, Durability::Cached)?;
    let kept = kept_snapshot(ctx, &id)?;
    Ok((kept.ok_or_else(|| unreachable("the snapshot vanished from the cache"))?, moved))
}

fn kept_snapshot(ctx: &Context, id: &Digest) -> Result<Option<Snapshot>> {
    let Some(bytes) = disk::read_file(&ctx.paths.blob(id), MAX_DOCUMENT)? else { return Ok(None) };
    if Digest::of(&bytes) != *id {
        return Ok(None);
    }
    let document = Document::parse(&bytes)?;
    let pack = match &document.pack {
        None => None,
        // Checked again while it is read.
        Some(pack) => match disk::plain::open(&ctx.paths.blob(&pack.digest)) {
            Ok(file) if file.metadata()?.len() == pack.size => Some(file),
            _ => return Ok(None),
        },
    };
    Ok(Some(Snapshot { document, pack }))
}

fn keep_stream(source: &Source<'_>, descriptor: &Descriptor, content: &mut dyn std::io::Read) -> Result<()> {
    let place = source.ctx.paths.blob(&descriptor.digest);
    let parent = place.parent().context("a blob has a folder")?;
    allowance::require(source.ctx, parent, descriptor.size, "the snapshot's pack")?;
    disk::create_private_dir(parent)?;
    let mut file = disk::Unnamed::create_in(parent)?;
    let content = source.watched(content, "snapshot", descriptor.size);
    let mut content = crate::digest::Verified::new(content, descriptor.size, descriptor.digest);
    std::io::copy(&mut content, &mut file)
        .map_err(crate::oci::unwrap_io)
        .context("cannot fetch the snapshot's pack")?;
    file.publish(&place, Durability::Cached).with_context(|| format!("cannot write {}", place.display()))
}

/// The store's descriptor of an image, for `publish` and `show`.
pub(super) fn has_image(store: &dyn Store, image: &ImageRef) -> bool {
    // What is on a registry of its own need not be in the store.
    image.repository.is_some()
        || store
            .find(&image.digest)
            .is_ok_and(|descriptor| image::for_platform(store, &descriptor, &crate::identity::Platform::host()).is_ok())
}
