//! Projects, runs and disks that mean no good.

use std::fs;
use std::os::unix::fs::symlink;

use super::{deps, folders, found, ls, task, tree, workspace};
use crate::support::{Lab, until};

#[test]
fn a_place_behind_a_link_or_over_tracked_files_stays_as_it_is() {
    let lab = Lab::new();
    lab.repo.write("tracked/file", "mine");
    lab.repo.symlink("link", "tracked");
    lab.repo.commit("files");
    lab.repo.push();
    let entry = |name: &str, path: &str| {
        format!("[[cache]]\nname = \"{name}\"\npath = \"{path}\"\nsetup = 'echo cached > {path}/file'\n")
    };
    let project =
        [entry("a", "tracked"), entry("b", "link/below"), entry("c", "envctl.toml/below"), entry("d", "full")].concat();
    let task = task(&lab, &project);
    lab.dev.envctl(["enter", "--no-runtime", &task]).ok();
    let path = lab.dev.envctl(["enter", "--no-runtime", &task]).ok().stdout;
    let full = lab.repo.seen_by(&lab.dev, path.trim_end());
    full.write("full/own", "own");
    let run = lab.enter(&task, &["sh", "-c", "cat tracked/file; ls tracked full"]).ok();
    assert_eq!(run.stdout, "minefull:\nown\n\ntracked:\nfile\n");
    run.says(&[
        "the cache a is left out: tracked holds files that git tracks",
        "the cache b is left out: link/below is, or lies behind, a link or a file",
        "the cache c is left out: envctl.toml/below is, or lies behind, a link or a file",
        "the cache d is left out: full holds other files",
    ]);
}

#[test]
fn case_56_a_damaged_entry_is_moved_away_and_made_again() {
    for damage in ["content", "mode", "extra", "missing"] {
        let lab = Lab::new();
        lab.repo.write("lock", "1");
        let task = task(&lab, &deps("echo good > deps/file; echo x > deps/other"));
        lab.sh(&task, "true");
        until("it is flushed", || {
            let record = folders(&lab)[0].join("entry.json");
            serde_json::from_slice::<serde_json::Value>(&fs::read(record).unwrap()).unwrap()["boot_id"].is_null()
        });
        lab.dev.envctl(["cache", "verify"]).ok();
        let file = tree(&lab).join("file");
        match damage {
            "content" => fs::write(&file, "evil\n").unwrap(),
            "mode" => fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap(),
            "extra" => fs::write(tree(&lab).join("extra"), "").unwrap(),
            _ => fs::remove_file(&file).unwrap(),
        }
        let run = lab.dev.envctl(["cache", "verify"]).code(5).says(&["was damaged and is now in", "1 of"]);
        assert!(run.stdout.contains("it holds sha256:"), "{damage}: {}", run.stdout);
        assert!(ls(&lab).is_empty(), "{damage}");
        assert_eq!(lab.sh(&task, "cat deps/file; ls deps"), "good\nfile\nother\n");
        assert_eq!(found(&lab), ["deps sealed task"]);
        lab.dev.envctl(["cache", "verify", "--json"]).ok();
    }
}

#[test]
fn case_56_a_damaged_layer_is_moved_away_and_pulled_again() {
    let lab = Lab::new();
    let task = task(&lab, "");
    lab.sh(&task, "true");
    let record = || {
        let mapping = fs::read_dir(lab.dev.cache().join("layers")).unwrap().next().unwrap().unwrap().path();
        fs::read_dir(mapping).unwrap().next().unwrap().unwrap().path()
    };
    until("its content is noted", || {
        let read = fs::read(record().join("layer.json")).unwrap();
        !serde_json::from_slice::<serde_json::Value>(&read).unwrap()["tree"].is_null()
    });
    lab.dev.envctl(["cache", "verify", "--sample", "3"]).ok();
    fs::write(record().join("fs/bin/busybox"), "evil").unwrap();
    lab.dev.envctl(["cache", "verify"]).code(5).says(&["layer", "was damaged"]);
    assert_eq!(lab.sh(&task, "echo well"), "well\n");
}

#[test]
fn a_setup_cannot_reach_out() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    lab.repo.write("file", "mine");
    // The place itself becomes a link; the workspace and the git folder are written to.
    let setup = "echo x > file; echo y > .git/planted; rm -rf .git/HEAD; cd /; ln -s /etc /workspace/deps/etc; \
                 echo z > /workspace/deps/etc/planted-by-cache || true; cd /workspace; rmdir deps 2>/dev/null || true; true";
    let task = task(&lab, &deps(setup));
    assert_eq!(lab.sh(&task, "cat file; readlink deps/etc"), "mine/etc\n");
    let workspace = workspace(&lab);
    assert!(!workspace.path.join(".git/planted").exists() && workspace.path.join(".git/HEAD").exists());
    assert!(!std::path::Path::new("/etc/planted-by-cache").exists());
    lab.assert_baseline();
}

#[test]
fn case_53_a_setup_that_is_interrupted_leaves_nothing() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo half > deps/half; sleep 60"));
    let child = lab.enter(&task, &["true"]).spawn();
    until("the setup runs", || lab.leftovers().iter().any(|draft| draft.join("tree/half").exists()));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    assert!(folders(&lab).is_empty() && lab.leftovers().is_empty());
    lab.assert_baseline();
}

#[test]
fn case_51_a_setup_killed_with_9_leaves_nothing_for_long() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo half > deps/half; sleep 60"));
    let mut child = lab.enter(&task, &["true"]).spawn();
    until("the setup runs", || {
        !lab.dev.envctl(["status", "--json"]).ok().json()["leases"].as_array().unwrap().is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // What has just been killed may still be on its way out, and holds its lease
    // until then.
    let leases = lab.dev.state().join("leases");
    until("nothing is left", || {
        lab.dev.envctl(["gc"]).ok();
        let held = std::fs::read_dir(&leases).is_ok_and(|mut held| held.next().is_some());
        !held && folders(&lab).is_empty() && lab.leftovers().is_empty()
    });
    lab.assert_baseline();
}

#[test]
fn a_setup_that_never_ends_is_ended() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &format!("{}timeout = \"1s\"\n", deps("sleep 600")));
    lab.enter(&task, &["echo", "well"]).ok().says(&["failed (it took too long)"]);
    assert!(folders(&lab).is_empty());
}

#[test]
fn another_result_is_told_and_can_be_looked_at() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("cat /proc/sys/kernel/random/uuid > deps/when; echo same > deps/same"));
    lab.sh(&task, "true");
    let key = ls(&lab)[0]["key"].as_str().unwrap().to_owned();
    lab.dev.envctl(["cache", "diff", &key]).code(3);
    // As if it had been made elsewhere at the same time.
    let hidden = lab.dev.path("hidden");
    let entry = folders(&lab)[0].clone();
    fs::rename(&entry, &hidden).unwrap();
    lab.sh(&task, "true");
    let later = folders(&lab)[0].clone();
    fs::rename(&later, later.with_extension("other")).unwrap();
    fs::rename(&hidden, &entry).unwrap();
    assert_eq!(lab.dev.envctl(["cache", "diff", &key]).ok().stdout, "M when\n");
    assert_eq!(ls(&lab)[0]["differs"], true);
}

#[test]
fn a_root_that_is_a_link_is_not_followed() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("touch deps/x"));
    lab.sh(&task, "true");
    let workspace = workspace(&lab);
    fs::create_dir(lab.dev.path("outside")).unwrap();
    fs::write(lab.dev.path("outside/precious"), "x").unwrap();
    symlink(lab.dev.path("outside"), workspace.path.join("deps")).unwrap();
    lab.enter(&task, &["true"]).ok().says(&["left out"]);
    lab.dev.envctl(["enter", "--materialize", &task, "--", "true"]).ok();
    assert_eq!(fs::read_to_string(lab.dev.path("outside/precious")).unwrap(), "x");
}

/// The copy is older than what runs beside it: nobody looks at it later.
#[test]
fn a_cache_that_git_would_obey_is_not_copied_into_the_workspace() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let lay = "mkdir -p deps/r/.git/objects deps/r/.git/refs; echo ref: refs/heads/main > deps/r/.git/HEAD";
    let evil = "printf '[core]\\n\\tfsmonitor = x\\n' > deps/r/.git/config";
    let task = task(&lab, &deps(&format!("{lay}; {evil}")));
    lab.sh(&task, "true");
    let workspace = workspace(&lab);
    let said = ["deps is not copied to deps: git would obey r/.git/config in it: it sets core.fsmonitor"];
    lab.dev.envctl(["enter", "--materialize", &task, "--", "test", "-d", "deps/r/.git"]).ok().says(&said);
    assert!(!workspace.path.join("deps/r").exists());
}

/// What is a copy is for envctl to know, and links lead nowhere.
#[test]
fn case_57_a_program_inside_does_not_choose_what_is_removed() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let project = deps("mkdir -p a/victim; echo made > a/victim/f").replace("\"deps\"\nsetup", "\"a/victim\"\nsetup");
    let task = task(&lab, &project);
    let enter = || lab.dev.envctl(["enter", "--materialize", &task, "--", "true"]);
    lab.sh(&task, "true");
    let workspace = workspace(&lab);
    enter().ok();
    let outside = lab.dev.path("outside");
    fs::create_dir_all(outside.join("victim")).unwrap();
    for content in ["made\n", "precious"] {
        // The very content of the copy, and another one.
        fs::write(outside.join("victim/f"), content).unwrap();
        let away = workspace.path.join(format!("away-{}", content.len()));
        fs::rename(workspace.path.join("a"), away).unwrap();
        symlink(&outside, workspace.path.join("a")).unwrap();
        workspace.write("lock", format!("after {content}"));
        let list =
            format!("[{{\"path\":\"a/victim\",\"key\":\"sha256:{0}\",\"digest\":\"sha256:{0}\"}}]", "0".repeat(64));
        workspace.write(".git/envctl-materialized.json", list);
        enter().ok().says(&["left out"]);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(outside.join("victim/f")).unwrap(), content);
    }
}

#[test]
fn an_absolute_place_does_not_hide_the_workspace() {
    let lab = Lab::new();
    let entry = |name: &str, path: &str| {
        format!("[[cache]]\nname = \"{name}\"\npath = \"{path}\"\nsetup = \"touch {path}/x\"\n")
    };
    let project = [entry("a", "/workspace"), entry("b", "/workspace2"), entry("c", "/workspace2/../workspace/x")];
    lab.repo.write("file", "mine");
    let run = lab.enter(&task(&lab, &project[..2].concat()), &["sh", "-c", "cat file"]).ok();
    assert_eq!(run.stdout, "mine");
    run.says(&["the cache a is left out: /workspace is in the way"]);
    assert_eq!(found(&lab), ["a missing", "b sealed task"]);
    lab.repo.write("envctl.toml", &project[2]);
    lab.try_publish("x").code(2).says(&["is not a place for a cache"]);
}
