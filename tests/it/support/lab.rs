//! An agent, a developer, and the store between them.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::call::{Call, until};
use super::home::Home;
use super::image::ImageBuilder;
use super::layer::Layer;
use super::layout::{Layout, Written};
use super::repo::Repo;

/// Publishes the checkout; what `enter` takes (`oci:STORE:TASK`).
#[track_caller]
pub fn publish(home: &Home, repo: &Repo, store: &Layout, image: &str, task: &str) -> String {
    let args = ["publish", task, "--store", &store.name(), "--image", image];
    let run = home.envctl(args).cwd(&repo.path).ok();
    let reference = store.reference(task);
    let line = format!("envctl enter {reference}");
    assert!(run.stdout.lines().any(|printed| printed == line), "no line {line:?} in\n{}", run.stdout);
    reference
}

/// Everything that a handoff needs. The agent and the developer share nothing
/// but the store and the git remote.
pub struct Lab {
    pub agent: Home,
    pub dev: Home,
    pub repo: Repo,
    /// The images that the agent has.
    pub images: Layout,
    pub store: Layout,
    tasks: Cell<usize>,
}

/// The remote is a folder of this machine: a task in a registry may name it only
/// with the developer's word.
fn trust(dev: &Home, repo: &Repo) {
    let text = format!("[[host]]\nname = \"{}\"\napproved_at = \"2026-01-01T00:00:00Z\"\n", repo.url());
    dev.write("config/envctl/approvals.toml", text);
}

impl Lab {
    pub fn new() -> Self {
        Self::between(Home::new(), Home::new())
    }

    /// Both are the unprivileged account.
    pub fn unprivileged() -> Self {
        Self::between(Home::unprivileged(), Home::unprivileged())
    }

    fn between(agent: Home, dev: Home) -> Self {
        let repo = Repo::new(&agent);
        let (images, store) = (Layout::of(&agent, "images"), Layout::of(&agent, "store"));
        trust(&dev, &repo);
        Lab { agent, dev, repo, images, store, tasks: Cell::new(0) }
    }

    /// The same agent and store, another developer.
    pub fn with_developer(&self, dev: Home) -> Self {
        let (agent, repo) = (self.agent.clone(), self.repo.clone());
        trust(&dev, &repo);
        Lab { agent, dev, repo, images: self.images.clone(), store: self.store.clone(), tasks: self.tasks.clone() }
    }

    /// Publishes a new task with this image; what `enter` takes.
    #[track_caller]
    pub fn publish(&self, image: &ImageBuilder) -> String {
        let task = self.next_task();
        let image = self.images.add(&task, image).reference;
        publish(&self.agent, &self.repo, &self.store, &image, &task)
    }

    /// An image that lies in the checkout, where git does not look: a project may
    /// name it.
    pub fn image_within(&self, tag: &str, image: &ImageBuilder) -> Written {
        let layout = Layout::of(&self.agent, "checkout/.images");
        self.repo.write(".git/info/exclude", ".images/\n.tasks/\n");
        Written { reference: format!("oci:.images:{tag}"), ..layout.add(tag, image) }
    }

    /// A publish that is expected to fail.
    pub fn try_publish(&self, image_reference: &str) -> Call {
        let store = self.store.name();
        let args = ["publish", &self.next_task(), "--store", &store, "--image", image_reference];
        self.agent.envctl(args).cwd(&self.repo.path)
    }

    /// Either the publisher notices, or the developer does; both name the cause.
    #[track_caller]
    pub fn assert_refused_on_the_way(&self, image_reference: &str, cause: &str) {
        let publish = self.try_publish(image_reference).run();
        if publish.code == 0 {
            let task = publish.stdout.lines().find_map(|line| line.strip_prefix("envctl enter ")).unwrap();
            self.enter(task, &["true"]).code(125).says(&["error:", cause]);
            assert_eq!(self.report()["error"]["kind"], "integrity");
        } else {
            publish.code(5).says(&["error:", cause]);
        }
        assert!(self.leftovers().is_empty(), "{:?}", self.leftovers());
    }

    pub fn next_task(&self) -> String {
        self.tasks.set(self.tasks.get() + 1);
        format!("task-{}", self.tasks.get())
    }

    /// The developer runs a command in a task.
    pub fn enter(&self, task: &str, command: &[&str]) -> Call {
        let report = self.report_path();
        let _ = fs::remove_file(&report);
        self.dev.envctl(["enter", "--report", report.to_str().unwrap(), task, "--"]).args(command)
    }

    /// The developer runs a shell script in a task; what it printed.
    #[track_caller]
    pub fn sh(&self, task: &str, script: &str) -> String {
        self.enter(task, &["sh", "-euc", script]).ok().stdout
    }

    /// What the last `enter` reported.
    #[track_caller]
    pub fn report(&self) -> Value {
        let path = self.report_path();
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("no report at {}: {error}", path.display()));
        serde_json::from_slice(&bytes).unwrap()
    }

    fn report_path(&self) -> PathBuf {
        self.dev.path("report.json")
    }

    /// The places where the developer's cache holds a layer.
    pub fn layer_folders(&self, layer: &Layer) -> Vec<PathBuf> {
        let name = layer.diff_id().replace("sha256:", "");
        let places = children(&self.dev.cache().join("layers")).into_iter().map(|mapping| mapping.join(&name));
        places.filter(|path| path.symlink_metadata().is_ok()).collect()
    }

    /// The unpacked files of a layer that must be there, once, and at rest: it
    /// is flushed in the background.
    #[track_caller]
    pub fn files_of(&self, layer: &Layer) -> PathBuf {
        let folders = self.layer_folders(layer);
        assert_eq!(folders.len(), 1, "{folders:?}");
        let record = folders[0].join("layer.json");
        assert!(record.is_file(), "{folders:?}");
        let read = || serde_json::from_slice::<Value>(&fs::read(&record).unwrap()).unwrap();
        until("the layer is flushed, and known", || read()["boot_id"].is_null() && !read()["tree"].is_null());
        folders[0].join("fs")
    }

    /// Waits until nobody writes the developer's pins any more: what was entered
    /// is flushed in the background, which they say.
    #[track_caller]
    pub fn pins_at_rest(&self) {
        until("workspaces are flushed", || {
            children(&self.dev.data().join("pins")).iter().all(|pin| {
                let read = || serde_json::from_slice::<Value>(&fs::read(pin).ok()?).ok();
                read().is_none_or(|pin| pin["unflushed_boot"].is_null())
            })
        });
    }

    /// Temporary folders that the developer's cache still holds.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        children(&self.dev.cache().join("tmp"))
    }
}

/// What is directly in a folder, which need not exist.
pub(super) fn children(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}
