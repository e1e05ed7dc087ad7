//! A store of many tasks, made of one by writing it directly.

use std::fs;

use serde_json::{Value, json};

use super::layer::sha256;
use super::layout::Layout;
use super::modern::Modern;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const IDENTITY: &str = "application/vnd.envctl.identity.v1+json";

/// One published task of a layout, to be multiplied.
pub struct Crowd {
    identity: Value,
    manifest: Value,
}

/// A task as it goes into a store.
pub struct Member {
    pub task: String,
    pub identity: Vec<u8>,
    pub manifest: Vec<u8>,
    /// What `publish` writes beside the tag of a layout.
    pub summary: String,
}

impl Crowd {
    pub fn of(store: &Layout, task: &str) -> Self {
        let manifest = store.document(task);
        let config = manifest["config"]["digest"].as_str().unwrap();
        Crowd { identity: serde_json::from_slice(&fs::read(store.blob(config)).unwrap()).unwrap(), manifest }
    }

    /// The n-th; every third needs a human.
    pub fn member(&self, n: usize, round: usize) -> Member {
        let task = format!("crowd-{n:05}");
        let status = if n.is_multiple_of(3) { "needs-human" } else { "working" };
        let message = format!("what task {n} has to say in round {round}");
        let mut identity = self.identity.clone();
        identity["task_id"] = task.as_str().into();
        identity["agent_identity"] = "agent-app".into();
        identity["handoff"]["status"] = status.into();
        identity["handoff"]["message"] = message.as_str().into();
        let identity = serde_json::to_vec(&identity).unwrap();
        let mut manifest = self.manifest.clone();
        manifest["config"] = json!({
            "mediaType": IDENTITY, "digest": sha256(&identity), "size": identity.len(), "data": base64(&identity),
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let summary = json!({
            "task": task, "manifest": sha256(&manifest), "identity": sha256(&identity),
            "created_at": self.identity["created_at"], "status": status, "agent": "agent-app", "message": message,
        });
        Member { task, identity, manifest, summary: summary.to_string() }
    }

    /// Adds `count` tasks to a layout; with what is beside a tag, or without,
    /// as a store that another tool wrote.
    pub fn fill(&self, store: &Layout, count: usize, with_summary: bool) {
        let path = store.path.join("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let entries = index["manifests"].as_array_mut().unwrap();
        for n in 0..count {
            let member = self.member(n, 0);
            store.put(IDENTITY, &member.identity);
            let descriptor = store.put(MANIFEST, &member.manifest);
            for tag in [member.identity_tag(), member.task.clone()] {
                let mut entry = descriptor.clone();
                entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
                if with_summary && tag == member.task {
                    entry["annotations"]["vnd.envctl.task.v1"] = member.summary.as_str().into();
                }
                entries.push(entry);
            }
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
    }

    /// Puts one task into a registry.
    pub fn join(&self, registry: &Modern, n: usize, round: usize) -> Member {
        let member = self.member(n, round);
        let document = serde_json::from_slice(&member.manifest).unwrap();
        for tag in [member.identity_tag(), member.task.clone()] {
            registry.put(&tag, MANIFEST, &document);
        }
        member
    }
}

impl Member {
    pub fn identity_tag(&self) -> String {
        sha256(&self.identity).replacen("sha256:", "id-", 1)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().chain(&[0, 0]).take(3).fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
            text.push(if n > chunk.len() { '=' } else { digit.into() });
        }
    }
    text
}
