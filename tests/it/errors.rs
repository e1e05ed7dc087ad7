//! Whatever is missing, damaged or in the way: the message names it and what
//! helps, the exit code says its kind, nothing half-made stays, and the same
//! command works once the cause is gone.

mod configuration;
mod disk;
mod machine;
mod remotes;
mod stores;

use serde_json::Value;

use crate::support::{Call, Trip};

/// Runs `call` twice, for people and in JSON; the JSON error.
#[track_caller]
fn fails(call: impl Fn() -> Call, code: i32, kind: &str, says: &[&str]) -> Value {
    let run = call().code(code).says(&["error:", "hint:"]).says(says);
    assert_eq!(run.stdout, "");
    let json = call().arg("--json").code(code);
    assert_eq!(json.json().as_object().unwrap().len(), 1, "{}", json.stdout);
    let error = json.json()["error"].clone();
    assert_eq!((error["kind"].as_str(), error["exit_code"].as_i64()), (Some(kind), Some(code.into())), "{error}");
    assert!(error["causes"].is_array() && error["hint"].is_string(), "{error}");
    let all = error.to_string().to_lowercase();
    assert!(says.iter().all(|text| all.contains(&text.to_lowercase())), "{error}");
    error
}

/// A task cannot be entered, without and with a runtime, and nothing is made.
#[track_caller]
fn fails_to_enter(trip: &Trip, task: &str, code: i32, kind: &str, says: &[&str]) {
    fails(|| trip.entering(task), code, kind, says);
    trip.assert_nothing_made();
}
