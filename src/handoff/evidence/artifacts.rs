//! Artifacts: files that prove what happened, attached to the identity in
//! whose environment it did. Files are read from the checkout, never through a
//! link that the checkout holds; names from the store choose nothing here.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde::Serialize;

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
use crate::store::{Access, Attachment, Store, content_of, read_attachments, write_attachments};

/// Artifacts of one identity that are looked at, the newest; a list from a store
/// may name any number.
pub(crate) const MOST: usize = 1000;

/// Manifests that are read before it is asked whether they are enough.
const AT_ONCE: usize = 16;

/// All manifests of one identity that are read, in bytes: a thousand artifacts have one. In
/// memory they take many times as much.
const MOST_BYTES: u64 = 8 << 20;

/// How long reading them may take.
const LONGEST: Duration = Duration::from_secs(120);

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
pub(crate) struct Attachable(Vec<(Evidence, Looked)>);

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
    let of = |(file, looked): &(Evidence, Looked)| (file.place.path().to_owned(), looked.found.clone());
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
struct Looked {
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
    (file, looked): (&Evidence, &Looked),
    screen: Screen<'_>,
) -> Result<Provenance> {
    let path = file.place.path();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let inside = matches!(file.place, EvidencePath::Below(..)).then(|| path.to_string_lossy().into_owned());
    let mut tried = 0;
    let mut looked = looked.clone();
    loop {
        let Looked { digest, size, .. } = looked;
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
fn look(file: &Evidence, screen: Screen<'_>) -> Result<Looked> {
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
    Ok(Looked { digest, size: head.len() as u64 + rest, modified_at, found })
}

/// Artifacts as they were found.
#[derive(Debug, Default)]
pub(crate) struct FoundArtifacts {
    /// Oldest first.
    pub(crate) attachments: Vec<Attachment>,
    /// Why others were left out.
    pub(crate) skipped: Vec<String>,
}

/// The artifacts of an identity, `most` of them at most. What is malformed or
/// foreign is left out, and named with `-v`.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn find(app: &App, store: &dyn Store, subject: &Digest, most: usize) -> Result<FoundArtifacts> {
    let mut listed = store.referrers(subject)?;
    let mut found = FoundArtifacts::default();
    if listed.cut {
        app.ui.warn(&format!(
            "the store lists more artifacts than are read: {} of them were looked through",
            listed.found.len()
        ));
    }
    let lists = listed.found.len();
    if lists > most {
        found.skipped.push(format!("all but {most} of {lists} artifacts"));
        // Each is one request, and the newest come last.
        listed.found.drain(..lists - most);
    }
    found.skipped.append(&mut listed.skipped);
    let mut left = MOST_BYTES;
    let fits = |manifest: &&Descriptor| match left.checked_sub(manifest.size) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let small = listed.found.iter().rev().take_while(fits).count();
    let large = listed.found.len() - small;
    if large > 0 {
        found.skipped.push(format!("{large} lists of artifacts, which are too large to be read with the others"));
    }
    // Each may carry many: the newest are read first, until there are enough.
    let began = Instant::now();
    let mut unread = &listed.found[large..];
    while !unread.is_empty() && found.attachments.len() < most {
        if began.elapsed() > LONGEST {
            app.ui.warn("the store takes too long to tell of older artifacts: they are left out");
            break;
        }
        let (rest, manifests) = unread.split_at(unread.len().saturating_sub(AT_ONCE));
        unread = rest;
        let mut read = read_all(app, store, subject, manifests, &mut found.skipped)?;
        read.append(&mut found.attachments);
        found.attachments = read;
    }
    let all = found.attachments.len();
    if all > most || !unread.is_empty() {
        found.skipped.push(format!("all but the newest {most} artifacts"));
        found.attachments.drain(..all.saturating_sub(most));
    }
    found.attachments.sort_by(|a, b| a.provenance.order().cmp(&b.provenance.order()));
    found.skipped.iter().for_each(|why| app.ui.detail(&format!("left out: {why}")));
    Ok(found)
}

/// The artifacts of some manifests, in their order; why others are none goes to `skipped`.
fn read_all(
    app: &App,
    store: &dyn Store,
    subject: &Digest,
    manifests: &[Descriptor],
    skipped: &mut Vec<String>,
) -> Result<Vec<Attachment>> {
    let read = each(manifests, |manifest| read_attachments(store, manifest, subject))?;
    let mut attachments = Vec::new();
    for (result, manifest) in read.into_iter().zip(manifests) {
        match result {
            Ok(Some(mut read)) => attachments.append(&mut read),
            Ok(None) => app.ui.detail(&format!("{} refers to it and is no artifact of envctl", manifest.digest)),
            Err(error) if kind_of(&error) == Kind::Unreachable => return Err(error),
            Err(error) => skipped.push(format!("{}: {error:#}", manifest.digest)),
        }
    }
    Ok(attachments)
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
    /// How many entries of the store's list were left out.
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
    Ok(Artifacts { task: task.reference(), identity: subject.digest, artifacts, skipped: found.skipped.len() })
}

/// What became of one check.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The artifact; `null` for an entry that is none.
    pub artifact: Option<ArtifactRow>,
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
        checked.push(Checked { artifact: Some(ArtifactRow::of(attachment)), fault });
    }
    checked.extend(found.skipped.into_iter().map(|why| Checked { artifact: None, fault: Some(why) }));
    Ok(checked)
}

/// The verdict over all checks.
///
/// # Errors
/// [`Kind::Integrity`] when one of them found a fault.
pub fn verdict(checked: &[Checked]) -> Result<(), Fault> {
    match checked.iter().filter(|one| one.fault.is_some()).count() {
        0 => Ok(()),
        bad => Err(integrity(format!("{bad} of {} artifacts are not what they should be", checked.len()))),
    }
}
