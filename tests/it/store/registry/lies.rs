//! Registries that lie, by number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Answer, ImageBuilder, Lab, Layer, Liar, Way, sha256};

struct Bait {
    lab: Lab,
    task: String,
    image: ImageBuilder,
}

impl Bait {
    fn new() -> Self {
        let lab = Lab::new();
        let image = ImageBuilder::busybox();
        lab.repo.write("untracked", "u");
        let task = lab.publish(&image);
        let task = task.rsplit_once(':').unwrap().1.to_owned();
        Bait { lab, task, image }
    }

    /// The developer is lied to, notices, and keeps nothing.
    fn refused(
        &self,
        kind: &str,
        says: &[&str],
        lie: impl Fn(&crate::support::Asked, Answer) -> Answer + Send + Sync + 'static,
    ) -> Liar {
        let liar = Liar::over(&self.lab.store, lie);
        let lab = self.lab.with_developer(crate::support::Home::new());
        let run = lab.enter(&liar.task(&self.task), &["true"]).code(125).says(&["error:"]).says(says);
        assert_eq!(lab.report()["error"]["kind"], kind, "{}", run.stderr);
        assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
        for layer in &self.image.layers {
            // One about which nobody lied may have come before the lie was noticed.
            let kept = lab.layer_folders(layer);
            let is_true =
                !run.stderr.contains(&layer.digest()) && kept.iter().all(|kept| kept.join("layer.json").exists());
            assert!(kept.is_empty() || is_true, "{kept:?}: {}", run.stderr);
        }
        // The same developer, told the truth.
        lab.enter(&Liar::honest(&lab.store).task(&self.task), &["true"]).ok();
        liar
    }

    fn layer(&self) -> &Layer {
        &self.image.layers[0]
    }

    fn manifest(&self) -> Value {
        self.lab.store.document(&self.task)
    }

    /// Every digest that the identity's manifest names.
    fn parts(&self) -> Vec<String> {
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|part| part["digest"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn case_16_other_bytes_for_a_digest() {
    let bait = Bait::new();
    let mut digests = bait.parts();
    digests.push(bait.layer().digest());
    for digest in digests {
        let expected = digest.clone();
        bait.refused("integrity", &["does not match", &expected], move |asked, mut answer| {
            if asked.path.ends_with(&digest) {
                let last = answer.body.len() - 1;
                answer.body[last] ^= 1;
            }
            answer
        });
    }
}

#[test]
fn case_16_another_manifest_for_a_digest() {
    let bait = Bait::new();
    let image = sha256(&bait.image.manifest_bytes());
    let name = image.clone();
    bait.refused("integrity", &["another manifest", &image], move |asked, mut answer| {
        if asked.path.ends_with(&name) {
            answer.body.push(b' ');
        }
        answer
    });
    // The header names another digest than the body has.
    let other = sha256(b"other");
    bait.refused("integrity", &["announces another digest"], move |asked, answer| {
        if asked.path.contains("/manifests/") { answer.header("Docker-Content-Digest", &*other) } else { answer }
    });
}

#[test]
fn case_17_sizes_that_are_wrong_and_bodies_without_end() {
    let bait = Bait::new();
    let layer = bait.layer().digest();
    let name = layer.clone();
    bait.refused("integrity", &["longer than", &layer], move |asked, answer| {
        if asked.path.ends_with(&name) { answer.way(Way::Endless) } else { answer }
    });
    let snapshot = bait.parts().remove(0);
    let name = snapshot.clone();
    bait.refused("integrity", &["longer than", &snapshot], move |asked, answer| {
        if asked.path.ends_with(&name) { answer.way(Way::Endless) } else { answer }
    });
    // A manifest of the task that declares other sizes.
    for size in [json!(-1), json!(0), json!(1u64 << 62), json!("12"), json!(1.5)] {
        let mut manifest = bait.manifest();
        manifest["layers"][0]["size"] = size;
        bait.refused("integrity", &[], replacing(&bait.task, &manifest));
    }
}

/// Another document under the task's tag, and under its identity's.
fn replacing(task: &str, document: &Value) -> impl Fn(&crate::support::Asked, Answer) -> Answer + use<> {
    let (end, bytes) = (format!("/manifests/{task}"), serde_json::to_vec(document).unwrap());
    move |asked, answer| {
        if !asked.path.ends_with(&end) && !asked.path.contains("/manifests/id-") {
            return answer;
        }
        let digest = sha256(&bytes);
        let answer = Answer { body: bytes.clone(), ..answer };
        answer.header("Docker-Content-Digest", digest)
    }
}

#[test]
fn case_18_digests_that_are_none() {
    let bait = Bait::new();
    let good = bait.parts().remove(0);
    for digest in [
        "sha256:../../../../etc/passwd".to_owned(),
        "sha256:".into(),
        good[..good.len() - 1].into(),
        good.to_uppercase(),
        good.replace("sha256:", "sha1:"),
        good.replace("sha256:", "md5:"),
        format!("{good}/x"),
    ] {
        let mut manifest = bait.manifest();
        manifest["layers"][0]["digest"] = digest.as_str().into();
        let liar = bait.refused("integrity", &[], replacing(&bait.task, &manifest));
        // It is not even asked for.
        assert!(liar.asked().iter().all(|asked| !asked.path.contains("/blobs/")), "{digest}");
    }
}

/// What is in the cache is what was verified; a file that only bears the
/// right name is looked at again.
#[test]
fn case_19_a_name_in_the_cache_is_no_verification() {
    let bait = Bait::new();
    let liar = Liar::honest(&bait.lab.store);
    let task = liar.task(&bait.task);
    let snapshot = bait.parts().remove(0);
    let place = bait.lab.dev.cache().join("blobs").join(snapshot.replacen(':', "/", 1));
    bait.lab.dev.write(&place, "{\"planted\": true}");
    bait.lab.enter(&task, &["cat", "untracked"]).ok();
    let kept = std::fs::read(&place).unwrap();
    assert_eq!(sha256(&kept), snapshot);
    // A layer's folder that nobody recorded.
    let lab = bait.lab.with_developer(crate::support::Home::new());
    lab.enter(&task, &["true"]).ok();
    let folder = lab.layer_folders(bait.layer()).remove(0);
    std::fs::remove_file(folder.join("layer.json")).unwrap();
    lab.enter(&task, &["true"]).ok();
    assert!(folder.join("layer.json").exists());
}

#[test]
fn case_20_documents_that_are_two_things() {
    let bait = Bait::new();
    let mut both = bait.manifest();
    both["manifests"] = json!([]);
    bait.refused("integrity", &["ambiguous"], replacing(&bait.task, &both));
    bait.refused("integrity", &["ambiguous"], |asked, answer| {
        if asked.path.contains("/manifests/") {
            answer.header("Content-Type", "application/vnd.oci.image.index.v1+json")
        } else {
            answer
        }
    });
}

#[test]
fn case_21_redirects() {
    let bait = Bait::new();
    let layer = bait.layer().digest();
    // To another host: followed, without credentials.
    let other = Liar::honest(&bait.lab.store);
    let there = format!("http://{}", other.host);
    let (name, target) = (layer.clone(), there.clone());
    let liar = Liar::over(&bait.lab.store, move |asked, answer| {
        if asked.headers.get("authorization").map(String::as_str) != Some("Basic dTpw") {
            return Answer::new(401, "{}").header("WWW-Authenticate", "Basic realm=\"x\"");
        }
        if asked.path.ends_with(&name) {
            return Answer::new(307, "").header("Location", format!("{target}{}", asked.path));
        }
        answer
    });
    let lab = bait.lab.with_developer(crate::support::Home::new());
    lab.dev
        .write("home/.docker/config.json", json!({ "auths": { liar.host.as_str(): { "auth": "dTpw" } } }).to_string());
    lab.enter(&liar.task(&bait.task), &["true"]).ok();
    assert_eq!(other.asked().len(), 1);
    assert!(other.asked().iter().all(|asked| !asked.headers.contains_key("authorization")), "{:?}", other.asked());
    // In a circle, and to what is no registry.
    for target in ["", "ftp://127.0.0.1/x", "file:///etc/passwd"] {
        let name = layer.clone();
        bait.refused("policy", &["redirects"], move |asked, answer| {
            if !asked.path.ends_with(&name) {
                return answer;
            }
            let target = if target.is_empty() { asked.path.clone() } else { target.to_owned() };
            Answer::new(302, "").header("Location", target)
        });
    }
}

#[test]
fn case_22_credentials_stay_at_home() {
    let bait = Bait::new();
    // A token service of another site that asks for the password.
    let thief = Liar::over(&bait.lab.store, |_, _| Answer::new(200, r#"{"token": "x"}"#));
    let realm = format!("http://localhost:{}/token", thief.host.rsplit_once(':').unwrap().1);
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    let liar = Liar::over(&bait.lab.store, move |_, _| Answer::new(401, "{}").header("WWW-Authenticate", &*challenge));
    let lab = bait.lab.with_developer(crate::support::Home::new());
    lab.dev
        .write("home/.docker/config.json", json!({ "auths": { liar.host.as_str(): { "auth": "dTpw" } } }).to_string());
    lab.enter(&liar.task(&bait.task), &["true"]).code(125).says(&["token service", &realm]);
    assert_eq!(lab.report()["error"]["kind"], "policy");
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
    // A layer that names its own place is not fetched there.
    let thief =
        Liar::over(&bait.lab.store, |_, _| Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\""));
    let mut manifest: Value = serde_json::from_slice(&bait.image.manifest_bytes()).unwrap();
    manifest["layers"][0]["urls"] = json!([format!("http://{}/layer", thief.host)]);
    manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    let image = bait.image.clone().manifest_field("/layers", manifest["layers"].clone());
    let task = bait.lab.publish(&image);
    let blob = bait.layer().digest();
    let liar = Liar::over(
        &bait.lab.store,
        move |asked, answer| {
            if asked.path.ends_with(&blob) { Answer::new(404, "{}") } else { answer }
        },
    );
    let lab = bait.lab.with_developer(crate::support::Home::new());
    lab.enter(&liar.task(task.rsplit_once(':').unwrap().1), &["true"]).code(125);
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
}

#[test]
fn case_23_documents_that_are_huge_or_deep() {
    let bait = Bait::new();
    let end = format!("/manifests/{}", bait.task);
    for body in [vec![b' '; 5 << 20], b"[".repeat(1 << 20), b"{\"a\":".repeat(1 << 19)] {
        let end = end.clone();
        bait.refused("integrity", &[], move |asked, answer| {
            if !asked.path.ends_with(&end) {
                return answer;
            }
            Answer { body: body.clone(), headers: Vec::new(), ..answer }
        });
    }
    for path in ["/manifests/", "/blobs/"] {
        bait.refused("integrity", &[], move |asked, answer| {
            if asked.path.contains(path) {
                Answer { body: vec![b' '; 1 << 16], ..answer }.way(Way::Endless)
            } else {
                answer
            }
        });
    }
    // Complaints, too.
    let liar = Liar::over(&bait.lab.store, |_, _| Answer::new(400, vec![b'x'; 1 << 16]).way(Way::Endless));
    bait.lab.dev.envctl(["show", &liar.task(&bait.task)]).code(1);
}

#[test]
fn case_24_a_digest_of_another_repository() {
    let bait = Bait::new();
    let lab = &bait.lab;
    let digest = sha256(&bait.image.manifest_bytes());
    let has_it = Arc::new(AtomicBool::new(true));
    let liar = Liar::over(&lab.store, {
        let (has_it, digest) = (has_it.clone(), digest.clone());
        move |asked, answer| {
            let hidden = asked.path.ends_with(&digest) && !has_it.load(Ordering::SeqCst);
            if hidden { Answer::new(404, "{}") } else { answer }
        }
    });
    let named = format!("{}@{digest}", liar.store());
    let args = ["publish", "named", "--store", &lab.store.name(), "--image", &named];
    lab.agent.envctl(args).cwd(&lab.repo.path).ok();
    // The image is in the developer's cache, from elsewhere. That says nothing
    // about the repository that the second task names.
    lab.enter(&lab.store.reference(&bait.task), &["true"]).ok();
    has_it.store(false, Ordering::SeqCst);
    lab.dev.envctl(["approve", "--host", &liar.host]).ok();
    let task = lab.store.reference("named");
    lab.enter(&task, &["true"]).code(125).says(&["no manifest", &digest, &liar.store()]);
    assert_eq!(lab.report()["error"]["kind"], "not-found");
    has_it.store(true, Ordering::SeqCst);
    lab.enter(&task, &["true"]).ok();
    // Seen once is enough.
    has_it.store(false, Ordering::SeqCst);
    lab.enter(&task, &["true"]).ok();
}

/// A token is any word that a server chooses: it is hidden in a server's words, and takes
/// nothing away from envctl's own.
#[test]
fn a_token_that_the_registry_chose_hides_no_word_of_envctl() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let name = task.rsplit_once(':').unwrap().1.to_owned();
    for token in ["\"task\"", "file://", "\"identity\":\""] {
        let address = Arc::new(std::sync::OnceLock::new());
        let known: Arc<std::sync::OnceLock<String>> = address.clone();
        let liar = Liar::over(&lab.store, move |asked, answer| {
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"x\"", known.get().unwrap());
            if asked.path.starts_with("/token") {
                return Answer::new(200, json!({ "token": token }).to_string());
            }
            match asked.headers.get("authorization") {
                Some(_) if asked.path.contains("/absent") => {
                    let words = json!({ "errors": [{ "code": "DENIED", "message": format!("not with {token}") }] });
                    Answer::new(403, words.to_string())
                }
                Some(_) => answer,
                None => Answer::new(401, "").header("WWW-Authenticate", realm),
            }
        });
        address.set(liar.host.clone()).unwrap();
        let lab = lab.with_developer(crate::support::Home::new());
        let shown = lab.dev.envctl(["show", "--json", &liar.task(&name)]).ok().json();
        assert_eq!(shown["task"], liar.task(&name).as_str(), "{token}");
        let said = lab.dev.envctl(["enter", &liar.task(&name), "--no-runtime"]).ok().stderr;
        assert!(said.contains(&lab.repo.url()) && !said.contains("[secret]"), "{token}: {said}");
        // In the registry's own words it is hidden.
        let said = lab.dev.envctl(["show", &liar.task("absent")]).run().stderr;
        assert!(said.contains("not with [secret]"), "{token}: {said}");
    }
}
