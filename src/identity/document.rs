//! The identity document. Its digest is the sha256 of its exact bytes, so the
//! bytes are kept as they came; this type is a view of them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::checks::{check_parts, check_schema};
use super::lifetime::Wish;
use super::names::{Commit, ImageRef, TaskId, serde_as_text};
use super::status::Status;
use super::url::RepoUrl;
use crate::digest::Digest;
use crate::error::{Fault, integrity};

/// The schema that this envctl writes and reads.
pub const SCHEMA: u32 = 1;

/// Upper bound for an identity in bytes.
pub const MAX_IDENTITY: u64 = 256 << 10;

/// Everything that pins a task's environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// The task that this was published for.
    pub task_id: TaskId,
    /// When, in UTC, whole seconds.
    pub created_at: Timestamp,
    /// Who published: `ENVCTL_AGENT` or the flag.
    pub agent_identity: Option<String>,
    /// The repository and the commit of HEAD.
    pub repo: Repo,
    /// The image, pinned.
    pub toolchain: Toolchain,
    /// Where the workspace appears inside the runtime.
    pub workdir: Workdir,
    /// The sha256 of the snapshot document.
    pub snapshot_id: Digest,
    /// `path:sha256:...` of each lockfile.
    #[serde(default)]
    pub lockfiles: Vec<String>,
    /// Caches by key.
    #[serde(default)]
    pub caches: Vec<Cache>,
    /// Fixtures of the project that are in the task's own store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixtures: Vec<Given>,
    /// The identity that this one continues.
    pub parent: Option<Digest>,
    /// What the one who published wants from the one who enters.
    pub handoff: Handoff,
    /// Files that the snapshot lacks because they hold credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<Redacted>,
    /// Images of services, pinned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceImage>,
    /// What the project wishes of workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Wish>,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Where the code comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repo {
    /// The remote, without credentials.
    pub url: RepoUrl,
    /// HEAD.
    pub commit: Commit,
    /// The checked-out branch; `None` when HEAD was detached.
    pub branch: Option<String>,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What the code runs on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Toolchain {
    /// The image.
    pub image: ImageRef,
    /// Its platform.
    pub platform: Platform,
    /// How the digest is known.
    pub pinned: Pinned,
    /// Who commands run as, where that is not the image's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The image that a service has of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceImage {
    /// The service.
    pub name: String,
    /// The image as the project names it.
    pub asked: String,
    /// The image, pinned.
    pub toolchain: Toolchain,
}

impl Toolchain {
    /// Who commands run as, where that is not the image's own user, as the end of a line.
    pub fn user_in_words(&self) -> String {
        self.user.as_deref().map_or_else(String::new, |user| format!(", as {user}"))
    }
}

/// How an image digest is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pinned {
    /// It was given as a digest: what ran is what is recorded.
    Running,
    /// A tag was resolved when the task was published.
    AtPublish,
}

/// An OCI platform: `os/architecture[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `v8`, ...
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of this machine, in OCI (Go) terms.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Platform { os: "linux".into(), architecture: architecture.into(), variant: None }
    }
}

impl FromStr for Platform {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let word =
            |part: &&str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture, variant @ ..] if variant.len() <= 1 && parts.iter().all(word) => Ok(Platform {
                os: (*os).into(),
                architecture: (*architecture).into(),
                variant: variant.first().map(|v| (*v).into()),
            }),
            _ => Err(integrity(format!("{text:?} is not a platform (os/architecture)"))),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

serde_as_text!(Platform);

/// A cache that the task used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    /// Its name in `envctl.toml`.
    pub name: String,
    /// What selects it.
    pub key: Digest,
    /// What it held; `None` when it was not sealed.
    pub digest: Option<Digest>,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A fixture that the task is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its name in `envctl.toml`.
    pub name: String,
    /// Of its manifest.
    pub digest: Digest,
}

/// A file that was left out because it holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redacted {
    /// Its path from the top of the checkout; what is no UTF-8 is
    /// percent-encoded.
    pub path: String,
    /// The rules that it matched.
    pub rules: Vec<String>,
    /// What is there instead.
    pub instead: Instead,
}

/// What a workspace has in the place of a file that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    /// No file.
    Nothing,
    /// The file as it was committed.
    Committed,
    /// The file as it was staged.
    Staged,
}

/// Why a human is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Handoff {
    /// The state of the work.
    pub status: Status,
    /// In the publisher's words.
    pub message: Option<String>,
    /// The command that failed, as a shell would read it.
    pub command: Option<String>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// When whoever works on it is over at the latest: a task that is working after
    /// that was left by a run that was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// What the command changed outside the workspace, and what is not in this
    /// task for that reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
    /// Fields of other versions, kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Handoff {
    /// Whether it is said to be worked on, and whoever did must be gone.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.status == Status::Working && self.ends_at.is_some_and(|end| end < now)
    }
}

/// What a run changed outside the workspace. It does not travel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Files that were made or changed.
    pub files: u64,
    /// Files and folders of the image that were removed.
    pub removed: u64,
    /// Some of them as they are named inside; a `-` and a space before those
    /// that were removed.
    pub paths: Vec<String>,
}

/// An absolute, normal path inside the runtime at which the workspace may be
/// mounted: never a folder that the runtime needs for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workdir(String);

impl Workdir {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Workdir {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let parts: Vec<&str> = text.split('/').skip(1).collect();
        let normal = text.starts_with('/')
            && text.len() <= 1024
            && !text.chars().any(char::is_control)
            && parts.iter().all(|part| !matches!(*part, "" | "." | ".."));
        let taken = ["proc", "sys", "dev", "run"];
        if !normal || parts.first().is_none_or(|first| taken.contains(first)) {
            return Err(integrity(format!("{text:?} cannot be a workdir"))
                .hint("use an absolute path such as /workspace, outside /proc, /sys, /dev and /run"));
        }
        Ok(Workdir(text.to_owned()))
    }
}

impl fmt::Display for Workdir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Workdir);

impl Identity {
    /// Whether both say the same of a task. When each was published, and what it
    /// went on from, does not count.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let other = Self { created_at: self.created_at, parent: self.parent, ..other.clone() };
        *self == other
    }

    /// How many parts of each kind it names.
    fn parts(&self) -> [(&'static str, usize); 3] {
        [("caches", self.caches.len()), ("fixtures", self.fixtures.len()), ("services", self.services.len())]
    }

    /// Reads an identity from its exact bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Integrity`] for anything malformed, and for a
    /// schema that this envctl does not know.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() as u64 > MAX_IDENTITY {
            return Err(integrity(format!("the identity is larger than {MAX_IDENTITY} bytes")));
        }
        check_schema(bytes, SCHEMA, "identity")?;
        let identity: Self =
            serde_json::from_slice(bytes).map_err(|error| integrity(format!("the identity is malformed: {error}")))?;
        check_parts(identity.parts()).map(|()| identity)
    }

    /// The bytes that travel; their digest names the identity.
    ///
    /// # Errors
    /// For one with more parts than can be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Fault> {
        check_parts(self.parts())?;
        serde_json::to_vec(self).map_err(|error| integrity(format!("the identity cannot be written: {error}")))
    }
}

/// An identity for tests.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "for tests")]
pub(crate) fn sample() -> Identity {
    Identity {
        schema: SCHEMA,
        task_id: "task-1".parse().unwrap(),
        created_at: "2026-01-15T10:30:00Z".parse().unwrap(),
        agent_identity: Some("agent-app".into()),
        repo: Repo {
            url: "https://git.example/a/b.git".parse().unwrap(),
            commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            branch: Some("agent/fix".into()),
            extra: Map::new(),
        },
        toolchain: Toolchain {
            image: format!("store@{}", Digest::of(b"image")).parse().unwrap(),
            platform: "linux/amd64".parse().unwrap(),
            pinned: Pinned::AtPublish,
            user: None,
            extra: Map::new(),
        },
        workdir: "/workspace".parse().unwrap(),
        snapshot_id: Digest::of(b"snapshot"),
        lockfiles: vec![],
        caches: vec![],
        fixtures: vec![],
        parent: None,
        handoff: Handoff::default(),
        redacted: vec![],
        services: vec![],
        workspace: None,
        extra: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn identities_round_trip(
            message in proptest::option::of(any::<String>()),
            command in proptest::option::of(any::<String>()),
            exit_code in proptest::option::of(any::<i32>()),
            branch in proptest::option::of("[a-z/]{1,20}"),
            path in proptest::option::of(any::<String>()),
            parent in proptest::option::of(any::<[u8; 8]>()),
            extra in "[a-z]{9,12}",
        ) {
            let mut identity = sample();
            identity.handoff = Handoff { message, command, exit_code, ..Handoff::default() };
            identity.repo.branch = branch;
            let rules = vec!["rule".to_owned()];
            identity.redacted.extend(path.map(|path| Redacted { path, rules, instead: Instead::Committed }));
            identity.parent = parent.map(|bytes| Digest::of(&bytes));
            identity.extra.insert(extra.clone(), Value::from(7));
            identity.repo.extra.insert(extra, Value::from("kept"));
            let bytes = identity.to_bytes().unwrap();
            let back = Identity::parse(&bytes).unwrap();
            prop_assert_eq!(&back, &identity);
            prop_assert_eq!(back.to_bytes().unwrap(), bytes);
        }

        #[test]
        fn parsing_never_panics(bytes in any::<Vec<u8>>()) {
            let _ = Identity::parse(&bytes);
        }
    }

    #[test]
    fn a_newer_schema_is_named() {
        let text = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
        let newer = text.replacen("\"schema\":1", "\"schema\":2", 1);
        let error = Identity::parse(newer.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("schema 2"), "{error}");
        assert!(Identity::parse(b"{}").is_err());
        assert!(Identity::parse(&vec![b' '; MAX_IDENTITY as usize + 1]).is_err());
    }

    #[test]
    fn case_26_an_identity_cannot_choose_dangerous_places() {
        for bad in [
            "/",
            "/proc",
            "/proc/self",
            "/dev/shm",
            "/run/x",
            "/sys",
            "relative",
            "/a/../b",
            "/a//b",
            "/a/.",
            "",
            "/a\nb",
        ] {
            assert!(bad.parse::<Workdir>().is_err(), "{bad:?}");
        }
        for good in ["/workspace", "/home/dev/project", "/runner"] {
            assert!(good.parse::<Workdir>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn platforms() {
        for good in ["linux/amd64", "linux/arm64/v8"] {
            assert_eq!(good.parse::<Platform>().unwrap().to_string(), good);
        }
        for bad in ["", "linux", "linux/", "a/b/c/d", "a/b c"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }
}
