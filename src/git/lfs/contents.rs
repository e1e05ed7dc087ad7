//! A folder of contents by hash, in git-lfs's own form, so that the program
//! finds them. Nothing is believed: what is put in and what is read is hashed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::pointer::Pointer;
use crate::digest::Verified;
use crate::disk::{Durability, Unnamed, beneath::Beneath};
use crate::oci::unwrap_io;

/// A folder of contents.
#[derive(Clone, Debug)]
pub struct Contents {
    objects: PathBuf,
}

impl Contents {
    /// Those of a git folder.
    pub fn of(git_dir: &Path) -> Self {
        Contents { objects: git_dir.join("lfs/objects") }
    }

    /// Those below git-lfs's own folder.
    pub fn below(storage: &Path) -> Self {
        Contents { objects: storage.join("objects") }
    }

    /// The place of a content.
    fn place(&self, pointer: &Pointer) -> PathBuf {
        let hex = pointer.oid.hex();
        self.objects.join(&hex[..2]).join(&hex[2..4]).join(hex)
    }

    /// The file of a content that is there with its full length; what is in it
    /// has still to be checked.
    pub fn find(&self, pointer: &Pointer) -> Option<PathBuf> {
        let path = self.place(pointer);
        // A link could lead anywhere, and a fifo never end.
        let there = path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == pointer.size);
        there.then_some(path)
    }

    /// A content that is there; reading it fails at its end unless it is what
    /// the pointer says.
    ///
    /// # Errors
    /// When its file cannot be opened.
    pub fn open(&self, pointer: &Pointer) -> Result<Option<Verified<File>>> {
        let Some(path) = self.find(pointer) else { return Ok(None) };
        // What was looked at may be something else by now.
        let folder = Beneath::open(&self.objects)?;
        let below = path.strip_prefix(&self.objects).unwrap_or(&path);
        let file = folder.file(below).map_err(|miss| folder.refusal(below, miss))?;
        Ok(Some(Verified::new(file, pointer.size, pointer.oid)))
    }

    /// Adds a content; nothing of it stays when it is not what the pointer
    /// says.
    ///
    /// # Errors
    /// Also when it cannot be written.
    pub fn put(&self, pointer: &Pointer, content: &mut dyn io::Read) -> Result<()> {
        let path = self.place(pointer);
        let folder = path.parent().context("a content has a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut file = Unnamed::create_in(folder).context("cannot write an LFS file")?;
        io::copy(&mut Verified::new(content, pointer.size, pointer.oid), &mut file)
            .map_err(unwrap_io)
            .context("cannot write an LFS file")?;
        file.publish(&path, Durability::Cached).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_16_only_what_the_pointer_says_is_kept_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let contents = Contents::of(dir.path());
        let pointer = Pointer::to(&mut &b"content"[..]).unwrap();
        assert!(contents.put(&pointer, &mut &b"another"[..]).is_err());
        assert!(contents.put(&pointer, &mut &b"content, and more"[..]).is_err());
        assert_eq!(contents.find(&pointer), None);
        contents.put(&pointer, &mut &b"content"[..]).unwrap();
        let path = contents.find(&pointer).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        std::fs::write(&path, "changed").unwrap();
        assert!(io::copy(&mut contents.open(&pointer).unwrap().unwrap(), &mut io::sink()).is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(contents.find(&pointer), None);
    }
}
