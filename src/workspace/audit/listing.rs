//! What is directly in a folder, as far as an audit needs to know.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;

/// What would make a folder of objects a repository, or speak for one.
const SETTINGS: [&[u8]; 7] = [b"HEAD", b"commondir", b"config", b"config.worktree", b"hooks", b"objects", b"refs"];

/// Whether a folder with something of this name may be a repository.
pub(in super::super) fn is_of_a_repository(name: &OsStr) -> bool {
    SETTINGS.contains(&name.as_bytes())
}

#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) folders: Vec<CString>,
    /// Links, pipes and devices.
    pub(super) odd: Vec<(CString, FileType)>,
    /// Files with names that matter to git.
    pub(super) settings: Vec<CString>,
    /// A `.git` that is no folder.
    pub(super) pointer: Option<FileType>,
    signs: u8,
    /// The same, without what lies behind `commondir`.
    own_signs: u8,
}

impl Listing {
    pub(super) fn add(&mut self, name: &CStr, kind: FileType) {
        // `objects` and `refs` may be links, or lie behind `commondir`.
        let sign = match name.to_bytes() {
            b"HEAD" => 1,
            b"objects" => 2,
            b"refs" => 4,
            _ => 0,
        };
        self.own_signs |= sign;
        self.signs |= if name == c"commondir" { 6 } else { sign };
        match kind {
            FileType::Directory => self.folders.push(name.to_owned()),
            _ if name.to_bytes() == b".git" => self.pointer = Some(kind),
            // Git's monitor of files has one; nobody waits for it.
            FileType::Socket => {}
            FileType::RegularFile if SETTINGS.contains(&name.to_bytes()) => self.settings.push(name.to_owned()),
            FileType::RegularFile => {}
            _ => self.odd.push((name.to_owned(), kind)),
        }
    }

    /// Worktrees could share it: it has what `commondir` leads to.
    pub(super) fn is_shared(&self) -> bool {
        self.own_signs & 6 == 6
    }

    /// Git would take the folder for a repository.
    pub(super) fn is_git(&self) -> bool {
        self.signs == 7
    }
}

/// A folder of loose objects, by its name.
pub(super) fn is_fan(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A folder that git makes in `objects/pack` or `objects/info`.
pub(super) fn is_of_objects(name: &[u8]) -> bool {
    matches!(name, b"multi-pack-index.d" | b"commit-graphs")
}
