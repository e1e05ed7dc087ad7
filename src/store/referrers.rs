//! What refers to a manifest, as a list under a tag: `sha256-` and the digits
//! of the manifest's digest, an OCI image index. It is what the distribution
//! specification 1.1 has where a registry does not keep such lists itself, and
//! what layouts have: one document to read, however large the store, and a tag
//! that any tool can copy.
//!
//! Invariant: what others wrote into a list stays in it, byte for byte in
//! meaning, also when it is nothing that envctl reads.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::error::{Fault, cut, integrity};
use crate::oci::{Descriptor, MAX_METADATA, check_document, media};

/// Manifests that refer to one.
#[derive(Debug, Default)]
pub struct Referrers {
    /// Those that can be read, each once.
    pub found: Vec<Descriptor>,
    /// Why others were left out, for people.
    pub skipped: Vec<String>,
    /// The list went on for longer than it was read.
    pub cut: bool,
    seen: HashSet<Digest>,
}

impl Referrers {
    /// Adds what another page lists, up to `most` entries; whether there was
    /// more.
    pub(super) fn add(&mut self, page: Referrers, most: usize) -> bool {
        let mut more = false;
        for found in page.found {
            if self.found.len() >= most {
                more = true;
                break;
            }
            if self.seen.insert(found.digest) {
                self.found.push(found);
            }
        }
        let room = most.saturating_sub(self.skipped.len());
        more |= page.skipped.len() > room;
        self.skipped.extend(page.skipped.into_iter().take(room));
        more
    }
}

/// The tag under which the list of a manifest's referrers is kept.
pub fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// A list as it was found.
#[derive(Debug, Default)]
pub(super) struct List {
    entries: Vec<Value>,
    extra: Map<String, Value>,
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for what is no image index.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let bad = |why: &str| integrity(format!("the list of what refers to a manifest {why}"));
        check_document(bytes, MAX_METADATA, "list of what refers to a manifest")?;
        let value = serde_json::from_slice(bytes).map_err(|error| bad(&format!("is not valid JSON: {error}")))?;
        let Value::Object(mut extra) = value else { return Err(bad("is no object")) };
        if ["layers", "config"].iter().any(|field| extra.contains_key(*field)) {
            return Err(bad("is ambiguous: it is a manifest as well"));
        }
        match extra.remove("manifests") {
            Some(Value::Array(entries)) => Ok(List { entries, extra }),
            _ => Err(bad("has no manifests")),
        }
    }

    /// Adds what is not in the list yet; whether anything was.
    pub(super) fn add(&mut self, manifests: &[Descriptor]) -> serde_json::Result<bool> {
        let before = self.entries.len();
        let digest_of = |entry: &Value| entry.get("digest").and_then(Value::as_str).map(str::to_owned);
        let mut there: HashSet<String> = self.entries.iter().filter_map(digest_of).collect();
        for manifest in manifests {
            if there.insert(manifest.digest.to_string()) {
                self.entries.push(serde_json::to_value(manifest)?);
            }
        }
        Ok(self.entries.len() > before)
    }

    /// The bytes of the list as an image index.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when it would be too large to be read.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        let mut whole = self.extra.clone();
        whole.insert("schemaVersion".into(), 2.into());
        whole.insert("mediaType".into(), media::INDEX.into());
        whole.insert("manifests".into(), Value::Array(self.entries.clone()));
        let bytes = Value::Object(whole).to_string().into_bytes();
        if bytes.len() as u64 > MAX_METADATA {
            return Err(integrity(format!("more refers to this manifest than a list of {MAX_METADATA} bytes holds")));
        }
        Ok(bytes)
    }

    /// What of it can be used.
    pub(super) fn read(self) -> Referrers {
        let mut referrers = Referrers::default();
        for (at, entry) in self.entries.into_iter().enumerate() {
            match usable(entry) {
                Ok(found) if !referrers.seen.insert(found.digest) => {}
                Ok(found) => referrers.found.push(found),
                Err(why) => referrers.skipped.push(format!("entry {at} of the list: {why}")),
            }
        }
        referrers
    }
}

fn usable(entry: Value) -> Result<Descriptor, String> {
    // Whatever places it names are not even read.
    let descriptor: Descriptor = serde_json::from_value(entry).map_err(|error| cut(&error.to_string()))?;
    if descriptor.media_type != media::MANIFEST {
        return Err(format!(
            "{} is a {}",
            descriptor.digest,
            descriptor.media_type.chars().take(80).collect::<String>()
        ));
    }
    if descriptor.size > MAX_METADATA {
        return Err(format!("{} has {} bytes", descriptor.digest, descriptor.size));
    }
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn manifest(content: &[u8]) -> Descriptor {
        Descriptor::of(media::MANIFEST, content)
    }

    #[test]
    fn what_others_wrote_stays() {
        let foreign = json!({
            "schemaVersion": 2, "mediaType": media::INDEX, "annotations": { "by": "somebody" },
            "manifests": [{ "mediaType": "x/y", "digest": "sha512:00", "size": -1, "odd": [1] }, 7],
        });
        let mut list = List::parse(foreign.to_string().as_bytes()).unwrap();
        assert!(list.add(&[manifest(b"a"), manifest(b"b"), manifest(b"a")]).unwrap());
        assert!(!list.add(&[manifest(b"b")]).unwrap());
        let bytes = list.to_bytes().unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["annotations"], foreign["annotations"]);
        assert_eq!(value["manifests"].as_array().unwrap()[..2], foreign["manifests"].as_array().unwrap()[..]);
        let read = List::parse(&bytes).unwrap().read();
        assert_eq!(read.found, [manifest(b"a"), manifest(b"b")]);
        assert_eq!(read.skipped.len(), 2);
    }

    #[test]
    fn case_20_a_list_that_is_a_manifest_as_well_is_refused() {
        for bad in [
            json!({ "manifests": [], "layers": [] }),
            json!({ "manifests": [], "config": {} }),
            json!({ "manifests": {} }),
            json!({}),
            json!([]),
        ] {
            assert!(List::parse(bad.to_string().as_bytes()).is_err(), "{bad}");
        }
        assert!(List::parse(&vec![b' '; MAX_METADATA as usize + 1]).is_err());
    }

    #[test]
    fn case_22_places_that_an_entry_names_are_not_read() {
        let mut entry = serde_json::to_value(manifest(b"a")).unwrap();
        entry["urls"] = json!(["http://127.0.0.1:9/steal"]);
        let list = json!({ "manifests": [entry, { "mediaType": media::MANIFEST, "digest": "sha256:../x", "size": 1 },
            { "mediaType": media::MANIFEST, "digest": manifest(b"b").digest, "size": 1u64 << 40 }] });
        let read = List::parse(list.to_string().as_bytes()).unwrap().read();
        assert_eq!(read.found, [manifest(b"a")]);
        assert_eq!(read.skipped.len(), 2, "{:?}", read.skipped);
    }

    proptest! {
        #[test]
        fn lists_never_panic(text in "\\PC{0,200}") {
            if let Ok(list) = List::parse(text.as_bytes()) {
                list.read();
            }
        }
    }
}
