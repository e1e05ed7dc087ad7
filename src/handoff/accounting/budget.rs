//! What an owner may still spend: `cost.cap`, by what the ledger of this machine, and
//! those that share a store with it, say of the last 30 days. Pure, but for reading it.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::costs::money;
use super::entry::LedgerEntry;
use super::ledger;
use crate::config::Cost;
use crate::error::{Fault, policy};
use crate::handoff::app::App;
use crate::quantity::human_duration;

/// Seconds over which is counted.
const PERIOD: i64 = 30 * 86_400;

/// What is left to an owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    /// So long a runtime of theirs may still last.
    pub(crate) time: Duration,
    /// What they have spent, and what they may.
    pub(crate) spent: f64,
    pub(crate) cap: f64,
}

impl Budget {
    /// In a line.
    pub(crate) fn words(&self) -> String {
        let Budget { time, spent, cap } = self;
        format!("{spent:.2} of {cap:.2} are spent in 30 days: it ends in {}", human_duration(*time))
    }
}

/// What is left to an owner, who has also spent what was spent `elsewhere`; `None` where
/// nobody set a cap.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when nothing is left; when the ledger cannot be read.
pub(crate) fn budget(app: &App, owner: Option<&str>, elsewhere: &[LedgerEntry]) -> Result<Option<Budget>> {
    if app.user.cost.cap.is_none() {
        return Ok(None);
    }
    let mut entries = ledger::read(&app.paths)?.entries;
    entries.extend_from_slice(elsewhere);
    Ok(left(&entries, owner, &app.user.cost, app.clock.now())?)
}

fn left(entries: &[LedgerEntry], owner: Option<&str>, rules: &Cost, now: Timestamp) -> Result<Option<Budget>, Fault> {
    let (Some(cap), Some(rate)) = (rules.cap, rules.rate_per_hour) else { return Ok(None) };
    let recent = |entry: &&LedgerEntry| now.as_second().saturating_sub(entry.ended_at.as_second()) <= PERIOD;
    let theirs: Vec<&LedgerEntry> =
        entries.iter().filter(recent).filter(|entry| entry.agent.as_deref() == owner).collect();
    let spent = money(&theirs, rules).unwrap_or(0.0);
    let time = Duration::try_from_secs_f64((cap - spent).max(0.0) / rate * 3600.0).unwrap_or(Duration::MAX);
    if time < Duration::from_secs(1) {
        let who = owner.map_or_else(|| "what nobody signs".to_owned(), |owner| format!("the agent {owner}"));
        return Err(policy(format!("{who} has spent {spent:.2} in 30 days, and may spend {cap:.2}"))
            .hint("cost.cap in config.toml is the limit; envctl costs --by agent shows what was spent"));
    }
    Ok(Some(Budget { time, spent, cap }))
}

#[cfg(test)]
mod tests {
    use super::super::entry::sample;
    use super::*;

    #[test]
    fn who_has_spent_the_cap_is_stopped_and_nobody_else() {
        let rules = Cost { rate_per_hour: Some(36.0), cap: Some(1.0), ..Cost::default() };
        let of = |agent: &str| LedgerEntry { agent: Some(agent.into()), ..sample("t", Some(60_000)) };
        let entries = [of("a"), of("a"), of("b")];
        let now = Timestamp::from_second(entries[0].ended_at.as_second() + 86_400).unwrap();
        // 60 seconds are 0.60.
        let refused = left(&entries, Some("a"), &rules, now).unwrap_err().to_string();
        assert!(refused.contains("the agent a has spent 1.20"), "{refused}");
        let budget = left(&entries, Some("b"), &rules, now).unwrap().unwrap();
        assert_eq!((budget.time.as_secs(), budget.cap), (40, 1.0));
        assert_eq!(left(&entries, None, &rules, now).unwrap().unwrap().spent, 0.0);
        // What is long past counts no more, and without a cap nothing does.
        let later = Timestamp::from_second(now.as_second() + PERIOD).unwrap();
        assert_eq!(left(&entries, Some("a"), &rules, later).unwrap().unwrap().spent, 0.0);
        assert!(left(&entries, Some("a"), &Cost::default(), now).unwrap().is_none());
    }
}
