//! A file of a workspace in which a run left the value of a secret. When the workspace is
//! published nobody may know the value any more: the file is known.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A file that held a value when a run had ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExposedFile {
    /// Relative to the workspace.
    pub(crate) path: PathBuf,
    /// When it was last written to: seconds since 1970, and nanoseconds.
    written: (i64, i64),
}

impl ExposedFile {
    /// The file as it is now.
    pub(crate) fn of(workspace: &Path, path: &Path) -> Option<Self> {
        let meta = workspace.join(path).symlink_metadata().ok()?;
        Some(ExposedFile { path: path.to_owned(), written: (meta.mtime(), meta.mtime_nsec()) })
    }

    /// Whether it is in `workspace`, and nobody has written to it since.
    pub(crate) fn stays(&self, workspace: &Path) -> bool {
        Self::of(workspace, &self.path).is_some_and(|now| now == *self)
    }
}
