//! What stores were last seen to have of the tasks that are here: whoever comes back
//! to a workspace is told that the task has moved on, without asking anybody.
//!
//! Invariant: only tasks with a pin are remembered, so it does not grow without end.
//! Losing it costs a word.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::located::Located;
use super::pins::Pin;
use crate::clock::age;
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::handoff::app::App;
use crate::identity::{Identity, Status};
use crate::ui::counted;

/// What a store had, and when it was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// The identity.
    pub(crate) identity: Digest,
    /// The task was closed.
    #[serde(default)]
    pub(crate) closed: bool,
    /// So many of its other lines waited for a human.
    #[serde(default)]
    pub(crate) waiting: usize,
    /// When.
    pub(crate) at: Timestamp,
}

/// What is remembered, by the task as it can be named from anywhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Looks(BTreeMap<String, Look>);

impl Looks {
    /// Reads it, for one task or for many.
    pub(crate) fn read(app: &App) -> Self {
        disk::read_json(&app.paths.looks()).ok().flatten().unwrap_or_default()
    }

    /// What the store was last seen to have, if that is not what the workspace holds.
    pub(crate) fn newer(&self, pin: &Pin) -> Option<&Look> {
        self.of(pin).filter(|look| !pin.holds(&look.identity) && look.at >= pin.pinned_at)
    }

    /// What the store was last seen to have, if other lines waited for a human.
    pub(crate) fn waiting(&self, pin: &Pin) -> Option<&Look> {
        self.of(pin).filter(|look| look.waiting > 0)
    }

    /// When the store was last seen to have the task as closed.
    pub(crate) fn closed(&self, pin: &Pin) -> Option<Timestamp> {
        self.of(pin).filter(|look| look.closed).map(|look| look.at)
    }

    fn of(&self, pin: &Pin) -> Option<&Look> {
        self.0.get(&pin.reference())
    }
}

/// A task as a store has it.
pub(crate) struct Sight {
    /// As it can be named from anywhere.
    pub(crate) task: String,
    pub(crate) identity: Digest,
    pub(crate) status: Status,
    /// The states of its other lines, where they were looked at.
    pub(crate) beside: Option<Vec<Status>>,
}

impl Sight {
    /// Of one task alone.
    pub(crate) fn of(task: &Located, digest: Digest, identity: &Identity) -> Self {
        Sight { task: task.reference(), identity: digest, status: identity.handoff.status, beside: None }
    }
}

/// Notes what a store has of tasks, as far as they have a workspace here.
pub(crate) fn note(app: &App, seen: impl IntoIterator<Item = Sight>) {
    note_of(app, pinned(app), seen);
}

/// The same of one that is about to have a workspace, if there is anything to say when
/// it is entered again.
pub(crate) fn note_entered(app: &App, task: &Located, sight: Sight) {
    let has_lines = sight.beside.as_ref().is_some_and(|lines| !lines.is_empty());
    if has_lines || Looks::read(app).0.contains_key(&sight.task) {
        let mut known = pinned(app);
        known.insert(task.reference());
        note_of(app, known, [sight]);
    }
}

fn pinned(app: &App) -> BTreeSet<String> {
    app.pins().all().unwrap_or_default().iter().map(Pin::reference).collect()
}

fn note_of(app: &App, known: BTreeSet<String>, seen: impl IntoIterator<Item = Sight>) {
    let seen: Vec<Sight> = seen.into_iter().filter(|sight| known.contains(&sight.task)).collect();
    if seen.is_empty() {
        return;
    }
    let mut looks = Looks::read(app);
    looks.0.retain(|task, _| known.contains(task));
    let at = app.clock.now();
    for Sight { task, identity, status, beside } in seen {
        let before = looks.0.get(&task).map_or(0, |look| look.waiting);
        let waits = |lines: Vec<Status>| lines.iter().filter(|status| **status == Status::NeedsHuman).count();
        let waiting = beside.map_or(before, waits);
        looks.0.insert(task, Look { identity, closed: status == Status::Closed, waiting, at });
    }
    let _ = disk::write_json(&app.paths.looks(), &looks, Durability::Cached);
}

impl Look {
    /// In words, for whoever carries on with the older one.
    pub(crate) fn words(&self, app: &App) -> String {
        format!("the store had another identity {}", age(self.at, app.clock.now()))
    }

    /// The same of its other lines.
    pub(crate) fn waiting_in_words(&self, app: &App) -> String {
        let lines = counted(self.waiting as u64, "other line of it needs", "other lines of it need");
        format!("{lines} a human, as the store said {}", age(self.at, app.clock.now()))
    }
}
