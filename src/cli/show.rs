//! `envctl show`

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use super::running::TaskArgument;
use crate::clock::age;
use crate::handoff::{App, Shown, by_kind, show, shown_list};
use crate::identity::Identity;
use crate::shell::quote;

/// Show what a task is, and what of it is on this machine
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    task: TaskArgument,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let shown = show(app, &*self.task.get(app)?)?;
        if app.ui.is_json() {
            app.ui.json(&shown)?;
        } else {
            app.ui.list(lines(app, &shown))?;
        }
        Ok(0)
    }
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<10} {value}")
}

fn lines(app: &App, shown: &Shown) -> Vec<String> {
    let identity = &shown.identity;
    let (repo, toolchain) = (&identity.repo, &identity.toolchain);
    let mut lines = vec![row("task", &shown.task), row("identity", &shown.digest)];
    lines.extend(handed_over(app, identity));
    lines.extend([
        row("repository", &repo.url.to_string()),
        row("branch", repo.branch.as_deref().unwrap_or("(detached)")),
        row("commit", repo.commit.as_str()),
        row("snapshot", &identity.snapshot_id.to_string()),
        row("image", &format!("{} ({}){}", toolchain.image, toolchain.platform, toolchain.user_in_words())),
        row("workdir", identity.workdir.as_str()),
    ]);
    lines.extend(identity.lockfiles.iter().map(|lockfile| row("lockfile", lockfile)));
    let redacted = identity.redacted.iter();
    lines.extend(redacted.map(|file| row("left out", &format!("{} ({})", file.path, file.rules.join(", ")))));
    lines.extend(holds(shown));
    lines.extend(identity.parent.map(|parent| row("parent", &parent.to_string())));
    lines.extend(others(app, shown));
    lines.extend(here(app, shown));
    lines
}

/// What its snapshot holds, and the evidence that is attached.
fn holds(shown: &Shown) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(holds) = &shown.holds {
        if holds.commits > 0 {
            let beyond = format!("{} beyond {:.10}, which the remote has", holds.commits, holds.base);
            lines.push(row("commits", &beyond));
        }
        lines.extend(holds.operations.iter().map(|kind| row("unfinished", &format!("a {kind} is in progress"))));
        let left = by_kind(&holds.left_behind).into_iter();
        let stayed = |kind: &str, names: &[String]| format!("where it was published: {kind}: {}", shown_list(names));
        lines.extend(left.map(|(kind, names)| row("stayed", &stayed(kind, &names))));
    }
    let artifacts = shown.artifacts.iter().filter(|artifacts| !artifacts.is_empty());
    lines.extend(artifacts.map(|artifacts| {
        row(
            "artifacts",
            &format!("{}; envctl artifacts get {} fetches them", shown_list(artifacts), quote(&shown.task)),
        )
    }));
    if shown.artifacts_skipped > 0 {
        let task = quote(&shown.task);
        let why = format!("at least {} more (envctl artifacts ls -v {task} says why)", shown.artifacts_skipped);
        lines.push(row("left out", &why));
    }
    lines
}

/// What was published, when, and what was said with it.
fn handed_over(app: &App, identity: &Identity) -> Vec<String> {
    let handoff = &identity.handoff;
    let now = app.clock.now();
    let status = match handoff.ends_at.filter(|_| handoff.is_overdue(now)) {
        Some(end) => format!("{}, by a run that should have ended {}", handoff.status, age(end, now)),
        None => handoff.status.to_string(),
    };
    let published = format!("{} ({})", identity.created_at, age(identity.created_at, now));
    let mut lines = vec![row("status", &status), row("published", &published)];
    let failing = handoff.command.as_ref().map(|command| {
        let code = handoff.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
        format!("{command}{code}")
    });
    let optional = |name: &str, value: Option<&String>| value.map(|value| row(name, value));
    lines.extend(optional("by", identity.agent_identity.as_ref()));
    lines.extend(optional("message", handoff.message.as_ref()));
    lines.extend(optional("failing", failing.as_ref()));
    lines.extend(handoff.outside.iter().map(|outside| {
        let counts = format!("{} files written, {} removed", outside.files, outside.removed);
        row("outside", &format!("{counts} outside the workspace, which do not travel: {}", outside.paths.join(", ")))
    }));
    lines
}

/// Who published beside this, and who entered it.
fn others(app: &App, shown: &Shown) -> Vec<String> {
    let now = app.clock.now();
    let beside = shown.beside.iter().map(|other| {
        let who = other.agent.as_ref().map_or_else(String::new, |agent| format!(" by {agent}"));
        let when = age(other.created_at, now);
        let message = other.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        row("beside", &format!("{}{who}, {when}, {}{message}", other.reference, other.status))
    });
    let claims = shown.claims.iter().map(|claim| {
        let when = age(claim.at, now);
        row("entered", &format!("by {} on {}, {when}", claim.who, claim.host))
    });
    beside.chain(claims).collect()
}

/// What of it is on this machine.
fn here(app: &App, shown: &Shown) -> Vec<String> {
    let here = &shown.here;
    if let Some(older) = &shown.older {
        let when = age(older.pinned_at, app.clock.now());
        return vec![
            row("workspace", &older.workspace),
            row("of", &format!("{}, entered {when}: an older identity than the store has", older.identity)),
            row("enter", "carries on in it; with --refresh it is set aside, and this one is taken"),
        ];
    }
    let workspace = if here.workspace_ready { here.workspace.as_str() } else { "not on this machine yet" };
    let enter = if here.warm { "needs no network" } else { "will pull what is missing" };
    vec![row("workspace", workspace), row("enter", enter)]
}
