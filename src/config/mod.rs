//! Configuration: `envctl.toml` of a project and `config.toml` of a user.
//! Pure: text in, checked values out. Keys that this envctl does not know are
//! errors that name the nearest known one.

mod build;
mod compose;
mod devcontainer;
mod entries;
mod place;
mod prefetch;
mod preset;
mod project;
mod rewrite;
mod schema;
mod sections;
mod user;

use crate::error::{Fault, usage};

pub use build::Build;
pub use compose::{COMPOSE_FILES, Compose, ComposeService};
pub use devcontainer::{Devcontainer, Featured, Field, FieldFate, Requirements, Surroundings};
pub use entries::{GitEntry, PortEntry, SecretEntry, SecretSource};
pub use prefetch::Signal;
pub use preset::{PRESETS, Preset, SetupNetwork};
pub use project::{
    ArtifactSettings, Collect, LimitSettings, NetworkName, PROJECT_FILES, Project, Runtime, SnapshotSettings,
    ToolchainSettings, WorkspaceSettings,
};
pub use rewrite::{Reachable, UrlRewrite};
pub use schema::{Key, PROJECT, USER};
pub use sections::{CacheEntry, Fixture, FixtureSource, ReadyWhen, Seed, Service, ServiceData, Spot};
pub use user::{CacheLimits, Cost, KeepArtifacts, OwnWorkspaces, RegistrySettings, UserConfig};

/// Text to values; `check` sees what types cannot. Every mistake is told with its line.
fn parse<T: serde::de::DeserializeOwned>(
    text: &str,
    name: &str,
    keys: &[Key],
    check: impl FnOnce(&T) -> Result<(), Fault>,
) -> Result<T, Fault> {
    let flat = |error: toml::de::Error| {
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        let offset = error.span().map_or(0, |span| span.start);
        let key = place::key_at(text, offset).map_or_else(String::new, |key| format!("{key}: "));
        usage(format!("{name}, line {}: {key}{message}", place::line(text, offset)))
    };
    let table: toml::Table = toml::from_str(text).map_err(flat)?;
    let settled = schema::check(&table, keys, name).and_then(|()| {
        let value = toml::from_str(text).map_err(flat)?;
        check(&value).map(|()| value)
    });
    settled.map_err(|fault| place::located(fault, text, name))
}
