//! What is known of packed layers, so that they are neither packed nor sent again.
//!
//! Invariants: a form of a layer was made here or unpacked here, so both of its
//! digests were compared; a place is only a hint, which the registry confirms.
//! Losing any of it costs time.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::handoff::app::App;
use crate::identity::StoreRef;
use crate::oci::Descriptor;
use crate::store::Store;

/// Forms of one layer, or repositories that have one blob.
const MOST: usize = 8;

/// Notes that a packed form unpacks to the tar with this digest.
pub(crate) fn note_form(app: &App, diff_id: &Digest, form: &Descriptor) {
    let record = app.paths.layer_forms(diff_id);
    let mut forms: Vec<Descriptor> = disk::read_json(&record).ok().flatten().unwrap_or_default();
    let form = form.plain();
    if !forms.contains(&form) {
        forms.insert(0, form);
        forms.truncate(MOST);
        let _ = disk::write_json(&record, &forms, Durability::Cached);
    }
}

/// Notes that a repository has a blob.
pub(crate) fn note_place(app: &App, digest: &Digest, store: &StoreRef) {
    let StoreRef::Registry(repository) = store else { return };
    let record = app.paths.blob_places(digest);
    let mut places: Vec<String> = disk::read_json(&record).ok().flatten().unwrap_or_default();
    if !places.contains(repository) {
        places.insert(0, repository.clone());
        places.truncate(MOST);
        let _ = disk::write_json(&record, &places, Durability::Cached);
    }
}

/// A form of the layer that the store has, or gets without being sent it.
///
/// # Errors
/// When the store cannot be asked.
pub(crate) fn held_form(app: &App, store: &dyn Store, diff_id: &Digest) -> anyhow::Result<Option<Descriptor>> {
    let forms: Vec<Descriptor> = disk::read_json(&app.paths.layer_forms(diff_id)).ok().flatten().unwrap_or_default();
    for form in forms {
        if is_held(app, store, &form)? {
            return Ok(Some(form));
        }
    }
    Ok(None)
}

/// Whether the store has a blob, or gets it from a repository beside it.
///
/// # Errors
/// When the store cannot be asked.
pub(crate) fn is_held(app: &App, store: &dyn Store, blob: &Descriptor) -> anyhow::Result<bool> {
    if store.contains(blob)? {
        return Ok(true);
    }
    let places: Option<BTreeSet<String>> = disk::read_json(&app.paths.blob_places(&blob.digest)).ok().flatten();
    for place in places.unwrap_or_default() {
        if store.take_over(blob, &place)? {
            return Ok(true);
        }
    }
    Ok(false)
}
