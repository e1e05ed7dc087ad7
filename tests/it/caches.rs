//! Sealed trees: made once, used by many runs, changed by none.

mod built;
mod hostile;
mod keys;
mod near;
mod places;
mod sealing;
mod services;
mod setups;
mod size;
mod together;
mod travel;

use std::path::PathBuf;

use serde_json::Value;

use crate::support::{ImageBuilder, Lab, Repo};

/// A lab whose project has this `envctl.toml`, published; what `enter` takes.
pub fn task(lab: &Lab, project: &str) -> String {
    lab.repo.write("envctl.toml", project);
    lab.repo.write(".gitignore", "deps\n");
    lab.publish(&ImageBuilder::busybox())
}

/// One cache, `deps`, that depends on `lock`.
pub fn deps(setup: &str) -> String {
    format!("[[cache]]\nname = \"deps\"\ninputs = [\"lock\"]\npath = \"deps\"\nsetup = '''{setup}'''\n")
}

/// How the caches of the last enter came to be there.
#[track_caller]
pub fn found(lab: &Lab) -> Vec<String> {
    let report = lab.report();
    let caches = report["caches"].as_array().cloned().unwrap_or_default();
    let shown = |cache: &Value| {
        let scope = cache["scope"].as_str().map(|scope| format!(" {scope}")).unwrap_or_default();
        format!("{} {}{scope}", cache["name"].as_str().unwrap(), cache["found"].as_str().unwrap())
    };
    caches.iter().map(shown).collect()
}

/// The entries of the developer's machine.
#[track_caller]
pub fn ls(lab: &Lab) -> Vec<Value> {
    lab.dev.envctl(["cache", "ls", "--json"]).ok().json()["caches"].as_array().unwrap().clone()
}

/// The folders of all entries.
fn folders(lab: &Lab) -> Vec<PathBuf> {
    let children = |path: PathBuf| -> Vec<PathBuf> {
        std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    children(lab.dev.cache().join("trees")).into_iter().flat_map(children).collect()
}

/// The tree of the only entry.
#[track_caller]
fn tree(lab: &Lab) -> PathBuf {
    let all = folders(lab);
    assert_eq!(all.len(), 1, "{all:?}");
    let mut inside = std::fs::read_dir(all[0].join("fs")).unwrap();
    inside.next().unwrap().unwrap().path()
}

#[track_caller]
fn workspace(lab: &Lab) -> Repo {
    let path = lab.report()["workspace"].as_str().unwrap().to_owned();
    lab.repo.seen_by(&lab.dev, path)
}
