//! The parts of the OCI image specification 1.1 that envctl reads and writes,
//! as types that hold only checked values.

use std::collections::BTreeMap;
use std::io::Read;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::{Digest, Verified, content_size};
use crate::error::{Fault, cut, integrity};

/// Upper bound for manifests, indexes and image configurations in bytes.
pub const MAX_METADATA: u64 = 4 << 20;

/// Upper bound for the `index.json` of a layout in bytes: some hundred for each
/// tag.
pub const MAX_LAYOUT_INDEX: u64 = 64 << 20;

/// Every document may have so many values.
const FEW_VALUES: usize = 20_000;

/// For each value beyond that, a document has so many bytes.
const BYTES_OF_A_VALUE: usize = 12;

/// `org.opencontainers.image.ref.name`: the tag of an entry in a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// `org.opencontainers.image.title`: the file name of a layer's content.
pub const TITLE: &str = "org.opencontainers.image.title";

/// `org.opencontainers.image.created`: when, by RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";

/// Media types by their standard names.
pub mod media {
    /// An image or artifact manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's spelling of a manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's spelling of an index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The identity: artifact type and config blob.
    pub const IDENTITY: &str = "application/vnd.envctl.identity.v1+json";
    /// The snapshot document.
    pub const SNAPSHOT: &str = "application/vnd.envctl.snapshot.v1+json";
    /// The snapshot's git pack.
    pub const PACK: &str = "application/vnd.envctl.snapshot.pack.v1";
    /// The config of what needs none.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// Evidence: artifact type, and the annotation that is its provenance.
    pub const ARTIFACT: &str = "application/vnd.envctl.artifact.v1+json";
    /// A sealed tree: artifact type and config blob, which says what it is.
    pub const CACHE: &str = "application/vnd.envctl.cache.v1+json";
    /// A layer compressed with zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Who entered a task: artifact type and config blob.
    pub const CLAIMS: &str = "application/vnd.envctl.claims.v1+json";
    /// What owners have spent, machine by machine.
    pub const SPENDING: &str = "application/vnd.envctl.spending.v1+json";
    /// The list of a registry's tasks: artifact type and config blob.
    pub const CATALOG: &str = "application/vnd.envctl.tasks.v1+json";
    /// The larger part of that list.
    pub const CATALOG_BASE: &str = "application/vnd.envctl.tasks.v1+zstd";
    /// What stands under a tag for a moment before it is deleted.
    pub const TOMBSTONE: &str = "application/vnd.envctl.tombstone.v1+json";
    /// Content of any kind.
    pub const OCTETS: &str = "application/octet-stream";
}

/// A content descriptor. `urls` of foreign layers are not kept: nothing is
/// ever fetched from a place that a manifest names (CVE-2020-15157).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    #[serde(deserialize_with = "content_size")]
    pub size: u64,
    /// The content itself, base64, where it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// For entries of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<IndexPlatform>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The artifact type of a manifest that an index lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Describes `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Descriptor {
            media_type: media_type.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            data: None,
            platform: None,
            annotations: BTreeMap::new(),
            artifact_type: None,
        }
    }

    /// The inlined content, checked against size and digest.
    ///
    /// # Errors
    /// When there is inlined content that does not match.
    pub fn inlined(&self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(data) = &self.data else { return Ok(None) };
        let bytes =
            STANDARD.decode(data).map_err(|_| integrity(format!("inlined data of {} is not base64", self.digest)))?;
        if bytes.len() as u64 != self.size || Digest::of(&bytes) != self.digest {
            return Err(integrity(format!("inlined data of {} does not match its digest", self.digest)));
        }
        Ok(Some(bytes))
    }

    /// The same descriptor with `bytes` inlined.
    #[must_use]
    pub fn with_data(mut self, bytes: &[u8]) -> Self {
        self.data = Some(STANDARD.encode(bytes));
        self
    }

    /// What identifies the content, and nothing said about it.
    #[must_use]
    pub fn plain(&self) -> Self {
        Descriptor { digest: self.digest, size: self.size, ..Descriptor::of(&self.media_type, b"") }
    }

    /// Whether it describes an index of several platforms.
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), media::INDEX | media::DOCKER_INDEX)
    }
}

/// The platform of an index entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPlatform {
    /// `amd64`, ...
    pub architecture: String,
    /// `linux`, ...
    pub os: String,
    /// `v8`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image or artifact manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What an artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// What this is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What else a manifest might be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    media_type: Option<Value>,
    /// There, whatever it is, `null` too.
    #[serde(default, deserialize_with = "there")]
    manifests: Option<IgnoredAny>,
}

fn there<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IgnoredAny>, D::Error> {
    IgnoredAny::deserialize(from).map(Some)
}

impl Manifest {
    /// Parses a manifest, refusing documents that could also be read as an
    /// index (CVE-2021-41190).
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let shape: Shape = parse_metadata(bytes, "manifest")?;
        if shape.manifests.is_some() {
            return Err(integrity("the manifest is ambiguous: it has both layers and manifests"));
        }
        if let Some(kind) = shape.media_type
            && !matches!(kind.as_str(), Some(media::MANIFEST | media::DOCKER_MANIFEST))
        {
            return Err(integrity(format!("unexpected media type of a manifest: {}", cut(&kind.to_string()))));
        }
        parse_metadata(bytes, "manifest")
    }
}

/// An image index: the entries of a layout, or the platforms of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The entries.
    pub manifests: Vec<Descriptor>,
    /// Fields that envctl does not use, kept.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, Value>,
    /// Entries that envctl cannot use, such as those with other digests, kept.
    #[serde(skip)]
    pub odd: Vec<Value>,
}

impl Index {
    /// The index without what cannot be read of its entries. A field that is empty
    /// says no more than one that is missing.
    fn with_odd_entries(bytes: &[u8]) -> Option<Self> {
        let mut document: serde_json::Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let Some(Value::Array(entries)) = document.insert("manifests".into(), Value::Array(Vec::new())) else {
            return None;
        };
        let mut index: Index = serde_json::from_value(document.into()).ok()?;
        for entry in entries {
            let mut plain = entry.clone();
            if let Some(fields) = plain.as_object_mut() {
                let is_empty =
                    |value: &Value| value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                fields.retain(|_, value| !is_empty(value));
            }
            match serde_json::from_value(plain) {
                Ok(descriptor) => index.manifests.push(descriptor),
                Err(_) => index.odd.push(entry),
            }
        }
        Some(index)
    }

    /// The document, with all that was read.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        if self.odd.is_empty() {
            return Ok(serde_json::to_vec(self)?);
        }
        let mut document = serde_json::to_value(self)?;
        if let Some(entries) = document.get_mut("manifests").and_then(Value::as_array_mut) {
            entries.extend(self.odd.iter().cloned());
        }
        Ok(serde_json::to_vec(&document)?)
    }

    /// Parses an index.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`], also for a document that could be
    /// read as a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        check_document(bytes, MAX_METADATA, "index")?;
        Self::parse_layout(bytes)
    }

    /// The same for the `index.json` of a layout, which may be larger.
    ///
    /// # Errors
    /// As [`Index::parse`].
    pub fn parse_layout(bytes: &[u8]) -> Result<Self, Fault> {
        check_document(bytes, MAX_LAYOUT_INDEX, "index")?;
        // In one pass: a store of many tasks has a large one.
        let index: Index = match serde_json::from_slice(bytes) {
            Ok(index) => index,
            Err(error) if error.is_data() => {
                Self::with_odd_entries(bytes).ok_or_else(|| integrity(format!("the index is malformed: {error}")))?
            }
            Err(error) => return Err(integrity(format!("the index is not valid JSON: {error}"))),
        };
        if ["layers", "config"].iter().any(|field| index.extra.contains_key(*field)) {
            return Err(integrity("the index is ambiguous: it has both layers and manifests"));
        }
        Ok(index)
    }
}

/// The parts of an image configuration that decide how it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `amd64`, ...
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v8`, ...
    #[serde(default)]
    pub variant: Option<String>,
    /// How to run it. Volumes, ports and all labels but one are not read: nothing in
    /// an image chooses what envctl does. Entrypoint and command are those of a
    /// service, and of nothing else.
    #[serde(default)]
    pub config: Option<RunConfig>,
    /// The layers.
    pub rootfs: RootFs,
}

/// The execution defaults of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// `user[:group]`, names or numbers.
    #[serde(default, rename = "User")]
    pub user: Option<String>,
    /// `NAME=value`.
    #[serde(default, rename = "Env")]
    pub env: Option<Vec<String>>,
    /// What runs before the command's words.
    #[serde(default, rename = "Entrypoint", deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The command, where nobody says another.
    #[serde(default, rename = "Cmd", deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Where it runs.
    #[serde(default, rename = "WorkingDir", deserialize_with = "text", skip_serializing_if = "String::is_empty")]
    pub workdir: String,
    /// The label `devcontainer.metadata`, which counts where a project says so.
    #[serde(default, rename = "Labels", deserialize_with = "metadata", skip_serializing)]
    pub metadata: Option<String>,
}

/// Of what is no list of texts there are none: most images are run without it.
fn words<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let value = Value::deserialize(from)?;
    let all = value.as_array().map_or(&[][..], Vec::as_slice).iter().map(|word| Some(word.as_str()?.to_owned()));
    Ok(all.collect::<Option<_>>().unwrap_or_default())
}

fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Value::deserialize(from)?.as_str().unwrap_or_default().to_owned())
}

fn metadata<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let labels = Value::deserialize(from)?;
    Ok(labels.get("devcontainer.metadata").and_then(Value::as_str).map(str::to_owned))
}

/// The uncompressed layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Digests of the uncompressed tars, lowest first.
    pub diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Parses an image configuration.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        parse_metadata(bytes, "image configuration")
    }
}

/// Checks that a document of JSON can be read: it takes many times its own size in
/// memory if it holds values of a byte or two each.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when it has more than `limit` bytes, or more values
/// than documents of its size have.
pub fn check_document(bytes: &[u8], limit: u64, what: &str) -> Result<(), Fault> {
    if bytes.len() as u64 > limit {
        return Err(integrity(format!("the {what} is larger than {limit} bytes")));
    }
    // Those in texts count as well.
    let marks = memchr::memchr3_iter(b',', b'[', b'{', bytes).count();
    if marks > FEW_VALUES + bytes.len() / BYTES_OF_A_VALUE {
        return Err(integrity(format!("the {what} holds more values than a document of {} bytes has", bytes.len())));
    }
    Ok(())
}

fn parse_metadata<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Fault> {
    check_document(bytes, MAX_METADATA, what)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let how = if error.is_data() { "malformed" } else { "not valid JSON" };
        integrity(format!("the {what} is {how}: {error}"))
    })
}

/// Where blobs come from. Streams are as they come: wrap them in
/// [`Verified`] or use [`Blobs::read_small`].
pub trait Blobs: Send + Sync {
    /// Opens a blob.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when it is not there.
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>>;

    /// Reads a small blob whole, checked against size and digest.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for a mismatch, or when it is larger
    /// than `limit` bytes.
    fn read_small(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        if descriptor.size > limit {
            return Err(integrity(format!(
                "{} has {} bytes, at most {limit} are accepted",
                descriptor.digest, descriptor.size
            ))
            .into());
        }
        if let Some(bytes) = descriptor.inlined()? {
            return Ok(bytes);
        }
        let mut bytes = Vec::with_capacity(descriptor.size as usize);
        Verified::new(self.open(descriptor)?, descriptor.size, descriptor.digest)
            .read_to_end(&mut bytes)
            .map_err(unwrap_io)?;
        Ok(bytes)
    }
}

/// Brings a [`Fault`] that travelled inside an I/O error back into the chain.
pub fn unwrap_io(error: std::io::Error) -> anyhow::Error {
    if !error.get_ref().is_some_and(|inner| inner.is::<Fault>()) {
        return error.into();
    }
    let text = error.to_string();
    match error.into_inner().map(|inner| inner.downcast::<Fault>()) {
        Some(Ok(fault)) => (*fault).into(),
        _ => anyhow::anyhow!(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_does_not_take_many_times_its_size_in_memory() {
        let small = format!("{{\"x\":[{}0]}}", "0,".repeat(2000));
        assert!(check_document(small.as_bytes(), MAX_METADATA, "index").is_ok());
        let dense = format!("{{\"manifests\":[],\"x\":[{}0]}}", "0,".repeat(1_000_000));
        let said = Index::parse(dense.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("holds more values"), "{said}");
        assert!(Manifest::parse(dense.as_bytes()).is_err());
    }

    #[test]
    fn no_content_is_so_large_that_a_sum_overflows() {
        let descriptor =
            |size: u64| format!("{{\"mediaType\":\"x\",\"digest\":\"{}\",\"size\":{size}}}", Digest::of(b""));
        assert!(serde_json::from_str::<Descriptor>(&descriptor(1 << 45)).is_ok());
        assert!(serde_json::from_str::<Descriptor>(&descriptor(1 << 63)).is_err());
    }

    #[test]
    fn a_manifest_that_is_an_index_as_well_is_refused() {
        let config = serde_json::to_string(&Descriptor::of(media::EMPTY, b"{}")).unwrap();
        for (more, is_fine) in [("", true), (",\"manifests\":null", false), (",\"manifests\":[]", false)] {
            let text = format!("{{\"schemaVersion\":2,\"config\":{config}{more}}}");
            assert_eq!(Manifest::parse(text.as_bytes()).is_ok(), is_fine, "{more}");
        }
    }
}
