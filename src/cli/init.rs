//! `envctl init`

use anyhow::Result;
use clap::Args;

use crate::handoff::{Context, InitOptions, init};

/// Write an envctl.toml for this checkout, with caches for its lockfiles
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image that publish pins
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Print it, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Arguments {
    pub(super) fn run(&self, ctx: &Context) -> Result<u8> {
        let made = init(ctx, &InitOptions { image: self.image.clone(), dry_run: self.dry_run })?;
        for lockfile in &made.lockfiles {
            ctx.ui.status("Found", &format!("{lockfile}: a cache is proposed for it"));
        }
        if ctx.ui.is_json() {
            ctx.ui.json(&made)?;
        } else if self.dry_run {
            made.text.lines().try_for_each(|line| ctx.ui.data(line))?;
        } else {
            ctx.ui.raw(&made.path.display().to_string())?;
        }
        Ok(0)
    }
}
