//! One layer: an archive, and the blob that carries it.

use std::io::Write;

use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use super::tar::Entry;

/// `sha256:` and the hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The archive and its compressed form; any of the fields may be made to lie.
#[derive(Clone)]
pub struct Layer {
    pub tar: Vec<u8>,
    pub blob: Vec<u8>,
    pub media_type: String,
}

impl Layer {
    /// A well-formed, uncompressed archive of these entries.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut tar = Self::open_ended(entries).tar;
        tar.resize(tar.len() + 1024, 0);
        Self::raw(tar)
    }

    /// The same without the two blocks that end an archive.
    pub fn open_ended(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut tar = Vec::new();
        for entry in entries {
            entry.write(&mut tar);
        }
        Self::raw(tar)
    }

    /// An uncompressed layer of these very bytes.
    pub fn raw(tar: Vec<u8>) -> Self {
        let media_type = "application/vnd.oci.image.layer.v1.tar".into();
        Layer { blob: tar.clone(), tar, media_type }
    }

    pub fn gzip(self) -> Self {
        let blob = gzip(&self.tar);
        self.carried_by("+gzip", blob)
    }

    pub fn zstd(self) -> Self {
        let blob = zstd::encode_all(self.tar.as_slice(), 1).unwrap();
        self.carried_by("+zstd", blob)
    }

    /// Compressed by the caller.
    pub fn carried_by(mut self, suffix: &str, blob: Vec<u8>) -> Self {
        self.media_type = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        self.blob = blob;
        self
    }

    pub fn diff_id(&self) -> String {
        sha256(&self.tar)
    }

    pub fn digest(&self) -> String {
        sha256(&self.blob)
    }
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
