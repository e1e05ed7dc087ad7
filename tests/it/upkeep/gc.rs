//! What dead commands left is cleared, however much of it there is.

use std::fs;

use serde_json::json;

use crate::support::{Alive, ImageBuilder, Lab, until};

fn ago(seconds: u64) -> std::time::SystemTime {
    #[allow(clippy::disallowed_methods, reason = "the times of files are those of the system")]
    let now = std::time::SystemTime::now();
    now - std::time::Duration::from_secs(seconds)
}

#[test]
fn a_thousand_stale_leases() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let lease = Alive::lease(&lab);
    let state = lab.dev.state();
    for number in 0..1000 {
        let id = format!("{number:012x}");
        let mut stale = lease.clone();
        stale["id"] = id.as_str().into();
        // Half of them from before a reboot, half of a process that is gone.
        if number % 2 == 0 {
            stale["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
        }
        stale["init"] = json!({ "pid": 1, "start": 5 });
        fs::create_dir_all(state.join(format!("runtimes/{id}/.envctl-scratch"))).unwrap();
        fs::write(state.join(format!("leases/{id}.json")), stale.to_string()).unwrap();
    }
    let done = lab.dev.envctl(["gc", "--json"]).ok().json();
    assert_eq!(done["receipts"].as_array().unwrap().len(), 1000);
    assert!(done["receipts"].as_array().unwrap().iter().all(|receipt| receipt["baseline"] == true));
    assert!(!alive.marker.processes().is_empty(), "the living one goes on");
    assert_eq!(fs::read_dir(state.join("runtimes")).unwrap().count(), 1);
    alive.kill_owner().assert_gone();
    lab.dev.envctl(["gc"]).ok();
    lab.assert_baseline();
}

#[test]
fn what_was_removed_is_listed() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let old = ago(31 * 86_400);
    let receipts = lab.dev.state().join("receipts");
    let receipt = fs::read_dir(&receipts).unwrap().next().unwrap().unwrap().path();
    let young = receipts.join("young.json");
    fs::copy(&receipt, &young).unwrap();
    fs::File::open(&receipt).unwrap().set_modified(old).unwrap();
    let orphan = lab.dev.state().join("leases/000000000000.json");
    lab.dev.write("state/envctl/leases/000000000000.json", "{}");
    let draft = lab.dev.cache().join("tmp/dead");
    fs::create_dir_all(draft.join("half")).unwrap();
    let trash = lab.dev.cache().join("trash/x/entry");
    fs::create_dir_all(&trash).unwrap();
    let done = lab.dev.envctl(["gc", "--json"]).ok().json();
    let removed = done["removed"].as_array().unwrap();
    for (kind, path) in [("receipt", &receipt), ("lease", &orphan), ("draft", &draft)] {
        let listed = removed.iter().any(|one| one["kind"] == kind && one["path"] == path.to_str().unwrap());
        assert!(listed && !path.exists(), "{kind} {}: {done}", path.display());
    }
    assert!(!trash.exists() && young.exists());
    assert!(lab.dev.envctl(["gc", "--json"]).ok().json()["removed"].as_array().unwrap().is_empty());
    lab.enter(&task, &["true"]).ok();
}

#[test]
fn enter_starts_it_once_a_day() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let trash = lab.dev.cache().join("trash/x");
    lab.dev.mkdir("cache/envctl/trash/x/entry");
    lab.sh(&task, "true");
    let mark = lab.dev.state().join("last-gc");
    // By then it has looked for drafts.
    until("the first one has emptied the trash", || mark.exists() && !trash.exists());
    let draft = lab.dev.cache().join("tmp/dead");
    fs::create_dir_all(&draft).unwrap();
    lab.sh(&task, "true");
    until("nothing is done in the background", || lab.dev.is_quiet());
    assert!(draft.exists(), "not again on the same day");
    let yesterday = ago(90_000);
    fs::File::open(&mark).unwrap().set_modified(yesterday).unwrap();
    lab.sh(&task, "true");
    until("it is cleared", || !draft.exists());
}
