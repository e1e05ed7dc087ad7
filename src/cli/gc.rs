//! `envctl gc`

use anyhow::Result;
use clap::Args;

use crate::error::Kind;
use crate::handoff::{Context, gc};
use crate::runtime::Receipt;
use crate::ui::escape;

/// Remove what dead commands left, and records that are old
///
/// `enter` starts this in the background once a day.
#[derive(Debug, Args)]
pub(super) struct Arguments {}

impl Arguments {
    pub(super) fn run(&self, ctx: &Context, reaped: Vec<Receipt>) -> Result<u8> {
        let done = gc(ctx, reaped)?;
        let baseline = done.receipts.iter().all(|receipt| receipt.baseline);
        if ctx.ui.is_json() {
            ctx.ui.json(&done)?;
        } else {
            for receipt in &done.receipts {
                ctx.ui.data(&escape(&format!("runtime    {}  {}", receipt.task, receipt.reason)))?;
            }
            for removed in &done.removed {
                ctx.ui.data(&escape(&format!("{:<10} {}  {}", removed.kind, removed.path.display(), removed.why)))?;
            }
            if done.receipts.is_empty() && done.removed.is_empty() {
                ctx.ui.status("Found", "nothing to remove");
            }
        }
        Ok(if baseline { 0 } else { Kind::Leak.exit_code() })
    }
}
