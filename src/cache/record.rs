//! What is known about an entry, and who may use it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::habits::Habits;
use super::key::Components;
use crate::archive::{Packed, TreeSummary};
use crate::digest::Digest;

/// The schema of a record.
pub(super) const SCHEMA: u32 = 1;

/// Who may use an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The task of a store that sealed it, as `STORE:TASK`.
    Task(String),
    /// All tasks of a store.
    Project(String),
}

impl Scope {
    /// The end of an entry's folder name.
    pub(super) fn suffix(&self) -> String {
        match self {
            Scope::Task(name) => format!("t{}", Digest::of(name.as_bytes()).short()),
            Scope::Project(name) => format!("p{}", Digest::of(name.as_bytes()).short()),
        }
    }

    /// The tag under which a store has an entry of this scope.
    pub fn tag(&self, key: &Digest) -> String {
        match self {
            // The store itself is not part of the name: it may be copied.
            Scope::Task(name) => {
                let task = name.rsplit_once(':').map_or(name.as_str(), |(_, task)| task);
                format!("cache-{}.{}", key.hex(), &Digest::of(task.as_bytes()).hex()[..16])
            }
            Scope::Project(_) => format!("cache-{}", key.hex()),
        }
    }

    /// For people.
    pub fn kind(&self) -> &'static str {
        match self {
            Scope::Task(_) => "task",
            Scope::Project(_) => "project",
        }
    }
}

/// Where an entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryOrigin {
    /// Its setup ran here.
    Sealed,
    /// A store had it.
    Fetched,
}

/// What is known about an entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Always 1.
    pub schema: u32,
    /// Its key.
    pub key: Digest,
    /// Who may use it.
    pub scope: Scope,
    /// Everything that the key is made of.
    pub components: Components,
    /// What it holds.
    pub tree: TreeSummary,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// Where it came from.
    pub origin: EntryOrigin,
    /// The archive, where it has been packed.
    #[serde(default)]
    pub packed: Option<Packed>,
    /// How often in a row its setup started from an older content.
    #[serde(default, skip_serializing_if = "is_none")]
    pub grown: u32,
    /// The newest time in it, in seconds and nanoseconds, where it is built from
    /// the files of a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<(i64, u32)>,
    /// What the tool remembers that built it.
    #[serde(default)]
    pub habits: Habits,
    /// The boot in which it was written, while it was never flushed.
    #[serde(default)]
    pub boot_id: Option<String>,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}
