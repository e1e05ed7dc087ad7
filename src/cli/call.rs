//! What a verb is called with.

use anyhow::Error;
use clap::Command;

use crate::handoff::{App, Reaped};

/// One call of a verb.
pub(super) struct VerbCall<'a> {
    pub(super) app: &'a App,
    /// What dead owners had left, and was cleared away before.
    pub(super) reaped: Reaped,
    /// What is wrong with the user's configuration; `doctor` alone goes on then.
    pub(super) wrong: Option<Error>,
    /// The definition of everything, for those who show it.
    pub(super) whole: fn() -> Command,
}
