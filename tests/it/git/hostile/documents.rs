//! Snapshot documents and identities that lie, every digest right.

use serde_json::{Value, json};

use super::Range;
use crate::support::{Facts, forge};

fn entry(path: &str) -> Value {
    json!({ "path": path, "mode": "100644", "object": "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391" })
}

#[test]
fn case_42_paths_of_the_index() {
    let range = Range::new();
    for path in ["../evil", "/evil", "a/../../evil", ".git/hooks/post-checkout", "a/.GIT/config", "a//b", "", "a/"] {
        range.refuses_edit(5, &["is refused"], |forged| forged.document["index"]["entries"] = json!([entry(path)]));
        range.refuses_edit(5, &["is refused"], |forged| forged.document["index"]["removed"] = json!([path]));
        range.refuses_edit(5, &["is refused"], |forged| forged.document["empty_folders"] = json!([path]));
    }
    for (field, value) in [
        ("mode", json!("160000")),
        ("mode", json!("104755")),
        ("stage", json!(4)),
        ("object", json!("../../x")),
        ("path", json!("%zz")),
        ("path", json!("%2e%2e/evil")),
        ("path", json!("%2Egit")),
    ] {
        range.refuses_edit(5, &["error:"], |forged| {
            let mut entry = entry("a");
            entry[field] = value;
            forged.document["index"]["entries"] = json!([entry]);
        });
    }
}

/// Each name is innocent; together they lead out of the workspace.
#[test]
fn case_02_an_empty_folder_behind_a_link() {
    for below in ["evil", "deep/evil"] {
        let range = Range::new();
        range.trip.lab.repo.symlink("out", range.outside.folder());
        range.trip.lab.repo.symlink("hooks", ".git/hooks");
        for link in ["out", "hooks"] {
            range.refuses_edit(5, &["error:", link], |forged| {
                forged.document["empty_folders"] = json!([format!("{link}/{below}")]);
            });
        }
        range.refuses_edit(5, &["error:", "README"], |forged| {
            forged.document["empty_folders"] = json!([format!("README/{below}")]);
        });
    }
}

#[test]
fn case_42_names_that_become_refs_and_settings() {
    let range = Range::new();
    for bad in ["../../evil", "-evil", "a b", "x.lock", "a..b", "x\n[core]\n\tfsmonitor = evil", "", "/a", "a\u{1b}[2J"]
    {
        range.refuses_edit(5, &["malformed branch"], |forged| {
            forged.document["branch"] = bad.into();
            forged.identity["repo"]["branch"] = bad.into();
        });
        range.refuses_edit(5, &["malformed remote"], |forged| forged.document["remote"]["name"] = bad.into());
        if bad != "-evil" {
            range.refuses_edit(5, &["malformed tracking ref"], |forged| {
                forged.document["remote"]["upstream"] = bad.into()
            });
            range.refuses_edit(5, &["malformed tracking ref"], |forged| {
                forged.document["remote"]["refs"][0]["name"] = bad.into();
            });
        }
    }
    for (name, value) in [
        ("autocrlf", json!("!evil")),
        ("eol", json!("native\n\tfsmonitor = evil")),
        ("file_mode", json!("evil")),
        ("sparse", json!({ "cone": "evil", "patterns": [] })),
    ] {
        range.refuses_edit(5, &["malformed"], |forged| forged.document["settings"] = json!({ name: value }));
    }
}

/// Settings that are no part of a snapshot have no effect.
#[test]
fn case_40_settings_beyond_the_few_are_not_applied() {
    let range = Range::new();
    let task = forge(&range.trip, |forged| {
        forged.document["settings"] = json!({ "core.fsmonitor": "evil", "hooksPath": "evil", "eol": "lf" });
        forged.document["config"] = json!({ "core.fsmonitor": "evil" });
    });
    let workspace = range.trip.enter(&task);
    let config = std::fs::read_to_string(workspace.path.join(".git/config")).unwrap();
    assert!(!config.contains("evil"), "{config}");
}

#[test]
fn case_16_documents_that_do_not_fit_together() {
    let range = Range::new();
    let other = "0123456789abcdef0123456789abcdef01234567";
    range.refuses_edit(5, &["different commits"], |forged| forged.identity["repo"]["commit"] = other.into());
    range.refuses_edit(5, &["different commits"], |forged| forged.identity["repo"]["branch"] = "other".into());
    range.refuses_edit(5, &[other], |forged| {
        forged.document["head"] = other.into();
        forged.identity["repo"]["commit"] = other.into();
    });
    range.refuses_edit(5, &[other], |forged| forged.document["commits"] = json!([other]));
    range.refuses_edit(3, &[other, "remote.git", "hint:"], |forged| forged.document["base"] = other.into());
    range.refuses_edit(5, &["differs from its snapshot", "index"], |forged| {
        forged.document["index"]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    });
    range.refuses_edit(5, &["differs from its snapshot", "index"], |forged| {
        forged.document["index"]["removed"] = json!(["README"]);
    });
    range.refuses_edit(5, &["task-", "points at an identity of task other"], |forged| {
        forged.identity["task_id"] = "other".into();
    });
}

/// State of an operation by which git would run something, or that lies beside
/// it.
#[test]
fn case_40_operations_that_do_more_than_go_on() {
    let range = Range::new();
    let head = range.trip.lab.repo.head();
    let exec = format!("pick {head} x\nexec touch evil\n");
    let (options, author) = ("[options]\n\tstrategy = evil\n", "GIT_AUTHOR_NAME='a'; touch evil\n");
    for (name, content) in [
        ("rebase-merge/git-rebase-todo", &*exec),
        ("rebase-merge/done", &exec),
        ("sequencer/todo", &exec),
        ("sequencer/opts", options),
        ("rebase-merge/strategy", "evil"),
        ("rebase-merge/author-script", author),
        ("rebase-merge/update-refs", "refs/heads/x\n"),
        ("rebase-apply/0001", "evil"),
        ("rebase-merge/head-name", "refs/heads/../../evil\n"),
        ("MERGE_HEAD", "--evil\n"),
        ("BISECT_START", "--evil\n"),
        ("config", "[core]\n\tfsmonitor = touch evil\n"),
        ("hooks/post-checkout", "#!/bin/sh\ntouch evil\n"),
        ("info/attributes", "* filter=evil\n"),
        ("../evil", "x"),
        ("/evil", "x"),
        ("HEAD", "ref: refs/heads/evil\n"),
        ("objects/info/alternates", "/evil\n"),
    ] {
        range.refuses_edit(5, &["is refused"], |forged| {
            forged.document["operation"] = json!({ "files": [{ "name": name, "content": content }] });
        });
    }
}

#[test]
fn case_26_operations_do_not_choose_refs() {
    let range = Range::new();
    let head = range.trip.lab.repo.head();
    let files = json!([{ "name": "rebase-merge/head-name", "content": "refs/heads/topic\n" }]);
    for name in ["refs/heads/other", "refs/envctl/x", "HEAD", "refs/remotes/origin/main", "refs/bisect/bad", "../evil"]
    {
        range.refuses_edit(5, &["is refused"], |forged| {
            forged.document["operation"] = json!({ "files": files, "refs": [{ "name": name, "commit": head }] });
        });
    }
    let own = json!([{ "name": "rebase-merge/head-name", "content": "refs/heads/main\n" }]);
    range.refuses_edit(5, &["refs/heads/main"], |forged| {
        forged.document["operation"] = json!({ "files": own, "refs": [{ "name": "refs/heads/main", "commit": head }] });
    });
    let other = "0123456789abcdef0123456789abcdef01234567";
    range.refuses_edit(5, &["lacks commit", other], |forged| {
        forged.document["operation"] = json!({ "files": [{ "name": "MERGE_HEAD", "content": other }] });
    });
    range.refuses_edit(5, &["lacks tree", other], |forged| {
        forged.document["operation"] = json!({ "files": [{ "name": "AUTO_MERGE", "content": other }] });
    });
}

#[test]
fn case_16_contents_of_lfs_files_that_are_others() {
    let range = Range::new();
    let blob = range.trip.lab.repo.git(&["rev-parse", "HEAD:README"]);
    let content =
        |oid: &str, size: u64, object: &str| json!([{ "path": "x", "oid": oid, "size": size, "object": object }]);
    let oid = crate::support::sha256(b"shop\n");
    for (lfs, says) in [
        (content(&oid, 6, &blob), "lacks the content of x"),
        (content(&oid, 1 << 44, &blob), "lacks the content of x"),
        (content(&oid, u64::MAX, &blob), "malformed"),
        (content(&format!("sha256:{}", "0".repeat(64)), 5, &blob), "does not match its digest"),
        (content("sha256:../../evil", 5, &blob), "malformed"),
        (content(&oid, 5, "../../evil"), "malformed"),
        (content(&oid, 5, &"7".repeat(40)), "lacks the content of x"),
        (content(&oid, 5, &range.trip.lab.repo.head()), "lacks the content of x"),
    ] {
        range.refuses_edit(5, &[says], |forged| forged.document["lfs"] = lfs);
    }
    // The true one, kept where git-lfs looks.
    let task = forge(&range.trip, |forged| forged.document["lfs"] = content(&oid, 5, &blob));
    let workspace = range.trip.enter(&task);
    let hex = oid.replace("sha256:", "");
    let kept = workspace.path.join(".git/lfs/objects").join(&hex[..2]).join(&hex[2..4]).join(&hex);
    assert_eq!(std::fs::read(kept).unwrap(), b"shop\n");
}

/// Which of two values counts must not depend on who reads.
#[test]
fn case_20_snapshots_that_are_two_things() {
    let range = Range::new();
    let repo = &range.trip.lab.repo;
    let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
    for twice in ["tree", "head", "base"] {
        let task = crate::support::forge_text(&range.trip, |text| {
            text.replacen('{', &format!("{{\"{twice}\":\"{tree}\","), 1)
        });
        range.refuses(&task, 5, &["malformed", "duplicate field"]);
    }
}

#[test]
fn case_15_packs_that_are_no_packs() {
    let range = Range::new();
    range.refuses_edit(5, &["pack is damaged"], |forged| forged.pack = Some(b"evil".to_vec()));
    range.refuses_edit(5, &["pack is damaged"], |forged| forged.pack = Some(Vec::new()));
    range.refuses_edit(5, &["pack is damaged"], |forged| {
        let pack = forged.pack.as_mut().unwrap();
        pack.truncate(pack.len() - 7);
    });
    range.refuses_edit(5, &["pack is damaged"], |forged| {
        let pack = forged.pack.as_mut().unwrap();
        let middle = pack.len() / 2;
        pack[middle] ^= 1;
    });
    // Says that it has four billion objects.
    range.refuses_edit(5, &["pack is damaged"], |forged| {
        forged.pack.as_mut().unwrap()[8..12].copy_from_slice(&[0xff; 4]);
    });
}

#[test]
fn case_26_an_identity_cannot_choose_places_on_the_host() {
    let range = Range::new();
    for url in ["ext::sh -c touch% evil", "file://evil", "-uevil", "https://-evil/x", "ftp://a/b", "../evil"] {
        range.refuses_edit(5, &["error:"], |forged| forged.identity["repo"]["url"] = url.into());
    }
    for workdir in ["/", "/proc/1", "/run/x", "relative", "/a/../b"] {
        range.refuses_edit(5, &["workdir"], |forged| forged.identity["workdir"] = workdir.into());
    }
    for task in ["../evil", "-evil", "id-1", ""] {
        range.refuses_edit(5, &["error:"], |forged| forged.identity["task_id"] = task.into());
    }
}

/// The comparison comes last; until then the old workspace is only set aside.
#[test]
fn a_refresh_to_something_hostile_keeps_the_workspace() {
    let range = Range::new();
    let trip = &range.trip;
    let workspace = trip.enter(&trip.publish(&trip.lab.repo));
    workspace.write("mine", "unsaved");
    let before = Facts::of(&workspace);
    let forged = forge(trip, |forged| {
        forged.document["index"]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
        forged.identity["task_id"] = "task-1".into();
    });
    let digest = trip.lab.store.digest_of(forged.rsplit_once(':').unwrap().1);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let size = std::fs::metadata(trip.lab.store.blob(&digest)).unwrap().len();
    trip.lab.store.tag("task-1", json!({ "mediaType": kind, "digest": digest, "size": size }));
    let task = trip.lab.store.reference("task-1");
    trip.entering(&task).arg("--refresh").code(5).says(&["differs from its snapshot"]);
    before.assert_same(&Facts::of(&workspace));
    assert_eq!(trip.enter(&task).path, workspace.path);
}

#[test]
fn another_schema_is_named() {
    let range = Range::new();
    range.refuses_edit(5, &["identity has schema 2", "hint:"], |forged| forged.identity["schema"] = 2.into());
    range.refuses_edit(5, &["snapshot has schema 9", "hint:"], |forged| forged.document["schema"] = 9.into());
    range.refuses_edit(5, &["no schema"], |forged| {
        forged.document.as_object_mut().unwrap().remove("schema");
    });
}

/// Fields of a later version are kept and do no harm.
#[test]
fn unknown_fields_are_no_error() {
    let range = Range::new();
    let task = forge(&range.trip, |forged| {
        forged.document["later"] = json!({ "x": 1 });
        forged.identity["later"] = json!([1, 2]);
        forged.identity["repo"]["later"] = "x".into();
    });
    range.trip.enter(&task);
    let shown = range.trip.lab.dev.envctl(["show", &task, "--json"]).ok().json();
    assert_eq!(shown["identity"]["later"], json!([1, 2]));
    assert_eq!(shown["identity"]["repo"]["later"], "x");
}
