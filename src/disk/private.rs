//! Who may write to a folder besides its user.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::error::policy;

/// The administrator may write everywhere anyway.
const ADMINISTRATOR: u32 = 0;

/// Makes sure that a folder of envctl's own, if it is there, is the user's
/// alone to write: whoever else could would choose what is read and where it is
/// written.
///
/// # Errors
/// [`crate::error::Kind::Policy`] with the command that helps.
pub fn require_private(folder: &Path) -> Result<()> {
    require(folder, 0o022)
}

/// The same for a folder that people make by hand: it may be open to the group
/// that bears the user's own number, as many systems give each user one.
///
/// # Errors
/// As [`require_private`].
pub fn require_own(folder: &Path) -> Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let is_own_group = |meta: &Metadata| meta.gid() == own && own != ADMINISTRATOR;
    let grouped = fs::metadata(folder).is_ok_and(|meta| is_own_group(&meta));
    require(folder, if grouped { 0o002 } else { 0o022 })
}

/// Makes sure that what leads to a folder is no link of another account.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when it is.
pub fn require_own_link(folder: &Path) -> Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(meta) if meta.is_symlink() && foreign_owner(&meta).is_some() => {
            let shown = folder.display();
            Err(policy(format!("{shown} is a link of another account (id {}): it is not followed", meta.uid()))
                .hint("name the folder that it leads to, if you trust that one")
                .into())
        }
        _ => Ok(()),
    }
}

fn require(folder: &Path, forbidden: u32) -> Result<()> {
    require_own_link(folder)?;
    let Some(meta) = look(folder)? else { return Ok(()) };
    judge(folder, &meta, forbidden)?;
    // Where others come in at all, what is in it matters, too.
    if meta.mode() & 0o011 != 0 {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries.flatten() {
            if let Ok(Some(meta)) = look(&entry.path()) {
                judge(&entry.path(), &meta, forbidden)?;
            }
        }
    }
    Ok(())
}

fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

fn judge(path: &Path, meta: &Metadata, forbidden: u32) -> Result<()> {
    let shown = path.display();
    if let Some(owner) = foreign_owner(meta) {
        return Err(policy(format!("{shown} belongs to another account (id {owner}), which decides what is in it"))
            .hint("move it away, or set HOME or the XDG variables to folders of your own")
            .into());
    }
    if meta.mode() & forbidden != 0 {
        return Err(policy(format!("{shown} can be written by other accounts (mode {:o})", meta.mode() & 0o7777))
            .hint(format!("chmod go-w {shown}"))
            .into());
    }
    Ok(())
}

/// Which other accounts may write to a folder that people may share; `None` when
/// it is the user's alone, or is not there.
pub fn others_may_write(folder: &Path) -> Option<String> {
    let meta = fs::metadata(folder).ok()?;
    match (foreign_owner(&meta), meta.mode()) {
        (_, mode) if mode & 0o002 != 0 => Some("every account of this machine may write to it".into()),
        (Some(owner), _) => Some(format!("it belongs to another account (id {owner})")),
        (None, mode) if mode & 0o020 != 0 => Some(format!("its group (id {}) may write to it", meta.gid())),
        _ => None,
    }
}

/// Whether an account that is neither this one nor the administrator's decides what is in
/// a folder: its owner does, and everybody does where everybody may write.
pub fn is_of_others(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|meta| foreign_owner(&meta).is_some() || meta.mode() & 0o002 != 0)
}

fn foreign_owner(meta: &Metadata) -> Option<u32> {
    let own = rustix::process::geteuid().as_raw();
    Some(meta.uid()).filter(|owner| *owner != own && *owner != ADMINISTRATOR)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_may_write_is_refused_with_what_helps() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        require_private(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        for (mode, good) in [(0o700, true), (0o755, true), (0o770, false), (0o757, false), (0o1777, false)] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let refused = require_private(&folder).err();
            assert_eq!(refused.is_none(), good, "{mode:o}");
            assert_eq!(others_may_write(&folder).is_none(), good, "{mode:o}");
            if let Some(error) = refused {
                assert!(crate::error::hint_of(&error).unwrap().starts_with("chmod go-w "), "{error:#}");
            }
        }
        let below = folder.join("runtimes");
        fs::create_dir(&below).unwrap();
        fs::set_permissions(&below, fs::Permissions::from_mode(0o777)).unwrap();
        for (mode, good) in [(0o700, true), (0o755, false), (0o711, false)] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(require_private(&folder).is_ok(), good, "{mode:o}");
        }
    }
}
