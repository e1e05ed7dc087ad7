//! Names that may not stand in a tree: whatever a file system somewhere reads
//! as `.git`, and links where git expects a file (git's own `fsck` rules).

use crate::error::{Fault, integrity};

/// Checks one path component of a tree entry.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] with the name and the reason.
pub fn check_entry_name(name: &[u8], is_symlink: bool) -> Result<(), Fault> {
    // Most names cannot be any of these: looked at first, because every name
    // of every tree is.
    let plain = |byte: &u8| byte.is_ascii() && !matches!(byte, b'/' | b'~' | 0);
    if !name.is_empty() && name[0] != b'.' && name.iter().all(plain) {
        return Ok(());
    }
    let refuse =
        |why: &str| Err(integrity(format!("tree entry {:?} is refused: {why}", String::from_utf8_lossy(name))));
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return refuse("it is not a plain file name");
    }
    if reads_as(name, "git") {
        return refuse("some file systems read it as .git");
    }
    // The others that git reads (.gitignore, .gitattributes, .mailmap) it opens
    // without following links, and only warns about them.
    if is_symlink && reads_as(name, "gitmodules") {
        return refuse("it must not be a symbolic link");
    }
    Ok(())
}

/// Whether NTFS, HFS+ or a case-folding file system reads `name` as `.word`.
fn reads_as(name: &[u8], word: &str) -> bool {
    let folded = String::from_utf8_lossy(name)
        .chars()
        .filter(
            |c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'),
        )
        .collect::<String>()
        .to_lowercase();
    // NTFS drops trailing dots and spaces, and `name:stream` names `name`.
    let plain = folded.split(['\\', ':']).next().unwrap_or_default().trim_end_matches(['.', ' ']);
    if plain == format!(".{word}") {
        return true;
    }
    // The 8.3 short names: git~1, gitmod~1..4, and gi7eba~1-like hashes.
    let Some((stem, digits)) = plain.split_once('~') else { return false };
    let numbered = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    numbered && stem == &word[..word.len().min(6)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_42_spellings_of_git_are_refused() {
        for bad in [
            ".git",
            ".GIT",
            ".Git",
            "git~1",
            "GIT~1",
            ".git.",
            ".git ",
            ".git. .",
            ".git::$INDEX_ALLOCATION",
            ".g\u{200c}it",
            ".git\u{feff}",
            ".git\\x",
            "",
            ".",
            "..",
            "a/b",
            "a\0b",
        ] {
            assert!(check_entry_name(bad.as_bytes(), false).is_err(), "{bad:?}");
        }
        for bad in [".gitmodules", ".GITMODULES", "gitmod~1", ".gitmodules ", ".gitmodules::$DATA"] {
            assert!(check_entry_name(bad.as_bytes(), true).is_err(), "{bad:?}");
            if bad.starts_with(".git") {
                assert!(check_entry_name(bad.as_bytes(), false).is_ok(), "{bad:?} as a file");
            }
        }
        for fine in [".gitignore", ".gitattributes", ".mailmap"] {
            assert!(check_entry_name(fine.as_bytes(), true).is_ok(), "{fine:?}");
        }
        for good in ["git", ".github", ".gitlab-ci.yml", "x.git", "a~1", "gitx~1", "\u{200c}", "digit~1"] {
            assert!(check_entry_name(good.as_bytes(), false).is_ok(), "{good:?}");
        }
    }
}
