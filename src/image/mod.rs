//! L0: the image. Resolved by digest, pulled layer by layer, each one stream
//! from the store through both digests and decompression into a file tree,
//! several at a time. A layer that several images share is stored once.

mod layer;
mod merged;
mod pull;
mod user;

use anyhow::Result;

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::error::{Fault, integrity, not_found};
use crate::identity::Platform;
use crate::oci::{Blobs, Descriptor, ImageConfig, Index, IndexPlatform, MAX_METADATA, Manifest};
use crate::paths::Paths;

pub use layer::{LayerRecord, Layers};
pub use pull::{ImageCache, Moved, Owners, PullWatch, Pulled};
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
    /// Who commands run as, instead of the image's own user.
    pub asked: Option<String>,
}

impl Image {
    /// The same image for another user of it.
    #[must_use]
    pub fn run_as(self, user: Option<&str>) -> Self {
        Image { asked: user.map(str::to_owned), ..self }
    }

    /// Who commands run as: `user[:group]`, names or numbers.
    fn user(&self) -> Option<&str> {
        let own = || self.config.config.as_ref().and_then(|config| config.user.as_deref());
        self.asked.as_deref().or_else(own)
    }
}

/// Refuses a user that cannot be one of any image.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] for ids out of range.
pub fn check_user(user: &str) -> Result<(), Fault> {
    user::check(Some(user))
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
                Ok(index) if !index.manifests.is_empty() => select(blobs, &index, platform),
                _ => Manifest::parse(&bytes).map(|_| current).map_err(Into::into),
            };
        }
        let index = Index::parse(&blobs.read_small(&current, MAX_METADATA)?)?;
        current = select(blobs, &index, platform)?;
    }
    Err(integrity("the image's indexes are nested too deep").into())
}

/// Entries of an index that are looked into, where it does not say what they are.
const MAX_UNSAID: usize = 32;

/// The entry for a platform: of several the one that every such machine runs.
fn select(blobs: &dyn Blobs, index: &Index, platform: &Platform) -> Result<Descriptor> {
    let rank = |found: &IndexPlatform| {
        let same = found.os == platform.os && found.architecture == platform.architecture;
        let wanted = platform.variant.is_none() || found.variant == platform.variant;
        (same && wanted).then(|| variant_rank(&found.architecture, found.variant.as_deref()))
    };
    let said = index.manifests.iter().filter_map(|entry| Some((rank(entry.platform.as_ref()?)?, entry)));
    if let Some((_, entry)) = said.min_by_key(|(rank, _)| *rank) {
        return Ok(entry.clone());
    }
    // What does not say it is looked into. What is no image there is passed over.
    let unsaid = index.manifests.iter().filter(|entry| entry.platform.is_none()).take(MAX_UNSAID);
    let unsaid = unsaid.filter_map(|entry| Some((rank(&platform_of(blobs, entry)?)?, entry)));
    if let Some((_, entry)) = unsaid.min_by_key(|(rank, _)| *rank) {
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

/// What an image that an index lists was built for, by its configuration.
fn platform_of(blobs: &dyn Blobs, entry: &Descriptor) -> Option<IndexPlatform> {
    if entry.is_index() {
        return None;
    }
    let manifest = Manifest::parse(&blobs.read_small(entry, MAX_METADATA).ok()?).ok()?;
    let config = ImageConfig::parse(&blobs.read_small(&manifest.config, MAX_METADATA).ok()?).ok()?;
    Some(IndexPlatform { architecture: config.architecture, os: config.os, variant: config.variant })
}

/// How much a variant asks of the processor; nothing for what all of them have.
fn variant_rank(architecture: &str, variant: Option<&str>) -> u32 {
    match (architecture, variant) {
        (_, None | Some("")) | ("amd64", Some("v1")) | ("arm64", Some("v8")) => 0,
        (_, Some(variant)) => {
            variant.trim_start_matches('v').parse().map_or(u32::MAX, |number: f32| (number * 10.0) as u32)
        }
    }
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
            Some(config) => image(*digest, &manifest, ImageConfig::parse(&config)?).map(Some),
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
        let image = image(descriptor.digest, &manifest, ImageConfig::parse(&config)?)?;
        disk::write_file(&self.paths.blob(&manifest.config.digest), &config, Durability::Cached)?;
        disk::write_file(&self.paths.blob(&descriptor.digest), &bytes, Durability::Cached)?;
        Ok(image)
    }
}

/// Layers that one overlay of the kernel can have, less the upper.
const MAX_LAYERS: usize = 499;

/// Bytes of one variable, and of all together: what the kernel gives a program.
pub const MAX_VARIABLE: usize = (128 << 10) - 1;
/// Bytes of all of them.
pub const MAX_ENVIRONMENT: usize = 1 << 20;

/// The image of a manifest and a configuration, if commands can run in it. What no
/// `enter` could use is refused here, also by those who publish it.
///
/// # Errors
/// [`crate::error::Kind::Integrity`], with what is wrong.
pub fn image(digest: Digest, manifest: &Manifest, config: ImageConfig) -> Result<Image> {
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
    if layers.len() > MAX_LAYERS {
        let count = layers.len();
        return Err(integrity(format!("image {digest} has {count} layers, {MAX_LAYERS} can lie on each other"))
            .hint("squash some of its layers into one")
            .into());
    }
    let run = config.config.clone().unwrap_or_default();
    user::check(run.user.as_deref())?;
    let environment = run.env.unwrap_or_default();
    if let Some(long) = environment.iter().find(|variable| variable.len() > MAX_VARIABLE) {
        let name = crate::error::cut(long.split('=').next().unwrap_or_default());
        let bytes = long.len();
        return Err(
            integrity(format!("the image's variable {name} has {bytes} bytes, no program can be given it")).into()
        );
    }
    let bytes: usize = environment.iter().map(|variable| variable.len() + 1).sum();
    if bytes > MAX_ENVIRONMENT {
        return Err(integrity(format!("the image's environment has {bytes} bytes, no program can be given it")).into());
    }
    let layers = layers.iter().cloned().zip(diff_ids.iter().copied()).collect();
    Ok(Image { digest, config, layers, asked: None })
}
