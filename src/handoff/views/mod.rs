//! Looking, and changing nothing: one identity ([`mod@show`]), what exists here
//! ([`mod@status`]), the tasks of a store ([`mod@tasks`]), the identities that a task went
//! through ([`mod@log`]), what lies between two of them ([`mod@diff`]) or since the last
//! ([`mod@changed`]), what was printed ([`mod@logs`]), all of it on one [`mod@page`]
//! ([`mod@view`], with the tests of [`junit`]); and the names that completion offers
//! ([`known`]).

mod changed;
mod diff;
mod junit;
mod known;
mod log;
mod logs;
mod page;
mod show;
mod status;
mod tasks;
mod view;

pub(crate) use changed::changes;
pub use changed::{Changed, changed};
pub use diff::{Diff, DiffOptions, diff};
pub use known::{Known, known_caches, known_leases, known_logs, known_salvages, known_stores, known_tasks};
pub use log::{Log, LogEnd, LogEntry, log};
pub use logs::{LogRow, logs, named_log, no_log, show_log};
pub use show::{Holds, Older, Shown, show};
pub use status::{LeaseRow, StatusView, status};
pub(crate) use tasks::tasks_of;
pub use tasks::{TaskFilter, TaskRow, choose_task, tasks};
pub use view::{open_page, put_page, view};
