//! L0: the image. Resolved by digest, pulled layer by layer, each one stream
//! from the store through both digests and decompression into a file tree,
//! several at a time. A layer that several images share is stored once.

mod layer;
mod pull;
mod user;

use anyhow::Result;

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::error::{integrity, not_found};
use crate::identity::Platform;
use crate::oci::{Blobs, Descriptor, ImageConfig, Index, MAX_METADATA, Manifest};
use crate::paths::Paths;

pub use layer::{Layers, Record};
pub use pull::{Cache, Moved, Owners, Pulled, Watch};
pub use user::{MAX_ID, User, resolve as resolve_user};

/// Everything about an image but its content.
#[derive(Clone, Debug)]
pub struct Image {
    /// Digest of the platform's manifest.
    pub digest: Digest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Compressed layers, lowest first, with the digest of each one's tar.
    pub layers: Vec<(Descriptor, Digest)>,
}

/// The manifest of `platform`: the descriptor itself, or the matching entry of
/// the index that it describes.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when the index has no such platform.
pub fn for_platform(blobs: &dyn Blobs, descriptor: &Descriptor, platform: &Platform) -> Result<Descriptor> {
    let mut current = descriptor.clone();
    // An index may list indexes; nobody nests them deeper than this.
    for _ in 0..4 {
        if !current.is_index() {
            let bytes = blobs.read_small(&current, MAX_METADATA)?;
            return match Index::parse(&bytes) {
                // A layout's own index may name an index without its type.
                Ok(index) if !index.manifests.is_empty() => select(&index, platform),
                _ => Manifest::parse(&bytes).map(|_| current).map_err(Into::into),
            };
        }
        let index = Index::parse(&blobs.read_small(&current, MAX_METADATA)?)?;
        current = select(&index, platform)?;
    }
    Err(integrity("the image's indexes are nested too deep").into())
}

fn select(index: &Index, platform: &Platform) -> Result<Descriptor> {
    let matches = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|found| {
            found.os == platform.os
                && found.architecture == platform.architecture
                && (platform.variant.is_none() || found.variant == platform.variant)
        })
    };
    if let Some(entry) = index.manifests.iter().find(matches) {
        return Ok(entry.clone());
    }
    let known: Vec<String> = index
        .manifests
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .map(|found| format!("{}/{}", found.os, found.architecture))
        .collect();
    Err(not_found(format!("the image has no manifest for {platform}"))
        .hint(format!("it has: {}", if known.is_empty() { "no platform at all".into() } else { known.join(", ") }))
        .into())
}

/// Small blobs of images that are kept for re-entering without the store.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    /// Names the place of each blob.
    pub paths: &'a Paths,
}

impl Metadata<'_> {
    /// Reads a blob that was kept, checked again.
    fn kept(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = disk::read_file(&self.paths.blob(digest), MAX_METADATA).ok()??;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// The image if all its metadata is kept here.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when it is malformed.
    pub fn local(&self, digest: &Digest) -> Result<Option<Image>> {
        let Some(bytes) = self.kept(digest) else { return Ok(None) };
        let manifest = Manifest::parse(&bytes)?;
        match self.kept(&manifest.config.digest) {
            Some(config) => image(*digest, &manifest, &config).map(Some),
            None => Ok(None),
        }
    }

    /// Fetches the metadata of an image and keeps it.
    ///
    /// # Errors
    /// When the store lacks it, or it is malformed.
    pub fn fetch(&self, blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Image> {
        let bytes = blobs.read_small(descriptor, MAX_METADATA)?;
        let manifest = Manifest::parse(&bytes)?;
        let config = blobs.read_small(&manifest.config, MAX_METADATA)?;
        let image = image(descriptor.digest, &manifest, &config)?;
        disk::write_file(&self.paths.blob(&manifest.config.digest), &config, Durability::Cached)?;
        disk::write_file(&self.paths.blob(&descriptor.digest), &bytes, Durability::Cached)?;
        Ok(image)
    }
}

fn image(digest: Digest, manifest: &Manifest, config: &[u8]) -> Result<Image> {
    let config = ImageConfig::parse(config)?;
    let (layers, diff_ids) = (&manifest.layers, &config.rootfs.diff_ids);
    if layers.len() != diff_ids.len() {
        return Err(integrity(format!(
            "image {digest} has {} layers, its configuration lists {}",
            layers.len(),
            diff_ids.len()
        ))
        .into());
    }
    if layers.is_empty() {
        return Err(integrity(format!("image {digest} has no layers")).into());
    }
    let layers = layers.iter().cloned().zip(diff_ids.iter().copied()).collect();
    Ok(Image { digest, config, layers })
}
