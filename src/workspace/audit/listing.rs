//! What is directly in a folder, as far as an audit needs to know.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;

use super::names::is_put_away;

/// What would make a folder of objects a repository, or speak for one.
const SETTINGS: [&[u8]; 7] = [b"HEAD", b"commondir", b"config", b"config.worktree", b"hooks", b"objects", b"refs"];

/// Whether a folder with something of this name may be a repository.
pub(in super::super) fn is_of_a_repository(name: &OsStr) -> bool {
    SETTINGS.contains(&name.as_bytes())
}

/// What names packs by their paths, wherever those lead, begins like this
/// (`multi-pack-index` of `gitformat-pack(5)`). Git does without it.
const PACK_LIST: &[u8] = b"multi-pack-index";

#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) folders: Vec<CString>,
    /// Links, pipes and devices.
    pub(super) odd: Vec<(CString, FileType)>,
    /// Files with names that matter to git.
    pub(super) settings: Vec<CString>,
    /// Files that name packs.
    pub(super) pack_lists: Vec<CString>,
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
            FileType::RegularFile if name.to_bytes().starts_with(PACK_LIST) && !is_put_away(name) => {
                self.pack_lists.push(name.to_owned());
            }
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

/// A folder that git makes in `objects/pack` or `objects/info`, and nowhere else.
pub(super) fn is_of_objects(folder: Option<&OsStr>, name: &[u8]) -> bool {
    let folder = folder.map(OsStr::as_bytes);
    matches!((folder, name), (Some(b"pack"), b"multi-pack-index.d") | (Some(b"info"), b"commit-graphs"))
}
