//! `envctl gc`

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use crate::error::Kind;
use crate::handoff::gc;

/// Remove leftovers, what is old, and workspaces that are due
///
/// What is unsaved in a workspace is salvaged first. `enter` starts this in the
/// background once a day.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// List what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, reaped, .. }: VerbCall<'_>) -> Result<u8> {
        let uncleared = reaped.failures;
        let done = gc(app, reaped.receipts, self.dry_run)?;
        let baseline = uncleared == 0 && done.receipts.iter().all(|receipt| receipt.baseline);
        if app.ui.is_json() {
            app.ui.json(&done)?;
        } else {
            for receipt in &done.receipts {
                app.ui.data(&format!("runtime    {}  {}", receipt.task, receipt.reason))?;
            }
            for removed in &done.removed {
                let salvaged = match (&removed.salvage, removed.unsaved.join(", ")) {
                    (_, unsaved) if unsaved.is_empty() => String::new(),
                    (Some(id), unsaved) => format!("; salvaged as {id}: {unsaved}"),
                    (None, unsaved) => format!("; to be salvaged: {unsaved}"),
                };
                let (kind, path, why) = (removed.kind, removed.path.display(), &removed.why);
                app.ui.data(&format!("{kind:<10} {path}  {why}{salvaged}"))?;
            }
            for kept in &done.kept {
                app.ui.data(&format!("kept       {}  {}: {}", kept.task, kept.path.display(), kept.why))?;
            }
            if done.receipts.is_empty() && done.removed.is_empty() {
                app.ui.status("Found", "nothing to remove");
            }
        }
        Ok(if baseline { 0 } else { Kind::Leak.exit_code() })
    }
}
