//! A layout that is made with the first thing that goes into it, so that a command
//! that fails before leaves no empty store.

use std::io::Read;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;

use super::layout::{Layout, missing_blob};
use super::{Content, Referrers, Store};
use crate::digest::Digest;
use crate::oci::{Blobs, Descriptor};

/// The store that will be in a folder; the one that is there, as soon as there is one.
#[derive(Debug)]
pub struct UnmadeLayout {
    root: PathBuf,
    made: OnceLock<Layout>,
}

impl UnmadeLayout {
    /// Makes nothing yet.
    ///
    /// # Errors
    /// When the folder holds something else.
    pub fn new(root: PathBuf) -> Result<Self> {
        Layout::require_room(&root)?;
        Ok(UnmadeLayout { root, made: OnceLock::new() })
    }

    /// Another publisher may have made it meanwhile.
    fn there(&self) -> Result<Option<&Layout>> {
        if self.made.get().is_none() && self.root.join("oci-layout").exists() {
            let opened = Layout::open(self.root.clone())?;
            return Ok(Some(self.made.get_or_init(|| opened)));
        }
        Ok(self.made.get())
    }

    fn layout(&self) -> Result<&Layout> {
        if let Some(layout) = self.there()? {
            return Ok(layout);
        }
        let made = Layout::create(self.root.clone())?;
        Ok(self.made.get_or_init(|| made))
    }
}

impl Blobs for UnmadeLayout {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match self.there()? {
            Some(layout) => layout.open(descriptor),
            None => Err(missing_blob(&self.root, &descriptor.digest).into()),
        }
    }
}

impl Store for UnmadeLayout {
    fn resolve(&self, tag: &str) -> Result<Option<Descriptor>> {
        self.there()?.map_or(Ok(None), |layout| layout.resolve(tag))
    }

    fn tags(&self) -> Result<Vec<(String, Option<Descriptor>)>> {
        self.there()?.map_or(Ok(Vec::new()), Store::tags)
    }

    fn entries(&self) -> Result<Vec<Descriptor>> {
        self.there()?.map_or(Ok(Vec::new()), Store::entries)
    }

    fn mark(&self, before: Option<&str>) -> Result<String> {
        self.there()?.map_or(Ok(String::new()), |layout| layout.mark(before))
    }

    fn find(&self, digest: &Digest) -> Result<Descriptor> {
        match self.there()? {
            Some(layout) => layout.find(digest),
            None => Err(missing_blob(&self.root, digest).into()),
        }
    }

    fn contains(&self, descriptor: &Descriptor) -> Result<bool> {
        self.there()?.map_or(Ok(false), |layout| layout.contains(descriptor))
    }

    fn put(&self, descriptor: &Descriptor, content: Content<'_>) -> Result<()> {
        self.layout()?.put(descriptor, content)
    }

    fn tag(&self, tag: &str, descriptor: &Descriptor, expected: Option<Option<&Digest>>) -> Result<bool> {
        self.layout()?.tag(tag, descriptor, expected)
    }

    fn untag(&self, tag: &str, expected: &Digest) -> Result<bool> {
        self.there()?.map_or(Ok(false), |layout| layout.untag(tag, expected))
    }

    fn forget(&self, manifest: &Digest) -> Result<()> {
        self.there()?.map_or(Ok(()), |layout| layout.forget(manifest))
    }

    fn attach(&self, subject: &Digest, manifests: &[Descriptor]) -> Result<()> {
        self.layout()?.attach(subject, manifests)
    }

    fn referrers(&self, subject: &Digest) -> Result<Referrers> {
        self.there()?.map_or_else(|| Ok(Referrers::default()), |layout| layout.referrers(subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media;

    #[test]
    fn a_store_is_made_with_the_first_thing_that_goes_into_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/store");
        let store = UnmadeLayout::new(root.clone()).unwrap();
        let blob = Descriptor::of(media::MANIFEST, b"{}");
        assert!(store.resolve("x").unwrap().is_none() && store.tags().unwrap().is_empty());
        assert!(!store.contains(&blob).unwrap() && store.open(&blob).is_err() && store.find(&blob.digest).is_err());
        assert!(!store.untag("x", &blob.digest).unwrap());
        assert!(!dir.path().join("a").exists());
        store.put(&blob, &|| Ok(Box::new(&b"{}"[..]))).unwrap();
        assert!(store.contains(&blob).unwrap() && Layout::open(root).unwrap().contains(&blob).unwrap());
    }

    #[test]
    fn a_store_that_somebody_else_makes_meanwhile_is_the_same_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let [one, other] = [(); 2].map(|()| UnmadeLayout::new(root.clone()).unwrap());
        let blob = Descriptor::of(media::MANIFEST, b"{}");
        one.put(&blob, &|| Ok(Box::new(&b"{}"[..]))).unwrap();
        one.tag("x", &blob, None).unwrap();
        assert_eq!(other.resolve("x").unwrap().map(|found| found.digest), Some(blob.digest));
        assert!(!other.tag("x", &Descriptor::of(media::MANIFEST, b"[]"), Some(None)).unwrap());
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("precious"), "x").unwrap();
        let refused = UnmadeLayout::new(dir.path().to_owned()).unwrap_err();
        assert!(format!("{refused:#}").contains("neither empty nor an OCI image layout"), "{refused:#}");
    }
}
