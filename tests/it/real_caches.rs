//! Dependencies of somebody else's projects, out of the package registries that
//! this machine is set up for, and a real database. What they start from is
//! made by `tests/real-image`.

mod database;
mod npm;
mod python;
mod registries;

use std::fs;

use registries::Registries;
use serde_json::Value;

use crate::support::{Home, Lab, RealRegistry, copy, prepared};

/// A project in an agent's hands, and a real registry as the store.
struct Project {
    lab: Lab,
    registry: RealRegistry,
    image: String,
}

impl Project {
    /// The files of an archive, and more beside them, committed and pushed.
    fn of(lab: Lab, archive: Option<&str>, more: &[(&str, &str)]) -> Self {
        let (agent, repo) = (&lab.agent, &lab.repo);
        if let Some(archive) = archive {
            let unpacked = agent.path("archive");
            agent.write(&unpacked, fs::read(prepared().join(archive)).unwrap());
            let unpacked = unpacked.to_str().unwrap();
            agent.call("tar", ["-xzf", unpacked, "--strip-components=1"]).cwd(&repo.path).ok();
        }
        more.iter().for_each(|(path, text)| repo.write(path, text));
        repo.commit("Import the release");
        repo.push();
        copy(&prepared().join("larger"), &lab.images.path);
        let image = lab.images.reference("debian");
        Project { lab, registry: RealRegistry::start(), image }
    }

    fn publish(&self) -> String {
        let (store, task) = (self.registry.repository("tasks"), self.lab.next_task());
        let args = ["publish", &task, "--store", &store, "--image", &self.image];
        self.lab.agent.envctl(args).cwd(&self.lab.repo.path).ok();
        format!("{store}:{task}")
    }

    /// A developer with nothing.
    fn developer(&self) -> Lab {
        let home = if self.lab.dev.is_unprivileged() { Home::unprivileged() } else { Home::new() };
        self.lab.with_developer(home)
    }
}

/// What has to be approved, once everything but caches is here.
#[track_caller]
fn asks(lab: &Lab, task: &str) -> String {
    lab.dev.envctl(["prefetch", task]).ok();
    let refused = lab.enter(task, &["true"]).code(125).stderr;
    let digest = refused.split("--digest ").nth(1).and_then(|rest| rest.split_whitespace().next());
    digest.unwrap_or_else(|| panic!("no digest in\n{refused}")).to_owned()
}

/// How the only cache of the last enter came to be there.
#[track_caller]
fn found(lab: &Lab) -> String {
    let caches = lab.report()["caches"].clone();
    assert_eq!(caches.as_array().map(Vec::len), Some(1), "{caches}");
    let text = |key: &str| caches[0][key].as_str().unwrap_or("-").to_owned();
    format!("{} {}", text("found"), text("scope"))
}

/// How many entries of it the last run changed, at all places together.
#[track_caller]
fn changed(lab: &Lab) -> u64 {
    let receipt = lab.report()["receipt"].clone();
    assert_eq!((&receipt["baseline"], &receipt["scratch"]["left"]), (&true.into(), &0.into()), "{receipt}");
    assert_eq!(receipt["caches"].as_array().map(Vec::len), Some(1), "{receipt}");
    receipt["caches"][0]["entries"].as_u64().unwrap_or_else(|| panic!("not counted: {receipt}"))
}

/// What is known of the developer's only entry.
#[track_caller]
fn entry(lab: &Lab) -> Value {
    let listed = lab.dev.envctl(["cache", "ls", "--json"]).ok().json();
    assert_eq!(listed["caches"].as_array().map(Vec::len), Some(1), "{listed}");
    listed["caches"][0].clone()
}

/// One developer makes the entry, everybody uses it: `suite` passes without a
/// network on what was sealed, and on what came out of a registry; `poison`
/// breaks it for its own run alone. A changed `lockfile` finds nothing.
/// Returns how many entries it has.
fn made_once_and_used_everywhere(project: &Project, suite: &[&str], poison: &str, lockfile: &str) -> u64 {
    let task = project.publish();
    let first = project.developer();
    let digest = asks(&first, &task);
    first.dev.envctl(["approve", "--digest", &digest]).ok();
    passes(&first, &task, suite);
    assert_eq!(found(&first), "sealed task");
    // What only the next runs can show.
    let broken = format!("{poison}; if \"$@\" > /dev/null 2>&1; then echo still works; fi");
    let command = [&["sh", "-euc", &broken, "sh"], suite].concat();
    assert_eq!(first.enter(&task, &command).ok().stdout, "");
    assert_eq!(found(&first), "hit task");
    assert!(changed(&first) > 0);
    passes(&first, &task, suite);
    assert_eq!(found(&first), "hit task");
    first.dev.envctl(["cache", "verify"]).ok();

    first.dev.envctl(["cache", "promote", &task]).ok();
    let second = project.developer();
    second.dev.envctl(["approve", "--digest", &digest]).ok();
    passes(&second, &task, suite);
    assert_eq!(found(&second), "fetched project");
    assert_eq!(second.report()["caches"][0]["digest"], first.report()["caches"][0]["digest"]);
    passes(&second, &task, suite);
    assert_eq!(found(&second), "hit project");
    second.dev.envctl(["cache", "verify"]).ok();

    // Without a network nobody can make the one that it asks for now.
    let workspace = second.report()["workspace"].as_str().unwrap().to_owned();
    let workspace = second.repo.seen_by(&second.dev, workspace);
    let text = fs::read_to_string(workspace.path.join(lockfile)).unwrap();
    workspace.write(lockfile, format!("{text}\n"));
    let run = second.dev.envctl(["enter", "--offline", "--report", second.dev.path("report.json").to_str().unwrap()]);
    run.arg(&task).args(["--", "true"]).ok().says(&["is not here, and its setup needs a network"]);
    assert_eq!(found(&second), "missing -");
    workspace.write(lockfile, text);
    second.enter(&task, &["true"]).ok();
    assert_eq!(found(&second), "hit project");
    [&first, &second].iter().for_each(|lab| lab.assert_baseline());
    entry(&second)["entries"].as_u64().unwrap()
}

/// There is no way out of the runtime, and the tests do not need one.
#[track_caller]
fn passes(lab: &Lab, task: &str, suite: &[&str]) {
    let alone = "grep -q : /proc/net/dev; if grep -v -e '|' -e '^ *lo:' /proc/net/dev; then exit 9; fi; exec \"$@\"";
    let command = [&["sh", "-euc", alone, "sh"], suite].concat();
    lab.enter(task, &command).ok();
}

/// The project's file, with one cache filled out of the package registries.
fn project_file(registries: &Registries, cache: &str) -> String {
    format!("[[cache]]\n{cache}network = \"{}\"\nenv = {}\n", registries.network, registries.env())
}
