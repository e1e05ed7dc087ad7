//! A store in a folder: the OCI image layout 1.0.0, as `skopeo` and `umoci`
//! read and write it.
//!
//! Invariants: a blob is absent or whole, and never changes; `index.json`
//! changes only under an exclusive lock on the layout's folder, by rename.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::referrers::{List, referrers_tag};
use super::{Content, Referrers, Store};
use crate::digest::{Digest, Verified};
use crate::disk::{self, Durability};
use crate::error::{Fault, integrity, not_found};
use crate::oci::{Blobs, Descriptor, Index, MAX_LAYOUT_INDEX, MAX_METADATA, REF_NAME, media, unwrap_io};

/// Blobs up to this size are hashed again before they are taken for stored, in
/// bytes.
const MAX_REHASHED: u64 = 16 << 20;

const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An OCI image layout.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Opens an existing layout.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is none.
    pub fn open(root: PathBuf) -> Result<Self> {
        let missing = |what: &str| {
            not_found(format!("there is no store at {}: {what}", root.display()))
                .hint("check the path after oci:, or publish a task to create the store")
        };
        let Some(marker) = disk::read_file(&root.join("oci-layout"), 4096)? else {
            let what =
                if root.exists() { "the folder is not an OCI image layout" } else { "the folder does not exist" };
            return Err(missing(what).into());
        };
        let version = serde_json::from_slice::<serde_json::Value>(&marker).ok();
        let version = version.as_ref().and_then(|value| value.get("imageLayoutVersion")?.as_str());
        if !version.is_some_and(|version| version.starts_with("1.")) {
            return Err(integrity(format!("{} has an unknown image layout version", root.display())).into());
        }
        Ok(Layout { root })
    }

    /// Opens a layout, creating it first where there is none.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds something else.
    pub fn create(root: PathBuf) -> Result<Self> {
        if root.join("oci-layout").exists() {
            return Self::open(root);
        }
        if holds_something_else(&root) {
            return Err(Fault::new(
                crate::error::Kind::Usage,
                format!("{} is neither empty nor an OCI image layout", root.display()),
            )
            .hint("name another folder after oci:")
            .into());
        }
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).with_context(|| format!("cannot create the store {}", root.display()))?;
        let layout = Layout { root };
        let _lock = layout.lock()?;
        if !layout.index_path().exists() {
            layout.write_index(&Index {
                schema_version: 2,
                media_type: Some(media::INDEX.into()),
                ..Index::default()
            })?;
        }
        // The marker comes last: with it the layout is complete.
        disk::write_file(&layout.root.join("oci-layout"), MARKER.as_bytes(), Durability::Flushed)?;
        Ok(layout)
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn index(&self) -> Result<Index> {
        let path = self.index_path();
        let bytes = disk::read_file(&path, MAX_LAYOUT_INDEX)?
            .ok_or_else(|| integrity(format!("{} is missing", path.display())))?;
        Index::parse_layout(&bytes).with_context(|| format!("cannot use {}", path.display()))
    }

    /// In the layout's own folder, which is not made again.
    fn write_index(&self, index: &Index) -> Result<()> {
        disk::rewrite_file(&self.index_path(), &serde_json::to_vec(index)?, Durability::Flushed)
    }

    /// Not the layout's own folder: one that was removed meanwhile is not made
    /// again.
    fn make_blob_folder(&self) -> Result<()> {
        for folder in ["blobs", "blobs/sha256"] {
            let folder = self.root.join(folder);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("cannot create {}", folder.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a blob is what it is named after. Of large ones the length has to
    /// say: whoever reads them hashes them.
    fn is_sound(&self, descriptor: &Descriptor) -> bool {
        if descriptor.size > MAX_REHASHED {
            return true;
        }
        let bytes = disk::read_file(&self.blob_path(&descriptor.digest), MAX_REHASHED);
        bytes.is_ok_and(|bytes| bytes.is_some_and(|bytes| Digest::of(&bytes) == descriptor.digest))
    }

    fn list(&self, index: &Index, tag: &str) -> Result<Option<List>> {
        let Some(entry) = index.manifests.iter().find(|entry| tag_of(entry) == Some(tag)) else { return Ok(None) };
        let list = List::parse(&self.read_small(entry, MAX_METADATA)?);
        Ok(Some(list.with_context(|| format!("the tag {tag} of {} is in use by something else", self.root.display()))?))
    }

    /// Other writers wait; readers never do.
    fn lock(&self) -> Result<File> {
        let folder = File::open(&self.root).with_context(|| format!("cannot open {}", self.root.display()))?;
        disk::lock::exclusive(&folder).with_context(|| format!("cannot lock {}", self.root.display()))?;
        Ok(folder)
    }
}

impl Blobs for Layout {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let path = self.blob_path(&descriptor.digest);
        match File::open(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(missing_blob(&self.root, &descriptor.digest).into())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

fn missing_blob(root: &Path, digest: &Digest) -> Fault {
    not_found(format!("{digest} is not in the store oci:{}", root.display()))
        .hint("the store is incomplete: publish the task again, or copy the missing blob into it")
}

impl Store for Layout {
    fn resolve(&self, tag: &str) -> Result<Option<Descriptor>> {
        Ok(self.index()?.manifests.into_iter().find(|entry| tag_of(entry) == Some(tag)))
    }

    fn tags(&self) -> Result<Vec<(String, Option<Descriptor>)>> {
        let entries = self.index()?.manifests.into_iter();
        Ok(entries.filter_map(|entry| Some((tag_of(&entry)?.to_owned(), Some(entry)))).collect())
    }

    fn find(&self, digest: &Digest) -> Result<Descriptor> {
        if let Some(entry) = self.index()?.manifests.into_iter().find(|entry| entry.digest == *digest) {
            return Ok(entry);
        }
        // A platform's manifest stands in no index of the layout itself.
        let size = fs::metadata(self.blob_path(digest)).map_err(|_| missing_blob(&self.root, digest))?.len();
        let mut descriptor = Descriptor::of(media::MANIFEST, b"");
        (descriptor.digest, descriptor.size) = (*digest, size);
        Ok(descriptor)
    }

    fn contains(&self, descriptor: &Descriptor) -> Result<bool> {
        // By length as well, so that a blob cut short by a foreign writer is replaced.
        Ok(fs::metadata(self.blob_path(&descriptor.digest)).is_ok_and(|meta| meta.len() == descriptor.size))
    }

    fn put(&self, descriptor: &Descriptor, content: Content<'_>) -> Result<()> {
        if self.contains(descriptor)? && self.is_sound(descriptor) {
            return Ok(());
        }
        let path = self.blob_path(&descriptor.digest);
        self.make_blob_folder()?;
        let context = || format!("cannot store {} in {}", descriptor.digest, self.root.display());
        // Never a foreign name among the blobs, where it needs one meanwhile.
        let mut file = disk::Unnamed::create_in(&self.root).with_context(context)?;
        let mut content = Verified::new(content()?, descriptor.size, descriptor.digest);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = content.read(&mut buffer).map_err(unwrap_io).with_context(context)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).with_context(context)?;
        }
        file.publish(&path, Durability::Flushed).with_context(context)
    }

    fn tag(&self, tag: &str, descriptor: &Descriptor, expected: Option<Option<&Digest>>) -> Result<bool> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let current = index.manifests.iter().find(|entry| tag_of(entry) == Some(tag)).map(|entry| entry.digest);
        if expected.is_some_and(|expected| expected != current.as_ref()) {
            return Ok(false);
        }
        if current == Some(descriptor.digest) {
            return Ok(true);
        }
        set_tag(&mut index, tag, descriptor);
        self.write_index(&index)?;
        Ok(true)
    }

    fn untag(&self, tag: &str, expected: &Digest) -> Result<bool> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let before = index.manifests.len();
        index.manifests.retain(|entry| tag_of(entry) != Some(tag) || entry.digest != *expected);
        if index.manifests.len() == before {
            return Ok(false);
        }
        self.write_index(&index)?;
        Ok(true)
    }

    fn forget(&self, manifest: &Digest) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let list = referrers_tag(manifest);
        // Its blobs stay: another writer may be about to use them again.
        index.manifests.retain(|entry| entry.digest != *manifest && tag_of(entry) != Some(&list));
        self.write_index(&index)
    }

    fn attach(&self, subject: &Digest, manifests: &[Descriptor]) -> Result<()> {
        let tag = referrers_tag(subject);
        let _lock = self.lock()?;
        let mut index = self.index()?;
        let mut list = self.list(&index, &tag)?.unwrap_or_default();
        // Without the artifact type, which the manifests have: widespread tools
        // refuse to copy an index with it byte for byte.
        let untyped = |manifest: &Descriptor| Descriptor { artifact_type: None, ..manifest.clone() };
        if !list.add(&manifests.iter().map(untyped).collect::<Vec<_>>())? {
            return Ok(());
        }
        let bytes = list.to_bytes()?;
        let descriptor = Descriptor::of(media::INDEX, &bytes);
        self.put(&descriptor, &|| Ok(Box::new(&bytes[..])))?;
        set_tag(&mut index, &tag, &descriptor);
        self.write_index(&index)
    }

    fn referrers(&self, subject: &Digest) -> Result<Referrers> {
        Ok(self.list(&self.index()?, &referrers_tag(subject))?.map(List::read).unwrap_or_default())
    }
}

fn set_tag(index: &mut Index, tag: &str, descriptor: &Descriptor) {
    index.manifests.retain(|entry| tag_of(entry) != Some(tag));
    let mut entry = descriptor.clone();
    entry.data = None;
    entry.annotations.insert(REF_NAME.into(), tag.into());
    index.manifests.push(entry);
}

fn tag_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(REF_NAME).map(String::as_str)
}

/// Whether something stands there that is no layout and will be none. What a
/// creation that was cut short leaves, or another one that is under way has made
/// so far, is no reason to refuse.
fn holds_something_else(root: &Path) -> bool {
    let own = |name: &[u8]| name == b"blobs" || name == b"index.json" || name.starts_with(b".tmp-");
    let foreign =
        |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| !own(entry.file_name().as_encoded_bytes()));
    let is_no_folder = root.exists() && !root.is_dir();
    let has_foreign = is_no_folder || fs::read_dir(root).is_ok_and(|mut entries| entries.any(foreign));
    // What came to its end meanwhile is a layout.
    has_foreign && !root.join("oci-layout").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path().join("store")).unwrap();
        (dir, layout)
    }

    #[test]
    fn one_that_went_away_while_it_was_written_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let (here, gone) = (dir.path().join("store"), dir.path().join("gone"));
        let store = Layout::create(here.clone()).unwrap();
        let index = store.index().unwrap();
        fs::rename(&here, &gone).unwrap();
        let blob = Descriptor::of(media::INDEX, b"hello");
        assert!(store.write_index(&index).is_err());
        assert!(store.put(&blob, &|| Ok(Box::new(&b"hello"[..]))).is_err());
        assert!(!here.exists());
        fs::rename(&gone, &here).unwrap();
        store.write_index(&index).unwrap();
    }

    #[test]
    fn blobs_are_checked_on_the_way_in() {
        let (_dir, store) = layout();
        let descriptor = Descriptor::of("text/plain", b"hello");
        assert!(store.put(&descriptor, &|| Ok(Box::new(&b"hellO"[..]))).is_err());
        assert!(store.put(&descriptor, &|| Ok(Box::new(&b"hello, world"[..]))).is_err());
        assert!(!store.contains(&descriptor).unwrap());
        assert_eq!(fs::read_dir(&store.root).unwrap().count(), 3, "no temporary file stays");
        store.put(&descriptor, &|| Ok(Box::new(&b"hello"[..]))).unwrap();
        assert_eq!(store.read_small(&descriptor, 10).unwrap(), b"hello");
    }

    #[test]
    fn tags_move_only_from_where_they_were_seen() {
        let (_dir, store) = layout();
        let (a, b) = (Descriptor::of(media::MANIFEST, b"a"), Descriptor::of(media::MANIFEST, b"b"));
        assert!(store.tag("t", &a, Some(None)).unwrap());
        assert!(!store.tag("t", &b, Some(None)).unwrap(), "somebody else was first");
        assert!(store.tag("t", &b, Some(Some(&a.digest))).unwrap());
        assert_eq!(store.resolve("t").unwrap().unwrap().digest, b.digest);
        assert_eq!(store.tags().unwrap().len(), 1);
    }

    #[test]
    fn a_store_that_another_one_is_making_is_nothing_else() {
        for _ in 0..200 {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("store");
            std::thread::scope(|scope| {
                let maker = scope.spawn(|| Layout::create(root.clone()).unwrap());
                while !maker.is_finished() {
                    assert!(!holds_something_else(&root));
                }
            });
        }
    }

    #[test]
    fn two_writers_lose_nothing() {
        let (dir, _) = layout();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let root = dir.path().join("store");
                scope.spawn(move || {
                    let store = Layout::create(root).unwrap();
                    for n in 0..10 {
                        let bytes = format!("{writer}-{n}");
                        let descriptor = Descriptor::of(media::MANIFEST, bytes.as_bytes());
                        store.put(&descriptor, &|| Ok(Box::new(bytes.as_bytes()))).unwrap();
                        assert!(store.tag(&format!("t-{bytes}"), &descriptor, None).unwrap());
                    }
                });
            }
        });
        assert_eq!(Layout::open(dir.path().join("store")).unwrap().tags().unwrap().len(), 40);
    }

    #[test]
    fn referrers_are_listed_and_nobody_s_are_lost() {
        let (dir, store) = layout();
        let subject = Descriptor::of(media::MANIFEST, b"subject");
        assert!(store.referrers(&subject.digest).unwrap().found.is_empty());
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (root, subject) = (dir.path().join("store"), &subject);
                scope.spawn(move || {
                    let store = Layout::open(root).unwrap();
                    for n in 0..10 {
                        let bytes = format!("{writer}-{n}");
                        let manifest = Descriptor::of(media::MANIFEST, bytes.as_bytes());
                        store.attach(&subject.digest, std::slice::from_ref(&manifest)).unwrap();
                        store.attach(&subject.digest, &[manifest]).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.referrers(&subject.digest).unwrap().found.len(), 40);
        assert_eq!(store.tags().unwrap().len(), 1, "one tag, however many refer");
    }

    #[test]
    fn a_tag_is_taken_away_from_where_it_was_seen() {
        let (_dir, store) = layout();
        let (a, b) = (Descriptor::of(media::MANIFEST, b"a"), Descriptor::of(media::MANIFEST, b"b"));
        for tag in ["t", "id"] {
            store.tag(tag, &a, None).unwrap();
        }
        store.attach(&a.digest, std::slice::from_ref(&b)).unwrap();
        assert!(!store.untag("t", &b.digest).unwrap(), "it points elsewhere");
        assert!(!store.untag("x", &a.digest).unwrap(), "there is none");
        assert!(store.untag("t", &a.digest).unwrap());
        assert_eq!(store.resolve("id").unwrap().unwrap().digest, a.digest, "the other tag stays");
        store.forget(&a.digest).unwrap();
        assert!(store.tags().unwrap().is_empty(), "with the list of what refers to it");
        store.forget(&a.digest).unwrap();
    }

    #[test]
    fn a_store_that_is_gone_is_not_made_again() {
        let (dir, store) = layout();
        fs::rename(dir.path().join("store"), dir.path().join("moved")).unwrap();
        let descriptor = Descriptor::of("text/plain", b"hello");
        assert!(store.put(&descriptor, &|| Ok(Box::new(&b"hello"[..]))).is_err());
        assert!(!dir.path().join("store").exists());
    }

    #[test]
    fn a_creation_that_was_cut_short_is_finished() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join(".tmp-x"), "{").unwrap();
        let store = Layout::create(dir.path().into()).unwrap();
        assert!(store.tags().unwrap().is_empty());
        fs::remove_file(dir.path().join("oci-layout")).unwrap();
        Layout::create(dir.path().into()).unwrap();
    }

    #[test]
    fn a_folder_that_is_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        assert!(Layout::create(dir.path().into()).is_err());
        assert!(Layout::open(dir.path().into()).unwrap_err().to_string().contains("not an OCI image layout"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
