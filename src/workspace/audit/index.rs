//! The names in an index. Git believes them: `git restore .` writes to where one
//! leads that holds `..`, or `.git`.

use crate::digest::hex;
use crate::git::check_entry_name;

/// Bytes of an entry before its name: times, device, inode, mode, owner, size,
/// object and flags (`gitformat-index(5)`).
const FIXED: usize = 62;

/// More flags follow.
const EXTENDED: u16 = 0x4000;

/// The mode of an entry that names a repository.
pub(super) const GITLINK: u32 = 0o160_000;

/// An entry, as far as it matters here.
pub(super) struct AuditEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) mode: u32,
    /// Where it begins, in bytes.
    start: u32,
}

/// Why git should not use this index; `None` where it may. What git could not
/// read it refuses by itself.
pub(super) fn why_not(text: &[u8]) -> Option<String> {
    let (mut starts, mut bad) = (Vec::new(), None);
    let end = entries(text, |entry| {
        starts.push(entry.start);
        // The folders of a sparse index end with a slash.
        let path = entry.name.strip_suffix(b"/").unwrap_or(entry.name);
        if path.split(|byte| *byte == b'/').any(|part| check_entry_name(part, false).is_err()) {
            bad = Some(format!("it names {}", String::from_utf8_lossy(entry.name).escape_debug()));
        }
        bad.is_none()
    });
    if bad.is_some() { bad } else { bad_offsets(text, end?, &starts) }
}

/// Shows each entry, as long as it is wanted; where the last one ends, unless the
/// index is damaged.
pub(super) fn entries(text: &[u8], mut show: impl FnMut(&AuditEntry<'_>) -> bool) -> Option<usize> {
    let word = |at: usize| Some(u32::from_be_bytes(text.get(at..at + 4)?.try_into().ok()?));
    let (version, count) = (word(4)?, word(8)?);
    let mut at = 12;
    let mut name: Vec<u8> = Vec::new();
    for _ in 0..count {
        let flags = u16::from_be_bytes(text.get(at + FIXED - 2..at + FIXED)?.try_into().ok()?);
        let mut start = at + FIXED + if version >= 3 && flags & EXTENDED != 0 { 2 } else { 0 };
        if version >= 4 {
            let (cut, length) = varint(text.get(start..)?)?;
            name.truncate(name.len().checked_sub(cut)?);
            start += length;
        } else {
            name.clear();
        }
        let rest = text.get(start..)?;
        let end = memchr::memchr(0, rest)?;
        name.extend_from_slice(rest.get(..end)?);
        if !show(&AuditEntry { name: &name, mode: word(at + 24)?, start: u32::try_from(at).ok()? }) {
            return None;
        }
        at = match version {
            4.. => start + end + 1,
            // Padded to eights, with at least one zero.
            _ => at + ((start - at + end + 8) & !7),
        };
    }
    Some(at)
}

/// The name of the file in which most entries of a split index are (`link`).
pub(super) fn shared(text: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_be_bytes(text.get(at..at + 4)?.try_into().ok()?));
    let mut at = entries(text, |_| true)?;
    loop {
        let (kind, length) = (text.get(at..at + 4)?, word(at + 4)?);
        let content = at + 8;
        if kind == b"link" {
            let name = text.get(content..content + 20)?;
            return name.iter().any(|byte| *byte != 0).then(|| format!("sharedindex.{}", hex(name)));
        }
        at = content.checked_add(length as usize)?;
    }
}

/// Threads of git begin to read entries where an extension says (`IEOT`), which
/// may be elsewhere than where the entries are.
fn bad_offsets(text: &[u8], extensions: usize, starts: &[u32]) -> Option<String> {
    let wrong = || Some("it says that its entries are elsewhere".to_owned());
    let word = |at: usize| Some(u32::from_be_bytes(text.get(at..at + 4)?.try_into().ok()?));
    let mut at = extensions;
    while let (Some(kind), Some(length)) = (text.get(at..at + 4), word(at + 4)) {
        let (content, length) = (at + 8, length as usize);
        at = content.checked_add(length)?;
        if kind != b"IEOT" {
            continue;
        }
        let Some(table) = text.get(content..at).and_then(|table| table.get(4..)) else { return wrong() };
        let mut read = 0usize;
        for block in table.chunks(8) {
            let (Ok(offset), Ok(count)) =
                (block[..4.min(block.len())].try_into(), block[4.min(block.len())..].try_into())
            else {
                return wrong();
            };
            let (offset, count) = (u32::from_be_bytes(offset), u32::from_be_bytes(count));
            if starts.get(read) != Some(&offset) {
                return wrong();
            }
            read = read.saturating_add(count as usize);
        }
        if read != starts.len() {
            return wrong();
        }
    }
    // Git looks for the end of the entries there first.
    let end = text.len().checked_sub(20 + 32)?;
    let says_end = text.get(end..end + 4) == Some(b"EOIE");
    if says_end && word(end + 8) != u32::try_from(extensions).ok() { wrong() } else { None }
}

/// The offset encoding of `gitformat-pack(5)`, and how long it is.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0usize;
    for (at, byte) in bytes.iter().enumerate().take(8) {
        value = if at == 0 { 0 } else { value.checked_add(1)?.checked_mul(128)? };
        value = value.checked_add(usize::from(byte & 0x7f)).filter(|_| at > 0 || value == 0)?;
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn index(version: &str, names: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| {
            let done = Command::new("git").arg("-C").arg(dir.path()).args(words).output().unwrap();
            assert!(done.status.success(), "{words:?}");
        };
        git(&["init", "-q"]);
        git(&["config", "index.version", version]);
        for name in names {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        git(&["add", "-A"]);
        git(&["update-index", "--skip-worktree", names[0]]);
        std::fs::read(dir.path().join(".git/index")).unwrap()
    }

    #[test]
    fn names_that_lead_elsewhere_are_seen_in_every_version() {
        let long = format!("l/{}", "long".repeat(50));
        let names = ["AA/AA/file", "a", "b/AAAA/config", "b/AAAA/hooks", "c.txt", &long, "z"];
        for version in ["2", "3", "4"] {
            let text = index(version, &names);
            assert_eq!(why_not(&text), None, "version {version}");
            for (from, to, seen) in [
                ("AA/AA/file", "../../file", true),
                ("b/AAAA/config", "b/.git/config", true),
                ("c.txt", "d.txt", false),
            ] {
                let mut text = text.clone();
                let at = memchr::memmem::find(&text, from.as_bytes()).unwrap();
                text[at..at + to.len()].copy_from_slice(to.as_bytes());
                assert_eq!(why_not(&text).is_some(), seen, "version {version}: {to}");
            }
        }
        assert_eq!(why_not(b"DIRC"), None);
    }

    #[test]
    fn the_shared_part_of_a_split_index_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| {
            let done = Command::new("git").arg("-C").arg(dir.path()).args(words).output().unwrap();
            assert!(done.status.success(), "{words:?}");
        };
        git(&["init", "-q"]);
        std::fs::write(dir.path().join("a"), "x").unwrap();
        git(&["add", "-A"]);
        let read = || std::fs::read(dir.path().join(".git/index")).unwrap();
        assert_eq!(shared(&read()), None);
        git(&["update-index", "--split-index"]);
        let name = shared(&read()).unwrap();
        let text = std::fs::read(dir.path().join(".git").join(name)).unwrap();
        let mut names = Vec::new();
        entries(&text, |entry| {
            names.push(entry.name.to_vec());
            true
        });
        assert_eq!(names, [b"a"]);
    }

    #[test]
    fn entries_that_threads_find_elsewhere_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let git = |words: &[&str]| {
            let done = Command::new("git").arg("-C").arg(dir.path()).args(words).output().unwrap();
            assert!(done.status.success(), "{words:?}");
        };
        git(&["init", "-q"]);
        git(&["config", "index.threads", "2"]);
        (0..20_010).for_each(|n| std::fs::write(dir.path().join(format!("file-{n:05}")), "").unwrap());
        git(&["add", "-A"]);
        let text = std::fs::read(dir.path().join(".git/index")).unwrap();
        let table = memchr::memmem::rfind(&text, b"IEOT").unwrap();
        assert_eq!(why_not(&text), None);
        for at in [table + 12, table + 16, table + 20, text.len() - 20 - 32 + 8] {
            let mut changed = text.clone();
            changed[at + 3] ^= 8;
            assert!(why_not(&changed).is_some(), "{at}");
        }
    }
}
