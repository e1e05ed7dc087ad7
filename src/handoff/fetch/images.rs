//! Pulling what is missing: the image's layers and the snapshot.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::known::{note_form, note_place};
use crate::archive::Ownership;
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::error::{failure, integrity};
use crate::handoff::app::App;
use crate::handoff::runtimes::holder;
use crate::handoff::task::{Resolved, Source};
use crate::identity::{Identity, ImageRef, ServiceImage, StoreRef};
use crate::image::{self, Image, ImageCache, Metadata, Moved, Owners, PullWatch, Pulled, User};
use crate::oci::{Blobs, Descriptor};
use crate::store::Store;
use crate::ui::counted;

/// Files of the image belong to whom the runtime's mapping says.
struct Sandboxed<'a>(&'a App);

impl Owners for Sandboxed<'_> {
    fn of(&self, user: &User) -> Box<dyn Ownership> {
        Box::new(holder(self.0, user))
    }
}

/// The same for an image that appears in the runtime of another one, whose user this is.
struct InRuntimeOf<'a>(&'a App, &'a User);

impl Owners for InRuntimeOf<'_> {
    fn of(&self, _: &User) -> Box<dyn Ownership> {
        Box::new(holder(self.0, self.1))
    }
}

/// Who commands of an image run as, where it has been unpacked here: its own user, or
/// the one that is asked for.
pub(crate) fn local_user(app: &App, (image, asked): (&Digest, Option<&str>)) -> Result<Option<User>> {
    disk::read_json(&app.paths.image_user(image, asked))
}

/// The image as far as it is here already.
pub(crate) fn local_image(app: &App, resolved: &Resolved) -> Result<Option<(Image, Option<Pulled>)>> {
    local_of(app, resolved, &Sandboxed(app))
}

fn local_of(app: &App, resolved: &Resolved, owners: &dyn Owners) -> Result<Option<(Image, Option<Pulled>)>> {
    let metadata = Metadata { paths: &app.paths };
    let toolchain = &resolved.identity.toolchain;
    let Some(image) = metadata.local(&toolchain.image.digest)? else { return Ok(None) };
    let image = image.run_as(toolchain.user.as_deref());
    let pulled = ImageCache::new(&app.paths, disk::boot_id()?).local(&image, owners);
    Ok(Some((image, pulled)))
}

/// Which layers of an image are here.
pub(crate) fn layers_here(app: &App, image: &Image) -> Result<Vec<bool>> {
    Ok(ImageCache::new(&app.paths, disk::boot_id()?).have(image, &Sandboxed(app)))
}

/// The image's documents alone, fetched where they are missing.
pub(crate) fn image_documents(source: &Source<'_>, resolved: &Resolved) -> Result<Image> {
    let toolchain = &resolved.identity.toolchain;
    source.app.open_roots()?;
    let image = with_image_store(source, resolved, |store| documents(source.app, store, &toolchain.image.digest))?;
    Ok(image.run_as(toolchain.user.as_deref()))
}

fn documents(app: &App, store: &dyn Store, digest: &Digest) -> Result<Image> {
    let descriptor = store.find(digest)?;
    Metadata { paths: &app.paths }.fetch(store, &descriptor).context("cannot read the image")
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
            let opened = source.app.open_led(&name, Some(&resolved.task.store), IMAGE);
            work(&*opened.context("cannot open the image")?)
        }
    }
}

const IMAGE: &str = "the image of the task";

/// Makes sure that the registry of the image may be asked; asks it nothing.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when the developer did not agree to it.
pub(crate) fn settle_image(app: &App, resolved: &Resolved) -> Result<()> {
    let Some(repository) = &resolved.identity.toolchain.image.repository else { return Ok(()) };
    let name = StoreRef::Registry(repository.clone());
    app.settle_led(&name, Some(&resolved.task.store), IMAGE)
}

/// Whether the image's documents can be fetched without a question.
///
/// # Errors
/// When the approvals cannot be read.
pub(crate) fn may_ask_for_image(app: &App, resolved: &Resolved) -> Result<bool> {
    match &resolved.identity.toolchain.image.repository {
        None => Ok(true),
        Some(repository) => app.is_open(&StoreRef::Registry(repository.clone()), Some(&resolved.task.store)),
    }
}

/// Whether the image is here, as far as it may be used: all of it, or only its
/// documents.
///
/// # Errors
/// When the caches cannot be read.
pub(crate) fn image_here(app: &App, resolved: &Resolved) -> Result<Here> {
    here_of(app, resolved, &Sandboxed(app))
}

fn here_of(app: &App, resolved: &Resolved, owners: &dyn Owners) -> Result<Here> {
    // What came from elsewhere says nothing about the place named here.
    Ok(match local_of(app, resolved, owners)?.filter(|_| seen_there(app, resolved)) {
        Some((image, Some(pulled))) => Here::Whole(Box::new((image, pulled))),
        Some((image, None)) => Here::Documents(Box::new(image)),
        None => Here::Nothing,
    })
}

/// How much of an image is here.
pub(crate) enum Here {
    Whole(Box<(Image, Pulled)>),
    Documents(Box<Image>),
    Nothing,
}

/// Pulls what is missing of the image.
///
/// # Errors
/// When the store lacks it, or what it gives does not match.
pub(crate) fn pull_image(source: &Source<'_>, resolved: &Resolved, known: Option<Image>) -> Result<(Image, Pulled)> {
    pull_of(source, resolved, known, &Sandboxed(source.app))
}

/// The same for the image of a service.
pub(crate) fn of_service(resolved: &Resolved, pinned: &ServiceImage) -> Resolved {
    let identity = Identity { toolchain: pinned.toolchain.clone(), ..resolved.identity.clone() };
    Resolved { identity, ..resolved.clone() }
}

/// The image of a service in the runtime in which commands run as `user`: brought here
/// as that of the task is, and kept with it.
///
/// # Errors
/// As [`pull_image`].
pub(crate) fn service_image(
    source: &Source<'_>,
    resolved: &Resolved,
    pinned: &ServiceImage,
    user: &User,
) -> Result<(Image, Pulled)> {
    let resolved = of_service(resolved, pinned);
    let owners = InRuntimeOf(source.app, user);
    let known = match here_of(source.app, &resolved, &owners)? {
        Here::Whole(whole) => return Ok(*whole),
        Here::Documents(image) => Some(*image),
        Here::Nothing => None,
    };
    let pulled = settle_image(source.app, &resolved).and_then(|()| pull_of(source, &resolved, known, &owners));
    let (image, pulled) = pulled.with_context(|| format!("cannot bring the image of the service {}", pinned.name))?;
    let diff_ids: Vec<Digest> = pulled.records.iter().map(|record| record.diff_id).collect();
    pulled.layers.flush(&diff_ids)?;
    Ok((image, pulled))
}

fn pull_of(
    source: &Source<'_>,
    resolved: &Resolved,
    known: Option<Image>,
    owners: &dyn Owners,
) -> Result<(Image, Pulled)> {
    let app = source.app;
    let reference = &resolved.identity.toolchain.image;
    app.open_roots()?;
    let place = match &reference.repository {
        Some(repository) => &StoreRef::Registry(repository.clone()),
        None => &resolved.task.store,
    };
    let (image, pulled) = with_image_store(source, resolved, |store| {
        let image = match known {
            Some(image) => image,
            None => documents(app, store, &reference.digest)?,
        };
        let image = image.run_as(resolved.identity.toolchain.user.as_deref());
        note_seen(app, resolved)?;
        check_platform(&image, resolved)?;
        let cache = ImageCache::new(&app.paths, disk::boot_id()?);
        let blobs: &dyn Blobs = store;
        let pulled = cache.pull(&image, owners, blobs, &ShownLayers(source)).context("cannot pull the image")?;
        if pulled.fetched > 0 {
            note_layers(app, &image, place);
        }
        Ok((image, pulled))
    })?;
    if pulled.fetched > 0 {
        let size = crate::ui::human_bytes(pulled.bytes);
        app.ui.status("Pulled", &format!("{} of the image, {size}", counted(pulled.fetched as u64, "layer", "layers")));
    }
    tell_what_differs(app, &pulled);
    Ok((image, pulled))
}

/// Each layer unpacked to what it should: whoever has the same tar need not pack it.
fn note_layers(app: &App, image: &Image, place: &StoreRef) {
    for (layer, diff_id) in &image.layers {
        note_form(app, diff_id, layer);
        note_place(app, &layer.digest, place);
    }
}

/// Whether this digest was ever served by the repository that an identity names for
/// it, or by the task's own store. Otherwise whoever writes to a store could name
/// what another project's image left in the cache. What somebody runs in a checkout
/// of their own is their choice.
fn seen_there(app: &App, resolved: &Resolved) -> bool {
    resolved.local.is_some() || seen(app, resolved).exists()
}

fn note_seen(app: &App, resolved: &Resolved) -> Result<()> {
    if seen_there(app, resolved) {
        return Ok(());
    }
    disk::write_file(&seen(app, resolved), format!("{}\n", place_of(resolved)).as_bytes(), Durability::Cached)
}

fn seen(app: &App, resolved: &Resolved) -> PathBuf {
    app.paths.image_seen(&resolved.identity.toolchain.image.digest, &place_of(resolved))
}

/// Where the identity says that its image is.
fn place_of(resolved: &Resolved) -> String {
    match &resolved.identity.toolchain.image.repository {
        Some(repository) => repository.to_string(),
        None => resolved.task.store.to_string(),
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
            .hint(format!("envctl enter {} --no-runtime gives the workspace", resolved.task.quoted()))
            .into());
    }
    Ok(())
}

fn tell_what_differs(app: &App, pulled: &Pulled) {
    let skipped: u64 = pulled.records.iter().map(|record| record.counts.devices).sum();
    if skipped > 0 {
        app.ui.detail(&format!("{skipped} device nodes of the image were left out"));
    }
    let mut unmapped: Vec<u32> = pulled.records.iter().flat_map(|record| record.unmapped.clone()).collect();
    unmapped.sort_unstable();
    unmapped.dedup();
    if !unmapped.is_empty() {
        let ids: Vec<String> = unmapped.iter().map(ToString::to_string).collect();
        app.ui.detail(&format!(
            "ids {} of the image have no place here; their files belong to the image's user (see /etc/subuid)",
            ids.join(", ")
        ));
    }
}

struct ShownLayers<'a>(&'a Source<'a>);

impl PullWatch for ShownLayers<'_> {
    fn layer<'a>(&'a self, layer: &Descriptor) -> Moved<'a> {
        let bar = self.0.bar(&format!("layer {}", layer.digest.short()), layer.size);
        Box::new(move |count| {
            bar.add(count);
            self.0.go_on()
        })
    }

    fn waiting(&self, layer: &Descriptor) {
        self.0.app.ui.status("Waiting", &format!("another envctl is pulling layer {}", layer.digest.short()));
    }
}

/// The store's descriptor of an image, for `publish` and `show`.
pub(crate) fn has_image(store: &dyn Store, image: &ImageRef) -> bool {
    // What is on a registry of its own need not be in the store.
    image.repository.is_some()
        || store
            .find(&image.digest)
            .is_ok_and(|descriptor| image::for_platform(store, &descriptor, &crate::identity::Platform::host()).is_ok())
}
