//! Configuration: `envctl.toml` of a project and `config.toml` of a user.
//! Pure: text in, checked values out. Keys that this envctl does not know are
//! errors that name the nearest known one.

mod build;
mod cache;
mod devcontainer;
mod entries;
mod preset;
mod project;
mod schema;
mod user;

use crate::error::{Fault, usage};

pub use build::Build;
pub use cache::{CacheEntry, Fixture, FixtureSource, Ready, Service, ServiceData, Spot};
pub use devcontainer::{Devcontainer, Fate, Field, Surroundings};
pub use entries::{PortEntry, SecretEntry};
pub use preset::{PRESETS, Preset, SetupNetwork};
pub use project::{
    Artifacts, Collect, Limits, NetworkName, PROJECT_FILES, Project, Runtime, Snapshot, Toolchain, Workspace,
};
pub use schema::{Key, PROJECT, USER};
pub use user::{CacheLimits, Cost, KeepArtifacts, OwnWorkspaces, Reachable, Registry, SecretSource, UrlRewrite, User};

fn parse<T: serde::de::DeserializeOwned>(text: &str, name: &str, keys: &[Key]) -> Result<T, Fault> {
    let flat = |error: toml::de::Error| {
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        usage(format!("{name}, line {line}: {message}"))
    };
    let table: toml::Table = toml::from_str(text).map_err(flat)?;
    schema::check(&table, keys, name)?;
    toml::from_str(text).map_err(flat)
}
