//! What the programs that git starts on our behalf are told, in a variable.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::own::Own;
use crate::identity::{RepoUrl, Site};
use std::time::Duration;

/// The variable.
pub(super) const VARIABLE: &str = "ENVCTL_CONTACT";

/// The variables that are set for git and that the developer's own programs get
/// back as they were.
const LENT: [&str; 7] = [
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_ASKPASS",
    "GIT_TERMINAL_PROMPT",
    "SSH_ASKPASS",
    "SSH_ASKPASS_REQUIRE",
    "HOME",
];

/// How a remote is spoken with.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Git, ssh and helpers may ask the developer.
    pub interactive: bool,
    /// How long a remote may be silent.
    pub patience: Duration,
    /// So many bytes may come at once.
    pub most: u64,
    /// Nothing goes on without it.
    pub needed: bool,
}

/// How far a contact goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    /// This program.
    pub(super) program: PathBuf,
    /// Who started git.
    pub(super) owner: u32,
    /// A process with which it ends as well: who asks is inside of that.
    #[serde(default)]
    pub(super) until: Option<u32>,
    /// The allowed address; empty for a folder that nobody else named.
    pub(super) real: String,
    /// Other sites that the developer approved, or named, for its large files.
    pub(super) beside: Vec<String>,
    /// The developer's ssh, and whether that is a line for a shell.
    pub(super) ssh: (String, bool),
    /// Whether it takes the options of OpenSSH.
    pub(super) openssh: bool,
    /// The developer may be asked.
    pub(super) interactive: bool,
    /// How long nothing may happen, in milliseconds.
    pub(super) patience_ms: u64,
    /// So many bytes may come.
    pub(super) most: u64,
    /// The folder into which they come.
    pub(super) into: Option<PathBuf>,
    /// A file to which passwords are told that a helper gave out, so that nobody
    /// repeats them.
    pub(super) ears: Option<PathBuf>,
    /// The developer's own variables.
    pub(super) own: Vec<(String, Option<String>)>,
}

impl Order {
    pub(super) fn new(real: &RepoUrl, manner: Manner, own: &Own, env: &[(String, String)]) -> Result<Self> {
        let mut order = Order::folder(manner, env)?;
        order.real = real.to_string();
        order.ssh = own.ssh();
        order.openssh = own.variant() == "ssh";
        Ok(order)
    }

    pub(super) fn folder(manner: Manner, env: &[(String, String)]) -> Result<Self> {
        let value = |name: &str| env.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        Ok(Order {
            program: this_program()?,
            owner: std::process::id(),
            until: None,
            real: String::new(),
            beside: Vec::new(),
            ssh: ("ssh".into(), false),
            openssh: true,
            interactive: manner.interactive,
            patience_ms: u64::try_from(manner.patience.as_millis()).unwrap_or(u64::MAX),
            most: manner.most,
            into: None,
            ears: None,
            own: LENT.iter().map(|name| ((*name).to_owned(), value(name))).collect(),
        })
    }

    pub(super) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).context("cannot write what git is told")
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The developer's home folder.
    pub(super) fn home(&self) -> Option<&Path> {
        let home = self.own.iter().find(|(name, _)| name == "HOME");
        home.and_then(|(_, home)| home.as_deref()).map(Path::new)
    }

    /// The allowed address.
    pub(super) fn address(&self) -> Option<RepoUrl> {
        self.real.parse().ok()
    }

    /// Whether a site may be given the developer's credentials.
    pub(super) fn covers(&self, site: &Site) -> bool {
        let own = self.address().and_then(|address| address.site());
        own.as_ref() == Some(site) || self.beside.iter().any(|beside| Site::parse(beside).as_ref() == Some(site))
    }

    /// Gives a program of the developer's the variables as they were.
    pub(super) fn give_back(&self, command: &mut std::process::Command) {
        command.env_remove(VARIABLE).env_remove("GIT_CONFIG_PARAMETERS").env_remove("GIT_ALLOW_PROTOCOL");
        command.env_remove("GIT_TRACE_CURL").env_remove("GIT_TRACE_CURL_NO_DATA");
        for name in ["GIT_CONFIG_COUNT", "GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"] {
            command.env_remove(name);
        }
        for (name, value) in &self.own {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if !self.interactive {
            command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "");
            command.env("SSH_ASKPASS_REQUIRE", "never").env_remove("SSH_ASKPASS");
        }
    }
}

/// A line for a shell that starts this program with a word.
pub(super) fn shell(program: &Path, word: &str) -> String {
    format!("'{}' {word}", program.to_string_lossy().replace('\'', "'\\''"))
}

/// A sign of life on stderr, from a program that git started.
pub(super) fn tell(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "envctl: {text}");
}

/// This program, as others start it.
///
/// # Errors
/// When nobody can say where it is.
pub fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find the program envctl")?;
    // One that replaced it meanwhile may read orders in another way.
    if path.exists() { Ok(path) } else { Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id()))) }
}
