//! `publish`: capture, screen, pin, store, and move the task's tag.
//!
//! [`pipeline`] is the order of it. [`source`] is the folder that is published and what
//! it goes on from, [`image`] the image that it is pinned to, [`local_image`] those of this
//! machine, [`services`] those of services, [`build`] one that an engine builds, [`features`] what `devcontainer build` adds to one, [`found`] one between its name and its pin, and [`conflict`] whether
//! the task is still where this workspace left it; [`tag`] moves the task's tag, or lays
//! one beside it.

mod build;
mod conflict;
mod features;
mod found;
mod image;
mod local_image;
mod pipeline;
mod remembered;
mod services;
mod source;
mod tag;

pub(crate) use found::ChosenImage;
pub(crate) use image::{ImageWish, chosen as chosen_image, pin as pin_image, pin_here as pin_image_here};
pub use pipeline::{LfsCarried, PublishOptions, Published, PublishedRun, publish};
pub(crate) use pipeline::{chosen, no_image, publish_from, rehearse, workdir};
pub(crate) use services::pin_services;
pub(crate) use source::PublishedFrom;
