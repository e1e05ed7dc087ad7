//! Where a piece of evidence comes from: the document that travels with each
//! artifact. It is what its writer says; a store proves that the content is the
//! one that was described, not who described it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::checks::check_schema;
use super::document::{Identity, Toolchain};
use super::names::{Commit, TaskId, outside_name};
use super::url::RepoUrl;
use crate::digest::{Digest, content_size};
use crate::error::{Fault, integrity};

/// The schema that this envctl writes and reads.
const SCHEMA: u32 = 1;

/// Upper bound for a provenance document in bytes.
const MAX_PROVENANCE: u64 = 256 << 10;

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactType {
    /// What a test runner reported.
    TestResults,
    /// What was printed or recorded.
    Logs,
    /// An image as one file.
    DockerImage,
    /// A program, or what a build made.
    Binary,
    /// A picture of a screen.
    Screenshot,
}

impl fmt::Display for ArtifactType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArtifactType::TestResults => "test-results",
            ArtifactType::Logs => "logs",
            ArtifactType::DockerImage => "docker-image",
            ArtifactType::Binary => "binary",
            ArtifactType::Screenshot => "screenshot",
        })
    }
}

/// What an artifact is, and what it was made from and by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Always 1.
    pub schema: u32,
    /// What it is.
    pub artifact_type: ArtifactType,
    /// When it was attached, in UTC, whole seconds.
    pub created_at: Timestamp,
    /// The task.
    pub task_id: TaskId,
    /// Who published the identity that it is attached to.
    pub agent_identity: Option<String>,
    /// The repository.
    pub repo: RepoUrl,
    /// HEAD.
    pub commit: Commit,
    /// What it was made in.
    pub environment_identity: EnvironmentIdentity,
    /// The file's own name, as it was.
    pub name: String,
    /// Where it lay in the checkout; `None` for files from elsewhere.
    pub path: Option<String>,
    /// In bytes.
    #[serde(deserialize_with = "content_size")]
    pub size: u64,
    /// Of the content.
    pub digest: Digest,
    /// The command that made it, as a shell would read it.
    pub command: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// When the file was written last, in UTC, whole seconds.
    #[serde(default)]
    pub modified_at: Option<Timestamp>,
    /// Who made it.
    #[serde(default)]
    pub made_by: Option<String>,
    /// The run in which it was made, by the name of its log.
    #[serde(default)]
    pub run: Option<String>,
    /// The runtime in which it was made.
    #[serde(default)]
    pub lease: Option<String>,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The parts of an identity that decide what a run gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentIdentity {
    /// The image.
    pub toolchain: Toolchain,
    /// `path:sha256:...` of each lockfile.
    #[serde(default)]
    pub lockfiles: Vec<String>,
    /// The sha256 of the snapshot document.
    pub snapshot_id: Digest,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The file that an artifact is, and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The file's own name.
    pub name: String,
    /// Where it lay in the checkout.
    pub path: Option<String>,
    /// In bytes.
    pub size: u64,
    /// Of the content.
    pub digest: Digest,
    /// The command that made it.
    pub command: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// When the file was written last.
    pub modified_at: Option<Timestamp>,
    /// Who made it.
    pub made_by: Option<String>,
    /// The run in which it was made.
    pub run: Option<String>,
    /// The runtime in which it was made.
    pub lease: Option<String>,
}

impl Provenance {
    /// Describes a file as evidence of an identity's environment.
    pub fn of(identity: &Identity, artifact_type: ArtifactType, created_at: Timestamp, made: Made) -> Self {
        Provenance {
            schema: SCHEMA,
            artifact_type,
            created_at,
            task_id: identity.task_id.clone(),
            agent_identity: identity.agent_identity.clone(),
            repo: identity.repo.url.clone(),
            commit: identity.repo.commit.clone(),
            environment_identity: EnvironmentIdentity {
                toolchain: identity.toolchain.clone(),
                lockfiles: identity.lockfiles.clone(),
                snapshot_id: identity.snapshot_id,
                extra: Map::new(),
            },
            name: made.name,
            path: made.path,
            size: made.size,
            digest: made.digest,
            command: made.command,
            exit_code: made.exit_code,
            modified_at: made.modified_at,
            made_by: made.made_by,
            run: made.run,
            lease: made.lease,
            extra: Map::new(),
        }
    }

    /// Reads a document from its exact bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for anything malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() as u64 > MAX_PROVENANCE {
            return Err(integrity(format!("the provenance is larger than {MAX_PROVENANCE} bytes")));
        }
        check_schema(bytes, SCHEMA, "provenance")?;
        serde_json::from_slice(bytes).map_err(|error| integrity(format!("the provenance is malformed: {error}")))
    }

    /// The bytes that travel.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] when nobody would read them back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| integrity(format!("the provenance cannot be written: {error}")))?;
        Self::parse(&bytes)?;
        Ok(bytes)
    }

    /// Whether it tells of this identity; the first field that does not is
    /// named.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`].
    pub fn check(&self, identity: &Identity) -> Result<(), Fault> {
        let environment = &self.environment_identity;
        let same = [
            ("task_id", self.task_id == identity.task_id),
            ("agent_identity", self.agent_identity == identity.agent_identity),
            ("repo", self.repo == identity.repo.url),
            ("commit", self.commit == identity.repo.commit),
            ("toolchain", environment.toolchain == identity.toolchain),
            ("lockfiles", environment.lockfiles == identity.lockfiles),
            ("snapshot_id", environment.snapshot_id == identity.snapshot_id),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((field, _)) => Err(integrity(format!("its {field} is not that of the identity"))),
        }
    }

    /// Where it stands among others: the oldest first, those of one second by their names.
    /// So wherever a list of them comes from, it is the same.
    pub fn order(&self) -> (Timestamp, Option<&str>, &str, Digest) {
        (self.created_at, self.path.as_deref(), &self.name, self.digest)
    }

    /// The name under which it may be written to disk.
    pub fn file_name(&self) -> String {
        outside_name(self.name.as_bytes())
    }
}

#[cfg(test)]
impl Made {
    /// Five bytes, `hello`, for tests.
    pub(crate) fn sample(name: &str) -> Self {
        Made {
            name: name.to_owned(),
            path: None,
            size: 5,
            digest: Digest::of(b"hello"),
            command: None,
            exit_code: None,
            modified_at: None,
            made_by: None,
            run: None,
            lease: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::document::sample;
    use proptest::prelude::*;

    fn provenance(name: &str) -> Provenance {
        let at = "2026-01-15T10:30:00Z".parse().unwrap();
        Provenance::of(&sample(), ArtifactType::Logs, at, Made::sample(name))
    }

    proptest! {
        #[test]
        fn provenance_round_trips(
            name in any::<String>(),
            path in proptest::option::of(any::<String>()),
            command in proptest::option::of(any::<String>()),
            exit_code in proptest::option::of(any::<i32>()),
            size in 0..=crate::digest::MAX_CONTENT,
            content in any::<[u8; 8]>(),
            extra in "[a-z]{15,18}",
        ) {
            let digest = Digest::of(&content);
            let (lease, run) = (command.clone(), path.clone());
            let made = Made { path, size, digest, command, exit_code, lease, run, ..Made::sample(&name) };
            let at = "2026-01-15T10:30:00Z".parse().unwrap();
            let mut provenance = Provenance::of(&sample(), ArtifactType::TestResults, at, made);
            provenance.extra.insert(extra.clone(), Value::from(7));
            provenance.environment_identity.extra.insert(extra, Value::from("kept"));
            let bytes = provenance.to_bytes().unwrap();
            let back = Provenance::parse(&bytes).unwrap();
            prop_assert_eq!(&back, &provenance);
            prop_assert_eq!(back.to_bytes().unwrap(), bytes);
            prop_assert!(back.check(&sample()).is_ok());
        }

        #[test]
        fn parsing_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = Provenance::parse(&bytes);
        }
    }

    #[test]
    fn case_26_names_that_would_choose_a_place_are_replaced() {
        for bad in ["", ".", "..", "../x", "/etc/passwd", "-rf", ".hidden", ".git", "HEAD"] {
            assert!(provenance(bad).file_name().starts_with("artifact-"), "{bad:?}");
        }
        assert_eq!(provenance("unit.xml").file_name(), "unit.xml");
    }

    #[test]
    fn another_identity_s_evidence_is_noticed() {
        let identity = sample();
        let mut other = identity.clone();
        other.repo.commit = "ffffffffffffffffffffffffffffffffffffffff".parse().unwrap();
        assert!(provenance("x").check(&identity).is_ok());
        assert!(provenance("x").check(&other).unwrap_err().to_string().contains("commit"));
        other = identity.clone();
        other.lockfiles.push("Cargo.lock:sha256:0".into());
        assert!(provenance("x").check(&other).unwrap_err().to_string().contains("lockfiles"));
    }

    #[test]
    fn a_newer_schema_is_named() {
        let text = String::from_utf8(provenance("x").to_bytes().unwrap()).unwrap();
        let newer = text.replacen("\"schema\":1", "\"schema\":2", 1);
        assert!(Provenance::parse(newer.as_bytes()).unwrap_err().to_string().contains("schema 2"));
        assert!(Provenance::parse(&vec![b' '; MAX_PROVENANCE as usize + 1]).is_err());
    }
}
