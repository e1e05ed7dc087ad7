//! How registries are reached: what the user configured, as data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::web::Proxies;

/// Settings of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Whether it is reached without TLS; unset: only on loopback.
    pub plain_http: Option<bool>,
    /// Certificates in PEM that are trusted for it, besides the system's.
    pub ca: Option<PathBuf>,
    /// Another host that serves the same content, asked first for what is
    /// named by its digest.
    pub mirror: Option<String>,
    /// The address of its token service, where that is another site's.
    pub realm: Option<String>,
}

/// Files in which other tools keep credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthFiles {
    /// In the order in which they are asked.
    pub files: Vec<PathBuf>,
    /// Where helpers are looked for.
    pub path: Option<std::ffi::OsString>,
    /// This program, which stands between and ends a helper; without it nobody does.
    pub guard: Option<PathBuf>,
    /// A helper may ask the developer.
    pub interactive: bool,
    /// How long a helper may take; without end where this is zero.
    pub patience: Duration,
}

/// Everything that decides how a registry is reached.
#[derive(Clone)]
pub struct RegistryNetwork {
    /// Settings by `host[:port]`.
    pub hosts: BTreeMap<String, Host>,
    /// Proxies.
    pub proxies: Proxies,
    /// How long a registry may be silent.
    pub timeout: Duration,
    /// Where credentials are.
    pub auth: AuthFiles,
    /// Nothing may be asked.
    pub offline: bool,
    /// Told when something has to be waited for.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
}

impl RegistryNetwork {
    /// The settings of one registry.
    pub fn host(&self, host: &str) -> Host {
        self.hosts.get(host).cloned().unwrap_or_default()
    }
}

impl fmt::Debug for RegistryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("hosts", &self.hosts).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
