//! Artifacts: files that prove what happened.
//!
//! [`mod@collect`] finds those that a project names, [`artifacts`] attaches them to an
//! identity, lists and verifies them, [`found`] reads what the store lists, [`download`] brings those of a task here, where
//! [`copies`] keeps them for a while, and [`export`] puts them into a folder of the
//! developer's, under names that are safe there.

mod artifacts;
mod collect;
mod copies;
mod download;
mod export;
mod found;

pub use artifacts::{
    AddOptions, ArtifactRow, Artifacts, Checked, add_artifacts, list_artifacts, verdict, verify_artifacts,
};
pub(crate) use artifacts::{Attachable, Evidence, EvidencePath, Maker, Subject, attach, looked_at};
pub(crate) use collect::{Begun, collect, copy};
pub use copies::{Expired, expire_artifacts};
pub(crate) use copies::{content, flush, kept, renew as renew_copies};
pub use download::{Gotten, get_artifacts};
pub(crate) use download::{artifacts_of, key_artifacts};
pub(crate) use export::must_be_empty;
pub(crate) use found::{MOST, find};
