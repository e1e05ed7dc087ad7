//! A repository on a registry: how it is reached, and the documents of it that
//! are known already.

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use super::http::{Http, RegistryDocument};
use super::kept::Kept;
use super::reply;
use super::upload::Uploads;
use crate::digest::Digest;
use crate::error::unreachable;
use crate::oci::Descriptor;
use crate::store::{Access, RegistryNetwork};

/// A repository on a registry.
pub struct Registry {
    pub(super) runtime: Arc<Runtime>,
    pub(super) http: Http,
    pub(super) mirror: Option<Http>,
    pub(super) uploads: Uploads,
    pub(super) documents: Kept,
    /// Whether the registry has the referrers API, once it was asked.
    pub(super) referrers_api: OnceLock<bool>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Registry {
    /// Prepares to reach `host[:port]/name`; nothing is asked yet.
    ///
    /// # Errors
    /// When the settings cannot be used, or `--offline` forbids it.
    pub fn new(name: &str, access: Access, network: &RegistryNetwork) -> Result<Self> {
        if network.offline {
            return Err(unreachable(format!("the store {name} is on a registry, and --offline forbids to ask it"))
                .hint("run the command once without --offline")
                .into());
        }
        let (host, repository) = name.split_once('/').context("a registry store has a host and a name")?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("cannot start the network threads")?;
        let mirror = network.host(host).mirror;
        let mirror = mirror.map(|mirror| Http::new(network, &mirror, repository)).transpose()?;
        Ok(Registry {
            runtime: Arc::new(runtime),
            http: Http::new(network, host, repository)?,
            mirror,
            uploads: Uploads::new(access),
            documents: Kept::default(),
            referrers_api: OnceLock::new(),
        })
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.http.host(), self.http.repository())
    }

    pub(super) fn keep(&self, document: &RegistryDocument) -> Descriptor {
        let mut descriptor = Descriptor::of(&document.media_type, &document.bytes);
        descriptor.digest = document.digest;
        self.documents.insert(document);
        descriptor
    }

    pub(super) fn drop_document(&self, digest: &Digest) {
        self.documents.remove(digest);
    }

    /// A manifest by its digest: from memory, the mirror, or the registry.
    pub(super) fn document(&self, digest: &Digest) -> Result<Option<RegistryDocument>> {
        let known = self.documents.get(digest);
        if known.is_some() {
            return Ok(known);
        }
        let reference = digest.to_string();
        if let Some(mirror) = &self.mirror
            && let Ok(Some(document)) = self.runtime.block_on(mirror.manifest(&reference))
        {
            self.keep(&document);
            return Ok(Some(document));
        }
        let document = self.runtime.block_on(self.http.manifest(&reference))?;
        if let Some(document) = &document {
            self.keep(document);
        }
        Ok(document)
    }
}

pub(super) fn is_manifest(media_type: &str) -> bool {
    reply::MANIFESTS.contains(&media_type)
}
