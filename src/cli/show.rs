//! `envctl show`

use anyhow::Result;
use clap::Args;

use super::parse_task;
use crate::clock::age;
use crate::handoff::{App, Shown, show};
use crate::identity::TaskRef;

/// Show a task's identity and what it resolves to here
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_parser = parse_task)]
    task: TaskRef,
}

impl Arguments {
    pub(super) fn run(&self, app: &App) -> Result<u8> {
        let shown = show(app, &self.task)?;
        if app.ui.is_json() {
            app.ui.json(&shown)?;
        } else {
            app.ui.list(lines(app, &shown))?;
        }
        Ok(0)
    }
}

fn lines(app: &App, shown: &Shown) -> Vec<String> {
    let identity = &shown.identity;
    let (handoff, repo, toolchain) = (&identity.handoff, &identity.repo, &identity.toolchain);
    let published = age(identity.created_at, app.clock.now());
    let row = |name: &str, value: &str| format!("{name:<10} {value}");
    let mut lines = vec![
        row("task", &shown.task),
        row("identity", &shown.digest),
        row(
            "status",
            &match handoff.ends_at.filter(|_| handoff.is_overdue(app.clock.now())) {
                Some(end) => {
                    format!("{}, by a run that should have ended {}", handoff.status, age(end, app.clock.now()))
                }
                None => handoff.status.to_string(),
            },
        ),
        row("published", &format!("{} ({published})", identity.created_at)),
    ];
    let optional = |name: &str, value: Option<String>| value.map(|value| row(name, &value));
    let failing = handoff.command.as_ref().map(|command| {
        let code = handoff.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
        format!("{command}{code}")
    });
    lines.extend(optional("by", identity.agent_identity.clone()));
    lines.extend(optional("message", handoff.message.clone()));
    lines.extend(optional("failing", failing));
    lines.extend(handoff.outside.iter().map(|outside| {
        let counts = format!("{} files written, {} removed", outside.files, outside.removed);
        row("outside", &format!("{counts} outside the workspace, which do not travel: {}", outside.paths.join(", ")))
    }));
    lines.extend([
        row("repository", &repo.url.to_string()),
        row("branch", repo.branch.as_deref().unwrap_or("(detached)")),
        row("commit", repo.commit.as_str()),
        row("snapshot", &identity.snapshot_id.to_string()),
        row("image", &format!("{} ({}){}", toolchain.image, toolchain.platform, toolchain.user_in_words())),
        row("workdir", identity.workdir.as_str()),
    ]);
    lines.extend(identity.lockfiles.iter().map(|lockfile| row("lockfile", lockfile)));
    lines.extend(
        identity.redacted.iter().map(|file| row("left out", &format!("{} ({})", file.path, file.rules.join(", ")))),
    );
    lines.extend(optional("parent", identity.parent.map(|parent| parent.to_string())));
    lines.extend(shown.beside.iter().map(|other| {
        let who = other.agent.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
        let when = age(other.created_at, app.clock.now());
        let message = other.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        row("beside", &format!("{}{who}, {when}, {}{message}", other.reference, other.status))
    }));
    lines.extend(shown.claims.iter().map(|claim| {
        let when = age(claim.at, app.clock.now());
        row("entered", &format!("by {} on {}, {when}", claim.who, claim.host))
    }));
    let here = &shown.here;
    if let Some(older) = &shown.older {
        let when = age(older.pinned_at, app.clock.now());
        lines.push(row("workspace", &older.workspace));
        lines.push(row("of", &format!("{}, entered {when}: an older identity than the store has", older.identity)));
        lines.push(row("enter", "carries on in it; with --refresh it is set aside, and this one is taken"));
        return lines;
    }
    let workspace = if here.workspace_ready { here.workspace.as_str() } else { "not on this machine yet" };
    lines.push(row("workspace", workspace));
    lines.push(row("enter", if here.warm { "needs no network" } else { "will pull what is missing" }));
    lines
}
