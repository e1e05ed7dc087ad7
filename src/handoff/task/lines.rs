//! Lines of a task: what was published from where nobody had seen what the task
//! was by then lies beside it, under a tag of its own, until it is closed, or the
//! task goes on from it.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::history::History;
use super::located::Located;
use super::resolve::read_at;
use crate::digest::Digest;
use crate::error::{Fault, Kind, kind_of, policy};
use crate::handoff::app::App;
use crate::handoff::report::Beside;
use crate::handoff::words::quote;
use crate::identity::{Identity, Status, StoreRef, Target, TaskId, is_line_of, line_tag, lines_tag};
use crate::oci::Descriptor;
use crate::store::Store;

/// So many publishes of others may have followed one while it ended.
const MOST_STEPS: usize = 20;

/// A task has at most so many lines beside its own, unless many begin at once.
const MOST_LINES: usize = 8;

/// More tags of lines are not looked at: several may begin at once.
const MOST_READ: usize = 2 * MOST_LINES;

/// When this is over, the next line, or the next identity before one, is not asked for.
const MOST_TIME: Duration = Duration::from_secs(60);

impl Beside {
    pub(crate) fn of(store: &StoreRef, digest: Digest, identity: &Identity) -> Self {
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
pub(crate) struct Line {
    pub(crate) tag: String,
    pub(crate) descriptor: Descriptor,
    /// The identity that it points at.
    pub(crate) digest: Digest,
    pub(crate) identity: Identity,
}

/// All lines of a task beside its own; what is damaged is left out. Where there
/// are none, a store is asked once.
///
/// # Errors
/// When the store does not answer.
pub(crate) fn lines(app: &App, store: &dyn Store, task: &Located) -> Result<Vec<Line>> {
    let Target::Task(id) = &task.target else { return Ok(Vec::new()) };
    if store.resolve(&lines_tag(id))?.is_none() {
        return Ok(Vec::new());
    }
    let tags = store.tags()?;
    read_lines(app, store, task, tags.iter().map(|(tag, _)| tag.as_str()))
}

/// The same, where the tags of the store are known.
fn read_lines<'t>(
    app: &App,
    store: &dyn Store,
    task: &Located,
    tags: impl Iterator<Item = &'t str>,
) -> Result<Vec<Line>> {
    let Target::Task(id) = &task.target else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    let begun = Instant::now();
    for tag in tags.filter(|tag| is_line_of(tag, id)).take(MOST_READ).map(str::to_owned) {
        if begun.elapsed() > MOST_TIME {
            app.ui.warn(&format!("{} answers slowly: lines of {id} from {tag} on are left out", task.store));
            break;
        }
        // Gone meanwhile.
        let Some(descriptor) = store.resolve(&tag)? else { continue };
        match read_at(store, task, &descriptor) {
            Ok((artifact, identity)) => {
                lines.push(Line { tag, descriptor, digest: Digest::of(&artifact.identity), identity });
            }
            Err(error) if kind_of(&error) == Kind::Unreachable => return Err(error),
            Err(error) => app.ui.detail(&format!("{tag} is left out: {error:#}")),
        }
    }
    lines.sort_by_key(|line| (line.identity.created_at, line.digest.hex().to_owned()));
    Ok(lines)
}

/// The lines beside an identity at which the task's tag points: those that neither
/// it nor another line goes on from, and that nobody has closed.
///
/// # Errors
/// When the store does not answer.
pub(crate) fn beside(app: &App, store: &dyn Store, task: &Located, own: &Digest) -> Result<Vec<Beside>> {
    Ok(unclosed(app, store, task, own, lines(app, store, task)?))
}

/// The same, where the tags of the store are known.
///
/// # Errors
/// When the store does not answer.
pub(crate) fn beside_of<'t>(
    app: &App,
    store: &dyn Store,
    (task, own): (&Located, &Digest),
    tags: impl Iterator<Item = &'t str>,
) -> Result<Vec<Beside>> {
    Ok(unclosed(app, store, task, own, read_lines(app, store, task, tags)?))
}

fn unclosed(app: &App, store: &dyn Store, task: &Located, own: &Digest, all: Vec<Line>) -> Vec<Beside> {
    let parents: Vec<Digest> = all.iter().filter_map(|line| line.identity.parent).collect();
    // Walked once, and not at all where nobody asks.
    let mut passed: Option<Vec<Digest>> = None;
    let mut is_passed =
        |line: &Line| passed.get_or_insert_with(|| before(app, store, task, *own).collect()).contains(&line.digest);
    let mut others = all;
    others.retain(|line| {
        let taken_up = line.digest == *own || parents.contains(&line.digest);
        !taken_up && line.identity.handoff.status != Status::Closed && !is_passed(line)
    });
    others.iter().map(|line| Beside::of(&task.store, line.digest, &line.identity)).collect()
}

/// Lets a line go that the task's own went on from. It stays reachable by its
/// identity.
pub(crate) fn forget(app: &App, store: &dyn Store, line: &Line) {
    if let Err(error) = store.untag(&line.tag, &line.descriptor.digest) {
        app.ui.detail(&format!("{} stays: {error:#}", line.tag));
    }
}

/// Lets a tag beside the task's own point at a manifest: that of `own`, where this
/// goes on from it, else one of its own.
///
/// # Errors
/// When the store cannot be written, or the task has too many lines.
pub(crate) fn place(
    app: &App,
    store: &dyn Store,
    task: &Located,
    own: Option<&Line>,
    (identity, descriptor): (&Digest, &Descriptor),
) -> Result<()> {
    let Target::Task(id) = &task.target else { return Ok(()) };
    if let Some(line) = own
        && store.tag(&line.tag, descriptor, Some(Some(&line.descriptor.digest)))?
    {
        return Ok(());
    }
    let current = store.resolve(id.as_str())?;
    let current = current.and_then(|descriptor| read_at(store, task, &descriptor).ok());
    let current = current.map_or(*identity, |(artifact, _)| Digest::of(&artifact.identity));
    if beside(app, store, task, &current)?.len() >= MOST_LINES {
        return Err(full(id).into());
    }
    // The word that there are lines comes first: a line that nobody looks for is lost.
    store.tag(&lines_tag(id), descriptor, None)?;
    store.tag(&line_tag(id, identity), descriptor, None)?;
    Ok(())
}

fn full(task: &TaskId) -> Fault {
    policy(format!("{task} has {MOST_LINES} other lines already, and this checkout has seen none of them"))
        .hint("publish as another task: envctl publish --fork NEW-TASK; or over what the task is now: add --yes")
}

/// Whether an identity goes on from another one, as far as the store says.
pub(crate) fn reaches(app: &App, store: &dyn Store, task: &Located, from: Digest, to: Digest) -> bool {
    before(app, store, task, from).any(|digest| digest == to)
}

/// An identity and those that it goes on from, as far as the store says.
fn before<'a>(app: &'a App, store: &'a dyn Store, task: &'a Located, from: Digest) -> impl Iterator<Item = Digest> {
    let steps = History::from(app, Some(store), &task.store, from).take(MOST_STEPS);
    let begun = Instant::now();
    steps.map_while(Result::ok).take_while(move |_| begun.elapsed() < MOST_TIME).map(|(digest, _)| digest)
}

/// Says which lines there are beside the one that is entered.
pub(crate) fn tell(app: &App, task: &Located, beside: &[Beside]) {
    let now = app.clock.now();
    for other in beside {
        let who = other.agent.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
        let when = crate::clock::age(other.created_at, now);
        let message = other.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        app.ui.status(
            "Beside",
            &format!("{} has another line, published{who} {when}, {}{message}", task.reference(), other.status),
        );
        app.ui.status("", &format!("take it: envctl enter {}", quote(&other.reference)));
    }
    if !beside.is_empty() {
        app.ui.status("", &format!("compare them: envctl diff {} --beside", task.quoted()));
    }
}
