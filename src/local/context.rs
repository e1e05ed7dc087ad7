//! The context of a build: what a Dockerfile may copy from.
//!
//! Invariants: somebody else chose what lies there. It is read beneath one
//! descriptor and through no link, links are copied as links, and an engine sees
//! only a copy that holds what the digest says. Git's folder is no part of it: it
//! is another in each clone, and holds what nobody meant to put into an image.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{Dir, FileType};

use super::engine;
use super::found::Counted;
use super::ignore::Ignored;
use crate::digest::{Digest, Hashed, Hasher};
use crate::disk::beneath::Beneath;
use crate::error::{failure, not_found, policy, usage};

/// Files and folders of one context.
const MOST: usize = 1_000_000;

/// Bytes of a Dockerfile, or of a list of what is ignored.
const MAX_TEXT: u64 = 1 << 20;

/// What a build reads.
#[derive(Debug)]
pub struct BuildContext {
    beneath: Beneath,
    /// Where it begins, below the root.
    from: PathBuf,
    dockerfile: Vec<u8>,
    /// The list of what is ignored stands beside the Dockerfile; the one in the
    /// context does not count.
    superseded: bool,
    entries: BTreeMap<PathBuf, ContextEntry>,
}

#[derive(Debug, PartialEq, Eq)]
enum ContextEntry {
    Folder,
    File { digest: Digest, size: u64, executable: bool },
    Link(Vec<u8>),
}

/// Told each file that is copied: its path below the root, and what it holds.
pub type FileSeen<'a> = &'a mut dyn FnMut(&Path, &mut dyn Read) -> Result<()>;

impl BuildContext {
    /// Reads the Dockerfile and everything in the context that is not ignored; both
    /// are named from `root`.
    ///
    /// # Errors
    /// When one of them is not there, or leads out through a link.
    pub fn read(root: &Path, dockerfile: &Path, context: &Path, counted: Counted<'_>) -> Result<Self> {
        let beneath = Beneath::open(root)?;
        let missing = || {
            not_found(format!("there is no {}", root.join(dockerfile).display()))
                .hint("toolchain.build.dockerfile says where it is, from the project's root")
        };
        let text = beneath.read(dockerfile, MAX_TEXT)?.ok_or_else(missing)?;
        let mut own = dockerfile.as_os_str().to_owned();
        own.push(".dockerignore");
        let beside = beneath.read(Path::new(&own), MAX_TEXT)?;
        let superseded = beside.is_some();
        let (list, name) = match beside {
            Some(list) => (Some(list), PathBuf::from(own)),
            None => (beneath.read(&context.join(".dockerignore"), MAX_TEXT)?, context.join(".dockerignore")),
        };
        let list = String::from_utf8_lossy(&list.unwrap_or_default()).into_owned();
        let ignored = Ignored::parse(&list, &name.display().to_string())?;
        let mut found =
            BuildContext { beneath, from: context.into(), dockerfile: text, superseded, entries: BTreeMap::new() };
        found.walk(&ignored, counted)?;
        Ok(found)
    }

    /// Reads everything in a folder that is named from `root`, for a program that
    /// follows what lies there.
    ///
    /// # Errors
    /// When it is not there, or leads out through a link; when a link lies in it.
    pub fn folder(root: &Path, folder: &Path, counted: Counted<'_>) -> Result<Self> {
        let (beneath, nothing) = (Beneath::open(root)?, Ignored::parse("", "")?);
        let (dockerfile, entries) = (Vec::new(), BTreeMap::new());
        let mut found = BuildContext { beneath, from: folder.into(), dockerfile, superseded: false, entries };
        found.walk(&nothing, counted)?;
        let is_link = |entry: &ContextEntry| matches!(entry, ContextEntry::Link(_));
        if let Some((path, _)) = found.entries.iter().find(|(_, entry)| is_link(entry)) {
            return Err(policy(format!("{} is a link", folder.join(path).display()))
                .hint("put a file or a folder in its place")
                .into());
        }
        Ok(found)
    }

    /// Names everything in it, the Dockerfile too. Times and owners do not count, of
    /// modes only whether a file can be run: they are others in each clone.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        add(&self.dockerfile);
        for (path, entry) in &self.entries {
            add(path.as_os_str().as_bytes());
            match entry {
                ContextEntry::Folder => add(b"folder"),
                ContextEntry::Link(target) => {
                    add(b"link");
                    add(target);
                }
                ContextEntry::File { digest, executable, .. } => {
                    add(if *executable { b"program" } else { b"file" });
                    add(digest.as_bytes());
                }
            }
        }
        hasher.finish()
    }

    /// What the Dockerfile says.
    pub fn dockerfile(&self) -> &[u8] {
        &self.dockerfile
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        let size = |entry: &ContextEntry| if let ContextEntry::File { size, .. } = entry { *size } else { 0 };
        self.entries.values().map(size).sum()
    }

    /// Copies it into an empty folder of ours: the Dockerfile, and the context beside
    /// it; where each is.
    ///
    /// # Errors
    /// When a file is another than it was, or `seen` refuses one.
    pub fn copy_to(&self, folder: &Path, seen: FileSeen<'_>, counted: Counted<'_>) -> Result<(PathBuf, PathBuf)> {
        let (dockerfile, context) = (folder.join("Dockerfile"), folder.join("context"));
        fs::write(&dockerfile, &self.dockerfile).context("cannot copy the Dockerfile")?;
        fs::create_dir(&context).context("cannot copy the context")?;
        self.lay(&context, seen, counted)?;
        self.link(&context)?;
        Ok((dockerfile, context))
    }

    /// Copies folders and files into a folder of ours, to the place below that they have
    /// below the root. What is there already is what lies there. Links come after the
    /// files of all that is copied there ([`BuildContext::link_below`]).
    ///
    /// # Errors
    /// As [`BuildContext::copy_to`].
    pub fn copy_below(&self, folder: &Path, seen: FileSeen<'_>, counted: Counted<'_>) -> Result<()> {
        let place = folder.join(&self.from);
        fs::create_dir_all(&place).context("cannot copy the context")?;
        self.lay(&place, seen, counted)
    }

    /// The links of what was copied.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn link_below(&self, folder: &Path) -> Result<()> {
        self.link(&folder.join(&self.from))
    }

    /// How many files and folders it has.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    fn lay(&self, context: &Path, seen: FileSeen<'_>, counted: Counted<'_>) -> Result<()> {
        let stale = |path: &Path| self.superseded && path == Path::new(".dockerignore");
        for (path, entry) in self.entries.iter().filter(|(path, _)| !stale(path)) {
            let to = context.join(path);
            if to.symlink_metadata().is_ok() {
                continue;
            }
            let wrong = || format!("cannot copy {} for the build", self.from.join(path).display());
            match entry {
                ContextEntry::Folder => fs::create_dir(&to).with_context(wrong)?,
                ContextEntry::File { digest, executable, .. } => {
                    self.copy(path, &to, digest, *executable, counted).with_context(wrong)?;
                    let mut copy = File::open(&to).with_context(wrong)?;
                    seen(&self.from.join(path), &mut copy)?;
                }
                ContextEntry::Link(_) => {}
            }
        }
        Ok(())
    }

    /// Last: nothing is written where a link could lead.
    fn link(&self, context: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            if let ContextEntry::Link(target) = entry
                && context.join(path).symlink_metadata().is_err()
            {
                let target = std::ffi::OsString::from_vec(target.clone());
                symlink(target, context.join(path)).with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn copy(&self, path: &Path, to: &Path, digest: &Digest, executable: bool, counted: Counted<'_>) -> Result<()> {
        let from = self.from.join(path);
        let mut source = self.beneath.file(&from).map_err(|miss| self.beneath.refusal(&from, miss))?;
        let modified = source.metadata()?.modified()?;
        let mut hashed = Hashed::new(File::create_new(to)?);
        engine::copy(&mut source, &mut hashed, counted)?;
        let (file, found, _) = hashed.finish();
        if found != *digest {
            return Err(failure("it changed while it was read").hint("try again when nothing writes to it").into());
        }
        file.set_permissions(fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        // What makes things compares times.
        file.set_modified(modified)?;
        Ok(())
    }

    fn walk(&mut self, ignored: &Ignored, counted: Counted<'_>) -> Result<()> {
        let mut pending = vec![PathBuf::new()];
        while let Some(folder) = pending.pop() {
            let place = self.from.join(&folder);
            let open = self.beneath.list(&place).map_err(|errno| unreadable(&place, errno))?;
            for entry in Dir::read_from(open).with_context(|| format!("cannot list {}", place.display()))? {
                let entry = entry.with_context(|| format!("cannot list {}", place.display()))?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b".." | b".git" | b".containerignore") {
                    continue;
                }
                let path = folder.join(std::ffi::OsStr::from_bytes(name));
                let out = ignored.has(path.as_os_str().as_bytes());
                self.take(&path, out, ignored, &mut pending, counted)?;
                if self.entries.len() > MOST {
                    return Err(usage(format!("the context of the build has more than {MOST} files"))
                        .hint("leave out what it does not need, in .dockerignore")
                        .into());
                }
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        path: &Path,
        out: bool,
        ignored: &Ignored,
        pending: &mut Vec<PathBuf>,
        counted: Counted<'_>,
    ) -> Result<()> {
        let place = self.from.join(path);
        // What is gone by now is gone.
        let Some(stat) = self.beneath.stat(&place) else { return Ok(()) };
        let entry = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                if !out || ignored.brings_back() {
                    pending.push(path.to_owned());
                }
                ContextEntry::Folder
            }
            _ if out => return Ok(()),
            FileType::Symlink => match self.beneath.link(&place) {
                Some(target) => ContextEntry::Link(target),
                None => return Ok(()),
            },
            FileType::RegularFile => {
                let mut file = self.beneath.file(&place).map_err(|miss| self.beneath.refusal(&place, miss))?;
                let mut hashed = Hashed::new(std::io::sink());
                engine::copy(&mut file, &mut hashed, counted)
                    .with_context(|| format!("cannot read {}", place.display()))?;
                let (_, digest, size) = hashed.finish();
                ContextEntry::File { digest, size, executable: stat.st_mode & 0o100 != 0 }
            }
            // Pipes, sockets and devices hold nothing that could be copied.
            _ => return Ok(()),
        };
        if out {
            return Ok(());
        }
        // A folder that is left out is there all the same for what comes back.
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            self.entries.entry(above.to_owned()).or_insert(ContextEntry::Folder);
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }
}

fn unreadable(place: &Path, errno: rustix::io::Errno) -> anyhow::Error {
    let shown = if place.as_os_str().is_empty() { "the project".to_owned() } else { place.display().to_string() };
    match errno {
        rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
            policy(format!("{shown} is no folder, or is reached through a link: it is no context of a build"))
                .hint("toolchain.build.context names a folder of the project")
                .into()
        }
        rustix::io::Errno::NOENT => not_found(format!("there is no folder {shown}"))
            .hint("toolchain.build.context names a folder of the project")
            .into(),
        other => anyhow::Error::from(other).context(format!("cannot list {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn read(root: &Path) -> Result<BuildContext> {
        BuildContext::read(root, Path::new("Dockerfile"), Path::new(""), &|_| {})
    }

    fn names(context: &BuildContext) -> Vec<String> {
        context.entries.keys().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn what_counts_is_in_the_digest_and_nothing_else() {
        let root = root(&[
            ("Dockerfile", "FROM scratch"),
            (".dockerignore", "*.log\nout\n!out/keep"),
            (".git/config", "[x]"),
            ("a.log", "1"),
            ("out/x", "1"),
            ("out/keep/y", "1"),
            ("src/main", "1"),
        ]);
        symlink("/etc/passwd", root.path().join("link")).unwrap();
        let before = read(root.path()).unwrap();
        assert_eq!(
            names(&before),
            [".dockerignore", "Dockerfile", "link", "out", "out/keep", "out/keep/y", "src", "src/main"]
        );
        let digest = || read(root.path()).unwrap().digest();
        for (path, text) in [("a.log", "2"), ("out/x", "2"), (".git/config", "[y]")] {
            fs::write(root.path().join(path), text).unwrap();
            assert_eq!(digest(), before.digest(), "{path}");
        }
        fs::set_permissions(root.path().join("src/main"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(digest(), before.digest());
        let mut seen = vec![before.digest()];
        let mut changed = |what: &str| {
            let now = digest();
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        fs::set_permissions(root.path().join("src/main"), fs::Permissions::from_mode(0o755)).unwrap();
        changed("a mode");
        fs::write(root.path().join("src/main"), "2").unwrap();
        changed("a file");
        fs::write(root.path().join("Dockerfile"), "FROM scratch\nENV A=1").unwrap();
        changed("the Dockerfile");
        fs::create_dir(root.path().join("empty")).unwrap();
        changed("a folder");
        fs::remove_file(root.path().join("link")).unwrap();
        symlink("/etc/group", root.path().join("link")).unwrap();
        changed("a link");
    }

    #[test]
    fn a_copy_is_what_was_read_or_none() {
        let root =
            root(&[("Dockerfile", "FROM scratch"), ("Dockerfile.dockerignore", "no"), ("no", "x"), ("d/f", "text")]);
        fs::write(root.path().join(".dockerignore"), "d").unwrap();
        symlink("../../outside", root.path().join("d/link")).unwrap();
        let context = read(root.path()).unwrap();
        let copy = |context: &BuildContext| {
            let to = tempfile::tempdir().unwrap();
            let mut seen = Vec::new();
            let mut look = |path: &Path, content: &mut dyn Read| {
                let mut text = String::new();
                content.read_to_string(&mut text)?;
                seen.push(format!("{} {text}", path.display()));
                Ok(())
            };
            context.copy_to(to.path(), &mut look, &|_| {}).map(|_| (to, seen))
        };
        let (to, seen) = copy(&context).unwrap();
        assert_eq!(seen, ["Dockerfile FROM scratch", "Dockerfile.dockerignore no", "d/f text"]);
        assert_eq!(fs::read_link(to.path().join("context/d/link")).unwrap(), Path::new("../../outside"));
        assert!(!to.path().join("context/no").exists() && !to.path().join("context/.dockerignore").exists());
        fs::write(root.path().join("d/f"), "other").unwrap();
        let error = copy(&context).err().unwrap();
        assert!(format!("{error:#}").contains("changed while it was read"), "{error:#}");
        // What has become a link meanwhile is not followed.
        fs::remove_file(root.path().join("d/f")).unwrap();
        symlink("/etc/passwd", root.path().join("d/f")).unwrap();
        assert!(copy(&context).is_err());
    }

    #[test]
    fn a_context_that_is_a_link_is_none() {
        let root = root(&[("Dockerfile", "FROM scratch"), ("d/x", "")]);
        symlink("/etc", root.path().join("out")).unwrap();
        let read = |context: &str| {
            let read = BuildContext::read(root.path(), Path::new("Dockerfile"), Path::new(context), &|_| {});
            format!("{:#}", read.err().unwrap())
        };
        assert!(read("out").contains("link"), "{}", read("out"));
        assert!(read("none").contains("no folder none"));
        fs::remove_file(root.path().join("Dockerfile")).unwrap();
        symlink("/etc/passwd", root.path().join("Dockerfile")).unwrap();
        assert!(read("d").contains("is a link"), "{}", read("d"));
    }
}
