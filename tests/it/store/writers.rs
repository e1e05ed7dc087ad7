//! Several writers and readers at once, writers that die, and other tools.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::thread;
use std::time::Duration;

use crate::support::{Entry, Facts, ImageBuilder, Lab, Layer, Layout, Repo, Trip};

/// One checkout for each publisher.
fn checkouts(trip: &Trip, count: usize) -> Vec<Repo> {
    let clone = |n: usize| {
        let repo = trip.lab.repo.clone_to(&format!("publisher-{n}"), &[]);
        repo.write("by", format!("publisher {n}\n"));
        repo
    };
    (0..count).map(clone).collect()
}

/// Other tools read every tag.
#[track_caller]
fn assert_readable(trip: &Trip) {
    let store = &trip.lab.store;
    let listed = trip.lab.agent.call("umoci", ["list", "--layout"]).arg(&store.path).ok().stdout;
    // Those who entered leave word of it in the background, whenever that is.
    let settled = |tag: &str| !tag.starts_with("claim-");
    let listed: HashSet<&str> = listed.lines().filter(|tag| settled(tag)).collect();
    let tags: Vec<String> = store.tags().into_iter().filter(|tag| settled(tag)).collect();
    assert_eq!(listed.len(), tags.len(), "one entry for each tag: {tags:?}");
    for tag in &tags {
        assert!(listed.contains(tag.as_str()));
        trip.lab.agent.call("skopeo", ["inspect", "--raw", &store.reference(tag)]).ok();
    }
}

#[test]
fn two_publishers_of_different_tasks_both_land() {
    let trip = Trip::new();
    let repos = checkouts(&trip, 2);
    for round in 0..6 {
        let names: Vec<String> = (0..repos.len()).map(|n| format!("round-{round}-{n}")).collect();
        let children: Vec<Child> =
            repos.iter().zip(&names).map(|(repo, name)| trip.publishing(repo, name).spawn()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        for (repo, name) in repos.iter().zip(&names) {
            let workspace = trip.enter(&trip.lab.store.reference(name));
            assert_eq!(fs::read(workspace.path.join("by")).unwrap(), fs::read(repo.path.join("by")).unwrap());
        }
    }
    assert_readable(&trip);
}

/// Into a store that none of them has made yet.
#[test]
fn two_publishers_make_one_store() {
    for _ in 0..8 {
        let trip = Trip::new();
        let repos = checkouts(&trip, 2);
        let children: Vec<Child> =
            repos.iter().enumerate().map(|(n, repo)| trip.publishing(repo, &format!("t-{n}")).spawn()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let tags = trip.lab.store.tags();
        assert!(["t-0", "t-1"].iter().all(|tag| tags.contains(&(*tag).to_owned())), "{tags:?}");
    }
}

#[test]
fn two_publishers_of_one_task() {
    let trip = Trip::new();
    let repos = checkouts(&trip, 3);
    let name = "contended";
    let store = trip.lab.store.name();
    for round in 0..8 {
        for repo in &repos {
            repo.write("round", format!("{round}\n"));
        }
        let children: Vec<Child> = repos.iter().map(|repo| trip.publishing(repo, name).arg("--json").spawn()).collect();
        let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let mut published = Vec::new();
        for output in &outputs {
            let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            if output.status.success() {
                published.push(json["identity"].as_str().unwrap().to_owned());
            } else {
                assert_eq!(output.status.code(), Some(1), "{json}");
                let message = json["error"]["message"].as_str().unwrap();
                assert!(message.contains("another publish moved contended"), "{json}");
                // The loser is told how to reach what it published.
                let hint = json["error"]["hint"].as_str().unwrap();
                let reference = hint.split_whitespace().find(|word| word.starts_with(&store)).unwrap();
                trip.enter(reference.trim_end_matches(';'));
            }
        }
        assert!(!published.is_empty(), "somebody wins");
        let shown = trip.lab.dev.envctl(["show", &trip.lab.store.reference(name), "--json"]).ok().json();
        let digest = shown["digest"].as_str().unwrap();
        assert!(published.iter().any(|identity| identity == digest), "the tag is at one that was told to have won");
        // Those that both moved the tag did it one after the other.
        let tags = trip.lab.store.tags();
        assert_eq!(tags.iter().filter(|tag| *tag == name).count(), 1);
    }
    assert_readable(&trip);
}

#[test]
fn two_enters_in_one_home() {
    for round in 0..4 {
        let trip = Trip::new();
        trip.lab.repo.write("new", "x");
        let one = trip.publish(&trip.lab.repo);
        let two = if round % 2 == 0 { one.clone() } else { trip.publish(&trip.lab.repo) };
        let tasks = [&one, &two, &one, &two];
        let children: Vec<Child> = tasks.iter().map(|task| trip.entering(task).spawn()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            let path = String::from_utf8(output.stdout).unwrap();
            Facts::of(&trip.lab.repo).assert_same(&Facts::of(&trip.lab.repo.seen_by(&trip.lab.dev, path.trim())));
        }
        assert!(trip.lab.leftovers().is_empty());
        let kinds: Vec<_> =
            trip.made().into_iter().filter(|path| path.starts_with(trip.lab.dev.data().join("pins"))).collect();
        assert_eq!(kinds.len(), if one == two { 1 } else { 2 });
    }
}

#[test]
fn two_runtimes_pull_one_image() {
    let lab = Lab::new();
    let large = Layer::new((0..300).map(|n| Entry::file(format!("file-{n}"), vec![n as u8; 20_000])));
    let task = lab.publish(&ImageBuilder::busybox().layer(large));
    let children: Vec<Child> =
        (0..3).map(|_| lab.dev.envctl(["enter", &task, "--", "sh", "-c", "ls / | grep -c file-"]).spawn()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "300\n");
    }
    assert!(lab.leftovers().is_empty());
}

/// A publisher that is killed at any moment leaves a store that works.
#[test]
fn a_killed_publisher_leaves_a_store_that_works() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for n in 0..150 {
        repo.write(format!("f/{n}"), format!("{n}").repeat(200));
    }
    // From at once to later than the end.
    for moment in (0..60).map(|n| n * 3) {
        repo.write("moment", format!("{moment}"));
        let mut child = trip.publishing(repo, "killed").spawn();
        thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        if moment % 27 == 0 {
            trip.publishing(repo, "survivor").ok();
            assert_readable(&trip);
        }
    }
    trip.publishing(repo, "killed").ok();
    assert_readable(&trip);
    let workspace = trip.enter(&trip.lab.store.reference("killed"));
    Facts::of(repo).assert_same(&Facts::of(&workspace));
}

/// The first publish into a store, killed at any moment.
#[test]
fn a_store_whose_creation_was_killed_works() {
    for moment in (0..30).map(|n| n * 4) {
        let trip = Trip::new();
        let mut child = trip.publishing(&trip.lab.repo, "t").spawn();
        thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        trip.publishing(&trip.lab.repo, "t").ok();
        trip.enter(&trip.lab.store.reference("t"));
    }
}

/// An enter that is killed at any moment: the next one makes it whole.
#[test]
fn a_killed_enter_leaves_nothing_in_the_way() {
    let trip = Trip::new();
    let repo = &trip.lab.repo;
    for n in 0..150 {
        repo.write(format!("f/{n}"), format!("{n}").repeat(200));
    }
    repo.commit("unpushed");
    repo.write("f/0", "changed");
    let expected = Facts::of(repo);
    for moment in (0..40).map(|n| n * 3) {
        let trip = trip.with_developer(crate::support::Home::new());
        let mut child = trip.entering(&trip.lab.store.reference("t")).spawn();
        if moment == 0 {
            child.wait().unwrap();
            trip.publishing(repo, "t").ok();
            child = trip.entering(&trip.lab.store.reference("t")).spawn();
        }
        thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        let workspace = trip.enter(&trip.lab.store.reference("t"));
        expected.assert_same(&Facts::of(&workspace));
    }
}

#[test]
fn foreign_tags_are_kept() {
    let trip = Trip::new();
    let store = &trip.lab.store;
    let image = ImageBuilder::busybox();
    store.add("v1.0", &image);
    store.add_index("multi", &[&image]);
    let before = fs::read(store.path.join("index.json")).unwrap();
    let before: serde_json::Value = serde_json::from_slice(&before).unwrap();
    let task = trip.publish(&trip.lab.repo);
    trip.publish(&trip.lab.repo);
    let after: serde_json::Value = serde_json::from_slice(&fs::read(store.path.join("index.json")).unwrap()).unwrap();
    for entry in before["manifests"].as_array().unwrap() {
        assert!(after["manifests"].as_array().unwrap().contains(entry), "{entry} is gone");
    }
    trip.enter(&task);
    // They are no tasks.
    let tasks = trip.lab.dev.envctl(["tasks", "--store", &store.name(), "--json"]).ok().json();
    let names: Vec<_> = tasks["tasks"].as_array().unwrap().iter().map(|row| row["task"].clone()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_readable(&trip);
    // And the other way round: other tools keep the tasks.
    let source = store.reference("v1.0");
    trip.lab.agent.call("skopeo", ["copy", "--insecure-policy", &source, &store.reference("copied")]).ok();
    trip.lab.agent.call("umoci", ["tag", "--image"]).arg(format!("{}:v1.0", store.path.display())).arg("v1.1").ok();
    trip.with_developer(crate::support::Home::new()).enter(&task);
    trip.publish(&trip.lab.repo);
}

/// A store that somebody copied, whatever the tool.
#[test]
fn a_copied_store_is_a_store() {
    let trip = Trip::new();
    trip.lab.repo.write("new", "x");
    let task = trip.publish(&trip.lab.repo);
    let name = task.rsplit_once(':').unwrap().1;
    let copy = Layout::of(&trip.lab.dev, "copy");
    trip.lab.dev.call("cp", ["-r"]).arg(&trip.lab.store.path).arg(&copy.path).ok();
    fs::rename(&trip.lab.store.path, trip.lab.agent.path("gone")).unwrap();
    Facts::of(&trip.lab.repo).assert_same(&Facts::of(&trip.enter(&copy.reference(name))));
}

/// A store on a bad disk: publishing again mends what it brings along.
#[test]
fn case_56_a_rotten_blob_is_written_again() {
    let trip = Trip::new();
    trip.lab.repo.write("new", "x");
    let task = trip.publish(&trip.lab.repo);
    let name = task.rsplit_once(':').unwrap().1;
    let shown = trip.lab.agent.envctl(["show", &task, "--json"]).ok().json();
    let rotten = trip.lab.store.blob(shown["identity"]["snapshot_id"].as_str().unwrap());
    let mut bytes = fs::read(&rotten).unwrap();
    bytes[5] ^= 1;
    fs::set_permissions(&rotten, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&rotten, &bytes).unwrap();
    trip.entering(&task).code(5).says(&["error:"]);
    trip.publishing(&trip.lab.repo, name).ok();
    trip.enter(&task);
}
