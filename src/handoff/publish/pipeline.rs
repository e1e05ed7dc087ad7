//! `publish`: capture, screen, pin, store, and move the task's tag.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::conflict::Intent;
use super::found::ChosenImage;
use super::image;
use super::remembered::Remembered;
use super::services::pin_services;
use super::source::{PublishedFrom, PublishedTo};
use super::tag::{Placed, Tagged};
use crate::cache;
use crate::config::Project;
use crate::crash;
use crate::credentials::Scanner;
use crate::digest::Digest;
use crate::error::{Fault, not_found, usage};
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::caches::{
    Basis, PublishedCaches, forget_materialized, given_fixtures, identity_caches, push, require_fixtures,
    require_inputs,
};
use crate::handoff::evidence::{ArtifactRow, Attachable, Begun, Evidence, Maker, Subject, attach, collect, looked_at};
use crate::handoff::report::Beside;
use crate::handoff::task::{Pin, State};
use crate::handoff::trust::{Screen, Screened, Unsearched};
use crate::handoff::words::{by_kind, quote, shown_list};
use crate::handoff::workspaces::occupy;
use crate::handoff::{fetch, trust};
use crate::identity::{
    Handoff, Identity, Redacted, Repo, RepoUrl, SCHEMA, SUMMARY, StoreRef, Summary, TaskId, Toolchain, Wish, Workdir,
};
use crate::oci::{Descriptor, media};
use crate::snapshot::{self, Captured, LeftOut};
use crate::store::{self, Access, Store};
use crate::ui::counted;

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
    fn wish(&self) -> image::ImageWish<'_> {
        image::ImageWish { image: self.image.as_deref(), build: self.build }
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

/// Publishes the checkout that holds the working directory.
///
/// # Errors
/// With what stands in the way. The task's tag is moved last, so a failure
/// leaves the task as it was.
pub fn publish(app: &App, options: &PublishOptions) -> Result<Published> {
    let from = PublishedFrom::of(app, options.checkout.as_ref().unwrap_or(&app.cwd))?;
    require_inputs(&app.project(&from.root)?, &from.root)?;
    let published = publish_from(app, options, &from, Vec::new(), true)?;
    from.note(app, &published.0);
    Ok(published.1)
}

/// Finds out before a long run what would stop the publish after it.
///
/// # Errors
/// With that.
pub(crate) fn rehearse(app: &App, options: &PublishOptions, from: &PublishedFrom) -> Result<()> {
    let project = app.project(&from.root)?;
    require_inputs(&project, &from.root)?;
    let parent = from.parent(app)?;
    task(options, parent.as_ref())?;
    let agent = options.agent.clone().or_else(|| app.env.agent.clone());
    trust::screen_words(&trust::scanner(app, &project)?, &options.handoff, agent.as_deref())?;
    if parent.is_none() && image::chosen(app, options.wish(), &project, (&from.root, false))?.is_none() {
        return Err(no_image().into());
    }
    let store = store_of(app, from.origin.as_ref())?;
    require_fixtures(&*app.open(&store, Access::Write)?, &store, &project)
}

/// Publishes a checkout. Of the evidence that is given beside what the project
/// names, files with credentials are left out. `ask` says whether somebody may be
/// asked whether to publish over what they have not seen.
///
/// # Errors
/// As [`publish()`].
pub(crate) fn publish_from(
    app: &App,
    options: &PublishOptions,
    from: &PublishedFrom,
    own: Vec<Evidence>,
    ask: bool,
) -> Result<(PublishedTo, Published)> {
    let git = Git::find(&app.env)?;
    let PublishedFrom { root, origin, sealed_in } = from;
    // A workspace stays where it is meanwhile.
    let _in_use = occupy(root);
    let repo = snapshot::open(root)?;
    let project = app.project(root)?;
    let parent = from.parent(app)?;
    let (task, forked) = task(options, parent.as_ref())?;
    let store_name = store_of(app, origin.as_ref())?;
    let agent = options.agent.clone().or_else(|| app.env.agent.clone());
    let scanner = trust::scanner(app, &project)?;
    trust::screen_words(&scanner, &options.handoff, agent.as_deref())?;
    // Before anything is stored.
    let url: RepoUrl = snapshot::remote_url(&repo)?.parse()?;
    let chosen = match parent.is_none() || is_explicit(app, options) {
        true => Some(chosen_image(app, options, &project, (root, parent.is_some()))?),
        false => None,
    };
    chosen.iter().try_for_each(image::require_folder)?;
    let captured = capture(app, &git, &repo, &project, &scanner, options.redact);
    let (captured, screened) = captured.map_err(|error| snapshot::explained(error, &repo))?;
    let screen = Screen { scanner: &scanner, redact: options.redact, root };
    let mut evidence = collected(app, options, &project, root, screen)?;
    let own_screen = Screen { redact: true, ..screen };
    evidence.extend(looked_at(app, own, own_screen)?);
    crash::point("publish.captured");
    let is_new = matches!(&store_name, StoreRef::Layout(path) if !path.join("oci-layout").exists());
    let target = app.open(&store_name, Access::Write)?;
    if is_new {
        app.ui.status("Created", &format!("the store {store_name}, which was not there"));
    }
    require_fixtures(&*target, &store_name, &project)?;
    // The tag as it was before anything was stored: a move in between is
    // noticed at the end.
    let before = target.resolve(task.as_str())?;
    let remembered = origin.is_none().then(|| Remembered::of(app, &repo, root, &format!("{store_name}:{task}")));
    let intent = Intent {
        app,
        store: &*target,
        name: &store_name,
        task: &task,
        before: before.as_ref(),
        origin: origin.as_ref(),
        remembered: remembered.as_ref().map_or(&[], |remembered| &remembered.known),
        forked: forked.as_ref(),
        ask,
    };
    let course = intent.course()?;
    let continued = course.parent();
    let toolchain = match (chosen, &parent) {
        // A workspace goes on with the image that it was entered with.
        (None, Some(parent)) if fetch::has_image(&*target, &parent.toolchain.image) => parent.toolchain.clone(),
        (chosen, parent) => {
            let choose = || chosen_image(app, options, &project, (root, parent.is_some()));
            pinned(app, (&*target, &store_name), &project, &chosen.map_or_else(choose, Ok)?, screen)?
        }
    };
    let services = pin_services(app, (&*target, &store_name), &project, (root, parent.as_ref()))?;
    crash::point("publish.image");
    let workdir = workdir(options.workdir.as_ref(), &project, parent.as_ref())?;
    let basis = Basis {
        image: toolchain.image.digest,
        platform: toolchain.platform.clone(),
        workdir: workdir.clone(),
        user: toolchain.user.clone(),
    };
    let sealed_in = trust::real_path(sealed_in.as_ref().unwrap_or(root)).ok();
    let published = PublishedCaches { root, url: &url, store: &store_name, task: task.as_str(), sealed_in };
    let fixtures = given_fixtures(&store_name, &project);
    let (caches, sealed) = identity_caches(app, &project, &basis, &published)?;
    let identity = Identity {
        schema: SCHEMA,
        task_id: task.clone(),
        created_at: app.env.document_clock().now(),
        agent_identity: agent,
        repo: Repo {
            url,
            commit: captured.document.head.clone(),
            branch: captured.document.branch.clone(),
            extra: Default::default(),
        },
        toolchain,
        workdir,
        snapshot_id: captured.id(),
        lockfiles: cache::lockfiles(root)?,
        caches,
        fixtures,
        parent: continued,
        handoff: options.handoff.clone(),
        redacted: screened.redacted,
        services,
        workspace: wish(&project),
        extra: Default::default(),
    };
    let bytes = identity.to_bytes()?;
    trust::screen_document(&scanner, "the identity", &bytes)?;
    // What cannot be read back must not be published.
    Identity::parse(&bytes).context("this identity could not be read again")?;
    let pack = match (&captured.pack, &captured.document.pack) {
        (Some(path), Some(pack)) => Some((path.as_path(), pack_descriptor(pack))),
        _ => None,
    };
    let mut descriptor = store::write(&*target, &bytes, &captured.bytes, pack)?;
    crash::point("publish.named");
    push(app, &*target, &basis, &sealed)?;
    let digest = Digest::of(&bytes);
    // Before the tag moves: who enters then finds them.
    let subject = Subject { manifest: descriptor.clone(), digest, identity };
    let artifacts = attached(app, &*target, &subject, &evidence, screen)?;
    let identity = subject.identity;
    let summary = Summary::of(&identity, digest, descriptor.digest);
    descriptor.annotations.insert(SUMMARY.into(), summary.to_text()?);
    if let Some(remembered) = &remembered {
        // Before it is true: whoever is killed in between can publish again,
        // however often. What the task is now stays known until then.
        let now = continued.or(remembered.known.first().copied());
        remembered.note(app, &now.into_iter().chain([digest]).collect::<Vec<_>>());
        crash::point("publish.remembered");
    }
    let tagged = Tagged {
        app,
        store: &*target,
        name: &store_name,
        task: &task,
        digest,
        identity: &identity,
        has_evidence: !artifacts.is_empty(),
    };
    let placed = tagged.place(course, before.as_ref(), &descriptor)?;
    crash::point("publish.moved");
    let is_known = |digest: Digest, bytes: &[u8]| match &remembered {
        Some(remembered) => remembered.note(app, &[digest]),
        // Who enters again sees what the task is now.
        None => drop(app.pins().keep(bytes)),
    };
    is_known(digest, &bytes);
    let (digest, beside) = match tagged.note(&summary, &descriptor, placed)? {
        Placed::Over => (digest, None),
        Placed::Same(theirs) => {
            let digest = Digest::of(&theirs);
            is_known(digest, &theirs);
            (digest, None)
        }
        Placed::Beside(other) => (digest, Some(other)),
    };
    let task_reference = format!("{store_name}:{task}");
    let reference = if beside.is_some() { format!("{store_name}@{digest}") } else { task_reference.clone() };
    let place = PublishedTo { store: store_name, task, identity: digest, state: State::of(&captured.document) };
    let published = Published {
        enter: format!("envctl enter {}", quote(&reference)),
        task: task_reference,
        beside,
        identity: digest.to_string(),
        image: identity.toolchain.image.digest.to_string(),
        snapshot: identity.snapshot_id.to_string(),
        commit: identity.repo.commit.to_string(),
        unpushed_commits: captured.unpushed,
        changed_files: captured.changed_files,
        pack_bytes: captured.document.pack.as_ref().map_or(0, |pack| pack.size),
        operations: operations(&captured).iter().map(|kind| (*kind).to_owned()).collect(),
        lfs: carried(&captured),
        left_out: captured.left_out,
        redacted: identity.redacted,
        unsearched: screened.unsearched,
        artifacts,
    };
    Ok((place, published))
}

fn operations(captured: &Captured) -> Vec<&'static str> {
    captured.document.operation.as_ref().map_or_else(Vec::new, |operation| operation.kinds())
}

fn carried(captured: &Captured) -> LfsCarried {
    let contents = &captured.document.lfs;
    LfsCarried { files: contents.len(), bytes: contents.iter().map(|content| content.size).sum() }
}

/// The task to publish, and the one that it is a fork of.
fn task(options: &PublishOptions, parent: Option<&Identity>) -> Result<(TaskId, Option<TaskId>)> {
    let task = match (&options.task, parent) {
        (Some(task), _) => task.clone(),
        (None, Some(parent)) => parent.task_id.clone(),
        (None, None) => return Err(usage("which task is this?").hint("name it: envctl publish TASK").into()),
    };
    Ok(match &options.fork {
        Some(fork) => (fork.clone(), Some(task)),
        None => (task, None),
    })
}

/// Finds what the project's patterns name, and looks at it.
fn collected(
    app: &App,
    options: &PublishOptions,
    project: &Project,
    root: &Path,
    screen: Screen<'_>,
) -> Result<Attachable> {
    let run = options.run.as_ref();
    let maker = Maker {
        command: options.handoff.command.clone(),
        exit_code: options.handoff.exit_code,
        agent: options.agent.clone().or_else(|| app.env.agent.clone()),
        run: run.map(|run| run.name.clone()),
        lease: run.and_then(|run| run.lease.clone()),
    };
    let found = collect(root, &project.artifacts.collect, &maker, run.and_then(|run| run.begun))?;
    for left_out in &found.left_out {
        app.ui.warn(&format!("not attached: {left_out}"));
    }
    looked_at(app, found.files, screen)
}

fn attached(
    app: &App,
    target: &dyn Store,
    subject: &Subject,
    evidence: &Attachable,
    screen: Screen<'_>,
) -> Result<Vec<ArtifactRow>> {
    let attached = attach(app, target, subject, evidence, screen)?;
    if !attached.is_empty() {
        let bytes = attached.iter().map(|attachment| attachment.content.size).sum();
        app.ui.status(
            "Attached",
            &format!("{}, {}", counted(attached.len() as u64, "artifact", "artifacts"), crate::ui::human_bytes(bytes)),
        );
    }
    Ok(attached.iter().map(ArtifactRow::of).collect())
}

fn store_of(app: &App, origin: Option<&Pin>) -> Result<StoreRef> {
    match (app.options.store.is_some(), origin) {
        (false, Some(pin)) => {
            let store: StoreRef = pin.store.parse()?;
            match &store {
                // A share that is not mounted is no reason for a new store.
                StoreRef::Layout(path) if !path.exists() => {
                    Err(not_found(format!("the store {store} is not there any more, and the task came from it"))
                        .hint("mount it or put it back, or name another one: --store STORE")
                        .into())
                }
                _ => Ok(store),
            }
        }
        _ => app.store(),
    }
}

/// What of a checkout the project wants to be captured.
///
/// # Errors
/// When a limit cannot be read.
pub(crate) fn chosen(app: &App, project: &Project, root: &Path) -> Result<snapshot::Options> {
    let wanted = &project.snapshot;
    let mut exclude = wanted.exclude.clone();
    // Copies of sealed trees are nobody's work.
    exclude
        .extend(forget_materialized(&app.paths, root).into_iter().map(|path| format!("/{}/", escape_pattern(&path))));
    Ok(snapshot::Options { include: wanted.include.clone(), exclude, max_lfs: wanted.max_lfs()?, stays: false })
}

/// Captures the checkout, looks at what would travel, and packs it.
fn capture(
    app: &App,
    git: &Git,
    repo: &git2::Repository,
    project: &Project,
    scanner: &Scanner,
    redact: bool,
) -> Result<(Captured, Screened)> {
    let root = repo.workdir().unwrap_or(&app.cwd);
    // Mostly nothing is found, and git need not have waited.
    let look = |draft: &snapshot::Draft| {
        std::thread::scope(|scope| {
            let packing = scope.spawn(|| draft.pack(git));
            let found = trust::scan(scanner, git, draft);
            Ok((packing.join(), found))
        })
    };
    let options = chosen(app, project, root)?;
    let capture = || snapshot::draft_and(git, repo, &options, &look);
    let (mut draft, (packed, found)) = app.ui.progress().during("the checkout", &|| None, capture)?;
    let screened = trust::settle_findings(app, found?, &mut draft, redact)?;
    let packed = if screened.redacted.is_empty() {
        packed.map_err(|_| anyhow::anyhow!("the thread that packs died"))??
    } else {
        draft.pack(git)?
    };
    let captured = draft.seal(packed)?;
    trust::screen_document(scanner, "the list of paths and branches", &captured.bytes)?;
    app.ui.status(
        "Captured",
        &format!(
            "{} and {} on {}",
            counted(captured.changed_files as u64, "changed file", "changed files"),
            counted(captured.unpushed as u64, "unpushed commit", "unpushed commits"),
            captured.document.base.short()
        ),
    );
    tell(app, &captured);
    trust::tell_redacted(app, &screened.redacted);
    Ok((captured, screened))
}

/// What is carried beyond files and commits, and what is not.
fn tell(app: &App, captured: &Captured) {
    for kind in operations(captured) {
        app.ui.status("Captured", &format!("a {kind} in progress"));
    }
    let lfs = carried(captured);
    if lfs.files > 0 {
        let bytes = crate::ui::human_bytes(lfs.bytes);
        app.ui.status("Captured", &format!("{} LFS files that the remote may lack, {bytes}", lfs.files));
    }
    for (kind, names) in by_kind(&captured.left_out) {
        app.ui.status("Left out", &format!("{kind}: {}", shown_list(&names)));
    }
}

/// The image that the task is to run in, by flags or by the project.
fn chosen_image(
    app: &App,
    options: &PublishOptions,
    project: &Project,
    (root, entered): (&Path, bool),
) -> Result<ChosenImage> {
    Ok(image::chosen(app, options.wish(), project, (root, entered))?.ok_or_else(no_image)?)
}

/// The image as the identity says it, copied into the store where it has to be.
fn pinned(
    app: &App,
    target: (&dyn Store, &StoreRef),
    project: &Project,
    chosen: &ChosenImage,
    screen: Screen<'_>,
) -> Result<Toolchain> {
    let (toolchain, bytes) = image::pin_into(app, target, (chosen, &project.toolchain), Some(screen))?;
    if bytes > 0 {
        app.ui.status("Stored", &format!("the image, {}", crate::ui::human_bytes(bytes)));
    }
    Ok(toolchain)
}

/// Whether the developer says which image, or that it is built.
fn is_explicit(app: &App, options: &PublishOptions) -> bool {
    options.image.is_some() || options.build || app.env.image.is_some()
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

/// A path as a gitignore pattern that matches it alone.
fn escape_pattern(path: &str) -> String {
    path.chars().flat_map(|c| if "*?[]\\!# ".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

/// What the project wishes of the workspaces of those who enter.
fn wish(project: &Project) -> Option<Wish> {
    let workspace = &project.workspace;
    let lifetime = workspace.lifetime.map(|lifetime| lifetime.to_string());
    let wish = Wish { lifetime, ttl: workspace.ttl.clone(), extra: Default::default() };
    (wish != Wish::default()).then_some(wish)
}

fn pack_descriptor(pack: &snapshot::Pack) -> Descriptor {
    let mut descriptor = Descriptor::of(media::PACK, b"");
    descriptor.digest = pack.digest;
    descriptor.size = pack.size;
    descriptor
}
