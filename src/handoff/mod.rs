//! The pipelines, as a reader would tell them. This is the only place that
//! knows all layers: it asks one, hands the answer to the next, and reports.
//!
//! [`mod@enter`]: resolve, fetch, hydrate, start, run, reset. [`mod@publish`]: capture,
//! pin, store. [`mod@run`] is both, with nobody there. The other verbs look
//! ([`look`], [`mod@tasks`], [`lineage`], [`mod@diff`], [`mod@costs`]), keep evidence
//! ([`evidence`]), or take part of the way back ([`live`]).

#[path = "trust/approvals.rs"]
mod approval;
#[path = "prepare/restored.rs"]
mod arrived;
#[path = "trust/asks.rs"]
mod asks;
#[path = "run/batch.rs"]
mod batch;
#[path = "evidence/download.rs"]
mod bring;
#[path = "caches/pipeline.rs"]
mod caches;
#[path = "run/checkout.rs"]
mod checkout;
#[path = "task/claims.rs"]
mod claim;
#[path = "evidence/collect.rs"]
mod collect;
#[path = "trust/stores.rs"]
mod contact;
#[path = "app.rs"]
mod context;
#[path = "accounting/costs.rs"]
mod costs;
#[path = "views/diff.rs"]
mod diff;
#[path = "setup/doctor.rs"]
mod doctor;
#[path = "task/remotes.rs"]
mod door;
#[path = "enter/pipeline.rs"]
mod enter;
#[path = "evidence/artifacts.rs"]
mod evidence;
#[path = "workspaces/branches.rs"]
mod fate;
#[path = "fetch/images.rs"]
mod fetch;
#[path = "upkeep/gc.rs"]
mod gc;
#[path = "publish/source.rs"]
mod ground;
#[path = "prepare/hydrate.rs"]
mod hydrate;
#[path = "publish/image.rs"]
mod image_source;
#[path = "setup/init.rs"]
mod init;
#[path = "evidence/copies.rs"]
mod keep;
#[path = "enter/leave.rs"]
mod leave;
#[path = "accounting/ledger.rs"]
mod ledger;
#[path = "views/log.rs"]
mod lineage;
#[path = "runtimes/running.rs"]
mod live;
#[path = "views/show.rs"]
mod look;
#[path = "publish/conflict.rs"]
mod moved;
#[path = "evidence/export.rs"]
mod outside;
mod parallel;
#[path = "task/pins.rs"]
mod pin;
#[path = "workspaces/location.rs"]
mod place;
#[path = "prepare/plan.rs"]
mod plan;
#[path = "upkeep/prefetch.rs"]
mod prefetch;
#[path = "prepare/gather.rs"]
mod prepare;
#[path = "publish/pipeline.rs"]
mod publish;
#[path = "run/publisher.rs"]
mod publishing;
#[path = "prepare/rates.rs"]
mod rates;
#[path = "upkeep/remove_tasks.rs"]
mod remove;
mod report;
#[path = "upkeep/reset.rs"]
mod reset;
#[path = "task/resolve.rs"]
mod resolve;
#[path = "prepare/make_way.rs"]
mod room;
#[path = "workspaces/retention.rs"]
mod rules;
#[path = "run/pipeline.rs"]
mod run;
#[path = "run/report.rs"]
mod run_report;
#[path = "workspaces/salvage.rs"]
mod salvage;
#[path = "trust/scan.rs"]
mod screen;
#[path = "trust/secrets.rs"]
mod secrets;
#[path = "task/source.rs"]
mod source;
#[path = "workspaces/by_hand.rs"]
mod spaces;
#[path = "workspaces/sweep.rs"]
mod spare;
#[path = "runtimes/start.rs"]
mod start;
#[path = "views/tasks.rs"]
mod tasks;
#[path = "runtimes/tell.rs"]
mod tell;
#[path = "workspaces/unsaved.rs"]
mod unsaved;

pub use approval::{Approval, Approvals, Asked, Host, approvals, approve, approve_host, approve_task, revoke};
pub use arrived::Arrived;
pub use asks::{Asks, Setup};
pub use batch::{Command, parse_batch};
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
