//! Killed on the way, whatever is unsaved is in a place where it is found.

use std::fs;
use std::path::{Path, PathBuf};

use super::{later, salvages, task_with};
use crate::support::Trip;

const VARIABLE: &str = "ENVCTL_TEST_CRASH";

/// Places that are looked at and hold the file `mine`.
fn holding(trip: &Trip, place: &Path) -> Vec<PathBuf> {
    let rows = salvages(&trip.lab.dev);
    let rows = rows.iter().map(|row| PathBuf::from(row["path"].as_str().unwrap()));
    rows.chain([place.to_owned()]).filter(|place| place.join("mine").exists()).collect()
}

#[test]
fn case_51_at_every_step_of_taking_a_workspace_away() {
    for point in ["retire.noted", "retire.moved", "retire.forgotten", "gc.workspaces"] {
        let trip = Trip::new();
        let dev = &trip.lab.dev;
        let task = task_with(&trip, "one");
        let workspace = trip.enter_with(&task, &[]);
        workspace.write("mine", "precious");
        assert_eq!(later(dev, 20, &["gc"]).env(VARIABLE, point).run().code, -1, "{point} is passed");
        assert_eq!(holding(&trip, &workspace.path).len(), 1, "{point}");
        later(dev, 20, &["gc"]).ok();
        let places = holding(&trip, &workspace.path);
        assert_eq!(places.len(), 1, "{point}");
        assert!(places[0] != workspace.path, "{point}: the second collection finishes it");
        // And the task can be entered.
        assert!(!trip.enter_with(&task, &[]).path.join("mine").exists(), "{point}");
        let id = places[0].file_name().unwrap().to_str().unwrap();
        let own = dev.path("own");
        dev.envctl(["workspace", "recover", id, "--into", own.to_str().unwrap()]).ok();
        assert_eq!(fs::read_to_string(own.join("mine")).unwrap(), "precious", "{point}");
    }
}

#[test]
fn at_the_step_of_throwing_away() {
    let trip = Trip::new();
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    let gc = || later(&trip.lab.dev, 20, &["gc"]);
    assert_eq!(gc().env(VARIABLE, "retire.thrown-away").run().code, -1);
    assert!(!workspace.path.exists() && salvages(&trip.lab.dev).is_empty());
    gc().ok();
    assert_eq!(fs::read_dir(trip.lab.dev.data().join("trash")).unwrap().count(), 0);
    later(&trip.lab.dev, 22, &["gc"]).ok();
    assert_eq!(fs::read_dir(trip.lab.dev.data().join("salvages")).unwrap().count(), 0, "no record of nothing stays");
    trip.enter_with(&task, &[]);
}

#[test]
fn at_the_step_of_recovering() {
    let trip = Trip::new();
    let dev = &trip.lab.dev;
    let task = task_with(&trip, "one");
    let workspace = trip.enter_with(&task, &[]);
    workspace.write("mine", "precious");
    dev.envctl(["workspace", "rm", &task, "--yes"]).ok();
    let id = salvages(dev)[0]["id"].as_str().unwrap().to_owned();
    let recover = || dev.envctl(["workspace", "recover", &id]);
    assert_eq!(recover().env(VARIABLE, "recover.moved").run().code, -1);
    assert!(workspace.path.join("mine").exists() && salvages(dev).is_empty());
    // Nobody knows that it is whole: it is set aside once more, and not lost.
    trip.enter_with(&task, &[]);
    assert_eq!(holding(&trip, &workspace.path).len(), 1);
}

/// A workspace that lost its pin is not lost with it, and does not stay for ever.
#[test]
fn one_that_no_task_knows() {
    for lifetime in ["per-task", "per-project"] {
        let trip = Trip::new();
        let dev = &trip.lab.dev;
        let task = task_with(&trip, "one");
        let workspace = trip.enter_with(&task, &["--lifetime", lifetime]);
        workspace.write("mine", "precious");
        for pin in fs::read_dir(dev.data().join("pins")).unwrap() {
            fs::remove_file(pin.unwrap().path()).unwrap();
        }
        dev.envctl(["gc"]).ok();
        assert!(workspace.path.join("mine").exists(), "{lifetime}: its maker may be at it");
        later(dev, 2, &["gc"]).ok();
        let places = holding(&trip, &workspace.path);
        assert!(places.len() == 1 && places[0] != workspace.path, "{lifetime}: {places:?}");
        let id = salvages(dev)[0]["id"].as_str().unwrap().to_owned();
        dev.envctl(["workspace", "recover", &id]).ok();
        assert!(workspace.path.join("mine").exists(), "{lifetime}");
    }
}
