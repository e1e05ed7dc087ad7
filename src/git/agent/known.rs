//! What the developer's own ssh knows and offers: the keys of a host, where the agent
//! is, and which keys are offered there (`ssh -G`, `ssh-keygen -F`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Agent, AgentHost};
use crate::disk;
use crate::env::Env;
use crate::identity::Site;

/// No honest public key is longer, in bytes.
const MAX_KEY: u64 = 64 << 10;

/// Why there is no agent for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAgent {
    /// `ssh` or `ssh-keygen` is not on the `PATH`.
    NoSsh,
    /// None runs, or none is to be used.
    NoSocket,
    /// No key of the host is known, so that it could not be told from another.
    UnknownHost(String),
    /// Its agent is not that of the other hosts.
    Another(String),
}

impl fmt::Display for NoAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAgent::NoSsh => f.write_str("ssh and ssh-keygen are not on the PATH"),
            NoAgent::NoSocket => f.write_str("no ssh agent runs here (SSH_AUTH_SOCK): start one, and ssh-add a key"),
            NoAgent::Another(name) => write!(f, "your ssh configuration has another agent for {name}, and one is lent"),
            NoAgent::UnknownHost(name) => {
                write!(f, "your known_hosts have no key of {name}: connect to it once with ssh")
            }
        }
    }
}

impl Agent {
    /// The developer's agent for these hosts and accounts.
    ///
    /// # Errors
    /// Why there is none, for the first host that has none.
    pub fn find(env: &Env, hosts: &[(Site, String)]) -> Result<Agent, NoAgent> {
        let program = |name| disk::find_program(env.path.as_deref(), name).ok_or(NoAgent::NoSsh);
        let (ssh, keygen) = (program("ssh")?, program("ssh-keygen")?);
        let mut agent: Option<Agent> = None;
        for (site, account) in hosts {
            let settings = Settings::of(&ssh, site, account);
            let socket = settings.agent(env).filter(|socket| socket.exists()).ok_or(NoAgent::NoSocket)?;
            let name = name_of(site);
            let files = settings.files(env, &["userknownhostsfile", "globalknownhostsfile"]);
            let keys = known(&keygen, &name, &files);
            if keys.is_empty() {
                return Err(NoAgent::UnknownHost(name));
            }
            let only = settings.is("identitiesonly", "yes").then(|| own_keys(&settings.files(env, &["identityfile"])));
            let host = AgentHost { name, account: account.clone(), keys, only };
            match &mut agent {
                Some(agent) if agent.socket == socket => agent.hosts.push(host),
                Some(_) => return Err(NoAgent::Another(host.name)),
                None => agent = Some(Agent { socket, hosts: vec![host] }),
            }
        }
        agent.ok_or(NoAgent::NoSocket)
    }

    /// What the hosts are known by, as a file of known hosts.
    pub fn known_hosts(&self) -> Vec<u8> {
        let line = |host: &AgentHost, key: &[u8]| {
            let kind = super::Parts(key).text().unwrap_or_default();
            format!("{} {kind} {}\n", host.name, STANDARD.encode(key))
        };
        let lines = self.hosts.iter().flat_map(|host| host.keys.iter().map(move |key| line(host, key)));
        lines.collect::<String>().into_bytes()
    }
}

/// As a file of known hosts writes a host.
fn name_of(site: &Site) -> String {
    let whole = site.to_string();
    let host = site.host().trim_start_matches('[').trim_end_matches(']');
    match whole.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() && !port.ends_with(']') => format!("[{host}]:{port}"),
        _ => host.to_owned(),
    }
}

/// What ssh would do for a host.
struct Settings(Vec<(String, String)>);

impl Settings {
    fn of(ssh: &Path, site: &Site, account: &str) -> Self {
        let name = name_of(site);
        let (host, port) = match name.rsplit_once("]:") {
            Some((host, port)) => (host.trim_start_matches('[').to_owned(), port.to_owned()),
            None => (name, "22".to_owned()),
        };
        let text = said(Command::new(ssh).args(["-G", "-p", &port, "-l", account, "--", &host]));
        let pair = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Settings(text.lines().filter_map(pair).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.all(name).any(|known| known == value)
    }

    /// Where the agent for this host is.
    fn agent(&self, env: &Env) -> Option<PathBuf> {
        let variable = |name: &str| env.named(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        match self.all("identityagent").next() {
            None | Some("SSH_AUTH_SOCK") => variable("SSH_AUTH_SOCK"),
            Some("none") => None,
            Some(named) => match named.strip_prefix('$') {
                Some(name) => variable(name),
                None => Some(at_home(env, named)),
            },
        }
    }

    /// The files that these settings name.
    fn files(&self, env: &Env, names: &[&str]) -> Vec<PathBuf> {
        let values = names.iter().flat_map(|name| self.all(name)).flat_map(str::split_whitespace);
        values.filter(|value| *value != "none").map(|value| at_home(env, value)).collect()
    }
}

fn at_home(env: &Env, path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), &env.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

/// The keys of a host in these files, without those that were revoked.
fn known(keygen: &Path, name: &str, files: &[PathBuf]) -> Vec<Vec<u8>> {
    let (mut keys, mut revoked) = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| file.exists()) {
        let text = said(Command::new(keygen).args(["-F", name, "-f"]).arg(file));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (into, words) = match words.split_first() {
                Some((&"@revoked", rest)) => (&mut revoked, rest),
                // Who signs certificates is no key of the host's.
                Some((first, _)) if first.starts_with('@') => continue,
                _ => (&mut keys, &words[..]),
            };
            into.extend(words.get(2).and_then(|key| STANDARD.decode(key).ok()));
        }
    }
    keys.retain(|key| !revoked.contains(key));
    keys.sort();
    keys.dedup();
    keys
}

/// The public halves of these keys.
fn own_keys(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let public = |file: &PathBuf| {
        let mut name = file.clone().into_os_string();
        if file.extension().is_none_or(|end| end != "pub") {
            name.push(".pub");
        }
        let text = disk::read_file(Path::new(&name), MAX_KEY).ok().flatten()?;
        STANDARD.decode(String::from_utf8_lossy(&text).split_whitespace().nth(1)?).ok()
    };
    files.iter().filter_map(public).collect()
}

/// What a program prints; nothing where it fails.
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
