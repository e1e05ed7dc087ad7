//! `envctl tasks`

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::clock::age;
use crate::error::usage;
use crate::handoff::{App, TaskFilter, TaskRow, Victim, remove, tasks, victims};
use crate::identity::{Status, TaskRef};
use crate::quantity::parse_duration;

/// List the tasks of a store, or remove some
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    /// Only those that wait for a human
    #[arg(long)]
    needs_human: bool,
    /// Only tasks in this state
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Option<Status>,
    /// Only tasks that this agent published
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only tasks that were published in this time: 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    since: Option<Duration>,
    /// The newest so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Rm(Remove),
}

/// Remove tasks from their store
///
/// Their identities stay, and can still be entered as STORE@sha256:...; others
/// may have, or may go on from them.
#[derive(Debug, Args)]
struct Remove {
    /// TASK or STORE:TASK
    #[arg(value_parser = parse_task, required = true, value_name = "TASK")]
    tasks: Vec<TaskRef>,
    /// Their identities and artifacts as well, back to where another task begins
    #[arg(long)]
    identities: bool,
}

#[derive(Serialize)]
struct Output {
    store: String,
    tasks: Vec<TaskRow>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        if let Some(Verb::Rm(remove)) = &self.verb {
            return remove.run(app);
        }
        let filter = TaskFilter {
            needs_human: self.needs_human,
            status: self.status,
            agent: self.agent.clone(),
            since: self.since,
            limit: self.limit,
        };
        let (store, rows) = tasks(app, &filter)?;
        if app.ui.is_json() {
            app.ui.json(&Output { store: store.to_string(), tasks: rows })?;
            return Ok(0);
        }
        if rows.is_empty() {
            let all = filter == TaskFilter { limit: self.limit, ..TaskFilter::default() };
            let such = if all { "no task" } else { "no such task; envctl tasks lists all of those" };
            app.ui.status("Found", &format!("{such} in {store}"));
        }
        let now = app.clock.now();
        let lines: Vec<[String; 5]> = rows.iter().flat_map(|row| columns(row, now, self.needs_human)).collect();
        let widths: Vec<usize> = (0..4).map(|n| lines.iter().map(|line| line[n].len()).max().unwrap_or(0)).collect();
        app.ui.list(lines.iter().map(|line| {
            let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
            app.ui.row(&(cells.collect::<String>() + &line[4]))
        }))?;
        for row in rows.iter().filter(|row| !row.beside.is_empty()) {
            app.ui.status("Beside", &format!("{} has more than one line: envctl show {}", row.task, row.task));
        }
        Ok(0)
    }
}

/// A task and its other lines: name, status, age, agent, message. Of a task of which only
/// another line `waits`, that is what matters.
fn columns(row: &TaskRow, now: Timestamp, waits: bool) -> Vec<[String; 5]> {
    let text = |text: &Option<String>, none: &str| text.clone().unwrap_or_else(|| none.to_owned());
    let status = if row.overdue { "stopped".to_owned() } else { row.status.to_string() };
    let own = [row.task.to_string(), status, age(row.created_at, now), text(&row.agent, "-"), text(&row.message, "")];
    let is_due = !waits || row.overdue || row.status == Status::NeedsHuman;
    let name = if is_due { "  beside it".to_owned() } else { format!("{}, beside it", row.task) };
    let beside = row.beside.iter().filter(|other| !waits || other.status == Status::NeedsHuman).map(|other| {
        let (when, status) = (age(other.created_at, now), other.status.to_string());
        [name.clone(), status, when, text(&other.agent, "-"), text(&other.message, "")]
    });
    is_due.then_some(own).into_iter().chain(beside).collect()
}

#[derive(Serialize)]
struct RemovedTasks {
    removed: Vec<Victim>,
}

impl Remove {
    fn run(&self, app: &App) -> Result<u8> {
        let victims = victims(app, &self.tasks, self.identities)?;
        let now = app.clock.now();
        for victim in &victims {
            let what = match (victim.status, victim.created_at) {
                (Some(status), Some(at)) => format!("{status}, published {}", age(at, now)),
                _ => "damaged".into(),
            };
            let with = match victim.removes.len() {
                0 => String::new(),
                count => format!(", with {count} identities and their artifacts"),
            };
            app.ui.status("Removing", &format!("{} ({what}){with}", victim.task));
        }
        let what = match &victims[..] {
            [one] => one.task.clone(),
            many => format!("{} tasks", many.len()),
        };
        let question = format!("Remove {what} for everybody who uses the store?");
        match app.confirm(&question)? {
            Some(true) => {}
            Some(false) => return Err(usage("nothing was removed").into()),
            None => return Err(usage("nothing was removed: there is nobody to ask").hint("add --yes").into()),
        }
        remove(app, &victims)?;
        if app.ui.is_json() {
            app.ui.json(&RemovedTasks { removed: victims })?;
            return Ok(0);
        }
        for victim in &victims {
            app.ui.data(&match &victim.stays {
                Some(stays) => format!("{} removed; its identities stay: {stays}", victim.task),
                None => format!("{} removed, with {} identities", victim.task, victim.removes.len()),
            })?;
        }
        Ok(0)
    }
}
