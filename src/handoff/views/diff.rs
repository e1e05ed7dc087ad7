//! `diff`: what lies between two identities. Most of it is in the documents;
//! commits and files need both snapshots and the commits that they build on,
//! and are not known where those cannot be had.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::show::{current, described};
use crate::digest::Digest;
use crate::error::usage;
use crate::handoff::app::App;
use crate::handoff::task::{Located, Resolved, Source, beside};
use crate::handoff::{fetch, prepare, task};
use crate::identity::{Identity, Target, TaskRef};
use crate::snapshot::{Changes, SnapshotSide, compare};
use crate::ui::counted;

/// What `diff` was asked to compare.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    /// From this one.
    pub a: TaskRef,
    /// To this one; otherwise to the line beside the first.
    pub b: Option<TaskRef>,
    /// With the lines of files.
    pub patch: bool,
}

/// One side.
#[derive(Debug, Serialize)]
pub struct DiffSide {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// The identity.
    pub identity: Digest,
    /// When it was published.
    pub created_at: jiff::Timestamp,
}

/// A value that is not the same on both sides; `null` where there is none.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// What it is the value of.
    pub name: String,
    /// On the first.
    pub a: Option<String>,
    /// On the second.
    pub b: Option<String>,
}

/// From one identity to another.
#[derive(Debug, Serialize)]
pub struct Diff {
    /// The first.
    pub a: DiffSide,
    /// The second.
    pub b: DiffSide,
    /// Whether they are the same identity.
    pub same: bool,
    /// Fields of the identities: image, platform, workdir, handoff and others.
    pub fields: Vec<Differing>,
    /// Lockfiles, by path.
    pub lockfiles: Vec<Differing>,
    /// Caches, by name.
    pub caches: Vec<Differing>,
    /// Artifacts, by type and name; `null` when they are not known.
    pub artifacts: Option<Vec<Differing>>,
    /// Commits and files; `null` when they are not known.
    pub changes: Option<Changes>,
    /// Why something of this is not known.
    pub unknown: Vec<String>,
}

/// Compares two identities.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when one of them does not exist.
pub fn diff(app: &App, options: &DiffOptions) -> Result<Diff> {
    let first = Source::new(app, app.locate(&options.a)?);
    let (a, asked_a) = current(app, &first)?;
    let other = match &options.b {
        Some(b) => app.locate(b)?,
        None => other_line(&first, &a)?,
    };
    let sources = [first, Source::new(app, other)];
    let (b, asked_b) = current(app, &sources[1])?;
    let side = |resolved: &Resolved| DiffSide {
        task: resolved.task.reference(),
        identity: resolved.digest,
        created_at: resolved.identity.created_at,
    };
    let (old, new) = (&a.identity, &b.identity);
    let mut diff = Diff {
        a: side(&a),
        b: side(&b),
        same: a.digest == b.digest,
        fields: differing(fields(old), fields(new)),
        lockfiles: differing(lockfiles(old), lockfiles(new)),
        caches: differing(caches(old), caches(new)),
        artifacts: None,
        changes: None,
        unknown: Vec::new(),
    };
    let mut known = |what: &str, error: anyhow::Error| diff.unknown.push(format!("{what} are not known: {error:#}"));
    match (artifacts(&sources[0], &a, asked_a), artifacts(&sources[1], &b, asked_b)) {
        (Ok(old), Ok(new)) => diff.artifacts = Some(differing(old, new)),
        (Err(error), _) | (_, Err(error)) => known("artifacts", error),
    }
    let changes = side_of(&sources[0], &a).and_then(|old| compare([old, side_of(&sources[1], &b)?], options.patch));
    match changes {
        Ok(changes) => diff.changes = Some(changes),
        Err(error) => known("commits and files", error),
    }
    Ok(diff)
}

/// The newest line beside a task.
fn other_line(source: &Source<'_>, task: &Resolved) -> Result<Located> {
    let lines = beside(source.app, source.store()?, &task.task, &task.digest)?;
    let newest = lines.iter().max_by_key(|line| line.created_at).ok_or_else(|| {
        usage(format!("{} has one line only", task.task.reference()))
            .hint("envctl diff TASK compares its workspace with its snapshot, and envctl diff A B two tasks")
    })?;
    Ok(Located { store: task.task.store.clone(), target: Target::Identity(newest.identity) })
}

/// A snapshot and what it builds on, fetched where they are not here.
pub(super) fn side_of(source: &Source<'_>, resolved: &Resolved) -> Result<SnapshotSide> {
    source.app.open_roots()?;
    let (snapshot, _) = fetch::snapshot(source, resolved)?;
    prepare::fetch_repo(source.app, resolved, &snapshot.document)?;
    let objects = task::mirror(source.app, resolved).objects();
    Ok(SnapshotSide { document: snapshot.document, pack: snapshot.pack, objects })
}

type Values = BTreeMap<String, String>;

fn differing(old: Values, new: Values) -> Vec<Differing> {
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    let mut all: Vec<Differing> = names
        .map(|name| Differing { name: name.clone(), a: old.get(name).cloned(), b: new.get(name).cloned() })
        .filter(|value| value.a != value.b)
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn fields(identity: &Identity) -> Values {
    let (handoff, repo, toolchain) = (&identity.handoff, &identity.repo, &identity.toolchain);
    let fields = [
        ("task", Some(identity.task_id.to_string())),
        ("agent", identity.agent_identity.clone()),
        ("repository", Some(repo.url.to_string())),
        ("branch", repo.branch.clone()),
        ("commit", Some(repo.commit.to_string())),
        ("image", Some(toolchain.image.to_string())),
        ("platform", Some(toolchain.platform.to_string())),
        ("user", toolchain.user.clone()),
        ("workdir", Some(identity.workdir.to_string())),
        ("snapshot", Some(identity.snapshot_id.to_string())),
        ("status", Some(handoff.status.to_string())),
        ("message", handoff.message.clone()),
        ("command", handoff.command.clone()),
        ("exit code", handoff.exit_code.map(|code| code.to_string())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn lockfiles(identity: &Identity) -> Values {
    let split = |lockfile: &String| match lockfile.split_once(":sha256:") {
        Some((path, hex)) => (path.to_owned(), format!("sha256:{hex}")),
        None => (lockfile.clone(), String::new()),
    };
    identity.lockfiles.iter().map(split).collect()
}

fn caches(identity: &Identity) -> Values {
    let value = |cache: &crate::identity::Cache| match &cache.digest {
        Some(digest) => format!("key {} holding {digest}", cache.key),
        None => format!("key {}", cache.key),
    };
    identity.caches.iter().map(|cache| (cache.name.clone(), value(cache))).collect()
}

fn artifacts(source: &Source<'_>, resolved: &Resolved, asked: bool) -> Result<Values> {
    let described = described(source, resolved, asked)?;
    let mut values = Values::new();
    if described.skipped > 0 {
        let task = source.task.quoted();
        source.app.ui.warn(&format!(
            "left out: at least {} (envctl artifacts ls -v {task} says why)",
            counted(described.skipped as u64, "artifact", "artifacts")
        ));
    }
    for provenance in described.artifacts {
        let name = format!("{} {}", provenance.artifact_type, provenance.path.as_ref().unwrap_or(&provenance.name));
        let names = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name} ({n})") });
        if let Some(name) = names.into_iter().find(|name| !values.contains_key(name)) {
            values.insert(name, format!("{}, {} bytes", provenance.digest, provenance.size));
        }
    }
    Ok(values)
}
