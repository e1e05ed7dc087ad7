//! `[[service]]` of a project: what runs beside the command.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use super::spot::Spot;
use crate::error::{Fault, usage};

/// `[[service]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Service {
    /// Names it in this project.
    pub name: String,
    /// Program and arguments; of an image of its own what follows its entrypoint.
    #[serde(default)]
    pub command: Vec<String>,
    /// An image of its own.
    pub image: Option<String>,
    /// When it is ready.
    pub ready: Option<ReadyWhen>,
    /// How long it may take until it is.
    pub timeout: Option<String>,
    /// How long it may take to end by itself; without, it is killed.
    pub stop: Option<String>,
    /// Variables of it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it works on.
    pub data: Option<ServiceData>,
}

/// `data` of a service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServiceData {
    /// The cache that it starts from.
    pub cache: Option<String>,
    /// The fixture that it starts from.
    pub fixture: Option<String>,
    /// Where the service has it.
    pub path: Spot,
}

/// When a service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadyWhen {
    /// `tcp:PORT`: something listens on this port inside.
    Tcp(u16),
    /// `file:PATH`: this file exists inside.
    File(String),
    /// `cmd:COMMAND`: this shell command succeeds.
    Command(String),
}

impl FromStr for ReadyWhen {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        match text.split_once(':') {
            Some(("tcp", port)) => port.parse().ok().filter(|port| *port > 0).map(ReadyWhen::Tcp),
            Some(("file", path)) if path.starts_with('/') && !path.contains('\0') => Some(ReadyWhen::File(path.into())),
            Some(("cmd", command)) if !command.is_empty() && !command.contains('\0') => {
                Some(ReadyWhen::Command(command.into()))
            }
            _ => None,
        }
        .ok_or_else(|| {
            usage(format!("{text:?} does not say when a service is ready"))
                .hint("write tcp:PORT, file:/PATH or cmd:COMMAND")
        })
    }
}

impl<'de> Deserialize<'de> for ReadyWhen {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
