//! What a project asks of the host, and whether the developer has agreed.
//!
//! An approval is for content: the digest of everything that is asked. What
//! asks for anything else asks anew. What cannot be shown is not asked. Approvals lie in the developer's own
//! `approvals.toml`; nothing that a task brings along can write it.

use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::asks::Asks;
use crate::digest::Digest;
use crate::disk::{self, Durability, lock::FileLock};
use crate::error::{Detail, Fault, not_found, policy, usage};
use crate::handoff::app::App;
use crate::handoff::words::quote;
use crate::identity::StoreRef;
use crate::ui::{Answer, counted};

/// Upper bound for the file of approvals in bytes.
const MAX_APPROVALS: u64 = 4 << 20;

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
pub struct ApprovedHost {
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
    pub host: Vec<ApprovedHost>,
}

/// What has been approved.
///
/// # Errors
/// When the file cannot be read.
pub fn approvals(app: &App) -> Result<Approvals> {
    let path = app.paths.approvals();
    let Some(bytes) = disk::read_file(&path, MAX_APPROVALS)? else { return Ok(Approvals::default()) };
    toml::from_str(&String::from_utf8_lossy(&bytes)).with_context(|| format!("cannot understand {}", path.display()))
}

/// Changes the file; nobody else does meanwhile.
fn change(app: &App, work: impl FnOnce(&mut Approvals)) -> Result<()> {
    let _lock = FileLock::acquire(&app.paths.data_lock("approvals"), || {
        app.ui.status("Waiting", "another envctl changes the approvals");
    })?;
    let mut all = approvals(app)?;
    work(&mut all);
    disk::write_file(&app.paths.approvals(), toml::to_string(&all)?.as_bytes(), Durability::Flushed)
}

/// Notes that these exact wishes are agreed to.
///
/// # Errors
/// When the file cannot be written.
pub fn approve(app: &App, digest: Digest, asks: Option<Asks>) -> Result<()> {
    let approved_at = app.clock.now();
    change(app, |all| {
        all.approval.retain(|approval| approval.digest != digest);
        all.approval.push(Approval { digest, asks, approved_at });
    })
}

/// Notes that repositories may come from a host.
///
/// # Errors
/// When the file cannot be written.
pub fn approve_host(app: &App, name: &str) -> Result<()> {
    let store = name.strip_prefix("oci:").filter(|path| path.starts_with('/') && !path.starts_with("//"));
    // A store in a folder is known by its real path.
    let store = store.map(|path| disk::real_place(Path::new(path))).transpose();
    let store = store.with_context(|| format!("cannot find {name}"))?.map(|real| StoreRef::Layout(real).to_string());
    let is_folder = name.starts_with("file:") || name.starts_with('/') || store.is_some();
    let name = store.as_deref().unwrap_or(name);
    if name.contains('@') && !is_folder {
        return Err(usage("a host is named without a user or a password")
            .hint("envctl approve --host SCHEME://HOST[:PORT], or HOST[:PORT]")
            .into());
    }
    if !is_folder && !is_host(name) {
        return Err(usage(format!("{name:?} is no host, and nothing was approved"))
            .hint("envctl approve --host SCHEME://HOST[:PORT], or HOST[:PORT]")
            .into());
    }
    let approved_at = app.clock.now();
    change(app, |all| {
        all.host.retain(|host| host.name != name);
        all.host.push(ApprovedHost { name: name.to_owned(), approved_at });
    })
}

/// Whether a name can be that of a host: with a scheme and a port, or without.
fn is_host(name: &str) -> bool {
    let (scheme, rest) = name.split_once("://").unwrap_or(("https", name));
    let is_scheme = ["git", "http", "https", "oci", "ssh"].contains(&scheme);
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some("1"))),
        None => rest.split_once(':').map_or((rest, Some("1")), |(host, port)| (host, Some(port))),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    is_scheme && !host.is_empty() && host.chars().all(plain) && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Takes back what a digest, its beginning, a repository or a host names;
/// what that was.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when nothing is named so.
pub fn revoke(app: &App, name: &str) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    change(app, |all| {
        all.approval.retain(|approval| {
            let by_digest = prefix.len() >= 6 && approval.digest.hex().starts_with(prefix);
            let named = by_digest
                || approval
                    .asks
                    .as_ref()
                    .is_some_and(|asks| [Some(&asks.repo), asks.folder.as_ref()].contains(&Some(&name.to_owned())));
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

/// Whether a runtime gets what a project asks for: `false` when the developer goes on
/// without it, by their word (`without`) or by their answer.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they do neither, or cannot be asked.
pub(crate) fn consent(app: &App, task: Option<&str>, asks: &Asks, without: bool) -> Result<bool> {
    if asks.is_empty() {
        return Ok(true);
    }
    // Nobody is asked, or told, twice: parts of it are asked for by themselves.
    let covers = |more: &str| serde_json::from_str(more).is_ok_and(|more: Asks| more.covers(asks));
    let known = app.contacts.asked.lock().ok();
    let known = known.and_then(|asked| asked.iter().find(|(more, _)| covers(more)).map(|(_, agreed)| *agreed));
    if let Some(agreed) = known {
        return Ok(agreed);
    }
    let agreed = match if without { None } else { Some(settle(app, asks)?) } {
        None => is_agreed(app, asks)?,
        Some(Verdict::Agreed) => true,
        Some(Verdict::Refused) if app.ui.confirm("Go on without all of this?")? => false,
        Some(other) => return Err(refused(task, asks, other).into()),
    };
    if !agreed {
        asks.lines().iter().for_each(|line| app.ui.status("Without", line));
    }
    if let Ok(mut asked) = app.contacts.asked.lock() {
        asked.push((serde_json::to_string(asks)?, agreed));
    }
    Ok(agreed)
}

/// Whether it is agreed to already; nobody is asked.
fn is_agreed(app: &App, asks: &Asks) -> Result<bool> {
    let digest = asks.digest();
    let covers =
        |approval: &Approval| approval.digest == digest || approval.asks.as_ref().is_some_and(|more| more.covers(asks));
    let agreed = asks.is_empty() || approvals(app)?.approval.iter().any(covers);
    if agreed {
        asks.stores.iter().for_each(|store| app.note_agreed(store));
    }
    Ok(agreed)
}

/// Whether something is agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Agreed,
    /// The answer was no.
    Refused,
    /// There is nobody to ask.
    Unasked,
    /// A terminal cannot show all of it at once.
    TooLong,
}

/// Looks at what is agreed to, and asks where that is not enough.
pub(crate) fn settle(app: &App, asks: &Asks) -> Result<Verdict> {
    if is_agreed(app, asks)? {
        return Ok(Verdict::Agreed);
    }
    if !app.options.interactive {
        return Ok(Verdict::Unasked);
    }
    let question = "Allow this, now and whenever it asks for exactly the same?";
    match app.ui.agree(Some(&asked_by(asks)), &items(&approvals(app)?, asks), question)? {
        Answer::Yes => approve(app, asks.digest(), Some(asks.clone()))?,
        Answer::No => return Ok(Verdict::Refused),
        Answer::TooLong => return Ok(Verdict::TooLong),
    }
    asks.stores.iter().for_each(|store| app.note_agreed(store));
    Ok(Verdict::Agreed)
}

pub(crate) fn asked_by(asks: &Asks) -> String {
    format!("the project {} asks for:", asks.who())
}

/// What is asked for, what is new in it, and its name.
fn items(known: &Approvals, asks: &Asks) -> Vec<String> {
    let before = known.approval.iter().rev().filter_map(|approval| approval.asks.as_ref());
    let before = before.into_iter().find(|before| before.is_for_the_same(asks));
    let old = before.map(Asks::lines).unwrap_or_default();
    let lines = asks.lines();
    let new = |line: &String| if before.is_some() && !old.contains(line) { " (new)" } else { "" };
    let mut items: Vec<String> = lines.iter().map(|line| format!("{line}{}", new(line))).collect();
    items.extend(old.iter().filter(|line| !lines.contains(line)).map(|line| format!("no longer: {line}")));
    items.push(format!("all of this is {}", asks.digest()));
    items
}

/// The error that names what is missing, each thing by itself.
pub(crate) fn refused(task: Option<&str>, asks: &Asks, verdict: Verdict) -> Fault {
    let lines = asks.lines();
    let count = counted(lines.len() as u64, "thing, which is", "things, which are");
    let digest = asks.digest();
    let agree = format!("envctl approve --digest {digest}");
    let (why, hint) = match (verdict, task) {
        (Verdict::TooLong, Some(task)) => (
            " and too long to be asked on this terminal",
            format!("envctl approve {task} | less lists it; then: {agree}"),
        ),
        (Verdict::TooLong, None) => {
            (" and too long to be asked on this terminal", format!("envctl approve | less lists it; then: {agree}"))
        }
        (_, Some(task)) => (
            "",
            format!(
                "look at it with: envctl approve {task}; to go on without it: --without-approvals; \
                 where nobody can be asked: {agree}"
            ),
        ),
        (_, None) => (
            "",
            format!(
                "look at it with: envctl approve; to go on without it: --without-approvals; \
                 where nobody can be asked: {agree}"
            ),
        ),
    };
    let details = lines.into_iter().map(|line| Detail { data: line.as_str().into(), text: line }).collect();
    policy(format!("the project {} asks for {count} not approved yet{why}", asks.who())).details(details).hint(hint)
}

/// Asks whether repositories may be fetched from a site, which nobody has approved
/// yet, or from a folder of this machine, which is named by its `file:` URL.
///
/// # Errors
/// [`crate::error::Kind::Policy`] when they may not, or nobody can be asked.
pub(crate) fn require_host(app: &App, host: &str, interactive: bool) -> Result<()> {
    let what = if host.starts_with("file:") || host.starts_with('/') {
        format!("a folder of this machine, {host}")
    } else {
        format!("on {host}")
    };
    if interactive {
        let who = format!("the task's repository is {what}, which you have not approved yet");
        let question = "Fetch from it, now and later, with your own credentials for it?";
        if app.ui.agree(Some(&who), &[], question)? == Answer::Yes {
            return approve_host(app, host);
        }
    }
    Err(policy(format!("the repository is {what}, which is not approved, so nothing was fetched"))
        .hint(format!("if you trust it: envctl approve --host {}", quote(host)))
        .into())
}

#[cfg(test)]
mod tests {
    use super::super::asks::Setup;
    use super::*;

    #[test]
    fn what_is_no_host_is_not_approved() {
        for host in ["git.example", "https://git.example:8443", "oci://ghcr.io", "[::1]:22", "ssh://[::1]", "a_b-c"] {
            assert!(is_host(host), "{host}");
        }
        for other in ["", "not a host", "https://", "git.example/a", "x://git.example", "git.example:port", "a:1:2"] {
            assert!(!is_host(other), "{other}");
        }
    }

    #[test]
    fn the_file_reads_back() {
        let setup = Setup {
            name: "deps".into(),
            network: "host".into(),
            path: "deps".into(),
            again: None,
            command: "a\nb \"c\" '''d'''".into(),
            env: vec!["X=1\n2".into()],
        };
        let asks = Asks {
            repo: "r".into(),
            folder: Some("/home/dev/shop".into()),
            secrets: vec!["A".into()],
            setups: vec![setup.clone(), setup],
            stores: vec!["oci:/x".into()],
            ..Asks::default()
        };
        let approved_at = "2026-01-15T10:30:00Z".parse().unwrap();
        let all = Approvals {
            approval: vec![
                Approval { digest: asks.digest(), asks: Some(asks), approved_at },
                Approval { digest: Digest::of(b"x"), asks: None, approved_at },
            ],
            host: vec![ApprovedHost { name: "git.example".into(), approved_at }],
        };
        let back: Approvals = toml::from_str(&toml::to_string(&all).unwrap()).unwrap();
        assert_eq!(back, all);
    }
}
