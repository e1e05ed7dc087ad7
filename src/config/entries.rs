//! Ports and secrets, as a project's file writes them.

use serde::Deserialize;

use crate::error::{Fault, usage};

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
