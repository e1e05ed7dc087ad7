//! What `docker save` writes, and many tools after it: a configuration and
//! uncompressed layers, without an OCI manifest. The manifest is made here, and
//! layers are packed; both always come out the same, so that a store holds them
//! once.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::found::{LocalImage, Packing, which_of};
use super::tarball::{TarMember, Tarball};
use crate::digest::{Digest, Hashed, Hasher};
use crate::error::{cut, integrity, not_found};
use crate::identity::Which;
use crate::oci::{Blobs, Descriptor, ImageConfig, MAX_METADATA, Manifest, media};

/// The media type of an image's configuration.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Bytes that are moved at a time.
const CHUNK: usize = 256 << 10;

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Saved {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }

    /// Whether it has that name, as docker writes it or as people do.
    fn is_called(&self, name: &str) -> bool {
        let short = |name: &str| {
            let name = name.strip_prefix("docker.io/").unwrap_or(name);
            let name = name.strip_prefix("library/").unwrap_or(name);
            let tagged = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
            if tagged { name.to_owned() } else { format!("{name}:latest") }
        };
        self.tags().iter().any(|tag| tag == name || short(tag) == short(name))
    }
}

/// Blobs that were packed, or lie in the archive as they are.
struct Packed {
    documents: HashMap<Digest, Vec<u8>>,
    layers: HashMap<Digest, TarMember>,
}

impl Blobs for Packed {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        if let Some(bytes) = self.documents.get(&descriptor.digest) {
            return Ok(Box::new(io::Cursor::new(bytes.clone())));
        }
        let part = self.layers.get(&descriptor.digest);
        Ok(Box::new(part.cloned().ok_or_else(|| not_found(format!("{} is not in the archive", descriptor.digest)))?))
    }
}

pub(super) fn read(tarball: Tarball, which: &Which, shown: &str, packing: &Packing<'_>) -> Result<LocalImage> {
    let bytes = tarball.small("manifest.json", MAX_METADATA)?;
    let bytes = bytes.ok_or_else(|| {
        integrity(format!("{shown} holds no manifest.json: docker save did not write it"))
            .hint("a tar of an OCI image layout is named oci-archive:FILE")
    })?;
    let saved: Vec<Saved> = serde_json::from_slice(&bytes)
        .map_err(|error| integrity(format!("manifest.json of {shown} is malformed: {}", cut(&error.to_string()))))?;
    let saved = chosen(&saved, which, shown)?;
    let config_bytes = tarball.small(&saved.config, MAX_METADATA)?;
    let config_bytes =
        config_bytes.ok_or_else(|| integrity(format!("{shown} lacks the image's {}", cut(&saved.config))))?;
    let config = ImageConfig::parse(&config_bytes)?;
    let names = saved.layers.as_deref().unwrap_or_default();
    let diff_ids = &config.rootfs.diff_ids;
    if names.len() != diff_ids.len() {
        let (has, lists) = (names.len(), diff_ids.len());
        return Err(integrity(format!("the image has {has} layers, its configuration lists {lists}")).into());
    }
    let part = |name: &String| tarball.part(name).ok_or_else(|| integrity(format!("{shown} lacks {}", cut(name))));
    let parts = names.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let layers: Vec<(TarMember, Digest)> = parts.into_iter().zip(diff_ids.iter().copied()).collect();
    let made = pack_all(&layers, packing)?;
    let fresh = made.iter().zip(diff_ids).filter(|((_, part), _)| part.as_ref().is_some_and(TarMember::is_whole));
    let packed = fresh.map(|((form, _), diff_id)| (*diff_id, form.clone())).collect();
    assembled(made, config_bytes, packed)
}

/// The image that is meant.
fn chosen<'a>(saved: &'a [Saved], which: &Which, shown: &str) -> Result<&'a Saved> {
    let config_is = |saved: &Saved, digest: &Digest| saved.config.contains(&digest.hex());
    let found = match which {
        Which::Only if saved.len() == 1 => saved.first(),
        Which::Only => None,
        Which::Tag(name) => saved.iter().find(|saved| saved.is_called(name)),
        Which::Digest(digest) => saved.iter().find(|saved| config_is(saved, digest)),
    };
    let names: Vec<String> = saved.iter().flat_map(|saved| saved.tags().iter().cloned()).collect();
    found.ok_or_else(|| which_of(which, shown, &names).into())
}

/// Writes the manifest that the archive has not.
fn assembled(
    layers: Vec<(Descriptor, Option<TarMember>)>,
    config_bytes: Vec<u8>,
    packed: Vec<(Digest, Descriptor)>,
) -> Result<LocalImage> {
    let config = Descriptor::of(CONFIG, &config_bytes);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: None,
        config: config.clone(),
        layers: layers.iter().map(|(descriptor, _)| descriptor.clone()).collect(),
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let root = Descriptor::of(media::MANIFEST, &bytes);
    let blobs = Packed {
        documents: [(root.digest, bytes), (config.digest, config_bytes)].into(),
        layers: layers.into_iter().filter_map(|(descriptor, part)| Some((descriptor.digest, part?))).collect(),
    };
    Ok(LocalImage { root, blobs: Box::new(blobs), packed })
}

/// Packs all layers, as many at a time as there are cores.
fn pack_all(layers: &[(TarMember, Digest)], packing: &Packing<'_>) -> Result<Vec<(Descriptor, Option<TarMember>)>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((part, diff_id)) = layers.get(at) else { break };
            let packed = pack(part, diff_id, packing).with_context(|| format!("cannot pack the layer {diff_id}"));
            if packed.is_err() {
                // No further layer is started.
                next.store(layers.len(), Ordering::Relaxed);
            }
            if let Ok(mut done) = done.lock() {
                done.push((at, packed));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(layers.len());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().map_err(|_| anyhow::anyhow!("a worker that packs layers died"))?;
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, packed)| packed).collect()
}

/// One layer, packed; without content where it need not be given to anybody.
fn pack(part: &TarMember, diff_id: &Digest, packing: &Packing<'_>) -> Result<(Descriptor, Option<TarMember>)> {
    if let Some(held) = (packing.held)(diff_id)? {
        (packing.counted)(part.size());
        return Ok((held, None));
    }
    let mut magic = [0; 4];
    let read = part.clone().read(&mut magic)?;
    let compressed = match &magic[..read] {
        [0x1f, 0x8b, ..] => Some("application/vnd.oci.image.layer.v1.tar+gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(media::LAYER_ZSTD),
        _ => None,
    };
    if let Some(media_type) = compressed {
        // As it is: whoever pulls it compares both digests.
        let (digest, size) = copied(part.clone(), &mut io::sink(), packing)?;
        return Ok((Descriptor { digest, size, ..Descriptor::of(media_type, b"") }, Some(part.clone())));
    }
    let spool = tempfile::tempfile_in(packing.scratch).context("cannot make a temporary file")?;
    let mut encoder = zstd::Encoder::new(Hashed::new(spool), 3)?;
    let (digest, _) = copied(part.clone(), &mut encoder, packing)?;
    if digest != *diff_id {
        return Err(integrity(format!("a layer is not what the image's configuration says: it is {digest}")).into());
    }
    let (spool, packed, size) = encoder.finish()?.finish();
    let descriptor = Descriptor { digest: packed, size, ..Descriptor::of(media::LAYER_ZSTD, b"") };
    Ok((descriptor, Some(TarMember::whole(spool, size))))
}

/// Moves a layer along; the digest and the size of it.
fn copied(mut part: TarMember, out: &mut impl Write, packing: &Packing<'_>) -> Result<(Digest, u64)> {
    let expected = part.size();
    let (mut hasher, mut size) = (Hasher::default(), 0);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = part.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        out.write_all(&buffer[..count])?;
        size += count as u64;
        (packing.counted)(count as u64);
    }
    if size != expected {
        return Err(integrity("the archive ends in the middle of a layer").into());
    }
    Ok((hasher.finish(), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_images_are_called_as_people_call_them() {
        let saved = |tag: &str| Saved { config: String::new(), repo_tags: Some(vec![tag.into()]), layers: None };
        for (tag, name) in [
            ("python:3.12", "python:3.12"),
            ("python:latest", "python"),
            ("python:3", "docker.io/library/python:3"),
            ("docker.io/library/python:3", "python:3"),
            ("localhost/dev:1", "localhost/dev:1"),
            ("r.example:5000/a/b:latest", "r.example:5000/a/b"),
        ] {
            assert!(saved(tag).is_called(name), "{tag} {name}");
        }
        for (tag, name) in [("python:3.12", "python:3"), ("acme/python:3", "python:3"), ("python:3", "ython:3")] {
            assert!(!saved(tag).is_called(name), "{tag} {name}");
        }
    }
}
