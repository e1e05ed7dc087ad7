//! What is to be known of a part of a task before it is fetched.

use serde::Serialize;

/// One thing that a task needs.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// `layer`, `cache`, `snapshot`, `commits` or `workspace`.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// Whether it is here.
    pub hit: bool,
    /// Bytes that would be fetched for it; `null` where nobody knows, and for a
    /// cache that has to be made.
    pub bytes: Option<u64>,
}
