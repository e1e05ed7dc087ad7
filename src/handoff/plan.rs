//! What an `enter` would do: the difference between what a task needs and
//! what is here.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::context::Context;
use super::fetch;
use super::resolve::Resolved;
use crate::ui::human_bytes;

/// A plan; nothing of it has been done.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The task as it can be named from anywhere.
    pub task: String,
    /// Digest of the identity.
    pub identity: String,
    /// When it was pinned on this machine; `null` before the first `enter`.
    pub pinned_at: Option<jiff::Timestamp>,
    /// The workspace's place.
    pub workspace: String,
    /// Whether it is there.
    pub workspace_ready: bool,
    /// The image.
    pub image: String,
    /// Layers that have to be pulled; `null` when the image is not known here.
    pub layers_missing: Option<usize>,
    /// Their compressed bytes.
    pub bytes_missing: Option<u64>,
    /// Whether everything is here: such an enter needs no network.
    pub warm: bool,
}

/// Looks; changes nothing.
///
/// # Errors
/// When what is here cannot be read.
pub(super) fn plan(ctx: &Context, resolved: &Resolved, place: &Path, runtime: bool) -> Result<Plan> {
    let image = if runtime { fetch::local_image(ctx, resolved)? } else { None };
    let ready = resolved.pin.as_ref().is_some_and(|pin| pin.identity == resolved.digest) && place.exists();
    let missing = image.as_ref().map(|(image, pulled)| match pulled {
        Some(_) => (0, 0),
        None => (image.layers.len(), image.layers.iter().map(|(layer, _)| layer.size).sum()),
    });
    Ok(Plan {
        task: resolved.task.reference(),
        identity: resolved.digest.to_string(),
        pinned_at: resolved.pin.as_ref().map(|pin| pin.pinned_at),
        workspace: place.display().to_string(),
        workspace_ready: ready,
        image: resolved.identity.toolchain.image.to_string(),
        layers_missing: missing.map(|(layers, _)| layers),
        bytes_missing: missing.map(|(_, bytes)| bytes),
        warm: ready && (!runtime || missing == Some((0, 0))),
    })
}

impl Plan {
    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let layers = match (self.layers_missing, self.bytes_missing) {
            (Some(0), _) => "here".to_owned(),
            (Some(count), Some(bytes)) => format!("pull up to {count} layers, {}", human_bytes(bytes)),
            _ => "pull".to_owned(),
        };
        let workspace = if self.workspace_ready { "carry on in" } else { "make" };
        vec![
            format!("task       {}", self.task),
            format!("identity   {}", self.identity),
            format!("image      {} ({layers})", self.image),
            format!("workspace  {workspace} {}", self.workspace),
            format!("network    {}", if self.warm { "not needed" } else { "store and git remote" }),
        ]
    }
}
