//! `log`: from an identity to the one that it continues, and on. Each names
//! its parent by digest, and each has a tag of its own in the store, so the
//! walk needs one request for each step; identities that are on this machine
//! need none.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::show::current;
use crate::digest::Digest;
use crate::error::{Kind, kind_of};
use crate::handoff::app::App;
use crate::handoff::task::{Located, Source, from_store};
use crate::identity::{Identity, StoreRef, Target, TaskRef};
use crate::store::Store;

/// One identity of a history.
#[derive(Debug, Serialize)]
pub struct LogEntry {
    /// Its digest.
    pub digest: Digest,
    /// The document.
    pub identity: Identity,
}

/// Why a history ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogEnd {
    /// The last one continues nothing.
    Beginning,
    /// What the last one continues is neither in the store nor here.
    Gone,
    /// What the last one continues is not here, and the store did not answer.
    Unknown,
    /// There is more.
    Limit,
}

/// The history of a task.
#[derive(Debug, Serialize)]
pub struct Log {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// Newest first.
    pub identities: Vec<LogEntry>,
    /// Why there are no more.
    pub end: LogEnd,
}

/// Walks back from a task.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such task; when the store does not
/// answer.
pub fn log(app: &App, reference: &TaskRef, limit: usize) -> Result<Log> {
    let task = app.locate(reference)?;
    let source = Source::new(app, task.clone());
    let (newest, asked) = current(app, &source)?;
    // A store that did not answer is not asked again; what is here is shown.
    let store = if asked { Some(source.store()?) } else { None };
    let mut history = History::from(app, store, &task.store, newest.digest);
    let mut identities = Vec::new();
    for step in history.by_ref().take(limit) {
        let (digest, identity) = step?;
        identities.push(LogEntry { digest, identity });
    }
    let end = match history.gone {
        Some(_) if asked => LogEnd::Gone,
        Some(_) => LogEnd::Unknown,
        None if history.next.is_some() => LogEnd::Limit,
        None => LogEnd::Beginning,
    };
    Ok(Log { task: task.reference(), identities, end })
}

/// A walk from an identity to its parents.
pub(crate) struct History<'a> {
    app: &'a App,
    store: Option<&'a dyn Store>,
    name: &'a StoreRef,
    next: Option<Digest>,
    /// What was looked for in vain.
    gone: Option<Digest>,
}

impl<'a> History<'a> {
    pub(crate) fn from(app: &'a App, store: Option<&'a dyn Store>, name: &'a StoreRef, newest: Digest) -> Self {
        History { app, store, name, next: Some(newest), gone: None }
    }

    fn look_up(&self, digest: Digest) -> Result<Option<Identity>> {
        // Exact bytes: where they are from does not matter.
        if let Some(identity) = self.app.pins().identity(&digest)? {
            return Ok(Some(identity));
        }
        let Some(store) = self.store else { return Ok(None) };
        let located = Located { store: self.name.clone(), target: Target::Identity(digest) };
        match from_store(store, &located) {
            Ok((_, _, identity)) => Ok(Some(identity)),
            Err(error) if kind_of(&error) == Kind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read the identity {digest}")),
        }
    }
}

impl Iterator for History<'_> {
    type Item = Result<(Digest, Identity)>;

    fn next(&mut self) -> Option<Self::Item> {
        let digest = self.next.take()?;
        match self.look_up(digest) {
            Ok(Some(identity)) => {
                self.next = identity.parent;
                Some(Ok((digest, identity)))
            }
            Ok(None) => {
                self.gone = Some(digest);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}
