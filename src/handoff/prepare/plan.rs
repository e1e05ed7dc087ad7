//! What an `enter` would do: the difference between what a task needs and
//! what is here.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::rates;
use crate::handoff::app::App;
use crate::handoff::fetch::Part;
use crate::handoff::task::{Resolved, Source};
use crate::handoff::{caches, fetch};
use crate::image::Image;
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
    /// Everything that the task needs, where it is known.
    pub parts: Vec<Part>,
    /// Layers that have to be pulled; `null` when the image is not known here.
    pub layers_missing: Option<usize>,
    /// Their compressed bytes.
    pub bytes_missing: Option<u64>,
    /// Whether everything is here: such an enter needs no network.
    pub warm: bool,
    /// How long it will take by what this machine has measured; `null` where a
    /// part was never measured here.
    pub expected_seconds: Option<f64>,
}

/// Looks; makes nothing. The store is asked for what is not known here when a
/// source is given.
///
/// # Errors
/// When what is here cannot be read, or the store cannot.
pub(crate) fn plan(
    app: &App,
    resolved: &Resolved,
    place: &Path,
    runtime: bool,
    source: Option<&Source<'_>>,
) -> Result<Plan> {
    let ready = resolved.pin.as_ref().is_some_and(|pin| pin.holds(&resolved.digest)) && place.exists();
    let image = if runtime { known_image(app, resolved, source)? } else { None };
    let services = resolved.identity.services.iter().filter(|_| runtime);
    let services: Vec<Option<Image>> =
        services.map(|pinned| known_image(app, &fetch::of_service(resolved, pinned), source)).collect::<Result<_>>()?;
    let are_known = image.is_some() && services.iter().all(Option::is_some);
    let mut parts: Vec<Part> = Vec::new();
    for image in image.iter().chain(services.iter().flatten()) {
        let have = fetch::layers_here(app, image)?;
        for ((layer, _), hit) in image.layers.iter().zip(have) {
            let name = layer.digest.to_string();
            if parts.iter().all(|part| part.name != name) {
                parts.push(Part { kind: "layer", name, hit, bytes: Some(if hit { 0 } else { layer.size }) });
            }
        }
    }
    let missing: Vec<u64> = parts.iter().filter(|part| !part.hit).filter_map(|part| part.bytes).collect();
    if runtime {
        parts.extend(caches::parts(app, resolved, ready.then_some(place), source)?);
    }
    parts.extend(fetch::snapshot_part(app, resolved, source, ready)?);
    parts.push(Part { kind: "workspace", name: place.display().to_string(), hit: ready, bytes: Some(0) });
    let caches = parts.iter().filter(|part| part.kind == "cache").all(|part| part.hit);
    let mut plan = Plan {
        task: resolved.task.reference(),
        identity: resolved.digest.to_string(),
        pinned_at: resolved.pin.as_ref().map(|pin| pin.pinned_at),
        workspace: place.display().to_string(),
        workspace_ready: ready,
        image: resolved.identity.toolchain.image.to_string(),
        layers_missing: image.as_ref().map(|_| missing.len()),
        bytes_missing: image.as_ref().map(|_| missing.iter().sum()),
        warm: ready && (!runtime || (are_known && missing.is_empty() && caches)),
        expected_seconds: None,
        parts,
    };
    plan.expected_seconds = rates::expect(app, &plan.parts);
    Ok(plan)
}

fn known_image(app: &App, resolved: &Resolved, source: Option<&Source<'_>>) -> Result<Option<Image>> {
    match (fetch::local_image(app, resolved)?, source) {
        (Some((image, _)), _) => Ok(Some(image)),
        (None, Some(_)) if !app.options.offline && !fetch::may_ask_for_image(app, resolved)? => {
            // A plan asks nobody, neither the developer nor a stranger's registry.
            app.ui.warn("the registry of the image is not approved, so envctl did not ask it what there is to fetch");
            Ok(None)
        }
        (None, Some(source)) if !app.options.offline => fetch::image_documents(source, resolved).map(Some),
        (None, _) => Ok(None),
    }
}

impl Plan {
    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let workspace = if self.workspace_ready { "carry on in" } else { "make" };
        let mut lines = vec![
            format!("task       {}", self.task),
            format!("identity   {}", self.identity),
            format!("image      {}", self.image),
        ];
        for part in self.parts.iter().filter(|part| part.kind != "workspace") {
            let state = match (part.hit, part.bytes) {
                (true, _) => "hit".to_owned(),
                (false, Some(bytes)) => format!("miss, {}", human_bytes(bytes)),
                (false, None) if part.kind == "cache" => "miss, its setup would run".to_owned(),
                (false, None) => "miss".to_owned(),
            };
            lines.push(format!("{:<10} {} ({state})", part.kind, part.name));
        }
        lines.push(format!("workspace  {workspace} {}", self.workspace));
        lines.push(format!("network    {}", if self.warm { "not needed" } else { "store and git remote" }));
        if let Some(seconds) = self.expected_seconds {
            lines.push(format!("expected   {seconds} s, by what this machine has measured"));
        }
        lines
    }
}
