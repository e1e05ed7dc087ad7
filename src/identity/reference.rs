//! How people name a store and a task: `TASK`, `STORE:TASK`, `STORE@sha256:...`,
//! `sha256:...` of what is known here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::names::{TaskId, check_repository};
use crate::digest::Digest;
use crate::error::{Fault, usage};

/// Where identities travel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreRef {
    /// `oci:PATH`: an OCI image layout in a folder.
    Layout(PathBuf),
    /// `host[:port]/name`: a repository on an OCI registry.
    Registry(String),
}

impl StoreRef {
    /// A short name for paths: twelve hexadecimal digits of a hash.
    pub fn key(&self) -> String {
        Digest::of(self.to_string().as_bytes()).short()
    }
}

impl FromStr for StoreRef {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("oci:") {
            if path.is_empty() || path.contains('\0') {
                return Err(usage(format!("{text:?} names no folder")).hint("write oci:PATH"));
            }
            return Ok(StoreRef::Layout(PathBuf::from(path)));
        }
        check_repository(text)?;
        Ok(StoreRef::Registry(text.to_owned()))
    }
}

impl fmt::Display for StoreRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreRef::Layout(path) => write!(f, "oci:{}", path.display()),
            StoreRef::Registry(name) => f.write_str(name),
        }
    }
}

/// Which identity of a store is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one that a task's tag points at.
    Task(TaskId),
    /// Exactly this one.
    Identity(Digest),
}

impl Target {
    /// Whether it is exactly this identity.
    pub fn is(&self, identity: &Digest) -> bool {
        matches!(self, Target::Identity(digest) if digest == identity)
    }

    /// A name for paths.
    pub fn slug(&self) -> String {
        match self {
            Target::Task(task) => task.to_string(),
            Target::Identity(digest) => format!("sha256-{}", digest.hex()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Task(task) => task.fmt(f),
            Target::Identity(digest) => digest.fmt(f),
        }
    }
}

/// A task as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRef {
    /// The store, where one was named.
    pub store: Option<StoreRef>,
    /// What is meant in it.
    pub target: Target,
}

impl FromStr for TaskRef {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.starts_with(['/', '.', '~']) {
            return Err(usage(format!("{text:?} names no task, and no store"))
                .hint(format!("a task in a folder is written oci:PATH:TASK, here: oci:{text}")));
        }
        if let Some((store, digest)) = text.split_once('@') {
            return Ok(TaskRef { store: Some(store.parse()?), target: Target::Identity(digest.parse()?) });
        }
        if text.starts_with("sha256:") {
            return Ok(TaskRef { store: None, target: Target::Identity(text.parse()?) });
        }
        match text.rsplit_once(':') {
            None => Ok(TaskRef { store: None, target: Target::Task(text.parse()?) }),
            Some(("oci", _)) => {
                Err(usage(format!("{text:?} names a store but no task")).hint(format!("write {text}:TASK")))
            }
            Some((store, task)) => Ok(TaskRef { store: Some(store.parse()?), target: Target::Task(task.parse()?) }),
        }
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.store, &self.target) {
            (None, target) => target.fmt(f),
            (Some(store), Target::Task(task)) => write!(f, "{store}:{task}"),
            (Some(store), Target::Identity(digest)) => write!(f, "{store}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_round_trip() {
        let digest = Digest::of(b"x");
        for good in [
            "task-1".to_owned(),
            "oci:/srv/tasks:task-1".into(),
            "oci:rel/path:task-1".into(),
            format!("oci:/srv/tasks@{digest}"),
            "registry.example/acme/shop-tasks:task-1".into(),
            "localhost:5000/tasks:task-1".into(),
            format!("127.0.0.1:5000/a/b@{digest}"),
        ] {
            assert_eq!(good.parse::<TaskRef>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn references_that_are_refused() {
        for bad in [
            "",
            ":",
            "oci:",
            "oci:/srv/tasks",
            "store:",
            "docker.io:task",
            "a b",
            "r.example/UPPER:task",
            "r.example/../x:task",
            "r.example/x:id-1",
            "r.example//x:t",
            "-r.example/x:t",
            "r.example:0/x:t",
            "r.example/x@sha256:12",
            "http://r.example/x:t",
            "r.example/x:t\n",
        ] {
            assert!(bad.parse::<TaskRef>().is_err(), "{bad:?}");
        }
    }
}
