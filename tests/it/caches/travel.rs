//! Entries that come from a store, and go there.

use std::fs;

use serde_json::{Value, json};

use super::{deps, found, ls, task, tree, workspace};

use crate::support::{Home, ImageBuilder, Lab, RealRegistry, until};

/// A second developer with nothing.
fn fresh(lab: &Lab) -> Lab {
    lab.with_developer(if lab.dev.is_unprivileged() { Home::unprivileged() } else { Home::new() })
}

const SETUP: &str = "echo x > deps/x; mkdir deps/d; chmod 700 deps/d; ln -s x deps/l; ln deps/x deps/hard; cat /proc/sys/kernel/random/uuid > deps/when";

both!(a_promoted_entry_serves_every_task_everywhere);
fn a_promoted_entry_serves_every_task_everywhere(lab: Lab) {
    lab.repo.write("lock", "1");
    let first = task(&lab, &deps(SETUP));
    let when = lab.sh(&first, "cat deps/when");
    // Another task does not have it, here or elsewhere.
    let second = task(&lab, &deps(SETUP));
    assert_ne!(lab.sh(&second, "cat deps/when"), when);
    let row = lab.dev.envctl(["cache", "promote", &first]).ok().says(&["Pushed", "project scope"]).stdout;
    assert!(row.starts_with("deps  sha256:"), "{row}");
    lab.dev.envctl(["cache", "promote", &first]).ok();
    let third = task(&lab, &deps(SETUP));
    assert_eq!(lab.sh(&third, "cat deps/when"), when);
    assert_eq!(found(&lab), ["deps hit project"]);
    let other = fresh(&lab);
    assert_eq!(other.sh(&third, "cat deps/when; cat deps/l; stat -c %a deps/d"), format!("{when}x\n700\n"));
    assert_eq!(found(&other), ["deps fetched project"]);
    assert_eq!(other.report()["caches"][0]["digest"], lab.report()["caches"][0]["digest"]);
    let tree = tree(&other);
    assert_eq!(fs::metadata(tree.join("x")).unwrap().len(), 2);
    other.sh(&third, "true");
    assert_eq!(found(&other), ["deps hit project"]);
    // The store lists no task more for it.
    let tasks = lab.dev.envctl(["tasks", "--store", &lab.store.name(), "--json"]).ok().json();
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 3);
}

#[test]
fn what_a_task_sealed_goes_along_with_the_task_alone() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let first = task(&lab, &deps(SETUP));
    let when = lab.sh(&first, "cat deps/when");
    let image = lab.images.reference("task-1");
    let publishing = lab.dev.envctl(["publish", "--store", &lab.store.name(), "--image", &image]);
    publishing.cwd(&workspace(&lab).path).ok().says(&["Pushed", "the cache deps (task scope)"]);
    let other = fresh(&lab);
    assert_eq!(other.sh(&first, "cat deps/when"), when);
    assert_eq!(found(&other), ["deps fetched task"]);
    // The identity names what it held.
    let identity = other.dev.envctl(["show", "--json", &first]).ok().json()["identity"].clone();
    assert_eq!(identity["caches"][0]["digest"], other.report()["caches"][0]["digest"]);
    // Nobody else's task believes it.
    let stranger = task(&lab, &deps(SETUP));
    assert_ne!(other.sh(&stranger, "cat deps/when"), when);
    assert_eq!(found(&other), ["deps sealed task"]);
}

#[test]
fn through_a_registry_and_back_to_a_folder() {
    let lab = Lab::new();
    let registry = RealRegistry::start();
    lab.repo.write("lock", "1");
    lab.repo.write("envctl.toml", deps(SETUP));
    let store = registry.repository("tasks");
    let image = lab.images.add("image", &ImageBuilder::busybox()).reference;
    let publish = |task: &str| {
        let args = ["publish", task, "--store", &store, "--image", &image];
        lab.agent.envctl(args).cwd(&lab.repo.path).ok();
        format!("{store}:{task}")
    };
    let first = publish("one");
    let when = lab.sh(&first, "cat deps/when");
    lab.dev.envctl(["cache", "promote", &first]).ok();
    let second = publish("two");
    let other = fresh(&lab);
    assert_eq!(other.sh(&second, "cat deps/when"), when);
    assert_eq!(found(&other), ["deps fetched project"]);
}

/// Replaces what the store has under an entry's tag.
fn swap_tag(lab: &Lab, change: impl FnOnce(&mut Value, &mut Value)) {
    let tag = lab.store.tags().into_iter().find(|tag| tag.starts_with("cache-")).unwrap();
    let read = |digest: &str| -> Value { serde_json::from_slice(&fs::read(lab.store.blob(digest)).unwrap()).unwrap() };
    let mut manifest = read(&lab.store.digest_of(&tag));
    let mut config = read(manifest["config"]["digest"].as_str().unwrap());
    change(&mut manifest, &mut config);
    let bytes = serde_json::to_vec(&config).unwrap();
    let mut descriptor = lab.store.put("application/vnd.envctl.cache.v1+json", &bytes);
    descriptor["data"] = Value::Null;
    descriptor.as_object_mut().unwrap().remove("data");
    manifest["config"] = descriptor;
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let descriptor = lab.store.put("application/vnd.oci.image.manifest.v1+json", &bytes);
    lab.store.tag(&tag, descriptor);
}

#[test]
fn case_26_an_entry_that_lies_is_made_again() {
    type Lie = (&'static str, fn(&mut Value, &mut Value));
    let cases: [Lie; 7] = [
        ("its key", |_, config| config["key"] = json!(format!("sha256:{}", "1".repeat(64)))),
        ("what its key is made of", |_, config| config["components"]["setup"] = json!("other")),
        ("what it holds", |_, config| config["tree"]["digest"] = json!(format!("sha256:{}", "2".repeat(64)))),
        ("its tar", |_, config| config["diff_id"] = json!(format!("sha256:{}", "3".repeat(64)))),
        ("its schema", |_, config| config["schema"] = json!(9)),
        ("its size", |manifest, _| manifest["layers"][0]["size"] = json!(5)),
        ("its layers", |manifest, _| manifest["layers"] = json!([])),
    ];
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo good > deps/x"));
    lab.sh(&task, "true");
    lab.dev.envctl(["cache", "promote", &task]).ok();
    let tag = lab.store.tags().into_iter().find(|tag| tag.starts_with("cache-")).unwrap();
    let honest = lab.store.digest_of(&tag);
    for (what, change) in cases {
        swap_tag(&lab, change);
        let other = fresh(&lab);
        let run =
            other.enter(&task, &["cat", "deps/x"]).ok().says(&["cannot be had from the store", "it is made again"]);
        assert_eq!(run.stdout, "good\n", "{what}");
        assert_eq!(found(&other), ["deps sealed task"], "{what}");
        until("nothing is left", || other.leftovers().is_empty());
        let bytes = fs::read(lab.store.blob(&honest)).unwrap();
        let descriptor = lab.store.put("application/vnd.oci.image.manifest.v1+json", &bytes);
        lab.store.tag(&tag, descriptor);
    }
}

#[test]
fn case_56_a_truncated_or_swapped_layer_is_made_again() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo good > deps/x"));
    lab.sh(&task, "true");
    lab.dev.envctl(["cache", "promote", &task]).ok();
    let tag = lab.store.tags().into_iter().find(|tag| tag.starts_with("cache-")).unwrap();
    let manifest: Value =
        serde_json::from_slice(&fs::read(lab.store.blob(&lab.store.digest_of(&tag))).unwrap()).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let whole = fs::read(lab.store.blob(layer)).unwrap();
    for bytes in [Some(&whole[..whole.len() / 2]), Some(&b"nonsense"[..]), None] {
        lab.store.swap(layer, bytes);
        let other = fresh(&lab);
        assert_eq!(other.enter(&task, &["cat", "deps/x"]).ok().says(&["it is made again"]).stdout, "good\n");
        until("nothing is left", || other.leftovers().is_empty());
    }
}

#[test]
fn another_content_than_the_identity_pins_is_not_used() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps(SETUP));
    lab.sh(&task, "true");
    let image = lab.images.reference("task-1");
    lab.dev.envctl(["publish", "--store", &lab.store.name(), "--image", &image]).cwd(&workspace(&lab).path).ok();
    // Somebody who may write the store puts another result under the task's tag.
    let evil = fresh(&lab);
    let tag = lab.store.tags().into_iter().find(|tag| tag.starts_with("cache-")).unwrap();
    let honest = lab.store.digest_of(&tag);
    lab.store.swap(&honest, None);
    evil.sh(&task, "true");
    assert_eq!(found(&evil), ["deps sealed task"]);
    evil.dev
        .envctl(["publish", "--store", &lab.store.name(), "--image", &image, "--fork", "evil"])
        .cwd(&workspace(&evil).path)
        .run();
    evil.dev.envctl(["cache", "promote", &task]).ok();
    let other = fresh(&lab);
    other.enter(&task, &["true"]).ok().says(&["the identity says"]);
    assert_eq!(found(&other), ["deps sealed task"]);
}

#[test]
fn fixtures_are_given_by_digest_and_read_only() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let first = task(&lab, &deps("echo golden > deps/x"));
    lab.sh(&first, "true");
    lab.dev.envctl(["cache", "promote", &first]).ok();
    let tag = lab.store.tags().into_iter().find(|tag| tag.starts_with("cache-")).unwrap();
    let digest = lab.store.digest_of(&tag);
    let fixture = |source: &str| format!("[[fixture]]\nname = \"gold\"\nsource = \"{source}\"\npath = \"gold\"\n");
    let second = task(&lab, &fixture(&format!("@{digest}")));
    let other = fresh(&lab);
    let run = other.enter(&second, &["sh", "-c", "cat gold/x; echo y > gold/x || echo kept"]).ok();
    assert_eq!(run.stdout, "golden\nkept\n");
    assert_eq!(found(&other), ["gold fetched project"]);
    // An image will do as well.
    let layer = crate::support::Layer::new([crate::support::Entry::file("data", "from a layer\n")]);
    let image = lab.store.add("fixture-image", &ImageBuilder::new().layer(layer)).digest;
    let third = task(&lab, &fixture(&format!("@{image}")));
    assert_eq!(other.sh(&third, "cat gold/data"), "from a layer\n");
    lab.repo.write("envctl.toml", fixture(&format!("@sha256:{}", "4".repeat(64))));
    let image = lab.images.reference("task-1");
    lab.try_publish(&image).code(2).says(&["the fixture gold is not in oci:", "envctl fixture create"]);
    // Another store is another matter.
    let foreign = task(&lab, &fixture(&format!("registry.example/data@sha256:{}", "4".repeat(64))));
    other.enter(&foreign, &["true"]).code(125).says(&["not approved", "registry.example/data"]);
}

both!(a_fixture_is_made_of_a_folder_and_has_versions);
fn a_fixture_is_made_of_a_folder_and_has_versions(lab: Lab) {
    let store = lab.store.name();
    let create = || {
        let words = ["fixture", "create", "rows", "--as", "rows", "--store", &store];
        lab.agent.envctl(words).cwd(&lab.repo.path).ok().stdout.trim().to_owned()
    };
    lab.repo.write(".gitignore", "rows\n");
    lab.repo.write("rows/deep/a", "first\n");
    let first = create();
    lab.repo.write("rows/deep/a", "second\n");
    let second = create();
    assert_ne!(first, second);
    // What is printed is what a project says; the older one is still there.
    let fixture = |source: &str| format!("[[fixture]]\nname = \"rows\"\n{source}\npath = \"gold\"\n");
    let read = "cat gold/deep/a; touch gold/x || echo kept";
    assert_eq!(lab.sh(&task(&lab, &fixture(&first)), read), "first\nkept\n");
    assert_eq!(lab.sh(&task(&lab, &fixture(&second)), read), "second\nkept\n");
    let listed = lab.dev.envctl(["fixture", "ls", "--store", &store, "--json"]).ok().json();
    let sources: Vec<String> = listed["fixtures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("source = {} {}", row["source"], row["newest"]))
        .collect();
    assert_eq!(sources, [format!("{second} true"), format!("{first} false")]);
    // Where it cannot be, nothing runs without it.
    lab.repo.write("gold/tracked", "x");
    lab.repo.commit("in the way");
    let run = lab.enter(&task(&lab, &fixture(&second)), &["echo", "ran"]).code(125);
    assert!(run.stderr.contains("the fixture rows cannot be at gold") && run.stdout.is_empty(), "{run:?}");
    lab.assert_baseline();
}

/// From the command that makes the data to those who work with them: what it prints, a
/// folder that it fills, and what a service holds, each a fixture of its own.
#[test]
fn a_fixture_is_made_by_a_command_or_of_the_data_of_a_service() {
    let lab = Lab::unprivileged();
    let store = lab.store.name();
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    let create = |words: &[&str]| {
        let words = [&["fixture", "create", "--store", &store], words].concat();
        lab.agent.envctl(words).cwd(&lab.repo.path)
    };
    lab.repo.write("seed", "row\n");
    let print = ["--as", "seed", "--file", "rows", "--image", &image, "--", "sh", "-c"];
    create(&[&print[..], &["echo half; exit 3"]].concat()).code(1).says(&["no fixture was made", "with 3"]);
    lab.agent.write("config/envctl/config.toml", "[workspace]\nmax_fetch = \"3M\"\n");
    create(&[&print[..], &["yes"]].concat()).code(6).says(&["no fixture was made", "more than 3"]);
    lab.agent.write("config/envctl/config.toml", "");
    // Only what is printed counts; what is said meanwhile is shown.
    let seed = create(&[&print[..], &["cat seed; touch made; echo working >&2"]].concat()).ok();
    let seed = seed.says(&["working", "Stored"]);
    let fill = "mkdir -p out/deep; echo first >out/deep/a; ln -s a out/deep/l; echo said";
    let folder = create(&["out", "--as", "folder", "--image", &image, "--", "sh", "-c", fill]).ok();
    assert!(folder.stderr.contains("said") && !folder.stdout.contains("said"), "{folder:?}");
    let status = lab.agent.envctl(["status", "--json"]).ok().json();
    let kept: Vec<_> = status["workspaces"].as_array().unwrap().iter().map(|row| row["path"].clone()).collect();
    assert!(kept.is_empty(), "what a run made is in the store: {kept:?}");
    assert!(!lab.repo.path.join("made").exists());
    let project = format!(
        "[[fixture]]\nname = \"seed\"\n{}\n\
         [[fixture]]\nname = \"folder\"\n{}\npath = \"given\"\n\
         [[service]]\nname = \"db\"\ncommand = [\"sh\", \"-c\", \"echo more >>/srv/db/rows; sleep 1000\"]\n\
         ready = \"cmd:grep -q more /srv/db/rows\"\ndata = {{ fixture = \"seed\", path = \"/srv/db\" }}\n",
        seed.stdout.trim(),
        folder.stdout.trim()
    );
    let task = task(&lab, &project);
    // All of it comes before anybody needs it.
    lab.dev.envctl(["prefetch", &task]).ok();
    let (here, away) = (store.trim_start_matches("oci:"), lab.agent.path("away"));
    fs::rename(here, &away).unwrap();
    lab.dev.envctl(["enter", "--offline", "--detach", &task]).ok();
    fs::rename(&away, here).unwrap();
    let read = ["exec", &task, "--", "cat", "given/deep/l", "/srv/db/rows"];
    assert_eq!(lab.dev.envctl(read).ok().stdout, "first\nrow\nmore\n");
    let dump = |words: &[&str]| {
        let words = [&["fixture", "create", "--store", &store, "--task", &task, "--as", "dump"], words].concat();
        lab.dev.envctl(words)
    };
    dump(&["--from-service", "no"]).code(3).says(&["no service no", "it has db"]);
    let data = dump(&["--from-service", "db"]).ok().stdout;
    let text = dump(&["--", "cat", "/srv/db/rows"]).ok().stdout;
    lab.dev.envctl(["reset", &task]).ok();
    let of = |source: &str| {
        lab.repo.write("envctl.toml", format!("[[fixture]]\nname = \"dump\"\n{source}path = \"/data\"\n"));
        let image = lab.images.reference("here");
        let published = lab.try_publish(&image).ok();
        published.stdout.lines().find_map(|line| line.strip_prefix("envctl enter ")).unwrap().to_owned()
    };
    assert_eq!(lab.sh(&of(&data), "cat /data/rows"), "row\nmore\n");
    assert_eq!(lab.sh(&of(&text), "cat /data/dump"), "row\nmore\n");
    lab.assert_baseline();
}

#[test]
fn offline_uses_what_is_here() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo x > deps/x"));
    lab.sh(&task, "true");
    fs::rename(lab.store.name().trim_start_matches("oci:"), lab.agent.path("gone")).unwrap();
    assert_eq!(lab.sh(&task, "cat deps/x"), "x\n");
    assert_eq!(found(&lab), ["deps hit task"]);
    assert_eq!(ls(&lab).len(), 1);
}

#[test]
fn case_18_digests_and_keys_that_are_none() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let task = task(&lab, &deps("echo good > deps/x"));
    lab.sh(&task, "true");
    lab.dev.envctl(["cache", "promote", &task]).ok();
    let tag = lab.store.tags().into_iter().find(|tag| tag.starts_with("cache-")).unwrap();
    let honest = fs::read(lab.store.blob(&lab.store.digest_of(&tag))).unwrap();
    for bad in ["sha256:../../x", "sha256:ABCDEF", "md5:0123", "sha256:", "../../../etc/passwd"] {
        for place in ["key", "diff_id"] {
            swap_tag(&lab, |_, config| config[place] = json!(bad));
            let other = fresh(&lab);
            let run = other.enter(&task, &["cat", "deps/x"]).ok().says(&["its description is malformed"]);
            assert_eq!(run.stdout, "good\n", "{bad}");
            let descriptor = lab.store.put("application/vnd.oci.image.manifest.v1+json", &honest);
            lab.store.tag(&tag, descriptor);
        }
    }
}

#[test]
fn case_08_a_tree_cannot_bring_its_own_record() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    let setup =
        "cd deps; echo '{}' > entry.json; ln -s /etc/passwd used; mkdir fs; echo x > fs/x; ln -s fs ../deps/other";
    let first = task(&lab, &deps(setup));
    let look = "cat deps/entry.json; readlink deps/used; cat deps/other/x";
    assert_eq!(lab.sh(&first, look), "{}\n/etc/passwd\nx\n");
    lab.dev.envctl(["cache", "promote", &first]).ok();
    let other = fresh(&lab);
    assert_eq!(other.sh(&first, look), "{}\n/etc/passwd\nx\n");
    assert_eq!(found(&other), ["deps fetched project"]);
    other.dev.envctl(["cache", "verify"]).ok();
    assert_eq!(ls(&other)[0]["hits"], 1);
}

#[test]
fn what_runs_of_a_checkout_sealed_is_published_with_it() {
    let lab = Lab::new();
    lab.repo.write("lock", "1");
    lab.repo.write(".gitignore", "deps\nbuild\n");
    // The network of the setups: only who makes an entry is asked for it.
    let made = "cat /proc/sys/kernel/random/uuid";
    let cache = |name: &str, path: &str| {
        format!(
            "[[cache]]\nname = \"{name}\"\ninputs = [\"lock\"]\npath = \"{path}\"\nsetup = '{made} > {path}/made'\nnetwork = \"private\"\n"
        )
    };
    lab.repo.write("envctl.toml", cache("deps", "node_modules") + &cache("build", "build"));
    let image = lab.images.add("image", &crate::support::ImageBuilder::busybox()).reference;
    let agent = |words: &[&str]| lab.agent.envctl(words).cwd(&lab.repo.path);
    let shown = ["sh", "-c", "cat node_modules/made build/made"];
    let run = ["run", "--image", &image, "--"];
    let refused = agent(&run).args(shown).code(125).says(&["a private network for the setup of the cache deps"]).stderr;
    let digest = refused.split("--digest ").nth(1).unwrap().split_whitespace().next().unwrap();
    lab.agent.envctl(["approve", "--digest", digest]).ok();
    let made = agent(&run).args(shown).ok().stdout;
    assert_eq!(made.lines().count(), 2, "{made}");
    let store = lab.store.name();
    let as_it_goes = ["run", "--publish", "--as", "during", "--store", &store, "--image", &image, "--"];
    assert_eq!(agent(&as_it_goes).args(shown).ok().stdout, made);
    agent(&["publish", "plain", "--store", &store, "--image", &image])
        .ok()
        .says(&["Pushed the cache deps (task scope)"]);
    for task in ["during", "plain"] {
        let other = lab.with_developer(Home::new());
        let task = format!("{store}:{task}");
        assert_eq!(other.enter(&task, &shown).ok().stdout, made, "{task}");
        assert_eq!(found(&other), ["deps fetched task", "build fetched task"]);
        other.assert_baseline();
    }
    // Another checkout that says that it has the same remote has nothing to give.
    let elsewhere = lab.agent.path("elsewhere");
    lab.agent.call("cp", ["-a", lab.repo.path.to_str().unwrap(), elsewhere.to_str().unwrap()]).ok();
    let publish = ["publish", "foreign", "--store", &store, "--image", &image];
    let said = lab.agent.envctl(publish).cwd(&elsewhere).ok().stderr;
    assert!(!said.contains("Pushed the cache"), "{said}");
}
