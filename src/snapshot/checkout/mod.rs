//! A checkout as it is found: opened without trust, looked at by name and by time, heard of
//! while it is read, and seen by git through a repository of ours.

pub(super) mod aside;
pub(super) mod damaged;
pub(super) mod folders;
pub(super) mod glance;
pub(super) mod ignored;
pub(super) mod moment;
pub(super) mod open;
pub(super) mod refuse;
pub(super) mod restless;
pub(super) mod scratch;
pub(super) mod status;
pub(super) mod vigil;
