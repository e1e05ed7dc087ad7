//! What a stranger has named lies outside of a sandbox under a name that nothing
//! obeys: a prompt that asks git for the state of that folder starts nothing.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::support::{ImageBuilder, Lab};

/// A configuration by which `git status` starts a program.
fn config(mark: &Path, more: &str) -> String {
    format!(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = \"touch {}; false\"\n{more}",
        mark.display()
    )
}

/// What is below a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Looks at a folder as a prompt does; nothing may start.
#[track_caller]
fn assert_inert(lab: &Lab, folder: &Path, mark: &Path) {
    for name in files(folder) {
        let place = folder.join(&name);
        lab.dev.call("git", ["status"]).cwd(place.parent().unwrap()).run();
        for part in Path::new(&name) {
            let part = part.as_bytes();
            assert!(!part.starts_with(b".") && !part.eq_ignore_ascii_case(b"HEAD"), "{name}");
        }
    }
    assert!(!fs::exists(mark).unwrap(), "git started a program in {}", folder.display());
}

fn attach(lab: &Lab, task: &str, named: &[(&str, String)]) {
    for (name, content) in named {
        let file = lab.agent.path("attached").join(name);
        lab.agent.write(&file, content);
        lab.agent.envctl(["artifacts", "add", task, file.to_str().unwrap(), "--type", "logs"]).ok();
    }
}

both!(an_artifact_makes_no_repository_of_its_folder);
fn an_artifact_makes_no_repository_of_its_folder(lab: Lab) {
    let mark = lab.dev.path("mark");
    for (name, content) in [("HEAD", "ref: refs/heads/x\n"), ("objects/k", ""), ("refs/k", "")] {
        lab.repo.write(format!("e.git/{name}"), content);
    }
    lab.repo.write("e.git/config", config(&mark, ""));
    let task = lab.publish(&ImageBuilder::busybox());
    let workspace = lab.dev.envctl(["enter", "--no-runtime", &task]).ok().stdout;
    let hidden = format!("{}/e.git", workspace.trim());
    attach(
        &lab,
        &task,
        &[
            (".git", format!("gitdir: {hidden}\n")),
            ("HEAD", "ref: refs/heads/x\n".into()),
            ("commondir", format!("{hidden}\n")),
            ("config", config(&mark, "")),
            ("unit.xml", "<ok/>".into()),
        ],
    );
    let told = ["Renamed .git is artifact-.git", "Renamed HEAD is artifact-HEAD"];
    let get = lab.dev.envctl(["artifacts", "get", &task]).ok().says(&told);
    let expected = ["artifact-.git", "artifact-HEAD", "commondir", "config", "unit.xml"];
    assert_eq!(files(Path::new(get.stdout.trim())), expected);
    assert_inert(&lab, Path::new(get.stdout.trim()), &mark);
    let output = lab.dev.path("out");
    lab.dev.envctl(["artifacts", "get", &task, "--output", output.to_str().unwrap()]).ok();
    assert_eq!(files(&output), expected);
    assert_inert(&lab, &output, &mark);
}

both!(what_is_collected_is_no_repository);
fn what_is_collected_is_no_repository(lab: Lab) {
    let mark = lab.dev.path("mark");
    let config = config(&mark, "\tworktree = .\n");
    for below in ["", "deep/", "deep/\u{200c}x/"] {
        for (name, content) in [("HEAD", "ref: refs/heads/x\n"), ("config", &config), ("objects/k", ""), ("refs/k", "")]
        {
            lab.repo.write(format!("{below}{name}"), content);
        }
    }
    lab.repo.write("deep/-rf", "x");
    lab.repo.write("deep/.envrc", "x");
    lab.repo.write("report.xml", "<ok/>");
    lab.repo.write("envctl.toml", "[artifacts]\ncollect = [{ path = \"**/*\", type = \"logs\" }]\n");
    let task = lab.publish(&ImageBuilder::busybox());
    let output: PathBuf = lab.dev.path("out");
    let told = ["Renamed HEAD is artifact-HEAD outside", "Renamed deep/.envrc is deep/artifact-.envrc"];
    lab.dev.envctl(["run", &task, "--output", output.to_str().unwrap(), "--", "true"]).ok().says(&told);
    let found = files(&output);
    for name in ["artifact-HEAD", "deep/artifact-HEAD", "deep/artifact--rf", "config", "objects/k", "report.xml"] {
        assert!(found.iter().any(|file| file == name), "{name}: {found:?}");
    }
    assert!(!found.iter().any(|file| file.contains('\u{200c}')), "{found:?}");
    assert_inert(&lab, &output, &mark);
    // It begins anew where a killed command left its draft.
    lab.dev.call("rm", ["-r", output.to_str().unwrap()]).ok();
    lab.dev.mkdir(output.join(".envctl-draft-x/half"));
    lab.dev.envctl(["run", &task, "--output", output.to_str().unwrap(), "--", "true"]).ok();
    assert_eq!(files(&output), found);
}

both!(a_link_in_a_checkout_decides_no_place);
/// A link in a checkout is its repository's word, and no folder of the
/// developer's is found by it, however they name what lies below.
fn a_link_in_a_checkout_decides_no_place(lab: Lab) {
    let home = lab.agent.path("precious");
    lab.agent.mkdir(&home);
    lab.repo.git(&["config", "core.symlinks", "true"]);
    std::os::unix::fs::symlink(&home, lab.repo.path.join("out")).unwrap();
    let image = lab.images.add("here", &ImageBuilder::busybox()).reference;
    for (option, place) in [("--output", "out"), ("--output", "out/new"), ("--report", "out/report.json")] {
        for place in [PathBuf::from(place), lab.repo.path.join(place)] {
            let words = ["run", "--image", &image, option, place.to_str().unwrap(), "--", "true"];
            lab.agent.envctl(words).cwd(&lab.repo.path).code(125).says(&["out is a link in a checkout"]);
        }
    }
    // Laid while a run lasts, in the folder that was named before it.
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "mkdir made");
    let workspace = PathBuf::from(lab.report()["workspace"].as_str().unwrap());
    let script = format!("rmdir made && ln -s {} made", home.display());
    let output = workspace.join("made/new");
    let words = ["run", "--keep", &task, "--output", output.to_str().unwrap(), "--", "sh", "-c", &script];
    lab.dev.envctl(words).code(125).says(&["made is a link in a checkout"]);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
}
