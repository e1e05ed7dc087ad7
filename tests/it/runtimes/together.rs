//! Several commands at once, on one task.

use crate::evidence::Shop;
use crate::support::{Alive, ImageBuilder, Lab, RealRegistry, Stopped};

both!(case_54_an_enter_that_meets_a_runtime_at_its_end_makes_another);
fn case_54_an_enter_that_meets_a_runtime_at_its_end_makes_another(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "true");
    let command = ["sh", "-c", "echo once; echo once >> count"];
    // It is connected, and has not asked yet.
    for what in ["exec", "enter"] {
        let alive = Alive::start(&lab, &task, "");
        let words = [&[what, &task, "--"], &command[..]].concat();
        let second = Stopped::at("exec.joined", lab.dev.envctl(words));
        lab.dev.envctl(["reset", &task]).ok();
        assert_eq!(alive.wait().0, Some(137));
        if what == "enter" {
            let (stdout, said) = second.end();
            assert_eq!(stdout, "once\n");
            assert!(said.contains("was just ending"), "{said}");
        } else {
            second.fails(125, "has just ended");
        }
        lab.assert_baseline();
    }
    assert_eq!(lab.sh(&task, "cat count"), "once\n");
}

#[test]
fn case_54_an_enter_that_waited_for_a_renewal_looks_again() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let again = |content: &str| {
        lab.repo.write("new", content);
        let image = lab.images.reference("task-1");
        crate::support::publish(&lab.agent, &lab.repo, &lab.store, &image, "task-1");
    };
    // It has asked the store, and then the task moves on.
    let first = Stopped::at("cold.resolved", lab.dev.envctl(["enter", &task, "--", "cat", "new"]));
    let run = Stopped::at("cold.resolved", lab.dev.envctl(["run", "--keep", &task, "--", "cat", "new"]));
    again("new\n");
    assert_eq!(lab.sh(&task, "cat new"), "new\n");
    assert_eq!(first.end().0, "new\n");
    assert_eq!(run.end().0, "new\n");
    // What the developer has is not renewed by a word that nobody said.
    again("newer\n");
    assert_eq!(lab.sh(&task, "cat new"), "new\n");
    lab.assert_baseline();
}

/// The task is exactly what each of them publishes: none is told of another line.
#[test]
fn case_54_equal_publishes_at_once_are_one() {
    let registry = RealRegistry::start();
    for (shop, others) in [(Shop::new(), 12), (Shop::at(registry.repository("acme/equal")), 3)] {
        let first = Stopped::at("publish.captured", shop.publishing("t"));
        let children: Vec<_> = (0..others).map(|_| shop.publishing("t").spawn()).collect();
        for child in children {
            let (stdout, said) = crate::support::ended(child);
            assert!(stdout.ends_with(":t\n") && !said.contains("has not seen"), "{stdout}{said}");
        }
        assert!(first.end().0.ends_with(":t\n"));
        // It goes on from there, whichever of them was first.
        shop.trip.lab.repo.write("more", "x");
        assert_eq!(shop.publishing("t").arg("--json").ok().json()["beside"], serde_json::Value::Null);
    }
}

#[test]
fn case_54_a_workspace_that_is_being_published_stays() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "echo work > work");
    let path = lab.dev.envctl(["workspace", "path", &task]).ok().stdout.trim_end().to_owned();
    let publish = Stopped::at("publish.captured", lab.dev.envctl(["publish"]).cwd(&path));
    lab.dev.envctl(["workspace", "rm", "--yes", &task]).code(1).says(&["is being entered or published"]);
    assert!(publish.end().0.contains("envctl enter"));
    lab.dev.envctl(["workspace", "rm", "--yes", &task]).ok();
    assert_eq!(lab.sh(&task, "cat work"), "work\n");
}
