//! Leaving a shell: what becomes of the changes that were made in it. Whoever
//! does not answer keeps them, and whatever fails changes nothing.

use anyhow::Result;

use crate::error::kind_of;
use crate::handoff::app::App;
use crate::handoff::publish::{PublishOptions, publish};
use crate::handoff::task::{Resolved, Source, resolve_left};
use crate::handoff::upkeep::renew_workspace;
use crate::handoff::views::changes;
use crate::handoff::workspaces::{Place, changed};
use crate::identity::{Handoff, Status, Target};
use crate::runtime::Sandbox;
use crate::snapshot::Changes;
use crate::ui::counted;

/// Changed files and commits that are named before the question.
const MOST_NAMED: usize = 8;

/// Changed lines that are shown at once.
const MOST_LINES: usize = 400;

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
        app.ui.status("Waiting", "until the others have left; Ctrl-C ends the runtime now");
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
    let unsaved = changed(app, pin.as_ref(), &place.path);
    if unsaved.is_empty() {
        return Ok(());
    }
    let task = resolved.task.quoted();
    app.ui.status("Changed", &format!("the workspace holds {}", unsaved.join(", ")));
    let files = since(app, resolved, place, false).map(|changes| show_files(app, &changes)).unwrap_or_else(|error| {
        app.ui.detail(&format!("the changed files cannot be listed: {error:#}"));
        false
    });
    let answers = [
        "keep: the workspace stays as it is",
        "hand back: publish it as the task's newest state",
        "discard: go back to what was published last, and set this aside",
        "look: show the changed lines, and ask again",
    ];
    let offered = if files { &answers[..] } else { &answers[..3] };
    let answer = loop {
        match app.ui.choose("What do you want to do with it?", offered)? {
            Some(3) => show_lines(app, &since(app, resolved, place, true)?, &task),
            answer => break answer,
        }
    };
    match answer {
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

/// What lies between what was published last and the workspace.
fn since(app: &App, resolved: &Resolved, place: &Place, patch: bool) -> Result<Changes> {
    let source = Source::new(app, resolved.task.clone());
    let left = resolve_left(&source)?;
    changes(&source, &left, &place.path, patch)
}

/// Names the first of the commits and files; whether there are files.
fn show_files(app: &App, changes: &Changes) -> bool {
    let commits = changes.commits_added.iter().map(|commit| format!("commit {:.10} {}", commit.commit, commit.subject));
    let files = changes.files.iter().map(|file| format!("{} {}", file.status.letter(), file.path));
    let all: Vec<String> = commits.chain(files).collect();
    all.iter().take(MOST_NAMED).for_each(|line| app.ui.brief("", line));
    if all.len() > MOST_NAMED {
        app.ui.brief("", &format!("and {} more", all.len() - MOST_NAMED));
    }
    !changes.files.is_empty()
}

fn show_lines(app: &App, changes: &Changes, task: &str) {
    let mut lines = changes.patch.iter().flat_map(|patch| patch.lines());
    lines.by_ref().take(MOST_LINES).for_each(|line| app.ui.aside_code(line));
    if lines.next().is_some() {
        app.ui.status("Cut", &format!("all of it: envctl diff {task} --patch"));
    }
}

fn hand_back(app: &App, resolved: &Resolved, place: &Place) -> Result<()> {
    let message = app.ui.line("A message for whoever goes on (may be empty)")?;
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
    let published = publish(app, &options).inspect_err(|_| {
        // It need not be typed again.
        if let Some(message) = &options.handoff.message {
            app.ui.status("Message", message);
        }
    })?;
    app.ui.status("Handed back", &format!("{} as {}", published.task, published.identity));
    Ok(())
}
