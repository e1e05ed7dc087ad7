//! One thing that went, or would, and why.

use jiff::Timestamp;
use serde::Serialize;

use crate::digest::Digest;

/// Something of the caches.
#[derive(Clone, Debug, Serialize)]
pub struct Tended {
    /// `cache`, `layer`, `blob`, `note`, `images` or `mirror`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its key, or the digest of the layer's tar.
    pub key: Digest,
    /// Bytes of its content.
    pub bytes: u64,
    /// When it was last used, as far as that is known.
    pub last_use: Option<Timestamp>,
    /// Why it went.
    pub why: &'static str,
}
