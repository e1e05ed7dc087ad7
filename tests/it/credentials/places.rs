//! Everything that would travel is looked at, and nothing else.

use std::fs;

use super::{fingerprint, published, refused, shown};
use crate::support::{Planter, Trip};

fn code(token: &str) -> String {
    format!("a\nb = '{token}'\n")
}

#[test]
fn case_48_working_files_of_every_kind() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    repo.write(".gitignore", "local/\nignored\n");
    repo.write("envctl.toml", "[snapshot]\ninclude = [\"local\"]\n");
    repo.write("changed.py", "a\n");
    repo.commit("files");
    repo.push();
    let tokens: Vec<String> = (0..5).map(|_| p.github()).collect();
    repo.write("changed.py", code(&tokens[0]));
    repo.write("un tracked\n.py", code(&tokens[1]));
    repo.write("local/deep/included.py", code(&tokens[2]));
    repo.symlink("link", format!("target-{}", tokens[3]));
    // What does not travel does not matter.
    repo.write("ignored", code(&tokens[4]));
    let secrets: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let (run, details) = refused(&trip, repo, &[], &secrets);
    let expected = ["changed.py:2", "link:1", "local/deep/included.py:2", "un tracked\n.py:2"];
    assert_eq!(shown(&details), expected.map(|file| format!("{file} github-pat")));
    assert!(run.stderr.contains("un tracked\\n.py:2"), "{}", run.stderr);
}

#[test]
fn case_48_what_is_staged_and_what_is_in_conflict() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let (staged, ours) = (p.github(), p.aws());
    repo.write("staged.py", code(&staged));
    repo.git(&["add", "staged.py"]);
    repo.write("staged.py", "gone again\n");
    let (run, details) = refused(&trip, repo, &[], &[&staged]);
    assert_eq!(
        (shown(&details).as_slice(), &details[0]["place"]),
        (&["staged.py:2 github-pat".to_owned()][..], &"index".into())
    );
    assert!(run.stderr.contains("staged.py:2 (staged)"), "{}", run.stderr);
    repo.git(&["rm", "--quiet", "--cached", "--force", "staged.py"]);
    // A stash that does not fit leaves the index with three sides.
    repo.write("both", code(&ours));
    repo.git(&["add", "both"]);
    repo.git(&["stash", "--quiet"]);
    repo.write("both", "theirs\n");
    repo.commit("theirs");
    assert_ne!(repo.call(&["stash", "pop", "--quiet"]).run().code, 0);
    repo.write("both", "resolved, but not staged\n");
    let (run, details) = refused(&trip, repo, &[], &[&ours]);
    assert!(details.iter().all(|detail| detail["place"] == "conflict"), "{details:?}");
    assert!(run.stderr.contains("both:2 (in a conflict): aws-access-token"), "{}", run.stderr);
    refused(&trip, repo, &["--redact"], &[&ours]);
    repo.git(&["add", "both"]);
    published(trip.publishing(repo, "t"));
}

#[test]
fn case_48_a_commit_that_was_undone_still_travels() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let token = p.github();
    repo.write("a.py", code(&token));
    let bad = repo.commit("try it");
    repo.write("a.py", "clean\n");
    repo.commit("clean");
    for options in [&[] as &[&str], &["--redact"]] {
        let (run, details) = refused(&trip, repo, options, &[&token]);
        assert_eq!(shown(&details), ["a.py:2 github-pat"]);
        assert_eq!((&details[0]["place"], &details[0]["commit"]), (&"commit".into(), &bad.as_str().into()));
        assert!(run.stderr.contains("rewrite the commits") && run.stderr.contains("in commit"), "{}", run.stderr);
    }
    // The way out.
    repo.git(&["reset", "--quiet", "--soft", "origin/main"]);
    repo.commit("both as one");
    trip.round(repo);
}

#[test]
fn case_48_commits_off_the_first_line_of_history() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let (side, evil) = (p.github(), p.aws());
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("side.py", code(&side));
    repo.commit("side");
    repo.remove("side.py");
    repo.commit("side is clean");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("main.py", "x\n");
    repo.commit("main");
    repo.git(&["merge", "--quiet", "--no-ff", "--no-commit", "side"]);
    // In neither parent.
    repo.write("merged.py", code(&evil));
    repo.git(&["add", "merged.py"]);
    repo.git(&["commit", "--quiet", "--message", "merge"]);
    let (_, details) = refused(&trip, repo, &[], &[&side, &evil]);
    let mut shown = shown(&details);
    shown.sort();
    assert_eq!(shown, ["merged.py:2 aws-access-token", "side.py:2 github-pat"]);
}

/// Files that git would write in another form travel a second time as they are.
#[test]
fn case_48_what_travels_beside_the_trees() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let token = p.github();
    repo.git(&["lfs", "install", "--local"]);
    repo.write(".gitattributes", "*.dat filter=lfs diff=lfs merge=lfs -text\n*.id ident\n");
    repo.write("a.dat", "x");
    repo.write("a.id", "$Id$\n");
    repo.commit("files");
    repo.push();
    // In git's form the value is not there.
    let ident = format!("$Id: {token} $\n");
    repo.write("a.id", &ident);
    let (_, details) = refused(&trip, repo, &[], &[&token]);
    assert_eq!(shown(&details), ["a.id:1 github-pat"]);
    published(trip.publishing(repo, "id").arg("--redact"));
    let workspace = trip.enter(&trip.lab.store.reference("id"));
    assert!(!fs::read_to_string(workspace.path.join("a.id")).unwrap().contains(&token));
    repo.git(&["checkout", "--quiet", "--", "a.id"]);
    // Nor in a pointer; changed, staged, and committed.
    repo.write("a.dat", code(&token));
    let place = |expected: &str| {
        let (_, details) = refused(&trip, repo, &[], &[&token]);
        assert!(details.iter().any(|detail| detail["place"] == expected), "{details:?}");
        assert!(shown(&details).iter().all(|line| line == "a.dat:2 github-pat"), "{details:?}");
    };
    place("working-file");
    let json = published(trip.publishing(repo, "lfs").arg("--redact"));
    assert_eq!((&json["redacted"][0]["path"], &json["lfs"]["files"]), (&"a.dat".into(), &0.into()));
    repo.git(&["add", "a.dat"]);
    place("index");
    repo.commit("committed");
    place("commit");
}

#[test]
fn case_48_what_an_operation_in_progress_holds() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let (merged, message) = (p.github(), p.github());
    repo.write("both", "base\n");
    repo.commit("base");
    repo.push();
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("side.py", code(&merged));
    repo.commit("side");
    repo.remove("side.py");
    repo.write("both", "side\n");
    repo.commit("side is clean");
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("both", "main\n");
    repo.commit("main");
    assert_ne!(repo.call(&["merge", "--quiet", "side"]).run().code, 0);
    // In a commit that only the merge names.
    let (_, details) = refused(&trip, repo, &[], &[&merged]);
    assert_eq!((shown(&details), &details[0]["place"]), (vec!["side.py:2 github-pat".into()], &"commit".into()));
    // What the remote has, it has.
    repo.git(&["push", "--quiet", "origin", "side"]);
    repo.write(".git/MERGE_MSG", format!("log in with {message}\n"));
    let (run, details) = refused(&trip, repo, &["--redact"], &[&message]);
    assert_eq!(shown(&details), ["git's own file MERGE_MSG:1 github-pat"]);
    assert!(run.stderr.contains("git's own file MERGE_MSG:1"), "{}", run.stderr);
    repo.write(".git/MERGE_MSG", "fine\n");
    trip.round(repo);
    // A tag that nobody has but the merge.
    repo.git(&["merge", "--abort"]);
    repo.git(&["tag", "--annotate", "--message", &format!("log in with {message}"), "v1", "side"]);
    assert_ne!(repo.call(&["merge", "--quiet", "v1"]).run().code, 0);
    repo.write(".git/MERGE_MSG", "fine\n");
    let (_, details) = refused(&trip, repo, &[], &[&message]);
    assert!(shown(&details)[0].starts_with("tag "), "{details:?}");
}

/// What a merge brings from the remote is not new.
#[test]
fn a_merge_of_what_the_remote_has() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    repo.git(&["checkout", "--quiet", "-b", "side"]);
    repo.write("sample.py", code(&p.github()));
    repo.commit("side");
    repo.git(&["push", "--quiet", "origin", "side"]);
    repo.git(&["checkout", "--quiet", "main"]);
    repo.write("main", "x\n");
    repo.commit("main");
    repo.git(&["merge", "--quiet", "--no-commit", "--no-ff", "side"]);
    trip.round(repo);
}

#[test]
fn case_48_what_commits_say() {
    for (place, name) in [("message", "Agent"), ("author", "")] {
        let trip = Trip::new();
        let (repo, mut p) = (&trip.lab.repo, Planter::new());
        let token = p.github();
        let message = if name.is_empty() { "fine".to_owned() } else { format!("use it\n\nlog in with {token}") };
        let author =
            if name.is_empty() { format!("Agent {token} <a@example.org>") } else { "A <a@example.org>".into() };
        repo.write("x", "x");
        repo.git(&["add", "x"]);
        repo.git(&["commit", "--quiet", "--message", &message, "--author", &author]);
        let (run, details) = refused(&trip, repo, &[], &[&token]);
        assert_eq!(
            (&details[0]["place"], &details[0]["file"]),
            (&"commit-message".into(), &serde_json::Value::Null),
            "{place}"
        );
        assert!(run.stderr.contains("the message of commit"), "{}", run.stderr);
        repo.git(&["commit", "--quiet", "--amend", "--message", "fine", "--author", "A <a@example.org>"]);
        published(trip.publishing(repo, "t"));
    }
}

#[test]
fn case_48_what_the_publisher_says() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let token = p.github();
    let login = format!("curl -u deploy:{} https://a.example ", p.word(20));
    for (option, text, rule) in [
        ("--message", format!("it fails with {token}"), "message:1 github-pat"),
        ("--command", login.clone(), "command:1 curl-auth-user"),
        ("--agent", token.clone(), "agent:1 github-pat"),
    ] {
        for redact in [&[] as &[&str], &["--redact"]] {
            let (run, details) = refused(&trip, repo, &[&[option, &text], redact].concat(), &[&token, &login[14..34]]);
            assert_eq!(shown(&details), [rule]);
            assert!(run.stderr.contains("say it without"), "{}", run.stderr);
        }
    }
}

#[test]
fn case_48_the_name_of_a_file() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let token = p.github();
    repo.write(format!("logs/{token}.txt"), "x");
    for redact in [&[] as &[&str], &["--redact"]] {
        let (_, details) = refused(&trip, repo, redact, &[&token]);
        assert_eq!(shown(&details), ["the name of a file github-pat"]);
    }
}

#[test]
fn what_the_remote_has_already_is_no_reason_to_stop() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let (old, new) = (p.github(), p.github());
    repo.write("config.py", code(&old));
    repo.write("moved.py", format!("{}more\n", code(&old)));
    repo.commit("pushed long ago");
    repo.push();
    repo.write("config.py", format!("another line\n{}", code(&old)));
    repo.git(&["mv", "moved.py", "renamed.py"]);
    trip.round(repo);
    // The same file with something new.
    repo.write("config.py", format!("{}c = '{new}'\n", code(&old)));
    let (_, details) = refused(&trip, repo, &[], &[&new]);
    assert_eq!(shown(&details), ["config.py:3 github-pat"]);
}

#[test]
fn what_cannot_be_searched_is_said() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let long = "a line of no interest\n".repeat((17 << 20) / 22);
    repo.write("big.log", format!("{long}{}\n", p.github()));
    repo.write("data.zip", b"PK\x03\x04 and so on");
    let run = trip.publishing(repo, "t").ok().says(&["warning:", "big.log is large", "data.zip is compressed"]);
    assert!(run.stdout.starts_with("envctl enter"), "{}", run.stdout);
    let json = published(trip.publishing(repo, "u"));
    let unsearched = serde_json::json!([
        {"file": "big.log", "why": "too-long"}, {"file": "data.zip", "why": "packed"}
    ]);
    assert_eq!(json["unsearched"], unsearched);
    // What is within the limit is found, whatever comes after it.
    repo.write("big.log", format!("{}\n{long}", p.github()));
    assert_eq!(shown(&refused_again(&trip)), ["big.log:1 github-pat"]);
}

fn refused_again(trip: &Trip) -> Vec<serde_json::Value> {
    let run = trip.publishing(&trip.lab.repo, "v").arg("--json").code(6);
    run.json()["error"]["details"].as_array().unwrap().clone()
}

#[test]
fn case_48_artifacts_are_looked_at() {
    let trip = Trip::new();
    let (repo, mut p) = (&trip.lab.repo, Planter::new());
    let collect = "{ path = \"*.log\", type = \"logs\" }";
    repo.write("envctl.toml", format!("[artifacts]\ncollect = [{collect}]\n"));
    repo.write(".gitignore", "*.log\n");
    repo.commit("settings");
    repo.push();
    let token = p.github();
    repo.write("run.log", format!("starting\nusing {token}\n"));
    repo.write("fine.log", "all is well\n");
    let (_, details) = refused(&trip, repo, &[], &[&token]);
    assert_eq!(shown(&details), ["run.log:2 github-pat"]);
    let json = published(trip.publishing(repo, "t").arg("--redact"));
    let attached: Vec<_> = json["artifacts"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(attached, ["fine.log"]);

    // By hand, too; nothing is stored then.
    let task = trip.lab.store.reference("t");
    let add = || trip.lab.agent.envctl(["artifacts", "add", &task, "run.log", "--type", "logs"]).cwd(&repo.path);
    let run = add().code(6).says(&["run.log:2: github-pat, fingerprint"]);
    assert!(!run.stderr.contains(&token[20..]), "{}", run.stderr);
    let hex = crate::support::sha256(&fs::read(repo.path.join("run.log")).unwrap());
    assert!(!trip.lab.store.has(&format!("sha256:{}", hex.trim_start_matches("sha256:"))));
    repo.write("envctl.toml", format!("[snapshot]\nallow = [\"{}\"]\n", fingerprint(&details[0])));
    add().ok();
}
