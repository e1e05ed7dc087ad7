//! Places inside, as a project names them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Fault, usage};

/// Folders inside in which nothing of a project may be mounted.
const RESERVED: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];

/// A place inside: below the workspace, below the home folder (`~/`), or
/// absolute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// Relative to the workspace.
    Workspace(String),
    /// Relative to the user's home folder.
    Home(String),
    /// From the root, without the first slash.
    Absolute(String),
}

impl FromStr for Spot {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let (spot, path): (fn(String) -> Spot, &str) = match (text.strip_prefix("~/"), text.strip_prefix('/')) {
            (Some(path), _) => (Spot::Home, path),
            (None, Some(path)) => (Spot::Absolute, path),
            (None, None) => (Spot::Workspace, text),
        };
        let path = path.strip_suffix('/').unwrap_or(path);
        let bad = |why: &str| usage(format!("{text:?} {why}")).hint("write a/path, ~/a/path or /a/path");
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if path.len() > 1024 || !path.split('/').all(plain) {
            return Err(bad("is not a place for a cache"));
        }
        let first = path.split('/').next().unwrap_or_default();
        let git = path.split('/').any(|part| part.eq_ignore_ascii_case(".git"));
        let spot = spot(path.to_owned());
        match &spot {
            Spot::Absolute(_) if RESERVED.contains(&first) => Err(bad("belongs to the runtime")),
            Spot::Workspace(_) if git => Err(bad("is git's own")),
            _ => Ok(spot),
        }
    }
}

impl Spot {
    /// Whether it stands for the folders that fit it.
    pub fn is_pattern(&self) -> bool {
        matches!(self, Spot::Workspace(path) if path.contains(['*', '?', '[']))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spot::Workspace(path) => f.write_str(path),
            Spot::Home(path) => write!(f, "~/{path}"),
            Spot::Absolute(path) => write!(f, "/{path}"),
        }
    }
}

impl<'de> Deserialize<'de> for Spot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
