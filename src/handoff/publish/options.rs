//! What `publish` is asked to do, and what it says that it did.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::image::ImageWish;
use crate::config::Project;
use crate::error::{Fault, usage};
use crate::handoff::app::App;
use crate::handoff::evidence::{ArtifactRow, Begun};
use crate::handoff::report::Beside;
use crate::handoff::trust::Unsearched;
use crate::identity::{Handoff, Identity, Redacted, TaskId, Workdir};
use crate::snapshot::LeftOut;

/// Where the workspace appears when nobody says otherwise.
const DEFAULT_WORKDIR: &str = "/workspace";

/// What `publish` was asked to do.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The task; known inside an entered workspace.
    pub task: Option<TaskId>,
    /// `--image`.
    pub image: Option<String>,
    /// `--build`.
    pub build: bool,
    /// `--workdir`.
    pub workdir: Option<Workdir>,
    /// `--agent`.
    pub agent: Option<String>,
    /// State, message, command and exit code.
    pub handoff: Handoff,
    /// The run that is published.
    pub run: Option<PublishedRun>,
    /// Leave files with credentials out, instead of refusing.
    pub redact: bool,
    /// `--fork`: another task that goes on from this one.
    pub fork: Option<TaskId>,
    /// The checkout; otherwise the one that holds the working directory.
    pub checkout: Option<PathBuf>,
}

impl PublishOptions {
    pub(super) fn wish(&self) -> ImageWish<'_> {
        ImageWish { image: self.image.as_deref(), build: self.build }
    }

    /// Whether the developer says which image, or that it is built.
    pub(super) fn is_explicit(&self, app: &App) -> bool {
        self.image.is_some() || self.build || app.env.image.is_some()
    }
}

/// A run, as its evidence names it.
#[derive(Clone, Debug)]
pub struct PublishedRun {
    /// The name of its log.
    pub name: String,
    /// Its last runtime.
    pub lease: Option<String>,
    /// When it began, by the clock of the files.
    pub(crate) begun: Option<Begun>,
}

/// What was published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The one line to paste.
    pub enter: String,
    /// The task as it can be named from anywhere.
    pub task: String,
    /// What the task points at, where this was published beside it.
    pub beside: Option<Beside>,
    /// Digest of the identity.
    pub identity: String,
    /// The image's digest.
    pub image: String,
    /// The snapshot ID.
    pub snapshot: String,
    /// The commit of HEAD.
    pub commit: String,
    /// Commits that the remote lacks.
    pub unpushed_commits: usize,
    /// Files that differ from HEAD.
    pub changed_files: usize,
    /// Bytes of the snapshot's pack.
    pub pack_bytes: u64,
    /// What is in progress and travels: `merge`, `rebase` and the like.
    pub operations: Vec<String>,
    /// LFS files whose content travels, and their bytes.
    pub lfs: LfsCarried,
    /// What does not travel although somebody may miss it.
    pub left_out: Vec<LeftOut>,
    /// Files that were left out because they hold credentials.
    pub redacted: Vec<Redacted>,
    /// Files that were not searched for credentials in full.
    pub unsearched: Vec<Unsearched>,
    /// Files that were attached.
    pub artifacts: Vec<ArtifactRow>,
}

/// LFS files whose content travels.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LfsCarried {
    /// How many.
    pub files: usize,
    /// Bytes of their content.
    pub bytes: u64,
}

/// Nobody says in which image the task runs.
pub(crate) fn no_image() -> Fault {
    usage("which image does this task run in?")
        .hint("name it as in --image python:3.12 or --image docker-daemon:NAME, with ENVCTL_IMAGE, or as [toolchain] image in envctl.toml ([toolchain] build has one built)")
}

/// Where the workspace appears: by flag, project, or as it was.
pub(crate) fn workdir(flag: Option<&Workdir>, project: &Project, parent: Option<&Identity>) -> Result<Workdir> {
    let configured = project.workspace.workdir.as_deref().map(str::parse).transpose()?;
    let chosen = flag.cloned().or(configured).or_else(|| parent.map(|parent| parent.workdir.clone()));
    Ok(match chosen {
        Some(workdir) => workdir,
        None => DEFAULT_WORKDIR.parse()?,
    })
}
