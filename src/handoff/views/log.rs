//! `log`: from an identity to the one that it continues, and on. Each names
//! its parent by digest, and each has a tag of its own in the store, so the
//! walk needs one request for each step; identities that are on this machine
//! need none.

use anyhow::Result;
use serde::Serialize;

use super::show::current;
use crate::digest::Digest;
use crate::handoff::app::App;
use crate::handoff::task::{History, Source};
use crate::identity::{Identity, TaskRef};

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
/// [`crate::error::Kind::NotFound`] when there is no such task; when the store does not
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
    let end = match history.gone() {
        Some(_) if asked => LogEnd::Gone,
        Some(_) => LogEnd::Unknown,
        None if history.has_more() => LogEnd::Limit,
        None => LogEnd::Beginning,
    };
    Ok(Log { task: task.reference(), identities, end })
}
