//! Killed at every step and at any moment: one ordinary command later nothing
//! of a runtime is left, every byte of the workspace is where it was, and the
//! interrupted command can be run again.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use envctl::crash::POINTS;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Alive, ImageBuilder, Lab, Marker, Terminal, tree, until};

const VARIABLE: &str = "ENVCTL_TEST_CRASH";

/// One developer with a task that was entered once, and work of their own in
/// the workspace.
struct Scene {
    lab: Lab,
    task: String,
    workspace: PathBuf,
    marker: Marker,
}

impl Scene {
    fn new(lab: Lab) -> Self {
        let task = lab.publish(&ImageBuilder::busybox());
        let workspace = lab.dev.envctl(["enter", &task, "--no-runtime"]).ok().stdout.trim_end().into();
        let scene = Scene { lab, task, workspace, marker: Marker::new() };
        scene.lab.enter(&scene.task, &["sh", "-c", "echo precious >work; mkdir -p d; echo more >d/work"]).ok();
        // Everything is flushed, so that nothing moves by itself.
        let pins = scene.lab.dev.data().join("pins");
        until("the workspace is flushed", || {
            fs::read_dir(&pins).unwrap().flatten().all(|pin| {
                let text = fs::read_to_string(pin.path()).unwrap_or_default();
                text.contains("\"unflushed_boot\": null")
            })
        });
        scene
    }

    /// A command line that dies at a point, and leaves processes if it can.
    fn dying(&self, point: &str, args: &[&str]) -> i32 {
        self.lab.dev.envctl(args).env(VARIABLE, point).run().code
    }

    /// A command with a tree of processes that do not want to end.
    fn busy<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let script = "trap '' TERM HUP INT; setsid sh -c 'sleep 1000; :' \"$0\" & sleep 0.2; :";
        [args, &["--", "sh", "-c", script, &self.marker.0]].concat()
    }

    /// One ordinary command, then a look from outside.
    #[track_caller]
    fn assert_clean(&self, what: &str) {
        // A process that has just been killed may still be on its way out.
        until(what, || {
            self.lab.dev.envctl(["status"]).ok();
            let state = self.lab.dev.state();
            let empty =
                |folder: &str| fs::read_dir(state.join(folder)).is_ok_and(|mut entries| entries.next().is_none());
            empty("runtimes") && empty("leases")
        });
        self.marker.assert_gone();
        self.lab.assert_baseline();
        for receipt in self.lab.receipts() {
            assert_eq!(receipt["baseline"], true, "{what}: {receipt}");
        }
        self.lab.dev.envctl(["gc"]).ok();
        assert!(self.lab.leftovers().is_empty(), "{what}: {:?}", self.lab.leftovers());
    }
}

fn points(verb: &str) -> impl Iterator<Item = &'static str> {
    let prefix = format!("{verb}.");
    POINTS.iter().copied().filter(move |point| point.starts_with(&prefix))
}

#[test]
fn every_point_belongs_to_a_verb_that_is_tested() {
    let enter = ["cold", "refresh", "enter", "init", "leave", "detach", "seal"];
    let others = ["exec", "reset", "publish", "gc", "retire", "recover"];
    let verbs = enter.iter().chain(&others);
    assert_eq!(verbs.map(|verb| points(verb).count()).sum::<usize>(), POINTS.len());
}

both!(case_51_at_every_step_of_a_first_enter);
fn case_51_at_every_step_of_a_first_enter(lab: Lab) {
    lab.repo.write("file", "content");
    for point in points("cold") {
        let lab = lab.with_developer(if lab.dev.is_unprivileged() {
            crate::support::Home::unprivileged()
        } else {
            crate::support::Home::new()
        });
        let task = lab.publish(&ImageBuilder::busybox());
        let code = lab.dev.envctl(["enter", &task, "--", "true"]).env(VARIABLE, point).run().code;
        assert_eq!(code, -1, "{point} is passed");
        lab.dev.envctl(["status"]).ok();
        lab.assert_baseline();
        assert_eq!(lab.sh(&task, "cat file"), "content", "{point}");
        let workspaces = lab.dev.envctl(["status", "--json"]).ok().json();
        assert_eq!(workspaces["workspaces"].as_array().unwrap().len(), 1, "{point}");
        lab.dev.envctl(["gc"]).ok();
        assert!(lab.leftovers().is_empty(), "{point}: {:?}", lab.leftovers());
    }
}

both!(at_every_step_of_an_enter_and_of_leaving);
fn at_every_step_of_an_enter_and_of_leaving(lab: Lab) {
    let scene = Scene::new(lab);
    let before = tree(&scene.workspace);
    for verb in ["enter", "init", "leave"] {
        for point in points(verb) {
            let code = scene.dying(point, &scene.busy(&["enter", &scene.task]));
            if verb != "init" {
                assert_eq!(code, -1, "{point} is passed");
            } else {
                assert!([125, 137].contains(&code), "{point}: {code}");
            }
            scene.assert_clean(point);
            assert_eq!(tree(&scene.workspace), before, "{point}");
            assert_eq!(scene.lab.sh(&scene.task, "cat work d/work"), "precious\nmore\n", "{point}");
        }
    }
}

both!(at_every_step_of_a_detached_one);
fn at_every_step_of_a_detached_one(lab: Lab) {
    let scene = Scene::new(lab);
    let before = tree(&scene.workspace);
    let starting =
        points("enter").chain(points("init")).filter(|point| !matches!(*point, "enter.ended" | "init.asked"));
    for point in points("detach").chain(starting) {
        let code = scene.dying(point, &scene.busy(&["enter", "--detach", &scene.task]));
        assert!(code == 1 || point == "detach.told", "{point}: {code}");
        scene.assert_clean(point);
        assert_eq!(tree(&scene.workspace), before, "{point}");
    }
}

both!(at_every_step_of_exec_and_reset);
fn at_every_step_of_exec_and_reset(lab: Lab) {
    let scene = Scene::new(lab);
    let before = tree(&scene.workspace);
    for point in points("exec") {
        let alive = Alive::start(&scene.lab, &scene.task, "");
        // What it started goes on as long as the runtime does, if it wants to.
        let quiet =
            "exec >/dev/null 2>&1 </dev/null; trap '' TERM HUP INT; setsid sh -c 'sleep 1000; :' \"$0\" & sleep 1; :";
        let words = ["exec", &scene.task, "--", "sh", "-c", quiet, &scene.marker.0];
        assert_eq!(scene.dying(point, &words), -1, "{point} is passed");
        scene.lab.dev.envctl(["exec", &scene.task, "--", "true"]).ok();
        alive.kill_owner().assert_gone();
        scene.assert_clean(point);
    }
    for point in points("reset") {
        let alive = Alive::start(&scene.lab, &scene.task, "");
        assert_eq!(scene.dying(point, &["reset", &scene.task]), -1, "{point} is passed");
        scene.lab.dev.envctl(["reset", &scene.task]).ok();
        alive.marker.assert_gone();
        scene.assert_clean(point);
    }
    assert_eq!(tree(&scene.workspace), before);
}

both!(at_every_step_of_replacing_a_workspace);
fn at_every_step_of_replacing_a_workspace(lab: Lab) {
    for point in points("refresh") {
        let scene = Scene::new(lab.with_developer(lab.dev.clone()));
        let mine = || -> Vec<PathBuf> {
            let recovery = scene.lab.dev.data().join("recovery");
            let places = fs::read_dir(recovery).into_iter().flatten().flatten().map(|entry| entry.path());
            places.chain([scene.workspace.clone()]).filter(|place| place.join("d/work").exists()).collect()
        };
        for args in [["reset", &scene.task, "--workspace"], ["reset", &scene.task, "--workspace"]] {
            fs::create_dir_all(scene.workspace.join("d")).unwrap();
            fs::write(scene.workspace.join("d/work"), "more\n").unwrap();
            let before = mine().len();
            assert_eq!(scene.dying(point, &args), -1, "{point} is passed");
            assert!(mine().len() >= before, "{point}: work is gone");
            scene.lab.dev.envctl(["status"]).ok();
            scene.lab.dev.envctl(["gc"]).ok();
            assert!(mine().len() >= before, "{point}: work is gone after an ordinary command");
            // And again, to its end.
            scene.lab.dev.envctl(args).ok();
            assert!(mine().len() >= before, "{point}");
            assert!(!scene.workspace.join("d/work").exists(), "{point}: the workspace is at its snapshot");
            scene.lab.sh(&scene.task, "true");
        }
    }
}

both!(at_every_step_of_publish);
fn at_every_step_of_publish(lab: Lab) {
    for point in points("publish") {
        let task = lab.publish(&ImageBuilder::busybox());
        let (_, name) = task.rsplit_once(':').unwrap();
        lab.repo.write("late", point);
        let image = lab.images.reference(name);
        let again =
            || lab.agent.envctl(["publish", name, "--store", &lab.store.name(), "--image", &image]).cwd(&lab.repo.path);
        assert_eq!(again().env(VARIABLE, point).run().code, -1, "{point} is passed");
        // The old one or the new one, and whole.
        let seen = lab.sh(&task, "cat late 2>/dev/null || :");
        assert!(seen.is_empty() || seen == point || point == "publish.captured", "{point}: {seen}");
        again().ok();
        lab.dev.envctl(["enter", "--refresh", &task, "--", "sh", "-c", "cat late"]).ok();
        fs::remove_file(lab.repo.path.join("late")).unwrap();
    }
}

/// A publish that is killed knows what it published, and so does the next one,
/// which is killed as well, and the one after that.
#[test]
fn at_two_steps_of_publish_one_after_the_other() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let (_, name) = task.rsplit_once(':').unwrap();
    let image = lab.images.reference(name);
    let publish = |late: &str| {
        lab.repo.write("late", late);
        lab.agent.envctl(["publish", name, "--store", &lab.store.name(), "--image", &image]).cwd(&lab.repo.path)
    };
    for first in ["publish.remembered", "publish.moved"] {
        for second in ["publish.remembered", "publish.moved"] {
            assert_eq!(publish(&format!("1 {first}")).env(VARIABLE, first).run().code, -1);
            assert_eq!(publish(&format!("2 {second}")).env(VARIABLE, second).run().code, -1);
            let last = publish("3").ok();
            assert!(!last.stderr.contains("Beside"), "{first}, {second}: {}", last.stderr);
            assert_eq!(lab.dev.envctl(["enter", "--refresh", &task, "--", "cat", "late"]).ok().stdout, "3");
        }
    }
}

#[test]
fn at_every_step_of_gc() {
    let scene = Scene::new(Lab::new());
    let before = tree(&scene.workspace);
    for point in points("gc") {
        fs::create_dir_all(scene.lab.dev.cache().join("tmp/dead/half")).unwrap();
        fs::create_dir_all(scene.lab.dev.cache().join("trash/x/entry")).unwrap();
        fs::write(scene.lab.dev.state().join("leases/000000000000.json"), "{}").unwrap();
        assert_eq!(scene.dying(point, &["gc"]), -1, "{point} is passed");
        scene.lab.dev.envctl(["gc"]).ok();
        scene.assert_clean(point);
        assert!(!scene.lab.dev.cache().join("trash/x").exists(), "{point}");
        assert_eq!(tree(&scene.workspace), before, "{point}");
    }
}

/// How many moments are tried for each of root and the unprivileged account;
/// `tests/long` asks for more.
fn moments() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "says how long to go on")]
    let wanted = std::env::var("ENVCTL_TEST_MOMENTS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(25)
}

fn kill(child: &mut Child) {
    kill_process(Pid::from_child(child), Signal::KILL).unwrap();
    child.wait().unwrap();
}

/// A random number below `limit`, the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

both!(at_any_moment);
fn at_any_moment(lab: Lab) {
    let scene = Scene::new(lab);
    let before = tree(&scene.workspace);
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for moment in 0..moments() {
        let mut child = scene.lab.dev.envctl(scene.busy(&["enter", "--fresh", &scene.task])).spawn();
        // A start takes some milliseconds; it is hit in each of its parts.
        std::thread::sleep(Duration::from_micros(dice.roll(30_000)));
        let stderr = child.stderr.take();
        kill(&mut child);
        drop(stderr);
        if moment % 10 == 9 {
            scene.assert_clean(&format!("moment {moment}"));
        }
    }
    scene.assert_clean("the last moment");
    assert_eq!(tree(&scene.workspace), before);
    assert_eq!(scene.lab.sh(&scene.task, "cat work d/work"), "precious\nmore\n");
}

both!(a_client_that_is_stopped_holds_nothing_up);
fn a_client_that_is_stopped_holds_nothing_up(lab: Lab) {
    let scene = Scene::new(lab);
    let alive = Alive::start(&scene.lab, &scene.task, "");
    let mut joined =
        scene.lab.dev.envctl(["exec", &scene.task, "--", "sh", "-c", "sleep 1000; :", &scene.marker.0]).spawn();
    until("it runs", || scene.marker.processes().iter().any(|line| !line.contains("envctl exec")));
    kill_process(Pid::from_child(&joined), Signal::STOP).unwrap();
    let reset = scene.lab.dev.envctl(["reset", "--json", &scene.task]).ok().json();
    assert_eq!(reset["baseline"], true, "{reset}");
    alive.marker.assert_gone();
    kill(&mut joined);
    scene.assert_clean("a stopped client");
}

#[test]
fn an_owner_that_is_stopped_holds_nothing_up() {
    let scene = Scene::new(Lab::new());
    let alive = Alive::start(&scene.lab, &scene.task, "");
    kill_process(Pid::from_child(&alive.owner), Signal::STOP).unwrap();
    let reset = scene.lab.dev.envctl(["reset", "--json", &scene.task]).ok().json();
    assert_eq!(reset["baseline"], true, "{reset}");
    alive.kill_owner().assert_gone();
    scene.assert_clean("a stopped owner");
}

both!(ctrl_c_twice);
fn ctrl_c_twice(lab: Lab) {
    let scene = Scene::new(lab);
    let script = "trap '' INT; echo ready-$((1+1)); sleep 1000; :";
    let words = ["enter", &scene.task, "--", "sh", "-c", script, &scene.marker.0];
    let mut terminal = Terminal::open(&scene.lab.dev, &words, (24, 80));
    terminal.sees("ready-2");
    terminal.types("\x03\x03");
    // It does not want to: another terminal ends it.
    scene.lab.dev.envctl(["reset", &scene.task]).ok();
    assert_eq!(terminal.ends(), Some(137));
    let mut terminal = Terminal::open(
        &scene.lab.dev,
        &["enter", &scene.task, "--", "sh", "-c", "echo up-$((1+1)); sleep 1000; :"],
        (24, 80),
    );
    terminal.sees("up-2");
    terminal.types("\x03");
    terminal.types("\x03");
    assert_eq!(terminal.ends(), Some(130));
    scene.assert_clean("Ctrl-C twice");
}

both!(case_54_many_first_enters_at_once);
fn case_54_many_first_enters_at_once(lab: Lab) {
    let task = lab.publish(&ImageBuilder::busybox());
    let children: Vec<Child> =
        (0..4).map(|_| lab.dev.envctl(["enter", "--fresh", &task, "--", "git", "--version"]).spawn()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        // There is no git in this image: the runtime was there to say so.
        assert_eq!(output.status.code(), Some(127), "{}", String::from_utf8_lossy(&output.stderr));
    }
    lab.assert_baseline();
    let status = lab.dev.envctl(["status", "--json"]).ok().json();
    assert_eq!(status["workspaces"].as_array().unwrap().len(), 1, "{status}");
    assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
}

both!(reset_in_the_middle_of_enter);
fn reset_in_the_middle_of_enter(lab: Lab) {
    let scene = Scene::new(lab);
    let mut dice = Dice(88_172_645_463_325_252);
    for _ in 0..10 {
        let child = scene.lab.dev.envctl(scene.busy(&["enter", &scene.task])).spawn();
        std::thread::sleep(Duration::from_micros(dice.roll(25_000)));
        let reset = scene.lab.dev.envctl(["reset", "--json", &scene.task]).ok().json();
        assert_eq!(reset["baseline"], true, "{reset}");
        let output = child.wait_with_output().unwrap();
        let code = output.status.code();
        assert!([Some(0), Some(137)].contains(&code), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    scene.assert_clean("resets in the middle");
}

both!(reset_between_the_lease_and_the_start);
/// The lease is there and pid 1 waits for its word: the one who enters is told
/// that the runtime is lost, and there is a receipt.
fn reset_between_the_lease_and_the_start(lab: Lab) {
    let scene = Scene::new(lab);
    let words = ["enter", &scene.task, "--", "true"];
    let child = scene.lab.dev.envctl(words).env(VARIABLE, "stop:enter.lease-written").spawn();
    let state = |pid: i64| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    let owner = Pid::from_child(&child);
    until("it has stopped", || state(owner.as_raw_nonzero().get().into()) == Some('T'));
    let init = Alive::lease(&scene.lab)["init"]["pid"].as_i64().unwrap();
    let reset = scene.lab.dev.envctl(["reset", "--json", &scene.task]).spawn();
    until("pid 1 is dead", || matches!(state(init), None | Some('Z')));
    kill_process(owner, Signal::CONT).unwrap();
    let reset = reset.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&reset.stdout).into_owned();
    assert!(reset.status.success() && said.contains("\"baseline\": true"), "{said}");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(137));
    scene.assert_clean("a reset before the start");
}

both!(case_51_at_every_step_of_sealing_a_cache);
fn case_51_at_every_step_of_sealing_a_cache(lab: Lab) {
    let setup = "echo made > deps/file";
    lab.repo.write("envctl.toml", format!("[[cache]]\nname = \"deps\"\npath = \"deps\"\nsetup = \"{setup}\"\n"));
    for point in points("seal") {
        let scene = Scene::new(lab.with_developer(if lab.dev.is_unprivileged() {
            crate::support::Home::unprivileged()
        } else {
            crate::support::Home::new()
        }));
        // Another key than the one that the scene has sealed.
        fs::write(
            scene.workspace.join("envctl.toml"),
            format!("[[cache]]\nname = \"deps\"\npath = \"deps\"\nsetup = \"{setup}; :\"\n"),
        )
        .unwrap();
        let before = tree(&scene.workspace);
        assert_eq!(scene.dying(point, &["enter", &scene.task, "--", "true"]), -1, "{point} is passed");
        scene.assert_clean(point);
        assert_eq!(tree(&scene.workspace), before, "{point}");
        assert_eq!(scene.lab.sh(&scene.task, "cat deps/file work"), "made\nprecious\n", "{point}");
        scene.lab.dev.envctl(["cache", "verify"]).ok();
    }
}
