//! What nobody waits for, once a runtime has its trees.

use anyhow::Result;

use super::super::context::Context;
use super::super::fetch;
use super::super::hydrate;
use super::super::pin::Pin;
use super::super::place::Place;
use super::super::resolve::Resolved;
use super::trees;
use crate::cache::{Record, Trees};
use crate::digest::Digest;
use crate::image::Pulled;

/// Makes what was sealed or fetched outlive a power loss, and notes what the
/// image's layers hold. Losing it costs time.
pub(in crate::handoff) fn flush(ctx: &Context, pulled: &Pulled, records: &[Record]) {
    let holder = fetch::holder(ctx, &pulled.user);
    if let Ok(trees) = trees(ctx, &holder) {
        let _ = trees.flush(records);
    }
    let diff_ids: Vec<Digest> = pulled.records.iter().map(|record| record.diff_id).collect();
    let _ = pulled.layers.note_content(&diff_ids, &holder);
}

/// The entries that a workspace is given, where that is news.
pub(in crate::handoff) fn given(resolved: &Resolved, records: &[Record]) -> Option<Vec<String>> {
    let names: Vec<String> = records.iter().map(Trees::name).collect();
    let known = resolved.pin.as_ref().map_or(&[][..], |pin| &pin.trees);
    (known != names).then_some(names)
}

/// Remembers them: they stay as long as the workspace does.
pub(in crate::handoff) fn note_given(ctx: &Context, resolved: &Resolved, place: &Place, names: Option<Vec<String>>) {
    let Some(names) = names else { return };
    let note = || -> Result<()> {
        let _lock = hydrate::lock(ctx, resolved, &place.path)?;
        if let Some(pin) = ctx.pins().read(&resolved.task, place.into())? {
            ctx.pins().write(&resolved.task, place.into(), &Pin { trees: names, ..pin })?;
        }
        Ok(())
    };
    let _ = note();
}
