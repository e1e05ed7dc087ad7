//! The image that a task is pinned to.
//!
//! [`choose`] knows where its name comes from, and what it is pinned to; [`local`] finds
//! those of this machine; [`build`] is one that an engine builds, [`features`] what
//! `devcontainer build` adds to it; [`found`] is one between its name and its pin.

mod build;
mod choose;
mod features;
mod found;
mod local;

pub(crate) use choose::{ImageWish, chosen, pin, pin_here};
pub(super) use choose::{pin_into, require_folder};
pub(crate) use found::{ChosenImage, NamedImage};
