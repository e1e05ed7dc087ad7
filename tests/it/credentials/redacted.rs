//! `--redact`: files with credentials stay behind, and the one who enters is
//! told.

use std::fs;

use super::published;
use crate::support::{Facts, Planter, Repo, Trip};

/// No object of the workspace holds this text.
#[track_caller]
fn assert_nowhere(repo: &Repo, text: &str) {
    let all = ["cat-file", "--batch", "--batch-all-objects", "--buffer", "--unordered"];
    let raw = repo.call(&all).ok().raw;
    assert!(!raw.windows(text.len()).any(|window| window == text.as_bytes()), "it travelled");
}

#[test]
fn case_48_files_are_left_out_and_named() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    repo.write("tracked.py", "a = 1\n");
    repo.write("staged.py", "b = 1\n");
    repo.commit("code");
    repo.push();
    let tokens: Vec<String> = (0..4).map(|_| p.github()).collect();
    repo.write("secrets/only.txt", &tokens[0]);
    repo.write("tracked.py", format!("a = '{}'\n", tokens[1]));
    repo.write("staged.py", format!("b = '{}'\n", tokens[2]));
    repo.git(&["add", "staged.py"]);
    repo.write("new.py", format!("c = '{}'\n", tokens[3]));
    repo.git(&["add", "new.py"]);
    repo.write(".env", "DB_PASSWORD=hunter22\n");
    repo.write("fine.py", "d = 1\n");
    trip.publishing(repo, "t").code(6).says(&["--redact"]);
    let json = published(trip.publishing(repo, "t").arg("--redact"));
    let rules = |rule: &str| serde_json::json!([rule]);
    let file =
        |path: &str, rule, instead: &str| serde_json::json!({"path": path, "rules": rules(rule), "instead": instead});
    let expected = serde_json::json!([
        file(".env", "dotenv-file", "nothing"),
        file("new.py", "github-pat", "nothing"),
        file("secrets/only.txt", "github-pat", "nothing"),
        file("staged.py", "github-pat", "committed"),
        file("tracked.py", "github-pat", "committed"),
    ]);
    assert_eq!((&json["redacted"], &json["changed_files"]), (&expected, &1.into()));
    // The checkout is as it was.
    assert!(fs::read_to_string(repo.path.join("tracked.py")).unwrap().contains(&tokens[1]));

    let task = trip.lab.store.reference("t");
    let run = trip.entering(&task).ok().says(&[
        ".env was left out, because it holds a credential (dotenv-file): it is absent",
        "tracked.py was left out, because it holds a credential (github-pat): it is as it was committed",
    ]);
    let workspace = repo.seen_by(&trip.lab.dev, run.stdout.trim_end());
    assert_eq!(workspace.git(&["status", "--porcelain"]), "?? fine.py");
    assert_eq!(fs::read_to_string(workspace.path.join("staged.py")).unwrap(), "b = 1\n");
    assert!(!workspace.path.join("secrets").exists());
    tokens.iter().for_each(|token| assert_nowhere(&workspace, token));
    assert_nowhere(&workspace, "hunter22");
    let report = trip.entering(&task).arg("--json").ok().json();
    assert_eq!((&report["parity"]["ok"], &report["redacted"]), (&true.into(), &expected));
    let shown = trip.lab.dev.envctl(["show", &task]).ok().stdout;
    assert!(shown.contains("left out   .env (dotenv-file)"), "{shown}");
    // And back, without the files.
    let json = published(
        trip.lab
            .dev
            .envctl(["publish", "back", "--store", &trip.lab.store.name(), "--image", &trip.image])
            .cwd(&workspace.path),
    );
    assert_eq!(json["redacted"], serde_json::json!([]));
}

#[test]
fn case_48_what_is_left_out_leaves_the_rest_exact() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    repo.write("dir/inner", "1\n");
    repo.write("file", "1\n");
    repo.write("gone", "1\n");
    repo.write("flagged", "1\n");
    repo.commit("files");
    repo.push();
    let token = |p: &mut Planter| format!("x = '{}'\n", p.github());
    // A file in the place of a folder, and the other way round.
    repo.remove("dir/inner");
    fs::remove_dir(repo.path.join("dir")).unwrap();
    repo.write("dir", token(&mut p));
    repo.remove("file");
    repo.write("file/inner", token(&mut p));
    // Untracked although HEAD has it; staged clean and then changed; intended.
    repo.git(&["rm", "--quiet", "--cached", "gone"]);
    repo.write("gone", token(&mut p));
    repo.write("later", "clean\n");
    repo.git(&["add", "later"]);
    repo.write("later", token(&mut p));
    repo.write("intended", token(&mut p));
    repo.git(&["add", "-N", "intended"]);
    repo.write("flagged", token(&mut p));
    repo.git(&["update-index", "--assume-unchanged", "flagged"]);
    // Staged with it, clean again on disk.
    repo.write("only-staged", token(&mut p));
    repo.git(&["add", "only-staged"]);
    repo.write("only-staged", "clean\n");
    published(trip.publishing(repo, "t").arg("--redact"));
    let workspace = trip.enter(&trip.lab.store.reference("t"));
    assert_nowhere(&workspace, "ghp_");
    // What a person would have done by hand before publishing.
    repo.remove("dir");
    repo.remove("file/inner");
    fs::remove_dir(repo.path.join("file")).unwrap();
    repo.remove("gone");
    repo.write("later", "clean\n");
    repo.remove("intended");
    repo.write("flagged", "1\n");
    repo.git(&["rm", "--quiet", "--cached", "--force", "only-staged"]);
    Facts::of(repo).assert_same(&Facts::of(&workspace));
}

#[test]
fn case_46_nothing_that_is_kept_or_shown_holds_a_value() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let token = p.github();
    repo.write("a.py", format!("x = '{token}'\n"));
    published(trip.publishing(repo, "t").arg("--redact").arg("-v"));
    trip.enter(&trip.lab.store.reference("t"));
    let part = &token[20..];
    for home in [&trip.lab.agent, &trip.lab.dev] {
        for folder in ["config", "cache", "data", "state", "store"] {
            let found = home.call("grep", ["-rlF", part, "--", folder]).cwd(home.path("")).run().stdout;
            assert_eq!(found, "", "in {folder}");
        }
    }
}
