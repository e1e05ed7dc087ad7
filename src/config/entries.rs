//! Ports, secrets and credentials for git, as the files of projects and users write them.

use std::fmt;

use serde::Deserialize;

use crate::error::{Fault, usage};
use crate::identity::{Scheme, Site};

/// One element of `runtime.ports`: `3000`, or `"3000="`, `"3000=8080"` and, in the
/// order of docker, `"8080:3000"` for a fixed port of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortEntry {
    /// The port inside.
    pub inside: u16,
    /// The port of the host that it must be.
    pub host: Option<u16>,
}

impl std::str::FromStr for PortEntry {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bad = || {
            usage(format!("{text:?} is no port"))
                .hint("write the port inside: 3000; or 8080:3000 for the fixed port 8080 of the host")
        };
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad);
        if let Some((host, inside)) = text.split_once(':') {
            return Ok(PortEntry { inside: port(inside)?, host: Some(port(host)?) });
        }
        match text.split_once('=') {
            None => Ok(PortEntry { inside: port(text)?, host: None }),
            Some((inside, "")) => Ok(PortEntry { inside: port(inside)?, host: Some(port(inside)?) }),
            Some((inside, host)) => Ok(PortEntry { inside: port(inside)?, host: Some(port(host)?) }),
        }
    }
}

impl<'de> Deserialize<'de> for PortEntry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Number(u16),
            Text(String),
        }
        let text = match Spelling::deserialize(deserializer)? {
            Spelling::Number(port) => port.to_string(),
            Spelling::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One element of `runtime.secrets`: a name, which becomes a variable and a
/// file, or `NAME:env` and `NAME:file` for one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEntry {
    /// The name.
    pub name: String,
    /// Whether it becomes a variable.
    pub variable: bool,
    /// Whether it becomes a file.
    pub file: bool,
}

impl std::str::FromStr for SecretEntry {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (name, variable, file) = match text.split_once(':') {
            None => (text, true, true),
            Some((name, "env")) => (name, true, false),
            Some((name, "file")) => (name, false, true),
            Some(_) => ("", false, false),
        };
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let plain = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if !first || !plain || name.len() > 128 || name.starts_with("ENVCTL_") {
            return Err(usage(format!("{text:?} names no secret"))
                .hint("write a name of letters, digits and _, or one with :env or :file"));
        }
        Ok(SecretEntry { name: name.to_owned(), variable, file })
    }
}

impl<'de> Deserialize<'de> for SecretEntry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// `env:NAME`: a variable of envctl's own environment.
    Variable(String),
    /// `file:PATH`: what a file holds; relative to the configuration's folder.
    File(String),
    /// `cmd:COMMAND`: what a shell command prints.
    Command(String),
}

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let source = match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => SecretSource::Variable(name.to_owned()),
            Some(("file", path)) if !path.is_empty() => SecretSource::File(path.to_owned()),
            Some(("cmd", command)) if !command.is_empty() => SecretSource::Command(command.to_owned()),
            // Not repeated: somebody may have put the value itself here.
            _ => return Err(serde::de::Error::custom("the source of a secret is env:NAME, file:PATH or cmd:COMMAND")),
        };
        Ok(source)
    }
}

/// One element of `runtime.git_credentials`: a host, which is reached with TLS, or
/// `https://[account@]host[:port]`, the same with `http`, and with `ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitEntry {
    /// Where the credentials count, and nowhere else.
    pub site: Site,
    /// The account there; for ssh always.
    pub account: Option<String>,
}

/// The account of git servers.
const ACCOUNT: &str = "git";

impl std::str::FromStr for GitEntry {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let bad = || {
            usage(format!("{text:?} names no place of a git server")).hint(
                "write a host (github.com), https://[ACCOUNT@]HOST[:PORT], or ssh://[ACCOUNT@]HOST[:PORT] for the \
                 ssh agent; no path",
            )
        };
        let (account, place) = match text.split_once("://") {
            None => (None, format!("https://{text}")),
            Some((scheme, rest)) => {
                let usual = (scheme == "ssh").then_some(ACCOUNT);
                let (account, rest) = rest.split_once('@').map_or((usual, rest), |(name, rest)| (Some(name), rest));
                (account, format!("{scheme}://{rest}"))
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_account = |name: &str| !name.is_empty() && !name.starts_with('-') && name.chars().all(plain);
        let site = Site::parse(&place).filter(|site| site.scheme() != Scheme::File).ok_or_else(bad)?;
        if account.is_some_and(|account| !is_account(account)) {
            return Err(bad());
        }
        Ok(GitEntry { site, account: account.map(str::to_owned) })
    }
}

impl fmt::Display for GitEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.site.to_string();
        match (&self.account, text.split_once("://")) {
            (Some(account), Some((scheme, host))) => write!(f, "{scheme}://{account}@{host}"),
            _ => f.write_str(&text),
        }
    }
}

impl<'de> Deserialize<'de> for GitEntry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_for_git_are_for_one_place() {
        let shown = |text: &str| text.parse::<GitEntry>().ok().map(|entry| entry.to_string());
        for (text, place) in [
            ("GitHub.com", "https://github.com"),
            ("git.example:8443", "https://git.example:8443"),
            ("https://git.example:443", "https://git.example"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://bot@git.example:443", "https://bot@git.example"),
            ("ssh://github.com", "ssh://git@github.com"),
            ("ssh://deploy@git.example:2222", "ssh://deploy@git.example:2222"),
            ("ssh://git@[::1]:22", "ssh://git@[::1]"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(place), "{text}");
        }
        for bad in [
            "",
            "*",
            "https://github.com/acme",
            "https://dev:x@github.com",
            "https://@github.com",
            "https://a@b@github.com",
            "https://a/b@github.com",
            "git@github.com",
            "ssh://@a.example",
            "ssh://-x@a.example",
            "ssh://a b@a.example",
            "file:///srv",
            "ext::x",
            "a.example,b.example",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }
}
