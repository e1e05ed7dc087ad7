//! The smallest root file system in which commands run: the host's own
//! statically linked busybox, its applets, two accounts.

use std::fs;
use std::sync::OnceLock;

use super::layer::Layer;
use super::tar::Entry;

const PROGRAM: &str = "/bin/busybox";

const APPLETS: &str = "
    ash awk base64 basename cat chmod chown cp cut date dd df dirname dmesg du echo env expr false find grep
    head hostname httpd id ifconfig ip kill ln ls md5sum mkdir mkfifo mknod mktemp mount mv nc netstat nproc od
    pidof printf ps pwd readlink realpath reset rm rmdir sed seq setsid sh sha256sum sleep sort stat stty su
    sync tail tar tee test timeout touch tr true truncate tty umount uname uniq unlink vi wc wget which whoami
    xargs yes";

/// The layer, made once.
pub fn busybox() -> Layer {
    static LAYER: OnceLock<Layer> = OnceLock::new();
    LAYER.get_or_init(build).clone()
}

fn build() -> Layer {
    let program = fs::read(PROGRAM).unwrap_or_else(|error| panic!("{PROGRAM}: {error}; install busybox-static"));
    assert!(is_static(&program), "{PROGRAM} is not statically linked: install busybox-static");
    let mut entries = vec![Entry::dir("bin/"), Entry::program("bin/busybox", program)];
    entries.extend(APPLETS.split_whitespace().map(|name| Entry::symlink(format!("bin/{name}"), "busybox")));
    entries.extend([
        Entry::dir("etc/"),
        Entry::file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndev:x:1000:1000:dev:/home/dev:/bin/sh\n"),
        Entry::file("etc/group", "root:x:0:\ndev:x:1000:\n"),
        Entry::dir("home/"),
        Entry::dir("home/dev/").owner(1000, 1000),
        Entry::dir("root/").mode(0o700),
        Entry::dir("tmp/").mode(0o1777),
        Entry::dir("var/"),
        Entry::dir("usr/"),
    ]);
    Layer::new(entries)
}

/// A statically linked ELF file asks for no interpreter (`PT_INTERP`).
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        return false;
    }
    let at = |offset: usize, length: usize| {
        elf[offset..offset + length].iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, size, count) = (at(32, 8), at(54, 2), at(56, 2));
    (0..count).all(|header| at(table + header * size, 4) != PT_INTERP as usize)
}
