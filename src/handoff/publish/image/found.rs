//! An image between its name and its pin.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::config::{self, Build, Devcontainer, FieldFate};
use crate::digest::Digest;
use crate::identity::{ImageName, ImageRef, Pinned, Platform, Toolchain};
use crate::image;
use crate::oci::{Blobs, Descriptor, ImageConfig, MAX_METADATA, Manifest};

/// The image that is meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ChosenImage {
    /// By its name.
    Named(NamedImage),
    /// It is built.
    Built(Recipe),
}

/// What an image is built from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recipe {
    pub(super) build: Build,
    /// The project's root, in which everything lies.
    pub(super) root: PathBuf,
    /// Whoever gave the command asked for the build.
    pub(super) said: bool,
}

/// An image, and who named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedImage {
    pub(in crate::handoff::publish) name: ImageName,
    /// Where relative paths begin.
    pub(in crate::handoff::publish) base: PathBuf,
    /// The project's file names it, and not the developer.
    pub(in crate::handoff::publish) by_project: bool,
}

/// An image as it was found.
pub(super) struct FoundImage {
    /// Where its parts are; `None` when they are where they should go.
    pub(super) source: Option<Box<dyn Blobs>>,
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
    pub(super) config: ImageConfig,
    pub(super) repository: Option<String>,
    pub(super) pinned: Pinned,
    /// What an engine calls it, or what it was built from: whoever wants the same
    /// again finds it by that.
    pub(super) id: Option<Digest>,
}

impl FoundImage {
    /// Reads the documents of an image.
    ///
    /// # Errors
    /// When one of them is missing or malformed.
    pub(super) fn read(blobs: &dyn Blobs, root: &Descriptor) -> Result<Self> {
        let descriptor = image::for_platform(blobs, root, &Platform::host()).context("cannot read the image")?;
        let bytes = blobs.read_small(&descriptor, MAX_METADATA).context("cannot read the image's manifest")?;
        let manifest = Manifest::parse(&bytes)?;
        let config = blobs.read_small(&manifest.config, MAX_METADATA);
        let config = ImageConfig::parse(&config.context("cannot read the image's configuration")?)?;
        // What nobody could enter is not published.
        let config = image::image(descriptor.digest, &manifest, config)?.config;
        let (repository, pinned) = (None, Pinned::AtPublish);
        Ok(FoundImage { source: None, descriptor, bytes, manifest, config, repository, pinned, id: None })
    }

    /// What it says of itself, where the project takes it.
    fn label(&self, wished: &config::ToolchainSettings) -> Option<Devcontainer> {
        let text = self.config.config.as_ref()?.metadata.as_ref().filter(|_| wished.metadata == Some(true))?;
        Devcontainer::of_label(text, "/").ok()
    }

    /// What it asks for there and is not given, by name.
    pub(super) fn refused(&self, wished: &config::ToolchainSettings) -> Vec<String> {
        let fields = self.label(wished).map(|label| label.fields).unwrap_or_default();
        let mut refused: Vec<String> =
            fields.into_iter().filter(|field| field.fate == FieldFate::Refused).map(|field| field.name).collect();
        refused.sort();
        refused.dedup();
        refused
    }

    /// How an identity says it, where the project wishes for an account.
    pub(super) fn toolchain(&self, wished: &config::ToolchainSettings) -> Toolchain {
        let config = self.config.clone();
        let own = self.label(wished).and_then(|label| label.user);
        Toolchain {
            image: ImageRef { repository: self.repository.clone(), digest: self.descriptor.digest },
            platform: Platform { os: config.os, architecture: config.architecture, variant: config.variant },
            pinned: self.pinned,
            user: wished.user.clone().or(own),
            extra: Default::default(),
        }
    }
}
