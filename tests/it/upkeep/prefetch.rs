//! Warm before anybody enters.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::{Duration, Instant};

use crate::caches::{deps, found, ls, task};
use crate::support::{Home, Lab, Stopped, until};

fn promoted(lab: &Lab) -> String {
    lab.repo.write("lock", "1");
    let task = task(lab, &deps("dd if=/dev/urandom of=deps/x bs=64k count=4 2>/dev/null"));
    lab.sh(&task, "true");
    lab.dev.envctl(["cache", "promote", &task]).ok();
    task
}

#[test]
fn what_was_prefetched_needs_only_the_tag() {
    let lab = Lab::new();
    let task = promoted(&lab);
    let other = lab.with_developer(Home::new());
    let json = other.dev.envctl(["prefetch", &task, "--json"]).ok().json();
    let one = &json["prefetched"][0];
    assert!(one["bytes"].as_u64().unwrap() > 256 << 10, "{json}");
    assert_eq!(one["unsealed"], serde_json::json!([]));
    // Nothing is pinned, and nothing of the task ran.
    assert!(other.dev.envctl(["status", "--json"]).ok().json()["workspaces"].as_array().unwrap().is_empty());
    // Blobs and remote are gone; the index and the manifest are all that is asked for.
    for entry in std::fs::read_dir(lab.agent.path("store/blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::metadata(&path).unwrap().len() > 64 << 10 {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::rename(lab.agent.path("remote.git"), lab.agent.path("moved.git")).unwrap();
    other.sh(&task, "test -s deps/x");
    assert_eq!(found(&other), ["deps hit project"]);
    let again = other.dev.envctl(["prefetch", &task, "--json"]).ok().json();
    assert_eq!(again["prefetched"][0]["bytes"], 0);
}

#[test]
fn caches_that_no_store_has_are_named() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("touch deps/x"));
    let json = lab.dev.envctl(["prefetch", &task, "--json"]).ok().json();
    assert_eq!(json["prefetched"][0]["unsealed"], serde_json::json!(["deps"]));
    assert!(ls(&lab).is_empty(), "nothing of a task runs unasked");
    lab.dev.envctl(["prefetch", "--offline", &task]).code(2);
}

#[test]
fn a_watch_brings_what_needs_a_human_once() {
    let lab = Lab::new();
    promoted(&lab);
    let image = lab.images.reference("task-1");
    let publish = |task: &str, status: &str| {
        let args = ["publish", task, "--store", &lab.store.name(), "--image", &image, "--status", status];
        lab.agent.envctl(args).cwd(&lab.repo.path).ok();
    };
    publish("stuck", "needs-human");
    publish("busy", "working");
    let other = lab.with_developer(Home::new());
    let store = lab.store.name();
    let watch = |more: &[&str]| {
        let args = ["prefetch", "--watch", "--store", &store, "--rounds", "1", "--json"];
        let json = other.dev.envctl(args).args(more).ok().json();
        let names = json["prefetched"].as_array().unwrap().iter().map(|one| one["task"].as_str().unwrap().to_owned());
        names.map(|task| task.rsplit_once(':').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    // Outside of its hours, or beyond its bytes, it does nothing.
    let now: u8 = String::from_utf8(std::process::Command::new("date").arg("+%-H").output().unwrap().stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let later = format!("{}-{}", (now + 2) % 24, (now + 3) % 24);
    assert!(watch(&["--hours", &later]).is_empty());
    // What has no room is not begun with; with more room it comes at once.
    assert!(watch(&["--max-bytes", "100K"]).is_empty());
    assert!(!other.dev.cache().join("layers").exists(), "not even the image");
    assert!(watch(&["--max-bytes", "100K"]).is_empty());
    assert_eq!(watch(&["--max-bytes", "1G"]), ["stuck"]);
    assert!(watch(&[]).is_empty(), "what is here is not fetched again");
    publish("stuck", "needs-human");
    assert_eq!(watch(&[]), ["stuck"]);
    // What was removed meanwhile is brought again, but not over and over.
    for brought in [&["stuck"] as &[&str], &[]] {
        other.dev.envctl(["cache", "prune", "--all"]).ok();
        assert_eq!(watch(&[]), brought);
    }
    // Another signal than a human who is needed.
    let signals = "[[prefetch]]\nstatus = \"working\"\nbranch = \"main\"\nrepository = \"*remote.git\"\n";
    other.dev.write("config/envctl/config.toml", signals);
    assert_eq!(watch(&[]), ["busy", "task-1"]);
    let missed = signals.replace("main", "release/*");
    other.dev.write("config/envctl/config.toml", missed);
    publish("busy", "working");
    assert!(watch(&[]).is_empty());
}

#[test]
fn one_watch_for_each_store() {
    let lab = Lab::new();
    promoted(&lab);
    let store = lab.store.name();
    let args = ["prefetch", "--watch", "--store", &store, "--every", "1s"];
    let mut first = lab.dev.envctl(args).spawn();
    until("it has looked once", || lab.dev.state().join("watch").exists());
    lab.dev.envctl(args).arg("--rounds").arg("1").code(1).says(&["another envctl watches"]);
    first.kill().unwrap();
    first.wait().unwrap();
    lab.dev.envctl(args).arg("--rounds").arg("1").ok();
}

#[test]
fn an_enter_during_a_prefetch_joins_it() {
    let lab = Lab::new();
    let task = promoted(&lab);
    let other = lab.with_developer(Home::new());
    let mut took = Duration::ZERO;
    let began = Instant::now();
    let words = ["prefetch", "--rate", "700K", &task];
    let slow = Stopped::at("cold.layer-unpacked", other.dev.envctl(words));
    took += began.elapsed();
    // It waits for what the other one has begun with.
    let mut run = other.enter(&task, &["test", "-s", "deps/x"]).spawn();
    let mut said = String::new();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    while !said.contains("another envctl is pulling layer") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let began = Instant::now();
    slow.end();
    took += began.elapsed();
    assert!(took > Duration::from_secs(1), "the rate is kept: {took:?}");
    stderr.read_to_string(&mut said).unwrap();
    assert!(run.wait().unwrap().success(), "{said}");
    let report = other.report();
    let image = report["steps"].as_array().unwrap().iter().find(|step| step["name"] == "fetch.image").unwrap();
    assert_eq!(image["bytes"], 0, "{report}");
}
