//! How many requests each verb sends: a round trip more is felt by everybody who
//! is far from their registry.

use std::time::{Duration, Instant};

use crate::support::{Call, ImageBuilder, Lab, RealRegistry, Wants};

/// How many requests a command sends; `usual` of them are waited for, because one
/// is noted when it was answered.
fn sent(registry: &RealRegistry, usual: usize, call: Call) -> Vec<String> {
    let before = registry.requests().len();
    call.ok();
    let patience = Instant::now() + Duration::from_secs(30);
    while registry.requests().len() < before + usual && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
    registry.requests().split_off(before)
}

#[test]
fn no_verb_sends_more_requests_than_it_did() {
    let registry = RealRegistry::that(Wants { noted: true, ..Wants::default() });
    let lab = Lab::new();
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let store = registry.repository("acme/tasks");
    let task = |name: &str| format!("{store}:{name}");
    let publish = |name: &str| {
        lab.repo.write("new", name);
        lab.agent.envctl(["publish", name, "--store", &store, "--image", &image]).cwd(&lab.repo.path)
    };
    let dev = |words: &[&str]| lab.dev.envctl(words);
    // Who entered is left in the background; this developer says nothing at first.
    lab.dev.write(lab.dev.config().join("config.toml"), "claims = false\n");
    let mut other = Vec::new();
    let mut sends = |usual: usize, what: &str, call: Call| {
        let requests = sent(&registry, usual, call);
        if requests.len() != usual {
            other.push(format!("{what}: {} instead of {usual}: {requests:#?}", requests.len()));
        }
    };
    // One of a publish looks once more whether another has gone over it, and one
    // of a first enter and of `show` asks for what was published beside the task.
    sends(28, "a first publish", publish("a"));
    sends(22, "another publish", publish("b"));
    sends(12, "a first enter", lab.enter(&task("a"), &["true"]));
    sends(0, "a warm enter", lab.enter(&task("a"), &["true"]));
    sends(1, "enter --refresh", dev(&["enter", "--refresh", &task("a"), "--", "true"]));
    sends(0, "enter --dry-run of what is here", dev(&["enter", "--dry-run", &task("a")]));
    sends(8, "enter of another task", lab.enter(&task("b"), &["true"]));
    sends(3, "tasks", dev(&["tasks", "--store", &store]));
    sends(2, "show", dev(&["show", &task("a")]));
    sends(1, "log", dev(&["log", &task("a")]));
    sends(3, "artifacts ls", dev(&["artifacts", "ls", &task("a")]));
    sends(22, "a third publish", publish("c"));
    sends(4, "prefetch", dev(&["prefetch", &task("c")]));
    let watch = ["prefetch", "--watch", "--rounds", "1", "--store", &store];
    dev(&watch).ok();
    sends(1, "a look of a watch in which nothing is new", dev(&watch));
    sends(0, "enter --offline of what was prefetched", dev(&["enter", "--offline", &task("c"), "--", "true"]));
    dev(&["workspace", "rm", &task("c"), "--yes"]).ok();
    lab.dev.write(lab.dev.config().join("config.toml"), "claims = true\n");
    sends(15, "enter with a claim", lab.enter(&task("c"), &["true"]));
    assert!(other.is_empty(), "{}", other.join("\n"));
}
