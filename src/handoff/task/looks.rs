//! What stores were last seen to have of the tasks that are here: whoever comes back
//! to a workspace is told that the task has moved on, without asking anybody.
//!
//! Invariant: only tasks with a pin are remembered, so it does not grow without end.
//! Losing it costs a word.

use std::collections::BTreeMap;

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

type Looks = BTreeMap<String, Look>;

fn read(app: &App) -> Looks {
    disk::read_json(&app.paths.looks()).ok().flatten().unwrap_or_default()
}

/// Notes what a store has of tasks, as far as they have a workspace here.
pub(crate) fn note(app: &App, seen: impl IntoIterator<Item = (String, Digest, Status)>) {
    let pins: Vec<String> = app.pins().all().unwrap_or_default().iter().map(Pin::reference).collect();
    let seen: Vec<_> = seen.into_iter().filter(|(task, ..)| pins.contains(task)).collect();
    if seen.is_empty() {
        return;
    }
    let mut looks = read(app);
    looks.retain(|task, _| pins.contains(task));
    let at = app.clock.now();
    looks.extend(
        seen.into_iter()
            .map(|(task, identity, status)| (task, Look { identity, closed: status == Status::Closed, at })),
    );
    let _ = disk::write_json(&app.paths.looks(), &looks, Durability::Cached);
}

/// The same of one task.
pub(crate) fn note_one(app: &App, task: &Located, digest: Digest, identity: &Identity) {
    note(app, [(task.reference(), digest, identity.handoff.status)]);
}

/// What the store was last seen to have, if that is not what the workspace holds.
pub(crate) fn newer(app: &App, pin: &Pin) -> Option<Look> {
    read(app).remove(&pin.reference()).filter(|look| !pin.holds(&look.identity) && look.at >= pin.pinned_at)
}

/// When the store was last seen to have the task as closed.
pub(crate) fn closed(app: &App, pin: &Pin) -> Option<Timestamp> {
    read(app).remove(&pin.reference()).filter(|look| look.closed).map(|look| look.at)
}

impl Look {
    /// In words, for whoever carries on with the older one.
    pub(crate) fn words(&self, app: &App) -> String {
        format!("the store had another identity {}", age(self.at, app.clock.now()))
    }
}
