//! Where workspaces lie, by what they belong to, and who may be in one.
//!
//! A place is chosen by the developer: `--into`, `--lifetime`, their
//! `config.toml`. What the project of a task wishes comes last; it chooses a
//! kind among folders of envctl's own, and takes no place from another task.
//!
//! Locks: a task's, then that of a place that tasks share; both before a
//! workspace is made, moved or forgotten. Beneath them the folder of a
//! workspace is locked itself: shared by whoever is about to start something
//! in it, alone by whoever moves it away ([`vacate`]).

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::digest::Digest;
use crate::disk::canonical;
use crate::disk::lock::{self, FileLock};
use crate::error::{failure, policy, usage};
use crate::handoff::app::App;
use crate::handoff::task::{Pin, Resolved};
use crate::handoff::words::quote;
use crate::identity::{Identity, Lifetime, StoreRef, Wish};
use crate::quantity::parse_duration;
use crate::runtime::Lease;

/// How long an unused workspace of a task stays when nobody says.
const DEFAULT_TTL: &str = "14d";

/// A wish for less is not heard.
const SHORTEST_WISH: Duration = Duration::from_secs(86_400);

/// Where the workspace of a task is, or will be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The folder that the developer named.
    into: Option<PathBuf>,
    /// The workspace.
    pub(crate) path: PathBuf,
    /// What it belongs to.
    pub(crate) lifetime: Lifetime,
    /// The developer chose this lifetime, so it may take the place of another
    /// task's.
    own_word: bool,
}

impl Place {
    /// The folder that the developer named.
    pub(crate) fn into(&self) -> Option<&Path> {
        self.into.as_deref()
    }

    /// Settles where a task's workspace is: where it was pinned, or by what the
    /// developer `asked` for.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when the developer has to name a folder,
    /// or asks for another lifetime than the workspace that is there has.
    pub(crate) fn of(app: &App, resolved: &Resolved, into: Option<&Path>, asked: Option<Lifetime>) -> Result<Self> {
        if let Some(into) = into {
            if let Some(asked) = asked.filter(|asked| *asked != Lifetime::PerDeveloper) {
                return Err(usage(format!("a {asked} workspace is not in a folder that you name"))
                    .hint("leave --into or --lifetime out")
                    .into());
            }
            let (path, lifetime) = (into.to_owned(), Lifetime::PerDeveloper);
            return Ok(Place { into: Some(path.clone()), path, lifetime, own_word: true });
        }
        if let Some(pin) = &resolved.pin
            && let Some(asked) = asked.filter(|asked| *asked != pin.lifetime)
            && pin.workspace.exists()
        {
            return Err(usage(format!("{} has a {} workspace, not a {asked} one", pin.slug, pin.lifetime))
                .hint(format!("envctl workspace rm {} removes it; what is unsaved is salvaged", pin.quoted()))
                .into());
        }
        let own = asked.or(app.user.workspace.lifetime);
        let pinned = resolved.pin.as_ref().filter(|_| asked.is_none()).map(|pin| pin.lifetime);
        let wished = || resolved.identity.workspace.as_ref().and_then(Wish::lifetime);
        let lifetime = pinned.or(own).or_else(wished).unwrap_or_default();
        if lifetime == Lifetime::PerDeveloper {
            return Err(usage("a per-developer workspace is in a folder that you name").hint("add --into DIR").into());
        }
        let repo = &resolved.identity.repo;
        let key = repo.url.key();
        let (lifetime, path) = match (lifetime, &repo.branch) {
            (Lifetime::PerProject, _) => (lifetime, app.paths.project_workspace(&key)),
            (Lifetime::PerBranch, Some(branch)) => (lifetime, app.paths.branch_workspace(&key, branch)),
            // What is on no branch shares none.
            _ => (Lifetime::PerTask, app.paths.task_workspace(&key, &resolved.task.store.key(), &resolved.task.slug())),
        };
        Ok(Place { into: None, path, lifetime, own_word: own == Some(lifetime) })
    }

    /// A place for the workspace of one run, which nobody else has.
    pub(crate) fn of_run(app: &App, resolved: &Resolved, run: &str) -> Self {
        let key = resolved.identity.repo.url.key();
        let path = app.paths.run_workspace(&key, &resolved.task.slug(), run);
        Place { into: Some(path.clone()), path, lifetime: Lifetime::PerTask, own_word: false }
    }

    /// Makes sure that this task may take the place of another one's workspace.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] when only its project wishes so and the
    /// developer does not agree.
    pub(crate) fn may_replace(&self, app: &App, other: &Pin, task: &str) -> Result<()> {
        let (path, lifetime) = (self.path.display(), self.lifetime);
        let question = format!("{path} holds the workspace of {}. Salvage it and take its place?", other.slug);
        if self.own_word || app.confirm(&question)? == Some(true) {
            return Ok(());
        }
        Err(policy(format!(
            "{path} holds the workspace of {}, and nobody but the project asks for its place",
            other.slug
        ))
        .hint(format!(
            "take it, and salvage what is unsaved there: envctl enter {} --lifetime {lifetime}; \
                 or leave it alone: --lifetime per-task",
            quote(task)
        ))
        .into())
    }
}

/// Locks on the making, moving and forgetting of a workspace.
pub(crate) struct Locks {
    _task: FileLock,
    _place: Option<FileLock>,
}

impl Locks {
    /// Waits for them.
    ///
    /// # Errors
    /// When there are no locks here.
    pub(crate) fn wait(app: &App, store: &StoreRef, slug: &str, place: &Path) -> Result<Self> {
        let told = || app.ui.status("Waiting", "another envctl is making this task's workspace");
        let _task = FileLock::acquire(&app.paths.data_lock(&task_lock(store, slug)), told)?;
        let place = shared(app, place).map(|path| {
            let told = || app.ui.status("Waiting", "another envctl uses the same workspace");
            FileLock::acquire(&path, told)
        });
        Ok(Locks { _task, _place: place.transpose()? })
    }

    /// Takes them unless somebody has one.
    ///
    /// # Errors
    /// As [`Locks::wait`].
    pub(crate) fn attempt(app: &App, pin: &Pin) -> Result<Option<Self>> {
        let store: StoreRef = pin.store.parse()?;
        let Some(_task) = FileLock::attempt(&app.paths.data_lock(&task_lock(&store, &pin.slug)))? else {
            return Ok(None);
        };
        let _place = match shared(app, &pin.workspace) {
            None => None,
            Some(path) => match FileLock::attempt(&path)? {
                None => return Ok(None),
                held => held,
            },
        };
        Ok(Some(Locks { _task, _place }))
    }
}

impl Locks {
    /// Takes those of a place that no pin names, unless somebody has one.
    ///
    /// # Errors
    /// As [`Locks::wait`].
    pub(crate) fn of_orphan(app: &App, place: &Path) -> Result<Option<Self>> {
        // The folder of a task is named as its lock is.
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let path = shared(app, place).unwrap_or_else(|| app.paths.data_lock(&format!("task-{name}")));
        Ok(FileLock::attempt(&path)?.map(|lock| Locks { _task: lock, _place: None }))
    }
}

/// Keeps others off a task, and off its place, while its workspace is being
/// made.
pub(crate) fn lock(app: &App, resolved: &Resolved, place: &Path) -> Result<Locks> {
    Locks::wait(app, &resolved.task.store, &resolved.task.slug(), place)
}

fn task_lock(store: &StoreRef, slug: &str) -> String {
    format!("task-{}-{slug}", store.key())
}

/// The lock of a place that tasks share.
fn shared(app: &App, place: &Path) -> Option<PathBuf> {
    let below = place.strip_prefix(app.paths.workspaces()).ok()?;
    let kind = below.iter().nth(1)?;
    (kind != "task" && !app.paths.is_run_workspace(place))
        .then(|| app.paths.data_lock(&format!("place-{}", Digest::of(below.as_os_str().as_encoded_bytes()).short())))
}

/// Keeps a workspace where it is until this is dropped: a runtime is about to
/// start in it, which needs its [`Locks`], or it is being captured.
pub(crate) fn occupy(place: &Path) -> Option<File> {
    let folder = File::open(place).ok()?;
    // Nobody moves it under these locks; whoever is inside may play with it.
    lock::try_shared(&folder).ok()?.then_some(folder)
}

/// Makes sure that nobody is in a workspace, and keeps it so until this is
/// dropped. Needs its [`Locks`].
///
/// # Errors
/// When a runtime is live in it, or about to be.
pub(crate) fn vacate(app: &App, place: &Path) -> Result<File> {
    if let Some(lease) = tenant(app, place)? {
        return Err(failure(format!("a runtime is using the workspace {}", place.display()))
            .hint(format!("leave it, or envctl reset {}, then try again", lease.task))
            .into());
    }
    let folder = File::open(place).with_context(|| format!("cannot open {}", place.display()))?;
    let free = lock::try_exclusive(&folder)?;
    // Another one may have taken its place before it was locked.
    let still = fs::metadata(place).is_ok_and(|now| folder.metadata().is_ok_and(|held| held.ino() == now.ino()));
    if !free || !still {
        return Err(failure(format!("the workspace {} is being entered or published", place.display()))
            .hint("wait a moment, then try again")
            .into());
    }
    // Between the two it may have begun.
    match tenant(app, place)? {
        None => Ok(folder),
        Some(_) => Err(failure(format!("a runtime is using the workspace {}", place.display())).into()),
    }
}

/// The runtime that is live in a workspace.
pub(crate) fn tenant(app: &App, place: &Path) -> Result<Option<Lease>> {
    let place = canonical(place);
    Ok(app.runtimes().live()?.into_iter().find(|lease| canonical(&lease.workspace) == place))
}

/// How long an unused workspace of a task stays, and who says so.
pub(crate) fn ttl(app: &App, identity: Option<&Identity>) -> (Duration, &'static str) {
    let read = |text: &String| parse_duration(text).ok();
    let own = app.user.workspace.ttl.as_ref().and_then(read);
    let wish = identity.and_then(|identity| identity.workspace.as_ref()?.ttl.as_ref()).and_then(read);
    match (own, wish) {
        (Some(own), _) => (own, "config.toml"),
        (None, Some(wish)) => (wish.max(SHORTEST_WISH), "the project"),
        (None, None) => (parse_duration(DEFAULT_TTL).unwrap_or(SHORTEST_WISH), "default"),
    }
}
