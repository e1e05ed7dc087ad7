//! Images as people have them: by docker's names, in archives that other tools
//! wrote, in local engines. What is only here is copied into the task's store, once.

use std::fs;
use std::path::Path;

use crate::support::{
    Entry, Home, ImageBuilder, Lab, Layer, Layout, RealDocker, RealRegistry, Trip, Wants, Written, forge, until,
};

/// A system with two layers, one of them large enough to be told from a document.
fn image() -> ImageBuilder {
    let noise: String = (0..40_000).map(|n: u64| n.wrapping_mul(2_654_435_761).to_string()).collect();
    ImageBuilder::busybox().layer(Layer::new([Entry::file("brought", "by hand\n"), Entry::file("noise", noise)]))
}

fn add(lab: &Lab) -> Written {
    lab.images.add("dev", &image())
}

#[track_caller]
fn skopeo(lab: &Lab, more: &[&str], from: &str, to: &str) {
    lab.agent.call("skopeo", ["copy", "--quiet", "--insecure-policy"]).args(more).args([from, to]).ok();
}

/// Publishes with an image of that name; whether anything of it was stored.
#[track_caller]
fn publish(lab: &Lab, store: &str, image: &str, env: &[(&str, &str)]) -> bool {
    let mut call = lab.agent.envctl(["publish", "task-1", "--store", store, "--image", image]).cwd(&lab.repo.path);
    for (name, value) in env {
        call = call.env(name, value);
    }
    call.ok().stderr.contains("Stored the image")
}

/// A developer who shares nothing with the agent but the store enters.
#[track_caller]
fn assert_enters(lab: &Lab, store: &str) {
    let fresh = lab.with_developer(Home::new());
    assert_eq!(fresh.sh(&format!("{store}:task-1"), "cat /brought; echo $FLAVOUR"), "by hand\nbusybox\n");
}

fn blobs(layout: &Layout) -> Vec<String> {
    let entries = fs::read_dir(layout.path.join("blobs/sha256")).unwrap();
    let mut large: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.metadata().unwrap().len() > 50_000)
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    large.sort();
    large
}

#[test]
fn archives_of_other_tools_are_images() {
    let lab = Lab::new();
    let from = add(&lab).reference;
    let at = |name: &str| lab.repo.path.join(name).display().to_string();
    skopeo(&lab, &[], &from, &format!("docker-archive:{}:acme/dev:1", at("d.tar")));
    skopeo(&lab, &[], &from, &format!("oci-archive:{}:localhost/bb:latest", at("o.tar")));
    skopeo(&lab, &[], &from, &format!("oci:{}:localhost/bb:latest", at("named")));
    skopeo(&lab, &[], &from, &format!("oci:{}", at("unnamed")));
    lab.agent.call("gzip", ["--keep", "d.tar"]).cwd(&lab.repo.path).ok();
    for name in [
        "docker-archive:d.tar",
        "docker-archive:d.tar:acme/dev:1",
        "docker-archive:d.tar.gz",
        "oci-archive:o.tar",
        "oci-archive:o.tar:localhost/bb:latest",
        "oci:named:localhost/bb:latest",
        "oci:named",
        "oci:unnamed",
    ] {
        let store = Layout::of(&lab.agent, &format!("store-{}", name.replace([':', '/'], "-")));
        assert!(publish(&lab, &store.name(), name, &[]), "{name}");
        assert_enters(&lab, &store.name());
        let stored = blobs(&store);
        assert!(!publish(&lab, &store.name(), name, &[]), "{name} is stored twice");
        assert_eq!(blobs(&store), stored, "{name}");
    }
}

#[test]
fn an_archive_that_lacks_the_image_says_what_it_has() {
    let lab = Lab::new();
    let from = add(&lab).reference;
    skopeo(&lab, &[], &from, &format!("docker-archive:{}:acme/dev:1", lab.agent.path("d.tar").display()));
    skopeo(&lab, &[], &from, &format!("oci-archive:{}:dev", lab.agent.path("o.tar").display()));
    lab.agent.write("text.tar", "no tar at all");
    let shown = |name: &str| format!("{name}:{}", lab.agent.path("d.tar").display());
    let oci = lab.agent.path("o.tar").display().to_string();
    let text = lab.agent.path("text.tar").display().to_string();
    for (name, code, words) in [
        (format!("{}:other:2", shown("docker-archive")), 3, ["no image other:2", "acme/dev:1"]),
        (format!("oci-archive:{oci}:other"), 3, ["no image other", "it has: dev"]),
        (shown("oci-archive"), 5, ["no index.json", "docker-archive:FILE"]),
        (format!("docker-archive:{text}"), 1, ["is no archive of an image", "text.tar"]),
        (format!("docker-archive:{text}x"), 3, ["there is no file", "docker save"]),
        (format!("oci-archive:{}", lab.agent.path("").display()), 2, ["is no file", "oci:PATH"]),
    ] {
        lab.try_publish(&name).run().code(code).says(&words);
    }
    // Two images, and no word which of them.
    lab.images.add("other", &ImageBuilder::busybox());
    lab.try_publish(&lab.images.name()).run().code(2).says(&["holds 2 images", ":TAG"]);
}

/// What a hostile archive says of itself is compared with what is in it.
#[test]
fn an_archive_that_lies_is_refused() {
    let lab = Lab::new();
    let from = add(&lab).reference;
    skopeo(&lab, &[], &from, &format!("docker-archive:{}:x:1", lab.agent.path("d.tar").display()));
    let script = "mkdir x && tar -xf d.tar -C x && cd x && layer=$(ls -S *.tar | head -1) && cp $layer keep && \
                  printf more >>$layer && tar -cf ../lies.tar * && cp keep $layer && rm $layer && \
                  ln -s /etc/passwd $layer && tar -cf ../leads.tar *";
    lab.agent.call("sh", ["-euc", script]).cwd(lab.agent.path("")).ok();
    let lies = format!("docker-archive:{}", lab.agent.path("lies.tar").display());
    lab.try_publish(&lies).run().code(5).says(&["is not what the image's configuration says"]);
    let leads = format!("docker-archive:{}", lab.agent.path("leads.tar").display());
    lab.try_publish(&leads).run().code(5).says(&["lacks"]);
}

#[test]
fn an_image_of_the_docker_engine() {
    let docker = RealDocker::start();
    let host = docker.host();
    let lab = Lab::new();
    let from = add(&lab).reference;
    skopeo(&lab, &["--dest-daemon-host", &host], &from, "docker-daemon:acme/dev:1");
    let env = [("DOCKER_HOST", host.as_str())];
    let store = lab.store.name();
    assert!(publish(&lab, &store, "docker-daemon:acme/dev:1", &env));
    assert_enters(&lab, &store);
    assert_eq!(docker.saved(), 1);
    // The store has it: the engine is asked what it is, and for no more.
    let stored = blobs(&lab.store);
    assert!(!publish(&lab, &store, "docker-daemon:acme/dev:1", &env));
    assert_eq!((docker.saved(), blobs(&lab.store)), (1, stored.clone()));
    // So has a colleague's agent who never saw it, in the same store.
    let args = ["publish", "task-1", "--store", &store, "--image", "docker-daemon:acme/dev:1"];
    let colleague = Home::new().envctl(args).cwd(&lab.repo.path).env("DOCKER_HOST", &host).ok();
    assert!(!colleague.stderr.contains("Stored"), "{}", colleague.stderr);
    assert_eq!((docker.saved(), blobs(&lab.store)), (1, stored));
    // A run without a store has a copy of its own, and makes it once.
    let call = |image: &str| {
        let args = ["run", "--image", image, "--", "cat", "/brought"];
        lab.agent.envctl(args).cwd(&lab.repo.path).env("DOCKER_HOST", &host)
    };
    for _ in 0..2 {
        assert_eq!(call("docker-daemon:acme/dev:1").ok().stdout, "by hand\n");
    }
    assert_eq!(docker.saved(), 2);
    call("docker-daemon:acme/dev:2").code(125).says(&["docker has no image acme/dev:2", "docker image ls"]);
    // Somebody who asks a registry that lacks it hears where it is.
    let registry = RealRegistry::start();
    let name = registry.repository("acme/dev:1");
    skopeo(&lab, &["--dest-daemon-host", &host], &from, &format!("docker-daemon:{name}"));
    call(&name).code(125).says(&["there is no image 1", &format!("--image docker-daemon:{name}")]);
    let nobody = registry.repository("acme/dev:7");
    call(&nobody).code(125).says(&["was asked, and nobody else", "docker-archive:FILE"]);
}

#[test]
fn engines_that_are_not_there_are_named() {
    let lab = Lab::new();
    let call = |image: &str, name: &str, value: &str| {
        lab.try_publish(image).env("XDG_RUNTIME_DIR", lab.agent.path("home")).env(name, value)
    };
    let gone = format!("unix://{}", lab.agent.path("no.sock").display());
    call("docker-daemon:x", "DOCKER_HOST", &gone).code(7).says(&["docker does not run here", "docker save NAME"]);
    call("docker-daemon:x", "DOCKER_HOST", "tcp://192.0.2.1:2375").code(7).says(&[
        "docker is not on this machine",
        "tcp://192.0.2.1:2375",
        "docker-archive:image.tar",
    ]);
    call("containers-storage:x", "CONTAINER_HOST", "ssh://there/x").code(7).says(&["podman is not on this machine"]);
}

/// Podman keeps images without any service, and serves docker's interface if asked.
#[test]
fn an_image_in_the_storage_of_podman() {
    let lab = Lab::new();
    let from = add(&lab).reference;
    let at = |name: &str| lab.agent.path(name).display().to_string();
    let settings =
        format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n", at("graph"), at("run"));
    lab.agent.write("storage.conf", settings);
    let conf = at("storage.conf");
    skopeo(&lab, &[], &from, &format!("containers-storage:[vfs@{}+{}]localhost/dev:1", at("graph"), at("run")));
    let env = [("CONTAINERS_STORAGE_CONF", conf.as_str())];
    assert!(publish(&lab, &lab.store.name(), "containers-storage:localhost/dev:1", &env));
    assert_enters(&lab, &lab.store.name());
    assert!(!publish(&lab, &lab.store.name(), "containers-storage:localhost/dev:1", &env));
    let missing = lab.try_publish("containers-storage:localhost/dev:2").env("CONTAINERS_STORAGE_CONF", &conf);
    missing.code(3).says(&["podman has no image localhost/dev:2", "podman image ls"]);
    let socket = format!("unix://{}", at("podman.sock"));
    let service = lab.agent.call("podman", ["system", "service", "--time", "0", &socket]);
    let mut service = service.env("CONTAINERS_STORAGE_CONF", &conf).spawn();
    until("podman listens", || std::os::unix::net::UnixStream::connect(Path::new(&at("podman.sock"))).is_ok());
    let served = Layout::of(&lab.agent, "served");
    let env = [("CONTAINER_HOST", socket.as_str())];
    assert!(publish(&lab, &served.name(), "containers-storage:localhost/dev:1", &env));
    assert_enters(&lab, &served.name());
    service.kill().unwrap();
    service.wait().unwrap();
}

/// What one repository of a registry has, another one of it is not sent.
#[test]
fn layers_that_the_registry_has_are_not_sent_again() {
    let registry = RealRegistry::that(Wants { noted: true, ..Default::default() });
    let lab = Lab::new();
    let from = add(&lab).reference;
    let archive = lab.agent.path("d.tar").display().to_string();
    skopeo(&lab, &[], &from, &format!("docker-archive:{archive}:x:1"));
    let image = format!("docker-archive:{archive}");
    assert!(publish(&lab, &registry.repository("acme/first"), &image, &[]));
    let sent = |repository: &str| {
        let put = format!("PUT /v2/{repository}/blobs/uploads/");
        registry.requests().iter().filter(|request| request.starts_with(&put)).count()
    };
    // Two layers, the configuration; the snapshot and the identity.
    let first = sent("acme/first");
    assert!(!publish(&lab, &registry.repository("acme/second"), &image, &[]));
    assert_eq!(first - sent("acme/second"), 3, "{:#?}", registry.requests());
    lab.dev.envctl(["approve", "--host", &registry.host]).ok();
    assert_enters(&lab, &registry.repository("acme/second"));
    // Not by that name alone: it is asked whether it has the layer.
    assert!(publish(&lab, &RealRegistry::start().repository("acme/third"), &image, &[]));
}

/// A project may name what lies in it. What it says about the rest of the machine
/// is the developer's to say.
#[test]
fn a_project_names_no_archive_outside_of_it() {
    let lab = Lab::new();
    let from = add(&lab).reference;
    let outside = lab.agent.path("d.tar").display().to_string();
    skopeo(&lab, &[], &from, &format!("docker-archive:{outside}:x:1"));
    let publish = |image: &str| {
        lab.repo.write("envctl.toml", format!("[toolchain]\nimage = \"{image}\"\n"));
        lab.agent.envctl(["publish", "task-1", "--store", &lab.store.name()]).cwd(&lab.repo.path)
    };
    publish(&format!("docker-archive:{outside}")).code(6).says(&["is not in it", "--image"]);
    let up = lab.repo.path.strip_prefix(lab.agent.path("")).unwrap().components().map(|_| "../").collect::<String>();
    publish(&format!("docker-archive:{up}d.tar")).code(6).says(&["leads out of the project"]);
    std::os::unix::fs::symlink(&outside, lab.repo.path.join("link.tar")).unwrap();
    publish("docker-archive:link.tar").code(6).says(&["leads out of the project"]);
    fs::remove_file(lab.repo.path.join("link.tar")).unwrap();
    fs::copy(&outside, lab.repo.path.join("own.tar")).unwrap();
    publish("docker-archive:own.tar").ok();
    assert_enters(&lab, &lab.store.name());
}

/// In an entered workspace the project's file is the task's: it takes nothing of
/// the developer's machine along.
#[test]
fn a_task_that_was_entered_names_no_image_of_this_machine() {
    let lab = Lab::new();
    let task = lab.publish(&image());
    lab.sh(&task, "printf '[toolchain]\nimage = \"docker-daemon:mine\"\n' >envctl.toml");
    let workspace = lab.report()["workspace"].as_str().unwrap().to_owned();
    let elsewhere = Layout::of(&lab.dev, "elsewhere").name();
    let call = lab.dev.envctl(["publish", "task-9", "--store", &elsewhere]).cwd(&workspace);
    call.code(6).says(&["docker-daemon:mine", "on this machine alone", "--image docker-daemon:mine"]);
}

/// An identity has no word for files and engines of those who enter.
#[test]
fn an_identity_leads_to_no_archive_and_no_engine() {
    let trip = Trip::new();
    for image in ["docker-daemon:mine", "containers-storage:mine", "docker-archive:/etc/mine.tar", "oci:/mine"] {
        let task = forge(&trip, |forged| {
            let named = forged.identity["toolchain"]["image"].as_str().unwrap().to_owned();
            let digest = named.split_once('@').unwrap().1;
            forged.identity["toolchain"]["image"] = format!("{image}@{digest}").into();
        });
        trip.lab.enter(&task, &["true"]).code(125).says(&["malformed", image]);
    }
}
