//! Images of this machine: in archives and engines. Only a name that the developer
//! gave, or their own project, leads here; a task that was published never does.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::io::Errno;

use super::found::{FoundImage, NamedImage};
use crate::digest::Digest;
use crate::disk::beneath::Beneath;
use crate::disk::find_program;
use crate::disk::plain::{self, Miss};
use crate::error::{Fault, Kind, kind_of, not_found, policy, usage};
use crate::handoff::allowance::allowance;
use crate::handoff::app::App;
use crate::handoff::fetch;
use crate::handoff::words::quote;
use crate::identity::{EngineKind, ImageName, InFile, StoreRef, Which};
use crate::local::{self, Engine, EngineImage, EnginePlaces, LocalImage, Packing};
use crate::store::Store;

/// So many names of images are shown.
const SHOWN: usize = 5;

/// Finds an image of this machine, and makes of it what a store holds. What
/// `target` has of it already is not read.
///
/// # Errors
/// When there is none of that name, or it cannot be read.
pub(super) fn find(app: &App, named: &NamedImage, target: &dyn Store) -> Result<FoundImage> {
    app.open_roots()?;
    let shown = named.name.to_string();
    let found = match &named.name {
        ImageName::DockerArchive(place) => {
            let (file, size, which) = archive(named, place)?;
            let read = |packing: &Packing<'_>| local::docker_archive(file, &which, &shown, packing);
            reading(app, target, &shown, size, read)?
        }
        ImageName::OciArchive(place) => {
            let (file, size, which) = archive(named, place)?;
            let read = |packing: &Packing<'_>| local::oci_archive(file, &which, &shown, packing);
            reading(app, target, &shown, size, read)?
        }
        ImageName::Engine(kind, name) => return in_engine(app, (*kind, name), target, &shown),
        other => return Err(usage(format!("{other} is no image of this machine")).into()),
    };
    taken(app, found)
}

/// An image of an engine; what is shown of it is `shown`.
///
/// # Errors
/// When the engine has none of that name, or does not answer.
pub(super) fn in_engine(
    app: &App,
    (kind, name): (EngineKind, &str),
    target: &dyn Store,
    shown: &str,
) -> Result<FoundImage> {
    let engine = Engine::find(kind, &places(app, kind))?;
    let missing = || not_found(format!("{kind} has no image {name}")).hint(listing(kind));
    let kept = engine.image(name)?.ok_or_else(missing)?;
    if let Some(found) = held(target, &kept)? {
        return Ok(found);
    }
    let read = |packing: &Packing<'_>| {
        let file = engine.save(&kept, packing.scratch, packing.counted)?;
        local::docker_archive(file, &Which::Only, shown, packing)
    };
    // Written out, and read again.
    let found = reading(app, target, shown, kept.size.saturating_mul(2), read)?;
    Ok(FoundImage { id: Some(kept.id), ..taken(app, found)? })
}

/// What a store needs to know of an image that was read.
fn taken(app: &App, found: LocalImage) -> Result<FoundImage> {
    for (diff_id, form) in &found.packed {
        fetch::note_form(app, diff_id, form);
    }
    let image = FoundImage::read(&*found.blobs, &found.root)?;
    Ok(FoundImage { source: Some(found.blobs), ..image })
}

fn reading(
    app: &App,
    target: &dyn Store,
    shown: &str,
    size: u64,
    read: impl FnOnce(&Packing<'_>) -> Result<LocalImage>,
) -> Result<LocalImage> {
    let progress = app.ui.progress();
    let bar = progress.bar(shown, size);
    let held = |diff_id: &Digest| fetch::held_form(app, target, diff_id);
    let (scratch, most) = (app.paths.cache(), allowance(app, app.paths.cache()));
    let packing = Packing { scratch, most, held: &held, counted: &|count| bar.add(count) };
    let image = read(&packing);
    bar.finish();
    image.with_context(|| format!("cannot read the image {shown}"))
}

/// The image, where the store was given it before. The store's tag is believed
/// only if what stands there has the engine's digest.
fn held(target: &dyn Store, kept: &EngineImage) -> Result<Option<FoundImage>> {
    let found = tagged(target, &kept.id)?;
    Ok(found.filter(|found| [found.manifest.config.digest, found.descriptor.digest].contains(&kept.id)))
}

/// The image to which a store was told to give this name, if all of it is there.
///
/// # Errors
/// When the store cannot be asked.
pub(super) fn tagged(target: &dyn Store, id: &Digest) -> Result<Option<FoundImage>> {
    let Some(root) = target.resolve(&format!("image-{}", id.hex()))? else { return Ok(None) };
    let Ok(found) = FoundImage::read(target, &root) else { return Ok(None) };
    for part in found.manifest.layers.iter().chain([&found.manifest.config]) {
        if !target.contains(part)? {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// The file of an archive, its size, and which image of it.
fn archive(named: &NamedImage, place: &InFile) -> Result<(File, u64, Which)> {
    let readings = place.readings();
    let is_there = |(path, _): &&(PathBuf, Which)| named.base.join(path).is_file();
    let found = readings.iter().find(is_there).or(readings.last());
    let (path, which) = found.cloned().context("a name has a reading")?;
    let shown = named.base.join(&path);
    let opened = if named.by_project { within(named, &path)? } else { plain::open(&shown) };
    let file = opened.map_err(|miss| no_archive(&shown, miss))?;
    let size = file.metadata().with_context(|| format!("cannot read {}", shown.display()))?.len();
    Ok((file, size, which))
}

/// What a project names lies in it.
fn within(named: &NamedImage, path: &Path) -> Result<Result<File, Miss>> {
    if path.is_absolute() {
        return Err(outside(&named.name).into());
    }
    Ok(Beneath::open(&named.base)?.file(path))
}

/// A project names an image of this machine that is not the project's.
pub(super) fn outside(name: &ImageName) -> Fault {
    policy(format!("the project names the image {name}, which is not in it, or behind a link"))
        .hint(format!("if that is the image you want, say so yourself: --image {}", quote(&name.to_string())))
}

fn no_archive(path: &Path, miss: Miss) -> anyhow::Error {
    let shown = path.display();
    match miss {
        Miss::Absent => not_found(format!("there is no file {shown}"))
            .hint("docker save NAME -o FILE writes a docker-archive:FILE")
            .into(),
        Miss::NoFile => usage(format!("{shown} is no file")).hint("a folder is named oci:PATH:TAG").into(),
        // By `..`, which the kernel says otherwise.
        Miss::Link | Miss::Failed(Errno::XDEV) => {
            policy(format!("{shown} leads out of the project, or through a link"))
                .hint("if that is the image you want, say so yourself: --image")
                .into()
        }
        Miss::Failed(errno) => anyhow::Error::from(errno).context(format!("cannot read {shown}")),
    }
}

/// Where an engine may be, by the developer's settings.
pub(super) fn places(app: &App, kind: EngineKind) -> EnginePlaces {
    let env = &app.env;
    let (host, own, folder) = match kind {
        EngineKind::Docker => (&env.docker_host, "/var/run/docker.sock", "docker.sock"),
        EngineKind::Podman => (&env.container_host, "/run/podman/podman.sock", "podman/podman.sock"),
    };
    let program = match kind {
        EngineKind::Docker => None,
        EngineKind::Podman => find_program(env.path.as_deref(), "podman"),
    };
    let Some(host) = host else {
        let of_user = env.xdg_runtime_dir.as_ref().map(|runtime| runtime.join(folder));
        let sockets = of_user.into_iter().chain([own.into()]).collect();
        return EnginePlaces { sockets, program, elsewhere: None };
    };
    match host.strip_prefix("unix://") {
        Some(path) => EnginePlaces { sockets: vec![path.into()], program, elsewhere: None },
        None => EnginePlaces { elsewhere: Some(host.clone()), ..EnginePlaces::default() },
    }
}

fn listing(kind: EngineKind) -> String {
    format!("see what it has: {kind} image ls")
}

/// No store has the image: what else it may have been.
pub(super) fn nowhere(app: &App, named: &NamedImage, store: &StoreRef, which: &Which, source: &dyn Store) -> Fault {
    let fault = not_found(format!("there is no image {which} in {store}"));
    match store {
        StoreRef::Layout(_) => match names_in(source) {
            Some(names) => fault.hint(format!("it has: {names}")),
            None => fault,
        },
        StoreRef::Registry(_) => fault.hint(elsewhere(app, named).unwrap_or_else(|| {
            let host = store.to_string().split('/').next().unwrap_or_default().to_owned();
            format!(
                "{host} was asked, and nobody else; what is on this machine is named \
                 docker-daemon:NAME, containers-storage:NAME, docker-archive:FILE, oci-archive:FILE or oci:PATH:TAG"
            )
        })),
    }
}

/// Some of the names that images of a folder have.
pub(super) fn names_in(source: &dyn Store) -> Option<String> {
    let tags = source.tags().ok()?;
    let names: Vec<String> = tags.into_iter().map(|(name, _)| name).take(SHOWN).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A registry does not answer, or not with an image: says so if it is here.
pub(super) fn or_here(app: &App, named: &NamedImage, error: anyhow::Error) -> anyhow::Error {
    let kind = kind_of(&error);
    if !matches!(kind, Kind::Failure | Kind::NotFound | Kind::Unreachable) {
        return error;
    }
    match elsewhere(app, named) {
        Some(hint) => error.context(Fault::new(kind, format!("cannot find the image {}", named.name)).hint(hint)),
        None => error,
    }
}

/// Where on this machine an image of that name is.
fn elsewhere(app: &App, named: &NamedImage) -> Option<String> {
    let ImageName::Registry { repository, which: Which::Tag(tag) } = &named.name else { return None };
    if named.by_project {
        return None;
    }
    let name = format!("{repository}:{tag}");
    [EngineKind::Docker, EngineKind::Podman].into_iter().find_map(|kind| {
        let engine = Engine::find(kind, &places(app, kind)).ok()?;
        engine.image(&name).ok()??;
        let own = ImageName::Engine(kind, name.clone()).to_string();
        Some(format!("{kind} has an image of that name here: --image {}", quote(&own)))
    })
}
