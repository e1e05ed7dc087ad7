//! What a task is: the immutable [`document`] that pins its environment, with the
//! [`mod@status`] of its work, and the names by which people and stores refer to it
//! ([`names`], [`mod@reference`], [`url`]). [`summary`] is what a list of tasks says of one,
//! [`provenance`] what is said of a file that was attached, [`claim`] who else works on it.
//! Pure: no I/O.

mod checks;
mod claim;
mod document;
mod entry_name;
mod image_name;
mod lifetime;
mod names;
mod provenance;
mod reference;
mod site;
mod status;
mod summary;
mod url;

pub(crate) use checks::check_schema;
pub use claim::{CLAIM_LIFE, Claim, Claims, MAX_CLAIMS};
#[cfg(test)]
pub(crate) use document::sample;
pub use document::{
    Cache, Given, Handoff, Identity, Instead, MAX_IDENTITY, Outside, Pinned, Platform, Redacted, Repo, SCHEMA,
    ServiceImage, Toolchain, Workdir,
};
pub use entry_name::check_entry_name;
pub use image_name::{EngineKind, ImageName, InFile, Which};
pub use lifetime::{Lifetime, Wish};
pub use names::{Commit, ImageRef, TaskId, is_line, is_line_of, line_tag, lines_tag, outside_name};
pub use provenance::{ArtifactType, EnvironmentIdentity, Made, Provenance};
pub use reference::{StoreRef, Target, TaskRef};
pub use site::{Scheme, Site, is_public, settles};
pub use status::Status;
pub use summary::{SUMMARY, Summary};
pub use url::{RepoUrl, decoded};
