//! The image of a task: where its name comes from, and what it is pinned to.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::io::Errno;

use super::found::{ChosenImage, FoundImage, NamedImage, Recipe};
use super::{build, local};
use crate::config::{self, Project};
use crate::disk::{self, beneath::Beneath};
use crate::error::{not_found, policy, usage};
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::fetch;
use crate::handoff::trust::Screen;
use crate::identity::{ImageName, InFile, Pinned, StoreRef, Toolchain, Which};
use crate::oci::{Blobs, Descriptor};
use crate::store::{Access, Layout, Store};
use crate::ui::{Bar, Progress};

/// What the developer says of the image.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ImageWish<'a> {
    /// `--image`.
    pub(crate) image: Option<&'a str>,
    /// `--build`: what the project's file says of it, in a workspace too.
    pub(crate) build: bool,
}

/// The image that counts: flag, environment, project file. The file of a workspace
/// that `entered` a task is the task's: it names no image of this machine, and has
/// none built.
pub(crate) fn chosen(
    app: &App,
    wish: ImageWish<'_>,
    project: &Project,
    (root, entered): (&Path, bool),
) -> Result<Option<ChosenImage>> {
    let toolchain = &project.toolchain;
    let said = wish.image.or(app.env.image.as_deref()).filter(|_| !wish.build);
    if let (None, Some(what)) = (said, toolchain.lacks) {
        return Err(usage("the devcontainer.json describes an image that envctl does not make by itself")
            .hint(format!("{what}; or say what is meant in envctl.toml"))
            .into());
    }
    let (text, base) = match (said, &toolchain.build, &toolchain.image) {
        (Some(text), _, _) => (text, app.cwd.as_path()),
        (None, Some(_), _) if entered && !wish.build => {
            return Err(policy("the task's project has its image built, on this machine")
                .hint("if that is what you want, say so yourself: --build")
                .into());
        }
        (None, Some(build), _) => {
            return Ok(Some(ChosenImage::Built(Recipe {
                build: build.clone(),
                root: root.to_owned(),
                said: wish.build,
            })));
        }
        (None, None, _) if wish.build => {
            return Err(usage("the project says nothing of a build")
                .hint("toolchain.build in envctl.toml does")
                .into());
        }
        (None, None, Some(text)) => (text.as_str(), root),
        (None, None, None) => return Ok(None),
    };
    let by_project = said.is_none();
    let named = NamedImage { name: text.parse()?, base: base.to_owned(), by_project };
    if by_project && entered && !matches!(named.name, ImageName::Registry { .. }) {
        return Err(policy(format!(
            "the task's project names the image {}, which is on this machine alone",
            named.name
        ))
        .hint(format!("if that is what you want, say so yourself: --image {}", named.name))
        .into());
    }
    Ok(Some(ChosenImage::Named(named)))
}

/// Pins an image to its platform manifest, where it is: the store in which it can
/// be found. One from an archive or an engine is copied to this machine's own, and
/// one that is built stays there, unless the configured store has it. What goes into
/// one that is built, and is to be published, passes `screen` first.
///
/// # Errors
/// When it cannot be found or read.
pub(crate) fn pin(
    app: &App,
    (chosen, wished): (&ChosenImage, &config::ToolchainSettings),
    screen: Option<Screen<'_>>,
) -> Result<(Toolchain, StoreRef)> {
    let own = || StoreRef::Layout(app.paths.local_images());
    let named = match chosen {
        ChosenImage::Named(named) => named,
        ChosenImage::Built(recipe) => {
            let target = app.open(&own(), Access::Write)?;
            let wanted = build::WantedImage::read(app, recipe)?;
            let found = wanted.held(&*target)?.map(|found| (found, own()));
            if let Some((found, store)) = found.or_else(|| elsewhere(app, &wanted)) {
                // It may have been built for this machine alone.
                wanted.searched(app, screen)?;
                return Ok((settled(app, &found, wished), store));
            }
            let found = wanted.build(app, &*target, screen)?;
            return Ok((stored(app, (&*target, &own()), found, wished)?.0, own()));
        }
    };
    let store = match &named.name {
        ImageName::Registry { repository, .. } => StoreRef::Registry(repository.clone()),
        ImageName::Layout(place) => {
            require_folder(chosen)?;
            layout_of(named, place, None)?.0
        }
        _ => {
            let target = app.open(&own(), Access::Write)?;
            return Ok((pin_into(app, (&*target, &own()), (chosen, wished), screen)?.0, own()));
        }
    };
    let toolchain = settled(app, &in_store(app, named, None)?, wished);
    // What is asked of it from here on was settled with the image.
    app.note_named(&store);
    Ok((toolchain, store))
}

/// Pins an image as [`pin`] does, with the store of this machine beside it: so that
/// images of services can be there too.
///
/// # Errors
/// As [`pin`].
pub(crate) fn pin_here(
    app: &App,
    chosen: (&ChosenImage, &config::ToolchainSettings),
    screen: Option<Screen<'_>>,
) -> Result<(Toolchain, StoreRef)> {
    let own = StoreRef::Layout(app.paths.local_images());
    let target = app.open(&own, Access::Write)?;
    let (toolchain, _) = pin_into(app, (&*target, &own), chosen, screen)?;
    Ok((toolchain, own))
}

/// What a colleague has built, in the configured store. One that does not answer has
/// nothing.
fn elsewhere(app: &App, wanted: &build::WantedImage<'_>) -> Option<(FoundImage, StoreRef)> {
    if app.options.offline {
        return None;
    }
    let store = app.configured_store().ok()??;
    let look = || -> Result<_> { wanted.held(&*app.open(&store, Access::Read)?) };
    let found = look();
    if let Err(error) = &found {
        app.ui.detail(&format!("the store {store} was not asked for the image: {error:#}"));
    }
    Some((found.ok()??, store))
}

/// Pins an image to its platform manifest. One of this machine, or one that is built,
/// is copied into `target`, the store `beside` it, so that whoever can read the task
/// can run it; one on a registry is named. What goes into one that is built passes
/// `screen` first. Returns the bytes that were new.
pub(crate) fn pin_into(
    app: &App,
    (target, beside): (&dyn Store, &StoreRef),
    (chosen, wished): (&ChosenImage, &config::ToolchainSettings),
    screen: Option<Screen<'_>>,
) -> Result<(Toolchain, u64)> {
    let found = match chosen {
        ChosenImage::Built(recipe) => build::WantedImage::read(app, recipe)?.found(app, target, screen)?,
        ChosenImage::Named(named) => match &named.name {
            ImageName::Registry { .. } | ImageName::Layout(_) => in_store(app, named, Some(beside))?,
            _ => local::find(app, named, target)?,
        },
    };
    stored(app, (target, beside), found, wished)
}

/// How an identity says an image, and what of its own wishes it is not given.
fn settled(app: &App, found: &FoundImage, wished: &config::ToolchainSettings) -> Toolchain {
    let refused = found.refused(wished);
    if !refused.is_empty() {
        let refused = refused.join(", ");
        app.ui.warn(&format!("the image's devcontainer.metadata asks for what no runtime gives: {refused}"));
    }
    found.toolchain(wished)
}

/// Copies an image that is in no registry into a store.
fn stored(
    app: &App,
    (target, beside): (&dyn Store, &StoreRef),
    found: FoundImage,
    wished: &config::ToolchainSettings,
) -> Result<(Toolchain, u64)> {
    let toolchain = settled(app, &found, wished);
    let Some(source) = found.source.filter(|_| found.repository.is_none()) else { return Ok((toolchain, 0)) };
    let (mut copied, progress) = (0, app.ui.progress());
    for part in found.manifest.layers.iter().chain([&found.manifest.config]) {
        copied += copy(app, &*source, target, part, &progress)?;
        fetch::note_place(app, &part.digest, beside);
    }
    let plain = found.descriptor.plain();
    target.put(&plain, &|| Ok(Box::new(&found.bytes[..])))?;
    target.tag(&format!("image-{}", plain.digest.hex()), &plain, None)?;
    if let Some(id) = found.id {
        // Who has the same image here again need not write it out.
        target.tag(&format!("image-{}", id.hex()), &plain, None)?;
    }
    Ok((toolchain, copied))
}

/// Which layout, and which image of it: the reading of the name under which there
/// is one. What a project names lies in it, or in the task's `own` store.
///
/// # Errors
/// [`crate::error::Kind::Policy`] for a folder that a project names, and that is not
/// in it.
fn layout_of(named: &NamedImage, place: &InFile, own: Option<&StoreRef>) -> Result<(StoreRef, Which)> {
    let readings = place.readings();
    let layout = |path: &Path| StoreRef::Layout(path.to_owned()).placed(&named.base);
    let within = |path: &Path| own == Some(&layout(path)) || disk::is_straight(&named.base, &named.base.join(path));
    let is_there = |(path, _): &&(PathBuf, Which)| {
        (!named.by_project || within(path)) && named.base.join(path).join("oci-layout").exists()
    };
    // Otherwise as it is mostly meant.
    let found = readings.iter().find(is_there).or(readings.get(1)).or(readings.first());
    let (path, which) = found.cloned().unwrap_or_default();
    if named.by_project && !within(&path) {
        return Err(local::outside(&named.name).into());
    }
    Ok((layout(&path), which))
}

/// The layout that a project names, reached from its root through no link.
fn layout_within(named: &NamedImage, folder: &Path) -> Result<Box<dyn Store>> {
    let outside = || local::outside(&named.name);
    // Stores are known by their real paths.
    let base = disk::real_place(&named.base).with_context(|| format!("cannot find {}", named.base.display()))?;
    let below = folder.strip_prefix(&base).map_err(|_| outside())?;
    let opened = Beneath::open(&base)?.below(below);
    let opened = opened.map_err(|errno| match errno {
        Errno::NOENT => not_found(format!("there is no image at {}", folder.display())),
        _ => outside(),
    })?;
    Ok(Box::new(Layout::within(opened, folder.to_owned())?))
}

/// Refuses a folder that holds no images, before anything is done for it.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] for such a folder.
pub(crate) fn require_folder(chosen: &ChosenImage) -> Result<()> {
    let ChosenImage::Named(named) = chosen else { return Ok(()) };
    let ImageName::Layout(place) = &named.name else { return Ok(()) };
    let StoreRef::Layout(path) = layout_of(named, place, None)?.0 else { return Ok(()) };
    let why = match path.is_dir() {
        _ if path.join("oci-layout").exists() => return Ok(()),
        true => "the folder is not an OCI image layout",
        false if path.exists() => "it is a file, and no folder",
        false => "the folder does not exist",
    };
    Err(not_found(format!("there is no image at {}: {why}", path.display()))
        .hint("name a folder that holds images, as in oci:PATH:TAG; envctl help images has the other names")
        .into())
}

fn in_store(app: &App, named: &NamedImage, beside: Option<&StoreRef>) -> Result<FoundImage> {
    let (store, which) = match &named.name {
        ImageName::Registry { repository, which } => (StoreRef::Registry(repository.clone()), which.clone()),
        ImageName::Layout(place) => layout_of(named, place, beside)?,
        other => return Err(usage(format!("{other} is in no store")).into()),
    };
    let source = match &store {
        StoreRef::Layout(folder) if named.by_project && beside != Some(&store) => layout_within(named, folder),
        _ if named.by_project => app.open_led(&store, beside, "the image that the project names"),
        _ => {
            app.note_named(&store);
            app.open(&store, Access::Read)
        }
    };
    let source = source.context("cannot open the image")?;
    // What is asked of it from here on is settled with this.
    app.note_agreed(&store.to_string());
    let root = match &which {
        Which::Digest(digest) => source.find(digest).map(Some),
        Which::Tag(tag) => source.resolve(tag),
        Which::Only => only(&*source, &store),
    };
    let root = match root {
        Ok(Some(root)) => root,
        Ok(None) => return Err(local::nowhere(app, named, &store, &which, &*source).into()),
        Err(error) => return Err(local::or_here(app, named, error)),
    };
    let found = FoundImage::read(&*source, &root)?;
    let repository = match store {
        StoreRef::Registry(repository) => Some(repository),
        StoreRef::Layout(_) => None,
    };
    let pinned = if matches!(which, Which::Digest(_)) { Pinned::Running } else { Pinned::AtPublish };
    let source: Option<Box<dyn Blobs>> = Some(source);
    Ok(FoundImage { source, repository, pinned, ..found })
}

/// The one image of a layout.
fn only(source: &dyn Store, store: &StoreRef) -> Result<Option<Descriptor>> {
    let mut entries = source.entries()?;
    entries.dedup_by_key(|entry| entry.digest);
    match entries.len() {
        0 | 1 => Ok(entries.pop()),
        count => {
            let has = local::names_in(source).map_or_else(String::new, |names| format!("; it has: {names}"));
            let hint = format!("name one of them: {store}:TAG{has}");
            Err(usage(format!("{store} holds {count} images")).hint(hint).into())
        }
    }
}

fn copy(app: &App, source: &dyn Blobs, target: &dyn Store, part: &Descriptor, progress: &Progress) -> Result<u64> {
    if fetch::is_held(app, target, part)? {
        return Ok(0);
    }
    let bar = progress.bar(&format!("storing {}", part.digest.short()), part.size);
    let open = || {
        let inner = source.open(part).with_context(|| format!("cannot read {} of the image", part.digest))?;
        let counted: Box<dyn Read + Send> = Box::new(CountedRead { inner, bar: bar.clone() });
        Ok(counted)
    };
    let put = target.put(part, &open).with_context(|| format!("cannot copy {} of the image", part.digest));
    bar.finish();
    put.map(|()| part.size)
}

/// Shows how much of something was read.
struct CountedRead {
    inner: Box<dyn Read + Send>,
    bar: Bar,
}

impl Read for CountedRead {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bar.add(count as u64);
        Ok(count)
    }
}
