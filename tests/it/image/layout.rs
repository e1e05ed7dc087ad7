//! Images as they should be: what an OCI layout holds is what a command sees,
//! and what is damaged on the way is never kept.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::support::{Entry, Home, ImageBuilder, Lab, Layer, architecture, foreign_architecture, gzip, sha256};

#[test]
fn layers_lie_on_each_other_as_the_image_says() {
    let lab = Lab::new();
    let below = Layer::new([
        Entry::dir("kept/"),
        Entry::file("kept/a", "a"),
        Entry::file("kept/b", "b"),
        Entry::dir("opaque/"),
        Entry::file("opaque/old", ""),
        Entry::dir("gone/"),
        Entry::file("gone/deep", ""),
        Entry::dir("back/"),
        Entry::file("back/old", ""),
        Entry::file("changed", "below"),
    ]);
    let middle = Layer::new([
        Entry::file("kept/.wh.a", ""),
        Entry::file("kept/.wh.never-was-there", ""),
        Entry::dir("opaque/"),
        Entry::file("opaque/.wh..wh..opq", ""),
        Entry::file("opaque/new", ""),
        Entry::file(".wh.gone", ""),
        Entry::file(".wh.back", ""),
        Entry::file("changed", "middle"),
    ]);
    let top = Layer::new([Entry::dir("back/"), Entry::file("back/new", ""), Entry::file("kept/c", "c")]);
    let task = lab.publish(&ImageBuilder::busybox().layer(below).layer(middle).layer(top));
    let seen = lab.sh(&task, "cd /; echo kept/* opaque/* back/*; test ! -e gone; cat changed; ls -A opaque kept");
    assert_eq!(seen, "kept/b kept/c opaque/new back/new\nmiddlekept:\nb\nc\n\nopaque:\nnew\n");
}

/// A whiteout and new content of the same name in one layer: the content is
/// new, and nothing from below shines through, whichever comes first.
#[test]
fn a_whiteout_beside_its_replacement_hides_only_what_is_below() {
    let lab = Lab::new();
    let below = Layer::new(["a", "b", "c", "d"].into_iter().flat_map(|name| {
        [
            Entry::dir(format!("{name}/")),
            Entry::file(format!("{name}/old"), ""),
            Entry::file(format!("{name}-file"), "old"),
        ]
    }));
    let top = Layer::new([
        Entry::file(".wh.a", ""),
        Entry::file(".wh.a-file", ""),
        Entry::dir("a/"),
        Entry::file("a/new", ""),
        Entry::file("a-file", "new"),
        // The other way round.
        Entry::dir("b/"),
        Entry::file("b/new", ""),
        Entry::file("b-file", "new"),
        Entry::file(".wh.b", ""),
        Entry::file(".wh.b-file", ""),
        // Folders that the layer does not list.
        Entry::file(".wh.c", ""),
        Entry::file("c/new", ""),
        Entry::file("d/x/new", ""),
        Entry::file(".wh.d", ""),
    ]);
    let task = lab.publish(&ImageBuilder::busybox().layer(below).layer(top));
    let seen = lab.sh(&task, "cd /; echo a/* b/* c/* d/*; cat a-file b-file");
    assert_eq!(seen, "a/new b/new c/new d/x\nnewnew");
}

/// The kernel always merges the root folder of every overlay layer.
#[test]
fn an_opaque_root_hides_everything_below() {
    let lab = Lab::new();
    let below = Layer::new([Entry::file("old", "")]);
    let mut top = crate::support::busybox().tar;
    let mut marker = Layer::open_ended([Entry::file(".wh..wh..opq", "")]).tar;
    marker.append(&mut top);
    let image = ImageBuilder::new().layer(below).layer(Layer::raw(marker)).env("PATH=/bin");
    assert_eq!(lab.sh(&lab.publish(&image), "test ! -e /old; echo new"), "new\n");
}

#[test]
fn links_modes_and_times_are_kept() {
    let lab = Lab::new();
    let long = format!("d/{}", "long".repeat(40));
    let layer = Layer::new([
        Entry::dir("d/").mode(0o751).mtime(1_111_111_111),
        Entry::file("d/a", "content").mode(0o640).mtime(1_222_222_222),
        Entry::hardlink("d/b", "d/a").mode(0o640).mtime(1_222_222_222),
        Entry::symlink("d/relative", "a"),
        Entry::symlink("d/absolute", "/etc/passwd"),
        Entry::symlink("d/dangling", "../../../nowhere"),
        Entry::program("d/program", "#!/bin/sh\necho ran\n").mode(0o755),
        Entry::file("d/fraction", "").pax("mtime", "1333333333.25"),
        Entry::file(long.clone(), "long name"),
        Entry::file(b"d/not-\xff-text", "bytes"),
        Entry::dir("sticky/").mode(0o1777),
    ]);
    let task = lab.publish(&ImageBuilder::busybox().layer(layer.clone()));
    let script = "cd /d; stat -c '%n %a %Y' . a b; for link in relative absolute dangling; do readlink $link; done; ./program; stat -c %a /sticky; \
                  test $(stat -c %i a) = $(stat -c %i b)";
    let expected =
        ". 751 1111111111\na 640 1222222222\nb 640 1222222222\na\n/etc/passwd\n../../../nowhere\nran\n1777\n";
    assert_eq!(lab.sh(&task, script), expected);
    let files = lab.files_of(&layer);
    assert_eq!(fs::metadata(files.join("d/fraction")).unwrap().mtime_nsec(), 250_000_000);
    assert_eq!(fs::read(files.join(long)).unwrap(), b"long name");
    assert_eq!(fs::read(files.join(OsStr::from_bytes(b"d/not-\xff-text"))).unwrap(), b"bytes");
}

/// Merged-usr systems have `lib -> usr/lib`: a path means what it will mean
/// inside the sandbox.
#[test]
fn links_are_followed_inside_the_layer() {
    let lab = Lab::new();
    let layer = Layer::new([
        Entry::dir("opt/"),
        Entry::dir("opt/lib/"),
        Entry::symlink("relative", "opt/lib"),
        Entry::symlink("absolute", "/opt/lib"),
        Entry::file("relative/a", "a"),
        Entry::file("absolute/deep/b", "b"),
        Entry::hardlink("absolute/c", "relative/a"),
    ]);
    let task = lab.publish(&ImageBuilder::busybox().layer(layer));
    assert_eq!(lab.sh(&task, "cd /; cat opt/lib/a opt/lib/deep/b opt/lib/c; readlink absolute"), "aba/opt/lib\n");
}

#[test]
fn every_compression_is_read() {
    let lab = Lab::new();
    let layer =
        |name: &str| Layer::new([Entry::file(name, format!("{name} ")), Entry::file("filler", vec![7; 100_000])]);
    // eStargz is a chain of gzip members; zstd:chunked adds frames that
    // decompressors skip.
    let members = |tar: &[u8]| [gzip(&tar[..700]), gzip(&tar[700..])].concat();
    let frames = |tar: &[u8]| {
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
        [zstd::encode_all(&tar[..700], 1).unwrap(), skipped.to_vec(), zstd::encode_all(&tar[700..], 1).unwrap()]
            .concat()
    };
    let (chain, chunked) = (layer("chain"), layer("chunked"));
    let (chain_blob, chunked_blob) = (members(&chain.tar), frames(&chunked.tar));
    let layers = [
        layer("plain"),
        layer("gzip").gzip(),
        layer("zstd").zstd(),
        chain.carried_by("+gzip", chain_blob),
        chunked.carried_by("+zstd", chunked_blob),
    ];
    let image = layers.iter().cloned().fold(ImageBuilder::busybox(), ImageBuilder::layer);
    let task = lab.publish(&image);
    assert_eq!(lab.sh(&task, "cd /; cat plain gzip zstd chain chunked"), "plain gzip zstd chain chunked ");
    for layer in &layers {
        lab.files_of(layer);
    }
}

#[test]
fn a_shared_layer_is_stored_once() {
    let lab = Lab::new();
    let base = crate::support::busybox();
    let variant = |name: &str| ImageBuilder::busybox().layer(Layer::new([Entry::file(name, name)]).gzip());
    let (one, two) = (lab.publish(&variant("one")), lab.publish(&variant("two")));
    assert_eq!(lab.sh(&one, "cat /one"), "one");
    let first = fs::metadata(lab.files_of(&base).join("bin/busybox")).unwrap();
    // Who the user of the second is, the base says where it lies: it is not read again.
    let run = lab.enter(&two, &["sh", "-c", "cat /two; test ! -e /one"]).ok().says(&["Pulled 1 layer of the image"]);
    assert_eq!(run.stdout, "two");
    let second = fs::metadata(lab.files_of(&base).join("bin/busybox")).unwrap();
    assert_eq!((first.ino(), first.ctime_nsec()), (second.ino(), second.ctime_nsec()));
}

/// Builders emit the same empty layer again and again; overlayfs refuses one
/// folder in two places of its stack.
#[test]
fn one_layer_may_occur_twice() {
    let lab = Lab::new();
    let (empty, marker) = (Layer::new([]).gzip(), Layer::new([Entry::file("file", "x")]));
    let stack = [empty.clone(), marker.clone(), empty.clone(), marker, empty];
    let task = lab.publish(&stack.into_iter().fold(ImageBuilder::busybox(), ImageBuilder::layer));
    assert_eq!(lab.sh(&task, "cat /file"), "x");
}

#[test]
fn the_image_says_which_environment_and_user() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    assert_eq!(lab.sh(&task, "echo $FLAVOUR; id -un; pwd"), "busybox\ndev\n/workspace\n");
}

#[test]
fn an_index_is_resolved_for_this_platform() {
    let lab = Lab::new();
    let native = ImageBuilder::busybox().layer(Layer::new([Entry::file("native", "")]));
    let foreign = ImageBuilder::busybox().layer(Layer::new([Entry::file("foreign", "")]));
    let foreign = foreign.architecture(foreign_architecture());
    let both = lab.images.add_index("both", &[&foreign, &native]).reference;
    let task = crate::support::publish(&lab.agent, &lab.repo, &lab.store, &both, "both");
    lab.sh(&task, "test -e /native; test ! -e /foreign");
    assert!(lab.store.has(&sha256(&native.manifest_bytes())));
    assert!(!lab.store.has(&sha256(&foreign.manifest_bytes())), "only what is needed travels");

    let missing = lab.images.add_index("missing", &[&foreign]).reference;
    lab.try_publish(&missing).code(3).says(&["error:", &format!("linux/{}", architecture())]);
}

#[test]
fn exit_codes_of_the_command_pass_through() {
    let lab = Lab::new();
    let task = lab.publish(&ImageBuilder::busybox());
    for code in [0, 1, 7, 125] {
        lab.enter(&task, &["sh", "-c", &format!("exit {code}")]).code(code);
    }
}

#[test]
fn other_tools_read_the_store() {
    let lab = Lab::new();
    let image = ImageBuilder::busybox();
    let task = lab.publish(&image);
    let tag = task.rsplit_once(':').unwrap().1;
    let manifest = lab.agent.call("skopeo", ["inspect", "--raw", &task]).ok().json();
    assert_eq!(manifest["artifactType"], "application/vnd.envctl.identity.v1+json");
    let tags = lab.agent.call("umoci", ["ls", "--layout", lab.store.path.to_str().unwrap()]).ok().stdout;
    assert!(tags.lines().any(|line| line == tag), "{tags}");
    let manifest = sha256(&image.manifest_bytes());
    assert_eq!(fs::read(lab.store.blob(&manifest)).unwrap(), image.manifest_bytes());
    assert!(lab.store.has(&image.layers[0].digest()));
}

type Damage = fn(&[u8]) -> Vec<u8>;

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

fn halved(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

fn longer(bytes: &[u8]) -> Vec<u8> {
    [bytes, b"x"].concat()
}

#[test]
fn a_damaged_store_is_refused_and_a_repaired_one_works_at_once() {
    let lab = Lab::new();
    let top = Layer::new([Entry::file("file", vec![b'x'; 200_000])]).gzip();
    let image = ImageBuilder::busybox().layer(top.clone());
    let task = lab.publish(&image);
    let (config, manifest) = (sha256(&image.config_bytes()), sha256(&image.manifest_bytes()));
    // A home that has nothing cached sees every damage.
    let ways = [("flipped", flipped as Damage), ("halved", halved), ("longer", longer)];
    for digest in [&manifest, &config, &image.layers[0].digest(), &top.digest()] {
        for (way, damage) in ways {
            let good = lab.store.swap(digest, None);
            lab.store.swap(digest, Some(&damage(&good)));
            let fresh = fresh_developer(&lab);
            fresh.enter(&task, &["true"]).code(125).says(&["error:", digest]);
            assert_eq!(fresh.report()["error"]["kind"], "integrity", "{way} {digest}");
            assert_nothing_half_written(&fresh, &image);
            lab.store.swap(digest, Some(&good));
            fresh.enter(&task, &["test", "-s", "/file"]).ok();
        }
    }
}

#[test]
fn a_missing_blob_is_named_and_a_repaired_store_works_at_once() {
    let lab = Lab::new();
    let top = Layer::new([Entry::file("file", "x")]).gzip();
    let image = ImageBuilder::busybox().layer(top.clone());
    let task = lab.publish(&image);
    for digest in [&sha256(&image.manifest_bytes()), &sha256(&image.config_bytes()), &top.digest()] {
        let good = lab.store.swap(digest, None);
        let fresh = fresh_developer(&lab);
        fresh.enter(&task, &["true"]).code(125).says(&["error:", digest]);
        assert_eq!(fresh.report()["error"]["kind"], "not-found");
        assert_nothing_half_written(&fresh, &image);
        lab.store.swap(digest, Some(&good));
        fresh.enter(&task, &["test", "-s", "/file"]).ok();
    }
}

/// The layer that failed is not there, even when others are.
#[track_caller]
fn assert_nothing_half_written(lab: &Lab, image: &ImageBuilder) {
    assert!(lab.leftovers().is_empty(), "{:?}", lab.leftovers());
    for folder in image.layers.iter().flat_map(|layer| lab.layer_folders(layer)) {
        assert!(folder.join("layer.json").is_file(), "{folder:?}");
    }
}

fn fresh_developer(lab: &Lab) -> Lab {
    lab.with_developer(Home::new())
}

#[test]
fn an_error_before_the_shell_has_the_same_exit_code() {
    let lab = Lab::new();
    let top = Layer::new([Entry::file("file", "x")]);
    let task = lab.publish(&ImageBuilder::busybox().layer(top.clone()));
    lab.store.swap(&top.digest(), Some(b"something else"));
    lab.dev.envctl(["enter", &task]).code(125).says(&["error:", &top.digest()]);
}

#[test]
fn a_damaged_image_is_not_published() {
    let lab = Lab::new();
    let top = Layer::new([Entry::file("file", "x")]).gzip();
    let image = lab.images.add("damaged", &ImageBuilder::busybox().layer(top.clone())).reference;
    let good = lab.images.swap(&top.digest(), Some(&[0; 10]));
    lab.try_publish(&image).code(5).says(&["error:", &top.digest()]);
    assert!(!lab.store.has(&top.digest()));
    lab.images.swap(&top.digest(), Some(&good));
    lab.try_publish(&image).ok();
}

#[test]
fn a_layer_must_be_what_the_configuration_says() {
    let lab = Lab::new();
    let top = Layer::new([Entry::file("file", "x")]).gzip();
    let claimed = Layer::new([Entry::file("file", "y")]);
    let image = ImageBuilder::busybox().layer(top.clone());
    let task = lab.publish(&image.clone().config_field("/rootfs/diff_ids/1", claimed.diff_id()));
    lab.enter(&task, &["true"]).code(125).says(&["error:", &claimed.diff_id()]);
    assert_eq!(lab.report()["error"]["kind"], "integrity");
    for layer in [&top, &claimed] {
        assert!(lab.layer_folders(layer).is_empty());
    }
    assert!(lab.leftovers().is_empty());

    let count = image.config_field("/rootfs/diff_ids", json!([top.diff_id()]));
    let reference = lab.images.add("count", &count).reference;
    lab.assert_refused_on_the_way(&reference, "layers");
}

#[test]
fn an_unprivileged_user_has_a_working_store() {
    let lab = Lab::unprivileged();
    let below = Layer::new([Entry::file("gone", ""), Entry::dir("opaque/"), Entry::file("opaque/old", "")]).gzip();
    let top = Layer::new([
        Entry::file(".wh.gone", ""),
        Entry::dir("opaque/"),
        Entry::file("opaque/.wh..wh..opq", ""),
        Entry::file("opaque/new", "").owner(1000, 1000),
        // Even the owner cannot add files to it once it has its mode.
        Entry::dir("read-only/").mode(0o555),
        Entry::file("read-only/file", "").mode(0o444),
    ])
    .zstd();
    let task = lab.publish(&ImageBuilder::busybox().layer(below).layer(top.clone()));
    assert_eq!(
        lab.sh(&task, "test ! -e /gone; ls -A /opaque /read-only; id -un"),
        "/opaque:\nnew\n\n/read-only:\nfile\ndev\n"
    );
    lab.files_of(&top);
    assert!(lab.leftovers().is_empty());
}

both!(case_49_a_layer_that_was_never_flushed_does_not_outlive_a_reboot);
/// Layers are flushed in the background; one that was not before the machine
/// went down may be incomplete, whatever its name says.
fn case_49_a_layer_that_was_never_flushed_does_not_outlive_a_reboot(lab: Lab) {
    let layer = Layer::new([Entry::dir("d/").owner(7, 7), Entry::file("d/file", "whole").owner(7, 7)]);
    let task = lab.publish(&ImageBuilder::busybox().layer(layer.clone()));
    assert_eq!(lab.sh(&task, "cat /d/file"), "whole");
    let folder = lab.files_of(&layer).parent().unwrap().to_owned();
    let record = folder.join("layer.json");
    let read = || serde_json::from_slice::<serde_json::Value>(&fs::read(&record).unwrap()).unwrap();
    let mut json = read();
    json["boot_id"] = json!("an-earlier-boot");
    fs::remove_file(&record).unwrap();
    fs::write(&record, json.to_string()).unwrap();
    fs::write(folder.join("fs/d/file"), "").unwrap();
    assert_eq!(lab.sh(&task, "cat /d/file"), "whole");
    lab.files_of(&layer);
}
