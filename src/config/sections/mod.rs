//! `[[cache]]`, `[[fixture]]` and `[[service]]` of a project: what is made once
//! and used often, and what runs beside the command.

mod cache;
mod fixture;
mod service;
mod spot;
mod together;

pub use cache::{CacheEntry, Seed};
pub use fixture::{Fixture, FixtureSource};
pub use service::{ReadyWhen, Service, ServiceData};
pub use spot::Spot;
pub(super) use together::{check, place_stores};

#[cfg(test)]
mod tests;
