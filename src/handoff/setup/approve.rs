//! `approve TASK`: what a task's project asks for, shown, and agreed to or not.

use anyhow::Result;

use crate::digest::Digest;
use crate::error::not_found;
use crate::handoff::app::App;
use crate::handoff::task::{Source, resolve};
use crate::handoff::trust::{Asks, Settled, Verdict, asked_by, refused, settle};
use crate::identity::TaskRef;

/// How `approve TASK` ended.
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
    let verdict = settle(app, &asks)?;
    if matches!(verdict, Verdict::Unasked | Verdict::TooLong) && !app.ui.is_json() {
        app.ui.status("Approval", &asked_by(&asks));
        asks.lines().iter().try_for_each(|line| app.ui.whole(line))?;
    }
    match verdict {
        Verdict::Agreed if asks.is_empty() => Ok(Asked::Nothing),
        Verdict::Agreed => Ok(Asked::Agreed(asks.digest())),
        other => Err(refused(Some(&task.to_string()), &asks, other).into()),
    }
}
