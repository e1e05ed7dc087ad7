//! `tasks rm`: a task's tag goes; its identities stay, because others may have
//! entered them or go on from them, unless they are asked for as well.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::digest::Digest;
use crate::error::{Kind, failure, kind_of, not_found, usage};
use crate::handoff::app::App;
use crate::handoff::task::{History, Located, read_at};
use crate::handoff::words::quote;
use crate::identity::{Claims, Status, StoreRef, Target, TaskId, TaskRef, is_line_of, lines_tag};
use crate::oci::{MAX_METADATA, Manifest, media};
use crate::store::{Access, Store, identity_tag};

/// Identities of one task that are looked for.
const MOST: usize = 10_000;

/// A task that is to be removed; nothing has happened yet.
#[derive(Clone, Debug, Serialize)]
pub struct Victim {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// Digest of the identity that it points at; `null` for a damaged one.
    pub identity: Option<Digest>,
    /// When that was published.
    pub created_at: Option<Timestamp>,
    /// The state of the work.
    pub status: Option<Status>,
    /// Identities that go as well: of the task, newest first, then of each line beside it.
    pub removes: Vec<Digest>,
    /// How the newest identity is reached afterwards; `null` where it goes.
    pub stays: Option<String>,
    #[serde(skip)]
    store: StoreRef,
    #[serde(skip)]
    id: TaskId,
    /// What the tag pointed at.
    #[serde(skip)]
    manifest: Digest,
}

/// Looks at tasks that are to be removed.
///
/// # Errors
/// [`Kind::NotFound`] when one of them does not exist.
pub fn victims(app: &App, tasks: &[TaskRef], identities: bool) -> Result<Vec<Victim>> {
    let mut victims: Vec<Victim> = Vec::new();
    for reference in tasks {
        let task = app.locate(reference)?;
        let Target::Task(id) = &task.target else {
            return Err(usage(format!("{reference} is an identity, not a task")).hint("name a task").into());
        };
        let store = app.open(&task.store, Access::Read)?;
        let found = victim(app, &*store, &task, id, identities)?;
        if !victims.iter().any(|known| known.task == found.task) {
            victims.push(found);
        }
    }
    Ok(victims)
}

fn victim(app: &App, store: &dyn Store, task: &Located, id: &TaskId, identities: bool) -> Result<Victim> {
    let descriptor = store.resolve(id.as_str())?.ok_or_else(|| {
        not_found(format!("there is no task {id} in {}", task.store))
            .hint(format!("see what is there: envctl tasks --store {}", quote(&task.store.to_string())))
    })?;
    let mut victim = Victim {
        task: task.reference(),
        identity: None,
        created_at: None,
        status: None,
        removes: Vec::new(),
        stays: None,
        store: task.store.clone(),
        id: id.clone(),
        manifest: descriptor.digest,
    };
    match read_at(store, task, &descriptor) {
        Ok((artifact, identity)) => {
            let digest = Digest::of(&artifact.identity);
            victim.created_at = Some(identity.created_at);
            victim.status = Some(identity.handoff.status);
            victim.identity = Some(digest);
            victim.stays = Some(format!("{}@{digest}", task.store));
            if identities {
                victim.removes = own_identities(app, store, task, digest, id)?;
                victim.stays = None;
            }
        }
        // A damaged task may go; what is something else may not.
        Err(error) if kind_of(&error) == Kind::Integrity => {
            let bytes = store.read_small(&descriptor, MAX_METADATA);
            let manifest = bytes.ok().and_then(|bytes| Manifest::parse(&bytes).ok());
            // One of the latter kind is of a removal that was cut short.
            let own = [Some(media::IDENTITY), Some(media::TOMBSTONE)];
            if manifest.is_some_and(|manifest| !own.contains(&manifest.artifact_type.as_deref())) {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    Ok(victim)
}

/// The identities of a task's history, and of its lines, as far as they are this task's
/// own and this store still has them.
fn own_identities(app: &App, store: &dyn Store, task: &Located, newest: Digest, id: &TaskId) -> Result<Vec<Digest>> {
    let mut own: Vec<Digest> = Vec::new();
    let mut heads = vec![newest];
    for tag in lines(store, id)? {
        let line = store.resolve(&tag)?.map(|line| read_at(store, task, &line));
        // One that is damaged loses its tag, and hinders nothing.
        heads.extend(line.and_then(Result::ok).map(|(artifact, _)| Digest::of(&artifact.identity)));
    }
    for head in heads {
        for step in History::from(app, Some(store), &task.store, head).take(MOST) {
            let (digest, identity) = step?;
            // Where a line leaves another, the rest is known.
            if identity.task_id != *id || own.contains(&digest) {
                break;
            }
            if store.resolve(&identity_tag(&digest))?.is_some() {
                own.push(digest);
            }
        }
    }
    Ok(own)
}

/// The tags of the lines beside a task.
fn lines(store: &dyn Store, id: &TaskId) -> Result<Vec<String>> {
    if store.resolve(&lines_tag(id))?.is_none() {
        return Ok(Vec::new());
    }
    Ok(store.tags()?.into_iter().map(|(tag, _)| tag).filter(|tag| is_line_of(tag, id)).collect())
}

/// Removes what [`victims`] found.
///
/// # Errors
/// When a task has moved since, or the store does not allow it. What was
/// removed before that stays removed.
pub fn remove(app: &App, victims: &[Victim]) -> Result<()> {
    for victim in victims {
        let store = app.open(&victim.store, Access::Change)?;
        if !store.untag(victim.id.as_str(), &victim.manifest)? {
            return Err(failure(format!("{} has moved meanwhile, and stays", victim.task))
                .hint(format!("look again: envctl show {}", victim.task))
                .into());
        }
        app.ui.status("Removed", &victim.task);
        for digest in &victim.removes {
            let Some(manifest) = store.resolve(&identity_tag(digest))? else { continue };
            // Whoever sets tags can have another task's manifest there.
            let located = Located { store: victim.store.clone(), target: Target::Identity(*digest) };
            match read_at(&*store, &located, &manifest) {
                Ok(_) => {
                    store.forget(&manifest.digest)?;
                    app.ui.detail(&format!("identity {digest} is gone"));
                }
                Err(error) => app.ui.warn(&format!("{} stays: {error:#}", identity_tag(digest))),
            }
        }
        if let Some(marker) = store.resolve(&lines_tag(&victim.id))? {
            for tag in lines(&*store, &victim.id)? {
                if let Some(line) = store.resolve(&tag)? {
                    store.untag(&tag, &line.digest)?;
                }
            }
            store.untag(&lines_tag(&victim.id), &marker.digest)?;
        }
        // Who entered it is of no interest any more.
        let claims = Claims::tag(&victim.id);
        let gone = store.resolve(&claims).and_then(|found| match found {
            Some(found) => store.untag(&claims, &found.digest).map(drop),
            None => Ok(()),
        });
        if let Err(error) = gone {
            app.ui.detail(&format!("the claims of {} stay: {error:#}", victim.task));
        }
    }
    Ok(())
}
