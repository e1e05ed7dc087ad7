//! Small documents beside the tasks of a store, each one artifact under a tag of its own,
//! inlined where that is small, so that one request reads it.

use anyhow::Result;

use super::Store;
use crate::error::Fault;
use crate::oci::{Descriptor, MAX_METADATA, Manifest, media};

/// How often a document is tried to be changed while others change it.
const MOST_ROUNDS: usize = 3;

/// No document above this is inlined, in bytes.
const INLINED: usize = 64 << 10;

/// A document under a tag, read by `parse`; `None` where there is none.
///
/// # Errors
/// When the store cannot be read, or the document is malformed.
pub fn read_beside<T>(
    store: &dyn Store,
    tag: &str,
    most: u64,
    parse: impl Fn(&[u8]) -> Result<T, Fault>,
) -> Result<Option<T>> {
    store.resolve(tag)?.map(|descriptor| read(store, &descriptor, most, parse)).transpose()
}

fn read<T>(
    store: &dyn Store,
    descriptor: &Descriptor,
    most: u64,
    parse: impl Fn(&[u8]) -> Result<T, Fault>,
) -> Result<T> {
    let manifest = Manifest::parse(&store.read_small(descriptor, MAX_METADATA)?)?;
    Ok(parse(&store.read_small(&manifest.config, most)?)?)
}

/// Changes a document under a tag. `changed` is given what is there, and nothing where
/// there is none, or one that cannot be read: that is nobody's, and makes room.
///
/// # Errors
/// When the store cannot be written.
pub fn change_beside<T>(
    store: &dyn Store,
    (tag, media_type, most): (&str, &str, u64),
    parse: impl Fn(&[u8]) -> Result<T, Fault>,
    changed: impl Fn(Option<T>) -> Result<Vec<u8>, Fault>,
) -> Result<()> {
    for _ in 0..MOST_ROUNDS {
        let before = store.resolve(tag)?;
        let known = before.as_ref().and_then(|descriptor| read(store, descriptor, most, &parse).ok());
        let bytes = changed(known)?;
        let config = Descriptor::of(media_type, &bytes);
        store.put(&config, &|| Ok(Box::new(&bytes[..])))?;
        let config = if bytes.len() > INLINED { config } else { config.with_data(&bytes) };
        let descriptor = put_small(store, media_type, config, Vec::new())?;
        if store.tag(tag, &descriptor, Some(before.as_ref().map(|before| &before.digest)))? {
            return Ok(());
        }
    }
    anyhow::bail!("others write {tag} at the same time")
}

/// Stores the manifest of an artifact that refers to nothing.
pub(super) fn put_small(
    store: &dyn Store,
    artifact_type: &str,
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Descriptor> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(artifact_type.into()),
        config,
        layers,
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let descriptor = Descriptor::of(media::MANIFEST, &bytes);
    store.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
    Ok(descriptor)
}
