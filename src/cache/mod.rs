//! L1: sealed, immutable trees, each selected by an exact key.
//!
//! Invariants: an entry is absent or whole (built in a private folder, then
//! renamed); it never changes in place; what was never flushed counts only in
//! the boot that made it; what does not match its digest is never handed out.

mod grown;
mod habits;
mod implied;
mod key;
mod lockfile;
mod manifest;
mod packages;
mod pins;
mod record;
mod sources;
mod trees;

pub use grown::grow;
pub use habits::Habits;
pub use implied::{copies_folders, implied};
pub use key::Components;
pub use lockfile::lockfiles;
pub use manifest::deciding;
pub use packages::packages;
pub use pins::LockfilePins;
pub use record::{EntryOrigin, Record, Scope};
pub use sources::{Mark, Sources};
pub use trees::{Sealed, TreeDraft, Trees};
