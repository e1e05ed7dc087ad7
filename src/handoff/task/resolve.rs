//! From a name to an identity: the pin where there is one, the store
//! otherwise.

use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::located::Located;
use super::pins::Pin;
use super::source::Source;
use crate::digest::Digest;
use crate::error::{integrity, not_found, usage};
use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::trust::{Checkout, Origin};
use crate::handoff::words::quote;
use crate::identity::{Identity, StoreRef, Target, TaskId, TaskRef};
use crate::oci::Descriptor;
use crate::store::{self, Artifact, Store};

/// How alike two names are of which one may be meant for the other; 1 is the same.
const ALIKE: f64 = 0.8;

/// A task that is settled.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) task: Located,
    pub(crate) digest: Digest,
    pub(crate) identity: Identity,
    pub(crate) pin: Option<Pin>,
    /// When the identity was resolved.
    pub(crate) pinned_at: Timestamp,
    /// A checkout of this machine, which no store knows.
    pub(crate) local: Option<Checkout>,
}

impl Resolved {
    /// Who chooses what is in it.
    pub(crate) fn origin(&self) -> Origin {
        self.local.as_ref().map_or_else(|| Origin::store(&self.task.store), |checkout| checkout.origin.clone())
    }

    /// Who is charged for a runtime: who runs it, where that is said, else who
    /// published.
    pub(crate) fn payer<'p>(&'p self, runs: Option<&'p str>) -> Option<&'p str> {
        runs.or(self.identity.agent_identity.as_deref())
    }
}

/// The branch and the commit.
pub(crate) fn summary(resolved: &Resolved) -> String {
    let repo = &resolved.identity.repo;
    match &repo.branch {
        Some(branch) => format!("{branch} ({})", repo.commit.short()),
        None => repo.commit.short().to_owned(),
    }
}

impl App {
    /// Who chooses what a checkout holds: those who write to the folder, or to the store
    /// that a workspace came from.
    ///
    /// # Errors
    /// When it cannot be found.
    pub(crate) fn origin_of(&self, root: &Path) -> Result<Origin> {
        Ok(match self.pins().of_workspace(root)? {
            Some(pin) => Origin::Store(pin.store),
            None => Origin::folder(root)?,
        })
    }

    /// Which task a reference means.
    ///
    /// # Errors
    /// When it names a store twice, or none is configured.
    pub(crate) fn locate(&self, reference: &TaskRef) -> Result<Located> {
        let target = reference.target.clone();
        if let Some(named) = &reference.store {
            let store = named.clone().placed(&self.cwd);
            let flag = self.options.store.clone().map(|flag| flag.placed(&self.cwd));
            if flag.is_some_and(|flag| flag != store) {
                return Err(usage(format!("{reference} and --store name different stores"))
                    .hint("name one of them")
                    .into());
            }
            self.note_named(&store);
            return Ok(Located { store, target });
        }
        // An identity is the same wherever it is, and here it is known where that was.
        if let Target::Identity(digest) = &target {
            let holds = |pin: &Pin| pin.slug == target.slug() || pin.holds(digest);
            if let Some(pin) = self.pins().all()?.into_iter().find(holds) {
                return Ok(Located { store: pin.store.parse()?, target });
            }
        }
        if let Some(store) = self.configured_store()? {
            return Ok(Located { store, target });
        }
        // A task that was entered before is known by its name alone.
        let slug = target.slug();
        let mut pins: Vec<Pin> = self.pins().all()?.into_iter().filter(|pin| pin.slug == slug).collect();
        // It may have several workspaces; those of one store lie beside each other.
        pins.dedup_by(|a, b| a.store == b.store);
        match pins.as_slice() {
            [pin] => Ok(Located { store: pin.store.parse()?, target }),
            [] => Ok(Located { store: self.store()?, target }),
            [first, ..] => Err(usage(format!("{target} was entered from several stores"))
                .hint(format!("name one of them, such as {}", first.quoted()))
                .into()),
        }
    }
}

/// What a task's tag points at, with the manifest's descriptor.
pub(crate) fn from_store(store: &dyn Store, task: &Located) -> Result<(Descriptor, Artifact, Identity)> {
    let tag = match &task.target {
        Target::Task(task) => task.to_string(),
        Target::Identity(digest) => store::identity_tag(digest),
    };
    let descriptor = store.resolve(&tag)?.ok_or_else(|| {
        let list = format!("envctl tasks --store {}", quote(&task.store.to_string()));
        let hint = match nearest(store, task) {
            Some(near) => format!("the nearest name there is {near}; all of them: {list}"),
            None => format!("see what is there: {list}"),
        };
        not_found(format!("there is no task {} in {}", task.target, task.store)).hint(hint)
    })?;
    let (artifact, identity) = read_at(store, task, &descriptor)?;
    Ok((descriptor, artifact, identity))
}

/// The task of a folder store whose name is most like one that is not there. A registry is
/// not asked for all of its names.
fn nearest(store: &dyn Store, task: &Located) -> Option<TaskId> {
    let (Target::Task(wanted), StoreRef::Layout(_)) = (&task.target, &task.store) else { return None };
    let near = |name: &TaskId| strsim::jaro_winkler(name.as_str(), wanted.as_str());
    let names = store.tags().ok()?.into_iter().filter_map(|(tag, _)| tag.parse().ok());
    names.filter(|name| near(name) > ALIKE).max_by(|a, b| near(a).total_cmp(&near(b)))
}

/// What is in a manifest that a task's tag points at.
pub(crate) fn read_at(store: &dyn Store, task: &Located, descriptor: &Descriptor) -> Result<(Artifact, Identity)> {
    let artifact = store::read(store, descriptor).with_context(|| format!("cannot read {}", task.reference()))?;
    let identity = Identity::parse(&artifact.identity)?;
    match &task.target {
        Target::Task(named) if *named != identity.task_id => Err(integrity(format!(
            "the tag {named} of {} points at an identity of task {}",
            task.store, identity.task_id
        ))
        .into()),
        Target::Identity(digest) if *digest != Digest::of(&artifact.identity) => {
            Err(integrity(format!("the store gave another identity for {digest}")).into())
        }
        _ => Ok((artifact, identity)),
    }
}

/// Settles a task: by its pin, or by the store when there is none or
/// `refresh` asks for it.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] for a task or store that does not exist.
pub(crate) fn resolve(source: &Source<'_>, into: Option<&Path>, refresh: bool) -> Result<Resolved> {
    let (app, task) = (source.app, source.task.clone());
    let pins = app.pins();
    let pin = pins.read(&task, into)?;
    if let Some(pin) = &pin
        && !refresh
        && let Some(identity) = pins.identity(&pin.identity)?
    {
        let (digest, pinned_at) = (pin.identity, pin.pinned_at);
        return Ok(Resolved { task, digest, identity, pin: Some(pin.clone()), pinned_at, local: None });
    }
    by_store(source, pin)
}

/// Settles a task as it is published now, whatever workspace of it is here. Without
/// a network: as this machine knows it.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn resolve_published(source: &Source<'_>) -> Result<Resolved> {
    let (app, task) = (source.app, &source.task);
    if app.options.offline && app.pins().read(task, None)?.is_some() {
        return Ok(Resolved { pin: None, ..resolve_left(source)? });
    }
    by_store(source, None)
}

fn by_store(source: &Source<'_>, pin: Option<Pin>) -> Result<Resolved> {
    let (app, task) = (source.app, source.task.clone());
    // What was brought ahead needs no store.
    let brought = if app.options.offline { app.pins().brought(&task)? } else { None };
    let store = match (source.store(), brought) {
        (Err(_), Some((digest, identity))) => {
            return Ok(Resolved { task, digest, identity, pin, pinned_at: app.clock.now(), local: None });
        }
        (store, _) => store?,
    };
    let (_, artifact, identity) = from_store(store, &task)?;
    app.open_roots()?;
    let digest = app.pins().keep(&artifact.identity)?;
    crate::crash::point("cold.resolved");
    Ok(Resolved { task, digest, identity, pin, pinned_at: app.clock.now(), local: None })
}

/// Settles a task that has a pin by what is on this machine: what was published from
/// its workspace last, or what that was made from.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn resolve_here(source: &Source<'_>) -> Result<Resolved> {
    let resolved = resolve(source, None, false)?;
    let latest = resolved.pin.as_ref().and_then(|pin| pin.continues(&resolved.task.slug()));
    let Some(digest) = latest.filter(|latest| *latest != resolved.digest) else { return Ok(resolved) };
    Ok(match source.app.pins().identity(&digest)? {
        Some(identity) => Resolved { digest, identity, ..resolved },
        None => resolved,
    })
}

/// Settles a task as its workspace left it: by what was published from there last,
/// or else by what it was made from.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn resolve_left(source: &Source<'_>) -> Result<Resolved> {
    let resolved = resolve_here(source)?;
    let slug = resolved.task.slug();
    let Some(digest) = resolved.pin.as_ref().and_then(|pin| pin.continues(&slug)) else { return Ok(resolved) };
    if digest == resolved.digest {
        return Ok(resolved);
    }
    let pins = source.app.pins();
    let task = Located { store: resolved.task.store.clone(), target: Target::Identity(digest) };
    let (_, artifact, identity) = from_store(source.store()?, &task)?;
    pins.keep(&artifact.identity)?;
    Ok(Resolved { digest, identity, ..resolved })
}
