//! Folders of this machine that a project names: as a store, or as an image.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{ImageBuilder, Lab};

#[test]
fn a_folder_that_a_project_alone_names_is_no_store_without_a_word() {
    let lab = Lab::new();
    let image = lab.images.add("dev", &ImageBuilder::busybox()).reference;
    let in_checkout = |args: &[&str]| lab.agent.envctl(args).cwd(&lab.repo.path);
    let publish = ["publish", "t", "--image", &image];
    lab.agent.write("data/x", "private");
    let data = lab.agent.path("data").display().to_string();
    let fixture = ["fixture", "create", &data, "--as", "rows"];
    let shared = lab.agent.path("shared");
    let up: String = lab.repo.path.components().skip(1).map(|_| "../").collect();
    // Outside of the project, however it is written.
    symlink(lab.agent.path(""), lab.repo.path.join("link")).unwrap();
    let outside = shared.display().to_string();
    for store in [outside.clone(), format!("{up}{}", &outside[1..]), "link/shared".into()] {
        lab.repo.write("envctl.toml", format!("store = \"oci:{store}\"\n"));
        for args in [&publish as &[&str], &fixture, &["tasks"], &["enter", "t"]] {
            let run = in_checkout(args).run();
            assert!([6, 125].contains(&run.code), "{run:?}");
            run.says(&["is named by this checkout alone", "is not approved", "envctl approve --host oci:/"]);
        }
        assert!(!shared.exists());
    }
    std::fs::remove_file(lab.repo.path.join("link")).unwrap();
    lab.repo.write("envctl.toml", format!("store = \"oci:{outside}\"\n"));
    // One word, remembered; taken back, it is gone.
    lab.agent.envctl(["approve", "--host", &format!("oci:{outside}")]).ok();
    in_checkout(&publish).ok();
    lab.agent.envctl(["approve", "--revoke", &format!("oci:{outside}")]).ok();
    in_checkout(&["tasks"]).code(6);
    // In the project: what is published there is the project's own, and a task of it
    // names no folder of this machine unasked.
    lab.repo.write("envctl.toml", "store = \"oci:.tasks\"\n");
    lab.repo.write(".git/info/exclude", ".tasks/\n");
    in_checkout(&publish).ok();
    let says = ["a folder of this machine", "envctl approve --host file:///"];
    in_checkout(&["enter", "t", "--no-runtime"]).code(6).says(&says);
    // Nor once somebody else had its commits brought here.
    let other = lab.publish(&ImageBuilder::busybox());
    lab.agent.envctl(["enter", &other, "--no-runtime"]).ok();
    in_checkout(&["enter", "t", "--no-runtime"]).code(6).says(&says);
    in_checkout(&["prefetch", "t"]).code(6).says(&says);
    lab.agent.envctl(["approve", "--host", &lab.repo.url()]).ok();
    in_checkout(&["enter", "t", "--no-runtime"]).ok();
    // What code inside writes is no word of the developer's, wherever it leads.
    let task = lab.publish(&ImageBuilder::busybox());
    lab.sh(&task, "echo 'store = \"oci:.mine\"' >envctl.toml");
    let workspace = lab.report()["workspace"].as_str().unwrap().to_owned();
    lab.dev.envctl(fixture).cwd(&workspace).code(6).says(&["is named by this checkout alone"]);
    assert!(!Path::new(&workspace).join(".mine").exists());
}

#[test]
fn a_project_names_no_image_layout_outside_of_it() {
    let lab = Lab::new();
    let private = lab.images.add("tools", &ImageBuilder::busybox()).reference;
    let own = lab.image_within("tools", &ImageBuilder::busybox()).reference;
    symlink(&lab.images.path, lab.repo.path.join("link")).unwrap();
    let service =
        |image: &str| format!("[[service]]\nname = \"db\"\ncommand = [\"sleep\", \"9\"]\nimage = \"{image}\"\n");
    let base = private.clone();
    let run = || lab.agent.envctl(["run", "--", "true"]).cwd(&lab.repo.path);
    let with_service = || {
        let words = ["publish", "s", "--store", &lab.store.name(), "--image", &base];
        lab.agent.envctl(words).cwd(&lab.repo.path)
    };
    for image in [private.as_str(), "oci:link:tools", "oci:../images:tools"] {
        let says = ["which is not in it", &format!("--image {image}")];
        lab.repo.write("envctl.toml", format!("[toolchain]\nimage = \"{image}\"\n"));
        run().code(125).says(&says);
        lab.repo.write("envctl.toml", service(image));
        with_service().code(6).says(&says);
    }
    std::fs::remove_file(lab.repo.path.join("link")).unwrap();
    lab.repo.write("envctl.toml", format!("[toolchain]\nimage = \"{own}\"\n"));
    run().ok();
    lab.repo.write("envctl.toml", service(&own));
    with_service().ok();
    // A task's project names none of this machine, nor in its own workspace.
    lab.enter(&lab.store.reference("s"), &["true"]).ok();
    let workspace = lab.report()["workspace"].as_str().unwrap().to_owned();
    for image in [private.as_str(), "oci:.other:tools"] {
        lab.dev.write(Path::new(&workspace).join("envctl.toml"), service(image));
        let words = ["publish", "s", "--store", &lab.store.name()];
        lab.dev.envctl(words).cwd(&workspace).code(6).says(&["which is on this machine alone"]);
    }
}
