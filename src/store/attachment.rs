//! Artifacts on the wire: an OCI 1.1 artifact manifest whose subject is the manifest of
//! the identity that they tell of. Each layer is a content, and its annotation is the
//! provenance. One manifest carries as many as were attached together, so that five hundred
//! reports cost a registry one manifest and not as many. Its config is the empty one of the
//! specification.
//!
//! Before, each artifact had a manifest with one layer, and the provenance was an annotation
//! of the manifest, or first of all its config: such are read like the others.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Store;
use crate::digest::Digest;
use crate::error::{Fault, integrity};
use crate::identity::Provenance;
use crate::oci::{CREATED, Descriptor, MAX_METADATA, Manifest, TITLE, media};

/// The annotation of a content that is its provenance.
const PROVENANCE: &str = "vnd.envctl.provenance.v1";

/// The content of the empty config, by the specification of images.
const EMPTY: &[u8] = b"{}";

/// Artifacts that one manifest carries.
const MOST_TOGETHER: usize = 1000;

/// Their provenances together in bytes. In a manifest each may take twice as much, for its
/// quotation marks, and its name is there once more.
const MAX_TOGETHER: usize = MAX_METADATA as usize / 4;

/// An artifact of a store.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The manifest that it is in, maybe with others.
    pub manifest: Descriptor,
    /// The artifact itself, among all of every identity: where it is the only one of its
    /// manifest, the manifest.
    pub key: Digest,
    /// What it says about itself.
    pub provenance: Provenance,
    /// The content.
    pub content: Descriptor,
}

impl Attachment {
    fn all(manifest: &Descriptor, provenances: Vec<Provenance>) -> Vec<Self> {
        let alone = provenances.len() == 1;
        let key = |at: usize| Digest::of(format!("{} {at}", manifest.digest).as_bytes());
        let attachment = |(at, provenance)| Attachment {
            manifest: manifest.clone(),
            key: if alone { manifest.digest } else { key(at) },
            content: content_of(&provenance),
            provenance,
        };
        provenances.into_iter().enumerate().map(attachment).collect()
    }
}

/// Stores the manifests of artifacts whose contents are there already; none for no
/// artifact. They are not listed yet: see [`Store::attach`].
///
/// # Errors
/// When the store cannot be written.
pub fn write_attachments(
    store: &dyn Store,
    subject: &Descriptor,
    artifacts: Vec<Provenance>,
) -> Result<Vec<Attachment>> {
    if !artifacts.is_empty() {
        store.put(&Descriptor::of(media::EMPTY, EMPTY), &|| Ok(Box::new(EMPTY)))?;
    }
    let mut written = Vec::new();
    for together in parted(artifacts)? {
        let (provenances, layers): (Vec<_>, Vec<_>) = together.into_iter().unzip();
        written.append(&mut write(store, subject, provenances, layers)?);
    }
    Ok(written)
}

/// Artifacts with their layers, as many together as one manifest may carry.
fn parted(artifacts: Vec<Provenance>) -> Result<Vec<Vec<(Provenance, Descriptor)>>> {
    let mut parts: Vec<Vec<_>> = Vec::new();
    let mut bytes = 0;
    for provenance in artifacts {
        let text = String::from_utf8(provenance.to_bytes()?).map_err(|_| integrity("the provenance is no text"))?;
        let length = text.len();
        let mut layer = content_of(&provenance);
        let title = provenance.path.as_ref().unwrap_or(&provenance.name);
        // By which other tools name the file: two of one name are apart by their paths.
        layer.annotations.insert(TITLE.into(), title.clone());
        layer.annotations.insert(PROVENANCE.into(), text);
        match parts.last_mut() {
            Some(part) if part.len() < MOST_TOGETHER && bytes + length <= MAX_TOGETHER => {
                bytes += length;
                part.push((provenance, layer));
            }
            _ => {
                bytes = length;
                parts.push(vec![(provenance, layer)]);
            }
        }
    }
    Ok(parts)
}

fn write(
    store: &dyn Store,
    subject: &Descriptor,
    provenances: Vec<Provenance>,
    layers: Vec<Descriptor>,
) -> Result<Vec<Attachment>> {
    let newest = provenances.iter().map(|provenance| provenance.created_at).max();
    let annotations: BTreeMap<_, _> = newest.map(|at| (CREATED.to_owned(), at.to_string())).into_iter().collect();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(media::ARTIFACT.into()),
        config: Descriptor::of(media::EMPTY, EMPTY).with_data(EMPTY),
        layers,
        subject: Some(subject.plain()),
        annotations: annotations.clone(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let mut descriptor = Descriptor::of(media::MANIFEST, &bytes);
    store.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
    descriptor.artifact_type = Some(media::ARTIFACT.into());
    descriptor.annotations = annotations;
    Ok(Attachment::all(&descriptor, provenances))
}

/// The content that a provenance describes.
pub fn content_of(provenance: &Provenance) -> Descriptor {
    let mut content = Descriptor::of(media::OCTETS, b"");
    (content.digest, content.size) = (provenance.digest, provenance.size);
    content
}

/// Reads the artifacts of a manifest that refers to `subject`. `None` for one of another
/// kind.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when it is malformed, or refers to
/// something else.
pub fn read_attachments(store: &dyn Store, manifest: &Descriptor, subject: &Digest) -> Result<Option<Vec<Attachment>>> {
    if manifest.artifact_type.as_deref().is_some_and(|kind| kind != media::ARTIFACT) {
        return Ok(None);
    }
    let document = Manifest::parse(&store.read_small(manifest, MAX_METADATA)?)?;
    if document.artifact_type.as_deref() != Some(media::ARTIFACT) {
        return Ok(None);
    }
    if document.subject.as_ref().map(|found| found.digest) != Some(*subject) {
        return Err(integrity("it refers to something else").into());
    }
    let config = &document.config;
    let told = match config.media_type == media::ARTIFACT && config.size <= MAX_METADATA {
        true => {
            let text = String::from_utf8(store.read_small(config, MAX_METADATA)?);
            let text = text.map_err(|_| integrity("the provenance is no text"))?;
            told_by(&Manifest { annotations: [(PROVENANCE.to_owned(), text)].into(), ..document })?
        }
        false => told_by(&document)?,
    };
    Ok(Some(Attachment::all(manifest, told)))
}

fn told_by(document: &Manifest) -> Result<Vec<Provenance>, Fault> {
    let layers = &document.layers;
    let told: Vec<Option<&String>> = match document.annotations.get(PROVENANCE) {
        // As it was before.
        Some(alone) => vec![Some(alone)],
        None => layers.iter().map(|layer| layer.annotations.get(PROVENANCE)).collect(),
    };
    if told.len() != layers.len() || layers.is_empty() || layers.len() > MOST_TOGETHER {
        return Err(integrity(format!("it has {} contents", layers.len())));
    }
    let read = |(layer, told): (&Descriptor, Option<&String>)| {
        let told = told.ok_or_else(|| integrity("it has no provenance"))?;
        let provenance = Provenance::parse(told.as_bytes())?;
        if (layer.digest, layer.size) != (provenance.digest, provenance.size) {
            return Err(integrity("its content is not the one that its provenance describes"));
        }
        Ok(provenance)
    };
    layers.iter().zip(told).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ArtifactType, Made, sample};
    use crate::store::Layout;

    fn provenance(name: &str) -> Provenance {
        let made = Made { path: Some(format!("out/{name}")), ..Made::sample(name) };
        Provenance::of(&sample(), ArtifactType::Logs, "2026-01-15T10:30:00Z".parse().unwrap(), made)
    }

    fn store() -> (tempfile::TempDir, Layout, Descriptor) {
        let dir = tempfile::tempdir().unwrap();
        let store = Layout::create(dir.path().join("store")).unwrap();
        (dir, store, Descriptor::of(media::MANIFEST, b"the identity's"))
    }

    fn read_back(store: &Layout, subject: &Descriptor, written: &[Attachment]) -> Vec<Attachment> {
        let mut manifests: Vec<_> = written.iter().map(|one| one.manifest.clone()).collect();
        manifests.dedup();
        let read = |manifest: &Descriptor| read_attachments(store, manifest, &subject.digest).unwrap().unwrap();
        manifests.iter().flat_map(read).collect()
    }

    #[test]
    fn many_are_in_few_manifests_and_each_is_itself() {
        let (_dir, store, subject) = store();
        assert!(write_attachments(&store, &subject, Vec::new()).unwrap().is_empty());
        // Names that take as much of a manifest as any can.
        let long = "\u{1b}\"".repeat(10_000);
        for (names, manifests) in [
            (vec!["alone".to_owned()], 1),
            ((0..MOST_TOGETHER + 1).map(|n| n.to_string()).collect(), 2),
            ((0..12).map(|n| format!("{long}{n}")).collect(), 2),
        ] {
            let artifacts: Vec<_> = names.iter().map(|name| provenance(name)).collect();
            let written = write_attachments(&store, &subject, artifacts.clone()).unwrap();
            let read = read_back(&store, &subject, &written);
            assert_eq!(read.iter().map(|one| one.provenance.clone()).collect::<Vec<_>>(), artifacts);
            let keys = |all: &[Attachment]| all.iter().map(|one| one.key).collect::<Vec<_>>();
            assert_eq!(keys(&read), keys(&written));
            let distinct = |digests: Vec<Digest>| digests.into_iter().collect::<std::collections::BTreeSet<_>>().len();
            assert_eq!(distinct(keys(&read)), names.len());
            assert_eq!(distinct(read.iter().map(|one| one.manifest.digest).collect()), manifests, "{}", names.len());
        }
    }

    #[test]
    fn an_artifact_of_an_earlier_build_is_read() {
        let (_dir, store, subject) = store();
        let provenance = provenance("unit.xml");
        let text = String::from_utf8(provenance.to_bytes().unwrap()).unwrap();
        let mut manifest = Manifest {
            schema_version: 2,
            media_type: Some(media::MANIFEST.into()),
            artifact_type: Some(media::ARTIFACT.into()),
            config: Descriptor::of(media::EMPTY, EMPTY).with_data(EMPTY),
            layers: vec![content_of(&provenance)],
            subject: Some(subject.plain()),
            annotations: [(PROVENANCE.to_owned(), text)].into(),
        };
        let put = |manifest: &Manifest| {
            let bytes = serde_json::to_vec(manifest).unwrap();
            let descriptor = Descriptor::of(media::MANIFEST, &bytes);
            store.put(&descriptor, &|| Ok(Box::new(&bytes[..]))).unwrap();
            descriptor
        };
        let descriptor = put(&manifest);
        let read = read_attachments(&store, &descriptor, &subject.digest).unwrap().unwrap();
        assert_eq!((read.len(), read[0].key, &read[0].provenance), (1, descriptor.digest, &provenance));
        let annotations = std::mem::take(&mut manifest.annotations);
        let config = Descriptor::of(media::ARTIFACT, annotations[PROVENANCE].as_bytes());
        store.put(&config, &|| Ok(Box::new(annotations[PROVENANCE].as_bytes()))).unwrap();
        manifest.config = config;
        let read = read_attachments(&store, &put(&manifest), &subject.digest).unwrap().unwrap();
        assert_eq!((read.len(), &read[0].provenance), (1, &provenance));
        // Only ever one.
        for layers in [vec![], vec![content_of(&provenance); 2]] {
            manifest.layers = layers;
            assert!(read_attachments(&store, &put(&manifest), &subject.digest).is_err());
        }
    }
}
