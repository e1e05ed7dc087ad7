//! How much a stranger may have brought here at once: what the developer allows,
//! and what there is room for. It is looked at before anything comes.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::app::App;
use crate::disk;
use crate::error::policy;
use crate::ui::human_bytes;

/// So many bytes may come into a folder.
pub(crate) fn allowance(app: &App, folder: &Path) -> u64 {
    app.user.max_fetch().min(free(folder))
}

/// Makes sure that so many bytes may come. Whoever sits in front of it is asked about what
/// is beyond their limit; `--yes` is no word about sizes.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when the developer does not allow so many bytes;
/// that of a full disk, when there is no room for them.
pub(crate) fn require(app: &App, folder: &Path, bytes: u64, what: &str) -> Result<()> {
    let (most, free) = (app.user.max_fetch(), free(folder));
    let sizes = format!("{}, and no more than {} may come", human_bytes(bytes), human_bytes(most));
    let is_agreed = || app.ui.confirm(&format!("{what} would be {sizes} at once. Fetch it all the same?"));
    if bytes > most && !(app.options.interactive && is_agreed()?) {
        return Err(policy(format!("{what} would be {sizes}"))
            .hint("to allow more: [workspace] max_fetch in config.toml")
            .into());
    }
    if bytes > free {
        let sizes = format!("{}, {} has {} left", human_bytes(bytes), folder.display(), human_bytes(free));
        // As if the disk had run full: it would.
        return Err(std::io::Error::from_raw_os_error(libc::ENOSPC)).context(format!("{what} would be {sizes}"));
    }
    Ok(())
}

fn free(folder: &Path) -> u64 {
    // One that is not there yet lies on the file system of what is above it.
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    disk::free_space(there).map_or(u64::MAX, |(free, _)| free)
}
