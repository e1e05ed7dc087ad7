//! `run`: commands that nobody attends to, in runtimes that always end.
//!
//! [`pipeline`] is the order of it. The commands come from the command line or a
//! [`batch`], the task from a store or from a [`checkout`] of this machine. [`publisher`]
//! hands over what came of it, and [`report`] tells all of it to a program.

mod batch;
mod checkout;
mod pipeline;
mod publisher;
mod report;

pub use batch::{Command, parse_batch};
pub use checkout::CheckoutOptions;
pub use pipeline::{RunOptions, Subject, run};
pub use publisher::Publishing;
pub use report::{CommandReport, LeaseReport, RunReport};
