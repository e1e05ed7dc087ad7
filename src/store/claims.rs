//! The claims of a task on the wire.

use anyhow::Result;

use super::Store;
use super::beside::{change_beside, read_beside};
use crate::identity::{Claim, Claims, MAX_CLAIMS, TaskId};
use crate::oci::media;

/// The claims of a task; none where there is no such document.
///
/// # Errors
/// When the store cannot be read, or what is there is malformed.
pub fn read_claims(store: &dyn Store, task: &TaskId) -> Result<Claims> {
    Ok(read_beside(store, &Claims::tag(task), MAX_CLAIMS, Claims::parse)?.unwrap_or_default())
}

/// Adds a claim to a task.
///
/// # Errors
/// When the store cannot be written.
pub fn add_claim(store: &dyn Store, task: &TaskId, claim: &Claim) -> Result<()> {
    change_beside(store, (&Claims::tag(task), media::CLAIMS, MAX_CLAIMS), Claims::parse, |claims| {
        claims.unwrap_or_default().with(claim.clone(), claim.at).to_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::oci::Descriptor;
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
