//! Putting a snapshot back: its pack, its files, whether the result is what was captured,
//! and what lies between two snapshots.

pub(super) mod apply;
pub(super) mod compare;
pub(super) mod pack;
pub(super) mod parity;
