//! A store in a folder: the OCI image layout 1.0.0, as `skopeo` and `umoci`
//! read and write it.
//!
//! Invariants: a blob is absent or whole, and never changes; `index.json`
//! changes only under an exclusive lock on the layout's folder, by rename.
//! Another account may have laid the folder: whatever is read or written in it
//! is reached beneath the folder that was opened, through no link.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::referrers::{List, referrers_tag};
use super::{Content, Referrers, Store};
use crate::digest::{Digest, Verified};
use crate::disk::beneath::Beneath;
use crate::disk::plain::Miss;
use crate::disk::{self, Durability};
use crate::error::{Fault, failure, integrity, not_found, unreachable, usage};
use crate::oci::{Blobs, Descriptor, Index, MAX_LAYOUT_INDEX, MAX_METADATA, REF_NAME, media, unwrap_io};

/// Blobs up to this size are hashed again before they are taken for stored, in
/// bytes.
const MAX_REHASHED: u64 = 16 << 20;

const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Upper bound for the file with the layout's version in bytes.
const MAX_MARKER: u64 = 4096;

/// How long another writer may take: the lock is held for a moment only.
const PATIENCE: Duration = Duration::from_secs(30);

/// An OCI image layout.
#[derive(Debug)]
pub struct Layout {
    root: PathBuf,
    folder: Beneath,
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
        disk::require_own_link(&root)?;
        if !root.exists() {
            return Err(missing("the folder does not exist").into());
        }
        if !root.is_dir() {
            return Err(missing("it is no folder").into());
        }
        let folder = Beneath::open(&root)?;
        Self::within(folder, root)
    }

    /// The layout in a folder that is open already, for reading; `root` is where it is.
    ///
    /// # Errors
    /// As [`Layout::open`].
    pub fn within(folder: Beneath, root: PathBuf) -> Result<Self> {
        let missing = |what: &str| {
            not_found(format!("there is no store at {}: {what}", root.display()))
                .hint("check the path after oci:, or publish a task to create the store")
        };
        let Some(marker) = folder.read(Path::new("oci-layout"), MAX_MARKER)? else {
            return Err(missing("the folder is not an OCI image layout").into());
        };
        let version = serde_json::from_slice::<serde_json::Value>(&marker).ok();
        let version = version.as_ref().and_then(|value| value.get("imageLayoutVersion")?.as_str());
        if !version.is_some_and(|version| version.starts_with("1.")) {
            return Err(integrity(format!("{} has an unknown image layout version", root.display())).into());
        }
        Ok(Layout { root, folder })
    }

    /// Opens a layout, creating it first where there is none.
    ///
    /// # Errors
    /// When the folder cannot be written, or holds something else.
    pub fn create(root: PathBuf) -> Result<Self> {
        if root.join("oci-layout").exists() {
            return Self::open(root);
        }
        Self::require_room(&root)?;
        fs::create_dir_all(&root).with_context(|| format!("cannot create the store {}", root.display()))?;
        let layout = Layout { folder: Beneath::open(&root)?, root };
        layout.make_blob_folder()?;
        let _lock = layout.lock()?;
        if layout.folder.stat(Path::new("index.json")).is_none() {
            layout.write_index(&Index {
                schema_version: 2,
                media_type: Some(media::INDEX.into()),
                ..Index::default()
            })?;
        }
        // The marker comes last: with it the layout is complete.
        layout.write("oci-layout", MARKER.as_bytes())?;
        Ok(layout)
    }

    /// Refuses a folder in which no layout can be made.
    ///
    /// # Errors
    /// When it holds something else.
    pub(super) fn require_room(root: &Path) -> Result<()> {
        disk::require_own_link(root)?;
        if !holds_something_else(root) {
            return Ok(());
        }
        let refused = format!("{} is neither empty nor an OCI image layout", root.display());
        Err(usage(refused).hint("name another folder after oci:").into())
    }

    fn blob_path(digest: &Digest) -> PathBuf {
        Path::new("blobs/sha256").join(digest.hex())
    }

    fn index(&self) -> Result<Index> {
        let shown = || self.root.join("index.json").display().to_string();
        let bytes = self.folder.read(Path::new("index.json"), MAX_LAYOUT_INDEX)?;
        let bytes = bytes.ok_or_else(|| integrity(format!("{} is missing", shown())))?;
        Index::parse_layout(&bytes).with_context(|| format!("cannot use {}", shown()))
    }

    fn write_index(&self, index: &Index) -> Result<()> {
        self.write("index.json", &index.to_bytes()?)
    }

    /// In the layout's own folder, which is not made again.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.require_there()?;
        let place = self.folder.place(Path::new(name))?;
        disk::rewrite_file(place.path(), bytes, Durability::Flushed)
            .with_context(|| format!("cannot write {}", self.root.join(name).display()))
    }

    /// What is written into a folder that was moved away would be lost to those
    /// who look where it was.
    fn require_there(&self) -> Result<(), Fault> {
        if self.folder.is_still_there() {
            return Ok(());
        }
        Err(failure(format!("the store {} was moved away meanwhile", self.root.display()))
            .hint("put it back, or name the store where it is now"))
    }

    /// Not the layout's own folder: one that was removed meanwhile is not made
    /// again.
    fn make_blob_folder(&self) -> Result<()> {
        // As open to others as the umask lets it be: people may share a store.
        for folder in ["blobs", "blobs/sha256"] {
            self.folder.make_folder_for(Path::new(folder), 0o777)?;
        }
        // Each of them is one, and no link to one.
        self.folder.place(Path::new("blobs/sha256/x")).map(drop)
    }

    /// Whether a blob is what it is named after. Of large ones the length has to
    /// say: whoever reads them hashes them.
    fn is_sound(&self, descriptor: &Descriptor) -> bool {
        if descriptor.size > MAX_REHASHED {
            return true;
        }
        let bytes = self.folder.read(&Self::blob_path(&descriptor.digest), MAX_REHASHED);
        bytes.is_ok_and(|bytes| bytes.is_some_and(|bytes| Digest::of(&bytes) == descriptor.digest))
    }

    fn list(&self, index: &Index, tag: &str) -> Result<Option<List>> {
        let Some(entry) = index.manifests.iter().find(|entry| tag_of(entry) == Some(tag)) else { return Ok(None) };
        let list = List::parse(&self.read_small(entry, MAX_METADATA)?);
        Ok(Some(list.with_context(|| format!("the tag {tag} of {} is in use by something else", self.root.display()))?))
    }

    /// Other writers wait, as long as one may take; readers never do.
    fn lock(&self) -> Result<File> {
        let folder = self.folder.again().with_context(|| format!("cannot open {}", self.root.display()))?;
        let taken = disk::lock::exclusive_within(&folder, PATIENCE);
        if !taken.with_context(|| format!("cannot lock {}", self.root.display()))? {
            let held =
                format!("another program has held the store {} for {} s", self.root.display(), PATIENCE.as_secs());
            return Err(unreachable(held).hint("see who it is with: lslocks, or fuser").into());
        }
        Ok(folder)
    }

    /// The size of a blob that is there as a plain file.
    fn size_of(&self, digest: &Digest) -> Option<u64> {
        let stat = self.folder.stat(&Self::blob_path(digest))?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile;
        is_file.then(|| stat.st_size.unsigned_abs())
    }
}

impl Blobs for Layout {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        let path = Self::blob_path(&descriptor.digest);
        match self.folder.file(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(Miss::Absent) => Err(missing_blob(&self.root, &descriptor.digest).into()),
            Err(miss) => Err(self.folder.refusal(&path, miss)),
        }
    }
}

pub(super) fn missing_blob(root: &Path, digest: &Digest) -> Fault {
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

    fn entries(&self) -> Result<Vec<Descriptor>> {
        Ok(self.index()?.manifests)
    }

    fn mark(&self, _: Option<&str>) -> Result<String> {
        let bytes = self.folder.read(Path::new("index.json"), MAX_LAYOUT_INDEX)?.unwrap_or_default();
        Ok(Digest::of(&bytes).to_string())
    }

    fn find(&self, digest: &Digest) -> Result<Descriptor> {
        if let Some(entry) = self.index()?.manifests.into_iter().find(|entry| entry.digest == *digest) {
            return Ok(entry);
        }
        // A platform's manifest stands in no index of the layout itself.
        let size = self.size_of(digest).ok_or_else(|| missing_blob(&self.root, digest))?;
        let mut descriptor = Descriptor::of(media::MANIFEST, b"");
        (descriptor.digest, descriptor.size) = (*digest, size);
        Ok(descriptor)
    }

    fn contains(&self, descriptor: &Descriptor) -> Result<bool> {
        // By length as well, so that a blob cut short by a foreign writer is replaced.
        Ok(self.size_of(&descriptor.digest) == Some(descriptor.size))
    }

    fn put(&self, descriptor: &Descriptor, content: Content<'_>) -> Result<()> {
        if self.contains(descriptor)? && self.is_sound(descriptor) {
            return Ok(());
        }
        let context = || format!("cannot store {} in {}", descriptor.digest, self.root.display());
        self.require_there().with_context(context)?;
        self.make_blob_folder().with_context(context)?;
        let path = self.folder.place(&Self::blob_path(&descriptor.digest)).with_context(context)?;
        // Never a foreign name among the blobs, where it needs one meanwhile.
        let beside = self.folder.place(Path::new("index.json")).with_context(context)?;
        let mut file = disk::Unnamed::create_in(beside.folder()).with_context(context)?;
        let mut content = Verified::new(content()?, descriptor.size, descriptor.digest);
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = content.read(&mut buffer).map_err(unwrap_io).with_context(context)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).with_context(context)?;
        }
        self.require_there().with_context(context)?;
        file.publish(path.path(), Durability::Flushed).with_context(context)
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

/// How a folder is called by which somebody finds out whether a store can be made.
pub(super) const PROBE: &str = ".envctl-probe-";

/// Whether something stands there that is no layout and will be none. What a
/// creation that was cut short leaves, or another one that is under way has made
/// so far, is no reason to refuse.
fn holds_something_else(root: &Path) -> bool {
    let own = |name: &[u8]| {
        let tries = name.starts_with(b".tmp-") || name.starts_with(PROBE.as_bytes());
        name == b"blobs" || name == b"index.json" || tries
    };
    let foreign =
        |entry: std::io::Result<fs::DirEntry>| entry.is_ok_and(|entry| !own(entry.file_name().as_encoded_bytes()));
    let is_no_folder = root.exists() && !root.is_dir();
    let has_foreign = is_no_folder || fs::read_dir(root).is_ok_and(|mut entries| entries.any(foreign));
    // What came to its end meanwhile is a layout.
    has_foreign && !root.join("oci-layout").exists()
}

#[cfg(test)]
mod tests;
