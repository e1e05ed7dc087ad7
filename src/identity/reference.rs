//! How people name a store and a task: `TASK`, `STORE:TASK`, `STORE@sha256:...`,
//! `sha256:...` of what is known here.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
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
    /// The same store, wherever the command runs and however its path is spelled:
    /// relative layout paths are taken from `cwd`, links and `..` are followed as far
    /// as there is something.
    #[must_use]
    pub fn absolute(self, cwd: &Path) -> Self {
        match self {
            StoreRef::Layout(path) => StoreRef::Layout(real(&cwd.join(path))),
            other => other,
        }
    }

    /// A short name for paths: twelve hexadecimal digits of a hash.
    pub fn key(&self) -> String {
        Digest::of(self.to_string().as_bytes()).short()
    }
}

/// `realpath(3)` of what is there, with the rest of the path behind it. A store that is a
/// link of another account keeps its name, so that who opens it sees that and refuses.
fn real(path: &Path) -> PathBuf {
    let own = [0, rustix::process::geteuid().as_raw()];
    let is_theirs = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink() && !own.contains(&meta.uid()));
    if let (true, Some(above), Some(name)) = (is_theirs, path.parent(), path.file_name()) {
        return real(above).join(name);
    }
    let (mut there, mut rest) = (path, Vec::new());
    loop {
        if let Ok(real) = there.canonicalize() {
            return rest.iter().rev().fold(real, |real, part| real.join(part));
        }
        let (Some(above), Some(Component::Normal(name))) = (there.parent(), there.components().next_back()) else {
            return path.components().collect();
        };
        rest.push(name);
        there = above;
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

    #[test]
    fn a_relative_layout_has_one_key() {
        let relative: StoreRef = "oci:./tasks".parse().unwrap();
        let absolute: StoreRef = "oci:/srv/tasks".parse().unwrap();
        assert_eq!(relative.absolute(Path::new("/srv")).key(), absolute.key());
    }

    #[test]
    fn a_layout_behind_a_link_has_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/below")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let key = |path: &str| StoreRef::Layout(path.into()).absolute(&root).key();
        for spelling in ["link/tasks", "real/below/../tasks", "./link/below/../tasks"] {
            assert_eq!(key(spelling), key("real/tasks"), "{spelling}");
        }
        assert_ne!(key("real/tasks"), key("real/below/tasks"));
        // Nothing is there yet.
        assert_eq!(key("link/new/tasks"), key("real/new/tasks"));
    }
}
