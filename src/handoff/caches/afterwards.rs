//! What nobody waits for, once a runtime has its trees.

use anyhow::Result;

use super::state::trees;
use crate::cache::{Record, Trees};
use crate::digest::Digest;
use crate::handoff::app::App;
use crate::handoff::task::{Pin, Resolved};
use crate::handoff::workspaces::Place;
use crate::handoff::{runtimes, workspaces};
use crate::image::Pulled;

/// Makes what was sealed or fetched outlive a power loss, and notes what the
/// image's layers hold. Losing it costs time.
pub(crate) fn flush(app: &App, pulled: &Pulled, records: &[Record]) {
    let holder = runtimes::holder(app, &pulled.user);
    if let Ok(trees) = trees(app, &holder) {
        let _ = trees.flush(records);
    }
    let diff_ids: Vec<Digest> = pulled.records.iter().map(|record| record.diff_id).collect();
    let _ = pulled.layers.note_content(&diff_ids, &holder);
}

/// The entries that a workspace is given, where that is news.
pub(crate) fn given(resolved: &Resolved, records: &[Record]) -> Option<Vec<String>> {
    let names: Vec<String> = records.iter().map(Trees::name).collect();
    let known = resolved.pin.as_ref().map_or(&[][..], |pin| &pin.trees);
    (known != names).then_some(names)
}

/// Remembers them: they stay as long as the workspace does.
pub(crate) fn note_given(app: &App, resolved: &Resolved, place: &Place, names: Option<Vec<String>>) {
    let Some(names) = names else { return };
    let note = || -> Result<()> {
        let _lock = workspaces::lock(app, resolved, &place.path)?;
        if let Some(pin) = app.pins().read(&resolved.task, place.into())? {
            app.pins().write(&resolved.task, place.into(), &Pin { trees: names, ..pin })?;
        }
        Ok(())
    };
    let _ = note();
}
