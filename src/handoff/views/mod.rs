//! Looking, and changing nothing: one identity and what exists here ([`mod@show`]: `show`
//! and `status`), the tasks of a store ([`mod@tasks`]), the identities that a task went
//! through ([`mod@log`]), what lies between two of them ([`mod@diff`]),
//! and what was printed ([`mod@logs`]).

mod diff;
mod log;
mod logs;
mod show;
mod tasks;

pub use diff::{Diff, DiffOptions, diff};
pub use log::{Log, LogEnd, LogEntry, log};
pub use logs::{LogRow, logs, no_log, service_log, show_log};
pub use show::{Older, Shown, StatusView, show, status};
pub(crate) use tasks::tasks_of;
pub use tasks::{TaskFilter, TaskRow, choose_task, tasks};
