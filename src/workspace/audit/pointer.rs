//! A `.git` that is no folder but says where one is.

use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;

use super::Audit;
use super::folder::read_plain;

/// Git refuses longer ones.
const MAX_POINTER: u64 = 1 << 20;

/// Where a path becomes too long to be followed, and so to be judged.
const MAX_PATH: usize = 4000;

impl Audit<'_> {
    /// The folder in the workspace to which a `.git` leads that is none.
    pub(super) fn pointed(&self, folder: BorrowedFd<'_>) -> Option<PathBuf> {
        let target = match rustix::fs::readlinkat(folder, c".git", Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(_) => read_plain(folder, c".git", MAX_POINTER).ok()?.strip_prefix(b"gitdir:")?.trim_ascii().to_vec(),
        };
        let named = self.workspace.join(&self.path).join(std::ffi::OsStr::from_bytes(&target));
        let (root, real) = (std::fs::canonicalize(self.workspace).ok()?, std::fs::canonicalize(named).ok()?);
        real.strip_prefix(root).ok().map(Path::to_owned)
    }

    /// A pointer out of the workspace leads to what nobody audits, such as the
    /// files of an image: one that was written inside goes.
    pub(super) fn pointer(&mut self, folder: BorrowedFd<'_>, kind: FileType) {
        let target = match kind {
            FileType::Symlink => {
                rustix::fs::readlinkat(folder, ".git", Vec::new()).ok().map(std::ffi::CString::into_bytes)
            }
            FileType::RegularFile => read_plain(folder, c".git", MAX_POINTER).ok().and_then(|text| {
                let target = text.strip_prefix(b"gitdir:")?.trim_ascii();
                Some(target.to_vec())
            }),
            _ => None,
        };
        let Some(target) = target else { return };
        if target.contains(&0) {
            return self.quarantine(folder, c".git", "git reads only a part of it".into());
        }
        let target = Path::new(std::ffi::OsStr::from_bytes(&target));
        let here = self.workspace.join(&self.path);
        let named = plain(&here.join(target));
        let (inside, real) = (named.starts_with(self.workspace), leads_to(&here.join(target)));
        let real_inside = std::fs::canonicalize(self.workspace).is_ok_and(|root| real.0.starts_with(root));
        // A link within the workspace may be turned at any time.
        let judged = real_inside && here.as_os_str().len() + target.as_os_str().len() <= MAX_PATH;
        if judged || !(inside || self.is_new(folder, c".git")) {
            return;
        }
        if real.1 || here.as_os_str().len() + target.as_os_str().len() > MAX_PATH {
            self.quarantine(folder, c".git", format!("it leads out of the workspace, to {}", real.0.display()));
        }
    }
}

/// Without `.` and `..`, as it is written.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// Where a path leads as far as it exists, and whether that is the developer's:
/// what is missing may come to be there. A path of the inside, such as
/// `/workspace`, has nothing of theirs.
fn leads_to(path: &Path) -> (PathBuf, bool) {
    for (rest, ancestor) in path.ancestors().enumerate() {
        if let Ok(real) = std::fs::canonicalize(ancestor) {
            let own = rustix::process::geteuid().as_raw();
            let theirs = std::fs::metadata(&real).is_ok_and(|meta| meta.uid() == own) && real != Path::new("/");
            return (real, rest == 0 || theirs);
        }
    }
    (path.to_owned(), false)
}
