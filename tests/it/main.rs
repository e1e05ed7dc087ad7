//! Black-box tests: the built binary against real git, real OCI layouts and
//! real namespaces. What they need is installed by `tests/run`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside #[test] functions may fail the test too")]

#[macro_use]
mod support;

mod accounting;
mod caches;
mod cli;
mod credentials;
mod docs;
mod enter;
mod errors;
mod evidence;
mod examples;
mod fetch;
mod git;
mod house;
mod image;
mod prepare;
mod publish;
mod real_caches;
mod real_project;
mod run;
mod runtime;
mod runtimes;
mod setup;
mod snapshot;
mod store;
mod strangers;
mod task;
mod trust;
mod upkeep;
mod views;
mod workspaces;
