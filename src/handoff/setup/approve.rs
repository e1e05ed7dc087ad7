//! `approve`: what the project of a task or a checkout asks for, shown, and agreed to or
//! not.

use anyhow::{Context as _, Result};

use crate::digest::Digest;
use crate::error::not_found;
use crate::handoff::app::App;
use crate::handoff::task::{Source, resolve};
use crate::handoff::trust::{Asks, Settled, Verdict, asked_by, refused, settle};
use crate::identity::{RepoUrl, TaskRef};
use crate::snapshot;

/// How `approve` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// There was nothing to agree to.
    Nothing,
    /// This content is agreed to.
    Agreed(Digest),
}

/// Shows what a task's project asks for, and asks the developer.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they do not agree, or cannot be asked;
/// [`crate::error::Kind::NotFound`] when the task has no workspace here.
pub fn approve_task(app: &App, task: &TaskRef) -> Result<Asked> {
    let source = Source::new(app, app.locate(task)?);
    let resolved = resolve(&source, None, false)?;
    let Some(pin) = &resolved.pin else {
        return Err(not_found(format!("{task} has no workspace here, so its project file is not known"))
            .hint(format!("envctl enter {task} --no-runtime"))
            .into());
    };
    let project = app.project(&pin.workspace)?;
    let asks = Asks::of(&resolved.identity.repo.url.to_string(), &resolved.origin(), &project, Settled::default());
    agree_to(app, Some(task), &asks)
}

/// Shows what the project of a checkout asks for, and asks the developer: what they agree
/// to is for this folder.
///
/// # Errors
/// As [`approve_task`]; and when the working directory is in no checkout.
pub fn approve_checkout(app: &App) -> Result<Asked> {
    let repo = snapshot::open(&app.cwd)?;
    let root = repo.workdir().unwrap_or(&app.cwd);
    let origin = app.origin_of(root)?;
    let url: RepoUrl = match snapshot::remote_url(&repo) {
        // As for `run`, which needs no remote.
        Err(_) => root.to_str().context("the checkout's path is no UTF-8")?.parse()?,
        Ok(url) => url.parse()?,
    };
    let asks = Asks::of(&url.to_string(), &origin, &app.project(root)?, Settled::default());
    agree_to(app, None, &asks)
}

fn agree_to(app: &App, task: Option<&TaskRef>, asks: &Asks) -> Result<Asked> {
    let verdict = settle(app, asks)?;
    if matches!(verdict, Verdict::Unasked | Verdict::TooLong) && !app.ui.is_json() {
        app.ui.status("Approval", &asked_by(asks));
        asks.lines().iter().try_for_each(|line| app.ui.whole(line))?;
    }
    match verdict {
        Verdict::Agreed if asks.is_empty() => Ok(Asked::Nothing),
        Verdict::Agreed => Ok(Asked::Agreed(asks.digest())),
        // It stands above, line by line.
        Verdict::Unasked if !app.ui.is_json() => {
            let hint = format!("to agree to exactly this: envctl approve --digest {}", asks.digest());
            Err(refused(None, asks, verdict).details(Vec::new()).hint(hint).into())
        }
        other => Err(refused(task.map(ToString::to_string).as_deref(), asks, other).into()),
    }
}
