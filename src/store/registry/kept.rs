//! Manifests that came already, so that none is fetched twice. Each may be as
//! large as a document may, and whoever lists them decides how many there are:
//! together they have a bound.

use std::collections::HashMap;
use std::sync::Mutex;

use super::http::RegistryDocument;
use crate::digest::Digest;

/// Bytes that are kept: all manifests of thousands of tasks, as they mostly are.
const MOST: usize = 64 << 20;

#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<KeptState>);

#[derive(Debug, Default)]
struct KeptState {
    documents: HashMap<Digest, RegistryDocument>,
    bytes: usize,
}

impl Kept {
    pub(super) fn get(&self, digest: &Digest) -> Option<RegistryDocument> {
        self.0.lock().ok()?.documents.get(digest).cloned()
    }

    /// When there is no room, those that came before make it.
    pub(super) fn insert(&self, document: &RegistryDocument) {
        let Ok(mut inner) = self.0.lock() else { return };
        if inner.bytes + document.bytes.len() > MOST {
            *inner = KeptState::default();
        }
        if inner.documents.insert(document.digest, document.clone()).is_none() {
            inner.bytes += document.bytes.len();
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        let Ok(mut inner) = self.0.lock() else { return };
        if let Some(gone) = inner.documents.remove(digest) {
            inner.bytes -= gone.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_a_bound_together() {
        let document = |n: usize| {
            let mut bytes = vec![0; 4 << 20];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            RegistryDocument { digest: Digest::of(&n.to_be_bytes()), bytes, media_type: String::new() }
        };
        let kept = Kept::default();
        for n in 0..40 {
            kept.insert(&document(n));
            kept.insert(&document(n));
            assert!(kept.get(&document(n).digest).is_some(), "the last one is there");
            let inner = kept.0.lock().unwrap();
            let held: usize = inner.documents.values().map(|document| document.bytes.len()).sum();
            assert!(held == inner.bytes && held <= MOST, "{held}");
        }
        kept.remove(&document(39).digest);
        assert!(kept.get(&document(39).digest).is_none());
    }
}
