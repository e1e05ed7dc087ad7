//! `envctl init`

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use crate::config::FieldFate;
use crate::handoff::{InitOptions, init};

/// So many things that are not carried over are shown.
const MOST: usize = 30;

/// Write an envctl.toml for this checkout and its lockfiles
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The image that publish pins
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Read what the project has already, and say what becomes of each field
    #[arg(long, value_name = "WHAT")]
    from: Option<InitSource>,
    /// Print it, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What `init` can start from.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum InitSource {
    /// devcontainer.json
    Devcontainer,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let from_devcontainer = matches!(self.from, Some(InitSource::Devcontainer));
        let options = InitOptions { image: self.image.clone(), from_devcontainer, dry_run: self.dry_run };
        let made = init(app, &options)?;
        if let Some(place) = &made.devcontainer {
            app.ui.status("Read", &place.display().to_string());
        }
        for field in &made.fields {
            let verb = match field.fate {
                FieldFate::Taken => "Taken",
                FieldFate::Left => "Left",
                FieldFate::ByHand => "By hand",
                FieldFate::Refused => "Refused",
            };
            app.ui.status(verb, &format!("{}: {}", field.name, field.how));
        }
        for service in &made.services {
            let files = made.compose.join(", ");
            app.ui.status("Found", &format!("{files}: the service {service} is proposed by its image"));
        }
        for (service, what) in made.uncarried.iter().take(MOST) {
            app.ui.status("By hand", &format!("{service}: {what}"));
        }
        if let Some(more) = made.uncarried.len().checked_sub(MOST).filter(|more| *more > 0) {
            app.ui.status("By hand", &format!("and {more} more; --json lists them all"));
        }
        for lockfile in &made.lockfiles {
            app.ui.status("Found", &format!("{}: a cache is proposed for it", lockfile));
        }
        for (file, why) in &made.left {
            app.ui.status("Left", &format!("{}: no cache is proposed for it; {why}", file));
        }
        if made.lockfiles.is_empty() && made.left.is_empty() && made.services.is_empty() {
            app.ui.status("Found", "no lockfile; envctl help caches says how to describe a cache by hand");
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
