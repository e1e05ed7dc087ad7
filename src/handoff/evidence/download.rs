//! Artifacts on their way here: all of a task's on request, and the small ones
//! that explain a failure whenever a workspace is made.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::artifacts::ArtifactRow;
use super::export::{self, ExportFolder};
use super::found::{self, find};
use super::{artifacts, copies};
use crate::error::not_found;
use crate::handoff::allowance;
use crate::handoff::app::App;
use crate::handoff::parallel::each;
use crate::handoff::task::{Pin, Resolved, Source};
use crate::identity::{ArtifactType, Provenance, TaskRef};
use crate::store::{Attachment, Store, identity_tag};
use crate::ui::{counted, human_bytes};

/// The largest artifact that comes along with a workspace, in bytes.
const MAX_KEY: u64 = 1 << 20;

/// All of them together, in bytes.
const MAX_KEYS: u64 = 16 << 20;

/// How many.
const MOST_KEYS: usize = 64;

/// Artifacts among which they are looked for, the newest.
const MOST_LOOKED_AT: usize = 128;

/// The folder of a workspace's artifacts, read-only, to be shown inside its
/// runtime; `None` when there are none here.
pub(crate) fn artifacts_of(pin: &Pin) -> Option<&Path> {
    pin.artifacts.as_deref().filter(|folder| folder.is_dir())
}

/// Fetches the key artifacts of an identity for its workspace: the newest small
/// ones that are no programs. A store that cannot tell of them is no reason not
/// to enter.
pub(crate) fn key_artifacts(source: &Source<'_>, resolved: &Resolved) -> Option<(PathBuf, u64)> {
    fetch_key(source, resolved).unwrap_or_else(|error| {
        source.app.ui.warn(&format!("entered without the task's artifacts: {error:#}"));
        None
    })
}

fn fetch_key(source: &Source<'_>, resolved: &Resolved) -> Result<Option<(PathBuf, u64)>> {
    let app = source.app;
    let store = match source.store() {
        Ok(store) => store,
        // What was fetched before is good for an enter without the store.
        Err(_) => {
            let kept = copies::kept(app, &resolved.digest);
            let kept: Vec<&Provenance> = kept.iter().filter(|provenance| is_key(provenance)).collect();
            return Ok(copies::folder(app, &resolved.digest, &kept)?.map(|folder| (folder, 0)));
        }
    };
    let Some(manifest) = store.resolve(&identity_tag(&resolved.digest))? else { return Ok(None) };
    let found = find(app, store, &manifest.digest, MOST_LOOKED_AT)?;
    let all = found.attachments.len();
    let chosen = choose(found.attachments);
    if all > chosen.len() {
        app.ui.detail(&format!("{} artifacts stay in the store: envctl artifacts get", all - chosen.len()));
    }
    let (folder, bytes) = bring(app, store, resolved, &chosen)?;
    if let Some(folder) = &folder {
        let count = chosen.len();
        app.ui.status(
            "Fetched",
            &format!(
                "{} ({}) at {}",
                counted(count as u64, "artifact", "artifacts"),
                human_bytes(bytes),
                folder.display()
            ),
        );
    }
    Ok(folder.map(|folder| (folder, bytes)))
}

fn is_key(provenance: &Provenance) -> bool {
    let is_evidence = !matches!(provenance.artifact_type, ArtifactType::Binary | ArtifactType::DockerImage);
    is_evidence && provenance.size <= MAX_KEY
}

/// The newest key artifacts that fit, oldest first.
fn choose(attachments: Vec<Attachment>) -> Vec<Attachment> {
    let mut total = 0;
    let mut chosen: Vec<Attachment> = attachments
        .into_iter()
        .rev()
        .filter(|attachment| is_key(&attachment.provenance))
        .take(MOST_KEYS)
        .take_while(|attachment| {
            total += attachment.content.size;
            total <= MAX_KEYS
        })
        .collect();
    chosen.reverse();
    chosen
}

/// Copies artifacts here and gives them names; not flushed yet.
fn bring(
    app: &App,
    store: &dyn Store,
    resolved: &Resolved,
    attachments: &[Attachment],
) -> Result<(Option<PathBuf>, u64)> {
    let name = resolved.task.store.to_string();
    let sizes = attachments.iter().map(|attachment| attachment.content.size);
    let bytes = sizes.fold(0_u64, u64::saturating_add);
    allowance::require(app, &app.paths.artifacts(), bytes, "the artifacts")?;
    let moved = each(attachments, |attachment| copies::keep(app, (store, &name), &resolved.digest, attachment))?;
    let bytes = moved.into_iter().sum::<Result<u64>>()?;
    let described: Vec<&Provenance> = attachments.iter().map(|attachment| &attachment.provenance).collect();
    Ok((copies::folder(app, &resolved.digest, &described)?, bytes))
}

/// What `artifacts get` brought.
#[derive(Debug, Serialize)]
pub struct Gotten {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// Digest of the identity.
    pub identity: crate::digest::Digest,
    /// Where the files are; `null` when there are none.
    pub folder: Option<PathBuf>,
    /// Oldest first.
    pub artifacts: Vec<ArtifactRow>,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// How many were left out, at least.
    pub skipped: usize,
}

/// Fetches the artifacts of a task; all, or those with these names. They stay
/// in a read-only folder of envctl's, or are copied to `output`, which is
/// missing or empty.
///
/// # Errors
/// When there is no such task or artifact, or the store does not answer.
pub fn get_artifacts(app: &App, reference: &TaskRef, names: &[String], output: Option<&Path>) -> Result<Gotten> {
    let output = output.map(|output| app.cwd.join(output));
    if let Some(output) = &output {
        export::must_be_empty(output)?;
    }
    let (task, store, subject) = artifacts::subject(app, reference, false)?;
    let found = find(app, &*store, &subject.manifest.digest, found::MOST)?;
    let (skipped, mut attachments) = (found.left_out(), found.attachments);
    if !names.is_empty() {
        for name in names {
            if !attachments.iter().any(|attachment| attachment.provenance.name == *name) {
                return Err(not_found(format!("{} has no artifact {name:?}", task.reference()))
                    .hint(format!("see what is there: envctl artifacts ls {}", task.quoted()))
                    .into());
            }
        }
        attachments.retain(|attachment| names.contains(&attachment.provenance.name));
    }
    app.open_roots()?;
    let resolved = Resolved {
        task: task.clone(),
        digest: subject.digest,
        identity: subject.identity,
        pin: None,
        pinned_at: app.clock.now(),
        local: None,
    };
    let (mut folder, bytes) = bring(app, &*store, &resolved, &attachments)?;
    copies::flush(app)?;
    if let (Some(output), Some(from)) = (output, &folder) {
        copy(app, from, &output)?;
        folder = Some(output);
    }
    let artifacts = attachments.iter().map(ArtifactRow::of).collect();
    Ok(Gotten { task: task.reference(), identity: subject.digest, folder, artifacts, bytes, skipped })
}

/// Plain copies that belong to the caller.
fn copy(app: &App, from: &Path, to: &Path) -> Result<()> {
    let mut outside = ExportFolder::begin(&app.ui, to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        outside.put(Path::new(&entry.file_name()), &mut fs::File::open(entry.path())?)?;
    }
    outside.finish()
}
