//! `run`: commands that nobody attends to, in runtimes that always end.
//!
//! [`pipeline`] is the order of it. The commands come from the command line or a
//! [`batch`], the [`subject`] from a store or from a [`checkout`] of this machine; a task
//! has a [`fresh`] workspace, or its own. [`publisher`]
//! hands over what came of it, and [`report`] tells all of it to a program.

mod batch;
mod checkout;
mod fresh;
mod pipeline;
mod publisher;
mod report;
mod subject;

pub use batch::{Command, parse_batch};
pub use checkout::CheckoutOptions;
pub use pipeline::run;
pub use publisher::Publishing;
pub use report::{CommandReport, LeaseReport, RunReport};
pub use subject::{RunOptions, RunTarget, Stdout};
