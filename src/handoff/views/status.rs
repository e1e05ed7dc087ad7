//! Looking at this machine: what runs on it, and what lies on it.

use anyhow::Result;
use serde::Serialize;

use crate::handoff::app::{App, StorePlace as _};
use crate::handoff::task::Pin;
use crate::handoff::workspaces::{self, SalvageRow, WorkspaceRow};
use crate::identity::{StoreRef, TaskRef};
use crate::runtime::{self, Lease};

/// A live runtime.
#[derive(Debug, Serialize)]
pub struct LeaseRow {
    /// Its record.
    #[serde(flatten)]
    pub lease: Lease,
    /// The image, where the identity is here.
    pub image: Option<String>,
    /// How many others have joined it; `null` where it did not answer at once.
    pub joined: Option<u32>,
}

/// What exists on this machine.
#[derive(Debug, Serialize)]
pub struct StatusView {
    /// Live runtimes.
    pub leases: Vec<LeaseRow>,
    /// Workspaces.
    pub workspaces: Vec<WorkspaceRow>,
    /// What was set aside, newest first.
    pub salvages: Vec<SalvageRow>,
    /// Workspaces whose folder was removed by somebody else, by task.
    pub gone: Vec<String>,
}

impl StatusView {
    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty() && self.workspaces.is_empty() && self.salvages.is_empty() && self.gone.is_empty()
    }
}

/// Which of it is meant: all, or what belongs to one task.
struct Meant<'a> {
    task: Option<&'a TaskRef>,
    store: Option<StoreRef>,
}

impl Meant<'_> {
    fn pin(&self, pin: &Pin) -> bool {
        self.of(&pin.store, &[&pin.slug, &pin.identity.to_string()])
    }

    fn of(&self, store: &str, names: &[&str]) -> bool {
        let Some(task) = self.task else { return true };
        let (name, slug) = (task.target.to_string(), task.target.slug());
        let named = names.iter().any(|own| **own == name || **own == slug);
        named && self.store.as_ref().is_none_or(|named| named.to_string() == store)
    }

    fn reference(&self, text: &str) -> bool {
        let Ok(of) = text.parse::<TaskRef>() else { return self.task.is_none() };
        let store = of.store.map(|store| store.to_string()).unwrap_or_default();
        self.of(&store, &[&of.target.to_string()])
    }
}

/// Looks at this machine, for everything or for one task.
///
/// # Errors
/// When the state cannot be read.
pub fn status(app: &App, task: Option<&TaskRef>) -> Result<StatusView> {
    workspaces::tell_swept(app);
    let store = task.and_then(|task| task.store.clone()).or_else(|| task.and(app.options.store.clone()));
    let meant = Meant { task, store: store.map(|store| store.placed(&app.cwd)) };
    let pins = app.pins();
    let runtimes = app.runtimes();
    let row = |lease: Lease| {
        let identity = lease.identity.parse().ok().and_then(|digest| pins.identity(&digest).ok()?);
        let image = identity.map(|identity| identity.toolchain.image.to_string());
        LeaseRow { joined: runtime::joined_now(&runtimes, &lease), image, lease }
    };
    let leases = runtimes.live()?.into_iter();
    let leases = leases.filter(|lease| meant.of(&lease.store, &[&lease.task, &lease.identity])).map(row).collect();
    let workspaces = workspaces::workspaces(app)?.into_iter();
    // A row names an identity by its reference.
    let own = |row: &WorkspaceRow| meant.of(&row.store, &[&row.task, &row.identity]) || meant.reference(&row.task);
    let salvages = workspaces::salvages(app)?.into_iter();
    let gone = pins.all()?.into_iter().filter(|pin| !pin.workspace.exists() && meant.pin(pin));
    Ok(StatusView {
        leases,
        workspaces: workspaces.filter(own).collect(),
        salvages: salvages
            .filter(|row| task.is_none() || row.task.as_deref().is_some_and(|task| meant.reference(task)))
            .collect(),
        gone: gone.map(|pin| format!("{} at {}", pin.name(), pin.workspace.display())).collect(),
    })
}
