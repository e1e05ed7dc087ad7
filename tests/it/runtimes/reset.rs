//! Back to baseline, and the receipt.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::{Alive, ImageBuilder, Lab, Small};

both!(from_another_terminal);
fn from_another_terminal(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "echo precious >kept; httpd -p 3000 -h /tmp");
    let receipts = lab.dev.envctl(["reset", "--json", &task]).ok().json();
    assert_eq!(receipts["baseline"], true);
    let receipt = &receipts["receipts"][0];
    assert_eq!(receipt["reason"], "reset");
    assert_eq!(receipt["ports"], json!({ "removed": 1, "left": 0 }));
    assert!(receipt["processes"]["removed"].as_u64().unwrap() >= 2, "{receipt}");
    assert!(receipt["mounts"]["removed"].as_u64().unwrap() >= 10, "{receipt}");
    let workspace = receipt["kept"][0].as_str().unwrap().strip_prefix("workspace ").unwrap();
    assert_eq!(fs::read_to_string(format!("{workspace}/kept")).unwrap(), "precious\n");
    alive.marker.assert_gone();
    let (code, said) = alive.wait();
    assert_eq!(code, Some(137), "{said}");
    assert!(said.contains("reset"), "{said}");
    lab.assert_baseline();
    assert_eq!(lab.receipts().len(), 1);
    assert_eq!(&lab.receipts()[0], receipt);
    // Again: nothing to do.
    let again = lab.dev.envctl(["reset", "--json", &task]).ok().json();
    assert_eq!(again, json!({ "baseline": true, "known": true, "receipts": [], "workspace": null }));
}

both!(after_the_owner_was_killed);
fn after_the_owner_was_killed(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    Alive::start(&lab, &task, "").kill_owner().assert_gone();
    let run = lab.dev.envctl(["reset", &task]).ok();
    for text in ["receipt", "owner-died", "processes", "mounts", "ports", "scratch", "kept", "baseline   yes"] {
        assert!(run.stdout.contains(text), "no {text:?} in\n{}", run.stdout);
    }
    lab.assert_baseline();
    lab.enter(&task, &["true"]).ok();
}

both!(the_right_one_and_all_of_them);
fn the_right_one_and_all_of_them(lab: Lab) {
    let image = ImageBuilder::busybox();
    let (one, two) = (lab.publish(&image), lab.publish(&image));
    let (first, second) = (Alive::start(&lab, &one, ""), Alive::start(&lab, &two, ""));
    lab.dev.envctl(["reset", &one]).ok();
    first.marker.assert_gone();
    assert!(!second.marker.processes().is_empty());
    let all = lab.dev.envctl(["reset", "--all", "--json"]).ok().json();
    assert_eq!(all["receipts"].as_array().unwrap().len(), 1, "{all}");
    second.marker.assert_gone();
    lab.assert_baseline();
    lab.dev.envctl(["reset"]).code(2).says(&["error:"]);
}

/// A lease whose namespace numbers now belong to others, as after a reboot.
#[test]
fn a_lease_of_an_earlier_boot_kills_nobody() {
    let lab = crate::support::Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let mut lease = Alive::lease(&lab);
    alive.kill_owner().assert_gone();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    lease["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    lease["owner"]["pid"] = own.into();
    lease["init"]["pid"] = own.into();
    let id = lease["id"].as_str().unwrap();
    fs::write(lab.dev.state().join(format!("leases/{id}.json")), lease.to_string()).unwrap();
    let receipts = lab.dev.envctl(["reset", "--all", "--json"]).ok().json();
    assert_eq!(receipts["receipts"][0]["reason"], "rebooted", "{receipts}");
    lab.assert_baseline();
}

both!(what_runs_is_shown);
fn what_runs_is_shown(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let (_, name) = task.rsplit_once(':').unwrap();
    let status = lab.dev.envctl(["status", "--json"]).ok().json();
    assert_eq!(status["leases"][0]["task"], name, "{status}");
    assert!(lab.dev.envctl(["status"]).ok().stdout.contains(name));
    let shown = lab.dev.envctl(["show", "--json", &task]).ok().json();
    assert_eq!(shown["here"]["warm"], true, "{shown}");
    let tasks = lab.dev.envctl(["tasks", "--json", "--store", &lab.store.name()]).ok().json();
    assert_eq!(tasks["tasks"][0]["task"], name, "{tasks}");
    alive.kill_owner().assert_gone();
}

/// Whatever is mounted in a folder that is to go away: its content is not ours.
#[test]
fn case_57_what_is_mounted_below_stays_as_it_is() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "");
    let scratch = lab.dev.state().join("runtimes").join(Alive::lease(&lab)["id"].as_str().unwrap());
    alive.kill_owner().assert_gone();
    let places = [scratch.join(".envctl-scratch/mounted"), lab.dev.cache().join("trash/x/entry/mounted")];
    let mounted: Vec<Small> = places.iter().map(|place| Small::at(place, "size=1m")).collect();
    let precious = || mounted.iter().map(|small| small.0.join("precious"));
    precious().for_each(|file| fs::write(file, "x").unwrap());
    for args in [&["gc"] as &[&str], &["status"], &["reset", &task]] {
        lab.dev.envctl(args).run();
        precious().for_each(|file| assert_eq!(fs::read_to_string(file).unwrap(), "x", "{args:?}"));
    }
    drop(mounted);
    lab.dev.envctl(["gc"]).ok();
    assert!(places.iter().all(|place| !place.exists()));
    lab.assert_baseline();
}

both!(case_52_what_is_damaged_stops_no_other_command);
/// What cannot be understood or cleared is named, and stands in the way of
/// nothing else.
fn case_52_what_is_damaged_stops_no_other_command(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    Alive::start(&lab, &task, "").kill_owner().assert_gone();
    let (damaged, other) = ("0123456789ab", "ba9876543210");
    for id in [damaged, other] {
        lab.dev.mkdir(format!("state/envctl/runtimes/{id}/.envctl-scratch"));
        lab.dev.write(format!("state/envctl/leases/{id}.json"), "{ \"schema\": 1, \"id\": ");
    }
    // Not ours to remove: it has something of somebody else's in it.
    lab.dev.write("state/envctl/runtimes/aaaaaaaaaaaa/precious", "x");
    lab.dev.envctl(["status"]).ok();
    lab.enter(&task, &["true"]).ok();
    let runtimes = lab.dev.state().join("runtimes");
    assert_eq!(fs::read_dir(&runtimes).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(runtimes.join("aaaaaaaaaaaa/precious")).unwrap(), "x");
    assert!(lab.dev.state().join(format!("leases/{damaged}.damaged")).exists());
}

both!(the_workspace_goes_back_to_its_snapshot_and_nothing_is_lost);
fn the_workspace_goes_back_to_its_snapshot_and_nothing_is_lost(lab: Lab) {
    lab.repo.write("file", "as published");
    let task = lab.publish(&ImageBuilder::busybox());
    let alive = Alive::start(&lab, &task, "echo mine >file; echo new >untracked; mkdir -p built; echo x >built/x");
    let done = lab.dev.envctl(["reset", "--workspace", "--json", &task]).ok().json();
    assert_eq!(done["baseline"], true, "{done}");
    alive.marker.assert_gone();
    let place = |name: &str| std::path::PathBuf::from(done["workspace"][name].as_str().unwrap());
    let (now, aside) = (place("workspace"), place("set_aside"));
    assert_eq!(fs::read_to_string(now.join("file")).unwrap(), "as published");
    assert!(!now.join("untracked").exists() && !now.join("built").exists());
    assert_eq!(fs::read_to_string(aside.join("file")).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(aside.join("built/x")).unwrap(), "x\n");
    lab.sh(&task, "test ! -e untracked");
    let other = lab.next_task();
    lab.dev.envctl(["reset", "--workspace", &lab.store.reference(&other)]).code(3);
}

/// Whoever handed something back does not lose it by going back: the workspace
/// returns to what was published last, and goes on from there.
#[test]
fn the_workspace_returns_to_what_was_handed_back() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "echo a >a.txt");
    let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
    let publish = || lab.dev.envctl(["publish", "--status", "handed-back"]).cwd(workspace.trim()).ok();
    publish();
    lab.sh(&task, "echo b >b.txt");
    lab.dev.envctl(["reset", "--workspace", &task]).ok();
    assert_eq!(lab.sh(&task, "ls *.txt"), "a.txt\n");
    lab.sh(&task, "echo c >c.txt");
    assert!(!publish().stderr.contains("Beside"), "it goes on from what was published here");
    // A store that is not mounted is no reason to make another one.
    let store = PathBuf::from(lab.store.name().trim_start_matches("oci:"));
    fs::rename(&store, store.with_extension("away")).unwrap();
    let refused = lab.dev.envctl(["publish", "--status", "handed-back"]).cwd(workspace.trim()).code(3);
    assert!(refused.stderr.contains("is not there any more, and the task came from it"), "{}", refused.stderr);
    assert!(!store.exists());
}
