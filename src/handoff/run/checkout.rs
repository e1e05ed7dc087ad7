//! A checkout as a task of its own, which no store knows: what `run` without a
//! task works on.
//!
//! Invariants: the checkout itself is read and never changed, as when it is
//! published; the run has a workspace of its own, a copy of what the checkout
//! holds without the files that git ignores. The copy is pinned like any other
//! workspace, so that nothing that was made in it is lost when it has to stay.
//! Nothing leaves this machine, so nothing is looked at for credentials.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::publisher::Publishing;
use crate::cache;
use crate::config::Project;
use crate::digest::random_hex;
use crate::disk::{self, Durability, remove};
use crate::git::Git;
use crate::handoff::app::App;
use crate::handoff::publish::{ChosenImage, ImageWish, PublishedFrom, chosen, no_image, workdir};
use crate::handoff::runtimes::RuntimeOptions;
use crate::handoff::task::{Located, Resolved, State};
use crate::handoff::trust::{Checkout, Origin, Screen, real_path};
use crate::handoff::{prepare, publish, runtimes, task, trust, workspaces};
use crate::identity::{Handoff, Identity, Repo, RepoUrl, SCHEMA, StoreRef, Target, Toolchain, Workdir};
use crate::snapshot::{self, Captured, Document};
use crate::store::Access;
use crate::workspace;

/// What `run` is told about the checkout.
#[derive(Clone, Debug, Default)]
pub struct CheckoutOptions {
    /// `--image`.
    pub image: Option<String>,
    /// `--build`.
    pub build: bool,
    /// `--workdir`.
    pub workdir: Option<Workdir>,
}

/// A checkout that was taken.
pub(crate) struct Taken {
    pub(crate) resolved: Resolved,
    /// What the workspace holds at first.
    document: Document,
    /// The image that was built for it, by name: what runs is what is published,
    /// whatever the run does to the files that it was built from.
    pub(crate) built: Option<String>,
}

/// How a checkout is taken.
pub(super) struct TakeOptions<'a> {
    pub(super) about: &'a CheckoutOptions,
    pub(super) runtime: &'a RuntimeOptions,
    pub(super) publishing: Option<&'a Publishing>,
    pub(super) agent: Option<String>,
}

/// Takes the checkout's state and settles it as an identity of this machine.
///
/// # Errors
/// What cannot be captured is refused by name; an image that nobody names.
pub(super) fn take(app: &App, from: &PublishedFrom, options: TakeOptions<'_>) -> Result<Taken> {
    let TakeOptions { about, runtime, publishing, agent } = options;
    let (task, stays) = (publishing.and_then(|publishing| publishing.task.as_ref()), publishing.is_none());
    app.open_roots()?;
    let root = &from.root;
    let repo = snapshot::open(root)?;
    let project = app.project(root)?;
    let parent = from.parent(app)?;
    let url = remote(&repo, root, stays)?;
    // Before anything is made: no store knows this task, to look at it there.
    let local = checkout_of(app, from).with_context(|| format!("cannot find {}", root.display()))?;
    // Setups are asked for when it is known which would run; what is declined is left
    // out when the runtime is put together.
    let asking = Project { cache: Vec::new(), ..project.clone() };
    let asks = runtimes::asks(&url, &local.origin, &asking, runtime);
    trust::consent(app, None, &asks, runtime.without_approvals)?;
    let captured = capture(app, &repo, &project)?;
    let document = captured.document.clone();
    let (toolchain, store, built) = toolchain(app, about, &project, from, (parent.as_ref(), !stays))?;
    let services = match &parent {
        Some(parent) => parent.services.clone(),
        None if has_images(&project) && !runtime.no_services => publish::pin_services(
            app,
            (&*app.open(&store, Access::Write)?, &store),
            &project,
            (root, None, from.origin.is_some()),
        )?,
        None => Vec::new(),
    };
    let task_id = match (task, &parent) {
        (Some(task), _) => task.clone(),
        (None, Some(parent)) => parent.task_id.clone(),
        (None, None) => "checkout".parse()?,
    };
    let mut identity = Identity {
        schema: SCHEMA,
        task_id,
        created_at: app.env.document_clock().now(),
        agent_identity: agent,
        repo: Repo { url, commit: document.head.clone(), branch: document.branch.clone(), extra: Default::default() },
        toolchain,
        workdir: workdir(about.workdir.as_ref(), &project, parent.as_ref())?,
        snapshot_id: captured.id(),
        lockfiles: cache::lockfiles(root)?,
        caches: Vec::new(),
        fixtures: Vec::new(),
        parent: from.origin.as_ref().map(task::Pin::latest),
        handoff: Handoff::default(),
        workspace: None,
        services,
        redacted: Vec::new(),
        extra: Default::default(),
    };
    // Two runs of the same state at the same time have a workspace each.
    identity.extra.insert("run".into(), random_hex::<8>()?.into());
    let resolved = settle(app, identity, store, local)?;
    keep(app, &captured)?;
    borrow_commits(app, &resolved, &document, root);
    Ok(Taken { resolved, document, built })
}

/// Where its commits come from. Where nobody else has to fetch anything, the checkout may
/// be its own remote.
fn remote(repo: &git2::Repository, root: &Path, stays: bool) -> Result<RepoUrl> {
    Ok(match snapshot::remote_url(repo) {
        Err(_) if stays => root.to_str().context("the checkout's path is no UTF-8")?.parse()?,
        url => url?.parse()?,
    })
}

/// Keeps an identity, as one that was resolved.
fn settle(app: &App, identity: Identity, store: StoreRef, local: Checkout) -> Result<Resolved> {
    let digest = app.pins().keep(&identity.to_bytes()?)?;
    let task = Located { store, target: Target::Identity(digest) };
    Ok(Resolved { task, digest, identity, pin: None, pinned_at: app.clock.now(), local: Some(local) })
}

/// Who writes to a checkout. A workspace holds what came from its store; what lies
/// in it, code inside may have made.
fn checkout_of(app: &App, from: &PublishedFrom) -> std::io::Result<Checkout> {
    let root = fs::canonicalize(&from.root)?;
    let (origin, planted) = match &from.origin {
        Some(pin) => (Origin::Store(pin.store.clone()), fs::canonicalize(&pin.workspace)? != root),
        None => (Origin::folder(&root)?, fs::canonicalize(app.paths.data()).is_ok_and(|data| root.starts_with(data))),
    };
    Ok(Checkout { origin, folder: real_path(&root)?, planted })
}

fn capture(app: &App, repo: &git2::Repository, project: &Project) -> Result<Captured> {
    let git = Git::find(&app.env)?;
    let root = repo.workdir().unwrap_or(&app.cwd);
    let options = snapshot::CaptureOptions { stays: true, ..chosen(app, project, root)? };
    let draft = snapshot::capture(&git, repo, &options)?;
    let packed = draft.pack(&git)?;
    draft.seal(packed)
}

/// The image, the store in which it is, and its name where it was built for this run.
fn toolchain(
    app: &App,
    options: &CheckoutOptions,
    project: &Project,
    from: &PublishedFrom,
    (parent, publishes): (Option<&Identity>, bool),
) -> Result<(Toolchain, StoreRef, Option<String>)> {
    let explicit = options.image.is_some() || options.build || app.env.image.is_some();
    if let (false, Some(parent), Some(pin)) = (explicit, parent, &from.origin) {
        return Ok((parent.toolchain.clone(), pin.store.parse()?, None));
    }
    let place = (from.root.as_path(), from.origin.is_some());
    let wish = ImageWish { image: options.image.as_deref(), build: options.build };
    let chosen = publish::chosen_image(app, wish, project, place)?.ok_or_else(no_image)?;
    let scanner = trust::scanner(app, project)?;
    let screen = Screen { scanner: &scanner, redact: false, root: &from.root };
    let (wanted, screen) = ((&chosen, &project.toolchain), publishes.then_some(screen));
    let (toolchain, store) = match parent.is_none() && has_images(project) {
        true => publish::pin_image_here(app, wanted, screen)?,
        false => publish::pin_image(app, wanted, screen)?,
    };
    let built = matches!(chosen, ChosenImage::Built(_)).then(|| format!("{store}@{}", toolchain.image.digest));
    Ok((toolchain, store, built))
}

/// Whether services have images of their own, which lie in one store with the task's.
fn has_images(project: &Project) -> bool {
    project.service.iter().any(|service| service.image.is_some())
}

/// Where an `enter` looks for a snapshot first.
fn keep(app: &App, captured: &Captured) -> Result<()> {
    if let (Some(from), Some(pack)) = (&captured.pack, &captured.document.pack) {
        let place = app.paths.blob(&pack.digest);
        let parent = place.parent().context("a blob has a folder")?;
        disk::create_private_dir(parent)?;
        let mut file = disk::Unnamed::create_in(parent)?;
        let mut source = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
        std::io::copy(&mut source, &mut file).context("cannot keep the snapshot's pack")?;
        file.publish(&place, Durability::Cached).with_context(|| format!("cannot write {}", place.display()))?;
    }
    disk::write_file(&app.paths.blob(&captured.id()), &captured.bytes, Durability::Cached)
}

/// The commits are in the checkout: the remote need not be asked for them. From
/// a shallow clone git gives none, and then it is.
fn borrow_commits(app: &App, resolved: &Resolved, document: &Document, root: &Path) {
    if let Err(error) = prepare::fetch_from(app, resolved, document, root) {
        app.ui.detail(&format!("the checkout gives no commits: {error:#}"));
    }
}

/// Removes the workspace of a run, unless something in it differs from what it
/// was made from, and from the snapshot that was published of it. Files that git
/// ignores do not count. Returns whether it is gone.
///
/// # Errors
/// When it cannot be looked at, or removed. Then it stays.
pub(crate) fn tidy(app: &App, taken: &Taken, place: &Path, published: Option<&str>) -> Result<bool> {
    let repo = snapshot::open(place)?;
    let mut project = app.project(place)?;
    // What a publish would leave out was made here all the same.
    project.snapshot.exclude = Vec::new();
    let captured = capture(app, &repo, &project)?;
    let (now, then) = (&captured.document, &taken.document);
    let safe = published.is_some_and(|snapshot| snapshot == captured.id().to_string());
    // Of the remote the copy may know less, and so pack more.
    let same = *then
        == Document {
            base: then.base.clone(),
            remote: then.remote.clone(),
            commits: then.commits.clone(),
            pack: then.pack,
            lfs: then.lfs.clone(),
            ..now.clone()
        };
    drop(repo);
    let mut saved: Vec<String> = State::of(then).commits().collect();
    if safe {
        saved.extend(State::of(now).commits());
    }
    // Other branches, stashes: no snapshot has them.
    let loose = workspace::loose_ends(
        place,
        workspace::KnownCommits { saved: &saved, operations: same || safe, ..workspace::KnownCommits::default() },
    )?;
    if !loose.is_empty() || !(same || safe) {
        return Ok(false);
    }
    discard(app, taken, place)
}

/// Removes the workspace of a run, whatever it holds, unless a runtime is alive in it.
/// Returns whether it is gone.
///
/// # Errors
/// When it cannot be removed.
pub(crate) fn discard(app: &App, taken: &Taken, place: &Path) -> Result<bool> {
    let (resolved, then) = (&taken.resolved, &taken.document);
    let _lock = workspaces::lock(app, resolved, place)?;
    if app.runtimes().live()?.iter().any(|lease| lease.workspace == place) {
        return Ok(false);
    }
    remove::tree(place)?;
    app.pins().forget_task(&resolved.task, &resolved.digest)?;
    for blob in [Some(resolved.identity.snapshot_id), then.pack.as_ref().map(|pack| pack.digest)].into_iter().flatten()
    {
        let _ = fs::remove_file(app.paths.blob(&blob));
    }
    Ok(true)
}

/// Removes what was made for a run that is refused: nothing was run in it.
pub(crate) fn abandon(app: &App, taken: &Taken, place: &Path) {
    let gone = match place.exists() {
        true => tidy(app, taken, place, None),
        false => app.pins().forget_task(&taken.resolved.task, &taken.resolved.digest).map(|()| true),
    };
    match gone {
        Ok(true) => {}
        Ok(false) => app.ui.status("Kept", &format!("the copy of the checkout: {}", place.display())),
        Err(error) => app.ui.warn(&format!("the copy of the checkout stays at {}: {error:#}", place.display())),
    }
}
