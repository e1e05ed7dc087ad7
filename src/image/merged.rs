//! Files as the merged image shows them, before anything is mounted: what the layers
//! above hide is not seen, and links are followed through all layers, beneath the
//! image's root and never out of it.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

/// Links on the way to one file.
const MAX_LINKS: usize = 40;

/// Bytes of one file.
const MAX_FILE: u64 = 4 << 20;

/// A folder of the merged image: those of the layers that make it up, topmost first.
type MergedFolder = Vec<OwnedFd>;

/// The layers of an image.
pub(super) struct Merged {
    root: MergedFolder,
}

/// What stands under a name.
enum MergedEntry {
    Folder(MergedFolder),
    Link(Vec<u8>),
    File(OwnedFd),
}

impl Merged {
    /// The image whose layers these are, lowest first.
    pub(super) fn of(layers: &[PathBuf]) -> Self {
        let mut root = Vec::new();
        for layer in layers.iter().rev() {
            let Ok(folder) = rustix::fs::openat(CWD, layer, FOLDER, Mode::empty()) else { continue };
            let opaque = is_opaque(&folder);
            root.push(folder);
            if opaque {
                break;
            }
        }
        Merged { root }
    }

    /// A text file; empty where there is none.
    pub(super) fn text(&self, path: &str) -> String {
        let mut bytes = Vec::new();
        if let Some(file) = self.file(Path::new(path)) {
            let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn file(&self, path: &Path) -> Option<File> {
        let parts = |path: &[u8]| {
            let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
            names.map(<[u8]>::to_vec).rev().collect::<Vec<_>>()
        };
        // What is still to be walked, the next at the end; and the way so far.
        let mut ahead = parts(path.as_os_str().as_bytes());
        let mut way: Vec<MergedFolder> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                way.pop();
                continue;
            }
            match look(way.last().unwrap_or(&self.root), &name)? {
                MergedEntry::Folder(folder) => way.push(folder),
                MergedEntry::File(file) => return ahead.is_empty().then(|| file.into()),
                MergedEntry::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                    ahead.extend(parts(&target));
                }
            }
        }
        None
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a merged folder has under a name.
fn look(folder: &MergedFolder, name: &[u8]) -> Option<MergedEntry> {
    let name = CString::new(name).ok()?;
    let mut merged = MergedFolder::new();
    for layer in folder {
        let Ok(stat) = rustix::fs::statat(layer, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let Ok(found) = rustix::fs::openat(layer, &name, FOLDER, Mode::empty()) else { break };
            let opaque = is_opaque(&found);
            merged.push(found);
            if opaque {
                break;
            }
            continue;
        }
        // Below a folder anything else is hidden, and so is what lies below a whiteout.
        if !merged.is_empty() {
            break;
        }
        return match kind {
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(layer, &name, Vec::new()).ok()?;
                Some(MergedEntry::Link(target.into_bytes()))
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
                rustix::fs::openat(layer, &name, flags, Mode::empty()).ok().map(MergedEntry::File)
            }
            _ => None,
        };
    }
    (!merged.is_empty()).then_some(MergedEntry::Folder(merged))
}

fn is_opaque(folder: &impl AsFd) -> bool {
    let mut value = [0; 8];
    rustix::fs::fgetxattr(folder, "user.overlay.opaque", &mut value).is_ok_and(|length| &value[..length] == b"y")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Image(tempfile::TempDir, Vec<PathBuf>);

    impl Image {
        fn new() -> Self {
            // Where files have attributes of users.
            Image(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap(), Vec::new())
        }

        fn layer(&mut self, build: impl FnOnce(&Path)) {
            let layer = self.0.path().join(self.1.len().to_string());
            fs::create_dir(&layer).unwrap();
            build(&layer);
            self.1.push(layer);
        }

        fn sees(&self, path: &str) -> String {
            Merged::of(&self.1).text(path)
        }
    }

    fn write(layer: &Path, path: &str, text: &str) {
        let path = layer.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn whiteout(layer: &Path, path: &str) {
        fs::create_dir_all(layer.join(path).parent().unwrap()).unwrap();
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(CWD, layer.join(path), kind, Mode::empty(), 0).unwrap();
    }

    fn opaque(layer: &Path, path: &str) {
        fs::create_dir_all(layer.join(path)).unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(layer.join(path), "user.overlay.opaque", b"y", flags).unwrap();
    }

    #[test]
    fn a_link_leads_through_the_layers() {
        let mut image = Image::new();
        image.layer(|layer| write(layer, "usr/lib/passwd", "below"));
        image.layer(|layer| {
            fs::create_dir_all(layer.join("etc")).unwrap();
            symlink("../usr/lib/passwd", layer.join("etc/passwd")).unwrap();
        });
        assert_eq!(image.sees("etc/passwd"), "below");
        image.layer(|layer| write(layer, "usr/lib/passwd", "above"));
        assert_eq!(image.sees("etc/passwd"), "above");
        // The folder itself becomes a link.
        image.layer(|layer| symlink("/usr/lib", layer.join("etc")).unwrap());
        assert_eq!(image.sees("etc/passwd"), "above");
    }

    #[test]
    fn what_is_hidden_is_not_seen() {
        for hide in [
            (|layer: &Path| whiteout(layer, "etc")) as fn(&Path),
            |layer| whiteout(layer, "etc/passwd"),
            |layer| opaque(layer, "etc"),
            |layer| opaque(layer, "."),
            |layer| write(layer, "etc", "a file"),
        ] {
            let mut image = Image::new();
            image.layer(|layer| write(layer, "etc/passwd", "old"));
            image.layer(hide);
            assert_eq!(image.sees("etc/passwd"), "");
            image.layer(|layer| write(layer, "etc/group", "new"));
            assert_eq!((image.sees("etc/passwd").as_str(), image.sees("etc/group").as_str()), ("", "new"));
        }
    }

    #[test]
    fn no_link_leads_out_of_the_image() {
        let mut image = Image::new();
        let outside = image.0.path().join("outside");
        fs::write(&outside, "outside").unwrap();
        let deep = format!("{}{}", "../".repeat(30), outside.display());
        image.layer(|layer| {
            fs::create_dir_all(layer.join("etc")).unwrap();
            symlink(&outside, layer.join("etc/absolute")).unwrap();
            symlink(&deep, layer.join("etc/climbing")).unwrap();
            symlink("round", layer.join("etc/round")).unwrap();
            fs::create_dir(layer.join("etc/folder")).unwrap();
            rustix::fs::mknodat(CWD, layer.join("etc/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
            write(layer, "etc/file", "file");
        });
        for name in ["absolute", "climbing", "round", "folder", "pipe", "file/x", "none"] {
            assert_eq!(image.sees(&format!("etc/{name}")), "", "{name}");
        }
        assert_eq!(image.sees("../../etc/./file"), "file");
    }
}
