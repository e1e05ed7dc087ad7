//! The pipelines, as a reader would tell them. This is the only place that
//! knows all layers: it asks one, hands the answer to the next, and reports.
//!
//! Each folder is a room, and its `mod.rs` the only door. A room uses those that
//! stand below it in `docs/architecture.md`, never one above; a test holds it to that.

mod allowance;
mod app;
mod devcontainer;
mod parallel;
mod report;
mod words;

mod accounting;
mod caches;
mod enter;
mod evidence;
mod fetch;
mod prepare;
mod publish;
mod run;
mod runtimes;
mod setup;
mod task;
mod trust;
mod upkeep;
mod views;
mod workspaces;

pub use accounting::{By, CostRow, Costs, LedgerEntry, MadeBy, Suggestion, Sum, costs};
pub use app::{App, GlobalOptions};
pub use caches::{
    CacheRow, Compared, Explained, KeyRow, Promoted, PruneOptions, Reason, Tended, VerifiedEntry, cache_diff,
    cache_key, cache_reasons, cache_retry, cache_why, caches, promote, prune, verify_caches,
};
pub use enter::{EnterOptions, Entered, enter};
pub use evidence::{
    AddOptions, ArtifactRow, Artifacts, Checked, Expired, Gotten, add_artifacts, expire_artifacts, get_artifacts,
    list_artifacts, verdict, verify_artifacts,
};
pub use prepare::Plan;
pub use publish::{LfsCarried, PublishOptions, Published, publish};
pub use report::{Arrived, Beside, CacheOrigin, CacheState, CacheUse, Report, ReportFile, Step};
pub use run::{
    CheckoutOptions, Command, CommandReport, LeaseReport, Publishing, RunOptions, RunReport, RunTarget, parse_batch,
    run,
};
pub use runtimes::{Extras, Running, RuntimeOptions, add_ports, deadline, exec, extend, listens, ports, remove_ports};
pub use setup::{
    Asked, Check, FixtureContent, FixtureFrom, FixtureRow, FixtureRuntime, Health, InitOptions, Initialised,
    approve_checkout, approve_task, create_fixture, doctor, fixtures, init,
};
pub use trust::{Approval, Approvals, ApprovedHost, Asks, Setup, Unsearched, approvals, approve, approve_host, revoke};
pub use upkeep::{
    GcReport, Prefetched, Reaped, Restored, Victim, WatchOptions, gc, is_known, parse_hours, prefetch, receipts,
    remove, reset, reset_workspace, victims, watch,
};
pub use views::{
    Changed, Diff, DiffOptions, Holds, Known, LeaseRow, Log, LogEnd, LogEntry, LogRow, Older, Shown, StatusView,
    TaskFilter, TaskRow, changed, choose_task, diff, known_caches, known_leases, known_logs, known_salvages,
    known_stores, known_tasks, log, logs, named_log, no_log, open_page, put_page, show, show_log, status, tasks, view,
};
pub(crate) use words::{by_kind, shown_list};
pub use workspaces::{
    Gone, KeptWorkspace, Leaving, Recovered, Removed, SalvageRow, Swept, WorkspaceRow, keep_workspace, leaving,
    recover, salvages, swept, take_away, task_here, workspace_path, workspaces,
};
