//! An OCI image as its author would describe it, with room for lies.

use serde_json::{Value, json};

use super::busybox::busybox;
use super::layer::{Layer, sha256};

/// What an image is made of.
#[derive(Clone)]
pub struct ImageBuilder {
    pub layers: Vec<Layer>,
    architecture: String,
    user: Option<String>,
    env: Vec<String>,
    config_edits: Vec<(String, Value)>,
    manifest_edits: Vec<(String, Value)>,
}

impl ImageBuilder {
    pub fn new() -> Self {
        ImageBuilder {
            layers: Vec::new(),
            architecture: architecture().into(),
            user: None,
            env: Vec::new(),
            config_edits: Vec::new(),
            manifest_edits: Vec::new(),
        }
    }

    /// A small image that runs: a shell, the usual tools, the user `dev`.
    pub fn busybox() -> Self {
        Self::new().layer(busybox()).user("dev").env("PATH=/bin").env("FLAVOUR=busybox")
    }

    /// Puts a layer on top.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.into());
        self
    }

    /// `NAME=value`.
    pub fn env(mut self, setting: &str) -> Self {
        self.env.push(setting.into());
        self
    }

    pub fn architecture(mut self, architecture: &str) -> Self {
        self.architecture = architecture.into();
        self
    }

    /// Overwrites a part of the configuration: `"/rootfs/diff_ids/0"`.
    pub fn config_field(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.config_edits.push((pointer.into(), value.into()));
        self
    }

    /// Overwrites a part of the manifest: `"/layers/0/size"`.
    pub fn manifest_field(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.manifest_edits.push((pointer.into(), value.into()));
        self
    }

    pub fn config_bytes(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = self.layers.iter().map(Layer::diff_id).collect();
        let mut config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "config": { "Env": self.env },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        if let Some(user) = &self.user {
            config["config"]["User"] = user.as_str().into();
        }
        edited(config, &self.config_edits)
    }

    pub fn manifest_bytes(&self) -> Vec<u8> {
        let config = self.config_bytes();
        let describe =
            |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
        let layers: Vec<Value> = self.layers.iter().map(|layer| describe(&layer.media_type, &layer.blob)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        });
        edited(manifest, &self.manifest_edits)
    }

    pub fn platform(&self) -> Value {
        json!({ "os": "linux", "architecture": self.architecture })
    }
}

fn edited(mut document: Value, edits: &[(String, Value)]) -> Vec<u8> {
    for (pointer, value) in edits {
        *document.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer} to overwrite")) = value.clone();
    }
    serde_json::to_vec(&document).unwrap()
}

/// This machine's architecture as OCI spells it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// One that this machine does not have.
pub fn foreign_architecture() -> &'static str {
    if architecture() == "s390x" { "amd64" } else { "s390x" }
}
