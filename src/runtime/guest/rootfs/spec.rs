//! Everything that decides the file system that a runtime sees.

use std::path::{Path, PathBuf};

use crate::runtime::Account;

/// Everything that decides the file system.
#[derive(Clone, Debug)]
pub struct RootfsSpec {
    /// Trees of the image's layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// The workspace outside.
    pub workspace: PathBuf,
    /// Where it appears inside.
    pub workdir: String,
    /// Objects that the workspace borrows; visible read-only at the same path.
    pub mirror_objects: PathBuf,
    /// Name of the machine inside.
    pub hostname: String,
    /// Sealed trees, and others.
    pub trees: Vec<TreeMount>,
    /// What is done to the workspace inside does not reach it.
    pub workspace_stays: bool,
    /// A folder of evidence, shown read-only at [`ARTIFACTS`].
    pub artifacts: Option<PathBuf>,
    /// Names that are this machine too: of services.
    pub aliases: Vec<String>,
}

impl RootfsSpec {
    /// Whether folders on disk have to be there first: places of trees, uppers.
    pub(crate) fn needs_places(&self) -> bool {
        !self.trees.is_empty() || self.workspace_stays
    }
}

/// Where a service runs that does not run in the task's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnImage {
    /// Trees of the image's layers, lowest first.
    pub layers: Vec<PathBuf>,
    /// In whose name.
    pub account: Account,
    /// The image's variables.
    pub env: Vec<(String, String)>,
    /// In which folder.
    pub workdir: String,
}

/// A place inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InnerPlace {
    /// Relative to the workspace.
    Workspace(String),
    /// Relative to the user's home folder.
    Home(String),
    /// From the root, without the first slash.
    Absolute(String),
}

/// How a tree may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeAccess {
    /// Changes go to an upper and are gone with the runtime.
    Overlay,
    /// There are no changes.
    ReadOnly,
    /// It is being made.
    Writable,
}

/// A tree of the host that appears inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeMount {
    /// Its name, for people.
    pub name: String,
    /// The tree outside: alone in its folder, under a name that no other has.
    pub tree: PathBuf,
    /// What of it appears, where that is not all.
    pub part: Option<String>,
    /// Where it appears.
    pub place: InnerPlace,
    /// How.
    pub access: TreeAccess,
}

/// Where a task's evidence is inside.
pub const ARTIFACTS: &str = "/run/envctl/artifacts";

/// Whether a workspace mounted at `workdir` would hide the objects at `path`,
/// which appear inside at the path that they have outside.
pub fn hides(workdir: &str, path: &Path) -> bool {
    path.starts_with(workdir)
}
