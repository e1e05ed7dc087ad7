//! `envctl costs`

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::call::VerbCall;
use crate::handoff::{By, CostRow, Costs, Sum, costs};
use crate::quantity::{human_duration, parse_duration};
use crate::runtime::PeakOf;
use crate::ui::human_bytes;

/// Add up what the runtimes of this machine used
///
/// Time, memory, bytes, and money where cost.rate_per_hour is set. What
/// nobody counted is unknown. Tasks above the target are marked, and limits
/// suggested from the peaks that were seen.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to sum up together
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    by: By,
    /// Only what ended within this time: 7d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    since: Option<Duration>,
}

impl Arguments {
    pub(super) fn run(&self, VerbCall { app, .. }: VerbCall<'_>) -> Result<u8> {
        let costs = costs(app, self.by, self.since)?;
        if app.ui.is_json() {
            app.ui.json(&costs)?;
            return Ok(0);
        }
        if costs.rows.is_empty() {
            app.ui.status("Found", "no runtime that has ended");
        }
        for row in &costs.rows {
            lines(row, &costs).iter().try_for_each(|line| app.ui.data(line))?;
        }
        if costs.folded > 0 {
            app.ui.status("Folded", &format!("{} of the older runs are counted by the day", costs.folded));
        }
        if costs.skipped > 0 {
            app.ui.warn(&format!("{} lines of the ledger cannot be read and are not counted", costs.skipped));
        }
        Ok(0)
    }
}

fn lines(row: &CostRow, costs: &Costs) -> Vec<String> {
    let name = row.name.as_deref().unwrap_or("(unknown)");
    let time = |ms| {
        if ms < 10_000 { format!("{:.1}s", ms as f64 / 1000.0) } else { human_duration(Duration::from_millis(ms)) }
    };
    let peak = match (row.peak_memory, row.peak_of) {
        (Some(peak), Some(PeakOf::LargestProcess)) => format!("{} (largest process)", human_bytes(peak)),
        (Some(peak), _) => human_bytes(peak),
        (None, _) => "unknown".into(),
    };
    let money = match (row.cost, costs.rate_per_hour) {
        (Some(cost), _) => format!(", cost {cost:.4}{}", more(&row.wall_ms)),
        (None, Some(_)) => ", cost unknown".into(),
        (None, None) => String::new(),
    };
    let runs = if row.leases == 1 { "run" } else { "runs" };
    let mut lines = vec![
        format!(
            "{name}  {} {runs}, {}, cpu {}, peak {peak}{money}",
            row.leases,
            shown(&row.wall_ms, time),
            shown(&row.cpu_ms, time)
        ),
        format!(
            "           pulled {}, written {}, {} cache hits",
            shown(&row.pulled_bytes, human_bytes),
            shown(&row.written_bytes, human_bytes),
            shown(&row.cache_hits, |count| count.to_string())
        ),
    ];
    if row.above_target {
        lines.push(format!("           above the target of {} for a task", costs.target_per_task));
        let memory = row.suggestion.memory.as_ref().map(|memory| format!("limits = {{ memory = \"{memory}\" }}"));
        let timeout = row.suggestion.timeout.as_ref().map(|timeout| format!("timeout = \"{timeout}\""));
        let both: Vec<String> = [timeout, memory].into_iter().flatten().collect();
        if !both.is_empty() {
            lines.push(format!("           twice the peaks, for [runtime]: {}", both.join(", ")));
        }
    }
    lines
}

/// What is known, and that there is more; or that nothing is.
fn shown(sum: &Sum, format: impl Fn(u64) -> String) -> String {
    match sum.known {
        Some(known) => format!("{}{}", format(known), more(sum)),
        None => "unknown".into(),
    }
}

fn more(sum: &Sum) -> String {
    if sum.unknown > 0 { format!(" and {} unknown", sum.unknown) } else { String::new() }
}
