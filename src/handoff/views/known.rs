//! What a name may be, by what this machine knows: for completion, which waits for
//! nobody. Tasks are those that are here, and those of the last list of the store.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::logs::setups_with_logs;
use crate::disk::{self, Durability};
use crate::handoff::app::App;
use crate::handoff::caches::caches;
use crate::handoff::task::Pin;
use crate::handoff::workspaces::salvages;
use crate::identity::{Status, StoreRef, TaskId};

/// Tasks of a list that are remembered.
const MOST: usize = 2000;

/// A name, and a word about what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// As it is typed.
    pub name: String,
    /// For people; may be empty.
    pub about: String,
}

/// A task of a list that was seen.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    task: TaskId,
    status: String,
    message: Option<String>,
}

/// Remembers a list of a store: tasks, their states and messages. Losing it costs
/// completion.
pub(super) fn remember<'a>(
    app: &App,
    store: &StoreRef,
    tasks: impl Iterator<Item = (&'a TaskId, Status, &'a Option<String>)>,
) {
    let listed = |(task, status, message): (&TaskId, Status, &Option<String>)| Listed {
        task: task.clone(),
        status: status.to_string(),
        message: message.clone(),
    };
    let listed: Vec<Listed> = tasks.take(MOST).map(listed).collect();
    if app.open_roots().is_ok() {
        let _ = disk::write_json(&app.paths.task_list(&store.key()), &listed, Durability::Cached);
    }
}

/// Tasks, by the shortest name that means them here; where a store is being typed, by
/// their whole names.
pub fn known_tasks(app: &App, typed: &str) -> Vec<Known> {
    let configured = app.configured_store().ok().flatten().map(|store| store.to_string());
    let with_store = typed.contains([':', '/']);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for pin in app.pins().all().unwrap_or_default() {
        let is_usual = configured.as_ref().is_none_or(|store| *store == pin.store);
        let name = if is_usual && !with_store { Pin::name(&pin) } else { pin.reference() };
        found.insert(name, "here".into());
    }
    let is_configured = |store: &String| configured.as_ref() == Some(store);
    let stores = store_names(app).into_iter().filter(|store| with_store || is_configured(store));
    for store in stores.filter_map(|store| store.parse::<StoreRef>().ok()) {
        let listed: Vec<Listed> =
            disk::read_json(&app.paths.task_list(&store.key())).ok().flatten().unwrap_or_default();
        for Listed { task, status, message } in listed.into_iter().take(MOST) {
            let message = message.map_or_else(String::new, |message| format!(": {message}"));
            let name = if with_store { format!("{store}:{task}") } else { task.to_string() };
            found.insert(name, format!("{status}{message}"));
        }
    }
    found.into_iter().map(|(name, about)| Known { name, about }).collect()
}

/// The stores of what is here, and the configured one.
pub fn known_stores(app: &App) -> Vec<Known> {
    store_names(app).into_iter().map(|name| Known { name, about: String::new() }).collect()
}

fn store_names(app: &App) -> BTreeSet<String> {
    let configured = app.configured_store().ok().flatten().map(|store| store.to_string());
    app.pins().all().unwrap_or_default().into_iter().map(|pin| pin.store).chain(configured).collect()
}

/// Leases of live runtimes, each with its task.
pub fn known_leases(app: &App) -> Vec<Known> {
    let live = app.runtimes().live().unwrap_or_default();
    live.into_iter().map(|lease| Known { name: lease.id, about: lease.task }).collect()
}

/// What has a log: services of live runtimes, and caches whose setup ran here, each with
/// its task.
pub fn known_logs(app: &App) -> Vec<Known> {
    let live = app.runtimes().live().unwrap_or_default().into_iter();
    let of = |lease: crate::runtime::Lease| {
        lease.services.into_iter().map(move |name| Known { name, about: lease.task.clone() })
    };
    let setups = setups_with_logs(app).into_iter().map(|(cache, task)| Known { name: cache, about: task });
    live.flat_map(of).chain(setups).collect()
}

/// What was set aside, each with its task.
pub fn known_salvages(app: &App) -> Vec<Known> {
    let rows = salvages(app).unwrap_or_default();
    rows.into_iter().map(|row| Known { name: row.id, about: row.task.unwrap_or_default() }).collect()
}

/// Caches that are here: names, or the beginnings of their keys with the names.
pub fn known_caches(app: &App, keys: bool) -> Vec<Known> {
    let rows = caches(app).unwrap_or_default();
    let known = |name, about| Known { name, about };
    let mut found: Vec<Known> = rows
        .into_iter()
        .map(|row| if keys { known(row.key.short(), row.name) } else { known(row.name, String::new()) })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    found
}
