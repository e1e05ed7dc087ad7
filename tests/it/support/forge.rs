//! A store with a hostile or careless writer: a published task whose documents
//! and objects were edited, every digest right.

use std::fs;

use serde_json::{Value, json};

use super::layer::sha256;
use super::repo::Repo;
use super::trip::Trip;

/// The parts of a task that an attacker writes.
pub struct Forged {
    pub document: Value,
    pub identity: Value,
    pub pack: Option<Vec<u8>>,
}

/// Publishes the checkout, lets `edit` change what was published, and puts the
/// result in its place; what `enter` takes.
#[track_caller]
pub fn forge(trip: &Trip, edit: impl FnOnce(&mut Forged)) -> String {
    forge_both(trip, edit, |text| text)
}

/// The same for what JSON cannot hold as a value.
#[track_caller]
pub fn forge_text(trip: &Trip, edit: impl FnOnce(String) -> String) -> String {
    forge_both(trip, |_| {}, edit)
}

#[track_caller]
fn forge_both(trip: &Trip, edit: impl FnOnce(&mut Forged), edit_text: impl FnOnce(String) -> String) -> String {
    let reference = trip.publish(&trip.lab.repo);
    let store = &trip.lab.store;
    let tag = reference.rsplit_once(':').unwrap().1.to_owned();
    let mut manifest = store.document(&tag);
    let blob = |descriptor: &Value| fs::read(store.blob(descriptor["digest"].as_str().unwrap())).unwrap();
    let parse = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
    let mut forged = Forged {
        document: parse(blob(&manifest["layers"][0])),
        identity: parse(blob(&manifest["config"])),
        pack: manifest["layers"].get(1).map(blob),
    };
    edit(&mut forged);

    let mut layers = Vec::new();
    if let Some(pack) = &forged.pack {
        layers.push(store.put("application/vnd.envctl.snapshot.pack.v1", pack));
        forged.document["pack"] = json!({ "digest": sha256(pack), "size": pack.len() });
    }
    let document = edit_text(serde_json::to_string(&forged.document).unwrap()).into_bytes();
    layers.insert(0, store.put("application/vnd.envctl.snapshot.v1+json", &document));
    forged.identity["snapshot_id"] = sha256(&document).into();
    let identity = serde_json::to_vec(&forged.identity).unwrap();
    manifest["config"] = store.put("application/vnd.envctl.identity.v1+json", &identity);
    manifest["layers"] = layers.into();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = store.put(kind, &serde_json::to_vec(&manifest).unwrap());
    store.tag(&sha256(&identity).replacen("sha256:", "id-", 1), descriptor.clone());
    store.tag(&tag, descriptor);
    reference
}

/// Objects that git itself would not make, collected for a pack.
pub struct Objects<'a> {
    repo: &'a Repo,
    made: Vec<String>,
}

impl<'a> Objects<'a> {
    pub fn of(repo: &'a Repo) -> Self {
        Objects { repo, made: Vec::new() }
    }

    pub fn blob(&mut self, content: impl Into<Vec<u8>>) -> String {
        self.write("blob", content.into())
    }

    /// Entries as they come: mode, name, object.
    pub fn tree(&mut self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, object) in entries {
            bytes.extend([mode.as_bytes(), b" ", name, b"\0"].concat());
            let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            bytes.extend(object.as_bytes().chunks(2).map(digit));
        }
        self.write("tree", bytes)
    }

    fn write(&mut self, kind: &str, content: Vec<u8>) -> String {
        let call = self.repo.call(&["hash-object", "-t", kind, "-w", "--literally", "--stdin"]);
        let id = call.stdin(content).ok().stdout.trim().to_owned();
        self.made.push(id.clone());
        id
    }

    /// A pack with everything that was made, and nothing else.
    pub fn pack(&self) -> Vec<u8> {
        self.repo.call(&["pack-objects", "--stdout", "-q"]).stdin(self.made.join("\n") + "\n").ok().raw
    }
}
