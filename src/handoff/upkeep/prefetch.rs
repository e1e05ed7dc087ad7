//! Making the next enter warm: everything that a task needs is brought here,
//! and nothing is pinned, so that an enter still gets what the task is then.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::config::Project;
use crate::digest::Digest;
use crate::error::usage;
use crate::handoff::app::App;
use crate::handoff::caches::Caches;
use crate::handoff::fetch::Here;
use crate::handoff::report::Report;
use crate::handoff::task::{Located, Resolved, Source, Throttle, resolve};
use crate::handoff::{caches, fetch, prepare};
use crate::identity::{StoreRef, Target, TaskRef};
use crate::ui::human_bytes;

/// What one prefetch did.
#[derive(Clone, Debug, Serialize)]
pub struct Prefetched {
    /// The task.
    pub task: String,
    /// The identity that was brought.
    pub identity: Digest,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// Caches of the task that no store has: the first enter makes them.
    pub unsealed: Vec<String>,
}

/// Brings everything that a task needs now.
///
/// # Errors
/// As `enter`, as far as it fetches.
pub fn prefetch(app: &App, task: &TaskRef, rate: Option<u64>) -> Result<Prefetched> {
    match bring(app, app.locate(task)?, rate, None)? {
        Brought::Here(done) => Ok(done),
        // Nothing was forbidden.
        Brought::TooMuch(bytes) => anyhow::bail!("{} bytes are too much", bytes),
    }
}

/// What came of one task.
pub(super) enum Brought {
    Here(Prefetched),
    /// It needs so many bytes, which is more than was allowed; nothing was brought.
    TooMuch(u64),
}

/// Brings a task, if it costs no more than `most` bytes as far as the store says what its
/// parts are. What the remote of its repository gives is counted afterwards.
pub(super) fn bring(app: &App, task: Located, rate: Option<u64>, most: Option<u64>) -> Result<Brought> {
    if app.options.offline {
        return Err(usage("--offline fetches nothing").into());
    }
    let shown = task.reference();
    app.open_roots()?;
    caches::make_room(app);
    let kept = caches::keep(app)?;
    let mut source = Source::throttled(app, task, rate.map(Throttle::new));
    source.most = most;
    let resolved = resolve(&source, None, true)?;
    // Of what the developer did not agree to, no part is brought.
    prepare::settle_repo(app, &resolved)?;
    fetch::settle_image(app, &resolved)?;
    for pinned in &resolved.identity.services {
        fetch::settle_image(app, &fetch::of_service(&resolved, pinned))?;
    }
    if let Some(most) = most {
        let plan = prepare::plan(app, &resolved, Path::new(""), true, Some(&source))?;
        let needed = plan.parts.iter().filter(|part| !part.hit).filter_map(|part| part.bytes).sum();
        if needed > most {
            return Ok(Brought::TooMuch(needed));
        }
    }
    let mut report = Report::default();
    let image = report.step("fetch.image", || image(&source, &resolved))?;
    for pinned in &resolved.identity.services {
        report.step("fetch.services", || {
            let (_, pulled) = fetch::service_image(&source, &resolved, pinned, &image.user)?;
            Ok(((), pulled.bytes))
        })?;
    }
    let (snapshot, bytes) = fetch::snapshot(&source, &resolved)?;
    report.note("fetch.snapshot", Duration::ZERO, bytes);
    report.step("fetch.repo", || Ok(((), prepare::fetch_repo(app, &resolved, &snapshot.document)?)))?;
    let nothing = Project::default();
    let mut wanted = Caches::of_identity(app, &resolved, &image, &nothing)?;
    wanted.fetch(&source, &mut report)?;
    let (records, unsealed) = wanted.brought();
    app.pins().note_brought(&resolved.task, &resolved.digest)?;
    drop((source, kept));
    let diff_ids: Vec<Digest> = image.records.iter().map(|record| record.diff_id).collect();
    image.layers.flush(&diff_ids)?;
    caches::flush(app, &image, &records);
    let bytes = report.bytes();
    app.ui.status("Prefetched", &format!("{shown}, {}", human_bytes(bytes)));
    Ok(Brought::Here(Prefetched { task: shown, identity: resolved.digest, bytes, unsealed }))
}

/// The parts of an identity that are here now, by name; nobody is asked.
pub(super) fn here(app: &App, store: &StoreRef, digest: &Digest) -> Result<BTreeSet<String>> {
    let Some(identity) = app.pins().identity(digest)? else { return Ok(BTreeSet::new()) };
    let task = Located { store: store.clone(), target: Target::Identity(*digest) };
    let resolved = Resolved { task, digest: *digest, identity, pin: None, pinned_at: app.clock.now(), local: None };
    let plan = prepare::plan(app, &resolved, Path::new(""), true, None)?;
    Ok(plan.parts.into_iter().filter(|part| part.hit).map(|part| part.name).collect())
}

fn image(source: &Source<'_>, resolved: &Resolved) -> Result<(crate::image::Pulled, u64)> {
    let known = match fetch::image_here(source.app, resolved)? {
        Here::Whole(whole) => return Ok((whole.1, 0)),
        Here::Documents(image) => Some(*image),
        Here::Nothing => None,
    };
    let (_, pulled) = fetch::pull_image(source, resolved, known)?;
    let bytes = pulled.bytes;
    Ok((pulled, bytes))
}
