//! What an image with features is made from: a `devcontainer.json` that says nothing but
//! what the image is, features that lie in the project, a Dockerfile, and the file that
//! settles versions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::config::Featured;
use crate::digest::Digest;
use crate::disk::beneath::Beneath;
use crate::error::{not_found, usage};
use crate::handoff::devcontainer;
use crate::local::{BuildContext, Counted, FileSeen};

/// Bytes of the file that settles versions.
const MAX_LOCK: u64 = 4 << 20;

/// All that `devcontainer build` reads.
pub(super) struct FeatureSources {
    featured: Featured,
    /// The project's file, below its root.
    place: PathBuf,
    lock: Option<Vec<u8>>,
    contexts: Vec<BuildContext>,
}

impl FeatureSources {
    /// Reads the file at `place` below `root`, and what it names.
    ///
    /// # Errors
    /// When something is not there, or there are no features.
    pub(super) fn read(root: &Path, place: &str, counted: Counted<'_>) -> Result<Self> {
        let (beneath, path) = (Beneath::open(root)?, PathBuf::from(place));
        let found = devcontainer::at(root, &beneath, &path)?;
        let found = found.ok_or_else(|| {
            not_found(format!("there is no {place}")).hint("toolchain.build.devcontainer says where it is")
        })?;
        let featured = found.featured.ok_or_else(|| {
            usage(format!("{place} has no features that envctl can have added")).hint(
                "envctl doctor says what becomes of each field; toolchain.image or .build says what to do instead",
            )
        })?;
        let mut contexts = Vec::new();
        for folder in &featured.folders {
            let context = BuildContext::folder(root, Path::new(folder), counted);
            contexts.push(context.with_context(|| format!("cannot read the feature {folder}"))?);
        }
        // After them: what it copies may hold them.
        if let Some(build) = &featured.build {
            let (dockerfile, context) = (build.dockerfile(), build.context());
            contexts.push(BuildContext::read(root, Path::new(&dockerfile), Path::new(&context), counted)?);
        }
        let lock = beneath.read(Path::new(&featured.lock), MAX_LOCK)?;
        Ok(FeatureSources { featured, place: path, lock, contexts })
    }

    /// Names all of it.
    pub(super) fn digest(&self) -> Digest {
        let contexts: Vec<String> = self.contexts.iter().map(|context| context.digest().to_string()).collect();
        let lock = self.lock.as_deref().map(|lock| Digest::of(lock).to_string());
        // Texts: serialising them cannot fail.
        Digest::of(&serde_json::to_vec(&("features", &self.featured.config, lock, contexts)).unwrap_or_default())
    }

    /// What is agreed to: what the file says, the features that lie in the project, and
    /// the Dockerfile.
    pub(super) fn said(&self) -> Vec<u8> {
        let (local, built) = self.contexts.split_at(self.featured.folders.len());
        let mut said = self.featured.config.clone().into_bytes();
        said.extend(local.iter().flat_map(|folder| folder.digest().to_string().into_bytes()));
        said.extend(built.iter().flat_map(BuildContext::dockerfile));
        said
    }

    /// What the features are added to, where it is an image by name.
    pub(super) fn image(&self) -> Option<String> {
        let config: serde_json::Value = serde_json::from_str(&self.featured.config).ok()?;
        Some(config.get("image")?.as_str()?.to_owned())
    }

    /// The arguments of its Dockerfile; `none` without one.
    pub(super) fn args<'a>(&'a self, none: &'a BTreeMap<String, String>) -> &'a BTreeMap<String, String> {
        self.featured.build.as_ref().map_or(none, |build| &build.args)
    }

    /// The folders that the build is given, below the root.
    pub(super) fn folders(&self) -> Vec<String> {
        let context = self.featured.build.as_ref().map(crate::config::Build::context);
        self.featured.folders.iter().cloned().chain(context).collect()
    }

    /// Folders and files that are copied.
    pub(super) fn contexts(&self) -> &[BuildContext] {
        &self.contexts
    }

    /// Copies all of it into an empty folder of ours; the folder that stands for the
    /// project, and the file.
    ///
    /// # Errors
    /// When a file is another than it was, or `seen` refuses one.
    pub(super) fn copy_to(
        &self,
        folder: &Path,
        seen: FileSeen<'_>,
        counted: Counted<'_>,
    ) -> Result<(PathBuf, PathBuf)> {
        let project = folder.join("project");
        let config = project.join(&self.place);
        let own = config.parent().context("a file has a folder")?;
        let wrong = "cannot copy the devcontainer.json for the build";
        std::fs::create_dir_all(own).context(wrong)?;
        std::fs::write(&config, &self.featured.config).context(wrong)?;
        if let Some(lock) = &self.lock {
            std::fs::write(project.join(&self.featured.lock), lock).context(wrong)?;
        }
        for context in &self.contexts {
            context.copy_below(&project, seen, counted)?;
        }
        if let (Some(build), Some(context)) = (&self.featured.build, self.contexts.last()) {
            let dockerfile = project.join(build.dockerfile());
            if dockerfile.symlink_metadata().is_err() {
                dockerfile.parent().map_or(Ok(()), std::fs::create_dir_all).context(wrong)?;
                std::fs::write(&dockerfile, context.dockerfile()).context(wrong)?;
            }
        }
        self.contexts.iter().try_for_each(|context| context.link_below(&project))?;
        Ok((project, config))
    }

    /// The file, and what of it the image is made from.
    pub(super) fn words(&self) -> (&Path, &[u8]) {
        (&self.place, self.featured.config.as_bytes())
    }
}
