//! Whose files sealed trees are: decided by whoever makes runtimes.

use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::Result;

use crate::archive::Owned;

/// Whose files a tree's are, and who may look into them.
pub trait Holder: Sync {
    /// Names the id mapping.
    fn key(&self) -> String;

    /// The ids inside that this user's own files stand for.
    fn own_ids(&self) -> (u32, u32);

    /// Gives entries below `root` their owners.
    ///
    /// # Errors
    /// When the owners cannot be set.
    fn settle(&self, root: BorrowedFd<'_>, owned: &[Owned]) -> Result<()>;

    /// Runs `work` where every file of a tree can be read and has the owner
    /// that it has inside. Nothing but what it writes to disk comes back.
    ///
    /// # Errors
    /// The work's.
    fn inside(&self, work: &dyn Fn() -> Result<()>) -> Result<()>;

    /// Removes a tree.
    ///
    /// # Errors
    /// When something cannot be removed.
    fn remove(&self, tree: &Path) -> Result<()>;
}
