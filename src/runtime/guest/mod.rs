//! Pid 1 of a runtime: this program again, inside.
//!
//! [`init`] builds the file system ([`rootfs`]), puts its own program out of reach
//! ([`own_program`]) and goes on as [`mod@serve`], which starts each [`process`] behind the
//! filter of [`seccomp`], and [`services`] before the first of them; what they do to the
//! [`places`] of trees it is asked about. [`forward`] and
//! [`pasta`] are the ways of the network. [`mod@inside`] is the only way to the tree
//! inside, [`written`] lists what was changed in it, and [`mod@ends`] says when it is over.

mod ends;
mod forward;
mod init;
mod inside;
mod own_program;
mod pasta;
mod places;
mod process;
mod rootfs;
mod seccomp;
mod serve;
mod services;
mod written;

pub(crate) use init::{Birth, run};
pub(crate) use pasta::find;
pub(crate) use process::Context;
pub use rootfs::{ARTIFACTS, ChangedTree, InnerPlace, OwnImage, RootfsSpec, TreeAccess, TreeMount, hides};
pub(crate) use rootfs::{Uppers, changed, kept};
pub use services::{ReadyCheck, ServiceSpec};
