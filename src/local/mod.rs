//! Images that lie on this machine and in no store: in archives, and in the
//! engines that people have, which also build them from a Dockerfile ([`build`], of a
//! [`context`]). What is read here is opened as blobs with one root, like any other
//! image, and then copied into a store.
//!
//! Invariants: an archive is data. It is read through one index of its plain
//! members, its links lead to members of it or nowhere, and nothing of it is
//! unpacked by name. Layers that an engine keeps unpacked are packed once, always
//! to the same bytes.

mod bases;
mod build;
mod context;
mod docker;
mod engine;
mod found;
mod ignore;
mod layout;
mod tarball;

use std::fs::File;

use anyhow::Result;

use crate::identity::Which;

pub use bases::local_base;
pub use build::{BuildOrder, Builder, FeatureOrder, Said};
pub use context::{BuildContext, FileSeen};
pub use engine::{Engine, EngineImage, EnginePlaces};
pub use found::{Counted, LocalImage, Packing};

use self::tarball::Tarball;

/// Opens the image in an archive that `docker save` wrote, or something like it.
///
/// # Errors
/// When the archive is no such thing, or holds no image of that name.
pub fn docker_archive(file: File, which: &Which, shown: &str, packing: &Packing<'_>) -> Result<LocalImage> {
    let tarball = Tarball::open(file, (packing.scratch, packing.most), shown)?;
    docker::read(tarball, which, shown, packing)
}

/// Opens the image in a tar of an OCI image layout.
///
/// # Errors
/// When the archive is no such thing, or holds no image of that name.
pub fn oci_archive(file: File, which: &Which, shown: &str, packing: &Packing<'_>) -> Result<LocalImage> {
    let tarball = Tarball::open(file, (packing.scratch, packing.most), shown)?;
    layout::read(tarball, which, shown)
}
