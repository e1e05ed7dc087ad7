//! What an image of this machine is for those who want it, and what they say when
//! they ask.

use std::path::Path;

use anyhow::Result;

use crate::digest::Digest;
use crate::error::{Fault, cut, not_found, usage};
use crate::identity::Which;
use crate::oci::{Blobs, Descriptor};

/// Told how many more bytes were read.
pub type Counted<'a> = &'a (dyn Fn(u64) + Sync);

/// An image outside of any store.
pub struct LocalImage {
    /// Its manifest or index.
    pub root: Descriptor,
    /// Everything that it names.
    pub blobs: Box<dyn Blobs>,
    /// Layers that were packed: the digest of the tar, and what came of it.
    pub packed: Vec<(Digest, Descriptor)>,
}

/// What packing layers needs to know.
pub struct Packing<'a> {
    /// Where files without a name may lie meanwhile.
    pub scratch: &'a Path,
    /// So many bytes a compressed archive may have when it is unpacked.
    pub most: u64,
    /// A packed form of the layer that need not be made: whoever gets the image
    /// has it already.
    pub held: &'a (dyn Fn(&Digest) -> Result<Option<Descriptor>> + Sync),
    /// Told what was read.
    pub counted: Counted<'a>,
}

/// Several images are there, or none of that name.
pub(super) fn which_of(which: &Which, shown: &str, names: &[String]) -> Fault {
    let listed: Vec<String> = names.iter().take(5).map(|name| cut(name)).collect();
    let has = if listed.is_empty() {
        "it names none of its images".to_owned()
    } else {
        format!("it has: {}", listed.join(", "))
    };
    match which {
        Which::Only => {
            usage(format!("{shown} holds several images")).hint(format!("say which of them, after a colon; {has}"))
        }
        which => not_found(format!("there is no image {} in {shown}", cut(&which.to_string()))).hint(has),
    }
}
