//! Black-box tests: the built binary against real git, real OCI layouts and
//! real namespaces. What they need is installed by `tests/run`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers outside #[test] functions may fail the test too")]

#[macro_use]
mod support;

mod approval;
mod asked;
mod brought;
mod built;
mod caches;
mod completion;
mod contact;
mod crash;
mod credentials;
mod crowd;
mod docs;
mod errors;
mod evidence;
mod examples;
mod first_steps;
mod gc;
mod history;
mod hostile_git;
mod hostile_image;
mod house;
mod image;
mod names_outside;
mod nearby;
mod offline;
mod output;
mod pinned;
mod pins;
mod real_caches;
mod real_project;
mod registry;
mod run;
mod runtime;
mod shapes;
mod snapshot;
mod store;
mod strangers;
mod together;
mod words;
mod workspaces;
