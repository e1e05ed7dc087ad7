//! Who the image's `USER` is, by the image's own `/etc/passwd` and
//! `/etc/group`. Read from the layers, before anything is mounted.

use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::merged::Merged;
use crate::error::{Fault, Kind, cut, integrity, kind_of, not_found};

/// Accounts of images end here. Whoever the image's user is has a place; of the
/// others those up to 65,535 have one.
pub const MAX_ID: u32 = i32::MAX as u32;

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
    /// The user that the image asks for and does not have: this is the usual one, in
    /// its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in_for: Option<String>,
}

impl User {
    /// Root, as long as nothing else is known.
    pub fn root() -> Self {
        User { uid: 0, gid: 0, name: None, home: "/root".into(), shell: None, stands_in_for: None }
    }
}

/// Whether a `USER` means root without looking at any file.
pub(super) fn is_root(spec: Option<&str>) -> bool {
    matches!(spec.unwrap_or_default(), "" | "0" | "root" | "0:0" | "root:root" | "0:root" | "root:0")
}

/// Whether a `USER` can be somebody at all, as far as that can be told without the
/// image's files.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] for ids out of range.
pub(super) fn check(spec: Option<&str>) -> Result<(), Fault> {
    let (user, group) = spec.unwrap_or_default().split_once(':').unwrap_or((spec.unwrap_or_default(), ""));
    number_of(user, "user").and(number_of(group, "group")).map(drop)
}

/// An id; `None` for a name.
fn number_of(text: &str, what: &str) -> Result<Option<u32>, Fault> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(integrity(format!("the image's {what} {} is out of range (0 to {MAX_ID})", cut(text)))),
    }
}

/// Resolves `user[:group]`, names or numbers; an absent one is root.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] for unknown names, [`crate::error::Kind::Integrity`]
/// for ids out of range.
pub fn resolve(spec: Option<&str>, layers: &[PathBuf]) -> Result<User> {
    let merged = Merged::of(layers);
    let (passwd, group) = (merged.text("etc/passwd"), merged.text("etc/group"));
    Ok(from_files(spec.unwrap_or_default(), &passwd, &group)?)
}

/// The image's own user: the usual one where it asks for one that it does not have,
/// as nobody could enter it otherwise.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] for ids out of range.
pub(super) fn own(spec: Option<&str>, layers: &[PathBuf]) -> Result<User> {
    match resolve(spec, layers) {
        Err(error) if kind_of(&error) == Kind::NotFound => {
            let stands_in_for = spec.map(cut);
            Ok(User { stands_in_for, ..resolve(None, layers)? })
        }
        found => found,
    }
}

fn from_files(spec: &str, passwd: &str, group: &str) -> Result<User, Fault> {
    let (user, explicit_group) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let rows = || passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|row| row.len() >= 6);
    let row = match number_of(user, "user")? {
        Some(number) => rows().find(|row| row[2].parse() == Ok(number)),
        None => Some(
            rows()
                .find(|row| row[0] == user)
                .ok_or_else(|| not_found(format!("the image's user {user:?} is not in its /etc/passwd")))?,
        ),
    };
    let number = |text: &str, what: &str| {
        number_of(text, what)?
            .ok_or_else(|| integrity(format!("the image's /etc/passwd has the malformed {what} {text:?}")))
    };
    let uid = match &row {
        Some(row) => number(row[2], "user id")?,
        None => number(user, "user id")?,
    };
    let gid = match (explicit_group.filter(|group| !group.is_empty()), &row) {
        (Some(name), _) => match number_of(name, "group")? {
            Some(gid) => gid,
            None => {
                let entry = group
                    .lines()
                    .map(|line| line.split(':').collect::<Vec<_>>())
                    .find(|row| row.len() >= 3 && row[0] == name);
                let entry =
                    entry.ok_or_else(|| not_found(format!("the image's group {name:?} is not in its /etc/group")))?;
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
        stands_in_for: None,
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
    fn root_stands_in_for_a_user_that_the_image_does_not_have() {
        let folder = tempfile::tempdir().unwrap();
        let layers = [folder.path().to_owned()];
        for unknown in ["web", "0:nogroup"] {
            let user = own(Some(unknown), &layers).unwrap();
            assert_eq!((user.uid, user.gid, user.stands_in_for.as_deref()), (0, 0, Some(unknown)));
            assert!(resolve(Some(unknown), &layers).is_err(), "nobody else takes another user for it");
        }
        assert_eq!(own(Some("4242"), &layers).unwrap().stands_in_for, None);
        assert!(own(Some("4294967296"), &layers).is_err());
    }

    #[test]
    fn case_27_users_out_of_range_are_refused() {
        for bad in [
            "4294967296",
            "99999999999999999999",
            "2147483648",
            "0:4294967295",
            "nobody-here",
            "dev:nogroup",
            "bad",
            "-1",
        ] {
            assert!(from_files(bad, PASSWD, GROUP).is_err(), "{bad}");
        }
    }
}
