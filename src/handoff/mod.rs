//! The pipelines, as a reader would tell them. This is the only place that
//! knows all layers: it asks one, hands the answer to the next, and reports.
//!
//! [`mod@enter`]: resolve, fetch, hydrate, start, run, reset. [`mod@publish`]: capture,
//! pin, store. The other verbs look ([`look`]) or take part of the way back
//! ([`live`]).

mod context;
mod enter;
mod fetch;
mod hydrate;
mod image_source;
mod live;
mod look;
mod pin;
mod plan;
mod publish;
mod report;
mod resolve;
mod source;
mod start;

pub use context::{Context, Options};
pub use enter::{EnterOptions, Entered, enter};
pub use live::{exec, receipts, reset};
pub use look::{Shown, StatusView, TaskRow, show, status, tasks};
pub use plan::Plan;
pub use publish::{PublishOptions, Published, publish};
pub use report::{CacheUse, Report, Step, write as write_report};
