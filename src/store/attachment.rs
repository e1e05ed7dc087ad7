//! An artifact on the wire: an OCI 1.1 artifact manifest whose config blob is
//! the provenance (inlined too, so that a list costs one small document each),
//! whose one layer is the content, and whose subject is the manifest of the
//! identity that it tells of.

use anyhow::Result;

use super::Store;
use crate::digest::Digest;
use crate::error::{Fault, integrity};
use crate::identity::{MAX_PROVENANCE, Provenance};
use crate::oci::{CREATED, Descriptor, MAX_METADATA, Manifest, TITLE, media};

/// An artifact of a store.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its manifest.
    pub manifest: Descriptor,
    /// What it says about itself.
    pub provenance: Provenance,
    /// The content.
    pub content: Descriptor,
}

/// Stores the manifest of an artifact whose content is there already. It is
/// not listed yet: see [`Store::attach`].
///
/// # Errors
/// When the store cannot be written.
pub fn write_attachment(store: &dyn Store, subject: &Descriptor, provenance: &Provenance) -> Result<Attachment> {
    let bytes = provenance.to_bytes()?;
    let config = Descriptor::of(media::ARTIFACT, &bytes);
    store.put_new(&config, &|| Ok(Box::new(&bytes[..])))?;
    let mut content = content_of(provenance);
    content.annotations.insert(TITLE.into(), provenance.name.clone());
    let created = [(CREATED.to_owned(), provenance.created_at.to_string())];
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(media::ARTIFACT.into()),
        config: config.with_data(&bytes),
        layers: vec![content.clone()],
        subject: Some(subject.plain()),
        annotations: created.clone().into(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let mut descriptor = Descriptor::of(media::MANIFEST, &bytes);
    store.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
    descriptor.artifact_type = Some(media::ARTIFACT.into());
    descriptor.annotations = created.into();
    Ok(Attachment { manifest: descriptor, provenance: provenance.clone(), content })
}

/// The content that a provenance describes.
pub fn content_of(provenance: &Provenance) -> Descriptor {
    let mut content = Descriptor::of(media::OCTETS, b"");
    (content.digest, content.size) = (provenance.digest, provenance.size);
    content
}

/// Reads an artifact that refers to `subject`. `None` for one of another kind.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when it is malformed, or refers to
/// something else.
pub fn read_attachment(store: &dyn Store, manifest: &Descriptor, subject: &Digest) -> Result<Option<Attachment>> {
    if manifest.artifact_type.as_deref().is_some_and(|kind| kind != media::ARTIFACT) {
        return Ok(None);
    }
    let document = Manifest::parse(&store.read_small(manifest, MAX_METADATA)?)?;
    if document.artifact_type.as_deref() != Some(media::ARTIFACT) {
        return Ok(None);
    }
    let provenance = Provenance::parse(&store.read_small(checked_config(&document, subject)?, MAX_PROVENANCE)?)?;
    let [content] = &document.layers[..] else { return Err(integrity("it has not exactly one content").into()) };
    if (content.digest, content.size) != (provenance.digest, provenance.size) {
        return Err(integrity("its content is not the one that its provenance describes").into());
    }
    Ok(Some(Attachment { manifest: manifest.clone(), content: content_of(&provenance), provenance }))
}

fn checked_config<'a>(document: &'a Manifest, subject: &Digest) -> Result<&'a Descriptor, Fault> {
    if document.subject.as_ref().map(|found| found.digest) != Some(*subject) {
        return Err(integrity("it refers to something else"));
    }
    if document.config.media_type != media::ARTIFACT {
        return Err(integrity("it has no provenance"));
    }
    Ok(&document.config)
}
