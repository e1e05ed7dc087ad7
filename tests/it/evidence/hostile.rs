//! A store whose list of artifacts was written by somebody else.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Shop;
use crate::support::{Answer, Liar, sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const PROVENANCE: &str = "vnd.envctl.provenance.v1";
const ARTIFACT: &str = "application/vnd.envctl.artifact.v1+json";

/// A task with one good artifact, and what an attacker adds to the list.
struct Den {
    shop: Shop,
    tag: String,
    good: Value,
    manifest: Value,
}

impl Den {
    fn new() -> Self {
        let shop = Shop::new();
        shop.publish("t");
        shop.add("t", "good.log", "good", &["--type", "logs"]).ok();
        let store = &shop.trip.lab.store;
        let tag = store.tags().into_iter().find(|tag| tag.starts_with("sha256-")).unwrap();
        let good = store.document(&tag)["manifests"][0].clone();
        let manifest = fs::read(store.blob(good["digest"].as_str().unwrap())).unwrap();
        Den { tag, good, manifest: serde_json::from_slice(&manifest).unwrap(), shop }
    }

    /// An artifact like the good one, with another provenance and content.
    fn forged(&self, edit: impl FnOnce(&mut Value, &mut Value)) -> Value {
        let store = &self.shop.trip.lab.store;
        let told = self.manifest["layers"][0]["annotations"][PROVENANCE].as_str().unwrap();
        let mut provenance: Value = serde_json::from_str(told).unwrap();
        let mut manifest = self.manifest.clone();
        edit(&mut provenance, &mut manifest);
        manifest["layers"][0]["annotations"][PROVENANCE] = serde_json::to_string(&provenance).unwrap().into();
        let mut descriptor = store.put(MANIFEST, &serde_json::to_vec(&manifest).unwrap());
        descriptor["artifactType"] = ARTIFACT.into();
        descriptor
    }

    /// Writes the list anew.
    fn list(&self, entries: &[Value]) {
        let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        self.raw_list(&list);
    }

    fn raw_list(&self, list: &Value) {
        let store = &self.shop.trip.lab.store;
        let descriptor = store.put(INDEX, &serde_json::to_vec(list).unwrap());
        store.tag(&self.tag, descriptor);
    }

    fn task(&self) -> String {
        self.shop.reference("t")
    }
}

#[test]
fn case_26_case_47_names_choose_nothing() {
    let den = Den::new();
    let long = "x".repeat(300);
    let outside = den.shop.trip.lab.dev.path("escaped");
    let absolute = outside.display().to_string();
    let names =
        ["../../../escaped", &absolute, "..", "", "a\u{1b}[2Jb\nc", "-rf", "good.log", "a\u{202e}b", &long, ".bashrc"];
    let mut entries = vec![den.good.clone()];
    for name in names {
        entries.push(den.forged(|provenance, manifest| {
            provenance["name"] = name.into();
            provenance["path"] = "/etc/passwd".into();
            manifest["layers"][0]["annotations"]["org.opencontainers.image.title"] = "/etc/shadow".into();
        }));
    }
    den.list(&entries);
    let run = den.shop.dev(["artifacts", "get", &den.task()]).ok();
    let folder = PathBuf::from(run.stdout.trim());
    let files: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files.len(), entries.len(), "{files:?}");
    for file in &files {
        let plain = file.starts_with("good") || file.starts_with("artifact-") || file == ".bashrc";
        assert!(plain && !file.chars().any(char::is_control), "{file:?}");
        assert_eq!(fs::read(folder.join(file)).unwrap(), b"good");
    }
    for verb in ["ls", "verify"] {
        let run = den.shop.dev(["artifacts", verb, &den.task()]).ok();
        assert!(!run.stdout.contains(['\u{1b}', '\u{202e}']), "{:?}", run.stdout);
        assert_eq!(run.stdout.lines().count(), entries.len(), "one line each: {:?}", run.stdout);
    }
    // With a folder of the developer's, too.
    let output = den.shop.trip.lab.dev.path("out");
    den.shop.dev(["artifacts", "get", &den.task(), "--output", output.to_str().unwrap()]).ok();
    assert_eq!(fs::read_dir(&output).unwrap().count(), entries.len());
    assert!(!outside.exists());
}

#[test]
fn case_20_lists_and_artifacts_that_are_two_things() {
    let den = Den::new();
    for (field, value) in [("layers", json!([])), ("config", json!({}))] {
        let mut list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [den.good] });
        list[field] = value;
        den.raw_list(&list);
        den.shop.dev(["artifacts", "ls", &den.task()]).code(5).says(&["ambiguous"]);
        // Nobody writes over what is not theirs.
        den.shop.add("t", "more", "x", &["--type", "logs"]).code(5).says(&["in use by something else"]);
    }
    let both = den.forged(|_, manifest| manifest["manifests"] = json!([]));
    den.list(&[den.good.clone(), both]);
    let run = den
        .shop
        .dev(["artifacts", "ls", &den.task(), "-v"])
        .ok()
        .says(&["ambiguous", "left out: at least 1 artifact "]);
    assert_eq!(run.stdout.lines().count(), 1);
}

#[test]
fn what_is_foreign_or_malformed_is_left_out_by_name() {
    let den = Den::new();
    let store = &den.shop.trip.lab.store;
    let signature = {
        let mut manifest = den.manifest.clone();
        manifest["artifactType"] = "application/vnd.example.signature".into();
        let mut descriptor = store.put(MANIFEST, &serde_json::to_vec(&manifest).unwrap());
        descriptor["artifactType"] = "application/vnd.example.signature".into();
        descriptor
    };
    let elsewhere = den.forged(|_, manifest| manifest["subject"]["digest"] = sha256(b"other").into());
    let two = den.forged(|_, manifest| {
        let mut untold = manifest["layers"][0].clone();
        untold["annotations"] = json!({});
        manifest["layers"].as_array_mut().unwrap().push(untold);
    });
    let lying = den.forged(|provenance, _| provenance["digest"] = sha256(b"other").into());
    let unknown = den.forged(|provenance, _| provenance["artifact_type"] = "poem".into());
    let newer = den.forged(|provenance, _| provenance["schema"] = 2.into());
    let missing = json!({ "mediaType": MANIFEST, "digest": sha256(b"nowhere"), "size": 7 });
    let huge = json!({ "mediaType": MANIFEST, "digest": den.good["digest"], "size": 1u64 << 40 });
    let odd = json!({ "mediaType": MANIFEST, "digest": "sha256:../../../../etc/passwd", "size": 7 });
    let index = json!({ "mediaType": INDEX, "digest": sha256(b"index"), "size": 7 });
    let bad = [elsewhere, two, lying, unknown, newer, missing, huge, odd, index, json!("text"), json!(null)];
    let mut entries = vec![signature];
    entries.extend(bad.iter().cloned());
    entries.push(den.good.clone());
    den.list(&entries);
    let run = den.shop.dev(["artifacts", "ls", &den.task(), "-v"]).ok();
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    assert_eq!(run.stderr.matches("detail left out: ").count(), bad.len(), "{}", run.stderr);
    assert!(run.stderr.contains("is no artifact of envctl"), "{}", run.stderr);
    let json = den.shop.dev(["artifacts", "ls", &den.task(), "--json"]).ok().json();
    assert_eq!(json["skipped"], bad.len());
    let run = den.shop.dev(["artifacts", "verify", &den.task()]).code(5);
    assert_eq!(run.stdout.lines().filter(|line| line.contains("BAD")).count(), bad.len(), "{}", run.stdout);
    // What others listed stays where it is when another one is attached.
    den.shop.add("t", "more", "x", &["--type", "logs"]).ok();
    let list = store.document(&den.tag)["manifests"].as_array().unwrap().clone();
    assert_eq!(list[..entries.len()], entries[..]);
}

/// Who takes what is shown for all of it would decide by half of the evidence.
#[test]
fn every_verb_says_how_many_artifacts_it_leaves_out() {
    let den = Den::new();
    let large = |n: usize| json!({ "mediaType": MANIFEST, "digest": sha256(&[n as u8]), "size": 4 << 20 });
    let mut entries: Vec<Value> = (0..10).map(large).collect();
    entries.push(den.good.clone());
    den.list(&entries);
    let said = "left out: at least 10 artifacts (envctl artifacts ls -v";
    for verb in ["ls", "get"] {
        den.shop.dev(["artifacts", verb, &den.task()]).ok().says(&[said]);
        assert_eq!(den.shop.dev(["artifacts", verb, &den.task(), "--json"]).ok().json()["skipped"], 10);
    }
    let shown = den.shop.dev(["show", &den.task()]).ok().stdout;
    assert!(shown.contains("good.log") && shown.contains("left out   at least 10 more"), "{shown}");
    assert_eq!(den.shop.dev(["show", &den.task(), "--json"]).ok().json()["artifacts_skipped"], 10);
    let page = den.shop.trip.lab.dev.path("page.html");
    den.shop.dev(["view", &den.task(), "--output", page.to_str().unwrap()]).ok();
    assert!(fs::read_to_string(page).unwrap().contains("at least 10 more"));
    den.shop.dev(["artifacts", "verify", &den.task()]).code(5).says(&["10 of 11 artifacts could not be checked"]);
}

/// A program inside can lay a link where the developer looks for a report.
#[test]
fn a_link_in_a_checkout_is_not_attached() {
    let shop = Shop::new();
    let task = shop.publish("t");
    let (agent, checkout) = (&shop.trip.lab.agent, &shop.trip.lab.repo.path);
    agent.write("home/diary", "mine");
    std::os::unix::fs::symlink(agent.path("home/diary"), checkout.join("report.log")).unwrap();
    std::os::unix::fs::symlink(agent.path("home"), checkout.join("reports")).unwrap();
    let add = |name: &str| agent.envctl(["artifacts", "add", "--type", "logs", &task, name]).cwd(checkout);
    for name in ["report.log", "reports/diary", "reports/../report.log"] {
        add(name).code(2).says(&["is a link in a checkout"]);
    }
    shop.trip.lab.repo.write("plain.log", "x");
    let beside = checkout.with_file_name("beside.log");
    fs::write(&beside, "y").unwrap();
    for name in ["plain.log", "../beside.log"] {
        add(name).ok();
    }
    fs::remove_file(beside).unwrap();
}

#[test]
fn verify_reads_what_is_there() {
    let den = Den::new();
    let store = &den.shop.trip.lab.store;
    let content = den.manifest["layers"][0]["digest"].as_str().unwrap();
    let verify = || den.shop.dev(["artifacts", "verify", &den.task()]);
    verify().ok();
    for (bytes, says) in [
        (Some(&b"gooD"[..]), "does not match"),
        (Some(b"go"), "ends after 2"),
        (Some(b"goodness"), "longer"),
        (None, "not in the store"),
    ] {
        let before = store.swap(content, bytes);
        let run = verify().code(5);
        assert!(run.stdout.contains("BAD") && run.stdout.contains(says), "{}", run.stdout);
        let json = verify().arg("--json").code(5).json();
        assert_eq!(json["ok"], false);
        // Nothing of it is handed out either.
        den.shop.dev(["artifacts", "get", &den.task()]).run();
        assert!(!den.shop.trip.lab.dev.data().join("artifacts/content").join(&content[7..]).exists());
        store.swap(content, Some(&before));
    }
    // Evidence of something else.
    for field in ["commit", "task_id"] {
        let value = if field == "commit" { "f".repeat(40) } else { "other".into() };
        den.list(&[den.forged(|provenance, _| provenance[field] = value.into())]);
        assert!(verify().code(5).stdout.contains(field));
    }
}

#[test]
fn case_22_places_that_an_artifact_names_are_not_asked() {
    let den = Den::new();
    let thief = Liar::over(&den.shop.trip.lab.store, |_, _| {
        Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let place = format!("http://{}/content", thief.host);
    let forged = den.forged(|_, manifest| {
        manifest["layers"][0]["urls"] = json!([place]);
        manifest["config"]["urls"] = json!([place]);
        manifest["subject"]["urls"] = json!([place]);
    });
    let mut entry = forged;
    entry["urls"] = json!([place]);
    den.list(&[entry]);
    let content = den.manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let liar = Liar::over(&den.shop.trip.lab.store, move |asked, answer| {
        if asked.path.ends_with(&content) { Answer::new(404, "{}") } else { answer }
    });
    let credentials = json!({ "auths": { liar.host.as_str(): { "auth": "dTpw" } } });
    den.shop.trip.lab.dev.write("home/.docker/config.json", credentials.to_string());
    den.shop.dev(["artifacts", "get", &liar.task("t")]).code(3);
    den.shop.dev(["artifacts", "verify", &liar.task("t")]).code(5);
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
}

/// A list of any length costs what can be borne.
#[test]
fn case_23_a_list_without_end() {
    let den = Den::new();
    let entry = |n: usize| json!({ "mediaType": MANIFEST, "digest": sha256(&n.to_le_bytes()), "size": 7 });
    let mut entries: Vec<Value> = (0..5000).map(entry).collect();
    entries[4999] = den.good.clone();
    den.list(&entries);
    let run = den.shop.dev(["artifacts", "ls", &den.task(), "-v"]).ok().says(&["all but 1000 of 5000"]);
    assert_eq!(run.stdout.lines().count(), 1);
    den.list(&(0..60_000).map(entry).collect::<Vec<_>>());
    den.shop.dev(["artifacts", "ls", &den.task()]).code(5).says(&["at most"]);
}

/// What lies here is looked at before it is handed out again.
#[test]
fn case_56_a_copy_that_has_rotted_is_fetched_again() {
    let den = Den::new();
    let get = || PathBuf::from(den.shop.dev(["artifacts", "get", &den.task()]).ok().stdout.trim());
    let folder = get();
    let content = den.manifest["layers"][0]["digest"].as_str().unwrap();
    let copy = den.shop.trip.lab.dev.data().join("artifacts/content").join(&content[7..]);
    for bytes in ["gooD", "", "goodness"] {
        fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(&copy, bytes).unwrap();
        assert_eq!(get(), folder);
        assert_eq!(fs::read(folder.join("good.log")).unwrap(), b"good");
        assert_eq!(fs::read(&copy).unwrap(), b"good");
    }
}
