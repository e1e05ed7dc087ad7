//! `run`: commands that nobody attends to, what becomes of their runtimes, and
//! what is handed over.

mod batch;
mod checkout;
mod ends;
mod fresh;
mod handed_over;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Call, ImageBuilder, Lab};

/// `envctl run` of a task by the developer, with a report.
pub fn run(lab: &Lab, options: &[&str], task: &str, script: &str) -> Call {
    let _ = fs::remove_file(report_path(lab));
    let report = report_path(lab).to_str().unwrap().to_owned();
    let words = [&["run", "--report", &report], options, &[task, "--", "sh", "-c", script]].concat();
    lab.dev.envctl(words)
}

fn report_path(lab: &Lab) -> PathBuf {
    lab.dev.path("run.json")
}

fn report(lab: &Lab) -> Value {
    serde_json::from_slice(&fs::read(report_path(lab)).unwrap()).unwrap()
}

pub fn task(lab: &Lab) -> String {
    lab.publish(&ImageBuilder::busybox())
}

/// One whose commands run as root inside.
fn root_task(lab: &Lab) -> String {
    lab.publish(&ImageBuilder::busybox().user("root"))
}

fn show(lab: &Lab, task: &str) -> Value {
    lab.agent.envctl(["show", task, "--json"]).ok().json()
}
