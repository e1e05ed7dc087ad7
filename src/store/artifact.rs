//! An identity on the wire: an OCI 1.1 artifact manifest whose config blob is
//! the identity (inlined too, so that one manifest resolves a task) and whose
//! layers are the parts of the snapshot.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

use super::Store;
use crate::digest::Digest;
use crate::error::integrity;
use crate::oci::{Descriptor, MAX_METADATA, Manifest, media};

/// A resolved identity artifact.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The identity's exact bytes.
    pub identity: Vec<u8>,
    /// The snapshot document.
    pub snapshot: Descriptor,
    /// Its pack; `None` when there is nothing to carry.
    pub pack: Option<Descriptor>,
}

/// The immutable tag of an identity: `id-` and the digits of its digest.
pub fn identity_tag(identity: &Digest) -> String {
    format!("id-{}", identity.hex())
}

/// Stores the parts, then the manifest, under the identity's own tag. Nothing
/// refers to a part before it is there.
///
/// # Errors
/// When the store cannot be written.
pub fn write(
    store: &dyn Store,
    identity: &[u8],
    snapshot: &[u8],
    pack: Option<(&Path, Descriptor)>,
) -> Result<Descriptor> {
    let config = Descriptor::of(media::IDENTITY, identity);
    let document = Descriptor::of(media::SNAPSHOT, snapshot);
    store.put(&config, &|| Ok(Box::new(identity)))?;
    store.put(&document, &|| Ok(Box::new(snapshot)))?;
    let mut layers = vec![document];
    if let Some((path, descriptor)) = pack {
        let open = || File::open(path).with_context(|| format!("cannot read {}", path.display()));
        store.put(&descriptor, &|| Ok(Box::new(open()?)))?;
        layers.push(descriptor);
    }
    crate::crash::point("publish.parts");
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(media::IDENTITY.into()),
        config: config.with_data(identity),
        layers,
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let mut descriptor = Descriptor::of(media::MANIFEST, &bytes);
    descriptor.artifact_type = Some(media::IDENTITY.into());
    store.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
    crate::crash::point("publish.manifest");
    store.tag(&identity_tag(&Digest::of(identity)), &descriptor, None)?;
    Ok(descriptor)
}

/// Reads the artifact that `descriptor` describes.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when it is no identity artifact.
pub fn read(store: &dyn Store, descriptor: &Descriptor) -> Result<Artifact> {
    let manifest = Manifest::parse(&store.read_small(descriptor, MAX_METADATA)?)?;
    if manifest.artifact_type.as_deref() != Some(media::IDENTITY) || manifest.config.media_type != media::IDENTITY {
        return Err(integrity(format!("{} is not an envctl identity", descriptor.digest)).into());
    }
    let layer = |media_type: &str| manifest.layers.iter().find(|layer| layer.media_type == media_type).cloned();
    let snapshot = layer(media::SNAPSHOT).ok_or_else(|| integrity("the identity's manifest has no snapshot"))?;
    let identity = store.read_small(&manifest.config, crate::identity::MAX_IDENTITY)?;
    Ok(Artifact { identity, snapshot, pack: layer(media::PACK) })
}
