//! Images as builders really make them: shapes rebuilt from what kaniko, distroless,
//! jib, ko, nix, bazel, buildpacks, buildah, BuildKit and apko write. Each is unpacked
//! by `umoci` as well: the trees are equal, or there is a reason.

use std::collections::BTreeSet;

use crate::support::{Entry, ImageBuilder, Lab, Layer, pax_record};

struct Shape {
    name: &'static str,
    layers: Vec<Layer>,
    /// A script that must print this inside, where a listing does not say it all.
    says: Option<(&'static str, &'static str)>,
    /// Why `umoci` makes another tree of it.
    reason: Option<&'static str>,
}

fn shape<const N: usize>(name: &'static str, layers: [Vec<Entry>; N]) -> Shape {
    Shape { name, layers: layers.into_iter().map(Layer::new).collect(), says: None, reason: None }
}

impl Shape {
    fn says(mut self, script: &'static str, expected: &'static str) -> Self {
        self.says = Some((script, expected));
        self
    }

    fn otherwise(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }
}

fn file(name: &str, text: &str) -> Entry {
    Entry::file(name, text)
}

fn dir(name: &str) -> Entry {
    Entry::dir(name)
}

fn long(kind: u8, name: &str) -> Entry {
    Entry { name: b"././@LongLink".to_vec(), ..Entry::extended(kind, format!("{name}\0")) }
}

/// Names as builders write them.
fn names() -> Vec<Shape> {
    let deep = format!("srv/{}file", "folder/".repeat(60));
    let wide = format!("srv/{}", "n".repeat(255));
    vec![
        shape("kaniko, the root itself", [vec![dir("/"), dir("/app/"), file("/app/main", "main")]]),
        shape(
            "kaniko, a whiteout",
            [vec![dir("app/"), file("app/old", "old")], vec![dir("/app/"), file("/app/.wh.old", "")]],
        ),
        shape(
            "kaniko, links",
            [vec![file("/app/a", "a"), Entry::hardlink("/app/b", "/app/a"), Entry::symlink("/app/c", "/app/a")]],
        ),
        shape(
            "distroless base, dots",
            [vec![dir("./"), dir("./usr/"), dir("./usr/lib/"), file("./usr/lib/os-release", "ID=x")]],
        ),
        shape(
            "distroless java, slashes",
            [vec![dir("/usr/"), dir("/usr/lib/"), file("/usr/lib/java", "java"), file("//opt//x", "x")]],
        ),
        shape(
            "distroless python, a hard link by its whole path",
            [vec![file("usr/bin/perl", "perl"), Entry::hardlink("usr/bin/perl5.36", "/usr/bin/perl")]],
        ),
        shape(
            "bazel, runfiles",
            [vec![
                dir("./app/"),
                file("./app/tool", "tool"),
                dir("./app/tool.runfiles/"),
                Entry::symlink("./app/tool.runfiles/tool", "../tool"),
            ]],
        ),
        shape(
            "buildah, long names of GNU",
            [vec![
                long(b'L', &deep),
                file("short", "deep"),
                long(b'K', &format!("/{deep}")),
                Entry::symlink("srv/link", "short"),
            ]],
        ),
        shape("long names of pax", [vec![file(&deep, "deep"), file(&wide, "wide")]]),
        shape("names with blanks and quotes", [vec![dir("a b/"), file("a b/it's \"quoted\"", "x"), file("-rf", "x")]]),
        shape("names that are no text", [vec![Entry::file(b"opt/\xff\xfe".to_vec(), "bytes")]]),
        shape(
            "a folder marked by its slash alone",
            [vec![Entry { kind: b'0', ..dir("opt/old/") }, file("opt/old/x", "x")]],
        )
        .otherwise("umoci 0.4 takes it for a file"),
        shape("files without type or magic", [vec![Entry { kind: 0, ..file("opt/v7", "seventh") }]]),
        shape("contiguous files", [vec![Entry { kind: b'7', ..file("opt/contiguous", "c") }]])
            .otherwise("umoci 0.4 knows no such type")
            .says("cat /opt/contiguous", "c"),
        shape(
            "folders that nobody lists (ko)",
            [vec![Entry::program("ko-app/app", "app").mode(0o555).mtime(0), file("var/run/ko/index.html", "data")]],
        ),
    ]
}

/// What is said of an entry beside its name.
fn fields() -> Vec<Shape> {
    let mark = |entry: Entry| {
        entry
            .pax("SCHILY.xattr.user.overlay.origin", vec![0, 251, 29, 0])
            .pax("SCHILY.xattr.user.overlay.impure", "y")
            .pax("SCHILY.xattr.user.overlay.nlink", "U+1")
            .pax("SCHILY.xattr.user.overlay.uuid", vec![7; 16])
            .pax("SCHILY.xattr.trusted.overlay.origin", vec![0, 251])
    };
    let sized = |entry: Entry| Entry { size: Some(3), ..entry };
    vec![
        shape("podman on overlay, bookkeeping", [vec![mark(dir("etc/pki/")), mark(file("etc/pki/x", "x"))]]),
        shape(
            "a read-only file with an attribute",
            [vec![Entry::file("opt/flags", "f").mode(0o444).pax("SCHILY.xattr.user.pax.flags", "m")]],
        ),
        shape(
            "jib, one time for all",
            [vec![
                dir("app/").mtime(1),
                dir("app/libs/").mtime(1),
                file("app/libs/a-1.0.jar", "jar").mtime(1),
                dir("app/classes/").mtime(1),
            ]],
        ),
        shape(
            "nix, read-only folders",
            [vec![
                dir("nix/").mode(0o555),
                dir("nix/store/").mode(0o555),
                dir("nix/store/0c7c-hello/").mode(0o555),
                Entry::program("nix/store/0c7c-hello/hello", "hello").mode(0o555).mtime(1),
                Entry::symlink("hello", "nix/store/0c7c-hello/hello"),
            ]],
        ),
        shape(
            "buildpacks, 1980 and an account",
            [vec![
                dir("layers/").owner(1000, 1001).mtime(315_532_801),
                file("layers/config.toml", "x").owner(1000, 1001).mtime(315_532_801),
                dir("cnb/").mtime(315_532_801),
            ]],
        ),
        shape(
            "apko, checksums of packages",
            [vec![
                dir("usr/").pax("APK-TOOLS.checksum.SHA1", "0123"),
                file("usr/tool", "tool").pax("APK-TOOLS.checksum.SHA1", "4567").pax("mtime", "1700000000.5"),
            ]],
        ),
        shape(
            "git archive, a comment for all",
            [vec![
                Entry::extended(b'g', pax_record("comment", b"0123456789abcdef0123456789abcdef01234567")),
                file("src/a", "a"),
            ]],
        )
        .otherwise("umoci 0.4 knows no header for all"),
        shape(
            "a hard link that declares a size",
            [vec![file("opt/a", "aaa"), sized(Entry::hardlink("opt/b", "opt/a")), file("opt/c", "c")]],
        ),
        shape(
            "a folder and a link that declare a size",
            [vec![sized(dir("opt/d/")), sized(Entry::symlink("opt/l", "d")), file("opt/d/x", "x")]],
        ),
        shape(
            "ids beyond octal digits",
            [vec![Entry::file("opt/big", "big").pax("uid", "1000660000").pax("gid", "1000660000")]],
        ),
        shape("times before 1970", [vec![file("opt/old", "old").pax("mtime", "-5")]]),
        shape("a sticky folder and a pipe", [vec![dir("opt/t/").mode(0o1777), Entry::fifo("opt/pipe").mode(0o600)]]),
        shape(
            "modes of all kinds",
            [vec![file("opt/none", "n").mode(0), file("opt/all", "a").mode(0o777), dir("opt/closed/").mode(0o700)]],
        ),
        shape(
            "docker import, devices",
            [vec![
                dir("dev/"),
                Entry::char_device("dev/null", 1, 3),
                Entry::block_device("dev/sda", 8, 0),
                file("x", "x"),
            ]],
        ),
        shape("set-id bits", [vec![Entry::program("opt/su", "su").mode(0o4755)]])
            .otherwise("no program of an image gains rights in a runtime")
            .says("stat -c %a /opt/su", "755\n"),
    ]
}

/// What one layer does to those below it.
fn layers() -> Vec<Shape> {
    let below = || vec![dir("d/"), file("d/a", "a"), file("d/b", "b"), dir("d/sub/"), file("d/sub/x", "x")];
    vec![
        shape("BuildKit, a file removed", [below(), vec![dir("d/"), file("d/.wh.a", "")]]),
        shape("BuildKit, a folder removed", [below(), vec![file(".wh.d", "")]]),
        shape(
            "BuildKit, an opaque folder",
            [below(), vec![dir("d/"), file("d/.wh..wh..opq", ""), file("d/new", "new")]],
        ),
        shape(
            "buildah, the marker comes last",
            [below(), vec![dir("d/"), file("d/new", "new"), file("d/.wh..wh..opq", "")]],
        ),
        shape(
            "COPY --link, folders repeated",
            [below(), vec![dir("d/").mode(0o700), dir("d/sub/"), file("d/sub/y", "y")]],
        ),
        shape("a whiteout of what never was", [below(), vec![file("d/.wh.none", ""), file(".wh.nowhere", "")]]),
        shape("a whiteout within a folder that goes too", [below(), vec![file(".wh.d", ""), file("d/.wh.a", "")]])
            .says("ls -d /d 2>/dev/null || echo gone", "gone\n"),
        shape(
            "the same, the other way round",
            [below(), vec![file("d/.wh.a", ""), file("d/sub/.wh.x", ""), file(".wh.d", "")]],
        )
        .says("ls -d /d 2>/dev/null || echo gone", "gone\n"),
        shape(
            "a whiteout that is a hard link",
            [below(), vec![file("d/.wh.a", ""), Entry::hardlink("d/.wh.b", "d/.wh.a")]],
        )
        .says("ls /d", "sub\n"),
        shape("removed and made anew", [below(), vec![file(".wh.d", ""), dir("d/"), file("d/new", "new")]]),
        shape("a file becomes a folder", [below(), vec![dir("d/a/"), file("d/a/in", "in")]]),
        shape("a folder becomes a file", [below(), vec![file("d/sub", "file")]]),
        shape("a folder becomes a link", [below(), vec![Entry::symlink("d/sub", "a")]]),
        shape("a link becomes a folder", [vec![Entry::symlink("l", "bin")], vec![dir("l/"), file("l/own", "own")]]),
        shape("a link becomes a file", [vec![Entry::symlink("l", "bin")], vec![file("l", "file")]]),
        shape("nothing in a layer", [below(), vec![]]),
        shape("the same file twice", [vec![file("opt/x", "first"), file("opt/x", "second")]]),
        shape(
            "hard links in several folders",
            [vec![
                dir("one/"),
                dir("two/"),
                file("one/a", "a"),
                Entry::hardlink("two/a", "one/a"),
                Entry::hardlink("a", "two/a"),
            ]],
        ),
        shape("bookkeeping of AUFS", [vec![dir(".wh..wh.plnk/"), file(".wh..wh.aufs", ""), file("opt/x", "x")]])
            .otherwise("umoci 0.4 takes the folder for a whiteout of itself"),
        shape(
            "systems with /usr merged",
            [
                vec![dir("usr/lib64/"), Entry::symlink("lib64", "usr/lib64"), file("usr/lib64/a", "a")],
                vec![file("usr/lib64/b", "b")],
            ],
        ),
    ]
}

/// Everything outside of what a runtime brings itself, one line each. The time of a
/// folder is when something was put into it last, where its layer does not list it;
/// owners depend on the ids that the machine has to give.
const LISTING: &str = "busybox find . -xdev \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
    -o -path ./workspace -o -path ./root -o -path ./home -o -path ./etc/hosts -o -path ./etc/hostname \
    -o -path ./etc/resolv.conf -o -path ./etc/mtab \\) -prune -o ! -path . -type d -print0 | busybox sort -z | \
    busybox xargs -0 busybox stat -c '%A %N'; \
    busybox find . -xdev \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run -o -path ./tmp \
    -o -path ./workspace -o -path ./root -o -path ./home -o -path ./etc/hosts -o -path ./etc/hostname \
    -o -path ./etc/resolv.conf -o -path ./etc/mtab \\) -prune -o ! -type d -print0 | busybox sort -z | \
    busybox xargs -0 busybox stat -c '%A %Y %N'; \
    busybox find ./app ./opt ./d ./usr ./srv ./one ./two -xdev -type f -perm -400 -print0 2>/dev/null | \
    busybox sort -z | busybox xargs -r -0 busybox md5sum";

#[track_caller]
fn compare(shapes: Vec<Shape>) {
    let lab = Lab::new();
    let mut wrong = Vec::new();
    for (number, shape) in shapes.iter().enumerate() {
        let mut image = ImageBuilder::busybox().user("root");
        for layer in &shape.layers {
            image = image.layer(layer.clone().gzip());
        }
        let tag = format!("shape-{number}");
        let reference = lab.images.add(&tag, &image).reference;
        let task = crate::support::publish(&lab.agent, &lab.repo, &lab.store, &reference, &tag);
        if let Some((script, expected)) = shape.says {
            assert_eq!(lab.sh(&task, script), expected, "{}", shape.name);
        }
        let script = format!("cd / && {LISTING}");
        let ours = lab.enter(&task, &["sh", "-c", &script]).run();
        assert_eq!(ours.code, 0, "{}: {}", shape.name, ours.stderr);
        let place = lab.agent.path(format!("by-umoci-{number}"));
        let image = format!("{}:{tag}", lab.images.path.display());
        let unpacked = lab.agent.call("umoci", ["raw", "unpack", "--image", &image]).arg(&place).run();
        if unpacked.code != 0 {
            assert!(shape.reason.is_some(), "{}: {}", shape.name, unpacked.stderr);
            continue;
        }
        let theirs = lab.agent.call("busybox", ["sh", "-c", LISTING]).cwd(&place).run();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (ours, theirs) = (lines(&ours.stdout), lines(&theirs.stdout));
        if (ours == theirs) == shape.reason.is_some() {
            let (more, less): (Vec<_>, Vec<_>) =
                (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
            wrong.push(format!("{}: only ours {more:#?}, only theirs {less:#?}", shape.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_as_builders_write_them() {
    compare(names());
}

#[test]
fn fields_as_builders_write_them() {
    compare(fields());
}

#[test]
fn layers_as_builders_write_them() {
    compare(layers());
}

/// Without root nobody may write an attribute to a file that is read-only already.
#[test]
fn a_read_only_file_with_an_attribute_without_root() {
    let lab = Lab::unprivileged();
    let entry = Entry::file("opt/flags", "f").mode(0o444).pax("SCHILY.xattr.user.pax.flags", "m");
    let task = lab.publish(&ImageBuilder::busybox().layer(Layer::new([entry])));
    assert_eq!(lab.sh(&task, "stat -c %a /opt/flags; cat /opt/flags"), "444\nf");
}

#[test]
fn ways_to_compress() {
    let lab = Lab::new();
    let plain = Layer::new([file("opt/x", "x")]);
    // What pzstd begins with: a frame to be skipped.
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &plain.clone().zstd().blob].concat();
    let layer = plain.clone().carried_by("+zstd", skippable);
    assert_eq!(lab.sh(&lab.publish(&ImageBuilder::busybox().layer(layer)), "cat /opt/x"), "x");
    for (magic, name) in [(&b"\xfd7zXZ\0\0\0"[..], "xz"), (b"BZh91AY&SY", "bzip2")] {
        let layer = Layer::new([file("opt/y", name)]).carried_by("+gzip", [magic, &[0; 600]].concat());
        let task = lab.publish(&ImageBuilder::busybox().layer(layer));
        lab.enter(&task, &["true"]).code(125).says(&[&format!("compressed with {name}, which is not supported")]);
    }
}

/// What `/etc/passwd` is, the merged tree says.
#[test]
fn users_are_found_through_links_and_layers() {
    let lab = Lab::new();
    let passwd = |uid: u32| format!("root:x:0:0::/root:/bin/sh\nweb:x:{uid}:{uid}::/srv:/bin/sh\n");
    let group = "root:x:0:\nweb:x:7:\n";
    let below = Layer::new([
        file("usr/lib/passwd", &passwd(3000)),
        file("usr/lib/group", group),
        dir("etc/"),
        file("etc/passwd", &passwd(1000)),
        file("etc/group", "root:x:0:\n"),
    ]);
    let links = [
        vec![Entry::symlink("etc/passwd", "../usr/lib/passwd"), Entry::symlink("etc/group", "/usr/lib/group")],
        vec![file(".wh.etc", ""), Entry::symlink("etc", "usr/lib")],
        vec![
            dir("etc/"),
            file("etc/.wh..wh..opq", ""),
            Entry::symlink("etc/passwd", "../usr/lib/passwd"),
            Entry::symlink("etc/group", "../usr/lib/group"),
        ],
    ];
    for above in links {
        let image = ImageBuilder::busybox().layer(below.clone()).layer(Layer::new(above)).user("web:web");
        assert_eq!(lab.sh(&lab.publish(&image), "id -u; id -g"), "3000\n7\n");
    }
    // It is gone: nobody of that name is left, and the usual user stands in, here too
    // the next time, when nothing is unpacked any more.
    for gone in [vec![file(".wh.etc", "")], vec![dir("etc/"), file("etc/.wh..wh..opq", "")]] {
        let image = ImageBuilder::busybox().layer(below.clone()).layer(Layer::new(gone)).user("web");
        let task = lab.publish(&image);
        for _ in 0..2 {
            let run = lab.enter(&task, &["id", "-u"]).ok().says(&["the image has no user \"web\"", "--user NAME"]);
            assert_eq!(run.stdout, "0\n");
        }
    }
}

/// What nobody could enter is said by those who publish, in the same words.
#[test]
fn images_that_nobody_can_enter_are_not_published() {
    let lab = Lab::new();
    let many = (0..500).fold(ImageBuilder::busybox(), |image, n| image.layer(Layer::new([file("n", &n.to_string())])));
    let long = format!("LONG={}", "x".repeat(140_000));
    for (image, words) in [
        (ImageBuilder::new(), "has no layers"),
        (many, "has 501 layers, 499 can lie on each other"),
        (ImageBuilder::busybox().user("4000000000"), "user 4000000000 is out of range"),
        (ImageBuilder::busybox().env(&long), "variable LONG has 140005 bytes, no program can be given it"),
        (ImageBuilder::busybox().config_field("/rootfs/diff_ids", serde_json::json!([])), "its configuration lists 0"),
    ] {
        let reference = lab.images.add("bad", &image).reference;
        lab.try_publish(&reference).run().code(5).says(&[words]);
        assert!(lab.store.tags().is_empty());
    }
}

#[test]
fn three_hundred_layers_and_an_id_of_openshift() {
    let lab = Lab::new();
    let layer = |n: usize| Layer::new([file(&format!("layers/{n}"), ""), file("top", &n.to_string())]);
    let many = (1..300).fold(ImageBuilder::busybox(), |image, n| image.layer(layer(n)));
    assert_eq!(lab.sh(&lab.publish(&many), "ls /layers | wc -l; cat /top"), "299\n299");
    for lab in [Lab::new(), Lab::unprivileged()] {
        let image = ImageBuilder::busybox().user("1000660000");
        assert_eq!(lab.sh(&lab.publish(&image), "id -u; touch own; stat -c %u own"), "1000660000\n1000660000\n");
    }
}

#[test]
fn indexes_as_builders_write_them() {
    use serde_json::json;
    let lab = Lab::new();
    let flavour = |name: &str| ImageBuilder::busybox().env(&format!("KIND={name}"));
    let put = |image: &ImageBuilder| {
        let written = lab.images.add("part", image);
        let size = std::fs::metadata(lab.images.blob(&written.digest)).unwrap().len();
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": written.digest, "size": size })
    };
    let (good, fast) = (put(&flavour("good")), put(&flavour("fast")));
    let foreign = put(&flavour("foreign").architecture(crate::support::foreign_architecture()));
    let platform = |mut entry: serde_json::Value, variant: Option<&str>| {
        entry["platform"] = json!({ "os": "linux", "architecture": crate::support::architecture() });
        variant.into_iter().for_each(|variant| entry["platform"]["variant"] = variant.into());
        entry
    };
    let mut sha512 = good.clone();
    sha512["digest"] = format!("sha512:{}", "0".repeat(128)).into();
    let mut empty = good.clone();
    (empty["platform"], empty["annotations"]) = (json!({}), json!(null));
    let mut attestation = foreign.clone();
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    let indexes = [
        vec![good.clone()],
        vec![foreign.clone(), good.clone()],
        vec![platform(fast.clone(), Some("v3")), platform(good.clone(), None)],
        vec![platform(fast.clone(), Some("v3")), platform(good.clone(), Some("v1")), platform(fast, Some("v2"))],
        vec![sha512, platform(good.clone(), None)],
        vec![foreign, empty],
        vec![attestation, platform(good, None)],
    ];
    for (number, manifests) in indexes.into_iter().enumerate() {
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
        let descriptor = lab.images.put(kind, &serde_json::to_vec(&index).unwrap());
        let reference = lab.images.tag(&format!("index-{number}"), descriptor).reference;
        let task = crate::support::publish(&lab.agent, &lab.repo, &lab.store, &reference, &format!("task-{number}"));
        assert_eq!(lab.sh(&task, "echo $KIND"), "good\n", "{number}");
    }
}

/// The entry is named, and the message stays short, however long somebody made it.
#[test]
fn what_cannot_be_unpacked_is_named_in_short() {
    let lab = Lab::new();
    let enormous = format!("srv/{}end", "folder/".repeat(700));
    for (entry, words) in [
        (
            Entry::file("opt/attribute", "x").pax("SCHILY.xattr.user.big", vec![b'x'; 70_000]),
            ["opt/attribute", "user.big"],
        ),
        (Entry::file(format!("opt/{}", "n".repeat(256)), "x"), ["opt/nnn", "name too long"]),
        (Entry::file(enormous.clone(), "x"), ["srv/folder", "folder/end"]),
        (Entry::file(format!("/../srv/{}end", "folder/".repeat(500)), "x"), ["/../srv/folder", "leaves the layer"]),
    ] {
        let task = lab.publish(&ImageBuilder::busybox().layer(Layer::new([entry])));
        let run = lab.enter(&task, &["true"]).code(125).says(&words);
        let longest = run.stderr.lines().filter(|line| line.contains("cause: ")).map(str::len).max().unwrap();
        assert!(longest <= 240, "{longest}: {}", run.stderr);
    }
}
