//! Artifacts: attached, listed, fetched, checked, and carried.

mod collected;
mod hostile;
mod outside;
mod roads;

use serde_json::Value;

use crate::support::{Call, Home, Repo, Trip};

/// An agent's published task in a store of any kind.
pub struct Shop {
    pub trip: Trip,
    /// As `--store` takes it.
    pub store: String,
}

impl Shop {
    /// In a folder.
    pub fn new() -> Self {
        let trip = Trip::new();
        let store = trip.lab.store.name();
        Shop { trip, store }
    }

    pub fn at(store: String) -> Self {
        Shop { trip: Trip::new(), store }
    }

    pub fn reference(&self, task: &str) -> String {
        format!("{}:{task}", self.store)
    }

    pub fn publishing(&self, task: &str) -> Call {
        let args = ["publish", task, "--store", &self.store, "--image", &self.trip.image];
        self.trip.lab.agent.envctl(args).cwd(&self.trip.lab.repo.path)
    }

    /// Publishes a task; what `enter` takes.
    pub fn publish(&self, task: &str) -> String {
        self.publishing(task).ok();
        self.reference(task)
    }

    /// Makes a file of the agent's and attaches it.
    pub fn add(&self, task: &str, file: &str, content: impl AsRef<[u8]>, args: &[&str]) -> Call {
        self.trip.lab.agent.write(file, content);
        let path = self.trip.lab.agent.path(file);
        self.trip.lab.agent.envctl(["artifacts", "add", &self.reference(task)]).arg(path).args(args)
    }

    #[track_caller]
    pub fn ls(&self, task: &str) -> Vec<Value> {
        let json = self.dev(["artifacts", "ls", &self.reference(task), "--json"]).ok().json();
        json["artifacts"].as_array().unwrap().clone()
    }

    #[track_caller]
    pub fn show(&self, task: &str) -> Value {
        self.dev(["show", &self.reference(task), "--json"]).ok().json()
    }

    /// The developer.
    pub fn dev<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Call {
        self.trip.lab.dev.envctl(args)
    }

    /// The same with another developer.
    pub fn with_developer(&self, dev: Home) -> Self {
        Shop { trip: self.trip.with_developer(dev), store: self.store.clone() }
    }

    /// The developer's workspace of a task.
    #[track_caller]
    pub fn enter(&self, task: &str) -> Repo {
        self.trip.enter(&self.reference(task))
    }
}
