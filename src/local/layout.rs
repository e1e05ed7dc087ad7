//! An OCI image layout in a tar: its blobs are read where they lie.

use std::io::Read;

use anyhow::Result;

use super::found::{LocalImage, which_of};
use super::tarball::Tarball;
use crate::error::{integrity, not_found};
use crate::identity::Which;
use crate::oci::{Blobs, Descriptor, Index, MAX_METADATA, REF_NAME};

struct Archived(Tarball);

impl Blobs for Archived {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let part = self.0.part(&format!("blobs/sha256/{}", descriptor.digest.hex()));
        let part = part.ok_or_else(|| not_found(format!("{} is not in the archive", descriptor.digest)))?;
        Ok(Box::new(part))
    }
}

pub(super) fn read(tarball: Tarball, which: &Which, shown: &str) -> Result<LocalImage> {
    let bytes = tarball.small("index.json", MAX_METADATA)?;
    let bytes = bytes.ok_or_else(|| {
        integrity(format!("{shown} holds no index.json: it is no OCI image layout"))
            .hint("docker save writes another kind: name it docker-archive:FILE")
    })?;
    let index = Index::parse(&bytes)?;
    let name = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned();
    let found = match which {
        Which::Only if index.manifests.len() == 1 => index.manifests.first(),
        Which::Only => None,
        Which::Tag(tag) => index.manifests.iter().find(|entry| name(entry).as_ref() == Some(tag)),
        Which::Digest(digest) => index.manifests.iter().find(|entry| entry.digest == *digest),
    };
    let names: Vec<String> = index.manifests.iter().filter_map(name).collect();
    let root = found.cloned().ok_or_else(|| which_of(which, shown, &names))?;
    Ok(LocalImage { root, blobs: Box::new(Archived(tarball)), packed: Vec::new() })
}
