//! `envctl prefetch`

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::call::VerbCall;
use super::parse_task;
use crate::error::{Fault, usage};
use crate::handoff::{Prefetched, WatchOptions, parse_hours, prefetch, shown_list, watch};
use crate::identity::TaskRef;
use crate::quantity::{parse_bytes, parse_duration};
use crate::ui::human_bytes;

/// Fetch what tasks need, before somebody enters them
///
/// Nothing is pinned, and nothing of a task is run.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// TASK, STORE:TASK or STORE@sha256:...
    #[arg(value_name = "TASK", value_parser = parse_task, required_unless_present = "watch", conflicts_with = "watch")]
    tasks: Vec<TaskRef>,
    /// Bytes per second at most
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    rate: Option<u64>,
    /// Follow the store, and bring every task that needs a human, or what `[[prefetch]]`
    /// in your config.toml asks for
    #[arg(long)]
    watch: bool,
    /// How often to look at the store
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s", requires = "watch")]
    every: Duration,
    /// Bytes per day at most; what needs more is not begun with
    #[arg(long, value_name = "SIZE", value_parser = bytes, requires = "watch")]
    max_bytes: Option<u64>,
    /// Only in these hours of the day, such as 9-18
    #[arg(long, value_name = "FROM-TO", value_parser = parse_hours, requires = "watch")]
    hours: Option<(u8, u8)>,
    /// End after so many looks
    #[arg(long, value_name = "COUNT", requires = "watch")]
    rounds: Option<u64>,
}

fn duration(text: &str) -> Result<Duration, Fault> {
    parse_duration(text)
}

fn bytes(text: &str) -> Result<u64, Fault> {
    parse_bytes(text)
}

#[derive(Serialize)]
struct Output {
    prefetched: Vec<Prefetched>,
}

impl Arguments {
    pub(super) fn watches(&self) -> bool {
        self.watch
    }

    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let mut all = Vec::new();
        let mut told = |one: &Prefetched| {
            if !app.ui.is_json() {
                app.ui.data(&format!("{}  {}  {}", one.task, one.identity, human_bytes(one.bytes)))?;
            }
            if !one.unsealed.is_empty() {
                let names = shown_list(&one.unsealed);
                app.ui.status("Unsealed", &format!("no store has {names}; the first enter makes it"));
            }
            all.push(one.clone());
            Ok(())
        };
        if self.watch {
            if app.ui.is_json() && self.rounds.is_none() {
                return Err(usage("--watch never ends, and --json prints at the end")
                    .hint("add --rounds COUNT")
                    .into());
            }
            let options =
                WatchOptions { every: self.every, max_bytes: self.max_bytes, hours: self.hours, rounds: self.rounds };
            watch(app, &options, self.rate, &mut told)?;
        } else {
            for task in &self.tasks {
                told(&prefetch(app, task, self.rate)?)?;
            }
        }
        if app.ui.is_json() {
            app.ui.json(&Output { prefetched: all })?;
        }
        Ok(0)
    }
}
