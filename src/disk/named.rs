//! Folders and files that the developer names on a command line.
//!
//! What lies in a checkout was laid there by whoever wrote to its repository,
//! or by a program in a runtime. So from the folder on that holds a `.git`, no
//! link leads anywhere; above it links are the developer's own.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::usage;

/// An open folder, wherever its name leads by now.
#[derive(Debug)]
pub struct Named {
    folder: OwnedFd,
}

impl Named {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for a link in a checkout; and when it is
    /// not there.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::walk(path, false)
    }

    /// The same, and makes what is missing on the way.
    ///
    /// # Errors
    /// As [`Named::open`].
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        Self::walk(path, true)
    }

    /// Opens a file to be read, with these flags.
    ///
    /// # Errors
    /// As [`Named::open`], and when the name is none of a file.
    pub fn file(path: &Path, flags: OFlags) -> anyhow::Result<OwnedFd> {
        let context = || format!("cannot read {}", path.display());
        let name = path.file_name().ok_or(Errno::ISDIR).with_context(context)?;
        let above = path.parent().unwrap_or(Path::new(""));
        let (folder, in_checkout) = Self::way(above, false)?;
        let in_checkout = in_checkout || holds_git(folder.as_fd());
        let link = if in_checkout { OFlags::NOFOLLOW } else { OFlags::empty() };
        match rustix::fs::openat(&folder, name, flags | link, Mode::empty()) {
            Err(Errno::LOOP) if in_checkout => Err(is_link(path, "it leads to")),
            opened => opened.map_err(std::io::Error::from).with_context(context),
        }
    }

    /// A name for it that leads here for as long as this is held.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()))
    }

    fn walk(path: &Path, create: bool) -> anyhow::Result<Self> {
        Ok(Named { folder: Self::way(path, create)?.0 })
    }

    /// The folder, and whether the way to it went into a checkout.
    fn way(path: &Path, create: bool) -> anyhow::Result<(OwnedFd, bool)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let start = if path.is_absolute() { "/" } else { "." };
        let mut folder = rustix::fs::openat(CWD, start, flags, Mode::empty())?;
        let mut in_checkout = !path.is_absolute() && is_in_checkout();
        let mut walked = PathBuf::new();
        for part in path.components() {
            walked.push(part);
            let name = match part {
                Component::Normal(name) => name,
                Component::ParentDir => OsStr::new(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            };
            in_checkout |= holds_git(folder.as_fd());
            let link = if in_checkout { OFlags::NOFOLLOW } else { OFlags::empty() };
            let open = || rustix::fs::openat(&folder, name, flags | link, Mode::empty());
            let opened = match open() {
                Err(Errno::NOENT) if create => match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(error) => Err(error),
                },
                other => other,
            };
            let leads_on = || rustix::fs::readlinkat(&folder, name, Vec::new()).is_ok();
            folder = match opened {
                Err(Errno::LOOP | Errno::NOTDIR) if in_checkout && leads_on() => {
                    return Err(is_link(&walked, "the folder that it leads to"));
                }
                Err(error) => {
                    return Err(anyhow::Error::new(std::io::Error::from(error))
                        .context(format!("cannot open {}", walked.display())));
                }
                Ok(folder) => folder,
            };
        }
        Ok((folder, in_checkout))
    }
}

impl AsFd for Named {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

fn is_link(path: &Path, what: &str) -> anyhow::Error {
    usage(format!("{} is a link in a checkout, which is not followed", path.display()))
        .hint(format!("a program inside may have laid it; if you mean that, name {what}"))
        .into()
}

fn holds_git(folder: BorrowedFd<'_>) -> bool {
    rustix::fs::statat(folder, c".git", AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn is_in_checkout() -> bool {
    let here = std::env::current_dir().unwrap_or_default();
    here.ancestors().any(|folder| folder.join(".git").symlink_metadata().is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_leads_to_a_checkout_and_not_out_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("real/checkout/.git")).unwrap();
        fs::create_dir_all(at("home")).unwrap();
        symlink("real", at("mine")).unwrap();
        symlink("../../home", at("real/checkout/out")).unwrap();
        symlink("nowhere", at("real/checkout/dangling")).unwrap();
        fs::write(at("real/checkout/file"), "").unwrap();

        let made = Named::create(&at("mine/checkout/new/deep")).unwrap();
        fs::write(made.path().join("x"), "").unwrap();
        assert!(at("real/checkout/new/deep/x").exists());
        Named::open(&at("mine/checkout/../checkout/new")).unwrap();
        for path in ["mine/checkout/out", "mine/checkout/out/x", "mine/checkout/dangling"] {
            let error = Named::create(&at(path)).unwrap_err().to_string();
            assert!(error.contains("is a link in a checkout"), "{path}: {error}");
        }
        fs::write(at("home/diary"), "mine").unwrap();
        symlink("../../home/diary", at("real/checkout/report")).unwrap();
        symlink("home/diary", at("own")).unwrap();
        let file = |name: &str| Named::file(&at(name), OFlags::RDONLY);
        for path in ["mine/checkout/report", "mine/checkout/out/diary", "mine/checkout/new/../report"] {
            assert!(file(path).unwrap_err().to_string().contains("is a link in a checkout"), "{path}");
        }
        for path in ["own", "mine/checkout/file", "mine/checkout/../../home/diary"] {
            file(path).unwrap();
        }
        assert!(file("home/missing").is_err() && file("home/..").is_err());
        assert!(Named::create(&at("real/checkout/file/x")).unwrap_err().to_string().contains("cannot open"));
        assert!(Named::open(&at("real/missing")).is_err());
        assert_eq!(fs::read_dir(at("home")).unwrap().count(), 1);
    }
}
