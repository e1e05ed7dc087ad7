//! An artifact on the wire: an OCI 1.1 artifact manifest whose annotation is the
//! provenance, whose one layer is the content, and whose subject is the manifest of the
//! identity that it tells of. Its config is the empty one of the specification, the same
//! for all of them: so an artifact costs its content and its manifest, and nothing else.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Store;
use crate::digest::Digest;
use crate::error::{Fault, integrity};
use crate::identity::Provenance;
use crate::oci::{CREATED, Descriptor, MAX_METADATA, Manifest, TITLE, media};

/// The annotation of an artifact that is its provenance.
const PROVENANCE: &str = "vnd.envctl.provenance.v1";

/// The content of the empty config, by the specification of images.
const EMPTY: &[u8] = b"{}";

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

/// Stores what all artifacts of a store have in common, once before the first.
///
/// # Errors
/// When the store cannot be written.
pub fn begin_attachments(store: &dyn Store) -> Result<()> {
    store.put(&Descriptor::of(media::EMPTY, EMPTY), &|| Ok(Box::new(EMPTY)))
}

/// Stores the manifest of an artifact whose content is there already, after
/// [`begin_attachments`]. It is not listed yet: see [`Store::attach`].
///
/// # Errors
/// When the store cannot be written.
pub fn write_attachment(store: &dyn Store, subject: &Descriptor, provenance: &Provenance) -> Result<Attachment> {
    let bytes = provenance.to_bytes()?;
    let text = String::from_utf8(bytes).map_err(|_| integrity("the provenance is no text"))?;
    let mut content = content_of(provenance);
    content.annotations.insert(TITLE.into(), provenance.name.clone());
    let created = [(CREATED.to_owned(), provenance.created_at.to_string())];
    let mut annotations: BTreeMap<_, _> = created.clone().into();
    annotations.insert(PROVENANCE.to_owned(), text);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(media::ARTIFACT.into()),
        config: Descriptor::of(media::EMPTY, EMPTY).with_data(EMPTY),
        layers: vec![content.clone()],
        subject: Some(subject.plain()),
        annotations,
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
    let provenance = Provenance::parse(told_by(&document, subject)?.as_bytes())?;
    let [content] = &document.layers[..] else { return Err(integrity("it has not exactly one content").into()) };
    if (content.digest, content.size) != (provenance.digest, provenance.size) {
        return Err(integrity("its content is not the one that its provenance describes").into());
    }
    Ok(Some(Attachment { manifest: manifest.clone(), content: content_of(&provenance), provenance }))
}

fn told_by<'a>(document: &'a Manifest, subject: &Digest) -> Result<&'a str, Fault> {
    if document.subject.as_ref().map(|found| found.digest) != Some(*subject) {
        return Err(integrity("it refers to something else"));
    }
    document.annotations.get(PROVENANCE).map(String::as_str).ok_or_else(|| integrity("it has no provenance"))
}
