//! Artifacts: files that prove what happened, attached to the identity in
//! whose environment it did. Files are read from the checkout, never through a
//! link that the checkout holds; names from the store choose nothing here.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde::Serialize;

use super::found::{MOST, Skipped, find};
use crate::config::Project;
use crate::credentials;
use crate::digest::{Digest, Hasher, Verified};
use crate::disk::named::Named;
use crate::error::{Fault, Kind, integrity, kind_of, usage};
use crate::handoff::app::App;
use crate::handoff::parallel::each;
use crate::handoff::task::{Located, from_store, open_store};
use crate::handoff::trust::{self, Screen};
use crate::identity::{ArtifactType, Identity, Made, Provenance, Target, TaskRef};
use crate::oci::{Descriptor, unwrap_io};
use crate::store::{Access, Attachment, Store, content_of, write_attachments};

/// Bytes of one file in which credentials are looked for.
const SEARCHED: u64 = 32 << 20;

/// How often a file that changes is read again.
const READS: usize = 3;

/// A file that is to become an artifact.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) place: EvidencePath,
    pub(crate) artifact_type: ArtifactType,
    pub(crate) maker: Maker,
}

/// What made a file, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Maker {
    /// The command, and its exit code.
    pub(crate) command: Option<String>,
    pub(crate) exit_code: Option<i32>,
    /// Who ran it.
    pub(crate) agent: Option<String>,
    /// The run, by the name of its log.
    pub(crate) run: Option<String>,
    /// The runtime.
    pub(crate) lease: Option<String>,
}

/// Where a file is.
#[derive(Clone, Debug)]
pub(crate) enum EvidencePath {
    /// One of ours.
    Own(PathBuf),
    /// One that the developer names, see [`Named`].
    Chosen(PathBuf),
    /// One below an open folder, reached without a link.
    Below(Arc<OwnedFd>, PathBuf),
}

impl EvidencePath {
    fn path(&self) -> &Path {
        match self {
            EvidencePath::Own(path) | EvidencePath::Chosen(path) | EvidencePath::Below(_, path) => path,
        }
    }

    pub(crate) fn open(&self) -> Result<File> {
        // A pipe must not keep the one who opens it waiting.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let path = self.path();
        let context = || format!("cannot read {}", path.display());
        let opened = match self {
            EvidencePath::Own(path) => rustix::fs::openat(CWD, path, flags, Mode::empty()).with_context(context)?,
            EvidencePath::Chosen(path) => Named::file(path, flags)?,
            EvidencePath::Below(root, path) => {
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve).with_context(context)?
            }
        };
        let file = File::from(opened);
        if !file.metadata()?.is_file() {
            return Err(usage(format!("{} is no file", path.display())).into());
        }
        Ok(file)
    }
}

/// The identity that artifacts are attached to.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) manifest: Descriptor,
    pub(crate) digest: Digest,
    pub(crate) identity: Identity,
}

/// Files that were looked at and may travel.
pub(crate) struct Attachable(Vec<(Evidence, LookedFile)>);

impl Attachable {
    /// These, too.
    pub(crate) fn extend(&mut self, others: Attachable) {
        self.0.extend(others.0);
    }
}

/// Looks at files that are to be attached.
///
/// # Errors
/// When one cannot be read; [`Kind::Policy`] with the credentials in them.
pub(crate) fn looked_at(app: &App, files: Vec<Evidence>, screen: Screen<'_>) -> Result<Attachable> {
    let looked = each(&files, |file| look(file, screen))?.into_iter().collect::<Result<Vec<_>>>()?;
    let files = files.into_iter().zip(looked).collect();
    let of = |(file, looked): &(Evidence, LookedFile)| (file.place.path().to_owned(), looked.found.clone());
    Ok(Attachable(screen.settle_artifacts(app, files, of)?))
}

/// Attaches files to an identity of a store: each content, then what describes
/// them, then that to the list at once.
///
/// # Errors
/// When a file cannot be read, or the store cannot be written. What was stored
/// by then is listed nowhere.
pub(crate) fn attach(
    app: &App,
    store: &dyn Store,
    subject: &Subject,
    files: &Attachable,
    screen: Screen<'_>,
) -> Result<Vec<Attachment>> {
    let stored = each(&files.0, |(file, looked)| put(app, store, subject, (file, looked), screen))?;
    let stored = stored.into_iter().collect::<Result<Vec<_>>>()?;
    let attached = write_attachments(store, &subject.manifest, stored).context("cannot describe the artifacts")?;
    let mut manifests: Vec<Descriptor> = attached.iter().map(|attachment| attachment.manifest.clone()).collect();
    manifests.dedup_by_key(|manifest| manifest.digest);
    if !manifests.is_empty() {
        store.attach(&subject.manifest.digest, &manifests).context("cannot list the artifacts in the store")?;
    }
    Ok(attached)
}

/// What one look at a file found. What is stored has this digest.
#[derive(Clone)]
struct LookedFile {
    digest: Digest,
    size: u64,
    /// When the file was written last.
    modified_at: Option<Timestamp>,
    found: credentials::Looked,
}

/// Stores the content of a file; where it comes from.
fn put(
    app: &App,
    store: &dyn Store,
    subject: &Subject,
    (file, looked): (&Evidence, &LookedFile),
    screen: Screen<'_>,
) -> Result<Provenance> {
    let path = file.place.path();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let inside = matches!(file.place, EvidencePath::Below(..)).then(|| path.to_string_lossy().into_owned());
    let mut tried = 0;
    let mut looked = looked.clone();
    loop {
        let LookedFile { digest, size, .. } = looked;
        let made = Made {
            name: name.clone(),
            path: inside.clone(),
            size,
            digest,
            modified_at: looked.modified_at,
            command: file.maker.command.clone(),
            exit_code: file.maker.exit_code,
            made_by: file.maker.agent.clone(),
            run: file.maker.run.clone(),
            lease: file.maker.lease.clone(),
        };
        let provenance = Provenance::of(&subject.identity, file.artifact_type, app.env.document_clock().now(), made);
        let stored = store.put_new(&content_of(&provenance), &|| Ok(Box::new(file.place.open()?)));
        tried += 1;
        match stored {
            Ok(()) => return Ok(provenance),
            // It was written to between the two looks.
            Err(error) if kind_of(&error) == Kind::Integrity && tried < READS => {
                looked = look(file, screen)?;
                screen.check_artifact(path, &looked.found)?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot store {}", path.display())),
        }
    }
}

/// Reads a file once: for its digest, and for credentials.
fn look(file: &Evidence, screen: Screen<'_>) -> Result<LookedFile> {
    let path = file.place.path();
    let read = || -> Result<_> {
        let mut opened = file.place.open()?;
        let written = opened.metadata()?.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let (mut hasher, mut head) = (Hasher::default(), Vec::new());
        opened.by_ref().take(SEARCHED).read_to_end(&mut head)?;
        hasher.update(&head);
        let rest = std::io::copy(&mut opened, &mut hasher)?;
        Ok((hasher.finish(), head, rest, written))
    };
    let (digest, head, rest, written) = read().with_context(|| format!("cannot read {}", path.display()))?;
    let mut found = screen.look(path, &head)?;
    if rest > 0 {
        found.gap = Some(credentials::Gap::TooLong);
    }
    // In whole seconds, as all times that are published.
    let modified_at = written.and_then(|at| Timestamp::from_second(at.as_second()).ok());
    Ok(LookedFile { digest, size: head.len() as u64 + rest, modified_at, found })
}

/// The identity that a reference means to those who ask for its artifacts: the
/// one in the store. Whoever adds some inside an entered workspace means the
/// identity that they entered.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such task.
pub(crate) fn subject(app: &App, reference: &TaskRef, adding: bool) -> Result<(Located, Box<dyn Store>, Subject)> {
    let mut task = app.locate(reference)?;
    let named = task.clone();
    let pin = if adding { app.pins().of_workspace(&app.cwd)? } else { None };
    if let Some(pin) = pin.filter(|pin| pin.store == task.store.to_string() && pin.slug == task.slug()) {
        task.target = Target::Identity(pin.continues(&pin.slug).unwrap_or(pin.identity));
    }
    let store = open_store(app, &task, if adding { Access::Change } else { Access::Read })?;
    let (manifest, artifact, identity) = from_store(&*store, &task)?;
    let digest = Digest::of(&artifact.identity);
    Ok((named, store, Subject { manifest, digest, identity }))
}

/// An artifact, for people and machines.
#[derive(Clone, Debug, Serialize)]
pub struct ArtifactRow {
    /// Digest of the manifest that it is in, with those that were attached together.
    pub manifest: Digest,
    /// What it says about itself.
    #[serde(flatten)]
    pub provenance: Provenance,
}

impl ArtifactRow {
    pub(crate) fn of(attachment: &Attachment) -> Self {
        let mut provenance = attachment.provenance.clone();
        // A field of that name would stand in for ours.
        provenance.extra.remove("manifest");
        ArtifactRow { manifest: attachment.manifest.digest, provenance }
    }
}

/// Artifacts of an identity.
#[derive(Debug, Serialize)]
pub struct Artifacts {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// Digest of the identity.
    pub identity: Digest,
    /// Oldest first.
    pub artifacts: Vec<ArtifactRow>,
    /// How many were left out, at least.
    pub skipped: usize,
}

/// What `artifacts add` was asked to attach.
#[derive(Clone, Debug)]
pub struct AddOptions {
    /// The task.
    pub task: TaskRef,
    /// The files.
    pub files: Vec<PathBuf>,
    /// What they are.
    pub artifact_type: ArtifactType,
    /// The command that made them.
    pub command: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
}

/// Attaches files to a task.
///
/// # Errors
/// When a file cannot be read, there is no such task, or the store cannot be
/// written.
pub fn add_artifacts(app: &App, options: &AddOptions) -> Result<Artifacts> {
    let file = |path: &PathBuf| {
        let maker = Maker {
            command: options.command.clone(),
            exit_code: options.exit_code,
            agent: app.env.agent.clone(),
            ..Maker::default()
        };
        let place = EvidencePath::Chosen(app.cwd.join(path));
        Evidence { place, artifact_type: options.artifact_type, maker }
    };
    let files: Vec<Evidence> = options.files.iter().map(file).collect();
    // All of them, before anything is stored.
    files.iter().try_for_each(|file| file.place.open().map(drop))?;
    let (task, store, subject) = subject(app, &options.task, true)?;
    let root = app.checkout();
    let project = root.as_ref().map_or_else(|| Ok(Project::default()), |root| app.project(root))?;
    let scanner = trust::scanner(app, &project)?;
    let screen = Screen { scanner: &scanner, redact: false, root: root.as_deref().unwrap_or(&app.cwd) };
    let attached = attach(app, &*store, &subject, &looked_at(app, files, screen)?, screen)?;
    let artifacts = attached.iter().map(ArtifactRow::of).collect();
    Ok(Artifacts { task: task.reference(), identity: subject.digest, artifacts, skipped: 0 })
}

/// Lists the artifacts of a task.
///
/// # Errors
/// When there is no such task, or the store cannot be read.
pub fn list_artifacts(app: &App, reference: &TaskRef) -> Result<Artifacts> {
    let (task, store, subject) = subject(app, reference, false)?;
    let found = find(app, &*store, &subject.manifest.digest, MOST)?;
    let artifacts = found.attachments.iter().map(ArtifactRow::of).collect();
    Ok(Artifacts { task: task.reference(), identity: subject.digest, artifacts, skipped: found.left_out() })
}

/// What became of one check.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The artifact; `null` for what was left out.
    pub artifact: Option<ArtifactRow>,
    /// How many this stands for: one artifact, or all that were left out for one reason.
    pub count: usize,
    /// What is wrong; `null` when nothing is.
    pub fault: Option<String>,
}

/// Reads every artifact of a task in full and compares it with its provenance,
/// and that with the identity.
///
/// # Errors
/// When there is no such task, or the store does not answer.
pub fn verify_artifacts(app: &App, reference: &TaskRef) -> Result<Vec<Checked>> {
    let (_, store, subject) = subject(app, reference, false)?;
    let found = find(app, &*store, &subject.manifest.digest, MOST)?;
    let faults = each(&found.attachments, |attachment| -> Result<()> {
        attachment.provenance.check(&subject.identity)?;
        let (content, digest) = (&attachment.content, attachment.content.digest);
        let mut content = Verified::new(store.open(content)?, content.size, digest);
        std::io::copy(&mut content.by_ref(), &mut std::io::sink()).map(drop).map_err(unwrap_io)
    })?;
    let mut checked = Vec::new();
    for (result, attachment) in faults.into_iter().zip(&found.attachments) {
        let fault = match result {
            Err(error) if kind_of(&error) == Kind::Unreachable => return Err(error),
            other => other.err().map(|error| format!("{error:#}")),
        };
        checked.push(Checked { artifact: Some(ArtifactRow::of(attachment)), count: 1, fault });
    }
    let unread = |one: Skipped| Checked { artifact: None, count: one.count, fault: Some(one.why) };
    checked.extend(found.skipped.into_iter().map(unread));
    Ok(checked)
}

/// The verdict over all checks.
///
/// # Errors
/// [`Kind::Integrity`] when one of them found a fault.
pub fn verdict(checked: &[Checked]) -> Result<(), Fault> {
    let all: usize = checked.iter().map(|one| one.count).sum();
    let bad = checked.iter().filter(|one| one.fault.is_some());
    let left_out: usize = bad.clone().filter(|one| one.artifact.is_none()).map(|one| one.count).sum();
    match bad.map(|one| one.count).sum::<usize>() - left_out {
        0 if left_out == 0 => Ok(()),
        0 => Err(integrity(format!("{left_out} of {all} artifacts could not be checked"))),
        bad if left_out == 0 => Err(integrity(format!("{bad} of {all} artifacts are not what they should be"))),
        bad => Err(integrity(format!(
            "{bad} of {all} artifacts are not what they should be, and {left_out} could not be checked"
        ))),
    }
}
