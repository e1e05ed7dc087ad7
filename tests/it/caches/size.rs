//! What goes, what stays, and what never does.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{deps, folders, found, ls, task, workspace};
use crate::support::{Home, ImageBuilder, Lab, Small, until};

/// Makes every entry look as if it had last been used so long ago.
fn age(lab: &Lab, days: u64) {
    let now = fs::metadata(lab.dev.path("report.json")).unwrap().modified().unwrap();
    let then = now - Duration::from_secs(days * 86_400);
    for folder in folders(lab) {
        let used = fs::File::options().append(true).open(folder.join("used")).unwrap();
        used.set_modified(then).unwrap();
    }
}

fn removed(lab: &Lab, args: &[&str]) -> Vec<String> {
    let json = lab.dev.envctl(["cache", "prune", "--json"]).args(args).ok().json();
    json["removed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["kind"].as_str().unwrap(), one["why"].as_str().unwrap()))
        .collect()
}

#[test]
fn what_a_workspace_or_a_runtime_needs_stays() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo x > deps/x"));
    lab.sh(&task, "true");
    until("the workspace is known to need it", || ls(&lab)[0]["kept"] == "workspace");
    age(&lab, 400);
    assert!(removed(&lab, &["--all"]).is_empty());
    // Another input: the old entry is nobody's.
    workspace(&lab).write("lock", "2");
    lab.sh(&task, "true");
    until("the new one is known", || ls(&lab).iter().filter(|row| row["kept"].is_null()).count() == 1);
    age(&lab, 400);
    let dry = removed(&lab, &["--dry-run"]);
    assert_eq!(dry, ["cache nobody used it lately"]);
    assert_eq!(folders(&lab).len(), 2);
    assert_eq!(removed(&lab, &[]), dry);
    assert_eq!(folders(&lab).len(), 1);
    assert_eq!(lab.sh(&task, "cat deps/x"), "x\n");
    assert_eq!(found(&lab), ["deps hit task"]);
}

#[test]
fn by_size_the_longest_unused_goes_first() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("dd if=/dev/zero of=deps/x bs=1M count=2 2>/dev/null"));
    for version in ["1", "2", "3"] {
        lab.dev.envctl(["enter", "--no-runtime", &task]).ok();
        let path = lab.dev.envctl(["enter", "--no-runtime", &task]).ok().stdout;
        lab.repo.seen_by(&lab.dev, path.trim_end()).write("lock", version);
        lab.sh(&task, "true");
    }
    until("the last is known", || ls(&lab).iter().filter(|row| row["kept"].is_null()).count() == 2);
    let total: u64 = ls(&lab).iter().map(|row| row["bytes"].as_u64().unwrap()).sum();
    assert_eq!(total, 6 << 20);
    // The image's layer is needed, and counts.
    let size = (fs::metadata("/bin/busybox").unwrap().len() + (5 << 20)).to_string();
    assert_eq!(removed(&lab, &["--max-size", &size]), ["cache the caches are larger than they may be"]);
    assert_eq!(ls(&lab).len(), 2);
    let key = ls(&lab).iter().find(|row| row["kept"].is_null()).unwrap()["key"].as_str().unwrap().to_owned();
    assert_eq!(removed(&lab, &["--key", &key[..20]]), ["cache it was named"]);
    lab.dev.envctl(["cache", "prune", "--key", "sha256:0123456789"]).code(3);
}

#[test]
fn layers_that_no_image_here_needs_go_too() {
    let lab = Lab::new();
    let task = task(&lab, "");
    lab.sh(&task, "true");
    assert!(removed(&lab, &["--all"]).is_empty());
    // As if the workspace had been removed.
    for pin in fs::read_dir(lab.dev.data().join("pins")).unwrap() {
        fs::remove_file(pin.unwrap().path()).unwrap();
    }
    let gone = removed(&lab, &["--all"]);
    assert_eq!(gone.iter().filter(|one| *one == "layer nothing needs it").count(), 1, "{gone:?}");
}

#[test]
fn gc_follows_the_configuration() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("touch deps/x"));
    lab.sh(&task, "true");
    workspace(&lab).write("lock", "2");
    lab.sh(&task, "true");
    until("the new one is known", || ls(&lab).iter().filter(|row| row["kept"].is_null()).count() == 1);
    age(&lab, 10);
    lab.dev.envctl(["gc"]).ok();
    assert_eq!(ls(&lab).len(), 2);
    lab.dev.write("config/envctl/config.toml", "[cache]\nmax_age = \"5d\"\n");
    let gone = lab.dev.envctl(["gc", "--json"]).ok().json()["removed"].to_string();
    assert!(gone.contains("nobody used it lately"), "{gone}");
    assert_eq!(ls(&lab).len(), 1);
}

#[test]
fn case_53_pruning_beside_enters_takes_nothing_that_is_needed() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo x > deps/x"));
    lab.sh(&task, "true");
    let began = Instant::now();
    std::thread::scope(|scope| {
        // The others end when this one has, and when it fails, too.
        let going = Arc::new(());
        for _ in 0..2 {
            let on = Arc::downgrade(&going);
            let dev = &lab.dev;
            scope.spawn(move || {
                while on.strong_count() > 0 {
                    dev.envctl(["cache", "prune", "--all"]).ok();
                    // As if no workspace were known to need it.
                    for pin in fs::read_dir(dev.data().join("pins")).into_iter().flatten().flatten() {
                        let Ok(text) = fs::read_to_string(pin.path()) else { continue };
                        let Ok(mut json) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
                        json["trees"] = serde_json::json!([]);
                        let _ = fs::remove_file(pin.path());
                        fs::write(pin.path(), json.to_string()).unwrap();
                    }
                }
            });
        }
        let (on, dev) = (Arc::downgrade(&going), &lab.dev);
        scope.spawn(move || {
            while on.strong_count() > 0 {
                // What is being removed is not damaged.
                dev.envctl(["cache", "verify"]).ok();
            }
        });
        let mut turns = 0;
        while began.elapsed() < Duration::from_secs(6) || turns < 4 && began.elapsed() < Duration::from_secs(60) {
            let script = "cat deps/x; sleep 0.05; cat deps/x";
            let run = lab.dev.envctl(["enter", "--fresh", &task, "--", "sh", "-c", script]).run();
            match run.code {
                0 => {
                    assert_eq!(run.stdout, "x\nx\n", "{}", run.stderr);
                    turns += 1;
                }
                // The pin itself is being rewritten: that alone may be noticed.
                125 => assert_eq!(run.stdout, "", "{}", run.stderr),
                code => panic!("exit code {code}, after {:?}: {}", run.stdout, run.stderr),
            }
        }
        assert!(turns > 3, "{turns}");
    });
    lab.assert_baseline();
}

#[test]
fn case_50_a_full_disk_while_sealing_or_fetching_leaves_the_store_whole() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let small = Small::at(&lab.dev.path("cache"), "size=24m");
    let size = |count: u32| deps(&format!("dd if=/dev/urandom of=deps/x bs=1M count={count} 2>&1; test -s deps/x"));
    let fits = task(&lab, &size(2));
    lab.sh(&fits, "true");
    let kept = ls(&lab);
    // dd runs out of space: its words say so, and nothing of it stays.
    let large = task(&lab, &deps("dd if=/dev/urandom of=deps/x bs=1M count=200"));
    lab.enter(&large, &["true"]).ok().says(&["the setup of the cache deps failed", "No space left on device"]);
    assert_eq!(ls(&lab), kept);
    until("nothing is left", || lab.leftovers().is_empty());
    lab.dev.envctl(["cache", "verify"]).ok();
    small.remount("size=600m");
    lab.sh(&large, "test -s deps/x");
    lab.dev.envctl(["cache", "promote", &large]).ok();
    // The same when it comes from a store.
    let other = lab.with_developer(Home::new());
    let small = Small::at(&other.dev.path("cache"), "size=24m");
    let run = other.enter(&large, &["true"]).code(125);
    let said = run.stderr.contains("needs about") || run.stderr.contains("o space left");
    assert!(said, "{}", run.stderr);
    assert!(ls(&other).is_empty());
    until("nothing is left", || other.leftovers().is_empty());
    small.remount("size=600m");
    other.sh(&large, "test -s deps/x");
}

/// The bytes and the names below a folder, without locks, which hold nothing, and
/// the version of the folder.
fn contents(folder: &std::path::Path) -> (u64, Vec<std::path::PathBuf>) {
    let (mut bytes, mut names) = (0, Vec::new());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            let (more, below) = contents(&path);
            bytes += more;
            names.extend(below);
        } else if !path.parent().is_some_and(|parent| parent.ends_with("locks")) && !path.ends_with("format") {
            bytes += fs::symlink_metadata(&path).unwrap().len();
            names.push(path);
        }
    }
    (bytes, names)
}

/// A task with a large file, entered in each of its versions.
fn with_versions(lab: &Lab, versions: u8) -> String {
    lab.repo.write("lock", "1");
    lab.repo.write("envctl.toml", deps("echo x > deps/x"));
    lab.repo.write(".gitignore", "deps\n");
    let image = lab.images.add("versions", &ImageBuilder::busybox()).reference;
    let task = lab.store.reference("versions");
    for version in 0..versions {
        lab.repo.write("work", format!("version {version}\n").repeat(1000));
        let args = ["publish", "versions", "--yes", "--image", &image, "--store", &lab.store.name()];
        lab.agent.envctl(args).cwd(&lab.repo.path).ok();
        lab.dev.envctl(["enter", "--refresh", &task, "--", "true"]).ok();
    }
    lab.pins_at_rest();
    task
}

#[test]
fn every_byte_has_an_owner() {
    let lab = Lab::new();
    let task = with_versions(&lab, 3);
    let blobs = || fs::read_dir(lab.dev.cache().join("blobs/sha256")).unwrap().count();
    let before = blobs();
    // Old versions count, and go; what the workspace was made from stays.
    let plan = removed(&lab, &["--max-size", "1K", "--dry-run"]);
    assert!(plan.iter().any(|one| one == "blob the caches are larger than they may be"), "{plan:?}");
    assert_eq!(blobs(), before);
    removed(&lab, &["--max-size", "1K"]);
    assert!(blobs() < before, "{before}");
    let renewed = ["reset", "--workspace", &task, "--offline"];
    lab.dev.envctl(renewed).ok();
    lab.dev.envctl(["enter", "--offline", &task, "--", "true"]).ok();
    // A folder that a person removed needs nothing.
    let path = lab.dev.envctl(["workspace", "path", &task]).ok().stdout;
    envctl::disk::remove::tree(path.trim().as_ref()).unwrap();
    lab.dev.envctl(["gc"]).ok();
    lab.dev.envctl(["cache", "prune", "--all"]).ok();
    assert_eq!(blobs(), 0);
}

#[test]
fn without_a_workspace_nothing_is_left() {
    let lab = Lab::new();
    let task = with_versions(&lab, 2);
    let own = lab.dev.path("own");
    lab.dev.envctl(["enter", &task, "--no-runtime", "--into", own.to_str().unwrap()]).ok();
    lab.pins_at_rest();
    lab.dev.envctl(["workspace", "rm", &task, "--yes"]).ok();
    // `enter --refresh` set the older version aside, whatever was in it.
    for folder in ["recovery", "salvages"] {
        envctl::disk::remove::tree(&lab.dev.data().join(folder)).unwrap();
    }
    let mirrors = || fs::read_dir(lab.dev.data().join("repos")).unwrap().count();
    lab.dev.envctl(["cache", "prune", "--all"]).ok();
    assert_eq!(mirrors(), 1, "a folder of the developer's borrows from it");
    envctl::disk::remove::tree(&own).unwrap();
    let pins = fs::read_dir(lab.dev.data().join("pins")).unwrap();
    pins.for_each(|pin| fs::remove_file(pin.unwrap().path()).unwrap());
    lab.dev.envctl(["cache", "prune", "--all"]).ok();
    until("what was thrown away is gone", || contents(&lab.dev.cache()).0 == 0);
    assert_eq!((contents(&lab.dev.cache()).1, mirrors()), (Vec::new(), 0));
    for identity in fs::read_dir(lab.dev.data().join("identities")).unwrap() {
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::open(identity.unwrap().path()).unwrap().set_modified(old).unwrap();
    }
    lab.dev.envctl(["gc"]).ok();
    assert_eq!(fs::read_dir(lab.dev.data().join("identities")).unwrap().count(), 0);
    // All of it can be had again.
    lab.dev.envctl(["enter", &task, "--", "true"]).ok();
}
