//! A runtime that is held open by an `enter` in the background, and what can
//! be seen of it from outside.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::call::{Call, until};
use super::lab::Lab;

/// A word in the command line of processes that nobody else starts.
#[derive(Clone)]
pub struct Marker(pub String);

impl Marker {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Marker(format!("marker-{}-{}-end", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Processes of this machine, in whatever namespace, that carry it; those
    /// of envctl itself do not count.
    pub fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            if words.contains(&self.0) && !words.contains("envctl enter") && !words.contains("envctl run") {
                found.push(format!("{}: {words}", entry.path().display()));
            }
        }
        found
    }

    #[track_caller]
    pub fn assert_gone(&self) {
        until("no process is left", || self.processes().is_empty());
    }
}

/// An `enter` whose command waits.
pub struct Alive {
    pub owner: Child,
    pub marker: Marker,
}

impl Alive {
    /// Starts it; returns when its command runs. `script` comes first.
    #[track_caller]
    pub fn start(lab: &Lab, task: &str, script: &str) -> Self {
        Self::start_with(lab, &[], task, script)
    }

    /// The same with more options of `enter`.
    #[track_caller]
    pub fn start_with(lab: &Lab, options: &[&str], task: &str, script: &str) -> Self {
        Self::started(script, |script, marker| {
            lab.dev.envctl([&["enter"], options, &[task, "--", "sh", "-c", script, marker]].concat())
        })
    }

    /// The same, and nobody looks at the workspace before the runtime has ended.
    #[track_caller]
    pub fn start_unwatched(lab: &Lab, task: &str, script: &str) -> Self {
        Self::started(script, |script, marker| {
            lab.dev.envctl(["enter", task, "--", "sh", "-c", script, marker]).env("ENVCTL_TEST_CRASH", "unwatched")
        })
    }

    #[track_caller]
    fn started(script: &str, call: impl FnOnce(&str, &str) -> Call) -> Self {
        let marker = Marker::new();
        let mut owner = call(&format!("{script}\necho ready; sleep 1000; :"), &marker.0).spawn();
        let mut line = String::new();
        BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let output = owner.wait_with_output().unwrap();
            panic!("not ready: {line:?}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Alive { owner, marker }
    }

    pub fn kill_owner(mut self) -> Marker {
        self.owner.kill().unwrap();
        self.owner.wait().unwrap();
        self.marker.clone()
    }

    /// Waits for the owner; its exit code and what it said.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.owner.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.owner.wait().unwrap().code(), said)
    }

    /// The only lease of this developer.
    #[track_caller]
    pub fn lease(lab: &Lab) -> Value {
        let leases = super::lab::children(&lab.dev.state().join("leases"));
        assert_eq!(leases.len(), 1, "{leases:?}");
        serde_json::from_slice(&fs::read(&leases[0]).unwrap()).unwrap()
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // A failed test leaves nothing behind either.
        let _ = self.owner.kill();
        let _ = self.owner.wait();
    }
}

impl Lab {
    /// No lease, runtime folder, mount or process of this developer is left.
    #[track_caller]
    pub fn assert_baseline(&self) {
        let state = self.dev.state();
        for folder in ["leases", "runtimes"] {
            let left = super::lab::children(&state.join(folder));
            assert!(left.is_empty(), "{left:?}");
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let home = self.dev.path("");
        assert!(!mounts.contains(home.to_str().unwrap().trim_end_matches('/')), "{mounts}");
    }

    /// All receipts of this developer.
    pub fn receipts(&self) -> Vec<Value> {
        let files = super::lab::children(&self.dev.state().join("receipts"));
        files.iter().map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect()
    }
}
