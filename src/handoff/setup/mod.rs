//! Making ready: this machine, by what `doctor` finds and says ([`mod@doctor`]); a project, by a
//! first `envctl.toml` ([`mod@init`]), also from its `devcontainer.json`; and the developer's
//! word for what a task's project asks of the host ([`approve`]). Data that tasks are given
//! are [`mod@fixtures`].

mod approve;
mod compose;
mod doctor;
mod fixtures;
mod init;
mod made;
mod proposals;

pub use approve::{Asked, approve_checkout, approve_task};
pub use doctor::{Check, Health, doctor};
pub use fixtures::{FixtureRow, create_fixture, fixtures};
pub use init::{InitOptions, Initialised, init};
pub use made::{FixtureContent, FixtureFrom, FixtureRuntime};
