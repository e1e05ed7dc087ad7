//! Leaving a shell: what becomes of the changes that were made in it. Whoever
//! does not answer keeps them, and whatever fails changes nothing.

use anyhow::Result;

use crate::error::kind_of;
use crate::handoff::app::App;
use crate::handoff::publish::{PublishOptions, publish};
use crate::handoff::task::{Resolved, Source, resolve_left};
use crate::handoff::upkeep::renew_workspace;
use crate::handoff::workspaces::{Place, changed};
use crate::identity::{Handoff, Status, Target};
use crate::runtime::Sandbox;
use crate::ui::counted;

/// Others have joined this runtime, and would end with it: asks whether they may go
/// on first. Where nobody can be asked it ends.
///
/// # Errors
/// When the terminal goes away, or the runtime gives no answer.
pub(crate) fn others(app: &App, sandbox: &mut Sandbox) -> Result<()> {
    if sandbox.joined() == 0 || !app.options.interactive || app.options.yes {
        return Ok(());
    }
    let who = counted(sandbox.joined(), "other shell or command is joined", "other shells and commands are joined");
    let answers = ["wait: this runtime goes on until they have left", "end: they end with it, now"];
    if app.ui.choose(&format!("{who} to this runtime. What now?"), &answers)? != Some(1) {
        app.ui.status("Waiting", "until the others have left; Ctrl-C ends the runtime");
        sandbox.wait_for_joined()?;
    }
    Ok(())
}

/// Asks what is to become of changes, where there are some and somebody can be
/// asked.
pub(crate) fn offer(app: &App, resolved: &Resolved, place: &Place) {
    if !app.options.interactive || app.options.yes || app.ui.is_json() {
        return;
    }
    if let Err(error) = ask(app, resolved, place) {
        app.ui.error(&error, kind_of(&error).exit_code());
        app.ui.status("Kept", &format!("the workspace as it is: {}", place.path.display()));
    }
}

fn ask(app: &App, resolved: &Resolved, place: &Place) -> Result<()> {
    let pin = app.pins().read(&resolved.task, place.into())?;
    let changes = changed(app, pin.as_ref(), &place.path);
    if changes.is_empty() {
        return Ok(());
    }
    let task = resolved.task.reference();
    app.ui.status("Changed", &format!("the workspace holds {}", changes.join(", ")));
    let answers = [
        "keep: the workspace stays as it is",
        "hand back: publish it as what the task is now",
        "discard: back to what was published last; what is here is salvaged",
    ];
    match app.ui.choose("What becomes of it", &answers)? {
        Some(1) => hand_back(app, resolved, place),
        Some(2) => {
            let source = Source::new(app, resolved.task.clone());
            let left = resolve_left(&source)?;
            // It says where the old one is.
            renew_workspace(source, &left, place).map(drop)
        }
        _ => {
            app.ui.status("Kept", &format!("enter it again: envctl enter {task}"));
            Ok(())
        }
    }
}

fn hand_back(app: &App, resolved: &Resolved, place: &Place) -> Result<()> {
    let message = app.ui.line("A word for whoever goes on (may be empty)")?;
    let message = Some(message.trim().to_owned()).filter(|message| !message.is_empty());
    let options = PublishOptions {
        task: match &resolved.task.target {
            Target::Task(task) => Some(task.clone()),
            Target::Identity(_) => None,
        },
        image: None,
        build: false,
        workdir: None,
        agent: None,
        handoff: Handoff { status: Status::HandedBack, message, ..Handoff::default() },
        run: None,
        redact: false,
        fork: None,
        checkout: Some(place.path.clone()),
    };
    let published = publish(app, &options)?;
    app.ui.status("Handed back", &format!("{} as {}", published.task, published.identity));
    Ok(())
}
