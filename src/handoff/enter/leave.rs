//! Leaving a shell: what becomes of the changes that were made in it. Whoever
//! does not answer keeps them, and whatever fails changes nothing.

use anyhow::Result;

use crate::error::kind_of;
use crate::handoff::app::Context;
use crate::handoff::publish::{PublishOptions, publish};
use crate::handoff::task::{Resolved, Source};
use crate::handoff::upkeep::renew_workspace;
use crate::handoff::workspaces::{Place, unsaved};
use crate::identity::{Handoff, Status, Target};

/// Asks what is to become of changes, where there are some and somebody can be
/// asked.
pub(crate) fn offer(ctx: &Context, resolved: &Resolved, place: &Place) {
    if !ctx.options.interactive || ctx.options.yes || ctx.ui.is_json() {
        return;
    }
    if let Err(error) = ask(ctx, resolved, place) {
        ctx.ui.error(&error, kind_of(&error).exit_code());
        ctx.ui.status("Kept", &format!("the workspace as it is: {}", place.path.display()));
    }
}

fn ask(ctx: &Context, resolved: &Resolved, place: &Place) -> Result<()> {
    let pin = ctx.pins().read(&resolved.task, place.into())?;
    let changes = unsaved(ctx, pin.as_ref(), &place.path);
    if changes.is_empty() {
        return Ok(());
    }
    let task = resolved.task.reference();
    ctx.ui.status("Changed", &format!("the workspace holds {}", changes.join(", ")));
    let answers = [
        "keep: the workspace stays as it is",
        "hand back: publish it as what the task is now",
        "discard: back to the snapshot; what is here is salvaged",
    ];
    match ctx.ui.choose("What becomes of it?", &answers)? {
        Some(1) => hand_back(ctx, resolved, place),
        Some(2) => {
            // It says where the old one is.
            renew_workspace(Source::new(ctx, resolved.task.clone()), resolved, place).map(drop)
        }
        _ => {
            ctx.ui.status("Kept", &format!("enter it again: envctl enter {task}"));
            Ok(())
        }
    }
}

fn hand_back(ctx: &Context, resolved: &Resolved, place: &Place) -> Result<()> {
    let message = ctx.ui.line("A word for whoever goes on (may be empty)")?;
    let message = Some(message.trim().to_owned()).filter(|message| !message.is_empty());
    let options = PublishOptions {
        task: match &resolved.task.target {
            Target::Task(task) => Some(task.clone()),
            Target::Identity(_) => None,
        },
        image: None,
        workdir: None,
        agent: None,
        handoff: Handoff { status: Status::HandedBack, message, ..Handoff::default() },
        redact: false,
        fork: None,
        checkout: Some(place.path.clone()),
    };
    let published = publish(ctx, &options)?;
    ctx.ui.status("Handed back", &format!("{} as {}", published.task, published.identity));
    Ok(())
}
