//! What a task is: the immutable document that pins its environment, and the
//! names by which people and stores refer to it. Pure: no I/O.

mod document;
mod names;
mod reference;
mod url;

pub(crate) use document::check_schema;
pub use document::{
    Cache, Handoff, Identity, Instead, MAX_IDENTITY, Pinned, Platform, Redacted, Repo, SCHEMA, Status, Toolchain,
    Workdir,
};
pub use names::{Commit, ImageRef, TaskId};
pub use reference::{StoreRef, Target, TaskRef};
pub use url::RepoUrl;
