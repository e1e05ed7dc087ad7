//! What `--report FILE` holds: time and bytes of each step, and the outcome.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::Serialize;

use crate::digest::Digest;
use crate::disk::named::Named;
use crate::error::usage;
use crate::identity::{Redacted, Status};
use crate::runtime::{Enforced, Receipt};
use crate::snapshot::{LeftOut, Parity};

/// One step of a command.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// `resolve`, `plan`, `fetch.image`, `fetch.repo`, `fetch.snapshot`,
    /// `fetch.artifacts`, `fetch.cache`, `seal`, `hydrate.workspace`,
    /// `hydrate.cache`, `start`, `run` or `reset`.
    pub name: &'static str,
    /// Duration in milliseconds.
    pub ms: f64,
    /// Bytes that were moved for it.
    pub bytes: u64,
}

/// How caches served.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CacheUse {
    /// Image layers, sealed trees and workspaces that were there.
    pub hits: usize,
    /// Those that were not.
    pub misses: usize,
}

/// How an entry came to be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheOrigin {
    /// It was here.
    Hit,
    /// A store had it.
    Fetched,
    /// Its setup ran.
    Sealed,
    /// Its setup failed, or could not be run: it is not there.
    Missing,
    /// As missing, and the developer took the nearest entry instead.
    Nearest,
}

/// One cache of a runtime, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct CacheState {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: Digest,
    /// How it came to be here.
    pub found: CacheOrigin,
    /// `task` or `project`: in whose trust it was sealed.
    pub scope: Option<&'static str>,
    /// Digest of its content.
    pub digest: Option<Digest>,
}

/// What was restored, and what the developer may want to do about it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Arrived {
    /// What is in progress: `merge`, `rebase` and the like.
    pub operations: Vec<String>,
    /// Submodules, empty until they are initialised.
    pub submodules: Vec<String>,
    /// Those for which the project names no address.
    pub submodules_without_address: Vec<String>,
    /// How many LFS files have their content.
    pub lfs_files: usize,
    /// LFS files that are pointers.
    pub lfs_pointers: Vec<String>,
    /// Why their content could not be had.
    pub lfs_reason: Option<String>,
    /// Files and folders that say which hooks the project has: none of them runs.
    pub hooks: Vec<String>,
    /// What stayed behind where it was published.
    pub left_behind: Vec<LeftOut>,
}

/// Another line of a task, as people are told of it.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// What `enter`, `show` and `diff` take.
    pub reference: String,
    /// The identity.
    pub identity: Digest,
    /// When it was published.
    pub created_at: Timestamp,
    /// By whom.
    pub agent: Option<String>,
    /// The state of the work.
    pub status: Status,
    /// In the publisher's words.
    pub message: Option<String>,
}

/// The outcome of `enter`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Always 1.
    pub schema: u32,
    /// The task as it can be named from anywhere.
    pub task: String,
    /// Digest of the identity.
    pub identity: String,
    /// Other lines of the task, where the store was asked.
    pub beside: Vec<Beside>,
    /// The workspace outside.
    pub workspace: String,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Cache hits and misses.
    pub cache: CacheUse,
    /// The caches of the runtime.
    pub caches: Vec<CacheState>,
    /// The comparison with the snapshot, made when the workspace was.
    pub parity: Option<Parity>,
    /// What there is to know about the workspace that was made; `null` where
    /// it was there already.
    pub restored: Option<Arrived>,
    /// Files that the publisher left out.
    pub redacted: Vec<Redacted>,
    /// The folder of the artifacts that came along; `null` when there are none.
    pub artifacts: Option<PathBuf>,
    /// How limits are kept.
    pub limits: Enforced,
    /// Exit code of the command; `null` where none ran.
    pub exit_code: Option<u8>,
    /// What the reset did.
    pub receipt: Option<Receipt>,
}

impl Report {
    /// Runs a step and notes how long it took and how many bytes it moved.
    pub(crate) fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<(T, u64)>) -> Result<T> {
        let start = Instant::now();
        tracing::debug!("step {name} begins");
        let done = work();
        let bytes = done.as_ref().map_or(0, |(_, bytes)| *bytes);
        self.note(name, start.elapsed(), bytes);
        done.map(|(value, _)| value)
    }

    /// Bytes that all steps moved.
    pub(crate) fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes).sum()
    }

    /// Notes a step that ran elsewhere.
    pub(crate) fn note(&mut self, name: &'static str, took: Duration, bytes: u64) {
        tracing::info!(ms = took.as_secs_f64() * 1000.0, bytes, "step {name}");
        self.steps.push(Step { name, ms: took.as_secs_f64() * 1000.0, bytes });
    }
}

/// How long a report waits for whoever reads a pipe.
const READER: Duration = Duration::from_secs(2);

/// Where a report goes: opened before anything of a task runs, which could lay a
/// link in its place.
#[derive(Clone, Debug)]
pub struct ReportFile {
    file: Arc<File>,
    path: PathBuf,
}

impl ReportFile {
    /// Opens it, or makes it; what is in it stays until something is written.
    ///
    /// # Errors
    /// When that cannot be done, and for a link, unless it is one of `/dev` or
    /// `/proc`: a program may have left it there.
    pub fn open(path: &Path) -> Result<Self> {
        let context = || format!("cannot write {}", path.display());
        let follow = path.starts_with("/dev") || path.starts_with("/proc");
        let link = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        // A pipe that nobody reads is not waited for.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | link;
        let (parent, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if !follow => {
                (Some(Named::open(parent).with_context(context)?), Path::new(name))
            }
            _ => (None, path),
        };
        let parent = parent.as_ref().map_or(CWD, |parent| parent.as_fd());
        let open = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o666));
        let begun = Instant::now();
        let mut opened = open();
        // Whoever is to read it may just be starting.
        while matches!(opened, Err(Errno::NXIO)) && begun.elapsed() < READER {
            std::thread::sleep(Duration::from_millis(20));
            opened = open();
        }
        let file = match opened {
            Err(Errno::NXIO) => {
                return Err(usage(format!("{} is a pipe that nobody reads", path.display()))
                    .hint("name a file: --report FILE")
                    .into());
            }
            Err(Errno::LOOP) => {
                return Err(usage(format!("{} is a link: no report is written through it", path.display()))
                    .hint("name the file that it leads to: --report FILE")
                    .into());
            }
            other => other.with_context(context)?,
        };
        // From here on a reader may take its time.
        rustix::fs::fcntl_setfl(&file, OFlags::WRONLY).with_context(context)?;
        Ok(ReportFile { file: Arc::new(file.into()), path: path.to_owned() })
    }

    /// Writes a report.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write<T: Serialize>(&self, value: &T) -> Result<()> {
        self.write_text(&(crate::secret::hide(&serde_json::to_string_pretty(value)?) + "\n"))
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_text(&self, text: &str) -> Result<()> {
        // A pipe has no length.
        let _ = self.file.set_len(0);
        (&*self.file).write_all(text.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }
}
