//! The way of a checkout's state: published by the agent, restored by the
//! developer, without a runtime.

use std::path::PathBuf;

use super::call::{Call, Run};
use super::facts::Facts;
use super::home::Home;
use super::image::ImageBuilder;
use super::lab::{Lab, publish};
use super::layer::Layer;
use super::outside::Outside;
use super::repo::Repo;
use super::tar::Entry;

pub struct Trip {
    pub lab: Lab,
    /// An image that nobody runs.
    pub image: String,
}

impl Trip {
    pub fn new() -> Self {
        Self::of(Lab::new())
    }

    pub fn unprivileged() -> Self {
        Self::of(Lab::unprivileged())
    }

    pub fn of(lab: Lab) -> Self {
        let image = ImageBuilder::new().layer(Layer::new([Entry::file("base", "")]));
        let image = lab.images.add("base", &image).reference;
        Trip { lab, image }
    }

    /// The same agent, store and remote, another developer.
    pub fn with_developer(&self, dev: Home) -> Self {
        Trip { lab: self.lab.with_developer(dev), image: self.image.clone() }
    }

    /// A publish of this checkout as this task, not run yet.
    pub fn publishing(&self, repo: &Repo, task: &str) -> Call {
        let args = ["publish", task, "--store", &self.lab.store.name(), "--image", &self.image];
        self.lab.agent.envctl(args).cwd(&repo.path)
    }

    /// Publishes a new task; what `enter` takes. The checkout stays as it is,
    /// to the change times of its files.
    #[track_caller]
    pub fn publish(&self, repo: &Repo) -> String {
        let mut outside = Outside::of(&self.lab.agent);
        outside.watch(&repo.path);
        let task = publish(&self.lab.agent, repo, &self.lab.store, &self.image, &self.lab.next_task());
        outside.assert_untouched();
        task
    }

    /// The developer makes the workspace; not run yet.
    pub fn entering(&self, task: &str) -> Call {
        self.lab.dev.envctl(["enter", task, "--no-runtime"])
    }

    /// The developer's workspace.
    #[track_caller]
    pub fn enter(&self, task: &str) -> Repo {
        let run = self.entering(task).ok();
        let path = run.stdout.strip_suffix('\n').unwrap();
        self.lab.repo.seen_by(&self.lab.dev, path)
    }

    /// Publishes and restores; both sides say the same.
    #[track_caller]
    pub fn round(&self, repo: &Repo) -> Repo {
        let task = self.publish(repo);
        let workspace = self.enter(&task);
        Facts::of(repo).assert_same(&Facts::of(&workspace));
        workspace
    }

    /// The checkout is not published, and the message names why.
    #[track_caller]
    pub fn refuses(&self, repo: &Repo, code: i32, says: &[&str]) -> Run {
        let task = self.lab.next_task();
        let run = self.publishing(repo, &task).code(code).says(&["error:", "hint:"]).says(says);
        assert_eq!(run.stdout, "");
        let json = self.publishing(repo, &task).arg("--json").code(code).json();
        assert_eq!(json["error"]["exit_code"], code);
        assert!(self.lab.store.tags().iter().all(|tag| *tag != task), "{:?}", self.lab.store.tags());
        run
    }

    /// A task cannot be entered, and no trace of the attempt stays.
    #[track_caller]
    pub fn refuses_to_enter(&self, task: &str, code: i32, says: &[&str]) -> Run {
        let run = self.entering(task).code(code).says(&["error:"]).says(says);
        assert_eq!(run.stdout, "");
        self.assert_nothing_made();
        run
    }

    /// No workspace, no draft of one, no pin, nothing temporary.
    #[track_caller]
    pub fn assert_nothing_made(&self) {
        assert!(self.lab.leftovers().is_empty(), "{:?}", self.lab.leftovers());
        assert_eq!(self.made(), Vec::<PathBuf>::new());
    }

    /// What lies at the places of workspaces, pins and recovered workspaces.
    pub fn made(&self) -> Vec<PathBuf> {
        let data = self.lab.dev.data();
        let below = |folder: PathBuf| super::lab::children(&folder);
        let workspaces = below(data.join("workspaces")).into_iter().flat_map(below).flat_map(below);
        workspaces.chain(below(data.join("pins"))).chain(below(data.join("recovery"))).collect()
    }
}
