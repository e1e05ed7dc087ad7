//! `envctl init`

use anyhow::Result;
use clap::Args;

use crate::handoff::{App, InitOptions, init};

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
    pub(super) fn run(&self, app: &App) -> Result<u8> {
        let made = init(app, &InitOptions { image: self.image.clone(), dry_run: self.dry_run })?;
        for lockfile in &made.lockfiles {
            app.ui.status("Found", &format!("{}: a cache is proposed for it", lockfile));
        }
        for (file, why) in &made.left {
            app.ui.status("Left", &format!("{}: no cache is proposed for it; {why}", file));
        }
        if made.lockfiles.is_empty() && made.left.is_empty() {
            app.ui.status("Found", "no lockfile: see docs/how-to/caches.md for caches that no lockfile suggests");
        }
        if app.ui.is_json() {
            app.ui.json(&made)?;
        } else if self.dry_run {
            made.text.lines().try_for_each(|line| app.ui.data(line))?;
        } else {
            app.ui.raw(&made.path.display().to_string())?;
        }
        Ok(0)
    }
}
