//! Whether a runtime could be made here, asked of the kernel itself.

use std::ffi::OsStr;

use anyhow::Result;

use super::guest;
use super::limits::{Cgroup, Limits};
use super::mapping::Mapping;
use crate::error::Fault;

/// The kernel's release, `uname -r`.
pub fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Makes a user namespace with the map that runtimes get.
///
/// # Errors
/// When the kernel refuses, with what helps.
pub fn user_namespace(path: Option<&OsStr>) -> Result<()> {
    Mapping::new(0, 0, path).inside(|| Ok(()))
}

/// Whether images with several users work.
pub fn has_subordinate_ids(path: Option<&OsStr>) -> bool {
    !Mapping::new(0, 0, path).is_single()
}

/// Whether the `private` network could be made.
///
/// # Errors
/// With what is missing and what helps.
pub fn private_network(path: Option<&OsStr>) -> Result<(), Fault> {
    guest::find(path).map(drop)
}

/// Whether limits would be kept by the kernel.
pub fn delegates_cgroup() -> bool {
    let wanted = Limits { memory: Some(64 << 20), processes: Some(16), ..Limits::default() };
    let made = Cgroup::make(&format!("doctor-{}", std::process::id()), &wanted);
    made.is_some_and(|made| super::limits::remove(made.path()))
}
