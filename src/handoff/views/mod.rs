//! Looking, and changing nothing: one identity and what exists here ([`mod@show`]: `show`
//! and `status`), the tasks of a store ([`mod@tasks`]), the identities that a task went
//! through ([`mod@log`]), and what lies between two of them ([`mod@diff`]).

mod diff;
mod log;
mod show;
mod tasks;

pub use diff::{Diff, DiffOptions, diff};
pub use log::{Log, LogEnd, LogEntry, log};
pub use show::{Shown, StatusView, show, status};
pub(crate) use tasks::tasks_of;
pub use tasks::{TaskRow, tasks};
