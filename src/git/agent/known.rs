//! What the developer's own ssh knows and offers: the keys of a host, where the agent
//! is, and which keys are offered there (`ssh -G`, `ssh-keygen -F`).

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use super::{Agent, AgentHost};
use crate::disk;
use crate::env::Env;
use crate::identity::Site;

/// No honest public key is longer, in bytes.
const MAX_KEY: u64 = 64 << 10;

/// No honest list of revoked keys is longer, in bytes.
const MAX_REVOKED: u64 = 1 << 20;

/// What OpenSSH's own lists of revoked keys begin with.
const KRL: &[u8] = b"SSHKRL\n\0";

/// So long ssh may take to say what it would do: its configuration may run programs.
const SAYING: Duration = Duration::from_secs(10);

/// Between two looks at a program that has said everything.
const LOOK: Duration = Duration::from_millis(5);

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
    /// ssh did not say in time what it would do.
    Silent(String),
    /// A list of revoked keys cannot be read, so that each key may be in it.
    Revoked(PathBuf),
}

impl fmt::Display for NoAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAgent::NoSsh => f.write_str("ssh and ssh-keygen are not on the PATH"),
            NoAgent::NoSocket => f.write_str("no ssh agent runs here (SSH_AUTH_SOCK): start one, and ssh-add a key"),
            NoAgent::Another(name) => write!(f, "your ssh configuration has another agent for {name}, and one is lent"),
            NoAgent::Silent(name) => {
                write!(f, "ssh -G {name} gave no answer within {} s", SAYING.as_secs())
            }
            NoAgent::Revoked(file) => {
                write!(f, "{}, your RevokedHostKeys, is no list of public keys that can be read here", file.display())
            }
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
            let name = name_of(site);
            let settings = Settings::of(&ssh, site, account).ok_or_else(|| NoAgent::Silent(name.clone()))?;
            let socket = settings.agent(env).filter(|socket| socket.exists()).ok_or(NoAgent::NoSocket)?;
            let files = settings.files(env, &["userknownhostsfile", "globalknownhostsfile"]);
            let looked_up = settings.known_as().unwrap_or_else(|| name.clone());
            let mut keys = known(&keygen, &looked_up, &files);
            for file in settings.files(env, &["revokedhostkeys"]) {
                let revoked = revoked(&file).ok_or(NoAgent::Revoked(file))?;
                keys.retain(|key| !revoked.contains(key));
            }
            if keys.is_empty() {
                return Err(NoAgent::UnknownHost(looked_up));
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
        // Two accounts have one host.
        lines.collect::<BTreeSet<String>>().into_iter().collect::<String>().into_bytes()
    }
}

/// As a file of known hosts writes a host.
fn name_of(site: &Site) -> String {
    let (host, port) = host_and_port(site);
    port.map_or_else(|| host.clone(), |port| format!("[{host}]:{port}"))
}

/// The host without brackets, and its port where that is not the usual one.
fn host_and_port(site: &Site) -> (String, Option<String>) {
    let whole = site.to_string();
    let port = whole.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
    (site.host().trim_start_matches('[').trim_end_matches(']').to_owned(), port.map(str::to_owned))
}

/// What ssh would do for a host.
struct Settings(Vec<(String, String)>);

impl Settings {
    /// `None` when it does not say so in time.
    fn of(ssh: &Path, site: &Site, account: &str) -> Option<Self> {
        let (host, port) = host_and_port(site);
        let mut command = Command::new(ssh);
        // Without one it is the port that the configuration has for this host.
        command.args(port.iter().flat_map(|port| ["-p", port]));
        let text = said(command.args(["-G", "-l", account, "--", &host]), SAYING)?;
        let pair = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Settings(text.lines().filter_map(pair).collect()))
    }

    /// By which name ssh would look for the host's key.
    fn known_as(&self) -> Option<String> {
        if let Some(alias) = self.all("hostkeyalias").next().filter(|alias| *alias != "none") {
            return Some(alias.to_owned());
        }
        let (host, port) = (self.all("hostname").next()?, self.all("port").next()?);
        Some(if port == "22" { host.to_owned() } else { format!("[{host}]:{port}") })
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
        let text = said(Command::new(keygen).args(["-F", name, "-f"]).arg(file), SAYING).unwrap_or_default();
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

/// The keys of a list of revoked ones; `None` where it cannot be read. ssh itself trusts
/// no host then.
fn revoked(file: &Path) -> Option<Vec<Vec<u8>>> {
    let bytes = disk::read_file(file, MAX_REVOKED).ok()??;
    let text = Some(bytes).filter(|bytes| !bytes.starts_with(KRL)).and_then(|bytes| String::from_utf8(bytes).ok())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    // Each is a whole key, or it is not known what is meant.
    lines.map(|line| STANDARD.decode(line.split_whitespace().nth(1)?).ok()).collect()
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

/// What a program prints; `None` where it takes too long, and nothing where it fails.
fn said(command: &mut Command, patience: Duration) -> Option<String> {
    let until = Instant::now() + patience;
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn();
    let Ok(mut child) = started else { return Some(String::new()) };
    let mut words = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        let mut part = [0; 4096];
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
            let ready = poll(&mut fds, Timespec::try_from(left).ok().as_ref());
            match ready.map(|count| if count == 0 { Ok(0) } else { pipe.read(&mut part) }) {
                Ok(Ok(count)) if count > 0 => words.extend(&part[..count]),
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
    }
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= until {
            // With what it waits for.
            let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(LOOK);
    }
    Some(String::from_utf8_lossy(&words).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIInjJWnyY+kAXcAxg2rPK3HhOioSdTCyZxxIB/bUFkGE";

    fn settings(text: &str) -> Settings {
        Settings(text.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.into(), b.into())).collect())
    }

    #[test]
    fn a_host_is_looked_up_as_ssh_does_it() {
        let known = |text: &str| settings(text).known_as();
        assert_eq!(known("hostname a.example\nport 22").as_deref(), Some("a.example"));
        assert_eq!(known("hostname ssh.a.example\nport 443").as_deref(), Some("[ssh.a.example]:443"));
        assert_eq!(known("hostname ::1\nport 22\nhostkeyalias none").as_deref(), Some("::1"));
        assert_eq!(known("hostname a.example\nport 2222\nhostkeyalias cluster").as_deref(), Some("cluster"));
    }

    #[test]
    fn a_list_of_revoked_keys_is_read_in_full_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("revoked");
        assert_eq!(revoked(&file), None);
        std::fs::write(&file, format!("# old\n\n{KEY} of a host\n")).unwrap();
        let key = STANDARD.decode(KEY.split_once(' ').unwrap().1).unwrap();
        assert_eq!(revoked(&file), Some(vec![key]));
        for other in [format!("{KEY}\nsomething\n"), "SSHKRL\n\0and more".to_owned()] {
            std::fs::write(&file, other).unwrap();
            assert_eq!(revoked(&file), None);
        }
    }

    #[test]
    fn a_program_that_does_not_end_is_not_waited_for() {
        let said = |script: &str| said(Command::new("sh").args(["-c", script]), Duration::from_millis(300));
        for script in ["sleep 1000", "echo x; sleep 1000", "exec >&-; sleep 1000"] {
            assert_eq!(said(script), None, "{script}");
        }
        let said = super::said(Command::new("sh").args(["-c", "echo a b; exit 1"]), SAYING);
        assert_eq!(said.as_deref(), Some("a b\n"));
    }
}
