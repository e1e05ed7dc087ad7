//! Making the workspace: mirror, clone, snapshot, parity.

use std::cell::OnceCell;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::nearby;
use crate::crash;
use crate::disk;
use crate::error::{failure, integrity, of_thread, usage};
use crate::git::lfs::Pointer;
use crate::git::{Coming, Git};
use crate::handoff::app::App;
use crate::handoff::fetch::Snapshot;
use crate::handoff::report::Arrived;
use crate::handoff::task::{Door, Pin, Resolved, manner, mirror};
use crate::handoff::workspaces::vacate;
use crate::identity::Commit;
use crate::snapshot::{self, Applied, Document, Parity};
use crate::ui::{Steps, human_bytes};
use crate::workspace::{self, MirrorRemote, RemotePlace, WorkspaceDraft};

/// The state of a task's workspace.
pub(crate) enum Workspace {
    /// It is there, made from the same identity.
    Ready(Box<Pin>),
    /// It must be made.
    Missing,
    /// It must be made, and what is in the way moved aside, for this reason:
    /// it was made from another identity, or may not be whole.
    Stale(&'static str),
    /// It must be made, in the place of another task's.
    Taken(Box<Pin>),
}

/// What becomes of a workspace that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renew {
    /// It is carried on in.
    Never,
    /// It is set aside when it was made from another identity.
    Outdated,
    /// It is set aside.
    Always,
}

/// Looks at the place of a workspace; changes nothing.
///
/// # Errors
/// When something that envctl did not make is in the way.
pub(crate) fn look(app: &App, resolved: &Resolved, place: &Path, renew: Renew) -> Result<Workspace> {
    if !place.exists() {
        return Ok(Workspace::Missing);
    }
    let empty = std::fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none());
    if empty {
        return Ok(Workspace::Missing);
    }
    let Some(pin) = &resolved.pin else {
        if workspace::is_workspace(place) && place.starts_with(app.paths.data()) {
            let others = app.pins().all()?.into_iter();
            if let Some(other) = others.filter(|pin| !pin.is_of(&resolved.task)).find(|pin| pin.workspace == place) {
                return Ok(Workspace::Taken(Box::new(other)));
            }
            // Made, but the pin was never written: a crash in between.
            return Ok(Workspace::Stale("it was never finished"));
        }
        return Err(usage(format!("{} is not empty", place.display()))
            .hint("name a folder that does not exist yet: --into DIR")
            .into());
    };
    if !workspace::is_workspace(place) {
        return Err(failure(format!("{} is no longer a workspace of envctl", place.display()))
            .hint("move it away, then enter the task again")
            .into());
    }
    let lost = pin.unflushed_boot.is_some() && pin.unflushed_boot != Some(disk::boot_id()?);
    if lost {
        return Ok(Workspace::Stale("this machine went down before it was flushed"));
    }
    if pin.identity == resolved.digest && renew != Renew::Always {
        return Ok(Workspace::Ready(Box::new(pin.clone())));
    }
    if renew == Renew::Never {
        return Err(failure(format!("{} belongs to another identity of this task", place.display()))
            .hint("envctl enter TASK --refresh sets it aside and makes a new one")
            .into());
    }
    // Before anything is fetched for it.
    vacate(app, place)?;
    Ok(Workspace::Stale(match renew {
        Renew::Always => "it was reset",
        _ if pin.holds(&resolved.digest) => "a later state was published from it",
        _ => "the task has moved on",
    }))
}

/// What making a workspace gave.
pub(crate) struct HydratedWorkspace {
    pub(crate) parity: Parity,
    pub(crate) restored: Arrived,
}

/// Brings the base commit into the mirror; returns the bytes that moved.
///
/// # Errors
/// When the remote cannot be reached, or does not have it.
pub(crate) fn fetch_repo(app: &App, resolved: &Resolved, document: &Document) -> Result<u64> {
    let git = Git::find(&app.env)?;
    let door = Door::of(app, resolved)?;
    door.settle_known()?;
    let others: Vec<Commit> = document.remote.refs.iter().map(|tracking| tracking.commit.clone()).collect();
    let told = Told::of(app, format!("{} from {}", document.base.short(), door.url()));
    let mirror = mirror(app, resolved);
    nearby::copy(app, resolved, &mirror, &git, &document.base)?;
    let fetched = mirror.ensure(&git, door.remote(), &document.base, &others, &told)?;
    let unproven = mirror.unproven();
    if unproven.is_empty() {
        return Ok(fetched.bytes);
    }
    let Err(error) = mirror.sound(&document.base) else { return Ok(fetched.bytes) };
    app.ui.warn(&format!("a clone here is damaged, and is not used: {error:#}"));
    unproven.iter().try_for_each(|copied| mirror.take_out(copied))?;
    Ok(mirror.ensure(&git, door.remote(), &document.base, &others, &told)?.bytes)
}

/// Makes sure that the remote of a task may be asked, before anything of it is brought;
/// asks it nothing.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when the developer did not agree to it.
pub(crate) fn settle_repo(app: &App, resolved: &Resolved) -> Result<()> {
    let (mirror, door) = (mirror(app, resolved), Door::of(app, resolved)?);
    if mirror.has(&resolved.identity.repo.commit) {
        return door.settle_known();
    }
    mirror.settle(&Git::find(&app.env)?, door.remote())
}

/// Hashes the history that came from clones, while nobody waits. What is wrong is
/// fetched from the remote.
///
/// # Errors
/// When that fails.
pub(crate) fn prove(app: &App, resolved: &Resolved) -> Result<()> {
    let git = Git::find(&app.env)?;
    let mirror = mirror(app, resolved);
    for copied in mirror.prove(&git)? {
        let door = Door::quiet(app, &resolved.identity, Some(&resolved.task.store))?;
        let told = Told::of(app, format!("what was damaged in a clone here, from {}", door.url()));
        for commit in copied.commits() {
            mirror.ensure(&git, door.remote(), &commit, &[], &told)?;
        }
    }
    Ok(())
}

/// The same from a checkout of this machine, as far as it can give them.
///
/// # Errors
/// When git cannot read them there.
pub(crate) fn fetch_from(app: &App, resolved: &Resolved, document: &Document, checkout: &Path) -> Result<()> {
    let git = Git::find(&app.env)?;
    let url = checkout.to_str().context("the checkout's path is not valid UTF-8")?;
    let remote = MirrorRemote { place: RemotePlace::Folder(url), offline: false, manner: manner(app, false) };
    let others: Vec<Commit> = document.remote.refs.iter().map(|tracking| tracking.commit.clone()).collect();
    let told = Told::of(app, format!("{} from this checkout", document.base.short()));
    mirror(app, resolved).ensure(&git, remote, &document.base, &others, &told).map(drop)
}

struct Told<'a> {
    app: &'a App,
    what: String,
    steps: OnceCell<Steps>,
}

impl<'a> Told<'a> {
    fn of(app: &'a App, what: String) -> Self {
        Told { app, what, steps: OnceCell::new() }
    }
}

impl workspace::FetchWatch for Told<'_> {
    fn waiting(&self) {
        self.app.ui.status("Waiting", "another envctl is fetching the same repository");
    }

    fn fetching(&self) {
        self.app.ui.status("Fetching", &self.what);
    }

    fn coming(&self, coming: Option<&Coming>) {
        let steps = self.steps.get_or_init(|| self.app.ui.progress().steps("history"));
        let Some(coming) = coming else { return steps.tick() };
        // What may be cut off comes last.
        let bytes = coming.bytes.map(|bytes| format!("{}, ", human_bytes(bytes))).unwrap_or_default();
        let rate = coming.rate.map(|rate| format!("{}/s, ", human_bytes(rate))).unwrap_or_default();
        steps.at(coming.done, coming.total, &format!("{bytes}{rate}{}", coming.what));
    }
}

/// Clones, applies the snapshot and compares the result with it; then it takes
/// its place, and what was there goes `aside`.
///
/// # Errors
/// [`crate::error::Kind::Integrity`] when what was restored is not what was
/// captured. Nothing stays at `place` then.
pub(crate) fn workspace(
    app: &App,
    resolved: &Resolved,
    mut snapshot: Snapshot,
    place: &Path,
    aside: Option<&Path>,
) -> Result<HydratedWorkspace> {
    let git = Git::find(&app.env)?;
    let (document, identity) = (&snapshot.document, &resolved.identity);
    if document.head != identity.repo.commit || document.branch != identity.repo.branch {
        return Err(integrity("the identity and its snapshot name different commits").into());
    }
    let url = identity.repo.url.to_string();
    let mirror = mirror(app, resolved);
    let draft = WorkspaceDraft::new(place, &mirror, &document.remote.name, &url, aside.is_some())?;
    let pack = snapshot.pack.as_mut().map(|file| file as &mut dyn std::io::Read);
    let door = Door::of(app, resolved)?;
    let mut reason = None;
    let mut fetch = |wanted: &[Pointer]| {
        let told = Told::of(app, format!("{} LFS files from {}", wanted.len(), door.url()));
        let fetched = mirror.fetch_contents(&git, door.remote(), wanted, &told);
        reason = fetched.err().map(|error| format!("{error:#}"));
        vec![mirror.contents()]
    };
    // Git takes as long to say who commits as it takes to write the files.
    let restore = || {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| draft.author(&git, app.env.named("EMAIL")));
            (snapshot::apply(&git, draft.path(), document, pack, &mut fetch), asked.join())
        })
    };
    let (applied, author) = app.ui.progress().during("the files", &|| None, restore);
    let (applied, author) = (applied?, of_thread(author, "the thread that asks git who commits")?);
    warn_of_obeyed(app, draft.path(), &applied);
    let compare = || snapshot::parity(&git, draft.path(), document, &applied);
    let parity = app
        .ui
        .progress()
        .during("comparing them", &|| None, compare)
        .context("cannot compare the workspace with its snapshot")?;
    if !parity.ok {
        return Err(integrity(format!(
            "the restored workspace differs from its snapshot: tree {} instead of {}, index {} instead of {}",
            parity.restored_tree, parity.tree, parity.restored_index, parity.index
        ))
        .hint("publish the task again; nothing was kept")
        .into());
    }
    let restored = Arrived::new(draft.path(), &applied, document, reason);
    // After the comparison: these are the developer's, not the agent's.
    draft.personalise(&door.url().to_string(), &url, author)?;
    set_times(app, draft.path(), &parity.tree);
    crash::point("cold.workspace-applied");
    draft.finish(aside)?;
    crash::point("cold.workspace-in-place");
    Ok(HydratedWorkspace { parity, restored })
}

/// Names what git would obey in repositories among the files of the task. Nobody has
/// written it inside, so it stays as it came.
fn warn_of_obeyed(app: &App, draft: &Path, applied: &Applied) {
    app.ui.warn_each(workspace::obeyed(draft, &applied.repositories).into_iter().map(|planted| {
        let (path, why) = (planted.path.display(), planted.why);
        format!("{path} came with the task, and git would obey it in that folder: {why}")
    }));
}

/// Where something is built from the workspace, what came with it is older than
/// all of that.
fn set_times(app: &App, draft: &Path, tree: &str) {
    let built = |project: crate::config::Project| project.cache.iter().any(|cache| cache.is_built());
    // What is wrong with the project's file is said when it is used.
    if !app.project(draft).is_ok_and(built) {
        return;
    }
    let set = workspace::Files::of_draft(draft).and_then(|mut files| {
        let time = workspace::of_tree(tree);
        let times: Vec<_> = (0..files.iter().count()).map(|at| (at, time)).collect();
        files.set_times(&times)
    });
    if let Err(error) = set {
        app.ui.detail(&format!(
            "files of the workspace count as new, so whatever is built from them is built again: {error:#}"
        ));
    }
}
