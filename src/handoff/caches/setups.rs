//! Setups that would run: who has to agree to their networks, and which have
//! failed for exactly this key. An entry that is here or in the store needs
//! neither.

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::place::{self, KeptClear};
use super::state::{Caches, scopes};
use super::tend::all_trees;
use super::wanted::{Basis, Wanted, wanted};
use crate::clock::age;
use crate::config::{CacheEntry, Project, SetupNetwork};
use crate::digest::Digest;
use crate::disk::{self, Durability};
use crate::handoff::app::App;
use crate::handoff::task::{Resolved, Source};
use crate::handoff::{runtimes, task};

/// The schema of a note.
const SCHEMA: u32 = 1;

/// How a setup ended that did not succeed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BadEnd {
    /// In a few words.
    pub(super) how: String,
    /// All that it printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<PathBuf>,
}

/// A setup that has failed, and is not tried again by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SetupFailure {
    schema: u32,
    /// The cache.
    name: String,
    key: Digest,
    #[serde(flatten)]
    end: BadEnd,
    at: Timestamp,
    /// What it was built from, for a build folder: with other files it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sources: Option<Digest>,
}

impl SetupFailure {
    /// What is known of a key; nothing where the sources are others by now.
    pub(super) fn of(app: &App, key: &Digest, sources: Option<Digest>) -> Option<Self> {
        let known: SetupFailure = disk::read_json(&app.paths.failed_setup(key)).ok()??;
        (known.schema == SCHEMA && known.key == *key && known.sources == sources).then_some(known)
    }

    /// Remembers that a setup has failed.
    pub(super) fn note(app: &App, wanted: &Wanted, end: BadEnd, sources: Option<Digest>) {
        let (name, key, at) = (wanted.name.clone(), wanted.key, app.clock.now());
        let failure = SetupFailure { schema: SCHEMA, name, key, end, at, sources };
        let path = app.paths.failed_setup(&key);
        let folder = path.parent().map_or(Ok(()), disk::create_private_dir);
        // What is not noted is tried again.
        let _ = folder.and_then(|()| disk::write_json(&path, &failure, Durability::Cached));
    }

    /// One line, with the log and the way to another try.
    pub(super) fn tell(&self, app: &App, task: &str) {
        let log = self.end.log.as_ref().map_or_else(String::new, |log| format!(", see {}", log.display()));
        let when = age(self.at, app.clock.now());
        app.ui.warn(&format!(
            "the cache {} is left out: its setup failed {when} ({}){log}; to try it again at the next enter: envctl cache retry {task}",
            self.name, self.end.how
        ));
    }
}

/// Forgets the failures of some keys; whether there were any, for each.
pub(super) fn forget(app: &App, key: &Digest) -> bool {
    std::fs::remove_file(app.paths.failed_setup(key)).is_ok()
}

impl Caches<'_> {
    /// Whether the developer agrees to the network of a setup that is about to run;
    /// `false` when they go on without it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Policy`] when they do neither.
    pub(super) fn agree(&self, entry: &CacheEntry) -> Result<bool> {
        let project = Project {
            cache: vec![entry.clone()],
            runtime: crate::config::Runtime { env: self.project.runtime.env.clone(), ..Default::default() },
            ..Project::default()
        };
        let agreed = runtimes::approve(self.app, self.resolved, project, &runtimes::RuntimeOptions::default())?;
        Ok(!agreed.cache.is_empty())
    }
}

/// Makes sure that the developer agrees to what a project asks for, and of the
/// setups to those that would run: what is here, or in the store, needs none.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they do not.
pub(crate) fn ask(
    source: &Source<'_>,
    resolved: &Resolved,
    workspace: &Path,
    options: &runtimes::RuntimeOptions,
) -> Result<()> {
    let app = source.app;
    let mut project = app.project(workspace)?;
    let asking = |entry: &CacheEntry| entry.network != SetupNetwork::None && !app.options.offline && !options.no_caches;
    if project.cache.iter().any(asking) {
        let all = wanted(app, &project, &Basis::of(&resolved.identity), workspace);
        let mut run = Vec::new();
        for wanted in all.iter().filter(|wanted| wanted.entry.as_ref().is_some_and(asking)) {
            if would_run(source, resolved, workspace, wanted)? {
                run.push(wanted.name.clone());
            }
        }
        project.cache.retain(|entry| run.contains(&entry.name));
    } else {
        project.cache.clear();
    }
    runtimes::approve(app, resolved, project, options).map(drop)
}

/// Whether nobody has an entry, as far as that can be known before anything is
/// fetched. What turns out to be missing is asked for then.
fn would_run(source: &Source<'_>, resolved: &Resolved, workspace: &Path, wanted: &Wanted) -> Result<bool> {
    let app = source.app;
    let scopes = scopes(resolved);
    let here = all_trees(app)?.iter().any(|trees| scopes.iter().any(|scope| trees.get(&wanted.key, scope).is_some()));
    if here || SetupFailure::of(app, &wanted.key, None).is_some() {
        return Ok(false);
    }
    let ground = KeptClear {
        workspace,
        workdir: resolved.identity.workdir.as_str(),
        mirror: task::mirror(app, resolved).objects(),
        paths: &app.paths,
    };
    let mut placed = wanted.spots.is_empty();
    for (spot, _) in &wanted.spots {
        placed |= place::obstacle(&ground, spot)?.is_none();
    }
    // A store that does not answer has nothing.
    let has = |scope| source.store().and_then(|store| store.resolve(&crate::cache::Scope::tag(scope, &wanted.key)));
    Ok(placed && !scopes.iter().any(|scope| has(scope).is_ok_and(|found| found.is_some())))
}
