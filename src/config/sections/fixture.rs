//! `[[fixture]]` of a project: data that is given, and read by tests.

use std::str::FromStr;

use serde::Deserialize;

use super::spot::Spot;
use crate::digest::Digest;
use crate::error::{Fault, usage};
use crate::identity::{StoreRef, Target, TaskRef};

/// `[[fixture]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Fixture {
    /// Names it in this project.
    pub name: String,
    /// The content: an artifact of tar layers, by digest.
    pub source: FixtureSource,
    /// Where it can be read; absent where only a service uses it.
    pub path: Option<Spot>,
}

/// `STORE@sha256:...`; without a store in the task's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureSource {
    /// The store.
    pub store: Option<StoreRef>,
    /// The manifest's digest.
    pub digest: Digest,
}

impl FromStr for FixtureSource {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let reference: TaskRef = match text.strip_prefix('@') {
            // In the task's own store.
            Some(digest) => return Ok(FixtureSource { store: None, digest: digest.parse()? }),
            None => text.parse()?,
        };
        match reference.target {
            Target::Identity(digest) => Ok(FixtureSource { store: reference.store, digest }),
            Target::Task(_) => {
                Err(usage(format!("{text:?} can change")).hint("name a fixture by digest: STORE@sha256:..."))
            }
        }
    }
}

impl<'de> Deserialize<'de> for FixtureSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
