//! What was noted about a task is found by a short name, and used when it says
//! itself that it is about this task of this store.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{ImageBuilder, Lab, Trip, copy};

/// All that are there, at rest: they are written once more in the background.
fn pins(lab: &Lab) -> Vec<(PathBuf, Value)> {
    lab.pins_at_rest();
    let files = fs::read_dir(lab.dev.data().join("pins")).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| (file.clone(), serde_json::from_slice(&fs::read(file).unwrap()).unwrap())).collect()
}

both!(the_pin_of_another_store_is_not_taken_for_ours);
/// Two names of stores may have the same short key; here a rename makes it so.
fn the_pin_of_another_store_is_not_taken_for_ours(lab: Lab) {
    let ours = lab.publish(&ImageBuilder::busybox());
    let (_, task) = ours.rsplit_once(':').unwrap();
    let strange = lab.store.path.with_file_name("strange");
    copy(&lab.store.path, &strange);
    let theirs = format!("oci:{}:{task}", strange.display());
    let enter = |task: &str| lab.dev.envctl(["enter", "--no-runtime", task]);
    enter(&ours).ok();
    let (place, _) = pins(&lab).remove(0);
    lab.dev.envctl(["workspace", "rm", "--yes", &ours]).ok();
    let workspace = enter(&theirs).ok().stdout;
    let (other, pin) = pins(&lab).remove(0);
    assert_ne!(place, other);
    fs::rename(&other, &place).unwrap();
    for (args, code) in [
        (&["enter", "--no-runtime", &ours][..], 5),
        (&["enter", "--refresh", "--no-runtime", &ours], 5),
        (&["enter", "--dry-run", &ours], 5),
        (&["approve", &ours], 5),
        (&["run", "--keep", &ours, "--", "true"], 125),
        // Found by what they say.
        (&["workspace", "path", &ours], 3),
        (&["workspace", "rm", "--yes", &ours], 3),
    ] {
        let run = lab.dev.envctl(args).code(code);
        assert!(run.stdout.is_empty(), "{run:?}");
        assert!(code == 3 || run.stderr.contains(&format!("that of {theirs}")), "{run:?}");
    }
    assert_eq!(pins(&lab), [(place, pin)], "it is as it was");
    assert!(fs::exists(workspace.trim()).unwrap());
}

/// What is here and what is there are both told, and nobody is asked for it.
#[test]
fn a_task_that_was_published_again() {
    let trip = Trip::new();
    let (dev, repo) = (&trip.lab.dev, &trip.lab.repo);
    let task = trip.publish(repo);
    let workspace = trip.enter(&task);
    let status = || dev.envctl(["status"]).ok().stdout;
    assert!(!status().contains("newer"), "{}", status());
    repo.write("more", "x");
    let (_, name) = task.rsplit_once(':').unwrap();
    trip.publishing(repo, name).arg("--yes").ok();
    let shown = dev.envctl(["show", &task]).ok().stdout;
    for part in [workspace.path.to_str().unwrap(), "an older identity than the store has", "--refresh"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("not on this machine yet"), "{shown}");
    let json = dev.envctl(["show", &task, "--json"]).ok().json();
    assert_eq!(json["older"]["workspace"], workspace.path.to_str().unwrap());
    // From then on it is known, offline too.
    let away = trip.lab.store.path.with_extension("away");
    std::fs::rename(&trip.lab.store.path, &away).unwrap();
    assert!(status().contains("newer identity in its store"), "{}", status());
    let details = dev.envctl(["status", &task]).ok().stdout;
    assert!(details.contains("its store had a newer identity just now") && details.contains(name), "{details}");
    trip.entering(&task).ok().says(&["Newer", "the store had another identity just now", "--refresh"]);
    std::fs::rename(&away, &trip.lab.store.path).unwrap();
    trip.entering(&task).arg("--refresh").ok();
    assert!(!status().contains("newer"), "{}", status());
    assert!(!trip.entering(&task).ok().stderr.contains("Newer"));
    // A list of tasks is a look as well.
    repo.write("more", "y");
    trip.publishing(repo, name).arg("--yes").ok();
    dev.envctl(["tasks", "--store", &trip.lab.store.name()]).ok();
    assert!(status().contains("newer identity"), "{}", status());
    // What was handed back from here is what is known here, when the store is away.
    let workspace = trip.entering(&task).arg("--refresh").ok().stdout;
    let workspace = std::path::Path::new(workspace.trim());
    std::fs::write(workspace.join("mine"), "x").unwrap();
    let back = ["publish", name, "--store", &trip.lab.store.name(), "--message", "as you wished"];
    dev.envctl(back).cwd(workspace).ok();
    let there = dev.envctl(["show", &task, "--json"]).ok().json();
    std::fs::rename(&trip.lab.store.path, &away).unwrap();
    let shown = dev.envctl(["show", &task]).ok().says(&["what was known here last"]).stdout;
    assert!(shown.contains("as you wished") && !shown.contains("not on this machine yet"), "{shown}");
    // By its digest alone, too; what nobody knows is said to be unknown.
    let digest = there["digest"].as_str().unwrap();
    assert!(dev.envctl(["show", digest]).ok().stdout.contains("as you wished"));
    dev.envctl(["reset", "no-such-task"]).ok().says(&["nothing here is known by the name no-such-task"]);
    dev.envctl(["reset", name]).ok().says(&[]);
}
