//! The pipelines, as a reader would tell them. This is the only place that
//! knows all layers: it asks one, hands the answer to the next, and reports.
//!
//! [`mod@enter`]: resolve, fetch, hydrate, start, run, reset. [`mod@publish`]: capture,
//! pin, store. [`mod@run`] is both, with nobody there. The other verbs look
//! ([`look`], [`mod@tasks`], [`lineage`], [`mod@diff`], [`mod@costs`]), keep evidence
//! ([`evidence`]), or take part of the way back ([`live`]).

mod approval;
mod arrived;
mod asks;
mod batch;
mod beside;
mod bring;
mod caches;
mod checkout;
mod claim;
mod collect;
mod contact;
mod context;
mod costs;
mod diff;
mod doctor;
mod door;
mod enter;
mod evidence;
mod fate;
mod fetch;
mod gc;
mod ground;
mod hydrate;
mod image_source;
mod init;
mod keep;
mod leave;
mod ledger;
mod lineage;
mod live;
mod look;
mod moved;
mod outside;
mod parallel;
mod pin;
mod place;
mod plan;
mod prefetch;
mod prepare;
mod publish;
mod publishing;
mod rates;
mod remove;
mod report;
mod reset;
mod resolve;
mod room;
mod rules;
mod run;
mod run_report;
mod salvage;
mod screen;
mod secrets;
mod source;
mod spaces;
mod spare;
mod start;
mod tag;
mod tasks;
mod tell;
mod unsaved;

pub use approval::{Approval, Approvals, Asked, Host, approvals, approve, approve_host, approve_task, revoke};
pub use arrived::Arrived;
pub use asks::{Asks, Setup};
pub use batch::{Command, parse_batch};
pub use beside::Beside;
pub use bring::{Gotten, get_artifacts};
pub use caches::{
    CacheRow, CacheState, Compared, Explained, Found, KeyRow, Promoted, PruneOptions, Tended, Verified, cache_diff,
    cache_key, cache_why, caches, promote, prune, verify_caches,
};
pub use checkout::CheckoutOptions;
pub use context::{Context, Options, Reaped};
pub use costs::{By, CostRow, Costs, Suggestion, Sum, costs};
pub use diff::{Diff, DiffOptions, diff};
pub use doctor::{Check, Health, doctor};
pub use enter::{EnterOptions, Entered, enter};
pub use evidence::{
    AddOptions, ArtifactRow, Artifacts, Checked, add_artifacts, list_artifacts, verdict, verify_artifacts,
};
pub use gc::{Collected, Kept, Removed, gc};
pub use init::{InitOptions, Initialised, init};
pub use keep::{Expired, expire_artifacts};
pub use ledger::{Entry, Made};
pub use lineage::{Log, LogEnd, LogEntry, log};
pub use live::{Running, add_ports, exec, extend, ports};
pub use look::{Shown, StatusView, show, status};
pub use plan::Plan;
pub use prefetch::{Prefetched, WatchOptions, parse_hours, prefetch, watch};
pub use publish::{LfsCarried, PublishOptions, Published, publish};
pub use publishing::Publishing;
pub use remove::{Victim, remove, victims};
pub use report::{CacheUse, Report, ReportFile, Step};
pub use reset::{Restored, receipts, reset, reset_workspace};
pub use rules::{WorkspaceRow, workspaces};
pub use run::{RunOptions, Subject, run};
pub use run_report::{CommandReport, LeaseReport, RunReport};
pub use salvage::{Recovered, SalvageRow, recover, salvages};
pub use screen::Unsearched;
pub use spaces::{Gone, Leaving, leaving, take_away, workspace_path};
pub use start::RuntimeOptions;
pub use tasks::{TaskRow, tasks};
pub use tell::deadline;

/// The first few of many names, for one line.
fn shown_list(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{first} and {} more", names.len() - SHOWN) } else { first }
}
