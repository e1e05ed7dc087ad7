//! Folders that somebody else made, or may write.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};

use crate::support::{ImageBuilder, Lab};

fn labs() -> [Lab; 2] {
    [Lab::new(), Lab::unprivileged()]
}

fn pipe(path: &Path) {
    fs::remove_file(path).unwrap();
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The files of a store, the largest blob among them.
fn files(lab: &Lab, task: &str) -> Vec<String> {
    let blobs = lab.store.path.join("blobs/sha256");
    let size = |name: &String| fs::metadata(blobs.join(name)).unwrap().len();
    let largest = names(&blobs).into_iter().max_by_key(size).unwrap();
    let manifest = lab.store.digest_of(task).replace("sha256:", "");
    vec![
        "oci-layout".into(),
        "index.json".into(),
        format!("blobs/sha256/{manifest}"),
        format!("blobs/sha256/{largest}"),
    ]
}

#[test]
fn a_pipe_in_the_place_of_a_file_of_a_store_is_refused_at_once() {
    for lab in labs() {
        let task = lab.publish(&ImageBuilder::busybox());
        for file in files(&lab, task.rsplit_once(':').unwrap().1) {
            let path = lab.store.path.join(&file);
            let kept = fs::read(&path).unwrap();
            pipe(&path);
            lab.enter(&task, &["true"]).code(125).says(&["is no file", "envctl does not read it"]);
            assert_eq!(lab.report()["error"]["kind"], "policy", "{file}");
            fs::remove_file(&path).unwrap();
            lab.agent.write(&path, kept);
        }
        lab.enter(&task, &["true"]).ok();
    }
}

#[test]
fn a_link_in_a_store_is_neither_read_nor_written_through() {
    for lab in labs() {
        let task = lab.publish(&ImageBuilder::busybox());
        lab.agent.mkdir("victim/sha256");
        let victim = lab.agent.path("victim");
        for (link, target) in [("blobs/sha256", victim.join("sha256")), ("blobs", victim.clone())] {
            let (place, aside) = (lab.store.path.join(link), lab.agent.path("aside"));
            fs::rename(&place, &aside).unwrap();
            symlink(&target, &place).unwrap();
            lab.repo.write("changed", link);
            let image = lab.images.add("i", &ImageBuilder::busybox()).reference;
            lab.try_publish(&image).code(6).says(&["behind a link"]);
            assert!(names(&victim.join("sha256")).is_empty() && names(&victim).len() == 1, "{link}");
            // Nor is anything read there.
            lab.enter(&task, &["true"]).code(125).says(&["a link"]);
            fs::remove_file(&place).unwrap();
            fs::rename(&aside, &place).unwrap();
        }
        for name in ["index.json", "oci-layout"] {
            let (place, aside) = (lab.store.path.join(name), lab.agent.path("aside"));
            fs::rename(&place, &aside).unwrap();
            symlink(&aside, &place).unwrap();
            lab.enter(&task, &["true"]).code(125).says(&[name, "is a link"]);
            fs::rename(&aside, &place).unwrap();
        }
        lab.enter(&task, &["true"]).ok();
    }
}

#[test]
fn an_image_layout_is_read_in_the_same_way() {
    for lab in labs() {
        let image = lab.images.add("i", &ImageBuilder::busybox());
        let manifest = lab.images.blob(&image.digest);
        pipe(&manifest);
        lab.try_publish(&image.reference).code(6).says(&["is no file"]);
        fs::remove_file(&manifest).unwrap();
        symlink("/etc/hostname", &manifest).unwrap();
        lab.try_publish(&image.reference).code(6).says(&["is a link"]);
    }
}

#[test]
fn a_project_file_is_a_plain_file_in_its_workspace() {
    for lab in labs() {
        lab.repo.write("envctl.toml", "");
        let task = lab.publish(&ImageBuilder::busybox());
        lab.sh(&task, "rm envctl.toml; mkfifo envctl.toml");
        let file = Path::new(lab.report()["workspace"].as_str().unwrap()).join("envctl.toml");
        lab.enter(&task, &["true"]).code(125).says(&["envctl.toml is no file"]);
        lab.dev.envctl(["approve", &task]).code(6).says(&["envctl.toml is no file"]);
        let outside = lab.dev.path("outside.toml");
        lab.dev.write(&outside, "[runtime]\nnetwork = \"host\"\n");
        fs::remove_file(&file).unwrap();
        symlink(&outside, &file).unwrap();
        lab.enter(&task, &["true"]).code(125).says(&["envctl.toml is a link"]);
        // What lies behind a link is no project file, and in nobody's way.
        fs::remove_file(&file).unwrap();
        symlink(lab.dev.path(""), file.with_file_name(".config")).unwrap();
        lab.dev.write("envctl.toml", "[runtime]\nnetwork = \"host\"\n");
        lab.enter(&task, &["true"]).ok();
    }
}

#[test]
fn a_folder_of_envctl_that_others_may_write_is_refused() {
    for lab in labs() {
        let task = lab.publish(&ImageBuilder::busybox());
        lab.enter(&task, &["true"]).ok();
        for folder in [lab.dev.state(), lab.dev.cache(), lab.dev.data(), lab.dev.config()] {
            let before = fs::metadata(&folder).unwrap().permissions();
            // The configuration is made by hand, and may be its user's group's.
            let modes: &[u32] = if folder == lab.dev.config() { &[0o777, 0o1777] } else { &[0o777, 0o770, 0o1777] };
            for mode in modes.iter().copied() {
                fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
                let hint = format!("chmod go-w {}", folder.display());
                lab.enter(&task, &["true"]).code(125).says(&["can be written by other accounts", &hint]);
            }
            fs::set_permissions(&folder, before).unwrap();
        }
        lab.enter(&task, &["true"]).ok();
        if lab.dev.is_unprivileged() {
            continue;
        }
        // Somebody else's folder in its place.
        let state = lab.dev.state();
        std::os::unix::fs::chown(&state, Some(61_234), None).unwrap();
        lab.enter(&task, &["true"]).code(125).says(&["belongs to another account"]);
        std::os::unix::fs::chown(&state, Some(0), None).unwrap();
        // Links of theirs: to the folder, and to a store.
        let link = |place: &Path, target: &Path| {
            symlink(target, place).unwrap();
            std::os::unix::fs::lchown(place, Some(61_234), None).unwrap();
        };
        let aside = lab.dev.path("aside");
        fs::rename(&state, &aside).unwrap();
        link(&state, &aside);
        lab.enter(&task, &["true"]).code(125).says(&["is a link of another account"]);
        fs::remove_file(&state).unwrap();
        fs::rename(&aside, &state).unwrap();
        link(&lab.dev.path("theirs"), &lab.store.path);
        let theirs = format!("oci:{}:{}", lab.dev.path("theirs").display(), task.rsplit_once(':').unwrap().1);
        lab.enter(&theirs, &["true"]).code(125).says(&["is a link of another account"]);
        lab.enter(&task, &["true"]).ok();
    }
}

/// Whoever it is could name any repository of the developer's.
#[test]
fn a_store_of_another_account_is_shown_no_repository_without_a_word() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    let own = lab.publish(&ImageBuilder::busybox());
    // Its commits are here already.
    lab.enter(&own, &["true"]).ok();
    lab.dev.envctl(["approve", "--revoke", &lab.repo.url()]).ok();
    lab.agent.call("chown", ["-R", "65534", lab.store.path.to_str().unwrap()]).ok();
    let enter = |more: &[&str]| lab.dev.envctl(["enter", "--no-runtime", &task]).args(more);
    for more in [&[][..], &["--store", &lab.store.name()]] {
        enter(more).code(6).says(&["a folder of this machine", "envctl approve --host file:///"]);
    }
    lab.dev.envctl(["prefetch", &task]).code(6);
    lab.dev.envctl(["approve", "--host", &lab.repo.url()]).ok();
    enter(&[]).ok();
}

#[test]
fn a_store_that_people_share_works_and_is_told_of() {
    for lab in labs() {
        let task = lab.publish(&ImageBuilder::busybox());
        let folder = lab.store.path.join("blobs/sha256");
        for (mode, who) in [(0o775, "its group"), (0o777, "every account of this machine")] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            lab.dev.envctl(["show", &task]).ok().says(&["others can write to the store", who]);
            lab.repo.write("changed", who);
            lab.publish(&ImageBuilder::busybox());
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!lab.dev.envctl(["show", &task]).ok().stderr.contains("others can write"));
    }
}
