//! A sealed tree on the wire: an OCI 1.1 artifact manifest whose config blob
//! says what it is and whose layers are tars. Found by tag.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use super::Store;
use crate::error::integrity;
use crate::oci::{Descriptor, MAX_METADATA, Manifest, media};

/// A tree of a store.
#[derive(Clone, Debug)]
pub struct TreeArtifact {
    /// The manifest.
    pub manifest: Descriptor,
    /// What it says about itself; empty for an artifact of another kind.
    pub document: Vec<u8>,
    /// The tars, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Stores a tree: the tar in `file`, then its manifest, then the tag.
///
/// # Errors
/// When the store cannot be written.
pub fn write_tree(
    store: &dyn Store,
    tag: &str,
    document: &[u8],
    layer: &Descriptor,
    file: &Path,
) -> Result<Descriptor> {
    let config = Descriptor::of(media::CACHE, document);
    store.put(&config, &|| Ok(Box::new(document)))?;
    let open = || File::open(file).with_context(|| format!("cannot read {}", file.display()));
    store.put(layer, &|| Ok(Box::new(open()?)))?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(media::CACHE.into()),
        config: config.with_data(document),
        layers: vec![layer.clone()],
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let mut descriptor = Descriptor::of(media::MANIFEST, &bytes);
    descriptor.artifact_type = Some(media::CACHE.into());
    store.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
    store.tag(tag, &descriptor, None)?;
    Ok(descriptor)
}

/// Reads the manifest of a tree.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when it is none.
pub fn read_tree(store: &dyn Store, manifest: &Descriptor) -> Result<TreeArtifact> {
    let parsed = Manifest::parse(&store.read_small(manifest, MAX_METADATA)?)?;
    let is_cache = parsed.config.media_type == media::CACHE;
    let document = if is_cache { store.read_small(&parsed.config, MAX_METADATA)? } else { Vec::new() };
    if parsed.layers.is_empty() {
        return Err(integrity(format!("{} has no layers", manifest.digest)).into());
    }
    Ok(TreeArtifact { manifest: manifest.clone(), document, layers: parsed.layers })
}
