//! Who the image's `USER` is, by the image's own `/etc/passwd` and
//! `/etc/group`. Read from the layers, before anything is mounted.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::Result;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Fault, integrity};

/// Accounts of images end here; beyond lie dynamic and unmapped ids.
pub const MAX_ID: u32 = 65_535;
const MAX_FILE: u64 = 4 << 20;

/// The account in which commands run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Numeric user id inside the image.
    pub uid: u32,
    /// Numeric group id inside the image.
    pub gid: u32,
    /// Its name, where the image has one.
    pub name: Option<String>,
    /// Home folder inside the image.
    pub home: String,
    /// Login shell, where the image names one.
    pub shell: Option<String>,
}

impl User {
    /// Root, as long as nothing else is known.
    pub fn root() -> Self {
        User { uid: 0, gid: 0, name: None, home: "/root".into(), shell: None }
    }
}

/// Whether a `USER` means root without looking at any file.
pub(super) fn is_root(spec: Option<&str>) -> bool {
    matches!(spec.unwrap_or_default(), "" | "0" | "root" | "0:0" | "root:root" | "0:root" | "root:0")
}

/// Resolves `user[:group]`, names or numbers; an absent one is root.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] for unknown names and ids out of range.
pub fn resolve(spec: Option<&str>, layers: &[PathBuf]) -> Result<User> {
    let passwd = read_topmost(layers, "etc/passwd");
    let group = read_topmost(layers, "etc/group");
    Ok(from_files(spec.unwrap_or_default(), &passwd, &group)?)
}

/// The file as the merged image shows it: the topmost layer that has it.
fn read_topmost(layers: &[PathBuf], path: &str) -> String {
    for layer in layers.iter().rev() {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Ok(root) =
            rustix::fs::openat(CWD, layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        else {
            continue;
        };
        if let Ok(stat) = rustix::fs::statat(&root, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        {
            return String::new();
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if let Ok(fd) = rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
            let mut bytes = Vec::new();
            let _ = File::from(fd).take(MAX_FILE).read_to_end(&mut bytes);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    String::new()
}

fn from_files(spec: &str, passwd: &str, group: &str) -> Result<User, Fault> {
    let (user, explicit_group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let rows = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|row| row.len() >= 6);
    let id = |text: &str, what: &str| -> Result<Option<u32>, Fault> {
        if !text.bytes().all(|c| c.is_ascii_digit()) {
            return Ok(None);
        }
        match text.parse::<u32>() {
            Ok(id) if id <= MAX_ID => Ok(Some(id)),
            _ => Err(integrity(format!("the image's {what} {text} is out of range (0 to {MAX_ID})"))),
        }
    };
    let row = match id(user, "user")? {
        Some(number) => rows().find(|row| row[2].parse() == Ok(number)),
        None => Some(
            rows()
                .find(|row| row[0] == user)
                .ok_or_else(|| integrity(format!("the image's user {user:?} is not in its /etc/passwd")))?,
        ),
    };
    let number = |text: &str, what: &str| {
        id(text, what)?.ok_or_else(|| integrity(format!("the image's /etc/passwd has the malformed {what} {text:?}")))
    };
    let uid = match &row {
        Some(row) => number(row[2], "user id")?,
        None => number(user, "user id")?,
    };
    let gid = match (explicit_group.filter(|group| !group.is_empty()), &row) {
        (Some(name), _) => match id(name, "group")? {
            Some(gid) => gid,
            None => {
                let entry = group
                    .lines()
                    .map(|line| line.split(':').collect::<Vec<_>>())
                    .find(|row| row.len() >= 3 && row[0] == name);
                let entry =
                    entry.ok_or_else(|| integrity(format!("the image's group {name:?} is not in its /etc/group")))?;
                number(entry[2], "group id")?
            }
        },
        (None, Some(row)) => number(row[3], "group id")?,
        (None, None) => 0,
    };
    let absolute = |text: &str| text.starts_with('/') && !text.contains('\0');
    let field = |index: usize| {
        row.as_ref().and_then(|row| row.get(index)).map(|text| (*text).to_owned()).filter(|text| absolute(text))
    };
    Ok(User {
        uid,
        gid,
        name: row.as_ref().map(|row| row[0].to_owned()),
        home: field(5).unwrap_or_else(|| if uid == 0 { "/root".into() } else { "/".into() }),
        shell: field(6),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\ndev:x:1000:1001::/home/dev:/bin/sh\nbad:x:x:0::/:\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:dev\n";

    #[test]
    fn users_by_name_and_number() {
        let user = |spec| from_files(spec, PASSWD, GROUP).unwrap();
        assert_eq!((user("").uid, user("").home.as_str()), (0, "/root"));
        assert_eq!((user("dev").uid, user("dev").gid), (1000, 1001));
        assert_eq!((user("dev:staff").gid, user("1000:7").gid), (50, 7));
        let unknown = user("4242");
        assert_eq!((unknown.uid, unknown.gid, unknown.home.as_str(), unknown.name), (4242, 0, "/", None));
    }

    #[test]
    fn case_27_users_out_of_range_are_refused() {
        for bad in
            ["4294967296", "99999999999999999999", "70000", "0:4294967295", "nobody-here", "dev:nogroup", "bad", "-1"]
        {
            assert!(from_files(bad, PASSWD, GROUP).is_err(), "{bad}");
        }
    }
}
