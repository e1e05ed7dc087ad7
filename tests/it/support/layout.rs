//! OCI image layouts on disk: writing them, looking into them, damaging them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::home::Home;
use super::image::ImageBuilder;
use super::layer::sha256;

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A folder with `oci-layout`, `index.json` and `blobs`: an image or a store.
#[derive(Clone)]
pub struct Layout {
    home: Home,
    pub path: PathBuf,
}

/// An image in a layout.
pub struct Written {
    /// `oci:PATH:TAG`.
    pub reference: String,
    /// Of the manifest, or of the index that was asked for.
    pub digest: String,
}

impl Layout {
    /// The layout in that folder of `home`, which need not exist yet.
    pub fn of(home: &Home, folder: &str) -> Self {
        Layout { home: home.clone(), path: home.path(folder) }
    }

    /// Writes an image and tags it.
    pub fn add(&self, tag: &str, image: &ImageBuilder) -> Written {
        let descriptor = self.put_image(image);
        self.tag(tag, descriptor)
    }

    /// Writes one image for each platform, and an index over them.
    pub fn add_index(&self, tag: &str, images: &[&ImageBuilder]) -> Written {
        let manifests: Vec<Value> = images
            .iter()
            .map(|image| {
                let mut descriptor = self.put_image(image);
                descriptor["platform"] = image.platform();
                descriptor
            })
            .collect();
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
        let descriptor = self.put(kind, &serde_json::to_vec(&index).unwrap());
        self.tag(tag, descriptor)
    }

    fn put_image(&self, image: &ImageBuilder) -> Value {
        for layer in &image.layers {
            self.put(&layer.media_type, &layer.blob);
        }
        self.put("", &image.config_bytes());
        self.put("application/vnd.oci.image.manifest.v1+json", &image.manifest_bytes())
    }

    /// Writes a blob; its descriptor.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        self.home.write(self.blob(&digest), bytes);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Points a tag at a descriptor, whatever it says.
    pub fn tag(&self, tag: &str, mut descriptor: Value) -> Written {
        let digest = text(&descriptor["digest"]);
        descriptor["annotations"] = json!({ REF_NAME: tag });
        let mut index = self.read_json("index.json").unwrap_or_else(|| json!({ "schemaVersion": 2, "manifests": [] }));
        let entries = index["manifests"].as_array_mut().unwrap();
        entries.retain(|entry| entry["annotations"][REF_NAME] != tag);
        entries.push(descriptor);
        self.home.write(self.path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
        self.home.write(self.path.join("index.json"), serde_json::to_vec(&index).unwrap());
        Written { reference: self.reference(tag), digest }
    }

    /// `oci:PATH:TAG`.
    pub fn reference(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name())
    }

    /// `oci:PATH`.
    pub fn name(&self) -> String {
        format!("oci:{}", self.path.display())
    }

    pub fn blob(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replacen(':', "/", 1))
    }

    pub fn has(&self, digest: &str) -> bool {
        self.blob(digest).is_file()
    }

    /// All tags.
    pub fn tags(&self) -> Vec<String> {
        let index = self.read_json("index.json").unwrap_or_default();
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| Some(entry["annotations"][REF_NAME].as_str()?.to_owned())).collect()
    }

    /// The digest of what a tag points at.
    pub fn digest_of(&self, tag: &str) -> String {
        let index = self.read_json("index.json").unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["annotations"][REF_NAME] == tag);
        text(&entry.unwrap_or_else(|| panic!("no tag {tag} in {}", self.path.display()))["digest"])
    }

    /// The document that a tag points at.
    pub fn document(&self, tag: &str) -> Value {
        serde_json::from_slice(&fs::read(self.blob(&self.digest_of(tag))).unwrap()).unwrap()
    }

    /// Puts other bytes, or nothing, in a blob's place; what was there.
    pub fn swap(&self, digest: &str, bytes: Option<&[u8]>) -> Vec<u8> {
        let path = self.blob(digest);
        let before = fs::read(&path).unwrap_or_default();
        // Blobs are read-only: replaced, never written.
        let _ = fs::remove_file(&path);
        if let Some(bytes) = bytes {
            self.home.write(&path, bytes);
        }
        before
    }

    fn read_json(&self, file: impl AsRef<Path>) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.path.join(file)).ok()?).ok()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
