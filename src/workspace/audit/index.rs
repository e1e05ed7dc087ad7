//! The names in an index. Git believes them: `git restore .` writes to where one
//! leads that holds `..`, or `.git`.

use crate::digest::hex;
use crate::git::check_entry_name;

/// Bytes of an entry besides its object and its name: times, device, inode, mode,
/// owner, size and flags (`gitformat-index(5)`).
const FIXED: usize = 42;

/// More flags follow.
const EXTENDED: u16 = 0x4000;

/// The length of a name in the flags; with all of these bits it is longer.
const LENGTH: u16 = 0xfff;

/// The mode of an entry that names a repository.
pub(super) const GITLINK: u32 = 0o160_000;

/// Git knows nine kinds of extensions.
const MOST_EXTENSIONS: usize = 16;

/// An entry, as far as it matters here.
pub(super) struct AuditEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) mode: u32,
    /// Where it begins, in bytes.
    start: u32,
    /// Its name begins with a part of the name before.
    keeps: bool,
}

/// What kind it is, and the whole of it.
pub(super) type Extension<'a> = (&'a [u8], &'a [u8]);

/// Entries are not as git writes them, or the file ends before they do: git reads on,
/// in what the kernel puts behind the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unread;

/// An index that git reads as it seems.
pub(super) struct ReadIndex<'a> {
    text: &'a [u8],
    id: usize,
    /// Where the entries end, in bytes.
    end: usize,
    pub(super) extensions: Vec<Extension<'a>>,
}

impl<'a> ReadIndex<'a> {
    /// Reads one whose objects have names of so many bytes, and shows each entry.
    ///
    /// # Errors
    /// What git reads otherwise than this.
    fn of(text: &'a [u8], id: usize, show: impl FnMut(&AuditEntry<'_>)) -> Result<Self, Unread> {
        let end = entries(text, id, show)?;
        Ok(ReadIndex { text, id, end, extensions: extensions(text, id, end)? })
    }

    /// The entries and what comes before them, as bytes.
    pub(super) fn entries(&self) -> &'a [u8] {
        self.text.get(..self.end).unwrap_or_default()
    }

    /// The hash at the end, which may be left out: zeros then.
    pub(super) fn hash(&self) -> &'a [u8] {
        self.text.get(self.text.len().saturating_sub(self.id)..).unwrap_or_default()
    }

    /// The name of the file in which most entries of a split index are (`link`).
    pub(super) fn shared(&self) -> Option<String> {
        let (_, link) = self.extensions.iter().find(|(kind, _)| kind == b"link")?;
        let name = link.get(8..8 + self.id)?;
        name.iter().any(|byte| *byte != 0).then(|| format!("sharedindex.{}", hex(name)))
    }
}

/// Reads an index, and judges what it names.
///
/// # Errors
/// Why git should not use it. What git reads otherwise than this is not to be used.
pub(super) fn judge(text: &[u8], id: usize) -> Result<ReadIndex<'_>, String> {
    let odd = || "git may read it otherwise than it seems".to_owned();
    let (mut starts, mut bad, mut has_empty) = (Vec::new(), None, false);
    let read = ReadIndex::of(text, id, |entry| {
        starts.push((entry.start, entry.keeps));
        has_empty |= entry.name.is_empty();
        // The folders of a sparse index end with a slash.
        let path = entry.name.strip_suffix(b"/").unwrap_or(entry.name);
        let is_bad = || path.split(|byte| *byte == b'/').any(|part| check_entry_name(part, false).is_err());
        if bad.is_none() && !entry.name.is_empty() && is_bad() {
            bad = Some(format!("it names {}", String::from_utf8_lossy(entry.name).escape_debug()));
        }
    });
    if let Some(bad) = bad {
        return Err(bad);
    }
    let read = read.map_err(|Unread| odd())?;
    // In a split index the shared part has the names of those that changed.
    if has_empty && read.shared().is_none() {
        return Err(odd());
    }
    match bad_offsets(&read, &starts) {
        Some(why) => Err(why),
        None => Ok(read),
    }
}

/// Shows each entry; where the last one ends. As `create_from_disk` of git's
/// `read-cache.c` reads them, which goes by the length in the flags.
///
/// # Errors
/// Where that is not as git writes it.
pub(super) fn entries(text: &[u8], id: usize, mut show: impl FnMut(&AuditEntry<'_>)) -> Result<usize, Unread> {
    let word = |at: usize| -> Result<u32, Unread> {
        let bytes = text.get(at..at + 4).ok_or(Unread)?;
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    };
    let (kind, version, count) = (word(0)?, word(4)?, word(8)?);
    if kind != u32::from_be_bytes(*b"DIRC") || !(2..=4).contains(&version) {
        return Err(Unread);
    }
    let mut at = 12;
    let mut name: Vec<u8> = Vec::new();
    for _ in 0..count {
        let flags = (word(at + FIXED + id - 4)? & 0xffff) as u16;
        let is_extended = flags & EXTENDED != 0;
        if is_extended && version < 3 {
            return Err(Unread);
        }
        let mut start = at + FIXED + id + if is_extended { 2 } else { 0 };
        name.truncate(if version == 4 { name.len() } else { 0 });
        if version == 4 {
            let (cut, length) = varint(text.get(start..).ok_or(Unread)?).ok_or(Unread)?;
            name.truncate(name.len().checked_sub(cut).ok_or(Unread)?);
            start += length;
        }
        let keeps = !name.is_empty();
        let rest = text.get(start..).ok_or(Unread)?;
        let end = if flags & LENGTH == LENGTH {
            memchr::memchr(0, rest).ok_or(Unread)?
        } else {
            let length = usize::from(flags & LENGTH).checked_sub(name.len()).ok_or(Unread)?;
            let own = rest.get(..=length).ok_or(Unread)?;
            // The name ends where it says, and not before.
            if memchr::memchr(0, own) != Some(length) {
                return Err(Unread);
            }
            length
        };
        name.extend_from_slice(rest.get(..end).ok_or(Unread)?);
        let begins = u32::try_from(at).map_err(|_| Unread)?;
        show(&AuditEntry { name: &name, mode: word(at + 24)?, start: begins, keeps });
        at = match version {
            4 => start + end + 1,
            // Padded to eights, with at least one zero.
            _ => at + ((start - at + end + 8) & !7),
        };
    }
    Ok(at)
}

/// The signature and the whole of each extension. Git reads as far as one says, also
/// beyond the end of the file (`load_index_extensions` in `read-cache.c`).
///
/// # Errors
/// Where they do not end at the hash.
fn extensions(text: &[u8], id: usize, mut at: usize) -> Result<Vec<Extension<'_>>, Unread> {
    let end = text.len().checked_sub(id).ok_or(Unread)?;
    let mut found = Vec::new();
    while at != end {
        let head: [u8; 8] = text.get(at..at + 8).and_then(|head| head.try_into().ok()).ok_or(Unread)?;
        // Git passes over what it does not know only if it begins with a capital letter.
        let is_known = head[0].is_ascii_uppercase() || head.starts_with(b"link") || head.starts_with(b"sdir");
        if !is_known || found.len() == MOST_EXTENSIONS {
            return Err(Unread);
        }
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let next = at.checked_add(8 + length).filter(|next| *next <= end).ok_or(Unread)?;
        found.push((text.get(at..at + 4).ok_or(Unread)?, text.get(at..next).ok_or(Unread)?));
        at = next;
    }
    Ok(found)
}

/// The name of the shared part of a split index.
pub(super) fn shared(text: &[u8], id: usize) -> Option<String> {
    ReadIndex::of(text, id, |_| {}).ok()?.shared()
}

/// Threads of git begin to read entries where an extension says (`IEOT`), which
/// may be elsewhere than where the entries are.
fn bad_offsets(read: &ReadIndex<'_>, starts: &[(u32, bool)]) -> Option<String> {
    let wrong = || Some("it says that its entries are elsewhere".to_owned());
    let word = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
    for (_, whole) in read.extensions.iter().filter(|(kind, _)| kind == b"IEOT") {
        let Some(table) = whole.get(12..) else { return wrong() };
        let mut at = 0usize;
        for block in table.chunks(8) {
            let (offset, count) = block.split_at(4.min(block.len()));
            let (Some(offset), Some(count)) = (word(offset), word(count)) else { return wrong() };
            // A thread knows no name before its first.
            if starts.get(at) != Some(&(offset, false)) {
                return wrong();
            }
            at = at.saturating_add(count as usize);
        }
        if at != starts.len() {
            return wrong();
        }
    }
    // Git looks for the end of the entries there first. The hash in that extension has
    // the length of SHA-1, whatever the objects have (`EOIE_SIZE` in `read-cache.c`).
    let end = read.text.len().checked_sub(32 + read.id)?;
    let says_end = read.text.get(end..end + 4) == Some(b"EOIE");
    if says_end && word(read.text.get(end + 8..end + 12)?) != u32::try_from(read.end).ok() { wrong() } else { None }
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
    use sha1::Digest as _;
    use std::process::Command;

    const SHA1: usize = 20;

    fn why_not(text: &[u8], id: usize) -> Option<String> {
        judge(text, id).err()
    }

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
            assert_eq!(why_not(&text, SHA1), None, "version {version}");
            for (from, to, seen) in [
                ("AA/AA/file", "../../file", true),
                ("b/AAAA/config", "b/.git/config", true),
                ("c.txt", "d.txt", false),
            ] {
                let mut text = text.clone();
                let at = memchr::memmem::find(&text, from.as_bytes()).unwrap();
                text[at..at + to.len()].copy_from_slice(to.as_bytes());
                assert_eq!(why_not(&text, SHA1).is_some(), seen, "version {version}: {to}");
            }
        }
        assert!(why_not(b"DIRC", SHA1).is_some());
        assert!(why_not(b"DIRC\0\0\0\x05\0\0\0\0", SHA1).is_some());
    }

    #[test]
    fn extensions_end_where_the_file_does() {
        let text = index("2", &["a", "b"]);
        let hash = text.len() - SHA1;
        let with = |extra: &[u8], cut: usize| {
            let mut text = text.clone();
            text.splice(hash..hash, extra.iter().copied());
            text.truncate(text.len() - cut);
            why_not(&text, SHA1).is_some()
        };
        assert!(!with(b"", 0) && !with(b"XXXX\0\0\0\x04four", 0) && !with(b"XXXX\0\0\0\0", 0));
        assert!(with(b"XXXX\0\0\0\x05four", 0) && with(b"XXXX\x10\0\0\0four", 0), "beyond the end");
        assert!(with(b"JUNK", 0) && with(b"XXXX\0\0\0\x04four", SHA1) && with(b"", 1), "something is left");
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
        assert_eq!(shared(&read(), SHA1), None);
        git(&["update-index", "--split-index"]);
        let name = shared(&read(), SHA1).unwrap();
        let text = std::fs::read(dir.path().join(".git").join(name)).unwrap();
        let mut names = Vec::new();
        entries(&text, SHA1, |entry| names.push(entry.name.to_vec())).unwrap();
        assert_eq!(names, [b"a"]);
        // One that changed has no name of its own.
        std::fs::write(dir.path().join("a"), "other").unwrap();
        git(&["add", "-A"]);
        assert_eq!(why_not(&read(), SHA1), None);
    }

    /// An entry of version 2 whose flags say this, with this behind them.
    fn entry(flags: u16, rest: &[u8], length: usize) -> Vec<u8> {
        let mut entry = [&[0; 24][..], &0o100_644_u32.to_be_bytes(), &[0; 12], &[7; SHA1]].concat();
        entry.extend(flags.to_be_bytes());
        entry.extend(rest);
        entry.resize((62 + length + 8) & !7, b'x');
        entry
    }

    #[test]
    fn names_that_git_alone_would_read_are_seen() {
        let whole = |count: u32, entries: &[Vec<u8>]| {
            let mut text = [&b"DIRC\0\0\0\x02"[..], &count.to_be_bytes(), &entries.concat()].concat();
            text.extend(sha1::Sha1::digest(&text));
            text
        };
        let outside = b"../../.profile";
        let plain = entry(14, &[&outside[..], b"\0"].concat(), 14);
        assert!(why_not(&whole(1, std::slice::from_ref(&plain)), SHA1).unwrap().contains("it names"));
        // The first says that it is long, and ends at once.
        let decoy = [&b"!\0"[..], &[b'x'; 60], &entry(1, b"b\0", 1), &[0; 80]].concat();
        assert!(why_not(&whole(2, &[entry(200, &decoy, 200), plain.clone()]), SHA1).is_some());
        // More flags, of which this version knows nothing.
        let extended = entry(0x4000 | 14, &[&[0x20, 0][..], outside, b"\0"].concat(), 16);
        assert!(why_not(&whole(1, &[extended]), SHA1).is_some());
        // The last name ends where the file does: git finds a zero behind it.
        let cut = whole(1, std::slice::from_ref(&plain));
        assert!(why_not(&cut[..12 + 62 + 14], SHA1).is_some());
        // No end at all.
        assert!(why_not(&whole(2, &[entry(200, &[b'x'; 210], 200), plain]), SHA1).is_some());
    }

    #[test]
    fn every_index_is_read_as_git_reads_it() {
        let names = ["AA/AA/file", "a", "b/AAAA/config", "b/AAAA/hooks", "c.txt"];
        let dir = tempfile::tempdir().unwrap();
        assert!(Command::new("git").args(["init", "-q"]).arg(dir.path()).status().unwrap().success());
        let place = dir.path().join(".git/index");
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = |most: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % most
        };
        let mut agreed = 0;
        for version in ["2", "3", "4"] {
            let text = index(version, &names);
            for _ in 0..150 {
                let mut text = text[..text.len() - SHA1].to_vec();
                for _ in 0..=next(3) {
                    // Flags and lengths are what matters.
                    let at = if next(2) == 0 { next(text.len()) } else { 12 + 60 + next(4) };
                    text[at] = [0, 1, b'/', b'.', 0x40, 0x20, 0xff, next(256) as u8][next(8)];
                }
                if next(4) == 0 {
                    text.truncate(next(text.len()));
                }
                text.extend(sha1::Sha1::digest(&text));
                std::fs::write(&place, &text).unwrap();
                let listed = Command::new("git").arg("-C").arg(dir.path()).args(["ls-files", "-z"]).output().unwrap();
                let mut read = Vec::new();
                let all = entries(&text, SHA1, |entry| read.extend([entry.name, b"\0"].concat()));
                if listed.status.success() && why_not(&text, SHA1).is_none() {
                    assert!(all.is_ok());
                    assert_eq!(read.escape_ascii().to_string(), listed.stdout.escape_ascii().to_string());
                    agreed += 1;
                }
            }
        }
        assert!(agreed > 50, "{agreed}");
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
        assert_eq!(why_not(&text, SHA1), None);
        for at in [table + 12, table + 16, table + 20, text.len() - 20 - 32 + 8] {
            let mut changed = text.clone();
            changed[at + 3] ^= 8;
            assert!(why_not(&changed, SHA1).is_some(), "{at}");
        }
    }
}
