//! Lines of a task: what was published from where nobody had seen what the task
//! was by then lies beside it, under a tag of its own, until it is closed, or the
//! task goes on from it.

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::context::{Context, Located};
use super::lineage::History;
use super::resolve::read_at;
use crate::digest::Digest;
use crate::error::{Fault, Kind, kind_of, policy};
use crate::identity::{Identity, MOST_LINES, Status, StoreRef, Target, TaskId, line_tag};
use crate::oci::Descriptor;
use crate::store::Store;

/// So many publishes of others may have followed one while it ended.
const MOST_STEPS: usize = 20;

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

impl Beside {
    pub(super) fn of(store: &StoreRef, digest: Digest, identity: &Identity) -> Self {
        Beside {
            reference: format!("{store}@{digest}"),
            identity: digest,
            created_at: identity.created_at,
            agent: identity.agent_identity.clone(),
            status: identity.handoff.status,
            message: identity.handoff.message.clone(),
        }
    }
}

/// A line that is there.
pub(super) struct Line {
    pub(super) tag: String,
    pub(super) descriptor: Descriptor,
    /// The identity that it points at.
    pub(super) digest: Digest,
    pub(super) identity: Identity,
}

/// All lines of a task beside its own; what is damaged is left out.
///
/// # Errors
/// When the store does not answer.
pub(super) fn lines(ctx: &Context, store: &dyn Store, task: &Located) -> Result<Vec<Line>> {
    let Target::Task(id) = &task.target else { return Ok(Vec::new()) };
    let (mut lines, mut missing) = (Vec::new(), 0);
    for tag in (2..=MOST_LINES).map(|line| line_tag(id, line)) {
        let Some(descriptor) = store.resolve(&tag)? else {
            missing += 1;
            // Of two that went one after the other, more may be there behind.
            if missing == 2 {
                break;
            }
            continue;
        };
        match read_at(store, task, &descriptor) {
            Ok((artifact, identity)) => {
                lines.push(Line { tag, descriptor, digest: Digest::of(&artifact.identity), identity });
            }
            Err(error) if kind_of(&error) == Kind::Unreachable => return Err(error),
            Err(error) => ctx.ui.detail(&format!("{tag} is left out: {error:#}")),
        }
    }
    Ok(lines)
}

/// The lines beside an identity at which the task's tag points: those that it
/// does not go on from, and that nobody has closed.
///
/// # Errors
/// When the store does not answer.
pub(super) fn beside(
    ctx: &Context,
    store: &dyn Store,
    task: &Located,
    (digest, identity): (&Digest, &Identity),
) -> Result<Vec<Beside>> {
    let lines = lines(ctx, store, task)?.into_iter();
    let others = lines.filter(|line| is_other((&line.digest, line.identity.handoff.status), digest, identity.parent));
    Ok(others.map(|line| Beside::of(&task.store, line.digest, &line.identity)).collect())
}

/// Whether a line is one that the task's own does not go on from.
pub(super) fn is_other(line: (&Digest, Status), own: &Digest, parent: Option<Digest>) -> bool {
    line.0 != own && Some(*line.0) != parent && line.1 != Status::Closed
}

/// Lets a line go that the task's own went on from. It stays reachable by its
/// identity.
pub(super) fn forget(ctx: &Context, store: &dyn Store, line: &Line) {
    if let Err(error) = store.untag(&line.tag, &line.descriptor.digest) {
        ctx.ui.detail(&format!("{} stays: {error:#}", line.tag));
    }
}

/// Points a tag beside the task's own at a manifest: that of `own`, where this
/// goes on from it, else the first that is free.
///
/// # Errors
/// When the store cannot be written, or no tag is free.
pub(super) fn place(
    store: &dyn Store,
    (name, task): (&StoreRef, &TaskId),
    own: Option<&Line>,
    descriptor: &Descriptor,
) -> Result<String> {
    if let Some(line) = own
        && store.tag(&line.tag, descriptor, Some(Some(&line.descriptor.digest)))?
    {
        return Ok(line.tag.clone());
    }
    for tag in (2..=MOST_LINES).map(|line| line_tag(task, line)) {
        let free = match store.resolve(&tag)? {
            None => None,
            // One that was closed gives its tag to another.
            Some(there) => match closed(store, (name, task), &there)? {
                true => Some(there.digest),
                false => continue,
            },
        };
        if store.tag(&tag, descriptor, Some(free.as_ref()))? {
            return Ok(tag);
        }
    }
    Err(full(task).into())
}

fn closed(store: &dyn Store, (name, task): (&StoreRef, &TaskId), descriptor: &Descriptor) -> Result<bool> {
    let located = Located { store: name.clone(), target: Target::Task(task.clone()) };
    match read_at(store, &located, descriptor) {
        Ok((_, identity)) => Ok(identity.handoff.status == Status::Closed),
        Err(error) if kind_of(&error) == Kind::Unreachable => Err(error),
        Err(_) => Ok(false),
    }
}

fn full(task: &TaskId) -> Fault {
    policy(format!("{task} has {MOST_LINES} lines already, and this checkout has seen none of them"))
        .hint("publish as another task: envctl publish --fork NEW-TASK; or over what the task is now: add --yes")
}

/// Whether an identity goes on from another one, as far as the store says.
pub(super) fn reaches(ctx: &Context, store: &dyn Store, task: &Located, from: Digest, to: Digest) -> bool {
    let steps = History::from(ctx, Some(store), &task.store, from).take(MOST_STEPS);
    steps.map_while(Result::ok).any(|(digest, _)| digest == to)
}

/// Says which lines there are beside the one that is entered.
pub(super) fn tell(ctx: &Context, task: &Located, beside: &[Beside]) {
    let now = ctx.clock.now();
    for other in beside {
        let who = other.agent.as_deref().unwrap_or("somebody");
        let when = crate::clock::age(other.created_at, now);
        let message = other.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        ctx.ui.status(
            "Beside",
            &format!("{} has another line, published by {who} {when}, {}{message}", task.reference(), other.status),
        );
        ctx.ui.status("", &format!("take it: envctl enter {}", other.reference));
    }
    if !beside.is_empty() {
        ctx.ui.status("", &format!("compare them: envctl diff {}", task.reference()));
    }
}
