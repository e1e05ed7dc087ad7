//! Credentials for git that a runtime is lent: which, in which words for git inside,
//! and who answers.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::variables::Variables;
use crate::config::{GitEntry, Project};
use crate::git::{Agent, Git, Loan, Logins};
use crate::handoff::app::App;
use crate::identity::Scheme;
use crate::runtime::{LENT, Lending, LentSocket, Network, Visit};

/// The socket at which git asks for a login.
const LOGINS: &str = "logins";

/// The one at which ssh asks for a signature.
const AGENT: &str = "agent";

/// The file of hosts that ssh inside knows.
const KNOWN: &str = "known_hosts";

/// Longer than any question of git's, in bytes.
const MAX_QUESTION: u64 = 64 << 10;

/// So long a program inside may take for its question.
const ASKING: Duration = Duration::from_secs(5);

/// So long a helper of the developer's may be silent: it may wait for them.
const HELPING: Duration = Duration::from_secs(120);

/// Connections to the agent at a time.
const MOST_AGENTS: usize = 8;

/// A project says no more settings for git by variables.
const MOST_SETTINGS: u32 = 1000;

/// What git inside gets of what the developer has agreed to. Variables say where it is
/// asked for. `ground` is any repository of ours.
///
/// # Errors
/// When git cannot be found.
pub(super) fn lend(
    app: &App,
    project: &Project,
    network: Network,
    ground: &Path,
    env: &mut Variables,
) -> Result<Lending> {
    let wanted = &project.runtime.git_credentials;
    let mut lending = Lending::default();
    if wanted.is_empty() {
        return Ok(lending);
    }
    if network == Network::Isolated {
        let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        app.ui.warn(&format!(
            "an isolated network reaches no git server: the credentials for {} are left out; \
             runtime.network = \"private\" in envctl.toml, or --network private, reaches them",
            names.join(", ")
        ));
        return Ok(lending);
    }
    let (by_ssh, by_http): (Vec<_>, Vec<_>) = wanted.iter().partition(|entry| entry.site.scheme() == Scheme::Ssh);
    lend_logins(app, &by_http, ground, env, &mut lending)?;
    lend_agent(app, &by_ssh, env, &mut lending);
    Ok(lending)
}

/// Names and passwords, by the client of git's own cache of them.
fn lend_logins(
    app: &App,
    wanted: &[&GitEntry],
    ground: &Path,
    env: &mut Variables,
    lending: &mut Lending,
) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let places: Vec<_> = wanted.iter().map(|entry| (entry.site.clone(), entry.account.clone())).collect();
    // Once for two accounts of one place.
    for site in places.iter().map(|(site, _)| site).collect::<BTreeSet<_>>() {
        let helper = format!("cache --socket={LENT}/{LOGINS}");
        add_setting(env, &format!("credential.{site}.helper"), &helper);
    }
    lending.names.extend(wanted.iter().map(ToString::to_string));
    let (git, ground) = (Git::find(&app.env)?, ground.to_owned());
    let logins = Logins { git, ground, places, patience: HELPING.max(app.options.net_timeout) };
    let serve = move |stream: &UnixStream, visit: &Visit<'_>| answer(&logins, stream, visit);
    lending.sockets.push(LentSocket { name: LOGINS.into(), most: 1, serve: Arc::new(serve) });
    Ok(())
}

/// Answers one question of git's. A program that goes on without an answer gets none.
fn answer(logins: &Logins, stream: &UnixStream, visit: &Visit<'_>) {
    let mut question = String::new();
    let timed = stream.set_read_timeout(Some(ASKING)).and_then(|()| stream.set_write_timeout(Some(ASKING)));
    let read = timed.and_then(|()| stream.take(MAX_QUESTION).read_to_string(&mut question));
    let loan = match read {
        Ok(_) => logins.answer(&question, visit.until(), &|| visit.may_ask()),
        Err(_) => Ok(Loan::Refused),
    };
    match loan {
        Ok(Loan::Given(words, password)) => {
            // Noted first: it may be used from the first byte on.
            visit.given(Some(password));
            let _ = (&mut &*stream).write_all(&words);
        }
        Ok(Loan::Refused) => visit.refused(),
        // Git inside says that it has no password.
        Ok(Loan::Unknown) | Err(_) => {}
    }
}

/// The ssh agent, and by which keys its hosts are known.
fn lend_agent(app: &App, wanted: &[&GitEntry], env: &mut Variables, lending: &mut Lending) {
    if wanted.is_empty() {
        return;
    }
    let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    let account = |entry: &GitEntry| entry.account.clone().unwrap_or_default();
    let hosts: Vec<_> = wanted.iter().map(|entry| (entry.site.clone(), account(entry))).collect();
    let agent = match Agent::find(&app.env, &hosts) {
        Ok(agent) => agent,
        Err(why) => {
            app.ui.warn(&format!("the ssh agent for {} is left out: {why}", names.join(", ")));
            return;
        }
    };
    env.push(("SSH_AUTH_SOCK".into(), format!("{LENT}/{AGENT}")));
    if !env.iter().any(|(name, _)| name == "GIT_SSH_COMMAND" || name == "GIT_SSH") {
        let known = format!("GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts {LENT}/{KNOWN}");
        env.push(("GIT_SSH_COMMAND".into(), format!("ssh -o '{known}'")));
    }
    lending.names.extend(names);
    lending.files.push((KNOWN.into(), agent.known_hosts()));
    let serve = move |stream: &UnixStream, visit: &Visit<'_>| {
        let note = |signed: bool| if signed { visit.given(None) } else { visit.refused() };
        agent.serve(stream, &|fd| visit.wait(&[fd], None), &|| visit.may_ask(), &note);
    };
    lending.sockets.push(LentSocket { name: AGENT.into(), most: MOST_AGENTS, serve: Arc::new(serve) });
}

/// Adds a setting to those that git takes from the environment, `git-config(1)`.
fn add_setting(env: &mut Variables, key: &str, value: &str) {
    let known = env.iter().rev().find(|(name, _)| name == "GIT_CONFIG_COUNT");
    let count = known.and_then(|(_, count)| count.parse::<u32>().ok()).filter(|count| *count <= MOST_SETTINGS);
    let count = count.unwrap_or(0);
    env.push((format!("GIT_CONFIG_KEY_{count}"), key.to_owned()));
    env.push((format!("GIT_CONFIG_VALUE_{count}"), value.to_owned()));
    env.push(("GIT_CONFIG_COUNT".into(), (count + 1).to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_project_stay() {
        let mut env = vec![
            ("GIT_CONFIG_COUNT".to_owned(), "1".to_owned()),
            ("GIT_CONFIG_KEY_0".to_owned(), "a.b".to_owned()),
            ("GIT_CONFIG_VALUE_0".to_owned(), "c".to_owned()),
        ];
        add_setting(&mut env, "credential.https://a.example.helper", "x");
        add_setting(&mut env, "credential.https://b.example.helper", "y");
        let value = |name: &str| env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(value("GIT_CONFIG_COUNT"), Some("3"));
        assert_eq!(value("GIT_CONFIG_KEY_0"), Some("a.b"));
        assert_eq!(value("GIT_CONFIG_KEY_2"), Some("credential.https://b.example.helper"));
        assert_eq!(value("GIT_CONFIG_VALUE_1"), Some("x"));
    }

    #[test]
    fn a_count_that_no_project_has_is_none() {
        for count in ["4294967295", "1001", "-1", "x"] {
            let mut env = vec![("GIT_CONFIG_COUNT".to_owned(), count.to_owned())];
            add_setting(&mut env, "credential.https://a.example.helper", "x");
            assert_eq!(env.last().unwrap().1, "1", "{count}");
        }
    }
}
