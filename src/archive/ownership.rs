//! Whose the files of unpacked trees are: decided by whoever makes runtimes.

use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::Result;

use super::extract::Owned;

/// Who the files of a layer or of a sealed tree belong to on disk, and who may look
/// into them.
pub trait Ownership: Sync {
    /// Names the id mapping.
    fn key(&self) -> String;

    /// The ids inside that the extracting user's own files stand for.
    fn own_ids(&self) -> (u32, u32);

    /// Gives entries below `root` their owners. Ids that are not mapped stay
    /// with the extracting user and are returned.
    ///
    /// # Errors
    /// When the owners cannot be set.
    fn settle(&self, root: BorrowedFd<'_>, owned: &[Owned]) -> Result<Vec<u32>>;

    /// Removes a tree whose files have their owners already.
    ///
    /// # Errors
    /// When something cannot be removed.
    fn remove(&self, tree: &Path) -> Result<()>;

    /// Runs `work` where every file of a tree can be read and has the owner that
    /// it has inside. Nothing but what it writes to disk comes back.
    ///
    /// # Errors
    /// The work's.
    fn inside(&self, work: &dyn Fn() -> Result<()>) -> Result<()>;
}
