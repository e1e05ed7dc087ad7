//! Credentials do not travel: found by file, by rule and by value, wherever
//! they would be carried.

mod allowed;
mod environments;
mod places;
mod planted;
mod redacted;
mod values;

use serde_json::Value;

use crate::support::{Call, Repo, Run, Trip};

/// A refused publish: what it says for people, and its details for programs.
/// Neither shows any of the secrets.
#[track_caller]
fn refused(trip: &Trip, repo: &Repo, options: &[&str], secrets: &[&str]) -> (Run, Vec<Value>) {
    // Claims of earlier enters come when they come.
    let tags = || trip.lab.store.tags().into_iter().filter(|tag| !tag.starts_with("claim-")).collect::<Vec<_>>();
    let before = tags();
    let publishing = || trip.publishing(repo, "t").args(options);
    let text = publishing().arg("-v").code(6).says(&["error:", "hint:", "would travel", "fingerprint"]);
    assert_eq!(text.stdout, "");
    let run = publishing().arg("--json").code(6);
    let json = run.json();
    assert_eq!(json["error"]["kind"], "policy");
    for secret in secrets {
        // Not even a part that would help to guess the rest.
        let part = &secret[secret.len() / 2..];
        for stream in [&text.stderr, &run.stdout, &run.stderr] {
            assert!(!stream.contains(part), "{stream}");
        }
    }
    assert_eq!(tags(), before);
    (text, json["error"]["details"].as_array().unwrap().clone())
}

/// `file:line rule` of each detail; `place` instead of the file where there is
/// none.
fn shown(details: &[Value]) -> Vec<String> {
    let show = |detail: &Value| {
        let name = detail["file"].as_str().or(detail["place"].as_str()).unwrap();
        let line = detail["line"].as_u64().map_or_else(String::new, |line| format!(":{line}"));
        format!("{name}{line} {}", detail["rule"].as_str().unwrap())
    };
    details.iter().map(show).collect()
}

fn fingerprint(detail: &Value) -> String {
    detail["fingerprint"].as_str().unwrap().to_owned()
}

/// A publish that works; its object.
#[track_caller]
fn published(call: Call) -> Value {
    call.arg("--json").ok().json()
}
