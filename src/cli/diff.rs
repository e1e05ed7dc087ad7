//! `envctl diff`

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use super::parse_task;
use crate::clock::age;
use crate::handoff::{App, Diff, DiffOptions, changed, diff, task_here};
use crate::identity::TaskRef;
use crate::snapshot::Changes;

/// Show what changed in a workspace, or between two tasks
///
/// Commits, files, image, lockfiles, caches, artifacts and the handoff. Of one task
/// alone: from its snapshot to what its workspace here holds by now.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// From this one: TASK, STORE:TASK or STORE@sha256:... (default: the task of this
    /// workspace)
    #[arg(value_parser = parse_task)]
    a: Option<TaskRef>,
    /// To this one
    #[arg(value_parser = parse_task)]
    b: Option<TaskRef>,
    /// To the newest of the task's other lines
    #[arg(long, conflicts_with = "b")]
    beside: bool,
    /// With the lines of files
    #[arg(long)]
    patch: bool,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let a = self.a.clone().map_or_else(|| task_here(app), Ok)?;
        if self.b.is_none() && !self.beside {
            return self.since(app, &a);
        }
        let options = DiffOptions { a, b: self.b.clone(), patch: self.patch };
        let diff = diff(app, &options)?;
        if app.ui.is_json() {
            app.ui.json(&diff)?;
            return Ok(0);
        }
        app.ui.list(lines(app, &diff))?;
        diff.changes.iter().try_for_each(|changes| print_patch(app, changes))?;
        diff.unknown.iter().for_each(|why| app.ui.warn(why));
        Ok(0)
    }

    /// What the workspace holds beyond its snapshot.
    fn since(&self, app: &App, task: &TaskRef) -> Result<u8> {
        let found = changed(app, task, self.patch)?;
        if app.ui.is_json() {
            app.ui.json(&found)?;
            return Ok(0);
        }
        let lines = changes(&found.changes);
        if lines.is_empty() {
            app.ui.status(
                "Same",
                &format!(
                    "nothing has changed in the workspace of {} since it was made, or last published from here",
                    found.task
                ),
            );
        }
        app.ui.list(lines)?;
        print_patch(app, &found.changes)?;
        Ok(0)
    }
}

fn print_patch(app: &App, changes: &Changes) -> Result<()> {
    changes.patch.iter().flat_map(|patch| patch.lines()).try_for_each(|line| app.ui.code(line))
}

fn lines(app: &App, diff: &Diff) -> Vec<String> {
    let row = |name: &str, value: &str| format!("{name:<10} {value}");
    let now = app.clock.now();
    let sides = [("from", &diff.a), ("to", &diff.b)];
    let mut lines: Vec<String> = sides
        .iter()
        .flat_map(|(name, side)| {
            let first = row(name, &format!("{} ({})", side.task, age(side.created_at, now)));
            [first, row("", &side.identity.to_string())]
        })
        .collect();
    if diff.same {
        lines.push(row("same", "they are one identity"));
        return lines;
    }
    let arrow = |a: &Option<String>, b: &Option<String>| {
        format!("{} -> {}", a.as_deref().unwrap_or("(none)"), b.as_deref().unwrap_or("(none)"))
    };
    lines.extend(diff.fields.iter().map(|field| row(&field.name, &arrow(&field.a, &field.b))));
    let artifacts = diff.artifacts.iter().flatten();
    let named = diff.lockfiles.iter().map(|value| ("lockfile", value));
    let named = named.chain(diff.caches.iter().map(|value| ("cache", value)));
    for (kind, value) in named.chain(artifacts.map(|value| ("artifact", value))) {
        let sign = match (&value.a, &value.b) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        lines.push(row(kind, &format!("{sign} {}", value.name)));
    }
    lines.extend(diff.changes.iter().flat_map(changes));
    lines
}

fn changes(changes: &Changes) -> Vec<String> {
    let row = |name: &str, value: &str| format!("{name:<10} {value}");
    let mut lines = Vec::new();
    for (sign, commits) in [('-', &changes.commits_removed), ('+', &changes.commits_added)] {
        lines.extend(commits.iter().map(|line| row("commit", &format!("{sign} {:.10} {}", line.commit, line.subject))));
    }
    for file in &changes.files {
        let from = file.from.as_ref().map_or_else(String::new, |from| format!("{from} -> "));
        lines.push(row("file", &format!("{} {from}{}", file.status.letter(), file.path)));
    }
    if changes.index_differs {
        lines.push(row("index", "what is staged differs"));
    }
    if changes.more {
        lines.push(row("more", "commits or files differ that are not listed"));
    }
    lines
}
