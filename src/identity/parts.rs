//! How many parts an identity may name: a store is asked for each of them, whoever
//! published it.

use super::document::Identity;
use crate::error::{Fault, integrity};

/// So many caches, fixtures and services an identity has at most.
const MAX_PARTS: usize = 100;

impl Identity {
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for one that has more.
    pub(super) fn check_parts(&self) -> Result<(), Fault> {
        let lists =
            [("caches", self.caches.len()), ("fixtures", self.fixtures.len()), ("services", self.services.len())];
        match lists.into_iter().find(|(_, count)| *count > MAX_PARTS) {
            Some((what, count)) => {
                Err(integrity(format!("the identity has {count} {what}, and at most {MAX_PARTS} are possible")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::digest::Digest;
    use crate::identity::{Cache, sample};

    #[test]
    fn an_identity_has_no_more_parts_than_a_store_may_be_asked_for() {
        let mut identity = sample();
        let cache = Cache { name: "a".into(), key: Digest::of(b"a"), digest: None, extra: Map::new() };
        identity.caches = vec![cache; MAX_PARTS];
        assert!(Identity::parse(&identity.to_bytes().unwrap()).is_ok());
        identity.caches.push(identity.caches[0].clone());
        let error = Identity::parse(&serde_json::to_vec(&identity).unwrap()).unwrap_err();
        assert!(error.to_string().contains("has 101 caches"), "{error}");
        assert!(identity.to_bytes().is_err(), "nobody could read it");
    }
}
