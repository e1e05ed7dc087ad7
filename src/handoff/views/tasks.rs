//! The tasks of a store, however many: a layout tells of each beside its tag;
//! a registry tells names only, and keeps the rest in a list ([`Catalog`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use super::known;
use crate::clock::age;
use crate::digest::Digest;
use crate::error::{Kind, integrity, kind_of, not_found, unreachable};
use crate::handoff::app::App;
use crate::handoff::parallel::each;
use crate::handoff::report::Beside;
use crate::handoff::task::{self, Located, Sight, beside_of, from_store, read_at};
use crate::identity::{SUMMARY, Status, StoreRef, Summary, Target, TaskId, TaskRef, is_line, is_line_of, lines_tag};
use crate::oci::Descriptor;
use crate::store::{Access, Catalog, Store};

/// Fewer tags than this are asked for one by one: a list would not pay.
const FEW: usize = 16;

/// Tags that one command asks for one by one.
const MOST_ASKED: usize = 20_000;

/// Of these so many may be gone meanwhile.
const MOST_MISSING: usize = 1000;

/// How long asking for them may take.
const LONGEST: Duration = Duration::from_secs(600);

/// So many are offered to choose from.
const MOST_OFFERED: usize = 100;

/// A task of a store.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRow {
    /// Its ID.
    pub task: TaskId,
    /// Digest of the identity that it points at.
    pub identity: String,
    /// When that was published.
    pub created_at: Timestamp,
    /// By whom.
    pub agent: Option<String>,
    /// The state of the work.
    pub status: Status,
    /// In the publisher's words, 200 characters at most.
    pub message: Option<String>,
    /// It is said to be worked on, by a run that should have ended.
    pub overdue: bool,
    /// Other lines of the task.
    pub beside: Vec<Beside>,
}

impl TaskRow {
    /// Whether somebody has to look: the agent of any line says so, or is gone.
    pub(crate) fn needs_human(&self) -> bool {
        let mut beside = self.beside.iter().map(|other| other.status);
        self.status == Status::NeedsHuman || self.overdue || beside.any(|status| status == Status::NeedsHuman)
    }
}

/// The tasks of a store, newest first.
///
/// # Errors
/// When the store cannot be read.
pub fn tasks(app: &App, filter: &TaskFilter) -> Result<(StoreRef, Vec<TaskRow>)> {
    let name = app.store()?;
    let mut rows = tasks_of(app, &name)?;
    rows.retain(|row| filter.takes(row, app.clock.now()));
    rows.truncate(filter.limit.unwrap_or(usize::MAX));
    Ok((name, rows))
}

/// Lets the developer choose a task of the configured store: those that wait for a
/// human first, then the newest. `None` when none is chosen.
///
/// # Errors
/// [`Kind::NotFound`] when the store has none; when it cannot be read.
pub fn choose_task(app: &App) -> Result<Option<TaskRef>> {
    let (store, rows) = tasks(app, &TaskFilter { limit: Some(MOST_OFFERED), ..TaskFilter::default() })?;
    if rows.is_empty() {
        return Err(not_found(format!("there is no task in {store}")).hint("envctl publish makes one").into());
    }
    let mut offers: Vec<Offer> = rows.iter().flat_map(|row| offers(app, row)).collect();
    offers.sort_by_key(|offer| !offer.needs_human);
    let shown: Vec<&str> = offers.iter().map(|offer| &*offer.line).collect();
    let chosen = app.ui.choose("Which task?", &shown)?;
    Ok(chosen.map(|index| TaskRef { store: Some(store), target: offers.swap_remove(index).target }))
}

/// What the developer can choose.
struct Offer {
    line: String,
    needs_human: bool,
    target: Target,
}

/// A task, and its other lines.
fn offers(app: &App, row: &TaskRow) -> Vec<Offer> {
    let now = app.clock.now();
    let said = |message: &Option<String>| message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    let status = if row.overdue { "stopped".to_owned() } else { row.status.to_string() };
    let own = Offer {
        line: format!("{}  {status}, {}{}", row.task, age(row.created_at, now), said(&row.message)),
        needs_human: row.overdue || row.status == Status::NeedsHuman,
        target: Target::Task(row.task.clone()),
    };
    let beside = row.beside.iter().map(|other| {
        let who = other.agent.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
        let when = age(other.created_at, now);
        Offer {
            line: format!("{}, another line{who}  {}, {when}{}", row.task, other.status, said(&other.message)),
            needs_human: other.status == Status::NeedsHuman,
            target: Target::Identity(other.identity),
        }
    });
    std::iter::once(own).chain(beside).collect()
}

/// Which tasks are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskFilter {
    /// Those that wait for a human.
    pub needs_human: bool,
    /// Those in this state.
    pub status: Option<Status>,
    /// Those that this agent published.
    pub agent: Option<String>,
    /// Those that were published no longer ago than this.
    pub since: Option<Duration>,
    /// The newest so many.
    pub limit: Option<usize>,
}

impl TaskFilter {
    fn takes(&self, row: &TaskRow, now: Timestamp) -> bool {
        let age = now.as_second().saturating_sub(row.created_at.as_second());
        let young = |since: Duration| u64::try_from(age).unwrap_or(0) <= since.as_secs();
        (!self.needs_human || row.needs_human())
            && self.status.is_none_or(|status| status == row.status)
            && self.agent.as_ref().is_none_or(|agent| row.agent.as_ref() == Some(agent))
            && self.since.is_none_or(young)
    }
}

/// The tasks of this store, newest first.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn tasks_of(app: &App, name: &StoreRef) -> Result<Vec<TaskRow>> {
    let listing = Listing { app, store: &*app.open(name, Access::Read)?, name };
    let tags = listing.store.tags()?;
    let lined = tags.iter().map(|(tag, _)| tag.as_str()).filter(|tag| is_line(tag));
    let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    lined.for_each(|tag| lines.entry(tag.rsplit_once('-').map_or(tag, |(of, _)| of)).or_default().push(tag));
    let began = Instant::now();
    let row = |summary: Summary| -> Result<TaskRow> {
        let lined = if lines.is_empty() { None } else { lines.get(&*lines_tag(&summary.task)) };
        let lined = lined.map_or(&[][..], Vec::as_slice);
        if !lined.is_empty() && began.elapsed() > LONGEST {
            return Err(unreachable(format!("{name} takes too long to tell of other lines of its tasks")).into());
        }
        let beside = listing.beside(&summary, lined)?;
        Ok(TaskRow {
            task: summary.task,
            identity: summary.identity.to_string(),
            created_at: summary.created_at,
            agent: summary.agent,
            status: summary.status,
            message: summary.message,
            overdue: summary.status == Status::Working && summary.ends_at.is_some_and(|end| end < app.clock.now()),
            beside,
        })
    };
    let mut rows: Vec<TaskRow> = listing.summaries(&tags)?.into_iter().map(row).collect::<Result<_>>()?;
    rows.sort_by(|a, b| (b.created_at, &a.task).cmp(&(a.created_at, &b.task)));
    let of = |row: &TaskRow| {
        let beside = Some(row.beside.iter().map(|line| line.status).collect());
        Some(Sight {
            task: format!("{name}:{}", row.task),
            identity: row.identity.parse().ok()?,
            status: row.status,
            beside,
        })
    };
    let seen: Vec<_> = rows.iter().filter_map(of).collect();
    task::note_looks(app, seen);
    known::remember(app, name, rows.iter().map(|row| (&row.task, row.status, &row.message)));
    Ok(rows)
}

/// One look at a store.
struct Listing<'a> {
    app: &'a App,
    store: &'a dyn Store,
    name: &'a StoreRef,
}

impl Listing<'_> {
    /// The other lines of a task, if there are tags of any.
    fn beside(&self, summary: &Summary, lined: &[&str]) -> Result<Vec<Beside>> {
        if !lined.iter().any(|tag| is_line_of(tag, &summary.task)) {
            return Ok(Vec::new());
        }
        let located = self.located(&summary.task);
        match from_store(self.store, &located) {
            Ok((_, artifact, _)) => {
                let own = Digest::of(&artifact.identity);
                beside_of(self.app, self.store, (&located, &own), lined.iter().copied())
            }
            Err(error) if kind_of(&error) == Kind::Unreachable => Err(error),
            Err(_) => Ok(Vec::new()),
        }
    }

    fn summaries(&self, tags: &[(String, Option<Descriptor>)]) -> Result<Vec<Summary>> {
        let (mut known, mut unread, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (tag, descriptor) in tags.iter().cloned() {
            // Other tags of the store are no tasks.
            match (tag.parse::<TaskId>(), descriptor) {
                (Ok(task), Some(descriptor)) => match summed(&task, &descriptor) {
                    Some(summary) => known.push(summary),
                    None => unread.push((task, descriptor)),
                },
                (Ok(_), None) => names.push(tag),
                (Err(_), None) if tag.starts_with("id-") => names.push(tag),
                (Err(_), _) => {}
            }
        }
        let read = each(&unread, |(task, descriptor)| self.read(task, descriptor))?;
        for (result, (task, _)) in read.into_iter().zip(&unread) {
            known.extend(self.kept(result, task.as_str())?);
        }
        known.extend(self.by_name(&names)?);
        Ok(known)
    }

    /// From the manifest itself.
    fn read(&self, task: &TaskId, descriptor: &Descriptor) -> Result<Summary> {
        let (artifact, identity) = read_at(self.store, &self.located(task), descriptor)?;
        Ok(Summary::of(&identity, Digest::of(&artifact.identity), descriptor.digest))
    }

    fn located(&self, task: &TaskId) -> Located {
        Located { store: self.name.clone(), target: Target::Task(task.clone()) }
    }

    /// What is no task, or is damaged, is left out; a store that does not
    /// answer is an error: the list would look whole and not be it.
    fn kept(&self, result: Result<Summary>, tag: &str) -> Result<Option<Summary>> {
        match result {
            Ok(summary) => Ok(Some(summary)),
            Err(error) if kind_of(&error) == Kind::Unreachable => Err(error),
            Err(error) => {
                self.app.ui.detail(&format!("{tag} is left out: {error:#}"));
                Ok(None)
            }
        }
    }

    /// Where only the names of tags are known.
    fn by_name(&self, names: &[String]) -> Result<Vec<Summary>> {
        let tasks: Vec<TaskId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        if tasks.len() <= FEW {
            return self.resolve(&tasks, &mut Catalog::default());
        }
        let list = Catalog::read(self.store).unwrap_or_else(|error| {
            self.app.ui.detail(&format!("the list of tasks is not used: {error:#}"));
            None
        });
        let is_new = list.is_none();
        let mut catalog = list.unwrap_or_default();
        let identities = names.iter().filter_map(|name| Digest::from_hex(name.strip_prefix("id-")?).ok());
        let unknown: Vec<Digest> = identities.filter(|identity| !catalog.knows(identity)).take(MOST_ASKED).collect();
        let listed = |task: &TaskId| catalog.row(task).is_some() || catalog.is_other(task.as_str());
        let unlisted = tasks.iter().filter(|task| !listed(task)).count();
        // Two requests for each identity that is new, or one for each task.
        let mut stale = if is_new || 2 * unknown.len() + unlisted >= tasks.len() {
            tasks.clone()
        } else {
            let moved = self.tasks_of(&unknown)?;
            tasks.iter().filter(|task| !listed(task) || moved.contains(task)).cloned().collect()
        };
        catalog.note_seen(unknown);
        if stale.len() > MOST_ASKED {
            // Those that are left are new the next time.
            let left = stale.split_off(MOST_ASKED).len();
            self.app
                .ui
                .warn(&format!("{left} more tags are not looked at: run the command again for the next of them"));
        }
        self.resolve(&stale, &mut catalog)?;
        let there: BTreeSet<&str> = tasks.iter().map(TaskId::as_str).collect();
        catalog.retain(|tag| there.contains(tag));
        if stale.len() >= FEW {
            // Who may only read goes without.
            if let Err(error) = catalog.write(self.store) {
                self.app.ui.detail(&format!("the list of tasks stays as it is: {error:#}"));
            }
        }
        Ok(tasks.iter().filter_map(|task| catalog.row(task).cloned()).collect())
    }

    /// Asks for each of these tasks; notes and returns what they are.
    fn resolve(&self, tasks: &[TaskId], catalog: &mut Catalog) -> Result<Vec<Summary>> {
        let results = self.ask(tasks, |task| {
            let (descriptor, artifact, identity) = from_store(self.store, &self.located(task))?;
            Ok(Summary::of(&identity, Digest::of(&artifact.identity), descriptor.digest))
        })?;
        let mut found = Vec::new();
        for (result, task) in results.into_iter().zip(tasks) {
            match self.kept(result, task.as_str())? {
                Some(summary) => {
                    catalog.add(summary.clone());
                    found.push(summary);
                }
                None => catalog.note_other(task.as_str()),
            }
        }
        Ok(found)
    }

    /// The tasks that these identities were published for.
    fn tasks_of(&self, identities: &[Digest]) -> Result<BTreeSet<TaskId>> {
        let results = self.ask(identities, |identity| {
            let located = Located { store: self.name.clone(), target: Target::Identity(*identity) };
            Ok(from_store(self.store, &located)?.2.task_id)
        })?;
        let mut tasks = BTreeSet::new();
        for (result, identity) in results.into_iter().zip(identities) {
            match result {
                Ok(task) => {
                    tasks.insert(task);
                }
                Err(error) if kind_of(&error) == Kind::Unreachable => return Err(error),
                Err(error) => self.app.ui.detail(&format!("{identity} is left out: {error:#}")),
            }
        }
        Ok(tasks)
    }

    /// Asks the store for each of many, within bounds: what it lists and does not have
    /// costs requests.
    fn ask<T: Sync, R: Send>(&self, all: &[T], one: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<Result<R>>> {
        let (began, missing) = (Instant::now(), AtomicUsize::new(0));
        let results = each(all, |item| {
            if began.elapsed() > LONGEST {
                return Err(unreachable(format!("{} takes too long to tell of its tasks", self.name)).into());
            }
            if missing.load(Ordering::Relaxed) > MOST_MISSING {
                return Err(integrity("it is not looked for").into());
            }
            let found = one(item);
            if found.as_ref().is_err_and(|error| kind_of(error) == Kind::NotFound) {
                missing.fetch_add(1, Ordering::Relaxed);
            }
            found
        })?;
        if missing.into_inner() > MOST_MISSING {
            return Err(integrity(format!("{} lists more than {MOST_MISSING} tags that it does not have", self.name))
                .hint("name a task to enter it without the list")
                .into());
        }
        Ok(results)
    }
}

/// What was written beside a tag, where it is about what the tag points at.
fn summed(task: &TaskId, descriptor: &Descriptor) -> Option<Summary> {
    Summary::from_text(descriptor.annotations.get(SUMMARY)?, task, &descriptor.digest)
}
