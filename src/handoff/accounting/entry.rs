//! A line of the ledger: what is known of a runtime that has ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::handoff::app::App;
use crate::handoff::report::Report;
use crate::identity::Identity;
use crate::runtime::{Receipt, Usage};

pub(super) const SCHEMA: u32 = 1;

/// What made a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MadeBy {
    /// `enter`
    Enter,
    /// `enter --detach`
    Detached,
    /// `run`
    Run,
    /// Not known: whoever made it was killed.
    #[serde(other)]
    Unknown,
}

/// A lease that has ended. `None` is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Always 1.
    pub schema: u32,
    /// Which lease.
    pub lease: String,
    /// What made it.
    pub made_by: MadeBy,
    /// The task, or the identity where no task was named.
    pub task: String,
    /// The store, as `--store` would name it.
    pub store: Option<String>,
    /// Digest of the identity.
    pub identity: String,
    /// The branch of the identity.
    pub branch: Option<String>,
    /// Who pays: whoever ran, where that is known, else whoever published the identity.
    pub agent: Option<String>,
    /// When the runtime was made.
    pub started_at: Option<Timestamp>,
    /// When it was found to be gone.
    pub ended_at: Timestamp,
    /// As in the receipt.
    pub reason: String,
    /// Of the command; of the first that failed where there were several.
    pub exit_code: Option<u8>,
    /// What the kernel counted.
    #[serde(flatten)]
    pub usage: Usage,
    /// Bytes that were fetched for it.
    pub pulled_bytes: Option<u64>,
    /// Bytes in its scratch space at the end.
    pub scratch_bytes: Option<u64>,
    /// Layers and workspaces that were there.
    pub cache_hits: Option<u64>,
    /// Those that were not.
    pub cache_misses: Option<u64>,
    /// How many leases this line stands for: more than one where old lines were folded.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub runs: u64,
    /// The longest of them, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_ms: Option<u64>,
}

fn one() -> u64 {
    1
}

fn is_one(runs: &u64) -> bool {
    *runs == 1
}

impl LedgerEntry {
    /// A line for runs of an owner of which nothing but their number and their time is
    /// known, in milliseconds.
    pub(super) fn summed(agent: Option<String>, ended_at: Timestamp, (wall_ms, runs): (u64, u64)) -> Self {
        LedgerEntry {
            schema: SCHEMA,
            lease: "elsewhere".into(),
            made_by: MadeBy::Unknown,
            task: String::new(),
            store: None,
            identity: String::new(),
            branch: None,
            agent,
            started_at: None,
            ended_at,
            reason: "elsewhere".into(),
            exit_code: None,
            usage: Usage { wall_ms: Some(wall_ms), ..Usage::default() },
            pulled_bytes: None,
            scratch_bytes: None,
            cache_hits: None,
            cache_misses: None,
            runs,
            longest_ms: None,
        }
    }

    /// What is left to tell of a runtime whose maker was killed.
    pub(crate) fn orphaned(app: &App, receipt: &Receipt) -> Self {
        let digest: Option<Digest> = receipt.identity.parse().ok();
        let identity = digest.and_then(|digest| app.pins().identity(&digest).ok().flatten());
        Self::of(receipt, MadeBy::Unknown, identity.as_ref())
    }

    /// What a receipt tells of a runtime, and its identity.
    pub(crate) fn of(receipt: &Receipt, made_by: MadeBy, identity: Option<&Identity>) -> Self {
        LedgerEntry {
            schema: SCHEMA,
            lease: receipt.lease.clone(),
            made_by,
            task: receipt.task.clone(),
            store: receipt.store.clone(),
            identity: receipt.identity.clone(),
            branch: identity.and_then(|identity| identity.repo.branch.clone()),
            agent: receipt.agent.clone().or_else(|| identity.and_then(|identity| identity.agent_identity.clone())),
            started_at: receipt.started_at,
            ended_at: receipt.ended_at,
            reason: receipt.reason.clone(),
            exit_code: None,
            usage: receipt.usage.unwrap_or_default(),
            pulled_bytes: None,
            scratch_bytes: receipt.scratch.removed,
            cache_hits: None,
            cache_misses: None,
            runs: 1,
            longest_ms: None,
        }
    }

    /// With what a command knows of its own runtime.
    pub(crate) fn with(self, store: &str, exit_code: Option<u8>, report: &Report) -> Self {
        let fetched = report.steps.iter().filter(|step| step.name.starts_with("fetch."));
        LedgerEntry {
            store: Some(store.to_owned()),
            exit_code,
            pulled_bytes: Some(fetched.map(|step| step.bytes).sum()),
            cache_hits: Some(report.cache.hits as u64),
            cache_misses: Some(report.cache.misses as u64),
            ..self
        }
    }
}

#[cfg(test)]
pub(crate) fn sample(task: &str, wall_ms: Option<u64>) -> LedgerEntry {
    LedgerEntry {
        schema: SCHEMA,
        lease: "0123456789ab".into(),
        made_by: MadeBy::Run,
        task: task.into(),
        store: Some("oci:/srv/tasks".into()),
        identity: Digest::of(task.as_bytes()).to_string(),
        branch: Some("main".into()),
        agent: None,
        started_at: None,
        ended_at: Timestamp::from_second(1_800_000_000).unwrap_or_default(),
        reason: "exit".into(),
        exit_code: Some(0),
        usage: Usage { wall_ms, ..Usage::default() },
        pulled_bytes: Some(10),
        scratch_bytes: None,
        cache_hits: Some(2),
        cache_misses: Some(1),
        runs: 1,
        longest_ms: None,
    }
}
