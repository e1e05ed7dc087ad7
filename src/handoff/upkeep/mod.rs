//! The way back, and the way ahead: runtimes of dead commands end ([`reap`]), a runtime or
//! a workspace returns to its start ([`mod@reset`]), what nobody needs goes ([`mod@gc`],
//! by the clock as far as [`pace`] believes it),
//! tasks are removed from a store ([`remove_tasks`]), and the next enter is made warm
//! ([`mod@prefetch`]), for all that a store has ([`mod@watch`]).

mod gc;
mod pace;
mod prefetch;
mod reap;
mod remove_tasks;
mod reset;
mod watch;

pub(crate) use gc::daily;
pub use gc::{GcReport, gc};
pub use prefetch::{Prefetched, prefetch};
pub use reap::Reaped;
pub use remove_tasks::{Victim, remove, victims};
pub(crate) use reset::renew_workspace;
pub use reset::{Restored, is_known, receipts, reset, reset_workspace};
pub use watch::{WatchOptions, parse_hours, watch};
