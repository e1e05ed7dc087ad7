//! What is checked of a document besides its fields: its version, and how many parts an
//! identity names, because a store is asked for each of them, whoever published it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Fault, cut, integrity};

/// So many caches, fixtures and services an identity has at most.
const MAX_PARTS: usize = 100;

/// # Errors
/// [`crate::error::Kind::Integrity`] when there are more of a kind.
pub(super) fn check_parts(lists: [(&str, usize); 3]) -> Result<(), Fault> {
    match lists.into_iter().find(|(_, count)| *count > MAX_PARTS) {
        Some((what, count)) => {
            Err(integrity(format!("the identity has {count} {what}, and at most {MAX_PARTS} are possible")))
        }
        None => Ok(()),
    }
}

/// Looks at a document's `schema` before anything else, so that a newer one
/// is named as such and not reported as some missing field.
pub(crate) fn check_schema(bytes: &[u8], known: u32, what: &str) -> Result<(), Fault> {
    // Not read, but looked at: what it holds may be large.
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow)]
        schema: Option<&'a RawValue>,
    }
    let probe: Probe<'_> =
        serde_json::from_slice(bytes).map_err(|error| integrity(format!("the {what} is not valid JSON: {error}")))?;
    match probe.schema.map(RawValue::get) {
        Some(found) if found.parse() == Ok(known) => Ok(()),
        Some(found) => {
            Err(integrity(format!("the {what} has schema {}, this envctl knows schema {known}", cut(found)))
                .hint("use the envctl version that published it, or a newer one"))
        }
        None => Err(integrity(format!("the {what} has no schema"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::digest::Digest;
    use crate::identity::{Cache, Identity, sample};

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
