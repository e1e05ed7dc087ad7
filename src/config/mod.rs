//! Configuration: `envctl.toml` of a project and `config.toml` of a user.
//! Pure: text in, checked values out. Keys that this envctl does not know are
//! errors that name the nearest known one.

mod schema;

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Fault, usage};
use crate::identity::{StoreRef, Workdir};

pub use schema::{Key, PROJECT, USER};

/// The places of a project's file, below the project's root, first wins.
pub const PROJECT_FILES: [&str; 2] = ["envctl.toml", ".config/envctl.toml"];

/// A project's `envctl.toml`. It comes from the repository and is not trusted:
/// nothing in it reaches the host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Project {
    /// Where `publish` and `enter` look for tasks.
    pub store: Option<String>,
    /// `[toolchain]`
    pub toolchain: Toolchain,
    /// `[workspace]`
    pub workspace: Workspace,
    /// `[runtime]`
    pub runtime: Runtime,
    /// `[snapshot]`
    pub snapshot: Snapshot,
}

/// `[toolchain]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Toolchain {
    /// The image that `publish` pins.
    pub image: Option<String>,
}

/// `[workspace]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Workspace {
    /// Where the workspace appears inside the runtime.
    pub workdir: Option<String>,
}

/// `[runtime]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// Environment variables inside the runtime.
    pub env: BTreeMap<String, String>,
}

/// `[snapshot]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Ignored files that are captured nevertheless, as git pathspecs.
    pub include: Vec<String>,
    /// Untracked files that are not captured, as gitignore patterns.
    pub exclude: Vec<String>,
}

/// The user's `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct User {
    /// The store when neither flag, environment nor project names one.
    pub store: Option<String>,
    /// `[registries."host:port"]`
    pub registries: BTreeMap<String, Registry>,
    /// Repositories that are reachable under another name here.
    pub url: Vec<UrlRewrite>,
}

/// `[registries."host:port"]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Whether it is reached without TLS.
    pub plain_http: Option<bool>,
    /// A file of certificates that are trusted for it.
    pub ca: Option<String>,
    /// Another host with the same content.
    pub mirror: Option<String>,
    /// The address of its token service, where that is another site's.
    pub realm: Option<String>,
}

/// `[[url]]`: addresses that start with `from` are fetched from `to`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct UrlRewrite {
    /// Prefix as it is published.
    pub from: String,
    /// Prefix as it is reachable here.
    pub to: String,
}

impl Project {
    /// Reads a project file; `name` is for messages.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for anything malformed or unknown.
    pub fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let project: Project = parse(text, name, PROJECT)?;
        let invalid = |key: &str, why: &Fault| usage(format!("{name}: {key}: {why}"));
        if let Some(store) = &project.store {
            store.parse::<StoreRef>().map_err(|why| invalid("store", &why))?;
        }
        if let Some(workdir) = &project.workspace.workdir {
            workdir.parse::<Workdir>().map_err(|why| invalid("workspace.workdir", &why))?;
        }
        for (key, value) in &project.runtime.env {
            let reserved = key.starts_with("ENVCTL_");
            if key.is_empty() || reserved || key.contains(['=', '\0']) || value.contains('\0') {
                return Err(usage(format!("{name}: runtime.env: {key:?} cannot be set")));
            }
        }
        if let Some(pattern) = project.snapshot.include.iter().find(|p| p.is_empty() || p.starts_with([':', '/', '-']))
        {
            return Err(usage(format!("{name}: snapshot.include: {pattern:?} is not a path inside the project")));
        }
        if let Some(pattern) = project.snapshot.exclude.iter().find(|p| p.contains('\n')) {
            return Err(usage(format!("{name}: snapshot.exclude: {pattern:?} is not a pattern")));
        }
        Ok(project)
    }
}

impl User {
    /// Reads the user's file; `name` is for messages.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for anything malformed or unknown.
    pub fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        let user: User = parse(text, name, USER)?;
        if let Some(store) = &user.store {
            store.parse::<StoreRef>().map_err(|why| usage(format!("{name}: store: {why}")))?;
        }
        for (host, registry) in &user.registries {
            for host in [Some(host), registry.mirror.as_ref()].into_iter().flatten() {
                let named = format!("{host}/x").parse::<StoreRef>();
                if host.contains('/') || !matches!(named, Ok(StoreRef::Registry(_))) {
                    return Err(usage(format!("{name}: registries: {host:?} is no host of a registry"))
                        .hint("write host or host:port"));
                }
            }
            if registry.realm.as_ref().is_some_and(|realm| !realm.starts_with("https://")) {
                return Err(usage(format!("{name}: registries.{host}.realm: only https is accepted")));
            }
        }
        Ok(user)
    }

    /// The address under which a published URL is reachable here: the longest
    /// matching rewrite wins, as with git's `insteadOf`.
    pub fn rewrite(&self, url: &str) -> String {
        let rule = self.url.iter().filter(|rule| url.starts_with(&rule.from)).max_by_key(|rule| rule.from.len());
        rule.map_or_else(|| url.to_owned(), |rule| format!("{}{}", rule.to, &url[rule.from.len()..]))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_project_file() {
        let text = r#"
            store = "oci:/srv/tasks"
            [toolchain]
            image = "oci:/srv/images:dev"
            [workspace]
            workdir = "/workspace"
            [runtime]
            env = { NODE_ENV = "development" }
            [snapshot]
            include = ["config/local.json"]
            exclude = ["*.mp4"]
        "#;
        let project = Project::parse(text, "envctl.toml").unwrap();
        assert_eq!(project.runtime.env["NODE_ENV"], "development");
        assert_eq!(project.snapshot.exclude, ["*.mp4"]);
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let error = Project::parse("[toolchain]\nimgae = \"x\"", "envctl.toml").unwrap_err();
        assert!(error.to_string().contains("toolchain.imgae"), "{error}");
        assert!(error.hint.unwrap().contains("toolchain.image"));
        assert!(User::parse("[[url]]\nfrm = \"a\"", "config.toml").is_err());
    }

    #[test]
    fn registries_are_named_by_host_and_port() {
        let text = "[registries.\"r.example:5000\"]\nplain_http = true\nca = \"/ca.pem\"\nmirror = \"m.example\"";
        let user = User::parse(text, "config.toml").unwrap();
        assert_eq!(user.registries["r.example:5000"].plain_http, Some(true));
        let error = User::parse("[registries.\"r.example\"]\nplainhttp = true", "config.toml").unwrap_err();
        assert!(error.to_string().contains("registries.r.example.plainhttp"), "{error}");
        assert!(error.hint.unwrap().contains("registries.*.plain_http"));
        for bad in ["r.example/x", "http://r.example", ""] {
            assert!(User::parse(&format!("[registries.\"{bad}\"]\nca = \"x\""), "config.toml").is_err(), "{bad}");
        }
        assert!(User::parse("[registries.\"r.example\"]\nrealm = \"http://a\"", "config.toml").is_err());
    }

    #[test]
    fn wrong_values_name_the_key_and_line() {
        let error = Project::parse("store = 5", "envctl.toml").unwrap_err();
        assert!(error.to_string().starts_with("envctl.toml"), "{error}");
        for bad in [
            "store = \"nonsense\"",
            "[workspace]\nworkdir = \"/proc\"",
            "[runtime]\nenv = { ENVCTL_TASK = \"x\" }",
            "[snapshot]\ninclude = [\":(top)x\"]",
            "x = [",
        ] {
            assert!(Project::parse(bad, "envctl.toml").is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_rewrite_wins() {
        let text =
            "[[url]]\nfrom = \"https://a/\"\nto = \"file:///m/\"\n[[url]]\nfrom = \"https://a/b/\"\nto = \"ssh://h/\"";
        let user = User::parse(text, "config.toml").unwrap();
        assert_eq!(user.rewrite("https://a/x.git"), "file:///m/x.git");
        assert_eq!(user.rewrite("https://a/b/x.git"), "ssh://h/x.git");
        assert_eq!(user.rewrite("https://c/x.git"), "https://c/x.git");
    }
}
