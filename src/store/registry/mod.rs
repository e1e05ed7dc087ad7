//! A store on a registry: one repository, reached by the OCI distribution
//! specification 1.1.
//!
//! The async runtime lives in here and nowhere else: callers block. It has
//! ended, with its threads, when the last reader of this store is dropped.

mod auth;
mod connect;
mod credentials;
mod download;
mod http;
mod kept;
mod login;
mod referrers;
mod remove;
mod reply;
mod repository;
mod tags;
mod tries;
mod upload;

use std::io::Read;

use anyhow::{Context, Result};

use self::download::Download;
use self::http::{Http, RegistryDocument};
use self::repository::is_manifest;
use self::upload::ManifestPlace;

pub use self::repository::Registry;
use super::catalog::TAG;
use super::{Content, Referrers, Store};
use crate::digest::Digest;
use crate::error::not_found;
use crate::oci::{Blobs, Descriptor};

/// A blob up to this size is sent without asking whether it is there, in bytes.
const SMALL: u64 = 16 << 10;

/// How the word begins that the names of tags are.
const TAGS: &str = "tags ";

impl Blobs for Registry {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        if is_manifest(&descriptor.media_type) {
            let document = self.document(&descriptor.digest)?.ok_or_else(|| {
                not_found(format!("{} is not in {}", descriptor.digest, self.name()))
                    .hint("the store is incomplete: publish the task again, or copy what is missing into it")
            })?;
            return Ok(Box::new(std::io::Cursor::new(document.bytes)));
        }
        let (digest, size) = (descriptor.digest, descriptor.size);
        let stream = |http: &Http, (response, _): (reqwest::Response, u64)| {
            Box::new(Download::start(self.runtime.clone(), http.clone(), digest, size, response))
        };
        if let Some(mirror) = &self.mirror
            && let Ok(begun) = self.runtime.block_on(mirror.blob(&digest, 0))
        {
            return Ok(stream(mirror, begun));
        }
        Ok(stream(&self.http, self.runtime.block_on(self.http.blob(&digest, 0))?))
    }
}

impl Store for Registry {
    fn resolve(&self, tag: &str) -> Result<Option<Descriptor>> {
        let document = self.runtime.block_on(self.http.manifest(tag))?;
        Ok(document.map(|document| self.keep(&document)))
    }

    fn tags(&self) -> Result<Vec<(String, Option<Descriptor>)>> {
        let tags = self.runtime.block_on(self.http.tags())?;
        Ok(tags.into_iter().map(|tag| (tag, None)).collect())
    }

    fn mark(&self, before: Option<&str>) -> Result<String> {
        // Whoever publishes notes it in the list of tasks, where there is one. Elsewhere the
        // names of all tags tell: each identity has one.
        if before.is_none_or(|before| !before.starts_with(TAGS))
            && let Some(list) = self.runtime.block_on(self.http.look(TAG))?
        {
            return Ok(format!("list {list}"));
        }
        let mut tags = self.runtime.block_on(self.http.tags())?;
        tags.sort();
        Ok(format!("{TAGS}{}", Digest::of(tags.join("\n").as_bytes())))
    }

    fn find(&self, digest: &Digest) -> Result<Descriptor> {
        let document = self.document(digest)?.ok_or_else(|| {
            not_found(format!("there is no manifest {digest} in {}", self.name()))
                .hint("check the name and the digest, or publish the task again")
        })?;
        Ok(self.keep(&document))
    }

    fn contains(&self, descriptor: &Descriptor) -> Result<bool> {
        let kind = if is_manifest(&descriptor.media_type) { "manifests" } else { "blobs" };
        self.runtime.block_on(self.http.exists(kind, &descriptor.digest))
    }

    fn put(&self, descriptor: &Descriptor, content: Content<'_>) -> Result<()> {
        if is_manifest(&descriptor.media_type) {
            let mut bytes = Vec::new();
            crate::digest::Verified::new(content()?, descriptor.size, descriptor.digest)
                .read_to_end(&mut bytes)
                .map_err(crate::oci::unwrap_io)?;
            let place = ManifestPlace::Digest(&descriptor.digest);
            self.uploads.manifest(&self.runtime, &self.http, place, &bytes, &descriptor.media_type)?;
            let media_type = descriptor.media_type.clone();
            self.keep(&RegistryDocument { bytes, media_type, digest: descriptor.digest });
            return Ok(());
        }
        if self.contains(descriptor)? {
            return Ok(());
        }
        self.uploads.blob(&self.runtime, &self.http, descriptor, content)
    }

    fn put_new(&self, descriptor: &Descriptor, content: Content<'_>) -> Result<()> {
        if descriptor.size > SMALL || is_manifest(&descriptor.media_type) {
            return self.put(descriptor, content);
        }
        self.uploads.blob(&self.runtime, &self.http, descriptor, content)
    }

    fn take_over(&self, descriptor: &Descriptor, from: &str) -> Result<bool> {
        let Some((host, repository)) = from.split_once('/') else { return Ok(false) };
        if !host.eq_ignore_ascii_case(self.http.host()) || repository == self.http.repository() {
            return Ok(false);
        }
        let taken = self.uploads.mount(&self.runtime, &self.http, &descriptor.digest, repository)?;
        // A registry may say so and not have it.
        Ok(taken && self.contains(descriptor)?)
    }

    fn tag(&self, tag: &str, descriptor: &Descriptor, expected: Option<Option<&Digest>>) -> Result<bool> {
        let document = self.document(&descriptor.digest)?.context("the manifest to be tagged is not there")?;
        // A registry has no compare-and-swap: look, move at once, look again.
        if let Some(expected) = expected
            && self.resolve(tag)?.map(|now| now.digest) != expected.copied()
        {
            return Ok(false);
        }
        let place = ManifestPlace::Tag(tag);
        self.uploads.manifest(&self.runtime, &self.http, place, &document.bytes, &document.media_type)?;
        if expected.is_none() {
            return Ok(true);
        }
        Ok(self.resolve(tag)?.is_some_and(|now| now.digest == descriptor.digest))
    }

    fn untag(&self, tag: &str, expected: &Digest) -> Result<bool> {
        remove::untag(self, tag, expected)
    }

    fn forget(&self, manifest: &Digest) -> Result<()> {
        remove::forget(self, manifest)
    }

    fn attach(&self, subject: &Digest, manifests: &[Descriptor]) -> Result<()> {
        referrers::attach(self, subject, manifests)
    }

    fn referrers(&self, subject: &Digest) -> Result<Referrers> {
        referrers::referrers(self, subject)
    }
}
