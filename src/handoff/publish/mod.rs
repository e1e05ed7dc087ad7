//! `publish`: capture, screen, pin, store, and move the task's tag.
//!
//! [`pipeline`] is the order of it, [`plan`] its steps, [`options`] what is asked and told.
//! [`source`] is the folder that is published and what it goes on from, [`remembered`] what
//! it was published as before, [`checkout`] captures it, [`mod@image`] is the image that it
//! is pinned to, [`services`] those of services, and [`conflict`] whether the task is still
//! where this workspace left it; [`tag`] moves the task's tag, or lays one beside it.

mod checkout;
mod conflict;
mod image;
mod options;
mod pipeline;
mod plan;
mod remembered;
mod services;
mod source;
mod tag;

pub(crate) use checkout::chosen;
pub(crate) use image::{ChosenImage, ImageWish, chosen as chosen_image, pin as pin_image, pin_here as pin_image_here};
pub use options::{LfsCarried, PublishOptions, Published, PublishedRun};
pub(crate) use options::{no_image, workdir};
pub use pipeline::publish;
pub(crate) use pipeline::{publish_from, rehearse};
pub(crate) use services::pin_services;
pub(crate) use source::PublishedFrom;
