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

/// What a store had, and when it was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// The identity.
    pub(crate) identity: Digest,
    /// The task was closed.
    #[serde(default)]
    pub(crate) closed: bool,
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

    /// When the store was last seen to have the task as closed.
    pub(crate) fn closed(&self, pin: &Pin) -> Option<Timestamp> {
        self.of(pin).filter(|look| look.closed).map(|look| look.at)
    }

    fn of(&self, pin: &Pin) -> Option<&Look> {
        self.0.get(&pin.reference())
    }
}

/// Notes what a store has of tasks, as far as they have a workspace here.
pub(crate) fn note(app: &App, seen: impl IntoIterator<Item = (String, Digest, Status)>) {
    let pins: BTreeSet<String> = app.pins().all().unwrap_or_default().iter().map(Pin::reference).collect();
    let seen: Vec<_> = seen.into_iter().filter(|(task, ..)| pins.contains(task)).collect();
    if seen.is_empty() {
        return;
    }
    let mut looks = Looks::read(app);
    looks.0.retain(|task, _| pins.contains(task));
    let at = app.clock.now();
    let look = |identity, status| Look { identity, closed: status == Status::Closed, at };
    looks.0.extend(seen.into_iter().map(|(task, identity, status)| (task, look(identity, status))));
    let _ = disk::write_json(&app.paths.looks(), &looks, Durability::Cached);
}

/// The same of one task.
pub(crate) fn note_one(app: &App, task: &Located, digest: Digest, identity: &Identity) {
    note(app, [(task.reference(), digest, identity.handoff.status)]);
}

impl Look {
    /// In words, for whoever carries on with the older one.
    pub(crate) fn words(&self, app: &App) -> String {
        format!("the store had another identity {}", age(self.at, app.clock.now()))
    }
}
