//! A project's `envctl.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::sections::{self, CacheEntry, Fixture, Service};
use super::{Build, GitEntry, PROJECT, PortEntry, SecretEntry, parse};
use crate::credentials::Fingerprint;
use crate::error::{Fault, cut, usage};
use crate::identity::{ArtifactType, Lifetime, StoreRef, Workdir};
use crate::quantity::{parse_bytes, parse_duration};

/// The places of a project's file, below the project's root, first wins.
pub const PROJECT_FILES: [&str; 2] = ["envctl.toml", ".config/envctl.toml"];

/// Lines of `runtime.once` and `runtime.start`, and bytes of each.
const MOST_LINES: usize = 50;
const MAX_LINE: usize = 16 << 10;

/// A project's `envctl.toml`. It comes from the repository and is not trusted:
/// what it asks of the host takes effect only when the developer approves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Project {
    /// Where `publish` and `enter` look for tasks.
    pub store: Option<String>,
    /// `[toolchain]`
    pub toolchain: ToolchainSettings,
    /// `[workspace]`
    pub workspace: WorkspaceSettings,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[snapshot]`
    pub snapshot: SnapshotSettings,
    /// `[artifacts]`
    pub artifacts: ArtifactSettings,
    /// `[[cache]]`
    pub cache: Vec<CacheEntry>,
    /// `[[fixture]]`
    pub fixture: Vec<Fixture>,
    /// `[[service]]`
    pub service: Vec<Service>,
}

/// `[artifacts]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ArtifactSettings {
    /// Files that `publish` attaches.
    pub collect: Vec<Collect>,
}

/// One element of `[artifacts] collect`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Collect {
    /// Which files: a path below the project's root with `*`, `?`, `[...]` and
    /// `**`.
    pub path: String,
    /// What they are.
    #[serde(rename = "type")]
    pub artifact_type: ArtifactType,
}

/// `[toolchain]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ToolchainSettings {
    /// The image that `publish` pins.
    pub image: Option<String>,
    /// The image that is built instead.
    pub build: Option<Build>,
    /// Who commands run as: an account of the image, instead of its own user.
    pub user: Option<String>,
    /// What the image's `devcontainer.metadata` says of user, variables and ports counts.
    pub metadata: Option<bool>,
    /// What has to be done by hand before there is an image.
    #[serde(skip)]
    pub lacks: Option<&'static str>,
}

/// `[workspace]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct WorkspaceSettings {
    /// Where the workspace appears inside the runtime.
    pub workdir: Option<String>,
    /// What a workspace belongs to, where the developer does not say.
    pub lifetime: Option<Lifetime>,
    /// How long an unused workspace of a task stays, where the developer does
    /// not say.
    pub ttl: Option<String>,
}

/// `[runtime]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// What the runtime can reach; more than `isolated` needs an approval.
    pub network: Option<NetworkName>,
    /// Ports to publish on the host.
    pub ports: Vec<PortEntry>,
    /// Environment variables inside the runtime.
    pub env: BTreeMap<String, String>,
    /// Secrets that are asked for, by name; each needs an approval.
    pub secrets: Vec<SecretEntry>,
    /// Places of git servers for which git inside gets the developer's credentials;
    /// each needs an approval.
    pub git_credentials: Vec<GitEntry>,
    /// How long a runtime that nobody is attached to may exist.
    pub timeout: Option<String>,
    /// Lines for a shell that run before the first command in a workspace, once.
    pub once: Vec<String>,
    /// The same at each start of a runtime.
    pub start: Vec<String>,
    /// What a runtime may use.
    pub limits: LimitSettings,
}

/// `runtime.network`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkName {
    /// A loopback of its own.
    Isolated,
    /// An outside, but not the host's own services.
    Private,
    /// The host's network.
    Host,
}

/// `[runtime] limits`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct LimitSettings {
    /// Memory of all processes together: bytes, or with K, M, G, T.
    pub memory: Option<String>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Processors' worth of time.
    pub cpus: Option<f64>,
    /// A limit that cannot be kept stops the runtime from being made.
    pub required: bool,
}

/// `[snapshot]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SnapshotSettings {
    /// Ignored files that are captured nevertheless, as git pathspecs.
    pub include: Vec<String>,
    /// Untracked files that are not captured, as gitignore patterns.
    pub exclude: Vec<String>,
    /// The most that contents of LFS files may have together, such as `1G`.
    pub max_lfs: Option<String>,
    /// Fingerprints of findings that are no credentials, or may travel.
    pub allow: Vec<String>,
}

impl SnapshotSettings {
    /// The same in bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is no size.
    pub fn max_lfs(&self) -> Result<u64, Fault> {
        self.max_lfs.as_deref().map_or(Ok(1 << 30), parse_bytes)
    }
}

impl Project {
    /// Reads a project file; `name` is for messages.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for anything malformed or unknown.
    pub fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let mut project = parse(text, name, PROJECT, |project: &Self| project.check(name))?;
        sections::place_stores(&mut project.cache, &project.fixture, &project.service);
        Ok(project)
    }

    /// Refuses values that are none.
    pub(super) fn check(&self, name: &str) -> Result<(), Fault> {
        let invalid = |key: &str, why: Fault| Fault { message: format!("{name}: {key}: {why}"), ..why };
        if let Some(store) = &self.store {
            store.parse::<StoreRef>().map_err(|why| invalid("store", why))?;
        }
        if let Some(workdir) = &self.workspace.workdir {
            workdir.parse::<Workdir>().map_err(|why| invalid("workspace.workdir", why))?;
        }
        if self.workspace.lifetime == Some(Lifetime::PerDeveloper) {
            return Err(usage(format!(
                "{name}: workspace.lifetime: only the developer can choose per-developer, for themselves"
            ))
            .hint("they do it with envctl enter TASK --into DIR"));
        }
        if let Some(ttl) = &self.workspace.ttl {
            parse_duration(ttl).map_err(|why| invalid("workspace.ttl", why))?;
        }
        self.toolchain.check(name)?;
        self.runtime.check(name)?;
        self.snapshot.check(name)?;
        self.artifacts.collect.iter().try_for_each(|collect| collect.check(name))?;
        sections::check(&self.cache, &self.fixture, &self.service)
            .map_err(|why| Fault { message: format!("{name}: {why}"), ..why })
    }
}

impl ToolchainSettings {
    fn check(&self, name: &str) -> Result<(), Fault> {
        if let Some(build) = &self.build {
            build.check().map_err(|why| usage(format!("{name}: {why}")))?;
            if self.image.is_some() {
                return Err(usage(format!("{name}: toolchain.image and toolchain.build name two images"))
                    .hint("leave one of them out"));
            }
        }
        if let Some(user) = self.user.as_deref().filter(|user| !is_user(user)) {
            return Err(usage(format!("{name}: toolchain.user: {user:?} names no account"))
                .hint("write a name or a number that the image has, or both: user:group"));
        }
        Ok(())
    }
}

impl Runtime {
    fn check(&self, name: &str) -> Result<(), Fault> {
        let invalid = |key: &str, why: Fault| Fault { message: format!("{name}: {key}: {why}"), ..why };
        for (key, value) in &self.env {
            let reserved = key.starts_with("ENVCTL_");
            if key.is_empty() || reserved || key.contains(['=', '\0']) || value.contains('\0') {
                return Err(usage(format!("{name}: runtime.env: {key:?} cannot be set")));
            }
        }
        if let Some(timeout) = &self.timeout {
            parse_duration(timeout).map_err(|why| invalid("runtime.timeout", why))?;
        }
        for (key, lines) in [("once", &self.once), ("start", &self.start)] {
            let bad = |line: &&String| line.trim().is_empty() || line.contains('\0') || line.len() > MAX_LINE;
            if let Some(line) = lines.iter().find(bad) {
                return Err(usage(format!("{name}: runtime.{key}: {:?} is no line for a shell", cut(line))));
            }
            if lines.len() > MOST_LINES {
                return Err(usage(format!("{name}: runtime.{key}: {MOST_LINES} lines are the most")));
            }
        }
        if let Some(memory) = &self.limits.memory {
            parse_bytes(memory).map_err(|why| invalid("runtime.limits.memory", why))?;
        }
        if self.limits.processes == Some(0) {
            return Err(usage(format!("{name}: runtime.limits.processes: at least one is needed")));
        }
        if self.limits.cpus.is_some_and(|cpus| !(0.01..=4096.0).contains(&cpus)) {
            return Err(usage(format!("{name}: runtime.limits.cpus: not a number of processors")));
        }
        Ok(())
    }
}

impl SnapshotSettings {
    fn check(&self, name: &str) -> Result<(), Fault> {
        if let Some(pattern) = self.include.iter().find(|p| p.is_empty() || p.starts_with([':', '/', '-'])) {
            return Err(usage(format!("{name}: snapshot.include: {pattern:?} is not a path inside the project")));
        }
        for fingerprint in &self.allow {
            fingerprint
                .parse::<Fingerprint>()
                .map_err(|why| Fault { message: format!("{name}: snapshot.allow: {why}"), ..why })?;
        }
        if let Some(pattern) = self.exclude.iter().find(|p| p.contains('\n')) {
            return Err(usage(format!("{name}: snapshot.exclude: {pattern:?} is not a pattern")));
        }
        self.max_lfs().map(drop).map_err(|why| Fault { message: format!("{name}: snapshot.max_lfs: {why}"), ..why })
    }
}

impl Collect {
    fn check(&self, name: &str) -> Result<(), Fault> {
        let invalid = |why: &str| usage(format!("{name}: artifacts.collect: {:?} {why}", self.path));
        let parts = || self.path.split('/');
        if self.path.starts_with('/') || parts().any(|part| matches!(part, "" | "." | "..")) {
            return Err(invalid("is not a path inside the project"));
        }
        glob::Pattern::new(&self.path).map(drop).map_err(|why| invalid(&format!("is not a pattern: {}", why.msg)))
    }
}

/// Whether a text may name an account: `user[:group]`, each a name or a number.
pub(super) fn is_user(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.len() < 256 && part.chars().all(|c| c > ' ' && c != '\u{7f}');
    let mut parts = text.split(':');
    parts.by_ref().take(2).all(plain) && parts.next().is_none() && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::super::UserConfig;
    use super::*;

    #[test]
    fn a_full_project_file() {
        let text = r#"
            store = "oci:/srv/tasks"
            [toolchain]
            image = "oci:/srv/images:dev"
            [workspace]
            workdir = "/workspace"
            lifetime = "per-branch"
            ttl = "7d"
            [runtime]
            network = "private"
            ports = [3000, "5432=", "8080=80"]
            env = { NODE_ENV = "development" }
            secrets = ["GITHUB_TOKEN", "NPM_TOKEN:file"]
            timeout = "8h"
            limits = { memory = "8G", processes = 2000, cpus = 1.5 }
            [snapshot]
            include = ["config/local.json"]
            exclude = ["*.mp4"]
            allow = ["0123456789abcdef"]
        "#;
        let project = Project::parse(text, "envctl.toml").unwrap();
        assert_eq!(project.workspace.lifetime, Some(Lifetime::PerBranch));
        assert_eq!(project.runtime.env["NODE_ENV"], "development");
        assert_eq!(project.snapshot.exclude, ["*.mp4"]);
        let ports: Vec<_> = project.runtime.ports.iter().map(|port| (port.inside, port.host)).collect();
        assert_eq!(ports, [(3000, None), (5432, Some(5432)), (8080, Some(80))]);
        let secrets = &project.runtime.secrets;
        assert_eq!((secrets[0].variable, secrets[0].file, secrets[1].variable), (true, true, false));
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let error = Project::parse("[toolchain]\nimgae = \"x\"", "envctl.toml").unwrap_err();
        assert!(error.to_string().contains("toolchain.imgae"), "{error}");
        assert!(error.hint.unwrap().contains("toolchain.image"));
        assert!(UserConfig::parse("[[url]]\nfrm = \"a\"", "config.toml").is_err());
    }

    #[test]
    fn wrong_values_name_the_key_and_line() {
        let error = Project::parse("store = 5", "envctl.toml").unwrap_err();
        assert!(error.to_string().starts_with("envctl.toml"), "{error}");
        for bad in [
            "store = \"nonsense\"",
            "[workspace]\nworkdir = \"/proc\"",
            "[workspace]\nlifetime = \"per-developer\"",
            "[workspace]\nlifetime = \"/srv\"",
            "[workspace]\nttl = \"soon\"",
            "[runtime]\nenv = { ENVCTL_TASK = \"x\" }",
            "[snapshot]\ninclude = [\":(top)x\"]",
            "[snapshot]\nallow = [\"a secret\"]",
            "[runtime]\nnetwork = \"all\"",
            "[runtime]\nports = [0]",
            "[runtime]\nports = [\"70000\"]",
            "[runtime]\nsecrets = [\"A B\"]",
            "[runtime]\nsecrets = [\"../x\"]",
            "[runtime]\nsecrets = [\"ENVCTL_TASK\"]",
            "[runtime]\ntimeout = \"soon\"",
            "[runtime]\nlimits = { memory = \"much\" }",
            "[runtime]\nlimits = { cpus = 0.0 }",
            "x = [",
        ] {
            assert!(Project::parse(bad, "envctl.toml").is_err(), "{bad}");
        }
    }

    #[test]
    fn artifacts_are_named_by_pattern_and_type() {
        let text = "[artifacts]\ncollect = [{ path = \"reports/**/*.xml\", type = \"test-results\" }]";
        let project = Project::parse(text, "envctl.toml").unwrap();
        assert_eq!(project.artifacts.collect[0].artifact_type, ArtifactType::TestResults);
        for bad in ["/etc/*", "../x", "a/../b", "a//b", "./a", "", "a/***", "a/["] {
            let text = format!("[artifacts]\ncollect = [{{ path = \"{bad}\", type = \"logs\" }}]");
            assert!(Project::parse(&text, "envctl.toml").is_err(), "{bad:?}");
        }
        for bad in ["[{ path = \"a\" }]", "[{ path = \"a\", type = \"x\" }]", "[{ path = \"a\", typ = \"logs\" }]"] {
            assert!(Project::parse(&format!("[artifacts]\ncollect = {bad}"), "envctl.toml").is_err(), "{bad}");
        }
    }
}
