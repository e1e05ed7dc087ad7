//! Where identities travel: an OCI image layout in a folder, or a repository
//! on a registry. Everything read from a store is checked against size and
//! digest by the reader.

mod artifact;
mod attachment;
mod beside;
mod catalog;
mod claims;
mod layout;
mod network;
mod open;
mod referrers;
mod registry;
mod tree;
mod unmade;

use std::io::Read;

use anyhow::Result;

use crate::digest::Digest;
use crate::oci::{Blobs, Descriptor};

pub use artifact::{Artifact, identity_tag, read, write};
pub use attachment::{Attachment, content_of, read_attachments, write_attachments};
pub use beside::{change_beside, read_beside};
pub use catalog::{Catalog, note_task};
pub use claims::{add_claim, read_claims};
pub use layout::Layout;
pub use network::{AuthFiles, Host, Proxies, RegistryNetwork};
pub use open::open;
pub use referrers::{Referrers, referrers_tag};
pub use registry::Registry;
pub use tree::{TreeArtifact, read_tree, write_tree};

/// Opens the content of a blob; again, when an upload was cut short.
pub type Content<'a> = &'a dyn Fn() -> Result<Box<dyn Read + Send + 'a>>;

/// One store. Reading needs nothing but [`Blobs`]; tags move atomically.
pub trait Store: Blobs {
    /// What a tag points at.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn resolve(&self, tag: &str) -> Result<Option<Descriptor>>;

    /// All tags, and what they point at where that costs nothing to know.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn tags(&self) -> Result<Vec<(String, Option<Descriptor>)>>;

    /// A word that is another one once something was published. `before` is the word of
    /// the last look, and so most looks cost one request.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn mark(&self, before: Option<&str>) -> Result<String>;

    /// The manifest or index with this digest, without its tag.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when it is not there.
    fn find(&self, digest: &Digest) -> Result<Descriptor>;

    /// Whether a blob is there already.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn contains(&self, descriptor: &Descriptor) -> Result<bool>;

    /// Stores a blob, checked against its descriptor on the way in.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when the content differs; nothing of
    /// it stays.
    fn put(&self, descriptor: &Descriptor, content: Content<'_>) -> Result<()>;

    /// Stores a blob that is small and most likely not there yet: asking first would
    /// cost as much as sending it.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn put_new(&self, descriptor: &Descriptor, content: Content<'_>) -> Result<()> {
        self.put(descriptor, content)
    }

    /// Takes a blob from another repository of the same registry, which need not
    /// be sent then; `false` where that cannot be. `from` is that repository.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn take_over(&self, descriptor: &Descriptor, from: &str) -> Result<bool> {
        let _ = (descriptor, from);
        Ok(false)
    }

    /// Everything that stands at the top, tagged or not, where that costs nothing
    /// to know.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn entries(&self) -> Result<Vec<Descriptor>> {
        Ok(Vec::new())
    }

    /// Points a tag at a manifest that is there. `expected` is what the tag
    /// pointed at when the caller looked: when it has moved since, nothing
    /// changes and the answer is `false`.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn tag(&self, tag: &str, descriptor: &Descriptor, expected: Option<Option<&Digest>>) -> Result<bool>;

    /// Takes a tag away. What it pointed at stays, with its other tags. When it
    /// points at something else than `expected`, nothing changes and the answer
    /// is `false`.
    ///
    /// # Errors
    /// When the store cannot be written, or does not allow it.
    fn untag(&self, tag: &str, expected: &Digest) -> Result<bool>;

    /// Takes a manifest away, with all its tags and what refers to it. One that
    /// is not there is fine.
    ///
    /// # Errors
    /// As [`Store::untag`].
    fn forget(&self, manifest: &Digest) -> Result<()>;

    /// Lists manifests that are there as referrers of `subject`, which each of
    /// them names. What others list at the same time is kept.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn attach(&self, subject: &Digest, manifests: &[Descriptor]) -> Result<()>;

    /// The manifests that refer to `subject`. What is listed and cannot be used
    /// is left out, and named.
    ///
    /// # Errors
    /// When the store cannot be read, or the list is no list.
    fn referrers(&self, subject: &Digest) -> Result<Referrers>;
}

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It must exist. What is written for all that (claims, lists) is envctl's
    /// own, and goes to the store itself or nowhere.
    Read,
    /// It must exist, and is written at the developer's word.
    Change,
    /// It is created where it does not exist.
    Write,
}
