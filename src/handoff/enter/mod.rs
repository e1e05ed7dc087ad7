//! `enter`: resolve, fetch, hydrate, start, run, reset.
//!
//! [`pipeline`] is the order of it, in which the layers come one after the other,
//! [`mod@greet`] what the developer reads when the runtime is there, and [`leave`] the
//! question at the end about what they changed.

mod greet;
mod leave;
mod pipeline;

pub(crate) use greet::greet;
pub use pipeline::{EnterOptions, Entered, enter};
