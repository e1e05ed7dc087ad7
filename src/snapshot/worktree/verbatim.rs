//! Files that git would not write as they are: a line end that the settings
//! would not give, say. Their content is in the tree as git converts it, and
//! once more as it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::error::integrity;
use crate::git::Git;
use crate::snapshot::checkout::scratch::ScratchRepo;
use crate::snapshot::contents::WantedFile;
use crate::snapshot::format::index::{Entry, Stat};
use crate::snapshot::lfs;
use crate::snapshot::paths::joined;
use crate::snapshot::tree::attributes::Conversions;
use crate::snapshot::tree::files::{self, TreeFile};
use crate::snapshot::wire::Verbatim;

/// Lines of larger contents are not counted, in bytes: whoever wrote the index chose
/// the objects, and each is held whole.
const MAX_COUNTED: usize = 64 << 20;

/// A file that may have a form of its own, and the sizes that it could have.
pub(in crate::snapshot) type VerbatimCandidate = (Entry, Sizes);

/// Files whose content git does not look at, because their times are as the
/// index has them, and which may be other than what git would write: attributes or
/// settings convert them, or did when they were written. Only sizes are compared.
///
/// # Errors
/// When the captured objects cannot be read.
pub(in crate::snapshot) fn candidates(
    scratch: &ScratchRepo,
    asked: Conversions,
    index: &[Entry],
) -> Result<Vec<VerbatimCandidate>> {
    let own = git2::Repository::open_bare(scratch.path())?;
    let odb = own.odb()?;
    let settled = |entry: &&Entry| {
        let is_other = entry.stage > 0 || entry.intent_to_add || entry.skip_worktree;
        entry.mode & 0o170_000 == 0o100_000 && !is_other
    };
    let sizes = |entry: &Entry| {
        let (size, _) = odb.read_header(entry.object).ok()?;
        if asked.conversion && size > MAX_COUNTED {
            Some(Sizes::unknown())
        } else if asked.conversion {
            odb.read(entry.object).ok().map(|object| Sizes::of(object.data()))
        } else {
            Some(Sizes::plain(size))
        }
    };
    let sized = index.iter().filter(settled).filter_map(|entry| Some((entry, sizes(entry)?)));
    // Other conversions change what no size tells.
    let sized = sized.filter(|(entry, sizes)| asked.conversion || !there(entry, sizes.plain));
    Ok(sized.map(|(entry, sizes)| (entry.clone(), sizes)).collect())
}

fn there(entry: &Entry, size: usize) -> bool {
    size as u32 == entry.stat.size
}

/// Those of the candidates that the snapshot's attributes do not explain.
///
/// # Errors
/// When git fails.
pub(in crate::snapshot) fn suspects(
    scratch: &ScratchRepo,
    git: &Git,
    asked: Conversions,
    candidates: Vec<VerbatimCandidate>,
) -> Result<Vec<Entry>> {
    let paths: Vec<&[u8]> = candidates.iter().map(|(entry, _)| &*entry.path).collect();
    let lfs = if asked.lfs { lfs::managed(scratch.git_as_restored(git), &paths)? } else { HashSet::new() };
    let rules = if asked.conversion { rules(scratch, git, &paths)? } else { HashMap::new() };
    let is_suspect = |entry: &Entry, sizes: &Sizes| {
        let size = match rules.get(&entry.path).unwrap_or(&LineEnds::Unspecified) {
            LineEnds::Other => return true,
            LineEnds::Crlf => sizes.with_cr,
            LineEnds::Text if asked.crlf => sizes.with_cr,
            LineEnds::AutoCrlf => sizes.guessed,
            LineEnds::Auto if asked.crlf => sizes.guessed,
            LineEnds::Unspecified if asked.guessed => sizes.guessed,
            LineEnds::Plain | LineEnds::Text | LineEnds::Auto | LineEnds::Unspecified => sizes.plain,
        };
        !there(entry, size)
    };
    let kept = candidates.iter().filter(|(entry, sizes)| !lfs.contains(&entry.path) && is_suspect(entry, sizes));
    Ok(kept.map(|(entry, _)| entry.clone()).collect())
}

/// How long a content is: as it is, with a carriage return in each line, and
/// with them only if git takes it for a text without any.
#[derive(Debug)]
pub(in crate::snapshot) struct Sizes {
    plain: usize,
    with_cr: usize,
    guessed: usize,
}

impl Sizes {
    fn plain(size: usize) -> Self {
        Sizes { plain: size, with_cr: size, guessed: size }
    }

    /// None that a file has: such a one is looked at.
    fn unknown() -> Self {
        Self::plain(usize::MAX)
    }

    /// As `gather_stats` of git's `convert.c` counts.
    fn of(content: &[u8]) -> Self {
        let (mut lines, mut returns, mut printable, mut others) = (0, 0, 0_usize, 0_usize);
        let mut before = 0;
        for byte in content {
            match byte {
                b'\n' => lines += usize::from(before != b'\r'),
                b'\r' => returns += 1,
                b'\t' | 0x08 | 0x0c | 0x1b | b' '..=0x7e | 0x80.. => printable += 1,
                // One of these is enough.
                0 => others = usize::MAX / 2,
                _ => others += 1,
            }
            before = *byte;
        }
        // The end of a file, once.
        if before == 0x1a {
            others -= 1;
        }
        let is_plain_text = returns == 0 && others <= printable >> 7;
        let (plain, with_cr) = (content.len(), content.len() + lines);
        Sizes { plain, with_cr, guessed: if is_plain_text { with_cr } else { plain } }
    }
}

/// What attributes say about the line ends of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnds {
    Unspecified,
    Plain,
    Crlf,
    /// A text, and nothing of its ends.
    Text,
    /// If it looks like a text.
    Auto,
    AutoCrlf,
    /// More than line ends, or nothing that is known.
    Other,
}

impl LineEnds {
    fn by(text: &[u8], eol: &[u8]) -> Self {
        match (text, eol) {
            (b"unset" | b"input", _) | (b"set" | b"auto" | b"unspecified", b"lf") => LineEnds::Plain,
            (b"set" | b"unspecified", b"crlf") => LineEnds::Crlf,
            (b"auto", b"crlf") => LineEnds::AutoCrlf,
            (b"set", _) => LineEnds::Text,
            (b"auto", _) => LineEnds::Auto,
            (b"unspecified", _) => LineEnds::Unspecified,
            _ => LineEnds::Other,
        }
    }
}

fn rules(scratch: &ScratchRepo, git: &Git, paths: &[&[u8]]) -> Result<HashMap<Vec<u8>, LineEnds>> {
    if paths.is_empty() {
        return Ok(HashMap::new());
    }
    let names = ["text", "eol", "crlf", "ident", "working-tree-encoding", "filter"];
    let printed = scratch.git_as_restored(git).args(["check-attr", "-z", "--stdin"]).args(names).run(&joined(paths));
    let printed = printed.context("cannot read the attributes")?;
    let fields: Vec<&[u8]> = printed.split(|byte| *byte == 0).collect();
    let mut rules = HashMap::new();
    // Three fields for each name: path, name, value.
    for group in fields.chunks_exact(3 * names.len()) {
        let value = |n: usize| group[3 * n + 2];
        let given = |n: usize| !matches!(value(n), b"unspecified" | b"unset");
        let rule = if (2..names.len()).any(given) { LineEnds::Other } else { LineEnds::by(value(0), value(1)) };
        rules.insert(group[0].to_vec(), rule);
    }
    Ok(rules)
}

/// The same as [`find`] for entries of the checkout's index.
///
/// # Errors
/// As [`find`].
pub(in crate::snapshot) fn find_settled(
    scratch: &ScratchRepo,
    git: &Git,
    asked: Conversions,
    mut entries: Vec<Entry>,
) -> Result<BTreeMap<Vec<u8>, git2::Oid>> {
    entries.retain(|entry| scratch.is_file(&entry.path));
    entries.iter_mut().for_each(|entry| entry.assume_unchanged = false);
    if entries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let index = scratch.path().join("index.settled");
    crate::snapshot::format::index::write(&index, &mut entries)?;
    find(scratch, git, asked, &index, &entries)
}

/// Compares what was captured, in the index file `index`, with what git would
/// write of it, and stores what differs. What is no file any more, or behind a
/// link, has no form of its own.
///
/// # Errors
/// When git fails, or a file cannot be read.
pub(in crate::snapshot) fn find(
    scratch: &ScratchRepo,
    git: &Git,
    asked: Conversions,
    index: &Path,
    entries: &[Entry],
) -> Result<BTreeMap<Vec<u8>, git2::Oid>> {
    let regular = entries.iter().filter(|entry| entry.mode & 0o170_000 == 0o100_000);
    let differ: Vec<&Entry> = if asked.conversion {
        let written = write(scratch, git, index, &regular.clone().map(|entry| &*entry.path).collect::<Vec<_>>())?;
        let at = |entry: &Entry| written.join(OsStr::from_bytes(&entry.path));
        let differs = |entry: &Entry| {
            let file = scratch.open(&entry.path).ok();
            file.is_some_and(|file| !same(&at(entry), file).unwrap_or(false))
        };
        regular.filter(|entry| differs(entry)).collect()
    } else {
        // What git changes when it reads and not when it writes gets shorter.
        let own = git2::Repository::open_bare(scratch.path())?;
        let odb = own.odb()?;
        let size = |entry: &Entry| odb.read_header(entry.object).map(|(size, _)| size as u64).ok();
        let there = |entry: &Entry| scratch.regular(&entry.path).map(|stat| stat.st_size as u64);
        regular.filter(|entry| there(entry).is_some_and(|there| Some(there) != size(entry))).collect()
    };
    let wanted: Vec<WantedFile<&Entry>> = differ
        .iter()
        .map(|entry| WantedFile { file: *entry, size: entry.stat.size.into(), is_change: false })
        .collect();
    let stored = scratch.contents.store(&wanted, |entry| scratch.open(&entry.path));
    let stored = stored.context("cannot store files as they are")?;
    Ok(differ.iter().map(|entry| entry.path.clone()).zip(stored).collect())
}

/// Lets git write these files of an index aside; the folder.
fn write(scratch: &ScratchRepo, git: &Git, index: &Path, paths: &[&[u8]]) -> Result<PathBuf> {
    let folder = scratch.path().join("written");
    if folder.exists() {
        crate::disk::remove::tree(&folder)?;
    }
    fs::create_dir(&folder)?;
    let mut prefix = OsString::from("--prefix=");
    prefix.push(&folder);
    prefix.push("/");
    let call =
        scratch.git_as_restored(git).env("GIT_INDEX_FILE", index).args(["checkout-index", "-q", "-z", "--stdin"]);
    call.args([prefix]).run(&joined(paths)).context("cannot see how git would write the files")?;
    Ok(folder)
}

/// Whether two files have the same content.
///
/// # Errors
/// When one cannot be read, or becomes shorter meanwhile.
pub(in crate::snapshot) fn same(written: &Path, mut b: fs::File) -> io::Result<bool> {
    let mut a = fs::File::open(written)?;
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let count = a.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..count])?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

/// Puts the contents in place of what git wrote.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] for a file that was not written, or a
/// content that is missing.
pub(in crate::snapshot) fn place(
    git: &Git,
    repo: &git2::Repository,
    root: &Path,
    verbatim: &[Verbatim],
    written: &mut [(TreeFile, Stat)],
) -> Result<()> {
    let mut places: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    if !verbatim.is_empty() {
        places.extend(written.iter().enumerate().map(|(n, (file, _))| (file.path.clone(), n)));
    }
    let odb = repo.odb()?;
    for wanted in verbatim {
        let place = places.get(&wanted.path.0).copied().filter(|n| written[*n].0.mode & 0o170_000 == 0o100_000);
        let place = place.ok_or_else(|| integrity(format!("the snapshot has no file {}", wanted.path)))?;
        let (file, stat) = &mut written[place];
        if !matches!(odb.read_header(wanted.object.0), Ok((_, git2::ObjectType::Blob))) {
            return Err(integrity(format!("the content of {} is missing", wanted.path)).into());
        }
        *stat = files::replace(repo, root, file, |new| files::copy_blob(git, repo, wanted.object.0, new))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_takes_for_text() {
        let sizes = |content: &[u8]| {
            let Sizes { plain, with_cr, guessed } = Sizes::of(content);
            (plain, with_cr - plain, guessed - plain)
        };
        assert_eq!(sizes(b"one\ntwo\n"), (8, 2, 2));
        assert_eq!(sizes(b"one\r\ntwo\n"), (9, 1, 0), "some ends are there already");
        assert_eq!(sizes(b"one\rtwo\n"), (8, 1, 0), "a return alone");
        assert_eq!(sizes(b"a\0\n"), (3, 1, 0));
        assert_eq!(sizes(b"\x01\n"), (2, 1, 0));
        assert_eq!(sizes(&[&[b'a'; 128][..], b"\x01\n"].concat()), (130, 1, 1), "one in 128");
        assert_eq!(sizes(b"dos\n\x1a"), (5, 1, 1), "the end of a file");
        assert_eq!(sizes(b""), (0, 0, 0));
    }

    #[test]
    fn what_attributes_say_of_line_ends() {
        let rule = |text: &str, eol: &str| LineEnds::by(text.as_bytes(), eol.as_bytes());
        assert_eq!(rule("unspecified", "unspecified"), LineEnds::Unspecified);
        assert_eq!(rule("set", "unspecified"), LineEnds::Text);
        assert_eq!(rule("unspecified", "crlf"), LineEnds::Crlf, "it is a text then");
        assert_eq!(rule("auto", "crlf"), LineEnds::AutoCrlf);
        assert_eq!(rule("auto", "lf"), LineEnds::Plain);
        assert_eq!(rule("unset", "crlf"), LineEnds::Plain);
        assert_eq!(rule("other", "lf"), LineEnds::Other);
    }
}
