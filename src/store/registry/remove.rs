//! Taking tags and manifests away from a registry. Many do not allow it, some
//! only by digest, which takes every other tag of the manifest along.

use anyhow::Result;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;

use super::auth::AuthScope;
use super::http::Http;
use super::reply::MANIFESTS;
use super::{Registry, referrers};
use crate::digest::Digest;
use crate::error::{Fault, failure};
use crate::oci::{Descriptor, Manifest, media};
use crate::store::Store as _;
use crate::store::referrers::{List, referrers_tag};

/// What a registry said to a deletion.
enum DeletionAnswer {
    Done,
    /// There was nothing.
    Nothing,
    /// It does not delete, or not in this way.
    Refused(Fault),
}

impl Http {
    async fn delete(&self, reference: &str) -> Result<DeletionAnswer> {
        let url = self.url(&format!("manifests/{reference}"))?;
        let accept = MANIFESTS.join(", ");
        let response =
            self.send(AuthScope::Delete, |client| client.delete(url.clone()).header(ACCEPT, &accept)).await?;
        Ok(match response.status() {
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => DeletionAnswer::Done,
            StatusCode::NOT_FOUND => DeletionAnswer::Nothing,
            _ => DeletionAnswer::Refused(self.refusal(response).await),
        })
    }
}

/// Takes a tag away and leaves its manifest, and every other tag of that.
///
/// # Errors
/// When the registry does not allow it; the tag is where it was then.
pub(super) fn untag(registry: &Registry, tag: &str, expected: &Digest) -> Result<bool> {
    let before = match registry.resolve(tag)? {
        Some(before) if before.digest == *expected => before,
        _ => return Ok(false),
    };
    // The tag is moved to a manifest that nothing else is at. Whatever the
    // registry takes along when it deletes a tag, it is nothing of a task.
    let tombstone = tombstone(registry, tag)?;
    if !registry.tag(tag, &tombstone, Some(Some(expected)))? {
        return Ok(false);
    }
    match delete_either(registry, tag, &tombstone.digest) {
        Ok(()) => Ok(true),
        Err(error) => {
            registry.tag(tag, &before, Some(Some(&tombstone.digest)))?;
            Err(error)
        }
    }
}

/// By its name, as version 1.1 of the specification has it, or by its digest,
/// as older ones have it.
fn delete_either(registry: &Registry, tag: &str, digest: &Digest) -> Result<()> {
    let mut said = None;
    for reference in [tag.to_owned(), digest.to_string()] {
        match registry.runtime.block_on(registry.http.delete(&reference)) {
            Ok(DeletionAnswer::Refused(why)) => said = Some(why),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        if registry.resolve(tag)?.is_none_or(|now| now.digest != *digest) {
            registry.drop_document(digest);
            return Ok(());
        }
    }
    Err(forbidden(registry, &said.unwrap_or_else(|| failure("the tag is still there"))).into())
}

fn tombstone(registry: &Registry, tag: &str) -> Result<Descriptor> {
    // Of its own, so that deleting it takes nothing else along.
    let unique = format!("{{\"tag\":\"{tag}\",\"nonce\":{}}}", super::tries::fraction());
    let config = Descriptor::of(media::TOMBSTONE, unique.as_bytes());
    registry.put(&config, &|| Ok(Box::new(unique.as_bytes())))?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(media::TOMBSTONE.into()),
        config,
        layers: Vec::new(),
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let descriptor = Descriptor::of(media::MANIFEST, &bytes);
    registry.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
    Ok(descriptor)
}

/// Deletes a manifest, its tags, and what refers to it: what says so itself, whatever the
/// registry's list has.
///
/// # Errors
/// When the registry does not allow it.
pub(super) fn forget(registry: &Registry, manifest: &Digest) -> Result<()> {
    let mut victims = Vec::new();
    for referrer in referrers::referrers(registry, manifest)?.found {
        let Some(document) = registry.document(&referrer.digest)? else { continue };
        let says_so = Manifest::parse(&document.bytes).is_ok_and(|it| {
            let of = it.subject.is_some_and(|subject| subject.digest == *manifest);
            of && matches!(it.artifact_type.as_deref(), Some(media::ARTIFACT | media::CACHE | media::CLAIMS))
        });
        if says_so {
            victims.push(referrer.digest);
        }
    }
    // Whoever sets tags can have any manifest under that of the list.
    if let Some(list) = registry.resolve(&referrers_tag(manifest))?
        && let Some(document) = registry.document(&list.digest)?
        && List::parse(&document.bytes).is_ok_and(|it| it.read().found.iter().all(|one| victims.contains(&one.digest)))
    {
        victims.push(list.digest);
    }
    victims.push(*manifest);
    for digest in victims {
        if let DeletionAnswer::Refused(said) = registry.runtime.block_on(registry.http.delete(&digest.to_string()))? {
            return Err(forbidden(registry, &said).into());
        }
        registry.drop_document(&digest);
    }
    Ok(())
}

fn forbidden(registry: &Registry, said: &Fault) -> Fault {
    failure(format!("{} does not delete: {said}", registry.http.host())).hint(
        "allow it there (docker-registry: storage.delete.enabled), or delete the tag with the registry's own tools",
    )
}
