//! The claims of a task on the wire: one small artifact under a tag of its
//! own, the document inlined, so that one request reads it.

use anyhow::Result;

use super::Store;
use crate::identity::{Claim, Claims, MAX_CLAIMS, TaskId};
use crate::oci::{Descriptor, MAX_METADATA, Manifest, media};

/// How often a claim is tried to be added while others add theirs.
const MOST_ROUNDS: usize = 3;

/// The claims of a task; none where there is no such document.
///
/// # Errors
/// When the store cannot be read, or what is there is malformed.
pub fn read_claims(store: &dyn Store, task: &TaskId) -> Result<Claims> {
    match store.resolve(&Claims::tag(task))? {
        Some(descriptor) => parse(store, &descriptor),
        None => Ok(Claims::default()),
    }
}

fn parse(store: &dyn Store, descriptor: &Descriptor) -> Result<Claims> {
    let manifest = Manifest::parse(&store.read_small(descriptor, MAX_METADATA)?)?;
    Ok(Claims::parse(&store.read_small(&manifest.config, MAX_CLAIMS)?)?)
}

/// Adds a claim to a task.
///
/// # Errors
/// When the store cannot be written.
pub fn add_claim(store: &dyn Store, task: &TaskId, claim: &Claim) -> Result<()> {
    let tag = Claims::tag(task);
    for _ in 0..MOST_ROUNDS {
        let before = store.resolve(&tag)?;
        // One that cannot be read is nobody's, and makes room.
        let claims = before.as_ref().map(|descriptor| parse(store, descriptor).unwrap_or_default()).unwrap_or_default();
        let bytes = claims.with(claim.clone(), claim.at).to_bytes()?;
        let config = Descriptor::of(media::CLAIMS, &bytes);
        store.put(&config, &|| Ok(Box::new(&bytes[..])))?;
        let descriptor = put_small(store, media::CLAIMS, config.with_data(&bytes), Vec::new())?;
        if store.tag(&tag, &descriptor, Some(before.as_ref().map(|before| &before.digest)))? {
            return Ok(());
        }
    }
    anyhow::bail!("others write {tag} at the same time")
}

/// Stores the manifest of an artifact that refers to nothing.
pub(super) fn put_small(
    store: &dyn Store,
    artifact_type: &str,
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Descriptor> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::MANIFEST.into()),
        artifact_type: Some(artifact_type.into()),
        config,
        layers,
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest)?;
    let descriptor = Descriptor::of(media::MANIFEST, &bytes);
    store.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::store::Layout;

    #[test]
    fn claims_are_kept_beside_the_task() {
        let dir = tempfile::tempdir().unwrap();
        let store = Layout::create(dir.path().join("store")).unwrap();
        let task: TaskId = "t".parse().unwrap();
        let at = "2026-01-15T10:30:00Z".parse().unwrap();
        for who in ["ann", "bob", "ann"] {
            add_claim(&store, &task, &Claim::new(who, "host", at, Digest::of(b"i"))).unwrap();
        }
        let claims = read_claims(&store, &task).unwrap();
        assert_eq!(claims.of_others("ann", "host", at).map(|claim| claim.who.as_str()).collect::<Vec<_>>(), ["bob"]);
        assert!(read_claims(&store, &"other".parse().unwrap()).unwrap().of_others("", "", at).next().is_none());
        let tags: Vec<String> = store.tags().unwrap().into_iter().map(|(tag, _)| tag).collect();
        assert!(tags.iter().all(|tag| TaskId::is_reserved(tag)), "{tags:?}");
        // One that is damaged is in nobody's way.
        let broken = Descriptor::of(media::MANIFEST, b"{}");
        store.put(&broken, &|| Ok(Box::new(&b"{}"[..]))).unwrap();
        store.tag(&Claims::tag(&task), &broken, None).unwrap();
        assert!(read_claims(&store, &task).is_err());
        add_claim(&store, &task, &Claim::new("cy", "host", at, Digest::of(b"i"))).unwrap();
        assert_eq!(read_claims(&store, &task).unwrap().of_others("", "", at).count(), 1);
    }
}
