//! Every environment variable that envctl reads, in one place, read once.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::clock::Clock;

/// The process environment as envctl sees it.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, if absolute (the specification ignores relative values).
    pub xdg_config_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`, if absolute.
    pub xdg_cache_home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, if absolute.
    pub xdg_data_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, if absolute.
    pub xdg_state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, if absolute: `podman` keeps credentials there.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`: the one file with credentials, as for `podman`.
    pub registry_auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the folder of docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `DOCKER_HOST`: where docker is.
    pub docker_host: Option<String>,
    /// `CONTAINER_HOST`: where podman is.
    pub container_host: Option<String>,
    /// `HTTPS_PROXY`, in capitals or not; `ALL_PROXY` where it is unset.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`, in capitals or not; `ALL_PROXY` where it is unset.
    pub http_proxy: Option<String>,
    /// `NO_PROXY`, in capitals or not.
    pub no_proxy: Option<String>,
    /// `GIT_CONFIG_GLOBAL`: the user's configuration of git, where it is elsewhere.
    pub git_config_global: Option<PathBuf>,
    /// Every variable of git's own, `GIT_*`, and those by which ssh and git find
    /// a program that asks, `SSH_ASKPASS*`.
    pub git: Vec<(OsString, OsString)>,
    /// `ENVCTL_CONTACT`: what a program that git starts on our behalf may do.
    pub contact: Option<String>,
    /// `PATH`, for finding `git`, `newuidmap` and `newgidmap`.
    pub path: Option<OsString>,
    /// `ENVCTL_STORE`: the store when no `--store` is given.
    pub store: Option<String>,
    /// `ENVCTL_IMAGE`: the image when no `--image` is given.
    pub image: Option<String>,
    /// `ENVCTL_AGENT`: the agent identity that `publish` records.
    pub agent: Option<String>,
    /// `ENVCTL_TASK`: the task of the runtime that this process is inside of.
    pub task: Option<String>,
    /// `ENVCTL_LOG`: where what envctl does is told, step by step.
    pub log: Option<OsString>,
    /// `BROWSER`: programs that show a page.
    pub browser: Option<String>,
    /// `ENVCTL_COMPLETE`: a shell asks what may follow.
    pub complete: bool,
    /// `NO_COLOR`, non-empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE` or `FORCE_COLOR`, set and not `0`.
    pub force_color: bool,
    /// `TERM`.
    pub term: Option<String>,
    /// `COLORTERM`, passed on to interactive shells.
    pub colorterm: Option<String>,
    /// `LANG`, `LC_ALL`: passed on to interactive shells.
    pub locale: Vec<(String, String)>,
    /// `SOURCE_DATE_EPOCH`: fixes the time in documents that are published.
    pub source_date_epoch: Option<i64>,
    /// What time it is, where a test says so; never in release builds.
    pub test_now: Option<i64>,
}

fn is_of_git(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.strip_prefix(b"GIT").is_some_and(|rest| rest.starts_with(b"_")) || name.starts_with(b"SSH_ASKPASS")
}

impl Env {
    /// Reads the process environment.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_process() -> Self {
        let os = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| os(name).and_then(|value| value.into_string().ok());
        let absolute = |name: &str| os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let forced = |name: &str| text(name).is_some_and(|value| value != "0");
        let either = |name: &str| text(&name.to_lowercase()).or_else(|| text(name));
        Env {
            // Without HOME the account's own folder, as ssh and shells find it.
            home: absolute("HOME").or_else(|| std::env::home_dir().filter(|home| home.is_absolute())),
            xdg_config_home: absolute("XDG_CONFIG_HOME"),
            xdg_cache_home: absolute("XDG_CACHE_HOME"),
            xdg_data_home: absolute("XDG_DATA_HOME"),
            xdg_state_home: absolute("XDG_STATE_HOME"),
            xdg_runtime_dir: absolute("XDG_RUNTIME_DIR"),
            registry_auth_file: os("REGISTRY_AUTH_FILE").map(PathBuf::from),
            docker_config: os("DOCKER_CONFIG").map(PathBuf::from),
            docker_host: text("DOCKER_HOST"),
            container_host: text("CONTAINER_HOST"),
            https_proxy: either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")),
            http_proxy: either("HTTP_PROXY").or_else(|| either("ALL_PROXY")),
            no_proxy: either("NO_PROXY"),
            git_config_global: absolute("GIT_CONFIG_GLOBAL"),
            git: std::env::vars_os().filter(|(name, _)| is_of_git(name)).collect(),
            contact: text("ENVCTL_CONTACT"),
            path: os("PATH"),
            store: text("ENVCTL_STORE"),
            image: text("ENVCTL_IMAGE"),
            agent: text("ENVCTL_AGENT"),
            task: text("ENVCTL_TASK"),
            log: os("ENVCTL_LOG"),
            browser: text("BROWSER"),
            complete: os("ENVCTL_COMPLETE").is_some(),
            no_color: os("NO_COLOR").is_some(),
            force_color: forced("CLICOLOR_FORCE") || forced("FORCE_COLOR"),
            term: text("TERM"),
            colorterm: text("COLORTERM"),
            locale: ["LANG", "LC_ALL"].iter().filter_map(|name| Some(((*name).into(), text(name)?))).collect(),
            source_date_epoch: text("SOURCE_DATE_EPOCH").and_then(|value| value.parse().ok()),
            test_now: crate::clock::told(),
        }
    }

    /// Any variable, by name: for secrets whose source is one.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn named(&self, name: &str) -> Option<String> {
        std::env::var_os(name).and_then(|value| value.into_string().ok())
    }

    /// All variables: those that hold secrets must not travel.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn all(&self) -> impl Iterator<Item = (String, String)> {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    }

    /// The clock by which leases, uses and the ledger go. No build's wish for
    /// documents that can be reproduced moves it.
    pub fn clock(&self) -> Clock {
        fixed(self.test_now).unwrap_or(Clock::System)
    }

    /// The clock of documents that are published: fixed when `SOURCE_DATE_EPOCH`
    /// says so.
    pub fn document_clock(&self) -> Clock {
        fixed(self.source_date_epoch).unwrap_or_else(|| self.clock())
    }
}

fn fixed(seconds: Option<i64>) -> Option<Clock> {
    Some(Clock::Fixed(Timestamp::from_second(seconds?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_for_documents_moves_no_other_clock() {
        let env = Env { source_date_epoch: Some(315_532_800), ..Env::default() };
        assert!(matches!(env.clock(), Clock::System));
        assert_eq!(env.document_clock().now().as_second(), 315_532_800);
    }
}
