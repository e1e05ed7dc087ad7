//! L0: the image. Resolved by digest, pulled layer by layer, each one stream
//! from the store through both digests and decompression into a file tree,
//! several at a time. A layer that several images share is stored once.

mod extract;
mod layer;
mod path;
mod tar;
mod user;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::error::{integrity, not_found};
use crate::identity::Platform;
use crate::oci::{Blobs, Descriptor, ImageConfig, Index, MAX_METADATA, Manifest};
use crate::paths::Paths;

pub use extract::{Counts, Owned};
pub use layer::{Layers, Ownership, Record};
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

/// What pulling has to tell while it runs.
pub trait Watch: Sync {
    /// A layer starts; the returned function is called with bytes moved.
    fn layer(&self, layer: &Descriptor) -> Box<dyn Fn(u64) + Sync + Send>;
    /// Another process works on the same layer.
    fn waiting(&self, layer: &Descriptor);
}

/// Pulls the layers that are missing, as many at a time as there are cores.
/// Returns the records of all layers, lowest first.
///
/// # Errors
/// The first failure; layers that were complete stay, nothing else does.
pub fn pull(
    image: &Image,
    layers: &Layers,
    blobs: &dyn Blobs,
    ownership: &dyn Ownership,
    watch: &dyn Watch,
) -> Result<Vec<Record>> {
    let mut missing: Vec<&(Descriptor, Digest)> =
        image.layers.iter().filter(|(_, diff_id)| layers.get(diff_id).is_none()).collect();
    // One order for all processes, so that their locks cannot cross; and a
    // layer that an image lists twice is pulled once.
    missing.sort_by_key(|(_, diff_id)| *diff_id);
    missing.dedup_by_key(|(_, diff_id)| *diff_id);
    if !missing.is_empty() {
        disk::create_private_dir(layers.folder())?;
        let compressed: u64 = missing.iter().map(|(layer, _)| layer.size).sum();
        layer::check_space(layers.folder(), compressed.saturating_mul(2), "the image")?;
    }
    let mut locks = Vec::new();
    for (descriptor, diff_id) in &missing {
        locks.push(layers.lock(diff_id, || watch.waiting(descriptor))?);
    }
    missing.retain(|(_, diff_id)| layers.get(diff_id).is_none());
    let (extracted, failure) = extract_all(&missing, layers, blobs, ownership.own_ids(), watch)?;
    // From here on there are no threads: settling owners may fork. What is
    // complete stays although another layer failed.
    for layer in extracted {
        layers.publish(layer, ownership)?;
    }
    drop(locks);
    if let Some(failure) = failure {
        return Err(failure);
    }
    let all = image.layers.iter().map(|(_, diff_id)| layers.get(diff_id));
    all.map(|record| record.context("a layer vanished from the cache while it was pulled")).collect()
}

fn extract_all(
    missing: &[&(Descriptor, Digest)],
    layers: &Layers,
    blobs: &dyn Blobs,
    own_ids: (u32, u32),
    watch: &dyn Watch,
) -> Result<(Vec<layer::Extracted>, Option<anyhow::Error>)> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        while let Some((descriptor, diff_id)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            let moved = watch.layer(descriptor);
            let outcome = blobs
                .open(descriptor)
                .and_then(|content| layers.extract(descriptor, diff_id, content, own_ids, &*moved));
            if outcome.is_err() {
                // No further layer is started.
                next.store(missing.len(), Ordering::Relaxed);
            }
            if let Ok(mut results) = results.lock() {
                results.push(outcome);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().map_err(|_| anyhow::anyhow!("a worker that unpacks layers died"))?;
    let (mut extracted, mut failure) = (Vec::new(), None);
    for result in results {
        match result {
            Ok(layer) => extracted.push(layer),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Ok((extracted, failure))
}
