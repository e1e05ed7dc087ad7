//! The user's `config.toml`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::entries::SecretSource;
use super::prefetch::Signal;
use super::rewrite::{self, Reachable, UrlRewrite};
use super::{USER, parse};
use crate::error::{Fault, usage};
use crate::identity::{Lifetime, RepoUrl, StoreRef};
use crate::quantity::{parse_bytes, parse_duration};

/// How long local copies of artifacts are kept when nothing else is said.
const KEEP_ARTIFACTS: Duration = Duration::from_secs(90 * 86_400);

/// The same for cached trees.
const MAX_CACHE_AGE: Duration = Duration::from_secs(30 * 86_400);

/// What stays free beside the caches in bytes.
const MIN_FREE: u64 = 2 << 30;

/// What one fetch of a repository may bring in bytes.
const MAX_FETCH: u64 = 64 << 30;

/// How long salvages are kept when nothing else is said.
const KEEP_SALVAGES: Duration = Duration::from_secs(30 * 86_400);

/// How long an image may be built when nothing else is said.
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);

/// What an engine is given for it without a question in bytes.
const MAX_CONTEXT: u64 = 1 << 30;

/// The user's `config.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct UserConfig {
    /// The store when neither flag, environment nor project names one.
    pub store: Option<String>,
    /// `[registries."host:port"]`
    pub registries: BTreeMap<String, RegistrySettings>,
    /// Repositories that are reachable under another name here.
    pub url: Vec<UrlRewrite>,
    /// Where secrets come from, by name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `[artifacts]`
    pub artifacts: KeepArtifacts,
    /// `[workspace]`
    pub workspace: OwnWorkspaces,
    /// Whether `enter` lets others know who entered a task.
    pub claims: bool,
    /// `[cache]`
    pub cache: CacheLimits,
    /// `[cost]`
    pub cost: Cost,
    /// `[enter]`
    pub enter: OwnShells,
    /// `[limits]`
    pub limits: OwnLimits,
    /// `[repos]`
    pub repos: Repos,
    /// `[[prefetch]]`
    pub prefetch: Vec<Signal>,
    /// `[build]`
    pub build: Builds,
}

/// `[build]` of a user: what an engine may take for an image.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Builds {
    /// How long it may build.
    pub timeout: Option<String>,
    /// What it is given without a question: bytes, or with K, M, G, T.
    pub max_context: Option<String>,
}

impl Builds {
    /// How long an image may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.as_deref().and_then(|text| parse_duration(text).ok()).unwrap_or(BUILD_TIMEOUT)
    }

    /// Bytes that an engine is given without a question.
    pub fn max_context(&self) -> u64 {
        self.max_context.as_deref().and_then(|text| parse_bytes(text).ok()).unwrap_or(MAX_CONTEXT)
    }
}

/// `[repos]` of a user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Repos {
    /// Clones from which objects are copied before a remote is asked: folders, from
    /// the home folder on.
    pub reference: Vec<String>,
}

impl Default for UserConfig {
    fn default() -> Self {
        UserConfig {
            store: None,
            registries: BTreeMap::new(),
            url: Vec::new(),
            secrets: BTreeMap::new(),
            artifacts: KeepArtifacts::default(),
            workspace: OwnWorkspaces::default(),
            claims: true,
            cache: CacheLimits::default(),
            cost: Cost::default(),
            enter: OwnShells::default(),
            limits: OwnLimits::default(),
            repos: Repos::default(),
            prefetch: Vec::new(),
            build: Builds::default(),
        }
    }
}

/// `[artifacts]` of a user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeepArtifacts {
    /// How long local copies are kept.
    pub keep: Option<String>,
}

/// `[cache]` of a user: what `gc` keeps of what is only a matter of time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct CacheLimits {
    /// All entries and layers together: bytes, or with K, M, G, T.
    pub max_size: Option<String>,
    /// How long what nobody used is kept.
    pub max_age: Option<String>,
    /// What stays free on the file system of the caches.
    pub min_free: Option<String>,
}

/// `[workspace]` of a user. It wins over the project's: the disk is theirs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OwnWorkspaces {
    /// What a workspace belongs to.
    pub lifetime: Option<Lifetime>,
    /// How long an unused workspace of a task stays.
    pub ttl: Option<String>,
    /// How long salvages are kept.
    pub keep: Option<String>,
    /// What one fetch of a repository may bring: bytes, or with K, M, G, T.
    pub max_fetch: Option<String>,
}

/// `[enter]` of a user: when a runtime ends in which somebody sits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OwnShells {
    /// After this time.
    pub timeout: Option<String>,
    /// When nothing was done in it for this time.
    pub idle: Option<String>,
}

/// `[limits]` of a user.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OwnLimits {
    /// A project's limit that cannot be kept stops the runtime from being made.
    pub required: bool,
}

/// `[cost]`: what a runtime costs, in whatever money the rate is given.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Cost {
    /// For an hour of a runtime.
    pub rate_per_hour: Option<f64>,
    /// A runtime costs at least so many seconds.
    pub minimum_seconds: u64,
    /// What a task should not exceed.
    pub target_per_task: f64,
    /// What one owner may spend in 30 days.
    pub cap: Option<f64>,
}

impl Default for Cost {
    fn default() -> Self {
        Cost { rate_per_hour: None, minimum_seconds: 0, target_per_task: 0.10, cap: None }
    }
}

impl Cost {
    fn check(&self, name: &str) -> Result<(), Fault> {
        if self.cap.is_some() && self.rate_per_hour.is_none_or(|rate| rate <= 0.0) {
            return Err(usage(format!("{name}: cost.cap needs cost.rate_per_hour")));
        }
        for (key, value) in
            [("rate_per_hour", self.rate_per_hour), ("target_per_task", Some(self.target_per_task)), ("cap", self.cap)]
        {
            if value.is_some_and(|value| !value.is_finite() || value < 0.0) {
                return Err(usage(format!("{name}: cost.{key}: a number that is not below zero is needed")));
            }
        }
        Ok(())
    }
}

/// `[registries."host:port"]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct RegistrySettings {
    /// Whether it is reached without TLS.
    pub plain_http: Option<bool>,
    /// A file of certificates that are trusted for it.
    pub ca: Option<String>,
    /// Another host with the same content.
    pub mirror: Option<String>,
    /// The address of its token service, where that is another site's.
    pub realm: Option<String>,
}

impl RegistrySettings {
    fn check(&self, host: &String, name: &str) -> Result<(), Fault> {
        for host in [Some(host), self.mirror.as_ref()].into_iter().flatten() {
            let named = format!("{host}/x").parse::<StoreRef>();
            if host.contains('/') || !matches!(named, Ok(StoreRef::Registry(_))) {
                return Err(usage(format!("{name}: registries: {host:?} is no host of a registry"))
                    .hint("write host or host:port"));
            }
        }
        if self.realm.as_ref().is_some_and(|realm| !realm.starts_with("https://")) {
            return Err(usage(format!("{name}: registries.{host}.realm: only https is accepted")));
        }
        Ok(())
    }
}

impl UserConfig {
    /// Reads the user's file; `name` is for messages.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for anything malformed or unknown.
    pub fn parse(text: &str, name: &str) -> Result<Self, Fault> {
        parse(text, name, USER, |user: &Self| user.check(name))
    }

    /// What the parser cannot see by itself.
    fn check(&self, name: &str) -> Result<(), Fault> {
        let invalid = |key: &str, why: Fault| Fault { message: format!("{name}: {key}: {why}"), ..why };
        if let Some(store) = &self.store {
            store.parse::<StoreRef>().map_err(|why| invalid("store", why))?;
        }
        for (key, time) in self.times() {
            time.as_deref().map(parse_duration).transpose().map_err(|why| invalid(key, why))?;
        }
        for (key, size) in self.sizes() {
            size.as_deref().map(parse_bytes).transpose().map_err(|why| invalid(key, why))?;
        }
        self.cost.check(name)?;
        self.url.iter().try_for_each(|rule| rule.check(name))?;
        self.prefetch.iter().try_for_each(|signal| signal.check(name))?;
        self.registries.iter().try_for_each(|(host, registry)| registry.check(host, name))
    }

    /// Every key that holds a duration.
    fn times(&self) -> [(&'static str, &Option<String>); 7] {
        [
            ("artifacts.keep", &self.artifacts.keep),
            ("cache.max_age", &self.cache.max_age),
            ("workspace.ttl", &self.workspace.ttl),
            ("workspace.keep", &self.workspace.keep),
            ("enter.timeout", &self.enter.timeout),
            ("enter.idle", &self.enter.idle),
            ("build.timeout", &self.build.timeout),
        ]
    }

    /// Every key that holds a size in bytes.
    fn sizes(&self) -> [(&'static str, &Option<String>); 4] {
        [
            ("cache.max_size", &self.cache.max_size),
            ("cache.min_free", &self.cache.min_free),
            ("workspace.max_fetch", &self.workspace.max_fetch),
            ("build.max_context", &self.build.max_context),
        ]
    }

    /// How long local copies of artifacts are kept.
    pub fn keep_artifacts(&self) -> Duration {
        self.artifacts.keep.as_deref().and_then(|keep| parse_duration(keep).ok()).unwrap_or(KEEP_ARTIFACTS)
    }

    /// How long a cached tree that nobody uses is kept.
    pub fn max_cache_age(&self) -> Duration {
        self.cache.max_age.as_deref().and_then(|age| parse_duration(age).ok()).unwrap_or(MAX_CACHE_AGE)
    }

    /// What all caches may hold, in bytes, and what must stay free beside them.
    pub fn cache_sizes(&self) -> (Option<u64>, u64) {
        let bytes = |text: &Option<String>| text.as_deref().and_then(|text| parse_bytes(text).ok());
        (bytes(&self.cache.max_size), bytes(&self.cache.min_free).unwrap_or(MIN_FREE))
    }

    /// What one fetch of a repository may bring, in bytes.
    pub fn max_fetch(&self) -> u64 {
        self.workspace.max_fetch.as_deref().and_then(|size| parse_bytes(size).ok()).unwrap_or(MAX_FETCH)
    }

    /// When a runtime ends in which somebody sits, and when one in which nothing is done.
    pub fn shells(&self) -> (Option<Duration>, Option<Duration>) {
        let time = |text: &Option<String>| text.as_deref().and_then(|text| parse_duration(text).ok());
        (time(&self.enter.timeout), time(&self.enter.idle))
    }

    /// How long salvages are kept.
    pub fn keep_salvages(&self) -> Duration {
        self.workspace.keep.as_deref().and_then(|keep| parse_duration(keep).ok()).unwrap_or(KEEP_SALVAGES)
    }

    /// The address under which a published URL is reachable here: the longest
    /// matching rewrite wins, as with git's `insteadOf`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when a rule makes something of it that is no
    /// address.
    pub fn rewrite(&self, url: &RepoUrl) -> Result<Reachable, Fault> {
        rewrite::rewrite(&self.url, url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_secrets_are_never_repeated_in_errors() {
        let user = UserConfig::parse("[secrets]\nA = \"env:B\"\nC = \"cmd:gh auth token\"", "config.toml").unwrap();
        assert_eq!(user.secrets["C"], SecretSource::Command("gh auth token".into()));
        let error = UserConfig::parse("[secrets]\nA = \"s3cr3t-value\"", "config.toml").unwrap_err();
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
    }

    #[test]
    fn registries_are_named_by_host_and_port() {
        let text = "[registries.\"r.example:5000\"]\nplain_http = true\nca = \"/ca.pem\"\nmirror = \"m.example\"";
        let user = UserConfig::parse(text, "config.toml").unwrap();
        assert_eq!(user.registries["r.example:5000"].plain_http, Some(true));
        let error = UserConfig::parse("[registries.\"r.example\"]\nplainhttp = true", "config.toml").unwrap_err();
        assert!(error.to_string().contains("registries.r.example.plainhttp"), "{error}");
        assert!(error.hint.unwrap().contains("registries.*.plain_http"));
        for bad in ["r.example/x", "http://r.example", ""] {
            assert!(UserConfig::parse(&format!("[registries.\"{bad}\"]\nca = \"x\""), "config.toml").is_err(), "{bad}");
        }
        assert!(UserConfig::parse("[registries.\"r.example\"]\nrealm = \"http://a\"", "config.toml").is_err());
    }

    #[test]
    fn the_longest_rewrite_wins() {
        let text =
            "[[url]]\nfrom = \"https://a/\"\nto = \"file:///m/\"\n[[url]]\nfrom = \"https://a/b/\"\nto = \"ssh://h/\"";
        let user = UserConfig::parse(text, "config.toml").unwrap();
        let shown = |url: &str| {
            let reachable = user.rewrite(&url.parse().unwrap()).unwrap();
            (reachable.url.to_string(), reachable.named)
        };
        assert_eq!(shown("https://a/x.git"), ("file:///m/x.git".into(), true));
        assert_eq!(shown("https://a/b/x.git"), ("ssh://h/x.git".into(), true));
        assert_eq!(shown("https://c/x.git"), ("https://c/x.git".into(), false));
        let text =
            "[[url]]\nfrom = \"ssh://git@a/\"\nto = \"file:///m/\"\n[[url]]\nfrom = \"git@b:\"\nto = \"ssh://h/\"";
        let user = UserConfig::parse(text, "config.toml").unwrap();
        let shown = |url: &str| user.rewrite(&url.parse().unwrap()).unwrap().url.to_string();
        assert_eq!(shown("git@a:x"), "file:///m/x", "the short form is known by the long one, too");
        assert_eq!(shown("git@b:x/y"), "ssh://h/x/y");
        assert_eq!(shown("ssh://git@b/x/y"), "ssh://git@b/x/y");
    }

    #[test]
    fn a_rule_is_for_whole_names_and_says_where_it_leads() {
        let rule = |from: &str, to: &str, url: &str| {
            let text = format!("[[url]]\nfrom = \"{from}\"\nto = \"{to}\"");
            let reachable = UserConfig::parse(&text, "config.toml").unwrap().rewrite(&url.parse().unwrap());
            reachable.map(|reachable| (reachable.url.to_string(), reachable.named)).ok()
        };
        let kept = |url: &str| Some((url.to_owned(), false));
        let url = "https://a.example.other/x";
        assert_eq!(rule("https://a.example", "ssh://git@b", url), kept(url));
        assert_eq!(rule("https://a.ex", "ssh://git@b", "https://a.example/x"), kept("https://a.example/x"));
        assert_eq!(rule("https://a", "ssh://git@b", "https://a.git/x"), kept("https://a.git/x"));
        assert_eq!(
            rule("https://a/x", "ssh://git@b/y", "https://a/x.git").unwrap(),
            ("ssh://git@b/y.git".into(), true)
        );
        assert_eq!(rule("https://a", "ssh://git@b", "https://a/x").unwrap(), ("ssh://git@b/x".into(), true));
        assert_eq!(rule("https://a/", "git@b:", "https://a/x").unwrap(), ("git@b:x".into(), true));
        // The host is the task's word, not the rule's.
        assert_eq!(rule("https://", "ssh://git@", "https://a/x").unwrap(), ("ssh://git@a/x".into(), false));
        assert_eq!(
            rule("https://a/", "ssh://git@b", "https://a/.other/x").unwrap(),
            ("ssh://git@b.other/x".into(), false)
        );
        assert_eq!(rule("file:///a/", "file:///m/", "file:///a/../home").unwrap(), ("file:///m/../home".into(), false));
        assert_eq!(rule("https://a/", "ext::", "https://a/x"), None);
    }

    #[test]
    fn a_rule_has_no_password() {
        for to in
            ["https://u:s3cr3t@h/", "http://s3cr3t@h/", "ssh://git:s3cr3t@h/", "git:s3cr3t@h:", "https://h/?t=s3cr3t"]
        {
            let error = UserConfig::parse(&format!("[[url]]\nfrom = \"https://a/\"\nto = \"{to}\""), "config.toml")
                .unwrap_err();
            assert!(!error.to_string().contains("s3cr3t") && error.hint.unwrap().contains("credential"), "{to}");
        }
    }

    #[test]
    fn money_is_a_number() {
        let user = UserConfig::parse("[cost]\nrate_per_hour = 1\nminimum_seconds = 60", "config.toml").unwrap();
        assert_eq!((user.cost.rate_per_hour, user.cost.target_per_task), (Some(1.0), 0.10));
        for bad in ["rate_per_hour = -1.0", "rate_per_hour = nan", "target_per_task = inf", "minimum_seconds = -1"] {
            assert!(UserConfig::parse(&format!("[cost]\n{bad}"), "config.toml").is_err(), "{bad}");
        }
    }

    #[test]
    fn artifacts_are_kept_for_a_while() {
        assert_eq!((UserConfig::default().keep_artifacts(), UserConfig::default().claims), (KEEP_ARTIFACTS, true));
        let user = UserConfig::parse("claims = false\n[artifacts]\nkeep = \"1h\"", "config.toml").unwrap();
        assert_eq!((user.keep_artifacts(), user.claims), (Duration::from_secs(3600), false));
        assert!(UserConfig::parse("[artifacts]\nkeep = \"soon\"", "config.toml").is_err());
    }

    #[test]
    fn workspaces_are_the_developers() {
        let text = "[workspace]\nlifetime = \"per-project\"\nttl = \"3d\"\nkeep = \"1d\"";
        let user = UserConfig::parse(text, "config.toml").unwrap();
        assert_eq!(user.workspace.lifetime, Some(Lifetime::PerProject));
        assert_eq!(user.keep_salvages(), Duration::from_secs(86_400));
        assert_eq!(UserConfig::default().keep_salvages(), KEEP_SALVAGES);
        for bad in ["lifetime = \"forever\"", "ttl = \"soon\"", "keep = \"0s\"", "tll = \"1d\""] {
            assert!(UserConfig::parse(&format!("[workspace]\n{bad}"), "config.toml").is_err(), "{bad}");
        }
    }
}
