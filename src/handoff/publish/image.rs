//! The image of a task: where its name comes from, and what it is pinned to.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result};

use crate::config::Project;
use crate::digest::Digest;
use crate::error::{Fault, not_found, usage};
use crate::handoff::app::App;
use crate::identity::{ImageRef, Pinned, Platform, StoreRef, Toolchain};
use crate::image;
use crate::oci::{Blobs, Descriptor, ImageConfig, MAX_METADATA, Manifest};
use crate::store::{Access, Store};

/// An image as people name it: `oci:PATH:TAG`, `HOST/NAME:TAG`, or either with
/// `@sha256:...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageName {
    pub(crate) store: StoreRef,
    pub(crate) which: Which,
    /// The project's file names it, and not the developer.
    pub(crate) by_project: bool,
}

/// Which image of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Tag(String),
    Digest(Digest),
}

impl FromStr for ImageName {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some((store, digest)) = text.split_once('@') {
            return Ok(ImageName { store: store.parse()?, which: Which::Digest(digest.parse()?), by_project: false });
        }
        let bad = || {
            usage(format!("{text:?} names no image"))
                .hint("write oci:PATH:TAG, HOST/NAME:TAG, or either with @sha256:...")
        };
        // The last colon separates the tag, unless it belongs to a port.
        let (store, tag) = text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).ok_or_else(bad)?;
        if store == "oci" || tag.is_empty() {
            return Err(bad());
        }
        Ok(ImageName { store: store.parse()?, which: Which::Tag(tag.to_owned()), by_project: false })
    }
}

/// The name that counts: flag, environment, project file.
pub(crate) fn name(app: &App, flag: Option<&str>, project: &Project, root: &Path) -> Result<Option<ImageName>> {
    let (text, base) = match (flag, &app.env.image, &project.toolchain.image) {
        (Some(text), _, _) => (text, app.cwd.as_path()),
        (None, Some(text), _) => (text.as_str(), app.cwd.as_path()),
        (None, None, Some(text)) => (text.as_str(), root),
        (None, None, None) => return Ok(None),
    };
    let mut name: ImageName = text.parse()?;
    name.store = name.store.absolute(base);
    name.by_project = flag.is_none() && app.env.image.is_none();
    Ok(Some(name))
}

/// An image as it was found.
struct FoundImage {
    source: Box<dyn Store>,
    descriptor: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
    toolchain: Toolchain,
}

/// Pins an image to its platform manifest, and leaves it where it is.
///
/// # Errors
/// When it cannot be found or read.
pub(crate) fn pin(app: &App, name: &ImageName) -> Result<Toolchain> {
    let found = find(app, name, None)?;
    // What is asked of it from here on was settled with the image.
    app.note_named(&name.store);
    Ok(found.toolchain)
}

/// Pins an image to its platform manifest. One from a folder is copied into
/// `target`, the store `beside` it, so that whoever can read the task can run
/// it; one on a registry is named. Returns the bytes that were new.
pub(crate) fn pin_into(
    app: &App,
    (target, beside): (&dyn Store, &StoreRef),
    name: &ImageName,
    watch: &dyn Fn(&Descriptor),
) -> Result<(Toolchain, u64)> {
    let FoundImage { source, descriptor, bytes, manifest, toolchain } = find(app, name, Some(beside))?;
    if toolchain.image.repository.is_some() {
        return Ok((toolchain, 0));
    }
    let mut copied = 0;
    for part in manifest.layers.iter().chain([&manifest.config]) {
        copied += copy(&*source, target, part, watch)?;
    }
    let plain = Descriptor { data: None, annotations: Default::default(), ..descriptor };
    target.put(&plain, &|| Ok(Box::new(&bytes[..])))?;
    target.tag(&format!("image-{}", plain.digest.hex()), &plain, None)?;
    Ok((toolchain, copied))
}

fn find(app: &App, name: &ImageName, beside: Option<&StoreRef>) -> Result<FoundImage> {
    let source = if name.by_project {
        app.open_led(&name.store, beside, "the image that the project names")
    } else {
        app.note_named(&name.store);
        app.open(&name.store, Access::Read)
    };
    let source = source.context("cannot open the image")?;
    let (found, pinned) = match &name.which {
        Which::Digest(digest) => (Some(source.find(digest)?), Pinned::Running),
        Which::Tag(tag) => (source.resolve(tag)?, Pinned::AtPublish),
    };
    let found = found.ok_or_else(|| match &name.which {
        Which::Tag(tag) => not_found(format!("there is no image {tag} in {}", name.store)),
        Which::Digest(digest) => not_found(format!("there is no image {digest} in {}", name.store)),
    })?;
    let descriptor = image::for_platform(&*source, &found, &Platform::host()).context("cannot read the image")?;
    let bytes = source.read_small(&descriptor, MAX_METADATA).context("cannot read the image's manifest")?;
    let manifest = Manifest::parse(&bytes)?;
    let config_bytes =
        source.read_small(&manifest.config, MAX_METADATA).context("cannot read the image's configuration")?;
    let config = ImageConfig::parse(&config_bytes)?;
    let platform = Platform { os: config.os, architecture: config.architecture, variant: config.variant };
    let repository = match &name.store {
        StoreRef::Registry(repository) => Some(repository.clone()),
        StoreRef::Layout(_) => None,
    };
    let image = ImageRef { repository, digest: descriptor.digest };
    let toolchain = Toolchain { image, platform, pinned, extra: Default::default() };
    Ok(FoundImage { source, descriptor, bytes, manifest, toolchain })
}

fn copy(source: &dyn Store, target: &dyn Store, part: &Descriptor, watch: &dyn Fn(&Descriptor)) -> Result<u64> {
    if target.contains(part)? {
        return Ok(0);
    }
    watch(part);
    let open = || Blobs::open(source, part).with_context(|| format!("cannot read {} of the image", part.digest));
    target.put(part, &open).with_context(|| format!("cannot copy {} of the image", part.digest))?;
    Ok(part.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names() {
        let name: ImageName = "oci:/srv/images:dev".parse().unwrap();
        assert_eq!((name.store.to_string().as_str(), name.which), ("oci:/srv/images", Which::Tag("dev".into())));
        let digest = Digest::of(b"x");
        let name: ImageName = format!("oci:/srv/images@{digest}").parse().unwrap();
        assert_eq!(name.which, Which::Digest(digest));
        let name: ImageName = "registry.example:5000/acme/dev:1.2".parse().unwrap();
        assert_eq!(
            (name.store.to_string().as_str(), name.which),
            ("registry.example:5000/acme/dev", Which::Tag("1.2".into()))
        );
        for bad in ["", "dev", "oci:", "oci:/srv", "oci:/srv:", "oci:/srv@sha256:1", "registry.example:5000/acme/dev"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad:?}");
        }
    }
}
