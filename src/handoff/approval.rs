//! What a project asks of the host, and whether the developer has agreed.
//!
//! An approval is for content: the digest of everything that is asked. What
//! asks for anything else asks anew. Approvals lie in the developer's own
//! `approvals.toml`; nothing that a task brings along can write it.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::context::Context;
use super::resolve::resolve;
use super::source::Source;
use crate::config::{CacheEntry, NetworkName, Project, SetupNetwork};
use crate::digest::Digest;
use crate::disk::{self, Durability, lock::FileLock};
use crate::error::{not_found, policy};
use crate::identity::{StoreRef, TaskRef};

/// Upper bound for the file of approvals in bytes.
const MAX_APPROVALS: u64 = 4 << 20;

/// What a project wants from the host beyond a sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    /// The repository, as the task names it.
    pub repo: String,
    /// The store that the task comes from: whoever writes to it chooses image
    /// and code. None for a checkout of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// `private` or `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Secrets, by name and form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Fixed ports of the host, as `inside=host`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Setups of caches that want a network, as `name network command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub setups: Vec<String>,
    /// Stores besides the task's own from which fixtures come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
}

/// What of a project's wishes the command line has settled already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    pub(super) network: bool,
    pub(super) secrets: bool,
    pub(super) ports: bool,
}

impl Asks {
    /// What is left to ask for.
    pub(super) fn of(repo: &str, store: Option<&StoreRef>, project: &Project, settled: Settled) -> Self {
        let runtime = &project.runtime;
        let network = match runtime.network {
            Some(NetworkName::Private) => Some("private"),
            Some(NetworkName::Host) => Some("host"),
            Some(NetworkName::Isolated) | None => None,
        };
        let form = |secret: &crate::config::SecretEntry| match (secret.variable, secret.file) {
            (true, true) => secret.name.clone(),
            (true, false) => format!("{}:env", secret.name),
            _ => format!("{}:file", secret.name),
        };
        let store = store.map(ToString::to_string);
        let mut asks = Asks { repo: repo.to_owned(), store, ..Asks::default() };
        if !settled.network {
            asks.network = network.map(str::to_owned);
        }
        if !settled.secrets {
            asks.secrets = runtime.secrets.iter().map(form).collect();
            asks.secrets.sort();
            asks.secrets.dedup();
        }
        if !settled.ports {
            let fixed = runtime.ports.iter().filter_map(|port| Some(format!("{}={}", port.inside, port.host?)));
            asks.ports = fixed.collect();
            asks.ports.sort();
            asks.ports.dedup();
        }
        let outside = |cache: &CacheEntry| {
            let network = match cache.network {
                SetupNetwork::None => return None,
                SetupNetwork::Private => "private",
                SetupNetwork::Host => "host",
            };
            Some(format!("{} {network} {}", cache.name, cache.setup.trim()))
        };
        asks.setups = project.cache.iter().filter_map(outside).collect();
        asks.setups.sort();
        let stores = project.fixture.iter().filter_map(|fixture| fixture.source.store.as_ref());
        asks.stores = stores.map(ToString::to_string).collect();
        asks.stores.sort();
        asks.stores.dedup();
        asks
    }

    fn is_empty(&self) -> bool {
        self.network.is_none()
            && self.secrets.is_empty()
            && self.ports.is_empty()
            && self.setups.is_empty()
            && self.stores.is_empty()
    }

    /// Whether whoever agreed to this has agreed to `less`.
    fn covers(&self, less: &Asks) -> bool {
        let all = |more: &[String], less: &[String]| less.iter().all(|one| more.contains(one));
        (&self.repo, &self.store) == (&less.repo, &less.store)
            && (less.network.is_none() || less.network == self.network)
            && all(&self.secrets, &less.secrets)
            && all(&self.ports, &less.ports)
            && all(&self.setups, &less.setups)
            && all(&self.stores, &less.stores)
    }

    /// Names exactly this.
    pub fn digest(&self) -> Digest {
        // Serialising plain texts cannot fail.
        Digest::of(&serde_json::to_vec(&("envctl approval 1", self)).unwrap_or_default())
    }

    /// Who asks: the repository, and the store whose tasks may.
    pub fn who(&self) -> String {
        match &self.store {
            Some(store) => format!("{} (tasks of {store})", self.repo),
            None => self.repo.clone(),
        }
    }

    /// Each thing on a line of its own.
    pub fn lines(&self) -> Vec<String> {
        let network = self.network.iter().map(|network| match network.as_str() {
            "host" => "the host's network, with everything that listens on this machine".to_owned(),
            _ => "a network with an outside".to_owned(),
        });
        let secrets = self.secrets.iter().map(|secret| format!("the secret {secret}"));
        let ports = self.ports.iter().map(|port| format!("the fixed port {port}"));
        let setups = self.setups.iter().map(|setup| {
            let mut words = setup.splitn(3, ' ');
            let mut next = || words.next().unwrap_or_default();
            let (name, network, command) = (next(), next(), next());
            format!("a {network} network for the setup of the cache {name}: {command}")
        });
        let stores = self.stores.iter().map(|store| format!("fixtures from {store}, with your credentials for it"));
        network.chain(secrets).chain(ports).chain(setups).chain(stores).collect()
    }
}

/// Something that was agreed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What it is for.
    pub digest: Digest,
    /// In words; absent where only the digest was given.
    #[serde(flatten)]
    pub asks: Option<Asks>,
    /// When.
    pub approved_at: Timestamp,
}

/// A host from which repositories may be fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// `scheme://host[:port]`; `host[:port]` for `https` and `ssh` there; the
    /// `file:` URL of a folder.
    pub name: String,
    /// When it was agreed to.
    pub approved_at: Timestamp,
}

/// The developer's `approvals.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Approvals {
    /// What projects may have.
    pub approval: Vec<Approval>,
    /// Where repositories may come from.
    pub host: Vec<Host>,
}

/// What has been approved.
///
/// # Errors
/// When the file cannot be read.
pub fn approvals(ctx: &Context) -> Result<Approvals> {
    let path = ctx.paths.approvals();
    let Some(bytes) = disk::read_file(&path, MAX_APPROVALS)? else { return Ok(Approvals::default()) };
    toml::from_str(&String::from_utf8_lossy(&bytes)).with_context(|| format!("cannot understand {}", path.display()))
}

/// Changes the file; nobody else does meanwhile.
fn change(ctx: &Context, work: impl FnOnce(&mut Approvals)) -> Result<()> {
    let _lock = FileLock::acquire(&ctx.paths.data_lock("approvals"), || {
        ctx.ui.status("Waiting", "another envctl changes the approvals");
    })?;
    let mut all = approvals(ctx)?;
    work(&mut all);
    disk::write_file(&ctx.paths.approvals(), toml::to_string(&all)?.as_bytes(), Durability::Flushed)
}

/// Notes that these exact wishes are agreed to.
///
/// # Errors
/// When the file cannot be written.
pub fn approve(ctx: &Context, digest: Digest, asks: Option<Asks>) -> Result<()> {
    let approved_at = ctx.clock.now();
    change(ctx, |all| {
        all.approval.retain(|approval| approval.digest != digest);
        all.approval.push(Approval { digest, asks, approved_at });
    })
}

/// Notes that repositories may come from a host.
///
/// # Errors
/// When the file cannot be written.
pub fn approve_host(ctx: &Context, name: &str) -> Result<()> {
    let approved_at = ctx.clock.now();
    change(ctx, |all| {
        all.host.retain(|host| host.name != name);
        all.host.push(Host { name: name.to_owned(), approved_at });
    })
}

/// Takes back what a digest, its beginning, a repository or a host names;
/// what that was.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when nothing is named so.
pub fn revoke(ctx: &Context, name: &str) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    change(ctx, |all| {
        all.approval.retain(|approval| {
            let by_digest = prefix.len() >= 6 && approval.digest.hex().starts_with(prefix);
            let named = by_digest || approval.asks.as_ref().is_some_and(|asks| asks.repo == name);
            if named {
                gone.push(approval.digest.to_string());
            }
            !named
        });
        all.host.retain(|host| {
            let named = host.name == name;
            if named {
                gone.push(host.name.clone());
            }
            !named
        });
    })?;
    if gone.is_empty() {
        return Err(not_found(format!("nothing that was approved is named {name}"))
            .hint("envctl approve --list")
            .into());
    }
    Ok(gone)
}

/// How `approve TASK` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// There was nothing to agree to.
    Nothing,
    /// This content is agreed to.
    Agreed(Digest),
}

/// Shows what a task's project asks for, and asks the developer.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they do not agree, or cannot be asked;
/// [`crate::error::Kind::NotFound`] when the task has no workspace here.
pub fn approve_task(ctx: &Context, task: &TaskRef) -> Result<Asked> {
    let source = Source::new(ctx, ctx.locate(task)?);
    let resolved = resolve(&source, None, false)?;
    let Some(pin) = &resolved.pin else {
        return Err(not_found(format!("{task} has no workspace here, so its project file is not known"))
            .hint(format!("envctl enter {task} --no-runtime"))
            .into());
    };
    let project = ctx.project(&pin.workspace)?;
    let store = (!resolved.local).then_some(&resolved.task.store);
    let asks = Asks::of(&resolved.identity.repo.url.to_string(), store, &project, Settled::default());
    if asks.is_empty() {
        return Ok(Asked::Nothing);
    }
    require(ctx, Some(&task.to_string()), &asks)?;
    Ok(Asked::Agreed(asks.digest()))
}

/// Makes sure that the developer agrees to what a project asks for.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they do not, or cannot be asked.
pub(super) fn require(ctx: &Context, task: Option<&str>, asks: &Asks) -> Result<()> {
    if asks.is_empty() {
        return Ok(());
    }
    let digest = asks.digest();
    let known = approvals(ctx)?;
    let agreed =
        |approval: &Approval| approval.digest == digest || approval.asks.as_ref().is_some_and(|more| more.covers(asks));
    if known.approval.iter().any(agreed) {
        return Ok(());
    }
    if ctx.options.interactive && ask(ctx, &known, asks)? {
        return approve(ctx, digest, Some(asks.clone()));
    }
    let way = format!("where nobody can be asked: envctl approve --digest {digest}");
    let hint = match task {
        Some(task) => format!("look at it with: envctl approve {task}; {way}"),
        None => format!("it is in its envctl.toml; {way}"),
    };
    Err(policy(format!("{} asks for {}, which is not approved", asks.who(), asks.lines().join(", "))).hint(hint).into())
}

/// Shows what is asked for, and what is new in it, and asks.
///
/// # Errors
/// When the terminal goes away.
pub(super) fn ask(ctx: &Context, known: &Approvals, asks: &Asks) -> Result<bool> {
    let before = known.approval.iter().rev().filter_map(|approval| approval.asks.as_ref());
    let before = before.into_iter().find(|before| before.repo == asks.repo && before.store == asks.store);
    ctx.ui.status("Approval", &format!("the project {} asks for:", asks.who()));
    let old = before.map(Asks::lines).unwrap_or_default();
    for line in asks.lines() {
        let new = if before.is_some() && !old.contains(&line) { " (new)" } else { "" };
        ctx.ui.text(&format!("             {line}{new}"));
    }
    let lines = asks.lines();
    for line in old.iter().filter(|line| !lines.contains(line)) {
        ctx.ui.text(&format!("             no longer: {line}"));
    }
    ctx.ui.confirm("Allow this, now and whenever it asks for exactly the same?")
}

/// Asks whether repositories may be fetched from a site, which nobody has approved
/// yet, or from a folder of this machine, which is named by its `file:` URL.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they may not, or nobody can be asked.
pub(super) fn require_host(ctx: &Context, host: &str, interactive: bool) -> Result<()> {
    let what = if host.starts_with("file:") || host.starts_with('/') {
        format!("a folder of this machine, {host}")
    } else {
        format!("on {host}")
    };
    if interactive {
        ctx.ui.status("Approval", &format!("the task's repository is {what}, from which nothing was fetched yet"));
        if ctx.ui.confirm("Fetch from it, now and later, with your own credentials for it?")? {
            return approve_host(ctx, host);
        }
    }
    Err(policy(format!("the repository is {what}, from which nothing was fetched yet"))
        .hint(format!("if you trust it: envctl approve --host {}", super::publish::quote(host)))
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_has_one_name_and_every_change_another() {
        let project = |text: &str| Project::parse(text, "envctl.toml").unwrap();
        let asks = |text: &str| Asks::of("https://a/b", None, &project(text), Settled::default());
        let base = asks("[runtime]\nnetwork = \"host\"\nsecrets = [\"A\", \"B\"]\nports = [\"1=\"]");
        assert_eq!(
            base.digest(),
            asks("[runtime]\nports = [\"1=1\", 2]\nsecrets = [\"B\", \"A\"]\nnetwork = \"host\"").digest()
        );
        for other in [
            "[runtime]\nnetwork = \"private\"\nsecrets = [\"A\", \"B\"]\nports = [\"1=\"]",
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A\"]\nports = [\"1=\"]",
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A:file\", \"B\"]\nports = [\"1=\"]",
            "[runtime]\nnetwork = \"host\"\nsecrets = [\"A\", \"B\"]\nports = [\"1=2\"]",
        ] {
            assert_ne!(base.digest(), asks(other).digest(), "{other}");
        }
        let store: StoreRef = "oci:/srv/tasks".parse().unwrap();
        let secret = project("[runtime]\nsecrets = [\"A\"]");
        let of = |store| Asks::of("https://a/b", store, &secret, Settled::default()).digest();
        assert_ne!(of(Some(&store)), of(None), "whoever writes to another store is another");
        assert!(base.covers(&asks("[runtime]\nsecrets = [\"A\"]")) && base.covers(&base));
        for more in ["secrets = [\"C\"]", "secrets = [\"A:file\"]", "network = \"private\"", "ports = [\"2=\"]"] {
            assert!(!base.covers(&asks(&format!("[runtime]\n{more}"))), "{more}");
        }
        let there = Asks { store: Some(store.to_string()), ..base.clone() };
        assert!(!there.covers(&base) && !base.covers(&there));
        assert!(asks("[runtime]\nports = [3000]\nnetwork = \"isolated\"").is_empty());
        let settled = Settled { network: true, secrets: true, ports: true };
        assert!(Asks::of("x", None, &project("[runtime]\nnetwork = \"host\"\nsecrets = [\"A\"]"), settled).is_empty());
    }

    #[test]
    fn the_file_reads_back() {
        let asks = Asks { repo: "r".into(), secrets: vec!["A".into()], ..Asks::default() };
        let approved_at = "2026-01-15T10:30:00Z".parse().unwrap();
        let all = Approvals {
            approval: vec![
                Approval { digest: asks.digest(), asks: Some(asks), approved_at },
                Approval { digest: Digest::of(b"x"), asks: None, approved_at },
            ],
            host: vec![Host { name: "git.example".into(), approved_at }],
        };
        let back: Approvals = toml::from_str(&toml::to_string(&all).unwrap()).unwrap();
        assert_eq!(back, all);
    }
}
