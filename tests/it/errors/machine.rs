//! Machines that lack something.

use std::fs;
use std::os::unix::fs::chown;

use super::fails;
use crate::support::{Call, ImageBuilder, Lab, Trip};

#[test]
fn git_is_not_there() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let says = ["git program was not found on the PATH", "install git"];
    fails(|| trip.entering(&task).env("PATH", "/nowhere"), 1, "failure", &says);
    trip.assert_nothing_made();
    fails(|| trip.publishing(&trip.lab.repo, "t").env("PATH", "/nowhere"), 1, "failure", &says);
    // An entered workspace needs none.
    trip.enter(&task);
    trip.entering(&task).env("PATH", "/nowhere").ok();
    trip.lab.dev.envctl(["show", &task]).env("PATH", "/nowhere").ok();
}

#[test]
fn folders_that_cannot_be_written() {
    for name in ["data", "cache", "state"] {
        let trip = Trip::unprivileged();
        let task = trip.publish(&trip.lab.repo);
        let folder = trip.lab.dev.path(name);
        chown(&folder, Some(0), Some(0)).unwrap();
        let path = folder.to_str().unwrap();
        fails(|| trip.entering(&task), 1, "failure", &[path, "permission denied", "check who owns"]);
        trip.assert_nothing_made();
        let owner = fs::metadata(trip.lab.dev.path("home")).unwrap();
        let (uid, gid) = (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
        chown(&folder, Some(uid), Some(gid)).unwrap();
        trip.enter(&task);
    }
}

#[test]
fn a_store_that_cannot_be_written() {
    let trip = Trip::unprivileged();
    trip.publish(&trip.lab.repo);
    let store = &trip.lab.store.path;
    let owner = fs::metadata(store).unwrap();
    let (uid, gid) = (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
    trip.lab.repo.write("new", "x");
    let whole: &[&str] = &["belongs to another account", "--store"];
    for (folder, says) in [("", whole), ("blobs/sha256", &["permission denied", "check who owns"])] {
        chown(store.join(folder), Some(0), Some(0)).unwrap();
        let path = store.to_str().unwrap();
        fails(|| trip.publishing(&trip.lab.repo, "t"), 1, "failure", &[&[path], says].concat());
        chown(store.join(folder), Some(uid), Some(gid)).unwrap();
    }
    trip.publishing(&trip.lab.repo, "t").ok();
}

/// The program where a limit of namespaces is zero.
fn without(lab: &Lab, limit: &str) -> Call {
    let script = format!("echo 0 > /proc/sys/user/{limit}; exec \"$@\"");
    lab.dev.call("unshare", ["--user", "--map-root-user", "sh", "-euc", &script, "sh"]).arg(lab.dev.binary())
}

both!(user_namespaces_are_switched_off);
fn user_namespaces_are_switched_off(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let inside = || without(&lab, "max_user_namespaces");
    let run = inside().args(["enter", &task, "--", "true"]).code(125);
    let run =
        run.says(&["error:", "namespace", "user namespaces are switched off", "sysctl -w user.max_user_namespaces"]);
    assert_eq!(run.stdout, "");
    let json = inside().args(["enter", &task, "--json", "--", "true"]).code(125).json();
    assert!(json["error"]["hint"].as_str().unwrap().contains("user.max_user_namespaces"), "{json}");
    // The workspace needs none.
    let run = inside().args(["enter", &task, "--no-runtime"]).ok();
    assert!(fs::metadata(run.stdout.trim()).unwrap().is_dir());
    assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
    lab.enter(&task, &["true"]).ok();
}

both!(no_network_namespace_is_to_be_had);
/// Pid 1 makes it, so what goes wrong is its to tell; nothing runs without one.
fn no_network_namespace_is_to_be_had(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let inside = || without(&lab, "max_net_namespaces");
    let run = inside().args(["enter", &task, "--", "touch", "here"]).code(125);
    let run = run.says(&["error:", "cannot make a network of its own", "sysctl user.max_net_namespaces"]);
    assert_eq!(run.stdout, "");
    let workspace = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
    assert!(!std::path::Path::new(workspace.trim()).join("here").exists());
    lab.assert_baseline();
    lab.enter(&task, &["true"]).ok();
}

#[test]
fn no_home_and_no_folder() {
    let trip = Trip::new();
    let task = trip.publish(&trip.lab.repo);
    let call = trip.lab.dev.call("env", ["--unset=XDG_DATA_HOME", "HOME=relative"]);
    // Relative values count as unset.
    let run = call.arg(trip.lab.dev.binary()).args(["enter", &task, "--no-runtime"]).code(1);
    run.says(&["error:", "neither XDG_DATA_HOME nor HOME", "hint:", "export HOME"]);
    trip.assert_nothing_made();
}
