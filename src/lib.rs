//! envctl puts a developer inside the context of a coding agent's task.
//!
//! One way leads through this crate: [`cli`] parses, [`handoff`] composes,
//! and below it stand the layers that do not know each other: [`store`],
//! [`image`] (L0), [`cache`] (L1), [`workspace`] (L2) with [`snapshot`], and
//! [`runtime`] (L3).
//! [`identity`] and [`config`] are pure: they do no I/O.

pub mod archive;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod credentials;
pub(crate) mod descendants;
pub mod digest;
pub mod disk;
pub mod env;
pub mod error;
pub mod git;
pub mod handoff;
pub(crate) mod helper;
pub mod identity;
pub mod image;
pub mod local;
pub mod oci;
pub mod paths;
pub mod quantity;
pub mod runtime;
pub mod secret;
mod shell;
pub mod snapshot;
pub mod store;
pub mod ui;
pub mod visible;
pub(crate) mod web;
pub mod workspace;
